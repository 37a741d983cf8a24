/**
 * Pools under a supervisor: real ones of threads and processes, a balancer, and one that does not end.
 *
 * @module
 */
import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertThrows,
} from "@std/assert";
import {
  CancelledError,
  ChildStartError,
  ExecutorShutDownError,
  WorkerCrashError,
} from "../../src/errors.ts";
import { type Future, Operation, run, sleep } from "../../src/loop/mod.ts";
import { supervisedPool } from "../../src/supervise/supervised_pool.ts";
import { BaseExecutor } from "../../src/workers/base_executor.ts";
import type { Executor } from "../../src/workers/executor.ts";
import { LoadBalancer } from "../../src/workers/load_balancer.ts";
import { ProcessPool } from "../../src/workers/process_pool.ts";
import { ThreadPool } from "../../src/workers/thread_pool.ts";
import { inStyle } from "../support/styles.ts";
import {
  canCountThreads,
  countThreads,
  eventually,
} from "../workers/support/threads.ts";
import { caught, play, STYLES } from "./stage.ts";
import { playForReal, Scene, untilSo } from "./support/scene.ts";

/** Waits until no thread is left. */
async function threadsGone(): Promise<void> {
  if (canCountThreads) {
    await eventually("all threads are gone", () => countThreads() === 0);
  }
}

const add = (a: number, b: number) => a + b;
const never = () => new Promise<never>(() => {});
const block = () => {
  for (;;);
};

const POOLS: Readonly<Record<string, () => Executor>> = {
  ThreadPool: () => new ThreadPool({ maxWorkers: 1, cancelGraceMs: 50 }),
  ProcessPool: () => new ProcessPool({ maxWorkers: 1, cancelGraceMs: 50 }),
  LoadBalancer: () =>
    new LoadBalancer([new ThreadPool({ maxWorkers: 1, cancelGraceMs: 50 })]),
};

for (const style of STYLES) {
  for (const [name, make] of Object.entries(POOLS)) {
    Deno.test(`a ${name} is a child: it is ready at once, does jobs, and is shut down, ${style}`, async () => {
      await playForReal(style, function* () {
        const scene = new Scene({
          start: supervisedPool(make),
          shutdown: Infinity, // threads start late on a machine that is busy
        });
        yield scene.supervisor.start();
        const pool = (yield* scene.value()) as Executor;
        const job = pool.submit(add, [1, 2]);
        yield scene.supervisor.stop(); // lets the job end
        assertEquals(yield job, 3);
        assertEquals(scene.words, [
          "starting",
          "started",
          "stopping",
          "ended shutdown",
        ]);
        assertThrows(() => pool.submit(add, [1, 2]), ExecutorShutDownError);
      });
      await threadsGone();
    });

    Deno.test(`a ${name} whose jobs refuse to end is killed after its shutdown time, ${style}`, async () => {
      for (const shutdown of [50, "brutal-kill"] as const) {
        await playForReal(style, function* () {
          const scene = new Scene({
            start: supervisedPool(make, { warmUp: true }),
            shutdown,
          });
          yield scene.supervisor.start();
          const pool = (yield* scene.value()) as Executor;
          const job = pool.submit(block, []);
          yield scene.supervisor.stop();
          assertInstanceOf(yield* caught(job), CancelledError);
          assertEquals(scene.words.at(-1), "ended killed");
        });
      }
      await threadsGone();
    });

    Deno.test(`a ${name} that somebody else has shut down is replaced, ${style}`, async () => {
      await playForReal(style, function* () {
        const scene = new Scene({
          start: supervisedPool(make, { probeMs: 20 }),
        });
        yield scene.supervisor.start();
        const first = (yield* scene.value()) as Executor;
        yield first.shutdown();
        yield* untilSo("its restart", () => scene.starts === 2);
        assert(scene.words.includes("ended normal"));
        const pool = (yield* scene.value()) as Executor;
        assertEquals(yield pool.submit(add, [3, 4]), 7);
        yield scene.supervisor.stop();
      });
    });
  }

  Deno.test(`jobs of a pool that is stopped have graceMs to end, ${style}`, async () => {
    await playForReal(style, function* () {
      const scene = new Scene({
        start: supervisedPool(POOLS.ThreadPool!, { graceMs: 30 }),
        shutdown: Infinity,
      });
      yield scene.supervisor.start();
      const pool = (yield* scene.value()) as Executor;
      const job = pool.submit(never, []);
      yield scene.supervisor.stop();
      assertInstanceOf(yield* caught(job), CancelledError);
      assertEquals(scene.words.at(-1), "ended shutdown");
    });
  });

  Deno.test(`a pool that cannot be made fails to start, ${style}`, async () => {
    for (
      const [make, text] of [
        [() => {
          throw new RangeError("no pool");
        }, "no pool"],
        [() => 5, "make must return an executor: received 5"],
      ] as const
    ) {
      await playForReal(style, function* () {
        const scene = new Scene({ start: supervisedPool(make as never) });
        const error = yield* caught(scene.supervisor.start());
        assertInstanceOf(error, ChildStartError);
        assert((error.cause as Error).message.includes(text));
      });
    }
  });

  Deno.test(`a pool that cannot start a worker fails to start if it is to warm up, ${style}`, async () => {
    const { value } = await play(style, function* () {
      const scene = new Scene({
        start: supervisedPool(
          () =>
            new ProcessPool({
              maxWorkers: 1,
              cwd: "/does/not/exist",
              maxRestarts: 0,
            }),
          { warmUp: true },
        ),
      });
      const error = yield* caught(scene.supervisor.start());
      assertInstanceOf(error, ChildStartError);
      return error.cause as Error;
    }, { host: "portable" });
    assertInstanceOf(value, WorkerCrashError);
    assertEquals(value.kind, "start");
  });

  Deno.test(`a pool whose probe fails has crashed, and is replaced, ${style}`, async () => {
    await playForReal(style, function* () {
      let made = 0;
      const scene = new Scene({
        start: supervisedPool(() => {
          made++;
          return new ThreadPool({ maxWorkers: 1, cancelGraceMs: 50 });
        }, {
          probeMs: 1,
          probe: () => {
            throw new RangeError("ill");
          },
        }),
      });
      yield scene.supervisor.start();
      yield* untilSo("its restart", () => made === 2);
      assertEquals((scene.crash as Error).message, "ill");
      yield scene.supervisor.stop();
    });
  });

  Deno.test(`the probes of a pool are its heartbeats, ${style}`, async () => {
    await play(style, function* (loop) {
      // A pool of this loop: on virtual time it is as quick as it can be.
      let slowMs = 0;
      let made = 0;
      class Slow extends BaseExecutor {
        readonly capacity = 1;
        override submit<T>(): Future<T> {
          return loop.createTask(() => sleep(slowMs)) as unknown as Future<T>;
        }
        override stats(): never {
          throw new Error("nobody asks");
        }
        override shutdown(): Operation<void> {
          return sleep(0);
        }
      }
      const make = () => {
        made++;
        slowMs = 0;
        return new Slow();
      };
      const scene = new Scene({
        start: supervisedPool(make, { probeMs: 10 }),
        heartbeatMs: 50,
      });
      yield scene.supervisor.start();
      yield sleep(1_000);
      assertEquals(made, 1);
      slowMs = 100;
      yield sleep(100);
      assertEquals([made, (scene.crash as Error).name], [
        2,
        "HeartbeatLostError",
      ]);
      yield scene.supervisor.stop();
      for (const probeMs of [50, Infinity]) {
        const other = new Scene({
          start: supervisedPool(make, { probeMs }),
          heartbeatMs: 50,
        });
        const error = yield* caught(other.supervisor.start());
        assertEquals(
          (error.cause as Error).message,
          `Cannot start child "top/a" with heartbeatMs 50: the probes of a pool are its heartbeats, and probeMs is ${probeMs}`,
        );
      }
      assertEquals(made, 2);
    });
  });

  Deno.test(`the end of the run stops a pool in its turn, ${style}`, async () => {
    const scene = new Scene({
      start: supervisedPool(POOLS.ThreadPool!, { probeMs: 10 }),
    });
    await run(
      inStyle(style, function* () {
        yield scene.supervisor.start();
        yield sleep(30);
      }),
    );
    assertEquals(scene.words.at(-1), "ended shutdown");
    await threadsGone();
  });

  Deno.test(`a pool that does not end is abandoned, and no second one is started beside it, ${style}`, async () => {
    const { value } = await play(style, function* (loop) {
      const down = loop.createFuture<void>();
      const scene = new Scene({
        start: supervisedPool(() => hanging(down)),
        shutdown: 100,
      });
      yield scene.supervisor.start();
      yield scene.supervisor.terminateChild("a");
      const stoppedMs = loop.time();
      const error = yield* caught(scene.supervisor.restartChild("a"));
      down.setResult();
      yield sleep(20);
      yield scene.supervisor.restartChild("a");
      const { words } = scene;
      yield scene.supervisor.stop();
      return [words.slice(0, 5), stoppedMs, error.name];
    });
    assertEquals(value, [
      ["starting", "started", "stopping", "abandoned", "ended abandoned"],
      10_100,
      "ChildStateError",
    ]);
  });
}

/** A pool whose shutdown takes until a future is done. */
function hanging(down: Future<void>): Executor {
  return new class extends BaseExecutor {
    readonly capacity = 1;
    submit(): never {
      throw new Error("not here");
    }
    shutdown(): Operation<void> {
      return new Operation(function* () {
        while (!down.done()) yield* sleep(10);
      });
    }
    stats(): never {
      throw new Error("not here");
    }
  }();
}

Deno.test("what is wrong with a supervised pool is said when it is made", () => {
  const make = POOLS.ThreadPool!;
  const cases: readonly (readonly [() => unknown, string])[] = [
    [
      () => supervisedPool(make, { graceMs: -1 }),
      "Cannot supervise a pool as graceMs must be >= 0: received -1",
    ],
    [
      () => supervisedPool(make, { probeMs: 0 }),
      "Cannot supervise a pool as probeMs must be > 0: received 0",
    ],
    [
      () => supervisedPool(make, { probeMs: NaN }),
      "Cannot supervise a pool as probeMs must not be NaN: received NaN",
    ],
  ];
  for (const [wrong, message] of cases) {
    let text = "";
    try {
      wrong();
    } catch (error) {
      text = (error as Error).message;
    }
    assertEquals(text, message);
  }
});
