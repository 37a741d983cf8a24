/**
 * What happens in the middle of a restart: crashes of each child in each state, and the end
 * of the supervisor itself.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import { type EventLoop, isCancellation, sleep } from "../../src/loop/mod.ts";
import type { ChildSpec } from "../../src/supervise/child_spec.ts";
import { Supervisor } from "../../src/supervise/supervisor.ts";
import type { RestartStrategy } from "../../src/supervise/supervisor_options.ts";
import { inStyle } from "../support/styles.ts";
import { startChild, waitForLine } from "./support/child.ts";
import { play, Stage, type Steps, type Style, STYLES } from "./stage.ts";

/** How long children take to start, and to end when they are asked to. */
const START_MS = 10;
const STOP_MS = 10;
/** By then a restart of three children is over, whatever comes between. */
const OVER_MS = 250;
const IDS = ["a", "b", "c"] as const;

/** Children that start and end slowly, and crash at any time when they are told to. */
class Troupe {
  readonly #style: Style;
  /** Children that are to crash within a millisecond, or as soon as they begin. */
  readonly doomed = new Set<string>();
  readonly #alive = new Map<string, number>();
  /** Most runs of one child at a time. */
  most = 0;

  constructor(style: Style) {
    this.#style = style;
  }

  get alive(): number[] {
    return IDS.map((id) => this.#alive.get(id) ?? 0);
  }

  child(id: string): ChildSpec {
    return {
      id,
      start: (started) => inStyle(this.#style, () => this.#play(id, started))(),
    };
  }

  *#play(id: string, started: () => void): Steps<void> {
    this.#count(id, 1);
    try {
      yield* this.#work(id, START_MS);
      started();
      yield* this.#work(id, Infinity);
    } catch (error) {
      if (!isCancellation(error)) throw error;
      const { reason } = error as { reason?: unknown };
      if (reason === "shutdown") yield* this.#work(id, STOP_MS);
      throw error;
    } finally {
      this.#count(id, -1);
    }
  }

  *#work(id: string, ms: number): Steps<void> {
    for (let n = 0; n < ms; n++) {
      yield sleep(1);
      if (this.doomed.delete(id)) throw new Error(`${id} has crashed`);
    }
  }

  #count(id: string, by: number): void {
    const count = (this.#alive.get(id) ?? 0) + by;
    this.#alive.set(id, count);
    this.most = Math.max(this.most, count);
  }
}

/** The moments at which something is done, after the crash that begins the restart. */
function* moments(): Generator<number> {
  for (let ms = 0.5; ms < 70; ms += 3) yield ms;
}

const BACKOFF = { initialMs: 7, jitter: "none" } as const;

function supervise(
  troupe: Troupe,
  strategy: RestartStrategy,
  isDelayed: boolean,
): Supervisor {
  return new Supervisor({
    name: "top",
    strategy,
    maxRestarts: 20,
    reportCrashes: false,
    ...(isDelayed && { backoff: BACKOFF }),
    children: IDS.map((id) => troupe.child(id)),
  });
}

const STRATEGIES = ["one-for-one", "one-for-all", "rest-for-one"] as const;

for (const style of STYLES) {
  Deno.test(`a crash in each state of a restart is made good, ${style}`, async () => {
    for (const strategy of STRATEGIES) {
      for (const victim of IDS) {
        for (const isDelayed of [false, true]) {
          await play(style, function* (loop) {
            for (const atMs of moments()) {
              const troupe = new Troupe(style);
              const supervisor = supervise(troupe, strategy, isDelayed);
              yield supervisor.start();
              troupe.doomed.add("b");
              yield sleep(atMs);
              troupe.doomed.add(victim);
              yield sleep(OVER_MS);
              const infos = (yield supervisor.whichChildren()) as {
                status: string;
              }[];
              const got = {
                alive: troupe.alive,
                most: troupe.most,
                states: infos.map(({ status }) => status),
              };
              yield supervisor.stop();
              assertEquals({
                ...got,
                after: troupe.alive,
                timers: loop.stats().timers,
              }, {
                alive: [1, 1, 1],
                most: 1,
                states: ["running", "running", "running"],
                after: [0, 0, 0],
                timers: 0,
              }, `${strategy}, ${victim} after ${atMs} ms, ${isDelayed}`);
            }
          });
        }
      }
    }
  });

  Deno.test(`a supervisor that is killed in each state of a restart leaves nothing, ${style}`, async () => {
    for (const strategy of STRATEGIES) {
      for (const isDelayed of [false, true]) {
        await play(style, function* (loop) {
          for (const atMs of moments()) {
            const troupe = new Troupe(style);
            const stage = new Stage(style);
            const top = new Supervisor({
              name: "top",
              strategy: "one-for-all",
              reportCrashes: false,
              children: [stage.child("sibling"), {
                id: "inner",
                type: "supervisor",
                shutdown: 5, // less than any child takes
                start: () => supervise(troupe, strategy, isDelayed),
              }],
            });
            const ends: string[] = [];
            top.subscribe((event) => {
              if (event.type !== "ended" || event.childId !== "inner") return;
              ends.push(`${event.end!.kind} ${troupe.alive}`);
            });
            yield top.start();
            troupe.doomed.add("b");
            yield sleep(atMs);
            stage.end("sibling", "crash"); // ends the inner one, and starts another
            yield sleep(OVER_MS);
            const { alive, most } = troupe;
            yield* stopQuickly(top, loop);
            assertEquals({
              alive,
              most,
              ends,
              after: troupe.alive,
              timers: loop.stats().timers,
            }, {
              alive: [1, 1, 1],
              most: 1,
              ends: ["killed 0,0,0", "killed 0,0,0"],
              after: [0, 0, 0],
              timers: 0,
            }, `${strategy} after ${atMs} ms, ${isDelayed}`);
          }
        });
      }
    }
  });
}

/** Stops a supervisor; how long that takes is limited by the shutdown of its children. */
function* stopQuickly(top: Supervisor, loop: EventLoop): Steps<void> {
  const fromMs = loop.time();
  yield top.stop();
  assertEquals(loop.time() - fromMs <= 6, true);
}

for (const style of STYLES) {
  Deno.test({
    name:
      `a process that was stopped and goes on has lost no heartbeat, ${style}`,
    ignore: Deno.build.os === "windows",
    fn: async () => {
      const scene = style === "a generator" ? "beating" : "beatingAsync";
      const program = startChild("processes", scene);
      await waitForLine(program, "ready");
      program.send("SIGSTOP");
      // Longer than it may be silent: that is the point.
      await new Promise((resolve) => setTimeout(resolve, 400));
      program.send("SIGCONT");
      const { code, stdout, stderr } = await program.end();
      assertEquals({ code, stdout, stderr }, {
        code: 0,
        stdout: "was stopped\nrestarts: 0\n",
        stderr: "",
      });
    },
  });
}
