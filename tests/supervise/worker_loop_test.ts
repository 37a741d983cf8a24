/**
 * Worker loops under a supervisor, with real threads: every way to start, to end and to be ended.
 *
 * @module
 */
import { assert, assertEquals, assertInstanceOf } from "@std/assert";
import {
  ChildStartError,
  ExecutorShutDownError,
  MisuseError,
  WorkerCrashError,
} from "../../src/errors.ts";
import { sleep } from "../../src/loop/mod.ts";
import {
  workerLoop,
  type WorkerLoopOptions,
} from "../../src/supervise/worker_loop.ts";
import { LoopHandle } from "../../src/workers/loop_handle.ts";
import { taskModule } from "../../src/workers/module_task.ts";
import {
  canCountThreads,
  countThreads,
  eventually,
} from "../workers/support/threads.ts";
import { caught, type Steps, STYLES } from "./stage.ts";
import { playForReal, Scene, untilSo } from "./support/scene.ts";
import type * as Loops from "./support/worker_loops.ts";

const loops = taskModule<typeof Loops>(
  new URL("./support/worker_loops.ts", import.meta.url),
);

type Served = LoopHandle<
  {
    [K in keyof Loops.Served]: Loops.Served[K];
  }
>;

/** The handle of the loop. */
function* handleOf(scene: Scene): Steps<Served> {
  return (yield* scene.value()) as Served;
}

/** Waits until no thread is left. */
async function threadsGone(): Promise<void> {
  if (canCountThreads) {
    await eventually("all threads are gone", () => countThreads() === 0);
  }
}

const LIVELY: WorkerLoopOptions = { unresponsiveMs: 500 };

for (const style of STYLES) {
  const served = style === "a generator" ? loops.serveInGenerator : loops.serve;

  Deno.test(`a worker loop is ready when it says so, is called by its handle, and stops, ${style}`, async () => {
    const words = await playForReal(style, function* () {
      const scene = new Scene({ start: workerLoop(served) });
      yield scene.supervisor.start();
      const handle = yield* handleOf(scene);
      assertEquals(yield handle.call("double", 21), 42);
      yield scene.supervisor.stop();
      assert(handle.closed);
      return scene.words;
    });
    assertEquals(words, ["starting", "started", "stopping", "ended shutdown"]);
    await threadsGone();
  });

  Deno.test(`main of a worker loop is cancelled by the reason of the supervisor, and cleans up, ${style}`, async () => {
    await playForReal(style, function* () {
      const log: string[] = [];
      const handle = new LoopHandle<{ say(what: string): void }>();
      handle.register("say", (what) => void log.push(what));
      const scene = new Scene({ start: workerLoop(loops.tell, [handle]) });
      yield scene.supervisor.start();
      yield scene.supervisor.stop();
      assertEquals(log, ["asked by shutdown"]);
      assertEquals(scene.words.at(-1), "ended shutdown");
      handle.close();
    });
  });

  Deno.test(`a worker loop that refuses to stop is killed after its shutdown time, ${style}`, async () => {
    await playForReal(style, function* () {
      const log: string[] = [];
      const handle = new LoopHandle<{ say(what: string): void }>();
      handle.register("say", (what) => void log.push(what));
      const scene = new Scene({
        start: workerLoop(loops.refuse, [handle]),
        shutdown: 100,
      });
      yield scene.supervisor.start();
      yield scene.supervisor.stop();
      assertEquals(log, ["refused"]);
      assertEquals(scene.words.at(-1), "ended killed");
      handle.close();
    });
  });

  Deno.test(`a worker loop that blocks is killed when its supervisor stops, ${style}`, async () => {
    for (const shutdown of ["brutal-kill", 50] as const) {
      await playForReal(style, function* () {
        const scene = new Scene({ start: workerLoop(served), shutdown });
        yield scene.supervisor.start();
        const handle = yield* handleOf(scene);
        handle.post("block");
        yield scene.supervisor.stop();
        assertEquals(scene.words.at(-1), "ended killed");
      });
    }
    await threadsGone();
  });

  Deno.test(`a worker loop can be stopped while its thread starts, ${style}`, async () => {
    for (const delayMs of [0, 5, 30, 60, 100]) {
      await playForReal(style, function* (loop) {
        const scene = new Scene({
          start: workerLoop(loops.startSlowly),
          shutdown: 20,
        });
        const start = loop.createTask(() => scene.supervisor.start());
        yield sleep(delayMs);
        yield scene.supervisor.stop();
        yield* caught(start);
      });
    }
  });

  for (
    const [name, text] of [
      ["fail", "no start"],
      ["silent", "it ended without calling started()"],
      ["exitAtOnce", "ended itself with exit code 3"],
      ["startWithFunction", "could not be cloned"],
      ["missing", "there is no such export"],
    ] as const
  ) {
    Deno.test(`a worker loop whose main is "${name}" fails to start, ${style}`, async () => {
      await playForReal(style, function* () {
        const { module } = loops.fail;
        const scene = new Scene({ start: workerLoop({ module, name }) });
        const error = yield* caught(scene.supervisor.start());
        assertInstanceOf(error, ChildStartError);
        const cause = error.cause as Error;
        assert(cause.message.includes(text), cause.message);
        assertEquals(scene.words, ["starting", "start-failed"]);
      });
      await threadsGone();
    });
  }

  Deno.test(`main of a worker loop without parameters is ready when it waits, ${style}`, async () => {
    await playForReal(style, function* () {
      const scene = new Scene({ start: workerLoop(loops.withoutParameters) });
      yield scene.supervisor.start();
      yield scene.supervisor.stop();
      assertEquals(scene.words.at(-1), "ended shutdown");
    });
  });

  Deno.test(`the end of main is that of the worker loop, ${style}`, async () => {
    for (const main of [loops.end, loops.endAtOnce]) {
      for (
        const [how, end] of [
          ["return", "ended normal"],
          ["throw", "ended crash"],
          ...(main === loops.end ? [["shutdown", "ended shutdown"]] : []),
        ] as const
      ) {
        await playForReal(style, function* () {
          const scene = new Scene({
            start: workerLoop(main, [how!]),
            restart: "temporary",
          });
          yield scene.supervisor.start();
          yield* untilSo("its end", () => scene.words.length === 3);
          assertEquals(scene.words, ["starting", "started", end]);
          if (how === "throw") assertInstanceOf(scene.crash, RangeError);
          yield scene.supervisor.stop();
        });
      }
    }
  });

  Deno.test(`a permanent worker loop that returns is restarted, ${style}`, async () => {
    await playForReal(style, function* () {
      const scene = new Scene({ start: workerLoop(served) });
      yield scene.supervisor.start();
      (yield* handleOf(scene)).post("stop");
      yield* untilSo("its restart", () => scene.starts === 2);
      const handle = yield* handleOf(scene);
      assertEquals(yield handle.call("double", 4), 8);
      yield scene.supervisor.stop();
    });
  });

  Deno.test(`started() twice is a crash of main, ${style}`, async () => {
    await playForReal(style, function* () {
      const scene = new Scene({
        start: workerLoop(loops.startTwice),
        restart: "temporary",
      });
      yield scene.supervisor.start();
      yield* untilSo("its end", () => scene.words.length === 3);
      assertInstanceOf(scene.crash, MisuseError);
      yield scene.supervisor.stop();
    });
  });

  Deno.test(`tasks that main has left behind end with the worker loop, ${style}`, async () => {
    await playForReal(style, function* () {
      const scene = new Scene({
        start: workerLoop(loops.leaveTimer),
        restart: "temporary",
      });
      yield scene.supervisor.start();
      yield* untilSo("its end", () => scene.words.length === 3);
      assertEquals(scene.words.at(-1), "ended normal");
      yield scene.supervisor.stop();
    });
  });

  for (
    const [how, kind, args, options] of [
      ["crash", "error", ["boom"], {}],
      ["exit", "exit", [0], {}],
      ["block", "unresponsive", [], LIVELY],
      ["keepBytes", "out-of-memory", [200 << 20], {
        memoryBytesMax: 150 << 20,
      }],
    ] as const
  ) {
    Deno.test(`a worker loop that dies by "${how}" has crashed as "${kind}", and is restarted, ${style}`, async () => {
      await playForReal(style, function* () {
        const scene = new Scene({ start: workerLoop(served, [], options) });
        yield scene.supervisor.start();
        const first = yield* handleOf(scene);
        const call = first.call("slowly", 1, 1e6);
        first.post(how, ...args as never);
        const lost = yield* caught(call);
        assertInstanceOf(lost, ExecutorShutDownError);
        yield* untilSo("its restart", () => scene.starts === 2);
        const error = scene.crash;
        assertInstanceOf(error, WorkerCrashError);
        assertEquals(error.kind, kind);
        const handle = yield* handleOf(scene);
        assertEquals(yield handle.call("double", 4), 8);
        yield scene.supervisor.stop();
      });
      await threadsGone();
    });
  }

  Deno.test(`a worker loop that fills its heap has crashed, and is restarted, ${style}`, async () => {
    await playForReal(style, function* () {
      const scene = new Scene({
        start: workerLoop(served, [], {
          resourceLimits: { maxOldGenerationSizeMb: 32 },
          unresponsiveMs: 2_000,
        }),
      });
      yield scene.supervisor.start();
      (yield* handleOf(scene)).post("fillHeap");
      yield* untilSo("its restart", () => scene.starts === 2);
      const error = scene.crash;
      assertInstanceOf(error, WorkerCrashError);
      assert(["out-of-memory", "unresponsive"].includes(error.kind));
      yield scene.supervisor.stop();
    });
  });

  Deno.test(`a worker loop that sends no heartbeat is killed and restarted, ${style}`, async () => {
    await playForReal(style, function* () {
      const scene = new Scene({
        start: workerLoop(loops.beat, [20]),
        heartbeatMs: 1_000,
      });
      yield scene.supervisor.start();
      yield* untilSo("its restart", () => scene.starts === 2);
      assertEquals((scene.crash as Error).name, "HeartbeatLostError");
      yield scene.supervisor.stop();
    });
  });
}

Deno.test("what is wrong with a worker loop is said when it is made", () => {
  const cases: readonly (readonly [() => unknown, string])[] = [
    [
      () => workerLoop(5 as never),
      "Cannot make a worker loop as task must be { module, name }, a member of taskModule() or a function: received 5",
    ],
    [
      () => workerLoop(loops.serve, 5 as never),
      "Cannot make a worker loop as args must be an array: received 5",
    ],
    [
      () => workerLoop(loops.serve, [], { unresponsiveMs: 0 }),
      "Cannot make a worker loop as unresponsiveMs must be > 0: received 0",
    ],
    [
      () => workerLoop(loops.serve, [], { unresponsiveMs: NaN }),
      "Cannot make a worker loop as unresponsiveMs must not be NaN: received NaN",
    ],
    [
      () => workerLoop(loops.serve, [], { memoryBytesMax: 0.5 }),
      "Cannot make a worker loop as memoryBytesMax must be an integer >= 1 or Infinity: received 0.5",
    ],
    [
      () => workerLoop(loops.serve, [], { name: 1 as never }),
      "Cannot make a worker loop as name must be a string: received 1",
    ],
    [
      () =>
        workerLoop(loops.serve, [], { resourceLimits: { stackSizeMb: -1 } }),
      "Cannot make a worker loop as resourceLimits.stackSizeMb must be > 0: received -1",
    ],
    // With these two the runtime would end the whole program.
    [
      () =>
        workerLoop(loops.serve, [], {
          resourceLimits: { maxOldGenerationSizeMb: 7.9 },
        }),
      "Cannot make a worker loop as resourceLimits.maxOldGenerationSizeMb must be >= 8: received 7.9",
    ],
    [
      () =>
        workerLoop(loops.serve, [], {
          resourceLimits: { codeRangeSizeMb: 1e12 },
        }),
      "Cannot make a worker loop as resourceLimits.codeRangeSizeMb must be <= 4096: received 1000000000000",
    ],
    [
      () => workerLoop(loops.serve, [], { resourceLimits: 5 as never }),
      "Cannot make a worker loop as resourceLimits must be an object: received 5",
    ],
    [
      () => workerLoop(loops.serve, [], { env: [] as never }),
      "Cannot make a worker loop as env must be an object: received an array",
    ],
  ];
  for (const [make, message] of cases) {
    let text = "";
    try {
      make();
    } catch (error) {
      text = (error as Error).message;
    }
    assertEquals(text, message);
  }
});
