/**
 * Work that goes on whatever becomes of the worker loop that does it, and all kinds of children in one tree.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { ExecutorShutDownError } from "../../src/errors.ts";
import { run, sleep } from "../../src/loop/mod.ts";
import { Supervisor } from "../../src/supervise/supervisor.ts";
import { childProcess } from "../../src/supervise/supervised_process.ts";
import { supervisedPool } from "../../src/supervise/supervised_pool.ts";
import { workerLoop } from "../../src/supervise/worker_loop.ts";
import type { LoopHandle } from "../../src/workers/loop_handle.ts";
import { taskModule } from "../../src/workers/module_task.ts";
import { ThreadPool } from "../../src/workers/thread_pool.ts";
import { inStyle } from "../support/styles.ts";
import {
  canCountThreads,
  countThreads,
  eventually,
} from "../workers/support/threads.ts";
import { type Steps, STYLES } from "./stage.ts";
import { startChild, waitForLine } from "./support/child.ts";
import { playForReal, Scene, untilSo } from "./support/scene.ts";
import type * as Loops from "./support/worker_loops.ts";

const loops = taskModule<typeof Loops>(
  new URL("./support/worker_loops.ts", import.meta.url),
);
type Served = LoopHandle<{ [K in keyof Loops.Served]: Loops.Served[K] }>;

const ITEMS = 40;
/** What is done to the worker loop, and before which item. */
const TROUBLES: Readonly<Record<number, (scene: Scene) => Steps<void>>> = {
  5: function* (scene) {
    ((yield* scene.value()) as Served).post("block");
  },
  12: function* (scene) {
    ((yield* scene.value()) as Served).post("crash", "boom");
  },
  19: function* (scene) {
    ((yield* scene.value()) as Served).post("block");
    yield scene.supervisor.terminateChild("a");
    yield scene.supervisor.restartChild("a");
  },
  26: function* (scene) {
    ((yield* scene.value()) as Served).post("fillHeap");
  },
  33: function* (scene) {
    ((yield* scene.value()) as Served).post("exit", 0);
  },
};

/** Has an item done, by the run that does it; counts the tries. */
function* until(scene: Scene, item: number, tries: number[]): Steps<number> {
  for (;;) {
    const handle = (yield* scene.value()) as Served | undefined;
    tries[item] = (tries[item] ?? 0) + 1;
    try {
      if (handle !== undefined) return yield handle.call("slowly", item, 1);
    } catch (error) {
      if (!(error instanceof ExecutorShutDownError)) throw error;
    }
    yield sleep(10); // until it is restarted
  }
}

async function threadsGone(): Promise<void> {
  if (canCountThreads) {
    await eventually("all threads are gone", () => countThreads() === 0);
  }
}

for (const style of STYLES) {
  Deno.test(`a worker loop is blocked, crashed, killed, out of memory and gone, in turn: work goes on, and nothing is lost, ${style}`, async () => {
    await playForReal(style, function* () {
      const tries: number[] = [];
      const scene = new Scene({
        start: workerLoop(loops.serve, [], {
          unresponsiveMs: 1_000,
          resourceLimits: { maxOldGenerationSizeMb: 32 },
        }),
        shutdown: 50,
      });
      yield scene.supervisor.start();
      const results: number[] = [];
      for (let item = 0; item < ITEMS; item++) {
        const trouble = TROUBLES[item];
        if (trouble !== undefined) yield* trouble(scene);
        results.push(yield* until(scene, item, tries));
      }
      assertEquals(results, Array.from({ length: ITEMS }, (_, n) => n * 2));
      // An item may be done before a trouble begins that was posted behind it.
      yield* untilSo("all restarts", () => scene.starts === 6);
      assertEquals(
        scene.words.filter((word) => word.startsWith("ended")),
        [
          "ended crash",
          "ended crash",
          "ended killed",
          "ended crash",
          "ended crash",
        ],
      );
      yield scene.supervisor.stop();
    });
    await threadsGone();
  });

  Deno.test(`a pool, a worker loop and a process under one supervisor stop in reverse at the end of the run, ${style}`, async () => {
    const log: string[] = [];
    const supervisor = new Supervisor({
      name: "top",
      children: [
        {
          id: "pool",
          start: supervisedPool(() => new ThreadPool({ maxWorkers: 1 }), {
            warmUp: true,
          }),
        },
        { id: "loop", start: workerLoop(loops.serve) },
        {
          id: "process",
          start: childProcess(["sh", "-c", "echo up; exec sleep 1000"], {
            ready: (line) => line === "up",
          }),
        },
      ],
    });
    supervisor.subscribe((event) => {
      if ("childId" in event && event.type !== "stopping") {
        log.push(`${event.type} ${event.childId}`);
      }
    });
    await run(inStyle(style, function* () {
      yield supervisor.start();
    }));
    assertEquals(log, [
      "starting pool",
      "started pool",
      "starting loop",
      "started loop",
      "starting process",
      "started process",
      "ended process",
      "ended loop",
      "ended pool",
    ]);
    assert(supervisor.tree().toString().length > 0);
    await threadsGone();
  });
}

/** Starts the program of all adapters; returns it and the id of its child process. */
async function startProgram(scene = "all") {
  const program = startChild("adapters", scene);
  const pid = Number((await program.line())?.replace("pid ", ""));
  await waitForLine(program, "ready");
  return { program, pid };
}

/** Whether there is such a process. */
function exists(pid: number): boolean {
  try {
    Deno.kill(pid, "SIGCONT");
    return true;
  } catch {
    return false;
  }
}

Deno.test("SIGTERM ends a busy pool, a worker loop that blocks and a process that refuses, each in its time", async () => {
  const { program, pid } = await startProgram();
  program.send("SIGTERM");
  const { code, stdout, stderr, killed } = await program.end();
  assertEquals({ code, stderr, killed }, {
    code: 0,
    stderr: "",
    killed: false,
  });
  const lines = stdout.trim().split("\n");
  // The end of a run cancels the jobs of all pools at once, so that the pool has none in its turn.
  assert(lines.includes("job cancelled: true"));
  assertEquals(lines.filter((line) => !line.startsWith("job")), [
    "process ended killed",
    "loop ended killed",
    "pool ended shutdown",
    "run has returned",
  ]);
  assert(!exists(pid));
});

Deno.test("a second SIGTERM forces the end, and leaves no process behind", async () => {
  const { program, pid } = await startProgram("forced");
  program.send("SIGTERM");
  await waitForLine(program, "armed");
  assert(exists(pid));
  program.send("SIGTERM");
  const { code, stdout, killed } = await program.end();
  assertEquals({ code, killed }, { code: 143, killed: false });
  assert(!stdout.includes("run has returned"));
  await eventually("its child process is gone", () => !exists(pid));
});

Deno.test("a program that is killed leaves no child process behind", async () => {
  const { program, pid } = await startProgram();
  program.send("SIGKILL");
  await program.end();
  await eventually("its child process is gone", () => !exists(pid));
});
