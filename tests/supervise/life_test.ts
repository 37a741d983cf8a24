/**
 * The life of a supervisor: all or nothing at the start, its ends, calls in the order in
 * which they come, and what becomes of it at the end of a run.
 *
 * @module
 */
import { assertEquals, assertInstanceOf, assertRejects } from "@std/assert";
import {
  CancelledError,
  ChildStartError,
  MisuseError,
  RestartLimitError,
  SupervisorEndedError,
} from "../../src/errors.ts";
import { createTask, getRunningLoop, run, sleep } from "../../src/loop/mod.ts";
import { every } from "../../src/schedule/mod.ts";
import { DynamicSupervisor } from "../../src/supervise/dynamic_supervisor.ts";
import { Supervisor } from "../../src/supervise/supervisor.ts";
import type { ChildRun } from "../../src/supervise/child_run.ts";
import { caught, play, Stage, type Steps, STYLES } from "./stage.ts";

for (const style of STYLES) {
  Deno.test(`children start in order, each when the one before is ready, ${style}`, async () => {
    const { value } = await play(style, function* (loop) {
      const stage = new Stage(style);
      const supervisor = new Supervisor({
        children: [
          stage.child("a", { starts: [30] }),
          stage.child("b", { starts: [20] }),
          stage.child("c"),
        ],
      });
      assertEquals(supervisor.state, "new");
      yield supervisor.start();
      assertEquals(supervisor.state, "running");
      const result = [stage.take(), loop.time()];
      yield supervisor.stop();
      assertEquals(supervisor.state, "ended");
      return result;
    });
    assertEquals(value, ["+a +b +c", 50]);
  });

  Deno.test(`a child that does not start stops those before it, and nothing is left, ${style}`, async () => {
    const { value, reports } = await play(style, function* () {
      const stage = new Stage(style);
      const supervisor = new Supervisor({
        name: "top",
        children: [
          stage.child("a"),
          stage.child("b"),
          stage.child("c", { starts: ["fail"] }),
          stage.child("d"),
        ],
      });
      const error = yield* caught(supervisor.start());
      assertInstanceOf(error, ChildStartError);
      assertEquals(error.childId, "c");
      assertEquals((error.cause as Error).message, "c does not start");
      assertInstanceOf(
        yield* caught(supervisor.whichChildren()),
        SupervisorEndedError,
      );
      assertEquals(yield* caught(supervisor.join()), error);
      return [stage.take(), error.message, supervisor.state];
    });
    assertEquals(value, [
      "+a +b ?c -b !b -a !a",
      'Cannot start child "top/c"',
      "ended",
    ]);
    assertEquals(reports, []);
  });

  Deno.test(`the value of started() is that of the run, ${style}`, async () => {
    const { value } = await play(style, function* (): Steps<unknown> {
      const supervisor = new Supervisor();
      yield supervisor.start();
      const run: ChildRun<number> = yield supervisor.startChild<number>({
        id: "server",
        start: async (started, run) => {
          await sleep(20);
          started(8080);
          assertEquals(run.value, 8080);
          await sleep(Infinity);
        },
      });
      const result = [run.value, run.state, run.path, run.id];
      yield supervisor.stop();
      return [...result, run.state, run.end];
    });
    assertEquals(value, [
      8080,
      "running",
      "supervisor/server",
      "server",
      "ended",
      { kind: "shutdown", reason: "shutdown" },
    ]);
  });

  Deno.test(`a start that ends without started(), or calls it twice, is a mistake, ${style}`, async () => {
    const { value } = await play(style, function* () {
      const supervisor = new Supervisor({ name: "top" });
      yield supervisor.start();
      const error = yield* caught(
        supervisor.startChild({
          id: "a",
          start: async (_started) => {
            await sleep(1);
          },
        }),
      );
      let twice: unknown;
      yield supervisor.startChild({
        id: "b",
        start: (started) => {
          started();
          try {
            started();
          } catch (error) {
            twice = error;
          }
          return sleep(Infinity);
        },
      });
      yield supervisor.stop();
      assertInstanceOf(error.cause, MisuseError);
      assertInstanceOf(twice, MisuseError);
      return [error.cause.message, twice.message];
    });
    assertEquals(value, [
      'Cannot start child "top/a": it ended without calling started()',
      'Cannot say that child "top/b" has started: it has said so before',
    ]);
  });

  Deno.test(`calls that come while a child starts or stops are served in order, ${style}`, async () => {
    const { value } = await play(style, function* (loop) {
      const stage = new Stage(style);
      const supervisor = new Supervisor({
        children: [stage.child("a", { stop: 50 })],
      });
      yield supervisor.start();
      const served: string[] = [];
      const call = (name: string, operation: PromiseLike<unknown>) =>
        createTask(async () => {
          try {
            await operation;
            served.push(`${name} ${loop.time()}`);
          } catch (error) {
            served.push(`${name} ${(error as { problem: string }).problem}`);
          }
        });
      const calls = [
        call(
          "start b",
          supervisor.startChild(stage.child("b", { starts: [30] })),
        ),
        call("count", supervisor.countChildren()),
        call("terminate a", supervisor.terminateChild("a")),
        call("restart a", supervisor.restartChild("a")),
        call("delete a", supervisor.deleteChild("a")),
        call("which", supervisor.whichChildren()),
      ];
      for (const task of calls) yield task;
      yield supervisor.stop();
      return served;
    });
    assertEquals(value, [
      "start b 30",
      "count 30",
      "terminate a 80",
      "restart a 80",
      "delete a running",
      "which 80",
    ]);
  });

  Deno.test(`a caller that is cancelled withdraws its call, unless it is being served, ${style}`, async () => {
    const { value } = await play(style, function* () {
      const stage = new Stage(style);
      const supervisor = new Supervisor();
      yield supervisor.start();
      const first = createTask(() =>
        supervisor.startChild(stage.child("a", { starts: [30] }))
      );
      const second = createTask(() => supervisor.startChild(stage.child("b")));
      yield sleep(10);
      first.cancel();
      second.cancel();
      yield sleep(50);
      const result = stage.take();
      yield supervisor.stop();
      return result;
    });
    assertEquals(value, "+a");
  });

  Deno.test(`a supervisor that gives up stops all, and throws a RestartLimitError once, ${style}`, async () => {
    const { value, reports } = await play(style, function* () {
      const stage = new Stage(style);
      const supervisor = new Supervisor({
        name: "top",
        maxRestarts: 1,
        reportCrashes: false,
        children: [stage.child("a"), stage.child("b")],
      });
      yield supervisor.start();
      const joined = createTask(() => supervisor.join());
      stage.end("b", "crash");
      yield sleep(1);
      stage.end("b", "crash");
      const error = yield* caught(joined);
      assertInstanceOf(error, RestartLimitError);
      assertEquals((error.cause as Error).message, "b has crashed");
      assertEquals(yield* caught(supervisor.join()), error);
      return [stage.take(), error.message, error.childId, error.maxRestarts];
    });
    assertEquals(value, [
      "+a +b !b +b !b -a !a",
      'Supervisor "top" has given up: child "b" needed one more restart than 1 within 5000 ms',
      "b",
      1,
    ]);
    assertEquals(reports, []);
  });

  Deno.test(`a RestartLimitError that nobody awaits is reported once, and so is each crash, ${style}`, async () => {
    const reports: string[] = [];
    await run(function* () {
      getRunningLoop().setExceptionHandler((_, { message, exception }) => {
        reports.push(`${message} (${exception})`);
      });
      const stage = new Stage(style);
      const supervisor = new Supervisor({
        name: "top",
        maxRestarts: 0,
        children: [stage.child("a")],
      });
      yield* supervisor.start();
      stage.end("a", "crash");
      yield* sleep(1);
      reports.push("at once");
    }, { host: "virtual" });
    assertEquals(reports, [
      'Child "top/a" has crashed (Error: a has crashed)',
      'Supervisor "top" has ended by an error (RestartLimitError: Supervisor "top" has given up: child "a" needed one more restart than 0 within 5000 ms)',
      "at once",
    ]);
  });

  Deno.test(`the end of a run stops a supervisor in order, with all that is under it, ${style}`, async () => {
    const stage = new Stage(style);
    await run(function* () {
      const supervisor = new Supervisor({
        children: [
          stage.child("a", { stop: 10 }),
          {
            id: "inner",
            type: "supervisor",
            start: () =>
              new Supervisor({
                children: [stage.child("b", { stop: 20 }), stage.child("c")],
              }),
          },
          stage.child("d", { stop: 10 }),
        ],
      });
      yield* supervisor.start();
    }, { host: "virtual" });
    assertEquals(stage.take(), "+a +b +c +d -d !d -c !c -b !b -a !a");
  });

  Deno.test(`cancelling run() stops it in order, ${style}`, async () => {
    const { value } = await play(style, function* () {
      const stage = new Stage(style);
      const supervisor = new Supervisor({
        children: [stage.child("a", { stop: 30 }), stage.child("b")],
      });
      const task = createTask(() => supervisor.run());
      yield sleep(10);
      task.cancel("enough");
      const error = yield* caught(task);
      assertInstanceOf(error, CancelledError);
      return [stage.take(), error.reason, supervisor.state];
    });
    assertEquals(value, ["+a +b -b !b -a !a", "enough", "ended"]);
  });

  Deno.test(`cancelling start() gives up a start and stops the others, ${style}`, async () => {
    const { value } = await play(style, function* (loop) {
      const stage = new Stage(style);
      const supervisor = new Supervisor({
        children: [stage.child("a"), stage.child("b", { starts: [60_000] })],
      });
      const task = createTask(() => supervisor.start());
      yield sleep(10);
      task.cancel();
      assertInstanceOf(yield* caught(task), CancelledError);
      return [stage.take(), supervisor.state, loop.time()];
    });
    assertEquals(value, ["+a -a !a", "ended", 10]);
  });

  Deno.test(`a stop waits for a start no longer than the child may take to end, ${style}`, async () => {
    const { value } = await play(style, function* (loop) {
      const stage = new Stage(style);
      const inner = {
        id: "inner",
        type: "supervisor",
        start: () =>
          new Supervisor({
            children: [
              stage.child("b", { starts: [60_000], shutdown: 200 }),
            ],
          }),
      } as const;
      const supervisor = new Supervisor({ children: [stage.child("a")] });
      yield supervisor.start();
      const call = createTask(() => supervisor.startChild(inner));
      yield sleep(10);
      yield supervisor.stop();
      assertInstanceOf(yield* caught(call), ChildStartError);
      return [stage.take(), loop.time()];
    });
    assertEquals(value, ["+a -a !a", 210]);
  });

  Deno.test(`a stop that comes while it starts has it start all children first, ${style}`, async () => {
    const { value } = await play(style, function* (loop) {
      const stage = new Stage(style);
      const supervisor = new Supervisor({
        children: [
          stage.child("a", { starts: [50] }),
          stage.child("b", { starts: [50] }),
        ],
      });
      const started = createTask(() => supervisor.start());
      yield sleep(10);
      yield supervisor.stop();
      yield started; // throws nothing
      return [stage.take(), loop.time()];
    });
    assertEquals(value, ["+a +b -b !b -a !a", 100]);
  });

  Deno.test(`a stop of a child that has begun is not taken back, one that waits is, ${style}`, async () => {
    const { value } = await play(style, function* () {
      const stage = new Stage(style);
      const supervisor = new Supervisor({
        children: [stage.child("a", { stop: 50 }), stage.child("b")],
      });
      yield supervisor.start();
      const calls = ["a", "b"].map((id) =>
        createTask(() => supervisor.terminateChild(id))
      );
      yield sleep(10);
      for (const call of calls) call.cancel();
      yield sleep(100);
      const infos = (yield supervisor.whichChildren()) as {
        id: string;
        status: string;
      }[];
      const log = stage.take();
      yield supervisor.stop();
      return [log, infos.map(({ id, status }) => `${id} ${status}`)];
    });
    assertEquals(value, ["+a +b -a !a", ["b running", "a stopped"]]);
  });

  Deno.test(`join() throws how the supervisor has ended, and leaves it alone if it is cancelled, ${style}`, async () => {
    const { value } = await play(style, function* () {
      const stage = new Stage(style);
      const supervisor = new Supervisor({ children: [stage.child("a")] });
      const run = createTask(() => supervisor.run());
      yield sleep(10);
      const left = createTask(() => supervisor.join());
      const joined = createTask(() => supervisor.join());
      yield sleep(10);
      left.cancel();
      yield sleep(10);
      const states: unknown[] = [left.cancelled(), supervisor.state];
      run.cancel();
      const error = yield* caught(joined);
      assertInstanceOf(error, CancelledError);
      return [...states, supervisor.state];
    });
    assertEquals(value, [true, "running", "ended"]);
  });

  Deno.test(`calls in the mailbox of a supervisor that ends are refused, ${style}`, async () => {
    const { value } = await play(style, function* () {
      const stage = new Stage(style);
      const supervisor = new Supervisor({
        children: [stage.child("a", { stop: 50 })],
      });
      yield supervisor.start();
      const stop = createTask(() => supervisor.stop());
      yield sleep(10);
      const error = yield* caught(supervisor.countChildren());
      yield stop;
      assertInstanceOf(error, SupervisorEndedError);
      assertInstanceOf(
        yield* caught(supervisor.countChildren()),
        SupervisorEndedError,
      );
      return error.message;
    });
    assertEquals(value, 'Cannot call supervisor "supervisor": it has ended');
  });

  Deno.test(`autoShutdown: with the first significant child, or the last, ${style}`, async () => {
    for (
      const autoShutdown of ["any-significant", "all-significant"] as const
    ) {
      const { value } = await play(style, function* () {
        const stage = new Stage(style);
        const significant = {
          significant: true,
          restart: "transient",
        } as const;
        const supervisor = new Supervisor({
          autoShutdown,
          reportCrashes: false,
          children: [
            stage.child("a"),
            stage.child("b", significant),
            stage.child("c", significant),
            stage.child("d", { restart: "temporary" }),
          ],
        });
        yield supervisor.start();
        stage.take();
        stage.end("d", "normal"); // is not significant
        stage.end("c", "crash"); // is restarted
        yield sleep(1);
        yield supervisor.terminateChild("c"); // does not count as an end
        yield supervisor.restartChild("c");
        stage.end("c", "normal");
        yield sleep(1);
        const first = [stage.take(), supervisor.state];
        if (autoShutdown === "all-significant") {
          stage.end("b", "shutdown");
          yield supervisor.join();
        }
        return [...first, stage.take(), supervisor.state];
      });
      assertEquals(
        value,
        autoShutdown === "any-significant"
          ? ["!d !c +c -c !c +c !c -b !b -a !a", "ended", "", "ended"]
          : ["!d !c +c -c !c +c !c", "running", "!b -a !a", "ended"],
      );
    }
  });

  Deno.test(`a periodic task is a child, ${style}`, async () => {
    const { value } = await play(style, function* (loop) {
      const ticks: number[] = [];
      let failing = true;
      const supervisor = new Supervisor({
        reportCrashes: false,
        children: [{
          id: "job",
          start: () =>
            every(10, () => {
              ticks.push(loop.time());
              if (failing && ticks.length === 2) throw new Error("once");
            }, { onError: "stop" }),
        }],
      });
      yield supervisor.start();
      yield sleep(45);
      failing = false;
      yield supervisor.stop();
      yield sleep(100);
      return ticks;
    });
    // After the crash at 20 there is a new one, with a grid of its own.
    assertEquals(value, [10, 20, 30, 40]);
  });

  Deno.test(`a permanent child that returns without a word is reported, and restarted, ${style}`, async () => {
    const { value, reports } = await play(style, function* () {
      const stage = new Stage(style);
      const supervisor = new Supervisor({
        name: "top",
        children: [
          stage.child("a"),
          stage.child("b", { restart: "transient" }),
        ],
      });
      yield supervisor.start();
      stage.take();
      stage.end("a", "normal");
      stage.end("b", "normal");
      yield sleep(1);
      const log = stage.take();
      yield supervisor.stop();
      return log;
    });
    assertEquals(value, "!a !b +a");
    assertEquals(reports, [
      'Child "top/a" has ended, and is to run for ever',
    ]);
  });

  Deno.test(`await using stops it, ${style}`, async () => {
    const stage = new Stage(style);
    await run(async () => {
      await using supervisor = new DynamicSupervisor();
      await supervisor.start();
      await supervisor.startChild(stage.start("a"));
    }, { host: "virtual" });
    assertEquals(stage.take(), "+a -a !a");
  });

  Deno.test(`a child that is cancelled by somebody else counts as failed, ${style}`, async () => {
    const { value } = await play(style, function* () {
      const stage = new Stage(style);
      const supervisor = new Supervisor({
        children: [stage.child("a", { restart: "transient" })],
      });
      yield supervisor.start();
      const first = stage.runOf("a");
      stage.end("a", "cancel");
      yield sleep(1);
      const result = [stage.take(), first.end, first.signal.aborted];
      yield supervisor.stop();
      return result;
    });
    assertEquals(value, [
      "+a !a +a",
      { kind: "cancelled", reason: "somebody" },
      true,
    ]);
  });

  Deno.test(`a child that goes on waiting after it was killed is closed, ${style}`, async () => {
    const { value } = await play(style, function* (loop) {
      let waits = 0;
      const stubborn = function* () {
        for (;;) {
          try {
            waits++;
            yield* sleep(1_000);
          } catch {
            // Not now.
          }
        }
      };
      const stubbornAsync = async () => {
        for (;;) {
          try {
            waits++;
            await sleep(1_000);
          } catch {
            // Not now.
          }
        }
      };
      const supervisor = new Supervisor({
        children: [{
          id: "a",
          shutdown: 5,
          start: style === "a generator" ? stubborn : stubbornAsync,
        }],
      });
      yield supervisor.start();
      yield supervisor.stop();
      const before = waits;
      yield sleep(10_000);
      return [waits - before, loop.time(), loop.stats().tasks];
    });
    assertEquals(value, [0, 10_005, 1]);
  });
}

Deno.test("a supervisor that was never started leaves nothing behind", async () => {
  await run(async () => {
    await using supervisor = new Supervisor({
      children: [{ id: "a", start: () => sleep(1) }],
    });
    assertEquals(supervisor.tree().state, "new");
  }, { host: "virtual" });
});

Deno.test("run() of a supervisor whose child does not start rejects", async () => {
  await assertRejects(
    () =>
      run(() =>
        new Supervisor({
          children: [{
            id: "a",
            start: () => {
              throw new Error("no");
            },
          }],
        }).run(), { host: "virtual" }),
    ChildStartError,
    'Cannot start child "supervisor/a"',
  );
});
