/**
 * A hundred thousand async jobs in ten priorities, ten at a time.
 *
 * @module
 */
import PQueue from "p-queue";
import { ConcurrencyLimit, EventLoop } from "../mod.ts";
import { register, type Stopwatch, type Suite } from "./support/suite.ts";

/** How many at a time, and how many priorities. */
const SLOTS = 10;
const PRIORITIES = 10;

/** Counts jobs, and insists on their order: none before one of a higher priority. */
class Jobs {
  done = 0;
  #begun = 0;
  #lowest = PRIORITIES;

  /** Makes the job of a priority. */
  of(priority: number): () => Promise<void> {
    return async () => {
      // The first ten find a slot as they come, whatever their priority. The
      // runtime may get the thread between two of them.
      if (this.#begun++ >= SLOTS) {
        if (priority > this.#lowest) {
          throw new Error(`${priority} came after ${this.#lowest}`);
        }
        this.#lowest = priority;
      }
      await null;
      this.done++;
    };
  }

  /** One job for each priority, as all that differ are equal. */
  all(): (() => Promise<void>)[] {
    return Array.from(
      { length: PRIORITIES },
      (_, priority) => this.of(priority),
    );
  }
}

/** Rota, by `run` with a priority. */
export async function jobsOnLoop(
  size: number,
  watch: Stopwatch,
): Promise<number> {
  const jobs = new Jobs();
  const bodies = jobs.all();
  await using loop = new EventLoop({ host: "portable" });
  await loop.runUntilComplete(async () => {
    const limit = new ConcurrencyLimit(SLOTS);
    watch.start();
    for (let n = 0; n < size; n++) {
      const priority = n % PRIORITIES;
      limit.run(bodies[priority]!, { priority });
    }
    await limit.onIdle();
    watch.end();
  });
  return jobs.done;
}

/** p-queue, which sorts its jobs as they come. */
export async function jobsInPQueue(
  size: number,
  watch: Stopwatch,
): Promise<number> {
  const jobs = new Jobs();
  const bodies = jobs.all();
  const queue = new PQueue({ concurrency: SLOTS });
  watch.start();
  for (let n = 0; n < size; n++) {
    const priority = n % PRIORITIES;
    queue.add(bodies[priority]!, { priority });
  }
  await queue.onIdle();
  watch.end();
  return jobs.done;
}

/** An array for each priority, and ten loops that take from the highest: the least there is to do. */
export async function jobsInArrays(
  size: number,
  watch: Stopwatch,
): Promise<number> {
  const jobs = new Jobs();
  const bodies = jobs.all();
  const lines = bodies.map((): (() => Promise<void>)[] => []);
  watch.start();
  for (let n = 0; n < size; n++) {
    const priority = n % PRIORITIES;
    lines[priority]!.push(bodies[priority]!);
  }
  const loop = async (): Promise<void> => {
    for (let priority = PRIORITIES - 1; priority >= 0; priority--) {
      const line = lines[priority]!;
      for (let body = line.pop(); body !== undefined; body = line.pop()) {
        await body();
      }
    }
  };
  await Promise.all(Array.from({ length: SLOTS }, loop));
  watch.end();
  return jobs.done;
}

/** What is compared. */
export const suites: readonly Suite[] = [{
  name: "priority-jobs",
  title: "async jobs in ten priorities",
  things: "jobs",
  size: 100_000,
  tinySize: 40,
  cases: [
    { name: "Rota", role: "rota", run: jobsOnLoop },
    { name: "ten arrays by hand", role: "limit", run: jobsInArrays },
    { name: "p-queue", role: "rival", run: jobsInPQueue },
  ],
}];
suites.forEach(register);
