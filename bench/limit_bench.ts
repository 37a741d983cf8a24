/**
 * A hundred thousand jobs that wait once, ten at a time.
 *
 * @module
 */
import { pooledMap } from "@std/async";
import { Sema } from "async-sema";
import fastq from "fastq";
import pLimit from "p-limit";
import PQueue from "p-queue";
import { ConcurrencyLimit, type Coroutine, EventLoop, sleep } from "../mod.ts";
import { register, type Stopwatch, type Suite } from "./support/suite.ts";

/** How many at a time. */
const SLOTS = 10;

/** Counts jobs, and insists that as many ran at a time as should, and no more. */
class Jobs {
  done = 0;
  #inside = 0;
  #insideMax = 0;

  /** An async function that waits once. */
  readonly runAsync = async (): Promise<void> => {
    this.#enter();
    await null;
    this.#leave();
  };

  /** A coroutine that waits once. */
  readonly runCoroutine: () => Coroutine<void>;

  constructor() {
    // deno-lint-ignore no-this-alias
    const jobs = this;
    this.runCoroutine = function* () {
      jobs.#enter();
      yield* sleep(0);
      jobs.#leave();
    };
  }

  #enter(): void {
    if (++this.#inside > this.#insideMax) this.#insideMax = this.#inside;
  }

  #leave(): void {
    this.#inside--;
    this.done++;
  }

  /** How many were done. Throws unless so many ran at a time. */
  check(atLeast: number = SLOTS): number {
    const max = this.#insideMax;
    if (max < atLeast || max > SLOTS || this.#inside !== 0) {
      throw new Error(`${this.#insideMax} jobs ran at a time`);
    }
    return this.done;
  }
}

type Workload = (size: number, watch: Stopwatch) => Promise<number>;

/** The items of a map, made before the clock starts. */
function listOf(size: number): number[] {
  return Array.from({ length: size }, (_, index) => index);
}

/** Rota: `work` on a loop, in an async main task. */
export function jobsOnLoop(
  work: (
    limit: ConcurrencyLimit,
    jobs: Jobs,
    items: readonly number[],
  ) => Promise<unknown>,
): Workload {
  return async (size, watch) => {
    const jobs = new Jobs();
    const items = listOf(size);
    await using loop = new EventLoop({ host: "portable" });
    await loop.runUntilComplete(async () => {
      const limit = new ConcurrencyLimit(SLOTS);
      watch.start();
      await work(limit, jobs, items);
      watch.end();
      if (limit.stats().done !== size) throw new Error("not all were counted");
    });
    return jobs.check();
  };
}

/** The same by others. */
export function jobsBy(
  work: (jobs: Jobs, items: readonly number[]) => Promise<unknown>,
  atLeast?: number,
): Workload {
  return async (size, watch) => {
    const jobs = new Jobs();
    const items = listOf(size);
    watch.start();
    await work(jobs, items);
    watch.end();
    return jobs.check(atLeast);
  };
}

/** Ten loops by hand that share an index: the least there is to do. */
async function tenLoops(jobs: Jobs, items: readonly number[]): Promise<void> {
  let next = 0;
  const loop = async (): Promise<void> => {
    while (next++ < items.length) await jobs.runAsync();
  };
  await Promise.all(Array.from({ length: SLOTS }, loop));
}

/** Ten coroutines by hand on a loop of Rota, that share an index. */
async function tenCoroutines(
  size: number,
  watch: Stopwatch,
): Promise<number> {
  const jobs = new Jobs();
  await using loop = new EventLoop({ host: "portable" });
  await loop.runUntilComplete(async () => {
    let next = 0;
    watch.start();
    const tasks = Array.from(
      { length: SLOTS },
      () =>
        loop.createTask(function* () {
          while (next++ < size) yield* jobs.runCoroutine();
        }),
    );
    for (const task of tasks) await task;
    watch.end();
  });
  return jobs.check();
}

/** What is compared. */
export const suites: readonly Suite[] = [{
  name: "limit-async",
  title: "async jobs, ten at a time",
  things: "jobs",
  size: 100_000,
  tinySize: 40,
  cases: [
    {
      name: "Rota, map",
      role: "rota",
      run: jobsOnLoop(async (limit, jobs, items) =>
        await limit.map(items, jobs.runAsync)
      ),
    },
    {
      name: "Rota, run",
      role: "rota",
      run: jobsOnLoop(async (limit, jobs, items) => {
        for (const _ of items) limit.run(jobs.runAsync);
        await limit.onIdle();
      }),
    },
    { name: "ten loops by hand", role: "limit", run: jobsBy(tenLoops) },
    {
      name: "p-limit",
      role: "rival",
      run: jobsBy((jobs, items) => {
        const limit = pLimit(SLOTS);
        return Promise.all(items.map(() => limit(jobs.runAsync)));
      }),
    },
    {
      name: "p-queue",
      role: "rival",
      run: jobsBy((jobs, items) => {
        const queue = new PQueue({ concurrency: SLOTS });
        for (const _ of items) queue.add(jobs.runAsync);
        return queue.onIdle();
      }),
    },
    {
      name: "async-sema",
      role: "rival",
      run: jobsBy((jobs, items) => {
        const sema = new Sema(SLOTS);
        return Promise.all(items.map(async () => {
          await sema.acquire();
          try {
            await jobs.runAsync();
          } finally {
            sema.release();
          }
        }));
      }),
    },
    {
      name: "fastq",
      role: "rival",
      run: jobsBy((jobs, items) => {
        const queue = fastq.promise(jobs.runAsync, SLOTS);
        return Promise.all(items.map((item) => queue.push(item)));
      }),
    },
    {
      name: "@std/async pooledMap",
      role: "rival",
      run: jobsBy(async (jobs, items) => {
        for await (const _ of pooledMap(SLOTS, items, jobs.runAsync));
      }, 1), // its streams are slower than these jobs
    },
  ],
}, {
  name: "limit-generator",
  title: "generator jobs, ten at a time",
  things: "jobs",
  size: 100_000,
  tinySize: 40,
  cases: [
    {
      name: "Rota, map",
      role: "rota",
      run: jobsOnLoop(async (limit, jobs, items) =>
        await limit.map(items, jobs.runCoroutine)
      ),
    },
    {
      name: "Rota, run",
      role: "rota",
      run: jobsOnLoop(async (limit, jobs, items) => {
        for (const _ of items) limit.run(jobs.runCoroutine);
        await limit.onIdle();
      }),
    },
    { name: "ten coroutines by hand", role: "limit", run: tenCoroutines },
  ],
}];
suites.forEach(register);
