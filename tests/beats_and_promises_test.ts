/**
 * What was found wrong once with jobs that tick together, and with the tasks of async
 * functions.
 *
 * @module
 */
import { core } from "../src/loop/core.ts";
import { assert, assertEquals, assertRejects } from "@std/assert";
import { AsyncLocalStorage } from "node:async_hooks";
import {
  CancelledError,
  currentTask,
  EventLoop,
  every,
  newEventLoop,
  type PeriodicOptions,
  type PeriodicTask,
  Task,
} from "../mod.ts";
import { macrotask } from "../src/host/macrotask.ts";
import { coreOf } from "../src/schedule/periodic_task.ts";
import {
  collectReports,
  ObservedLoop,
  openLoop,
  runTurns,
} from "./support/loops.ts";
import { keepBusy, ManualHost } from "./support/manual_host.ts";
import { runProgram } from "./support/program.ts";

/** One on which jobs tick together, and one on which they do not. */
const LOOPS = [
  (host: ManualHost) => new EventLoop({ host }),
  (host: ManualHost) => new ObservedLoop({ host }),
];

// Only a timer that is made in every() has the async context of whoever made the job.
for (
  const [what, options] of [
    ["in company", {}],
    ["alone", { missedTicks: "delay" }],
  ] as [string, PeriodicOptions][]
) {
  for (const kind of ["plain", "async"]) {
    Deno.test(`With asyncContext "inherit" each job ${what} has the context of who made it, ${kind} body`, async () => {
      await using loop = newEventLoop({
        host: "virtual",
        asyncContext: "inherit",
      });
      const storage = new AsyncLocalStorage<string>();
      const log: string[] = [];
      const note = () => void log.push(`${storage.getStore()}`);
      const make = (name: string) =>
        storage.run(
          name,
          () =>
            every(10, kind === "plain" ? note : async () => note(), {
              ...options,
              loop,
              maxRuns: 3,
            }),
        );
      const jobs = [make("a"), make("b")];
      for (const job of jobs) await loop.runUntilComplete(job);
      assertEquals(log, ["a", "b", "a", "b", "a", "b"]);
    });
  }
}

// A long interval sees many come and go before the beat runs.
Deno.test("Who leaves a beat and comes back any number of times takes no more room", async () => {
  const { loop } = openLoop();
  const jobs = [0, 1].map(() => every(1e6, () => {}, { loop }));
  await runTurns(loop, 2);
  for (let n = 0; n < 10_000; n++) {
    jobs[1]!.pause();
    jobs[1]!.resume();
  }
  const { slot } = coreOf(jobs[1]!);
  for (const job of jobs) job.cancel();
  await runTurns(loop, 4);
  await loop.close();
  assert(slot < 100, `it is number ${slot}`);
});

// On a closed loop no timer can be armed, and none is needed.
for (const missedTicks of ["skip", "delay"] as const) {
  Deno.test(`A job of a closed loop can be asked for anything that it could be before, missedTicks ${missedTicks}`, async () => {
    const { loop } = openLoop();
    const job = every(10, () => {}, { loop, missedTicks });
    await runTurns(loop, 2);
    const unstarted = every(10, () => {}, { loop, missedTicks });
    await loop.close();
    for (const each of [job, unstarted]) {
      each.unref();
      each.ref();
      each.stats();
      assertEquals(each.cancel(), false);
    }
  });
}

// What has a priority of its own has to wait its turn, which a direct call does not.
Deno.test("A job whose priority was changed runs as a task, in company as alone", async () => {
  const ranAs: Record<string, boolean[]> = {};
  for (const missedTicks of ["skip", "delay"] as const) {
    const { loop } = openLoop();
    const log: boolean[] = ranAs[missedTicks] = [];
    const job = every(10, ({ index }) => {
      log.push(currentTask() !== job as unknown);
      if (index === 2) job.setPriority("background");
    }, { loop, missedTicks, maxRuns: 4 });
    await loop.runUntilComplete(job);
    await loop.close();
  }
  assertEquals(ranAs.skip, ranAs.delay);
});

// Its task has to begin at once whatever the priority, as somebody has to subscribe to the promise.
Deno.test("What a job whose priority was changed has rejected is never unhandled", async () => {
  const { loop } = openLoop();
  const unhandled: unknown[] = [];
  const listener = (event: PromiseRejectionEvent) => {
    event.preventDefault();
    unhandled.push(event.reason);
  };
  addEventListener("unhandledrejection", listener);
  const job = every(10, ({ index }): unknown => {
    if (index === 1) return;
    if (index === 2) return void job.setPriority("background");
    job.cancel();
    return Promise.reject("lost");
  }, { loop });
  await assertRejects(() => loop.runUntilComplete(job), CancelledError);
  await loop.close();
  await new Promise<void>((resolve) => macrotask(resolve));
  removeEventListener("unhandledrejection", listener);
  assertEquals(unhandled, []);
});

// An error that got past the job would leave it neither armed nor ended.
Deno.test("A task factory that throws for the promise of a later run fails that run, and the job goes on", async () => {
  const { loop, reports } = openLoop();
  let broken = false;
  loop.setTaskFactory((loop, body, options) => {
    if (broken) throw new Error("no more tasks");
    return new Task(loop, body, options);
  });
  const log: number[] = [];
  const job = every(10, ({ index }): unknown => {
    log.push(index);
    broken = index === 2;
    return index === 2 ? Promise.resolve() : undefined;
  }, { loop });
  loop.callAt(45, () => loop.stop());
  await loop.runForever();
  assertEquals([log, job.stats().failed, reports.length], [[1, 2, 3, 4], 1, 1]);
  job.cancel();
  await runTurns(loop, 4);
  await loop.close();
});

// Nobody calls back then: the task has to end by itself.
Deno.test("A thenable whose then throws fails the task", async () => {
  const { loop, reports } = openLoop();
  const task = loop.createTask(() => ({
    then(): never {
      throw new Error("no");
    },
  }));
  await runTurns(loop, 3);
  assertEquals([task.done(), reports], [true, []]);
  assertEquals((task.exception() as Error).message, "no");
  await loop.close();
});

// It counts as waiting outside from before `then` is called.
Deno.test("A promise that cannot be waited for leaves nothing counted", async () => {
  const { loop } = openLoop();
  class Picky extends Promise<number> {
    static override get [Symbol.species](): PromiseConstructor {
      throw new Error("no");
    }
  }
  const task = loop.createTask(() => Picky.resolve(1));
  await runTurns(loop, 3);
  assertEquals((task.exception() as Error).message, "no");
  assertEquals(
    [loop[core].outside.asyncTasks, loop[core].outside.asyncOutside],
    [0, 0],
  );
  await loop.close();
});
// A beat that is due already, and queued, must not be joined.
Deno.test("A tick that is made up for comes in the turn after, in company as alone", async () => {
  const logs: string[][] = [];
  for (const makeLoop of LOOPS) {
    const host = new ManualHost();
    const loop = makeLoop(host);
    const log: string[] = [];
    const first = every(10, ({ index }) => {
      log.push(`first ${index}`);
      if (index === 2) loop.callSoon(() => log.push("what it has queued"));
    }, { loop, missedTicks: "burst" });
    const second = every(10, ({ index }) => log.push(`second ${index}`), {
      loop,
    });
    const third = every(10, () => host.nowMs = 35, { loop, maxRuns: 1 });
    const running = loop.runForever();
    await host.parked();
    host.advanceTo(25);
    await host.parked();
    for (const job of [first, second, third]) job.cancel();
    loop.stop();
    await running;
    await loop.close();
    logs.push(log);
  }
  assertEquals(logs[0], logs[1]);
});

// To look at what a function has given may throw, like the function.
Deno.test("A result that throws when it is looked at fails that run, and the job goes on", async () => {
  const { loop, reports } = openLoop();
  const log: number[] = [];
  const hostile = {
    get then(): never {
      throw new Error("no");
    },
  };
  const job = every(10, ({ index }) => {
    log.push(index);
    return index === 2 ? hostile : undefined;
  }, { loop });
  loop.callAt(45, () => loop.stop());
  await loop.runForever();
  assertEquals([log, job.stats().failed, reports.length], [[1, 2, 3, 4], 1, 1]);
  job.cancel();
  await runTurns(loop, 4);
  await loop.close();
});

// Only a timer that is made in every() knows who called that.
Deno.test("In debug mode a slow tick says where its job was made", async () => {
  const host = new ManualHost();
  const loop = newEventLoop({ host, debug: true, slowCallbackMs: 5 });
  const reports = collectReports(loop);
  const makeTheJob = () => every(10, () => keepBusy(10), { loop });
  const job = makeTheJob();
  const running = loop.runForever();
  await host.runUntil(25);
  job.cancel();
  loop.stop();
  await running;
  await loop.close();
  const stacks = reports.filter(({ handle }) => handle !== undefined)
    .map(({ creationStack }) => creationStack?.includes("makeTheJob"));
  assertEquals(new Set(stacks), new Set([true]));
});

// A reason may hold on to anything.
Deno.test("A task that has ended keeps nothing of a cancellation that it took", async () => {
  const { stdout, stderr, code } = await runProgram(
    `
    import { getRunningLoop, run, sleep, until } from "@rota/rota";
    let gone;
    const cancel = (task) => {
      const reason = { big: true };
      gone = new WeakRef(reason);
      task.cancel(reason);
    };
    await run(function* () {
      const task = getRunningLoop().createTask(function* () {
        try {
          yield* sleep(1e6);
        } catch {
          // goes on all the same
        }
      });
      getRunningLoop().callLater(1, () => cancel(task));
      yield* task;
      for (let n = 0; n < 200 && gone.deref() !== undefined; n++) {
        yield* until(new Promise((resolve) => setTimeout(resolve)));
        gc(); // before deref(), which keeps it for as long as this job lasts
      }
      console.log(task.done(), gone.deref());
    });
  `,
    { flags: ["-A", "--v8-flags=--expose-gc"] },
  );
  assertEquals(code, 0, stderr);
  assertEquals(stdout.trim(), "true undefined");
});

Deno.test("Jobs that are ended, paused or sent away while a beat is half through leave the others their turn", async () => {
  const deeds: ((job: PeriodicTask) => void)[] = [
    (job) => job.cancel(),
    (job) => job.pause(),
    (job) => job.unref(),
    (job) => job.trigger(),
  ];
  for (const deed of deeds) {
    const host = new ManualHost();
    const loop = newEventLoop({ host });
    const runs = new Array<number>(600).fill(0);
    let at = 0;
    const jobs = runs.map((_, n) =>
      every(100, ({ index }) => {
        at = n;
        if (index < 2) return; // that one is a task
        if (index === 2) host.nowMs += 0.05;
        runs[n]!++;
      }, { loop })
    );
    const running = loop.runForever();
    await host.runUntil(150);
    at = 0;
    let actedAt = 0;
    const pass = () => {
      if (at > 0) {
        actedAt = at;
        for (let n = 1; n < jobs.length; n += 2) deed(jobs[n]!);
      } else macrotask(pass);
    };
    macrotask(pass);
    await host.runUntil(350);
    assert(actedAt > 0 && actedAt < 599, `after ${actedAt}`);
    assertEquals(runs.filter((count, n) => n % 2 === 0 && count !== 2), []);
    for (const job of jobs) job.cancel();
    assertEquals(loop.stats().timers, 0);
    loop.stop();
    await running;
    await loop.close();
  }
});
