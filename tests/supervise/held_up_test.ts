/**
 * Restarts that wait for abandoned runs, and the events of restarts.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import { sleep } from "../../src/loop/mod.ts";
import type { ChildRun } from "../../src/supervise/child_run.ts";
import type { ChildOptions } from "../../src/supervise/child_spec.ts";
import { DynamicSupervisor } from "../../src/supervise/dynamic_supervisor.ts";
import { Supervisor } from "../../src/supervise/supervisor.ts";
import type { SupervisorBase } from "../../src/supervise/supervisor_base.ts";
import { play, Stage, STYLES } from "./stage.ts";

const OPTIONS = { outsideWaits: "ignore", cancelWarnMs: 1e9 } as const;

/** A child whose runs wait for a promise outside the loop, until they are let go. */
class Parked {
  readonly runs: ChildRun[] = [];
  readonly #gates: (() => void)[] = [];

  readonly start = async (
    started: () => void,
    run: ChildRun,
  ): Promise<void> => {
    this.runs.push(run);
    started();
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#gates.push(resolve);
    await promise;
    await sleep(0); // throws if it was cancelled
  };

  letGo(at: number): void {
    this.#gates[at]!();
  }

  spec(id: string, options: ChildOptions = {}) {
    return { id, shutdown: 10, ...options, start: this.start };
  }
}

/** The events of a supervisor but for those of its own state. */
function hear(supervisor: SupervisorBase): string[] {
  const heard: string[] = [];
  supervisor.subscribe((event) => {
    if (!("childId" in event)) return;
    const { type, childId, delayMs, waitsFor } = event;
    const more = delayMs ?? waitsFor;
    heard.push(
      `${type} ${childId}${more === undefined ? "" : ` (${more})`}`,
    );
  });
  return heard;
}

const WAITS = "a promise outside the loop";

for (const style of STYLES) {
  Deno.test(`children of one name are held up by their own abandoned runs only, ${style}`, async () => {
    const { value } = await play(style, function* () {
      const supervisor = new DynamicSupervisor({
        child: { shutdown: 10, heartbeatMs: 100 },
        maxRestarts: 10,
        reportCrashes: false,
      });
      yield supervisor.start();
      const stage = new Stage(style);
      const [one, other] = [new Parked(), new Parked()];
      yield supervisor.startChild(one.start, { name: "job" });
      yield sleep(50);
      yield supervisor.startChild(other.start, { name: "job" });
      yield sleep(110); // both are silent: both are killed, and abandoned
      const runs = [[one.runs.length, other.runs.length]];
      // A third of the name may be started beside them, and is restarted at once.
      yield supervisor.startChild(stage.start("job"), { name: "job" });
      stage.end("job", "crash");
      yield sleep(1);
      const third = stage.take();
      one.letGo(0);
      yield sleep(1);
      runs.push([one.runs.length, other.runs.length]);
      other.letGo(0);
      yield sleep(1);
      runs.push([one.runs.length, other.runs.length]);
      one.letGo(1);
      other.letGo(1);
      yield supervisor.stop();
      return [third, runs];
    }, OPTIONS);
    assertEquals(value, ["+job !job +job", [[1, 1], [2, 1], [2, 2]]]);
  });

  Deno.test(`a child that is held up is told of by an event and in the tree, ${style}`, async () => {
    const { value } = await play(style, function* () {
      const stage = new Stage(style);
      const parked = new Parked();
      const supervisor = new Supervisor({
        name: "top",
        strategy: "one-for-all",
        reportCrashes: false,
        children: [stage.child("a"), parked.spec("f")],
      });
      yield supervisor.start();
      const heard = hear(supervisor);
      stage.end("a", "crash");
      yield sleep(100);
      const during = String(supervisor.tree());
      const { state, abandonedRuns } = supervisor.tree().children[1]!;
      parked.letGo(0);
      yield sleep(1);
      const events = heard.slice();
      const after = String(supervisor.tree());
      parked.letGo(1);
      yield supervisor.stop();
      return { heard: events, during, after, state, abandonedRuns };
    }, OPTIONS);
    assertEquals(value, {
      heard: [
        "ended a",
        "restarting a (0)",
        "stopping f",
        `abandoned f (${WAITS})`,
        "ended f",
        "starting a",
        "started a",
        `held-up f (${WAITS})`,
        "restarting f (0)",
        "stopping a",
        "ended a",
        "starting a",
        "started a",
        "starting f",
        "started f",
      ],
      state: "restarting",
      abandonedRuns: 1,
      during: "top (one-for-all, running, 1 restart)\n" +
        "├─ a (running, 1 restart)\n" +
        "└─ f (restarting after an abandoned run, abandoned)",
      after: "top (one-for-all, running, 2 restarts)\n" +
        "├─ a (running, 1 restart)\n" +
        "└─ f (running, 1 restart)",
    });
  });

  Deno.test(`settled() does not wait for abandoned runs, ${style}`, async () => {
    const { value } = await play(style, function* (loop) {
      const parked = new Parked();
      const supervisor = new Supervisor({
        name: "top",
        reportCrashes: false,
        children: [parked.spec("f", { heartbeatMs: 20 })],
      });
      yield supervisor.start();
      yield sleep(50); // it was silent, is abandoned, and held up
      const fromMs = loop.time();
      yield supervisor.settled();
      const settled = [loop.time() - fromMs, String(supervisor.tree())];
      yield supervisor.stop();
      parked.letGo(0);
      return settled;
    }, OPTIONS);
    assertEquals(value, [
      0,
      "top (one-for-one, running)\n" +
      "└─ f (restarting after an abandoned run, crash: " +
      'Child "top/f" has sent no heartbeat for 20 ms)',
    ]);
  });

  Deno.test(`abandoned runs beside a child are in the tree, ${style}`, async () => {
    const { value } = await play(style, function* () {
      const parked = new Parked();
      const supervisor = new Supervisor({
        name: "top",
        children: [parked.spec("f", { allowOverlap: true })],
      });
      yield supervisor.start();
      const seen: string[] = [];
      for (let n = 0; n < 2; n++) {
        yield supervisor.terminateChild("f");
        seen.push(String(supervisor.tree()).split("\n")[1]!);
        yield supervisor.restartChild("f");
        seen.push(String(supervisor.tree()).split("\n")[1]!);
      }
      for (let n = 0; n < 3; n++) parked.letGo(n);
      yield supervisor.stop();
      return seen;
    }, OPTIONS);
    assertEquals(value, [
      "└─ f (stopped, beside an abandoned run, abandoned)",
      "└─ f (running, beside an abandoned run)",
      "└─ f (stopped, beside 2 abandoned runs, abandoned)",
      "└─ f (running, beside 2 abandoned runs)",
    ]);
  });

  Deno.test(`each restart has one event, with a delay and without, ${style}`, async () => {
    const { value } = await play(style, function* () {
      const stage = new Stage(style);
      const supervisor = new Supervisor({
        name: "top",
        reportCrashes: false,
        maxRestarts: 10,
        children: [
          stage.child("a", { starts: ["ok", "fail"] }),
          stage.child("b", { backoff: { initialMs: 5, jitter: "none" } }),
        ],
      });
      yield supervisor.start();
      const heard = hear(supervisor);
      stage.end("a", "crash");
      yield sleep(1);
      stage.end("b", "crash");
      yield sleep(10);
      const result = heard.slice();
      yield supervisor.stop();
      return result;
    });
    assertEquals(value, [
      "ended a",
      "restarting a (0)",
      "starting a",
      "start-failed a",
      "restarting a (0)",
      "starting a",
      "started a",
      "ended b",
      "restarting b (5)",
      "starting b",
      "started b",
    ]);
  });

  Deno.test(`siblings of a child that was held up, and is terminated, are restarted all the same, ${style}`, async () => {
    for (const strategy of ["one-for-all", "rest-for-one"] as const) {
      const { value } = await play(style, function* () {
        const stage = new Stage(style);
        const parked = new Parked();
        const supervisor = new Supervisor({
          name: "top",
          strategy,
          reportCrashes: false,
          backoff: { initialMs: 100, jitter: "none" },
          children: [
            parked.spec("f", { heartbeatMs: 20 }),
            stage.child("b"),
          ],
        });
        yield supervisor.start();
        yield sleep(50); // it was silent, is abandoned, and waits
        stage.end("b", "crash"); // joins the delay
        yield sleep(200); // which is over: both wait for the abandoned run
        const before = stage.take();
        yield supervisor.terminateChild("f");
        yield sleep(0);
        const then = stage.take();
        parked.letGo(0);
        yield sleep(200);
        const runs = [parked.runs.length, stage.has("b")];
        for (let n = 1; n < parked.runs.length; n++) parked.letGo(n);
        yield supervisor.stop();
        return [before, then, ...runs];
      }, OPTIONS);
      assertEquals(
        value,
        strategy === "one-for-all"
          ? ["+b !b", "", 2, true] // all are started in order, with the first
          : ["+b !b", "+b", 1, true],
      );
    }
  });
}
