/**
 * Supervisors under supervisors, and other things than tasks as children.
 *
 * @module
 */
import { assertEquals, assertInstanceOf } from "@std/assert";
import { ChildStartError, RestartLimitError } from "../../src/errors.ts";
import {
  createTask,
  getRunningLoop,
  run,
  sleep,
  TaskLocal,
} from "../../src/loop/mod.ts";
import { DynamicSupervisor } from "../../src/supervise/dynamic_supervisor.ts";
import {
  type ChildControl,
  type ChildHost,
  ignore,
  type Supervisable,
  supervised,
} from "../../src/supervise/supervised.ts";
import { Supervisor } from "../../src/supervise/supervisor.ts";
import type { RestartType } from "../../src/supervise/child_spec.ts";
import { inStyle } from "../support/styles.ts";
import { caught, play, Stage, type Steps, STYLES } from "./stage.ts";

for (const style of STYLES) {
  Deno.test(`a supervisor that gives up ends by shutdown for the one above, ${style}`, async () => {
    for (const restart of ["permanent", "transient"] as RestartType[]) {
      const { value, reports } = await play(style, function* () {
        const stage = new Stage(style);
        const inner: Supervisor[] = [];
        const top = new Supervisor({
          name: "top",
          children: [stage.child("a"), {
            id: "inner",
            type: "supervisor",
            restart,
            start: () => {
              const supervisor = new Supervisor({
                maxRestarts: 0,
                children: [stage.child("b"), stage.child("c")],
              });
              inner.push(supervisor);
              return supervisor;
            },
          }],
        });
        yield top.start();
        stage.take();
        stage.end("c", "crash");
        yield sleep(1);
        const log = stage.take();
        const error = yield* caught(inner[0]!.join());
        assertInstanceOf(error, RestartLimitError);
        yield top.stop();
        return [log, inner.length];
      });
      assertEquals(
        value,
        restart === "permanent" ? ["!c -b !b +b +c", 2] : ["!c -b !b", 1],
      );
      assertEquals(reports, [
        'Child "top/inner/c" has crashed: c has crashed',
        'Supervisor "top/inner" has given up: child "c" needed one more restart than 0 within 5000 ms: Supervisor "top/inner" has given up: child "c" needed one more restart than 0 within 5000 ms',
      ]);
    }
  });

  Deno.test(`the start of a supervisor fails with that of its child, all the way up, ${style}`, async () => {
    const { value, reports } = await play(style, function* () {
      const stage = new Stage(style);
      const nest = (depth: number): Supervisor =>
        new Supervisor({
          name: "top",
          children: [
            stage.child(`a${depth}`),
            depth === 0 ? stage.child("b", { starts: ["fail"] }) : {
              id: "inner",
              type: "supervisor",
              start: () => nest(depth - 1),
            },
          ],
        });
      const error = yield* caught(nest(2).start());
      const chain: string[] = [];
      for (
        let at: unknown = error;
        at instanceof Error;
        at = (at as Error).cause
      ) chain.push(at.message);
      assertInstanceOf(error, ChildStartError);
      return [stage.take(), chain];
    });
    assertEquals(value, ["+a2 +a1 +a0 ?b -a0 !a0 -a1 !a1 -a2 !a2", [
      'Cannot start child "top/inner"',
      'Cannot start child "top/inner/inner"',
      'Cannot start child "top/inner/inner/b"',
      "b does not start",
    ]]);
    assertEquals(reports, []);
  });

  Deno.test(`a supervisor that does not end in time is killed with all its children, ${style}`, async () => {
    const { value } = await play(style, function* (loop) {
      const stage = new Stage(style);
      const top = new Supervisor({
        children: [{
          id: "inner",
          type: "supervisor",
          shutdown: 100,
          start: () =>
            new Supervisor({
              children: [
                stage.child("a", { stop: 60_000, shutdown: Infinity }),
                stage.child("b", { stop: 60_000, shutdown: Infinity }),
              ],
            }),
        }],
      });
      yield top.start();
      yield top.stop();
      return [stage.take(), loop.time()];
    });
    assertEquals(value, ["+a +b -b xa xb", 100]);
  });

  Deno.test(`a dynamic supervisor is a child, and its children end in parallel, ${style}`, async () => {
    const { value } = await play(style, function* (loop) {
      const stage = new Stage(style);
      const pool = new DynamicSupervisor({ child: { shutdown: 200 } });
      const top = new Supervisor({
        children: [{ id: "pool", type: "supervisor", start: () => pool }],
      });
      yield top.start();
      for (const [id, stop] of [["a", 50], ["b", 150], ["c", 500]] as const) {
        yield pool.startChild(stage.start(id, { stop }));
      }
      yield top.stop();
      return [stage.take(), loop.time()];
    });
    assertEquals(value, ["+a +b +c -a -b -c !a !b xc", 200]);
  });

  Deno.test(`10,000 children of a dynamic supervisor end within one shutdown time, ${style}`, async () => {
    const { value } = await play(style, function* (loop) {
      const pool = new DynamicSupervisor({ child: { shutdown: 1_000 } });
      yield pool.start();
      for (let n = 0; n < 10_000; n++) {
        yield pool.startChild(async () => {
          try {
            await sleep(Infinity);
          } finally {
            await sleep(900);
          }
        });
      }
      yield pool.stop();
      return [loop.time(), loop.stats().tasks];
    });
    assertEquals(value, [900, 1]);
  });

  Deno.test(`a child that returns a supervisor has to say so, ${style}`, async () => {
    const { value } = await play(style, function* (): Steps<unknown> {
      const top = new Supervisor({ name: "top" });
      yield top.start();
      const error = yield* caught(
        top.startChild({ id: "inner", start: () => new Supervisor() }),
      );
      yield top.stop();
      return (error.cause as Error).message;
    });
    assertEquals(
      value,
      'Cannot start child "top/inner" as its type must be "supervisor": its start has returned one',
    );
  });

  Deno.test(`anything that keeps the interface is a child, ${style}`, async () => {
    const { value } = await play(style, function* (loop) {
      const log: string[] = [];
      const hosts: ChildHost[] = [];
      const engine: Supervisable = {
        [supervised](host): ChildControl {
          hosts.push(host);
          log.push("starting");
          loop.callLater(10, () => host.started("ready"));
          return {
            stop: () => {
              log.push("stop");
              loop.callLater(1_000, () => {
                host.ended({ kind: "shutdown", reason: "shutdown" });
              });
            },
            kill: () => {
              log.push("kill");
              host.ended({ kind: "killed" });
            },
          };
        },
      };
      const top = new Supervisor({
        name: "top",
        reportCrashes: false,
        children: [{ id: "engine", shutdown: 100, start: () => engine }],
      });
      yield top.start();
      const startedMs = loop.time();
      hosts[0]!.ended({ kind: "crash", error: new Error("broken") });
      hosts[0]!.ended({ kind: "normal" }); // too late
      yield sleep(20);
      const [info] = yield top.whichChildren();
      yield top.stop();
      return [startedMs, hosts[1]!.path, info.run.value, info.run.end, log];
    });
    assertEquals(value, [
      10,
      "top/engine",
      "ready",
      { kind: "killed" },
      ["starting", "starting", "stop", "kill"],
    ]);
  });

  Deno.test(`a start that waits, and returns a supervisor then, has it as its value, ${style}`, async () => {
    const { value } = await play(style, function* () {
      const stage = new Stage(style);
      const inner = new Supervisor({ children: [stage.child("a")] });
      const top = new Supervisor({
        name: "top",
        children: [{
          id: "inner",
          type: "supervisor",
          start: inStyle(style, function* () {
            yield sleep(5); // it is ready now
            return inner;
          }),
        }],
      });
      yield top.start();
      const before = String(top.tree());
      yield sleep(10);
      const [info] = yield top.whichChildren();
      const after = String(top.tree());
      yield top.stop();
      return [before, info.run.value === inner, after];
    });
    assertEquals(value, [
      "top (one-for-one, running)\n" +
      "└─ inner (running)",
      true,
      "top (one-for-one, running)\n" +
      "└─ inner (one-for-one, running)\n" +
      "   └─ a (running)",
    ]);
  });

  Deno.test(`anything that ends before it is ready has failed to start, and its end is kept, ${style}`, async () => {
    const { value } = await play(style, function* (loop) {
      let starts = 0;
      const engine: Supervisable = {
        [supervised](host): ChildControl {
          if (starts++ === 0) host.started();
          loop.callLater(10, () => {
            host.ended({ kind: "shutdown", reason: "not today" });
          });
          return { stop: () => {}, kill: () => {} };
        },
      };
      const top = new Supervisor({
        name: "top",
        reportCrashes: false,
        backoff: { initialMs: 100, jitter: "none" },
        children: [{ id: "engine", start: () => engine }],
      });
      const failed: unknown[] = [];
      top.subscribe((event) => {
        if (event.type === "start-failed") failed.push(event.run.end);
      });
      yield top.start();
      yield sleep(150);
      const [child] = top.tree().children;
      yield top.stop();
      return [failed, child!.state, child!.lastEnd];
    });
    const end = { kind: "shutdown", reason: "not today" } as const;
    assertEquals(value, [[end], "restarting", end]);
  });

  Deno.test(`a start that is ignored leaves the child stopped, or drops it if it is temporary, ${style}`, async () => {
    const { value } = await play(style, function* () {
      const stage = new Stage(style);
      const top = new Supervisor({
        children: [
          stage.child("a", { starts: ["ignore"] }),
          stage.child("b", { starts: ["ignore"], restart: "temporary" }),
          { id: "c", start: () => ignore },
        ],
      });
      yield top.start();
      const infos = yield top.whichChildren();
      const run = yield top.startChild(
        stage.child("d", { starts: ["ignore"], restart: "temporary" }),
      );
      const counts = yield top.countChildren();
      yield top.stop();
      return [
        (infos as { id: string; status: string }[])
          .map(({ id, status }) => `${id} ${status}`).join(),
        run,
        counts,
      ];
    });
    assertEquals(value, [
      "c stopped,a stopped",
      undefined,
      { specs: 2, active: 0, supervisors: 0, workers: 2 },
    ]);
  });

  Deno.test(`children inherit from the supervisor, whoever has them started, ${style}`, async () => {
    const { value } = await play(style, function* () {
      const local = new TaskLocal("nothing");
      const seen: string[] = [];
      local.set("of the starter");
      const top = new Supervisor({ name: "top", reportCrashes: false });
      yield top.start();
      const caller = createTask(async () => {
        local.set("of the caller");
        await top.startChild({
          id: "a",
          restart: "transient",
          start: async (started, { task }) => {
            seen.push(`${local.get()} ${task!.parent!.name}`);
            started();
            await sleep(10);
            if (seen.length === 1) throw new Error("once more");
          },
        });
      });
      yield caller;
      yield sleep(100);
      yield top.stop();
      return seen;
    });
    assertEquals(value, [
      "of the starter supervisor top",
      "of the starter supervisor top",
    ]);
  });
}

Deno.test("the end of a run gives up the starts of supervisors under supervisors at once", async () => {
  let hasEnded = false;
  const reports: string[] = [];
  await run(function* () {
    getRunningLoop().setExceptionHandler((_, { message }) => {
      reports.push(message);
    });
    const slow = {
      id: "slow",
      start: async (started: () => void) => {
        try {
          await sleep(60_000);
          started();
        } finally {
          hasEnded = true;
        }
      },
    };
    const top = new Supervisor({
      children: [{
        id: "inner",
        type: "supervisor",
        start: () => new Supervisor({ children: [slow] }),
      }],
    });
    createTask(() => top.start());
    yield* sleep(10);
  }, { host: "virtual" });
  assertEquals([hasEnded, reports], [true, []]);
});
