import {
  checkFunction,
  checkOneOf,
  checkOptions,
  checkSignal,
  checkString,
  inspect,
} from "../loop/checks.ts";
import { getRunningLoop } from "../loop/current.ts";
import { items, type OperationIterable } from "../loop/each.ts";
import { Operation, type WaitOptions } from "../loop/operation.ts";
import { findOrigin } from "../loop/work_runner.ts";
import { checkPriority, type Priority } from "../loop/priority.ts";
import type { Coroutine } from "../loop/task.ts";
import { checkInteger } from "../loop/checks.ts";
import type { WaitQueue } from "../sync/wait_queue.ts";
import {
  type Droppable,
  type Job,
  type JobBody,
  LimitCore,
  LimitJob,
  type OverloadStrategy,
} from "./limit_core.ts";
import {
  LimitMap,
  type LimitMapOptions,
  type MapBody,
  type MapPlan,
  type MapSettings,
} from "./limit_map.ts";

/** How to make a {@linkcode ConcurrencyLimit}. */
export interface ConcurrencyLimitOptions {
  /**
   * How many jobs may stand in line before `overload` says what becomes of the
   * next one. Those that run do not count.
   *
   * @default {Infinity}
   */
  readonly highWaterMark?: number | undefined;
  /**
   * What becomes of a job that can neither begin nor stand in line.
   *
   * - `"block"`: it waits for a place in line, behind all others that do,
   *   whatever its priority. Whoever waits for it waits longer. Nobody else is
   *   held up, so that a plain callback or a loop that waits for nothing can
   *   still pile up jobs: `onSizeBelow` is what such code waits for.
   * - `"reject"`: `run` throws an {@linkcode OverloadError}.
   * - `"drop-oldest"`, `"drop-newest"`: of the jobs in line and the new one,
   *   those with the lowest priority are looked at, and the one of them that has
   *   stood there longest, or came last, is rejected with an
   *   {@linkcode OverloadError}.
   *
   * @default {"block"}
   */
  readonly overload?: OverloadStrategy | undefined;
}

/** How to {@linkcode ConcurrencyLimit.run} a job. */
export interface JobOptions {
  /** What to call the job, and its task, in messages. */
  readonly name?: string | undefined;
  /**
   * Where it stands in line: the higher first, and first come, first served
   * among equals.
   *
   * @default {"user-visible"}
   */
  readonly priority?: Priority | undefined;
  /** Cancels the job, in line or running, with the signal's reason, when it aborts. */
  readonly signal?: AbortSignal | undefined;
  /**
   * How many slots it takes, at most as many as there are.
   *
   * @default {1}
   */
  readonly weight?: number | undefined;
  /**
   * Whether the job may be put in line from inside a job of the same limit.
   * Nothing in there may then wait for it.
   *
   * @default {false}
   */
  readonly detached?: boolean | undefined;
}

/** What {@linkcode ConcurrencyLimit.stats} counts. */
export interface ConcurrencyLimitStats {
  /** How many slots there are. */
  readonly size: number;
  /** How many of them are taken. */
  readonly used: number;
  /** How many were taken at most. */
  readonly peak: number;
  /** How many jobs, and items of maps, have slots. */
  readonly running: number;
  /** How many jobs have not begun, those at the door included. */
  readonly pending: number;
  /** How many of these have no place in line yet: see `overload: "block"`. */
  readonly blocked: number;
  /** How many jobs and items have ended with a result. */
  readonly done: number;
  /** How many have failed. */
  readonly failed: number;
  /** How many were cancelled, in line or running. */
  readonly cancelled: number;
  /** How many jobs were turned away, dropped or cleared. */
  readonly dropped: number;
}

const NO_JOB_OPTIONS: JobOptions = Object.freeze({});
const NO_MAP_OPTIONS: LimitMapOptions = Object.freeze({});
const STRATEGIES = ["block", "reject", "drop-oldest", "drop-newest"];

/**
 * A pool of slots for functions: no more than so many run at once, and the
 * others stand in line.
 *
 * {@linkcode run} takes one function, {@linkcode map} goes through a source and
 * pulls its next item when there is a slot for it. Both may be used side by
 * side.
 *
 * The line is strictly in order: the higher priority first, then first come,
 * first served. A job that needs more slots than are free keeps everybody behind
 * it waiting until it has them, so that light jobs do not overtake a heavy one
 * for ever. A slot that is given back is passed on at once, in the same turn.
 *
 * A job belongs to a task that has its slots, and that task is made when it has
 * them: to stand in line costs one small object. A task may do several jobs, one
 * after the other, as long as none can tell: one that has asked for
 * `currentTask()`, made tasks, was cancelled, or left a wait behind is the last
 * of its task. Await what you start: what a job leaves running in its task, such
 * as the loser of a `Promise.race`, does not outlive that.
 *
 * A job that waits for another of the same limit would hold a slot while it
 * waits for one: if all do so, nothing ever goes on. So `run` and `map` throw a
 * {@linkcode MisuseError} at once when they are called inside of a slot of the
 * same limit, by the job or a task that it has created. Call the function
 * itself, use another limit, or say `detached: true` if nothing waits for it.
 *
 * A limit has nothing to close. Jobs in line end with the tasks of the loop: when
 * `run()` cancels what is left at its end, they never begin. For that, a limit
 * that has them keeps a task of its own, called "ConcurrencyLimit". A loop that is
 * closed while there are jobs ends them as it ends tasks: all of them, those that
 * run and those in line, are cancelled then and there.
 *
 * Costs some 500 ns for each job, and 200 ns for each item of a map, beside what
 * the function itself costs.
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
   * @param size How many slots there are: an integer >= 1, or `Infinity`.
   * @param options How long the line may be, and what happens then.
   * @throws {TypeError} If an argument is of the wrong type.
   * @throws {RangeError} If a number is not one it may be.
   */
  constructor(size: number, options: ConcurrencyLimitOptions = {}) {
    const what = "create a limit";
    checkInteger(size, 1, what, "size", "or Infinity");
    checkOptions(options, what);
    const { highWaterMark = Infinity, overload = "block" } = options;
    checkInteger(highWaterMark, 0, what, "highWaterMark", "or Infinity");
    checkOneOf(overload, STRATEGIES, what, "overload");
    this.#core = new LimitCore(size, highWaterMark, overload);
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

  /** Whether {@linkcode pause} holds. */
  get paused(): boolean {
    return this.#core.paused;
  }

  /**
   * Runs a function when there is a slot for it.
   *
   * It never runs inside this call: its first step is in the next turn at the
   * earliest. It inherits the {@linkcode TaskLocal} values of now. What the job
   * gives is a future; an error that nobody looks at is reported to the loop's
   * exception handler, once. Cancelling the job in line takes it out, cancelling
   * it while it runs cancels its task.
   *
   * @example The urgent one first, and one that is not needed any more
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
   * @typeParam T What the function produces.
   * @param body An async function, a generator function or a plain function,
   * without parameters.
   * @param options Name, priority, weight, a signal that cancels it.
   * @returns The job: a future of what the function produces.
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
    if (signal?.aborted !== true) core.admit(job as unknown as Droppable);
    if (signal !== undefined) job.follow(signal);
    return job;
  }

  /**
   * Calls a function with each item of a source, so many at a time, and gives
   * what it produces.
   *
   * An item is pulled when there is a slot for it, and not before: of a source
   * that makes its items, no more are made than are worked on. (With a size of
   * `Infinity` there is a slot for each, at once.) Wait for the map
   * to have an array of the results, or go through it with `for await` or
   * {@linkcode each}. What runs inherits the {@linkcode TaskLocal} values of who
   * waits for it or asks for the first result.
   *
   * The first failure ends the map: what runs is cancelled, nothing more is
   * pulled, the source is closed, and when all has ended the error is thrown. What
   * others fail with while they are cancelled goes to the loop's exception
   * handler. Cancelling the wait ends the map in the same way.
   *
   * A map has one place in line. It goes on with a slot for the next item as long
   * as nobody else waits for one. A source that gives its items at once is asked
   * from wherever a slot becomes free, and belongs to no task in particular; any
   * other has a task of its own, which has a slot while it waits for an item: a
   * source that itself waits for jobs of the same limit may wait for ever. Items
   * are handed over as they are, promises included.
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
   * @typeParam T What an item is.
   * @typeParam R What is made of it.
   * @param source Anything that `for await` takes.
   * @param body An async function, a generator function or a plain function. It
   * is given the item, and how many were pulled before.
   * @param options Order, priority, buffer, a signal that ends it.
   * @returns An operation: nothing happens until it is waited for or gone through.
   * @throws {TypeError} If an argument is of the wrong type.
   * @throws {RangeError} If `bufferSize` is not an integer >= 1 or `Infinity`.
   */
  map<T, R>(
    source: OperationIterable<T> | AsyncIterable<T> | Iterable<T>,
    body: MapBody<T, R>,
    options: LimitMapOptions = NO_MAP_OPTIONS,
  ): LimitMap<R> {
    const { settings, plan } = this.#plan(source, body, options, false);
    return new LimitMap<R>(this.#core, plan as MapPlan<unknown, R>, settings);
  }

  /**
   * The same as {@linkcode map}, but a failure is a result like any other, as with
   * `Promise.allSettled`. What the source fails with still ends it.
   *
   * @typeParam T What an item is.
   * @typeParam R What is made of it.
   * @param source Anything that `for await` takes.
   * @param body What is called with each item.
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
    const { settings, plan } = this.#plan(source, body, options, true);
    return new LimitMap(
      this.#core,
      plan as unknown as MapPlan<unknown, PromiseSettledResult<R>>,
      settings,
    );
  }

  #plan<T, R>(
    source: OperationIterable<T> | AsyncIterable<T> | Iterable<T>,
    body: MapBody<T, R>,
    options: LimitMapOptions,
    settled: boolean,
  ): { readonly settings: MapSettings; readonly plan: MapPlan<T, R> } {
    const what = "map over a source";
    if (!isIterable(source)) {
      throw new TypeError(
        `Cannot ${what} as source must be iterable: received ${
          inspect(source)
        }`,
      );
    }
    checkFunction(body, what, "body");
    checkOptions(options, what);
    const { ordered = true, priority, bufferSize = this.#core.size, signal } =
      options;
    checkOneOf(ordered, [true, false], what, "ordered");
    checkInteger(bufferSize, 1, what, "bufferSize", "or Infinity");
    checkSignal(signal, what);
    const rank = checkPriority(priority, what);
    return {
      settings: { ordered, bufferSize, signal },
      plan: { source, body, rank, settled },
    };
  }

  /**
   * Changes how many slots there are. With fewer, those that run go on, and
   * nobody begins until enough of them have ended; a job in line that has become
   * too heavy runs alone. With more, those in line begin.
   *
   * @param size How many: an integer >= 1, or `Infinity`.
   * @throws {TypeError} If `size` is not a number.
   * @throws {RangeError} If it is not one it may be.
   */
  resize(size: number): void {
    checkInteger(size, 1, "resize a limit", "size", "or Infinity");
    this.#core.resize(size);
  }

  /** Lets nobody begin until {@linkcode resume}. Those that run go on. */
  pause(): void {
    this.#core.pause();
  }

  /** Ends a {@linkcode pause}. */
  resume(): void {
    this.#core.resume();
  }

  /**
   * Cancels all jobs that have not begun, those at the door included: whoever
   * waits for one gets a {@linkcode CancelledError}. Maps go on.
   *
   * @param reason What to say about the cause.
   * @returns How many jobs it were.
   */
  clear(reason?: unknown): number {
    return this.#core.clear(reason);
  }

  /**
   * Waits until no job and no item runs or stands in line. It is so when the
   * waiting one goes on.
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
   * Waits until fewer than `count` jobs have not begun: for who makes jobs, and
   * does not want them to pile up. It is so when the waiting one goes on; all who
   * wait are told, in the order in which they began to.
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
   * Counts what the limit has in hand, and has had.
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

/** Waits in a line as long as `holds` is true. */
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

function isIterable(source: unknown): boolean {
  const object = source as
    | Partial<
      & OperationIterable<unknown>
      & AsyncIterable<unknown>
      & Iterable<unknown>
    >
    | null
    | undefined;
  return typeof object?.[items] === "function" ||
    typeof object?.[Symbol.asyncIterator] === "function" ||
    typeof object?.[Symbol.iterator] === "function";
}

function checkWeight(weight: unknown, size: number, what: string): void {
  checkInteger(weight, 1, what, "weight");
  if ((weight as number) > size) {
    throw new RangeError(
      `Cannot ${what} as weight must be at most ${size}, the size of the limit: received ${weight}`,
    );
  }
}
