/**
 * Jobs that wait once, at most ten of them at a time: what it costs to hold the
 * others back.
 *
 * @module
 */
import { type Coroutine, run, Semaphore, sleep, taskGroup } from "../mod.ts";
import { Sema } from "async-sema";
import { Effect } from "effect";
import { promise as fastqPromise } from "fastq";
import pLimit from "p-limit";
import PQueue from "p-queue";
import { register, type Stopwatch, type Suite } from "./support/suite.ts";

const AT_ONCE = 10;

/** Counts jobs, and how many are under way. */
class Jobs {
  #done = 0;
  #now = 0;
  #most = 0;

  enter(): void {
    if (++this.#now > this.#most) this.#most = this.#now;
  }

  leave(): void {
    this.#now--;
    this.#done++;
  }

  /** The job of those that run promises. */
  readonly promised = async (): Promise<void> => {
    this.enter();
    await null;
    this.leave();
  };

  /** How many were done. Throws unless there were ten at once, and no more. */
  done(): number {
    if (this.#most !== AT_ONCE) {
      throw new Error(`${this.#most} jobs were under way at once`);
    }
    return this.#done;
  }
}

/** Rota: a group with a limit. */
export function groupWithLimit(
  kind: "generators" | "async",
): (size: number, watch: Stopwatch) => Promise<number> {
  return async (size, watch) => {
    const jobs = new Jobs();
    const generator = function* (): Coroutine<void> {
      jobs.enter();
      yield* sleep(0);
      jobs.leave();
    };
    const job = kind === "async" ? jobs.promised : generator;
    await run(function* () {
      watch.start();
      yield* taskGroup((group) => {
        for (let n = 0; n < size; n++) group.createTask<void>(job);
      }, { limit: AT_ONCE });
      watch.end();
    }, { host: "portable" });
    return jobs.done();
  };
}

/** Rota: as many tasks as jobs, and one semaphore. */
export async function tasksWithSemaphore(
  size: number,
  watch: Stopwatch,
): Promise<number> {
  const jobs = new Jobs();
  const semaphore = new Semaphore(AT_ONCE);
  const job = function* (): Coroutine<void> {
    using _permit = yield* semaphore.acquire();
    jobs.enter();
    yield* sleep(0);
    jobs.leave();
  };
  await run(function* () {
    watch.start();
    yield* taskGroup((group) => {
      for (let n = 0; n < size; n++) group.createTask(job);
    });
    watch.end();
  }, { host: "portable" });
  return jobs.done();
}

/** Ten async functions that share a counter. */
export async function tenLoops(
  size: number,
  watch: Stopwatch,
): Promise<number> {
  const jobs = new Jobs();
  let next = 0;
  const work = async (): Promise<void> => {
    while (next++ < size) await jobs.promised();
  };
  watch.start();
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  watch.end();
  return jobs.done();
}

/** One of the libraries that are given functions, and hold them back. */
export function promisesBy(
  make: () => (job: () => Promise<void>) => Promise<unknown>,
): (size: number, watch: Stopwatch) => Promise<number> {
  return async (size, watch) => {
    const jobs = new Jobs();
    const submit = make();
    watch.start();
    const promises: Promise<unknown>[] = [];
    for (let n = 0; n < size; n++) promises.push(submit(jobs.promised));
    await Promise.all(promises);
    watch.end();
    return jobs.done();
  };
}

/** Effect: `forEach` with a concurrency. */
export async function forEachInEffect(
  size: number,
  watch: Stopwatch,
): Promise<number> {
  const jobs = new Jobs();
  const numbers = Array.from({ length: size }, (_, n) => n);
  const job = () =>
    Effect.gen(function* () {
      jobs.enter();
      yield* Effect.yieldNow;
      jobs.leave();
    });
  watch.start();
  await Effect.runPromise(
    Effect.forEach(numbers, job, { concurrency: AT_ONCE, discard: true }),
  );
  watch.end();
  return jobs.done();
}

/** What is compared. */
export const suites: readonly Suite[] = [{
  name: "ten-at-once",
  title: "jobs, ten at once",
  things: "jobs",
  size: 100_000,
  tinySize: 40,
  iterations: 10,
  cases: [
    {
      name: "Rota group, generators",
      role: "rota",
      run: groupWithLimit("generators"),
    },
    {
      name: "Rota group, async functions",
      role: "rota",
      run: groupWithLimit("async"),
    },
    { name: "Rota Semaphore", role: "rota", run: tasksWithSemaphore },
    { name: "ten loops", role: "limit", run: tenLoops },
    {
      name: "p-limit",
      role: "rival",
      run: promisesBy(() => pLimit(AT_ONCE)),
    },
    {
      name: "async-sema",
      role: "rival",
      run: promisesBy(() => {
        const semaphore = new Sema(AT_ONCE);
        return async (job) => {
          await semaphore.acquire();
          await job();
          semaphore.release();
        };
      }),
    },
    {
      name: "p-queue",
      role: "rival",
      run: promisesBy(() => {
        const queue = new PQueue({ concurrency: AT_ONCE });
        return (job) => queue.add(job);
      }),
    },
    {
      name: "fastq",
      role: "rival",
      run: promisesBy(() => {
        const queue = fastqPromise(
          (job: () => Promise<void>) => job(),
          AT_ONCE,
        );
        return (job) => queue.push(job);
      }),
    },
    { name: "Effect.forEach", role: "rival", run: forEachInEffect },
  ],
  foreign: [
    {
      name: "asyncio Semaphore",
      program: "python3",
      script: "ten_at_once.py",
      figure: "job",
    },
  ],
}];
suites.forEach(register);
