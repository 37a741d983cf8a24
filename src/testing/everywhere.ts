/**
 * `cancelEverywhere` and `failEverywhere`: run a program once for each of its
 * suspension points, and end it there.
 *
 * The points are found by the loop: a subclass that overrides `callSoon` sees
 * everything that is queued, so there is a point before each task that goes on, and
 * one whenever all tasks wait and the clock is about to jump. A task that is woken
 * and cancelled in the same turn, where permits and items get lost, is among them.
 *
 * @module
 */
import { AssertionError, InjectedFaultError } from "../errors.ts";
import { VirtualHost } from "../host/virtual.ts";
import { holdError, isCancellation } from "../loop/cancellation.ts";
import {
  checkFunction,
  checkInteger,
  checkOneOf,
  checkOptions,
} from "../loop/checks.ts";
import { core } from "../loop/core.ts";
import { STOOD_STILL } from "../loop/deadlock.ts";
import { EventLoop } from "../loop/event_loop.ts";
import type { ExceptionContext } from "../loop/exceptions.ts";
import { describeHandle, Handle } from "../loop/handle.ts";
import { OperationWait } from "../loop/operation_wait.ts";
import type { Runnable } from "../loop/runnable.ts";
import type { Coroutine, TaskBody } from "../loop/task_body.ts";
import { Task, type TaskOptions } from "../loop/task.ts";
import { describeWait } from "../loop/waiters.ts";
import { cancelScope } from "../structured/cancel_scope.ts";

/** Body of a program: in either style. */
export type SweptBody<T> = Coroutine<T> | PromiseLike<T> | T;

/** A run of a sweep, as its program sees it. */
export interface Sweep {
  /**
   * Makes the task that is ended at the point, in place of the program as a whole,
   * which then goes on and may look what becomes of it. To be called once, in every
   * run; there are no points before.
   *
   * @param body A body for `createTask`.
   * @param options A name and so on.
   * @returns The task.
   */
  victim<T>(body: TaskBody<T>, options?: TaskOptions): Task<T>;
  /** Aborts at the point of a sweep `by: "signal"`, and never in another one. */
  readonly signal: AbortSignal;
}

/** A run of a sweep, as its check sees it. */
export interface SweepRun {
  /** The number of the point, from 0 on; `NaN` in the first run, which nothing disturbs. */
  readonly point: number;
  /** Whether the program came to the point. */
  readonly reached: boolean;
  /** Where the point is, in words; `""` if it was not reached. */
  readonly place: string;
  /** Whether the request was taken: the victim had not ended. */
  readonly taken: boolean;
  /** Result of the program; `undefined` if it has none. */
  readonly value: unknown;
  /** Error of the program, a cancellation included; `undefined` if it has none. */
  readonly error: unknown;
  /** All that was reported to the exception handler. */
  readonly reports: readonly ExceptionContext[];
}

/** Options of both sweeps. */
export interface SweepOptions<S> {
  /** Makes the state of each run anew: what program and check share. */
  readonly setup?: (() => S) | undefined;
  /**
   * Errors of the program other than that of the sweep, and reports to the
   * exception handler: `"fail"` fails the sweep, `"check"` leaves them to `check`.
   *
   * @default {"fail"}
   */
  readonly errors?: "fail" | "check" | undefined;
  /**
   * How many callbacks and steps a run may take: more count as a program that does
   * not end.
   *
   * @default {10_000}
   */
  readonly stepsMax?: number | undefined;
  /** The points to run, in order; all of them by default. */
  readonly points?: Iterable<number> | undefined;
}

/** Options of {@linkcode cancelEverywhere}. */
export interface CancelEverywhereOptions<S> extends SweepOptions<S> {
  /**
   * How the program, or its victim, is cancelled: `task.cancel()` once; a second
   * time three points later, while it may be cleaning up; by a cancel scope around it, whose
   * every wait throws; or by {@linkcode Sweep.signal}, which the program gives to
   * its waits.
   *
   * @default {"cancel"}
   */
  readonly by?: "cancel" | "cancel twice" | "scope" | "signal" | undefined;
}

/** Options of {@linkcode failEverywhere}. */
export interface FailEverywhereOptions<S> extends SweepOptions<S> {
  /** Makes the error of each run; an {@linkcode InjectedFaultError} by default. */
  readonly error?: ((point: number) => unknown) | undefined;
}

/** Programs of a sweep: gets the state of the run. */
export type SweptProgram<S> = (state: S, sweep: Sweep) => SweptBody<unknown>;

/** Check of a sweep: runs on the loop after the program, and may wait. */
export type SweepCheck<S> = (state: S, run: SweepRun) => SweptBody<unknown>;

/** The point at which a sweep acts, and how: the difference between the two. */
interface Action {
  /** Reason or error that is expected to come out of the program. */
  readonly error: unknown;
  /** Whether something that is about to be queued is a point; null stands for a loop that waits. */
  isPoint(runnable: Runnable | null): boolean;
  /** Acts, before that is queued, and notes in the run whether that was in time. */
  act(run: Run, runnable: Runnable | null): void;
  /** Makes the body of the victim. */
  wrap<T>(body: TaskBody<T>): TaskBody<T>;
  readonly signal: AbortSignal;
  /** How many points later it acts once more; 0 for never. */
  readonly again: number;
}

/** A loop that tells of everything that it queues. */
class SweepLoop extends EventLoop {
  onQueued: ((runnable: Runnable | null) => void) | null = null;

  override callSoon<A extends unknown[]>(
    callback: (...args: A) => unknown,
    ...args: A
  ): Handle {
    const tell = this.onQueued;
    if (tell !== null) {
      this.onQueued = null; // whatever it queues itself is no point
      const isStep = callback as unknown === this[core].resume;
      tell(isStep ? args[0] as Runnable : new Handle(callback, args));
      this.onQueued ??= tell;
    }
    return super.callSoon(callback, ...args);
  }
}

/** Settings that the runs of a sweep have in common. */
interface RunSettings {
  readonly stepsMax: number;
  /** Whether the program makes a victim, before which there are no points. */
  readonly hasVictim: boolean;
}

/** Run of a program, ended at one point; at none if that is NaN. */
class Run implements SweepRun {
  readonly point: number;
  reached = false;
  place = "";
  taken = false;
  value: unknown = undefined;
  error: unknown = undefined;
  readonly reports: ExceptionContext[] = [];
  readonly loop: SweepLoop;
  /** How many points there have been. */
  points = 0;
  /** Whether the program has made a victim of its own. */
  hasVictim = false;
  readonly #action: Action;
  readonly #settings: RunSettings;
  /** The part of the program's side: a program may take it apart. */
  readonly #sweep: Sweep;
  #steps = 0;
  #victim: Task<unknown> | null = null;

  constructor(point: number, action: Action, settings: RunSettings) {
    this.point = point;
    this.#sweep = {
      victim: (body, options) => this.#makeVictim(body, options),
      signal: action.signal,
    };
    this.#action = action;
    this.#settings = settings;
    const nextMoment = (deadlineMs: number) => {
      this.loop.onQueued?.(null);
      return deadlineMs;
    };
    const host = new VirtualHost(0, { nextMoment, drains: false });
    this.loop = new SweepLoop({ host });
    this.loop.setExceptionHandler((_, context) => {
      // Told at once: the run may never end, or end well once the slow work is done.
      if (context.message.startsWith(STOOD_STILL)) {
        this.loop.defaultExceptionHandler(context);
      } else this.reports.push(context);
    });
  }

  /** The task that is ended. */
  get target(): Task<unknown> | null {
    return this.#victim;
  }

  #makeVictim<T>(body: TaskBody<T>, options?: TaskOptions): Task<T> {
    const task = this.loop.createTask<T>(this.#action.wrap(body), options);
    this.#victim = task as Task<unknown>;
    this.hasVictim = true;
    this.points = 0;
    return task;
  }

  /** Runs the program and its check. */
  async run<S>(
    program: SweptProgram<S>,
    check: SweepCheck<S>,
    state: S,
  ): Promise<void> {
    const { loop } = this;
    try {
      await loop.runUntilComplete(() => this.#main(program, check, state));
      const { tasks, timers } = loop.stats();
      if (tasks > 0) {
        throw new AssertionError(`The check has left ${tasks} tasks`);
      }
      if (timers > 0) {
        throw new AssertionError(
          timers === 1 ? "A timer is left" : `${timers} timers are left`,
        );
      }
    } catch (error) {
      // The end of the loop would tell of what has led to this once more.
      loop.setExceptionHandler(() => {});
      throw error;
    } finally {
      loop.onQueued = null;
      await loop.close();
    }
  }

  *#main<S>(
    program: SweptProgram<S>,
    check: SweepCheck<S>,
    state: S,
  ): Coroutine<void> {
    const { loop } = this;
    const main = loop[core].tasks.toArray();
    const body = (() => program(state, this.#sweep)) as TaskBody<unknown>;
    const wraps = !this.#settings.hasVictim;
    const task = loop.createTask(wraps ? this.#action.wrap(body) : body, {
      name: "program",
    });
    if (wraps) this.#victim = task;
    loop.onQueued = (runnable) => this.#queued(runnable);
    try {
      this.value = yield* task;
    } catch (error) {
      this.error = error;
    }
    loop.onQueued = null;
    const left = loop[core].tasks.toArray().filter((one) =>
      !main.includes(one)
    );
    if (left.length > 0) throw new AssertionError(leftTasks(left));
    yield* loop.createTask((() => check(state, this)) as TaskBody<unknown>, {
      name: "check",
    });
  }

  #queued(runnable: Runnable | null): void {
    const { stepsMax } = this.#settings;
    if (++this.#steps > stepsMax) {
      this.loop[core].failRun(
        new AssertionError(`The program has not ended after ${stepsMax} steps`),
      );
      return;
    }
    const action = this.#action;
    if (this.#victim === null || !action.isPoint(runnable)) return;
    const at = this.points++;
    if (at === this.point) {
      this.reached = true;
      this.place = placeOf(this.#victim, runnable);
      action.act(this, runnable);
    } else if (action.again > 0 && at === this.point + action.again) {
      action.act(this, runnable);
    }
  }

  /** Throws if an error is none that the sweep has caused. */
  judge(): void {
    const { error } = this.#action;
    const isOurs = (thrown: unknown) =>
      thrown !== undefined &&
      (isCancellation(thrown) || contains(thrown, error));
    if (this.error !== undefined && !isOurs(this.error)) throw this.error;
    for (const { message, exception } of this.reports) {
      if (isOurs(exception)) continue;
      throw new AssertionError(
        `Reported to the exception handler: ${message}`,
        {
          cause: exception,
        },
      );
    }
  }
}

function leftTasks(tasks: readonly Task<unknown>[]): string {
  return `The program has ended, but tasks are left:${
    tasks.map((task) =>
      `\n  task "${task.name}" waits for ${task[describeWait]()}`
    ).join("")
  }`;
}

/** The place of a point in words. */
function placeOf(victim: Task<unknown>, runnable: Runnable | null): string {
  const before = runnable === null
    ? "with all tasks waiting"
    : runnable instanceof Task
    ? `before task "${runnable.name}" goes on`
    : runnable instanceof Handle
    ? `before ${describeHandle(runnable)}`
    : "before an async function goes on";
  return victim.done()
    ? before
    : `${before}, while task "${victim.name}" waits for ${
      victim[describeWait]()
    }`;
}

/** How deep an error is looked for in others: causes may form a ring. */
const DEPTH_MAX = 8;

/** Whether `thrown` is `error`, or was made of it. */
function contains(thrown: unknown, error: unknown, depth = DEPTH_MAX): boolean {
  if (thrown === error) return true;
  if (!(thrown instanceof Error) || depth === 0) return false;
  const inside: unknown[] = [thrown.cause];
  if (thrown instanceof AggregateError) inside.push(...thrown.errors);
  if (thrown instanceof SuppressedError) {
    inside.push(thrown.error, thrown.suppressed);
  }
  return inside.some((one) =>
    one !== undefined && contains(one, error, depth - 1)
  );
}

/** Runs `program` once for each point. */
async function sweep<S>(
  what: string,
  program: SweptProgram<S>,
  check: SweepCheck<S>,
  options: SweepOptions<S>,
  makeAction: (point: number) => Action,
  done: string,
): Promise<number> {
  checkFunction(program, what, "program");
  checkFunction(check, what, "check");
  const { setup, errors = "fail", stepsMax = 10_000, points } = options;
  if (setup !== undefined) checkFunction(setup, what, "setup");
  checkOneOf(errors, ["fail", "check"], what, "errors");
  checkInteger(stepsMax, 1, what, "stepsMax");
  if (points !== undefined) {
    checkFunction(points?.[Symbol.iterator], what, "points[Symbol.iterator]");
  }
  const attempt = async (run: Run) => {
    try {
      await run.run(program, check, setup?.() as S);
      if (errors === "fail") run.judge();
    } catch (error) {
      // The error of the program is worth more than what it has led to.
      throw failure(run, errors === "fail" ? causeOf(run, error) : error, done);
    }
  };
  const settings = { stepsMax, hasVictim: false };
  const undisturbed = new Run(NaN, makeAction(NaN), settings);
  await attempt(undisturbed);
  settings.hasVictim = undisturbed.hasVictim;
  let count = 0;
  for (const point of points ?? naturals(undisturbed.points)) {
    checkInteger(point, 0, what, "points");
    const run = new Run(point, makeAction(point), settings);
    await attempt(run);
    if (run.reached) count++;
  }
  return count;
}

function* naturals(end: number): Generator<number> {
  for (let n = 0; n < end; n++) yield n;
}

function causeOf(run: Run, error: unknown): unknown {
  try {
    run.judge();
  } catch (earlier) {
    return earlier;
  }
  return error;
}

function failure(run: SweepRun, error: unknown, done: string): AssertionError {
  const where = run.reached
    ? `${done} at point ${run.point}, ${run.place}`
    : "Left undisturbed";
  const text = error instanceof Error ? error.message : String(error);
  return new AssertionError(`${where}: ${text}`, { cause: error });
}

/**
 * Runs a program once for each of its suspension points, on a fresh virtual loop
 * each time, cancels it there, and checks what is left.
 *
 * A run fails if the program does not end, if a task or a timer outlives it, if it
 * fails with another error than a cancellation, if anything was reported to the
 * exception handler, or if `check` throws. In the first run nothing is cancelled.
 *
 * The time that it takes grows with the square of the length of the program: some
 * 10,000 steps a second. Each run gets its own state from `setup`; what a program
 * keeps elsewhere is that of the runs before. Points are found on the loop: the
 * parts of an async function between two foreign promises are none. A run that
 * waits for something outside of the loop is not ended; after a second of real time
 * its tasks are written to the console.
 *
 * @example A semaphore that loses a permit is found
 * ```ts
 * import { createTask, Future, getRunningLoop, sleep } from "@rota/rota";
 * import { cancelEverywhere } from "@rota/rota/testing";
 * import { assertEquals, assertRejects } from "@std/assert";
 *
 * class LeakySemaphore {
 *   value = 1;
 *   #waiters: Future<void>[] = [];
 *   async acquire() {
 *     if (this.value > 0) return void this.value--;
 *     const waiter = getRunningLoop().createFuture<void>("acquire()");
 *     this.#waiters.push(waiter);
 *     await waiter; // a permit that comes with a cancellation is lost
 *   }
 *   release() {
 *     const waiter = this.#waiters.shift();
 *     if (waiter === undefined) this.value++;
 *     else if (!waiter.done()) waiter.setResult();
 *   }
 * }
 *
 * await assertRejects(() =>
 *   cancelEverywhere(async (semaphore) => {
 *     await semaphore.acquire();
 *     const other = createTask(async () => {
 *       await sleep(1);
 *       semaphore.release();
 *     });
 *     try {
 *       await semaphore.acquire();
 *       semaphore.release();
 *     } finally {
 *       await other;
 *     }
 *   }, (semaphore) => assertEquals(semaphore.value, 1), {
 *     setup: () => new LeakySemaphore(),
 *   })
 * );
 * ```
 *
 * @typeParam S Type of the state.
 * @param program The program: an async function or generator function, which gets
 * the state.
 * @param check Called after each run, on its loop, with the state and what
 * happened. May be an async function or generator function.
 * @param options The state, and how the program is cancelled.
 * @returns A promise for the number of points.
 * @throws {TypeError} If an argument is of the wrong type.
 * @throws {RangeError} If `stepsMax` or a point is not an integer in its range.
 * @throws {AssertionError} If a run fails: names the point; `cause` is the reason.
 */
export async function cancelEverywhere<S = undefined>(
  program: SweptProgram<S>,
  check: SweepCheck<S>,
  options: CancelEverywhereOptions<S> = {},
): Promise<number> {
  const what = "cancel a program everywhere";
  checkOptions(options, what);
  const { by = "cancel" } = options;
  checkOneOf(
    by,
    ["cancel", "cancel twice", "scope", "signal"],
    what,
    "by",
  );
  return await sweep(what, program, check, options, (point) => {
    const reason = `cancelEverywhere, point ${point}`;
    return by === "scope"
      ? new ScopeAction(reason)
      : by === "signal"
      ? new SignalAction(reason)
      : new CancelAction(reason, by === "cancel twice" ? 3 : 0);
  }, "Cancelled");
}

/**
 * Runs a program once for each wait that would have ended, has that wait fail with
 * an error instead, and checks what is left.
 *
 * The error is thrown at the wait of whatever task of the program goes on: each
 * operation may fail. Waits for other tasks are left alone, as their errors come
 * from inside, and so are, in async functions, bare futures and `sleep(0)`. The
 * program may let the error through or handle it; otherwise as
 * {@linkcode cancelEverywhere}.
 *
 * @example The connection is closed, whatever fails
 * ```ts
 * import { sleep } from "@rota/rota";
 * import { failEverywhere } from "@rota/rota/testing";
 * import { assertEquals } from "@std/assert";
 *
 * const points = await failEverywhere(async (connection) => {
 *   connection.open = true;
 *   try {
 *     await sleep(10);
 *     await sleep(20);
 *   } finally {
 *     connection.open = false;
 *   }
 * }, (connection) => assertEquals(connection.open, false), {
 *   setup: () => ({ open: false }),
 * });
 * assertEquals(points, 2);
 * ```
 *
 * @typeParam S Type of the state.
 * @param program The program: an async function or generator function, which gets
 * the state.
 * @param check Called after each run, on its loop, with the state and what
 * happened.
 * @param options The state, and the error.
 * @returns A promise for the number of waits that failed.
 * @throws {TypeError} If an argument is of the wrong type.
 * @throws {RangeError} If `stepsMax` or a point is not an integer in its range.
 * @throws {AssertionError} If a run fails: names the point; `cause` is the reason.
 */
export async function failEverywhere<S = undefined>(
  program: SweptProgram<S>,
  check: SweepCheck<S>,
  options: FailEverywhereOptions<S> = {},
): Promise<number> {
  const what = "have a program fail everywhere";
  checkOptions(options, what);
  const { error = defaultError } = options;
  checkFunction(error, what, "error");
  const makeAction = (point: number) => new FailAction(() => error(point));
  return await sweep(what, program, check, options, makeAction, "Failed");
}

function defaultError(point: number): InjectedFaultError {
  return new InjectedFaultError(`failEverywhere, point ${point}`);
}

const NEVER = new AbortController().signal;

/** Cancels the victim's task. */
class CancelAction implements Action {
  error: unknown = undefined;
  readonly signal: AbortSignal = NEVER;
  readonly again: number;
  readonly #reason: string;

  constructor(reason: string, again: number) {
    this.#reason = reason;
    this.again = again;
  }

  isPoint(_runnable: Runnable | null): boolean {
    return true;
  }

  act(run: Run, _runnable: Runnable | null): void {
    run.loop.callSoon(() => {
      const taken = run.target!.cancel(this.#reason);
      run.taken ||= taken;
    });
  }

  wrap<T>(body: TaskBody<T>): TaskBody<T> {
    return body;
  }
}

/** Cancels a scope around the victim. */
class ScopeAction extends CancelAction {
  #cancel: (() => void) | null = null;
  readonly #why: string;

  constructor(reason: string) {
    super(reason, 0);
    this.#why = reason;
  }

  override act(run: Run, _runnable: Runnable | null): void {
    run.loop.callSoon(() => {
      run.taken = !run.target!.done();
      this.#cancel?.();
    });
  }

  override wrap<T>(body: TaskBody<T>): TaskBody<T> {
    return () =>
      cancelScope((scope) => {
        this.#cancel = () => scope.cancel(this.#why);
        return typeof body === "function" ? body() : body;
      }) as unknown as Coroutine<T>;
  }
}

/** Aborts a signal that the program has. */
class SignalAction extends CancelAction {
  readonly #controller = new AbortController();
  override readonly signal: AbortSignal = this.#controller.signal;
  override error: unknown;

  constructor(reason: string) {
    super(reason, 0);
    this.error = new Error(reason);
  }

  override act(run: Run, _runnable: Runnable | null): void {
    run.loop.callSoon(() => {
      run.taken = !run.target!.done();
      this.#controller.abort(this.error);
    });
  }
}

/** Has the wait fail that is about to end. */
class FailAction extends CancelAction {
  override error: unknown = undefined;
  readonly #makeError: () => unknown;

  constructor(makeError: () => unknown) {
    super("", 0);
    this.#makeError = makeError;
  }

  override isPoint(runnable: Runnable | null): boolean {
    return runnable instanceof Task
      ? runnable.coroutine !== null && runnable.due === null &&
        !(runnable.waitingOn instanceof Task)
      : runnable instanceof OperationWait && runnable.due === null &&
        runnable.waitingOn !== null && !(runnable.waitingOn instanceof Task);
  }

  override act(run: Run, runnable: Runnable | null): void {
    this.error = this.#makeError();
    holdError(runnable as Task<unknown>, this.error);
    run.taken = true;
  }
}
