/**
 * Limit of how many functions run at a time.
 *
 * @module
 */
import {
  checkFunction,
  checkInteger,
  checkOneOf,
  checkOptions,
  checkSignal,
  checkString,
} from "../loop/checks.ts";
import { getRunningLoop } from "../loop/current.ts";
import type { OperationIterable } from "../loop/each.ts";
import { Operation, type WaitOptions } from "../loop/operation.ts";
import { checkPriority } from "../loop/priority.ts";
import type { Coroutine } from "../loop/task_body.ts";
import { findOrigin } from "../loop/work_runner.ts";
import type { WaitQueue } from "../sync/wait_queue.ts";
import {
  checkWeight,
  type ConcurrencyLimitOptions,
  type ConcurrencyLimitStats,
  type JobOptions,
  OVERLOAD_STRATEGIES,
} from "./concurrency_limit_options.ts";
import { listHolders } from "../loop/waiters.ts";
import type { Task } from "../loop/task.ts";
import { LimitCore } from "./limit_core.ts";
import { type Job, type JobBody, LimitJob } from "./limit_job.ts";
import { LimitMap } from "./limit_map.ts";
import {
  type LimitMapOptions,
  type MapBody,
  type MapPlan,
  planMap,
} from "./map_plan.ts";

const NO_JOB_OPTIONS: JobOptions = Object.freeze({});
const NO_MAP_OPTIONS: LimitMapOptions = Object.freeze({});

/**
 * Limits how many functions run at a time: at most `size` jobs run, and the
 * others wait in line.
 *
 * {@linkcode run} takes one function; {@linkcode map} goes through a source and
 * pulls its next item when there is a slot for it. Both may be used side by
 * side.
 *
 * The line is strictly in order: higher priority first, then first come, first
 * served. A job that needs more slots than are free keeps everything behind it
 * waiting until it has them, so that light jobs do not overtake a heavy one for
 * ever. A slot that is given back is passed on at once, in the same turn.
 *
 * A job runs in a task, which is made when the job has its slots: waiting in
 * line costs one small object. A task may do several jobs, one after the other,
 * as long as no job can notice: a job that has asked for `currentTask()`, made
 * tasks, was cancelled, or left a wait behind is the last of its task. Await
 * everything you start: work that a job leaves running in its task, such as the
 * loser of a `Promise.race`, does not outlive the task.
 *
 * A job that waits for another job of the same limit would hold a slot while it
 * waits for one: if all jobs do so, nothing ever goes on. So `run` and `map`
 * throw a {@linkcode MisuseError} at once when they are called inside of a slot
 * of the same limit, by the job or a task that it has created. Call the function
 * itself, use another limit, or say `detached: true` if nothing waits for it.
 *
 * A limit has nothing to close. Jobs in line end with the tasks of the loop: when
 * `run()` cancels the remaining tasks at its end, they never begin. For that, a
 * limit that has jobs in line keeps a task of its own, called "ConcurrencyLimit".
 * A loop that is closed while there are jobs ends them as it ends tasks: all of
 * them, running or in line, are cancelled then and there.
 *
 * Costs some 500 ns for each job, and 200 ns for each item of a map, beside the
 * cost of the function itself.
 *
 * @example Ten at once
 * ```ts
 * import { ConcurrencyLimit, getRunningLoop, run, sleep } from "@rota/rota";
 * import { assertEquals } from "@std/assert";
 *
 * await run(async () => {
 *   const limit = new ConcurrencyLimit(10);
 *   const jobs = Array.from(
 *     { length: 25 },
 *     (_, n) => limit.run(() => sleep(100, { value: n })),
 *   );
 *   let sum = 0;
 *   for (const job of jobs) sum += await job;
 *   assertEquals([sum, getRunningLoop().time()], [300, 300]);
 *   assertEquals(limit.stats().peak, 10);
 * }, { host: "virtual" });
 * ```
 */
export class ConcurrencyLimit {
  readonly #core: LimitCore;

  /**
   * Makes a limit. It belongs to the loop that it is used on, and to another one
   * when it is idle.
   *
   * @param size Number of slots: an integer >= 1, or `Infinity`.
   * @param options How long the line may be, and what happens beyond.
   * @throws {TypeError} If an argument is of the wrong type.
   * @throws {RangeError} If a number is out of range.
   */
  constructor(size: number, options: ConcurrencyLimitOptions = {}) {
    const what = "create a limit";
    checkInteger(size, 1, what, "size", "or Infinity");
    checkOptions(options, what);
    const { highWaterMark = Infinity, overload = "block" } = options;
    checkInteger(highWaterMark, 0, what, "highWaterMark", "or Infinity");
    checkOneOf(overload, OVERLOAD_STRATEGIES, what, "overload");
    this.#core = new LimitCore(size, highWaterMark, overload, this);
  }

  /** The tasks that do its work. */
  [listHolders](): Task<unknown>[] {
    return this.#core.runners();
  }

  /** How many slots there are; {@linkcode resize} changes it. */
  get size(): number {
    return this.#core.size;
  }

  /** How many jobs, and items of maps, have slots. */
  get running(): number {
    return this.#core.running;
  }

  /** How many jobs have not begun. */
  get pending(): number {
    return this.#core.pending;
  }

  /** Whether the limit is paused: see {@linkcode pause}. */
  get paused(): boolean {
    return this.#core.paused;
  }

  /**
   * Runs a function when there is a slot for it.
   *
   * The function never runs inside this call: its first step is in the next turn
   * at the earliest. It inherits the current {@linkcode TaskLocal} values. The
   * job is a future; an error that nobody looks at is reported to the loop's
   * exception handler, once. Cancelling the job in line takes it out, cancelling
   * it while it runs cancels its task.
   *
   * @example An urgent job first, and a job that is not needed any more
   * ```ts
   * import { ConcurrencyLimit, run, sleep } from "@rota/rota";
   * import { assertEquals } from "@std/assert";
   *
   * const log: string[] = [];
   * await run(function* () {
   *   const limit = new ConcurrencyLimit(1);
   *   const work = (name: string) => function* () {
   *     yield* sleep(10);
   *     log.push(name);
   *   };
   *   limit.run(work("first"));
   *   const second = limit.run(work("second"), { priority: "background" });
   *   const third = limit.run(work("third"));
   *   limit.run(work("urgent"), { priority: "user-blocking" });
   *   third.cancel("not needed");
   *   yield* second;
   * }, { host: "virtual" });
   * assertEquals(log, ["first", "urgent", "second"]);
   * ```
   *
   * @typeParam T Result of the function.
   * @param body An async function, a generator function or a plain function,
   * without parameters.
   * @param options Name, priority, weight, a signal that cancels it.
   * @returns The job: a future of the function's result.
   * @throws {TypeError} If an argument is of the wrong type.
   * @throws {RangeError} If `weight` is not an integer from 1 to the size of the
   * limit.
   * @throws {OverloadError} If there is no room, with `overload: "reject"`.
   * @throws {MisuseError} If no loop is running, the limit is in use on another
   * one, or the current task runs in a slot of the same limit.
   */
  run<T>(body: JobBody<T>, options: JobOptions = NO_JOB_OPTIONS): Job<T> {
    const what = "run a job";
    if (typeof body !== "function") checkFunction(body, what, "body");
    const core = this.#core;
    if (options === NO_JOB_OPTIONS) return this.#admit(body, 0, 1, "");
    checkOptions(options, what);
    const { name = "", priority, signal, weight = 1, detached = false } =
      options;
    checkString(name, what, "name");
    checkSignal(signal, what);
    checkOneOf(detached, [true, false], what, "detached");
    if (weight !== 1) checkWeight(weight, core.size, what);
    const rank = checkPriority(priority, what);
    return this.#admit(body, rank, weight, name, signal, detached);
  }

  #admit<T>(
    body: JobBody<T>,
    rank: number,
    weight: number,
    name: string,
    signal?: AbortSignal,
    detached = false,
  ): Job<T> {
    const core = this.#core;
    const loop = getRunningLoop();
    if (!detached) {
      core.refuseInside(
        "run a job",
        "call its function, or say detached: true if nothing in here waits for it",
      );
    }
    core.bind(loop);
    const origin = core.origin = findOrigin(loop, core.origin);
    const job = new LimitJob<T>(core, loop, body, rank, weight, origin, name);
    if (signal?.aborted !== true) core.admit(job as LimitJob<unknown>);
    if (signal !== undefined) job.follow(signal);
    return job;
  }

  /**
   * Calls a function with each item of a source, at most `size` at a time, and
   * returns the results.
   *
   * An item is pulled when there is a slot for it, and not before: a source that
   * makes its items makes no more than are worked on. (With a size of `Infinity`
   * there is a slot for each, at once.) Await the map for an array of the
   * results, or iterate it with `for await` or {@linkcode each}. The calls
   * inherit the {@linkcode TaskLocal} values of the task that awaits the map or
   * asks for the first result.
   *
   * The first failure ends the map: items at work are cancelled, no more are
   * pulled, the source is closed, and when all has ended the error is thrown.
   * Errors of the cancelled items go to the loop's exception handler.
   * Cancelling the wait ends the map in the same way. Cancelling it once more
   * gives up on a source whose `return()` never settles.
   *
   * A map has one place in line. It keeps a slot for its next item as long as
   * nobody else waits for one. A plain iterable is asked from wherever a slot
   * becomes free, and belongs to no task in particular; any other source has a
   * task of its own, which has a slot while it waits for an item: a source that
   * itself waits for jobs of the same limit may wait for ever. Items are handed
   * over as they are, promises included. An iterator that breaks the rules, such
   * as one whose `next()` does not return an object, fails the map with a
   * `TypeError`.
   *
   * @example All results, or each as it comes
   * ```ts
   * import { ConcurrencyLimit, run, sleep } from "@rota/rota";
   * import { assertEquals } from "@std/assert";
   *
   * await run(async () => {
   *   const limit = new ConcurrencyLimit(2);
   *   const delays = [30, 10, 10];
   *   const work = (delayMs: number, n: number) => sleep(delayMs, { value: n });
   *   assertEquals(await limit.map(delays, work), [0, 1, 2]);
   *   const seen: number[] = [];
   *   for await (const n of limit.map(delays, work, { ordered: false })) {
   *     seen.push(n);
   *   }
   *   assertEquals(seen, [1, 2, 0]);
   * }, { host: "virtual" });
   * ```
   *
   * @typeParam T Type of an item.
   * @typeParam R Type of a result.
   * @param source Anything that `for await` takes.
   * @param body An async function, a generator function or a plain function.
   * Called with the item and its index.
   * @param options Order, priority, buffer, a signal that ends it.
   * @returns An operation: nothing happens until it is awaited or iterated.
   * @throws {TypeError} If an argument is of the wrong type.
   * @throws {RangeError} If `bufferSize` is not an integer >= 1 or `Infinity`.
   */
  map<T, R>(
    source: OperationIterable<T> | AsyncIterable<T> | Iterable<T>,
    body: MapBody<T, R>,
    options: LimitMapOptions = NO_MAP_OPTIONS,
  ): LimitMap<R> {
    const core = this.#core;
    const plan = planMap(source, body, options, false);
    return new LimitMap<R>(core, plan as MapPlan<unknown, R>);
  }

  /**
   * Does the same as {@linkcode map}, but a failure is a result like any other, as
   * with `Promise.allSettled`. A failure of the source still ends the map.
   *
   * @typeParam T Type of an item.
   * @typeParam R Type of a result.
   * @param source Anything that `for await` takes.
   * @param body Function that is called with each item.
   * @param options Order, priority, buffer, a signal that ends it.
   * @returns An operation, as with {@linkcode map}.
   * @throws {TypeError} If an argument is of the wrong type.
   * @throws {RangeError} If `bufferSize` is not an integer >= 1 or `Infinity`.
   */
  mapSettled<T, R>(
    source: OperationIterable<T> | AsyncIterable<T> | Iterable<T>,
    body: MapBody<T, R>,
    options: LimitMapOptions = NO_MAP_OPTIONS,
  ): LimitMap<PromiseSettledResult<R>> {
    const core = this.#core;
    const plan: unknown = planMap(source, body, options, true);
    return new LimitMap(
      core,
      plan as MapPlan<unknown, PromiseSettledResult<R>>,
    );
  }

  /**
   * Changes how many slots there are. With fewer, running jobs go on, and no job
   * begins until enough of them have ended; a job in line that has become too
   * heavy runs alone. With more, jobs in line begin.
   *
   * @param size Number of slots: an integer >= 1, or `Infinity`.
   * @throws {TypeError} If `size` is not a number.
   * @throws {RangeError} If `size` is out of range.
   */
  resize(size: number): void {
    checkInteger(size, 1, "resize a limit", "size", "or Infinity");
    this.#core.resize(size);
  }

  /** Lets no job and no item begin until {@linkcode resume}. Running jobs go on. */
  pause(): void {
    this.#core.pause();
  }

  /** Ends a {@linkcode pause}. */
  resume(): void {
    this.#core.resume();
  }

  /**
   * Cancels all jobs that have not begun, also those that have no place in line
   * yet: waiting for one throws a {@linkcode CancelledError}. Maps go on.
   *
   * @param reason Reason of the cancellation.
   * @returns How many jobs there were.
   */
  clear(reason?: unknown): number {
    return this.#core.clear(reason);
  }

  /**
   * Waits until no job and no item runs or is in line. That still holds when the
   * wait returns.
   *
   * @param options A signal that ends the wait.
   * @returns An operation. Waiting for it throws a {@linkcode MisuseError} in a
   * job of this limit, which would wait for itself.
   * @throws {TypeError} If `signal` is not an `AbortSignal`.
   */
  onIdle(options: WaitOptions = {}): Operation<void> {
    const core = this.#core;
    return waitWhile(
      () => {
        core.refuseSelf("wait until a limit is idle");
        return !core.isIdle();
      },
      () => core.idle,
      () => {},
      "ConcurrencyLimit.onIdle()",
      options,
    );
  }

  /**
   * Waits until fewer than `count` jobs have not begun: for code that makes jobs
   * which should not pile up. That still holds when the wait returns; all waits
   * return, in the order in which they began.
   *
   * @param count An integer >= 1.
   * @param options A signal that ends the wait.
   * @returns An operation.
   * @throws {TypeError} If `count` is not a number, or `signal` no `AbortSignal`.
   * @throws {RangeError} If `count` is not an integer >= 1.
   */
  onSizeBelow(count: number, options: WaitOptions = {}): Operation<void> {
    checkInteger(count, 1, "wait for a limit", "count");
    const core = this.#core;
    return waitWhile(
      () => core.pending >= count,
      () => core.lineBelow(count),
      () => core.leaveLine(count),
      "ConcurrencyLimit.onSizeBelow()",
      options,
    );
  }

  /**
   * Returns the counts of the limit.
   *
   * @returns A frozen snapshot.
   */
  stats(): ConcurrencyLimitStats {
    const core = this.#core;
    return Object.freeze({
      size: core.size,
      used: core.used,
      peak: core.peak,
      running: core.running,
      pending: core.pending,
      blocked: core.door.length,
      done: core.done,
      failed: core.failed,
      cancelled: core.cancelled,
      dropped: core.dropped,
    });
  }

  /**
   * Names the class in messages and inspections.
   *
   * @returns `"ConcurrencyLimit"`.
   */
  get [Symbol.toStringTag](): string {
    return "ConcurrencyLimit";
  }
}

/** Waits in a line for as long as `holds` is true. */
function waitWhile(
  holds: () => boolean,
  lineOf: () => WaitQueue,
  left: () => void,
  name: string,
  options: WaitOptions,
): Operation<void> {
  checkOptions(options, `wait for ${name}`);
  return new Operation(function* (): Coroutine<void> {
    while (holds()) {
      const line = lineOf();
      const waiter = line.enter(undefined);
      try {
        yield* waiter;
      } finally {
        line.leave(waiter);
        left();
      }
    }
  }, { ...options, name });
}
