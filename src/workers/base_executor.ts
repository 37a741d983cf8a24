/**
 * Base of all executors: `map`, and disposal.
 *
 * @module
 */
import { checkOneOf, checkOptions } from "../loop/checks.ts";
import { findLoop } from "../loop/current.ts";
import type { OperationIterable } from "../loop/each.ts";
import type { Future } from "../loop/future.ts";
import type { Operation } from "../loop/operation.ts";
import { run } from "../loop/run.ts";
import { ConcurrencyLimit } from "../schedule/concurrency_limit.ts";
import type { LimitMap } from "../schedule/limit_map.ts";
import type {
  Executor,
  ExecutorMapOptions,
  ExecutorStats,
  ShutdownOptions,
  SubmitOptions,
} from "./executor.ts";
import { type ExecutorTask, type JobResult, toTaskRef } from "./module_task.ts";
import "./nested_job.ts";

const NO_OPTIONS: ExecutorMapOptions = Object.freeze({});

/**
 * Base of executors: adds `map` and disposal to a class that has `capacity`,
 * `submit`, `shutdown` and `stats`. All executors of this package derive from it,
 * and so can others.
 */
export abstract class BaseExecutor implements Executor {
  /** How many jobs it runs at a time at most. */
  abstract readonly capacity: number;

  /**
   * Has a function called elsewhere.
   *
   * @typeParam A Types of the arguments.
   * @typeParam R Type of what the function returns.
   * @param task The function: see {@linkcode ExecutorTask}.
   * @param args Its arguments.
   * @param options Name, signal, priority, deadline and so on.
   * @returns A future of the result, which cancels the job when it is cancelled.
   */
  abstract submit<A extends readonly unknown[], R>(
    task: ExecutorTask<A, R>,
    args: A,
    options?: SubmitOptions,
  ): Future<JobResult<R>>;

  /**
   * Takes no more jobs, lets the others end, and ends the workers.
   *
   * @param options How long jobs may take, and what becomes of those in line.
   * @returns An operation that ends when nothing is left.
   */
  abstract shutdown(options?: ShutdownOptions): Operation<void>;

  /**
   * Returns the counts.
   *
   * @returns A copy.
   */
  abstract stats(): ExecutorStats;

  /**
   * Has a function called for each item of a source, for as many at a time as
   * there is {@linkcode capacity}, and returns the results.
   *
   * An item is pulled when there is room for it, and not before; the capacity is
   * asked for as each item begins, as it may change. Await the map
   * for an array of the results, or iterate it with `for await` or
   * {@linkcode each}. The first failure ends the map: the jobs of other items are
   * cancelled, the source is closed, and when all has ended the error is thrown.
   * Jobs of other callers are in line beside those of the map.
   *
   * @example Squares, in threads
   * ```ts
   * import { run, ThreadPool } from "@rota/rota";
   * import { assertEquals } from "@std/assert";
   *
   * const square = (n: number) => n * n;
   * const squares = await run(async () => {
   *   await using pool = new ThreadPool({ maxWorkers: 2 });
   *   return await pool.map(square, [1, 2, 3]);
   * });
   * assertEquals(squares, [1, 4, 9]);
   * ```
   *
   * @typeParam T Type of an item.
   * @typeParam R Type that the function returns.
   * @param task The function, of one argument.
   * @param source Anything that `for await` takes.
   * @param options Order, priority, signal.
   * @returns An operation: nothing happens until it is awaited or iterated.
   * @throws {TypeError} If an argument is of the wrong type.
   */
  map<T, R>(
    task: ExecutorTask<readonly [T], R>,
    source: OperationIterable<T> | AsyncIterable<T> | Iterable<T>,
    options: ExecutorMapOptions = NO_OPTIONS,
  ): LimitMap<JobResult<R>> {
    const what = "map over a source";
    toTaskRef(task, what); // as submit() does, but before the map is awaited
    checkOptions(options, what);
    const { ordered, priority, signal, idempotent = false } = options;
    checkOneOf(idempotent, [true, false], what, "idempotent");
    const limit = new ConcurrencyLimit(this.#slots());
    const submit = (item: T) => {
      const job = this.submit(task, [item], { priority, idempotent });
      const slots = this.#slots();
      if (slots !== limit.size) limit.resize(slots);
      return job;
    };
    return limit.map(source, submit, { ordered, priority, signal });
  }

  /** Capacity for a map. A balancer without members has none, and its jobs wait for the first. */
  #slots(): number {
    return Math.max(1, this.capacity);
  }

  /**
   * Shuts down, and waits for the jobs that are left. Outside of any loop it runs
   * one for that.
   *
   * @returns A promise that resolves when nothing is left.
   */
  async [Symbol.asyncDispose](): Promise<void> {
    if (findLoop() !== null) await this.shutdown();
    else await run(() => this.shutdown());
  }
}
