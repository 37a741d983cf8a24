/**
 * Runs of a periodic task: how they begin, what they count, how they end.
 *
 * @module
 */
import { isCancellation } from "../loop/cancellation.ts";
import { isGeneratorFunction } from "../loop/checks.ts";
import { current } from "../loop/current.ts";
import type { EventLoop } from "../loop/event_loop.ts";
import { Operation } from "../loop/operation.ts";
import { DEFAULT_PRIORITY } from "../loop/priority.ts";
import { stepWatch } from "../loop/step_watch.ts";
import type { Coroutine, TaskBody } from "../loop/task_body.ts";
import type { Task } from "../loop/task.ts";
import { isCoroutine } from "../structured/waitable.ts";
import { RingBuffer } from "../structures/ring_buffer.ts";
import { PromiseEnd } from "./periodic_ends.ts";
import type { PeriodicBody, PeriodicSettings } from "./periodic_options.ts";
import type { PeriodicStats } from "./periodic_stats.ts";
import { isEnding, isPaused, type PeriodicState } from "./periodic_state.ts";
import type { PeriodicTask } from "./periodic_task.ts";
import { beginTick, runTickAs, type Tick } from "./tick.ts";
import { LATE_MS } from "./ticks.ts";

// Stand in for running and waiting ticks, and stay empty: most jobs never need
// their own, and touching less memory makes a tick cheaper.
const NO_RUNS = new Map<Task<unknown>, Tick>();
const NO_TICKS = new RingBuffer<Tick>();

/**
 * Runs of a job. The base of the class that plans its ticks, and not a part of
 * it: after an interval the job is in no cache any more, and a second object
 * would be one more to fetch.
 */
export abstract class PeriodicRuns {
  readonly task: PeriodicTask;
  readonly loop: EventLoop;
  protected readonly settings: PeriodicSettings;
  #late = 0;
  #failed = 0;
  #cancelled = 0;
  #lastError: unknown = undefined;
  /** Error handlers under way. */
  #handlers: Set<Task<unknown>> | null = null;
  /** Beginning of the last run, and end: ticks that came due in between came during it. */
  protected busyFromMs = Infinity;

  // Most ticks need only the fields from here on, up to the first ones of the
  // derived class.

  protected busyUntilMs = -Infinity;
  /** Function of the job; null if it is iterated. */
  protected readonly fn: PeriodicBody | null;
  /**
   * `"direct"`: the function has turned out to return nothing to wait for, and is
   * called by the timer; `"task"`: each run has a task.
   */
  protected mode: "direct" | "task" = "task";
  protected state: PeriodicState = "unstarted";
  protected running: Map<Task<unknown>, Tick> = NO_RUNS;
  /** Ticks in line. */
  protected waiting: RingBuffer<Tick> = NO_TICKS;
  protected runs = 0;
  readonly #maxRuns: number;
  protected skipped = 0;
  /** Value of `skipped` when the last run came. */
  #skippedAtRun = 0;
  protected maxLateMs = 0;

  constructor(
    task: PeriodicTask,
    fn: PeriodicBody | null,
    settings: PeriodicSettings,
  ) {
    this.task = task;
    this.loop = task.loop;
    this.fn = fn;
    this.settings = settings;
    this.#maxRuns = settings.maxRuns;
  }

  /** Ends the job with an error. */
  protected abstract fail(error: unknown): void;

  /** Ends the ticks, and drops those in line. */
  protected abstract halt(): void;

  /** Ends the job if no tick comes any more and nothing is under way. */
  protected abstract endIfIdle(): void;

  // -- Beginning --

  /** Begins a run. Returns the time if it was read after all that, else `NaN`. */
  protected begin(fn: PeriodicBody, tick: Tick, nowMs: number): number {
    this.count(tick, nowMs);
    // A tick that was in line belongs to the same stretch of work.
    if (!this.cameDuringRun(tick.dueMs)) this.busyFromMs = nowMs;
    if (this.mode === "direct" && this.isOrdinary()) this.call(fn, tick);
    else this.#start(fn, tick);
    let endMs = NaN;
    if (this.waitsForEnd()) this.busyUntilMs = endMs = this.loop.time();
    if (isEnding(this.state)) this.endIfIdle();
    return endMs;
  }

  /** Whether a moment is one at which the last run was under way, or ticks in line behind it. */
  protected cameDuringRun(cameMs: number): boolean {
    return cameMs >= this.busyFromMs && cameMs < this.busyUntilMs;
  }

  /** Whether a tick that comes during a run does not begin another one. */
  protected waitsForEnd(): boolean {
    const { overrun } = this.settings;
    return overrun === "skip" || overrun === "queue";
  }

  /** Whether its runs need not wait their turn by priority. */
  protected isOrdinary(): boolean {
    return this.task.priority === DEFAULT_PRIORITY;
  }

  /** Counts a run that is about to begin. */
  protected count(tick: Tick, nowMs: number): void {
    stepWatch.current?.entering(this.task as Task<unknown>);
    this.#skippedAtRun = beginTick(tick, nowMs, this.#skippedAtRun);
    const { lateMs } = tick;
    if (lateMs > LATE_MS) this.#late++;
    if (lateMs > this.maxLateMs) this.maxLateMs = lateMs;
    if (++this.runs >= this.#maxRuns) this.halt();
  }

  /** Whether the last run that it may have is under way. */
  protected isInLastRun(): boolean {
    return this.runs >= this.#maxRuns && isEnding(this.state) &&
      this.state.kind === "finished";
  }

  /** Calls a function that returns nothing to wait for. */
  protected call(fn: PeriodicBody, tick: Tick): void {
    const { task, stepper } = current;
    current.task = current.stepper = this.task as Task<unknown>;
    let run: Task<unknown> | null = null;
    try {
      const product = fn(tick);
      if (isAwaitable(product)) {
        const body = isCoroutine(product) || product instanceof Operation
          ? product
          : () => new PromiseEnd(this.loop, product as PromiseLike<unknown>);
        run = this.#createTask(body, true); // it has begun
        this.mode = "task";
      }
    } catch (error) {
      this.#runFailed(error, tick);
    } finally {
      current.task = task;
      current.stepper = stepper;
    }
    if (run !== null) this.#watch(run, tick);
  }

  /** Starts a function as a task. */
  #start(fn: PeriodicBody, tick: Tick): void {
    let task: Task<unknown>;
    try {
      task = this.#createTask(
        isGeneratorFunction(fn)
          ? fn(tick) as Coroutine<unknown>
          : () => this.#tryOut(fn, tick),
        this.isOrdinary(),
      );
    } catch (error) {
      this.#runFailed(error, tick); // its parameters, or a task factory
      return;
    }
    this.#watch(task, tick);
  }

  /** Calls a function that may turn out to need no task. */
  #tryOut(fn: PeriodicBody, tick: Tick): unknown {
    const product = fn(tick);
    if (!isAwaitable(product)) this.mode = "direct";
    return product;
  }

  /** Makes a child of the job. */
  #createTask(body: TaskBody<unknown>, eager: boolean): Task<unknown> {
    const { task, stepper } = current;
    current.task = current.stepper = this.task as Task<unknown>;
    try {
      return this.loop.createTask(body, {
        name: this.task.name,
        priority: this.task.priority,
        eager,
      });
    } finally {
      current.task = task;
      current.stepper = stepper;
    }
  }

  // -- Ending --

  #watch(task: Task<unknown>, tick: Tick): void {
    runTickAs(tick, task);
    if (task.done()) {
      this.#ended(task, tick);
      return;
    }
    if (this.running === NO_RUNS) this.running = new Map();
    this.running.set(task, tick);
    // Cancelled from within its first step, when the run was not known yet.
    this.#cancelIfCancelled(task);
    task.addDoneCallback(() => {
      // Else the next tick came first, and has seen it.
      if (!this.running.delete(task)) return;
      this.#ended(task, tick);
      this.busyUntilMs = this.loop.time();
      this.beginNext();
    });
  }

  #cancelIfCancelled(task: Task<unknown>): void {
    const { state } = this;
    if (!isEnding(state) || state.kind === "finished") return;
    task.cancel(state.kind === "cancelled" ? state.reason : undefined);
  }

  /** Looks for runs that have ended in this turn. */
  protected reap(nowMs: number): void {
    for (const [task, tick] of [...this.running]) {
      if (!task.done()) continue;
      this.running.delete(task);
      this.#ended(task, tick);
      this.busyUntilMs = nowMs;
    }
    this.beginNext();
  }

  #ended(task: Task<unknown>, tick: Tick): void {
    if (task.cancelled()) this.#cancelled++;
    else if (task.failed()) this.#runFailed(task.exception(), tick);
  }

  /** Begins ticks in line, if it may, and ends the job if that was all. */
  protected beginNext(): void {
    while (
      this.waiting.length > 0 && this.running.size === 0 &&
      !isPaused(this.state)
    ) this.begin(this.fn!, this.waiting.shift()!, this.loop.time());
    if (isEnding(this.state)) this.endIfIdle();
  }

  /** Cancels what is under way. */
  protected cancelRunning(reason?: unknown): void {
    for (const task of [...this.running.keys()]) task.cancel(reason);
    for (const task of [...this.#handlers ?? []]) task.cancel(reason);
  }

  /** Whether nothing is under way, nor in line. */
  protected isIdle(): boolean {
    return this.running.size === 0 && this.waiting.length === 0 &&
      (this.#handlers === null || this.#handlers.size === 0);
  }

  /** Puts a tick in line. */
  protected line(tick: Tick): void {
    if (this.waiting === NO_TICKS) this.waiting = new RingBuffer();
    this.waiting.push(tick);
  }

  // -- Errors --

  #runFailed(error: unknown, tick: Tick): void {
    if (isCancellation(error)) {
      this.#cancelled++;
      return;
    }
    this.#failed++;
    this.#lastError = error;
    const { onError } = this.settings;
    if (onError === "stop") this.fail(error);
    else if (onError === "report") {
      this.report(`A run of task "${this.task.name}" failed`, error);
    } else {
      try {
        this.#handle(onError, error, tick);
      } catch (thrown) {
        this.fail(thrown);
      }
    }
  }

  /** Calls the user's error handler in a task, which ends at once if that is all. */
  #handle(
    onError: (error: unknown, tick: Tick) => unknown,
    error: unknown,
    tick: Tick,
  ): void {
    const body = isGeneratorFunction(onError)
      ? onError(error, tick) as Coroutine<unknown>
      : () => onError(error, tick);
    const task = this.#createTask(body, true);
    if (task.done()) this.#handled(task);
    else this.#awaitHandler(task);
  }

  #awaitHandler(task: Task<unknown>): void {
    const handlers = this.#handlers ??= new Set();
    handlers.add(task);
    this.#cancelIfCancelled(task);
    task.addDoneCallback(() => {
      handlers.delete(task);
      this.#handled(task);
      if (isEnding(this.state)) this.endIfIdle();
    });
  }

  /** Takes in how an error handler has ended. */
  #handled(task: Task<unknown>): void {
    if (!task.failed()) return;
    const error = task.exception();
    if (!isCancellation(error)) this.fail(error);
  }

  protected report(message: string, exception: unknown): void {
    this.loop.callExceptionHandler({
      message,
      exception,
      task: this.task as Task<unknown>,
      name: this.task.name,
    });
  }

  /** Counts of the runs; `nextDueMs` is when the next tick is due. */
  protected countRuns(nextDueMs: number | null): PeriodicStats {
    return Object.freeze({
      runs: this.runs,
      late: this.#late,
      maxLateMs: this.maxLateMs,
      skipped: this.skipped,
      failed: this.#failed,
      cancelled: this.#cancelled,
      lastError: this.#lastError,
      running: this.running.size,
      queued: this.waiting.length,
      nextDueMs,
    });
  }
}

/** Whether a run is not over when its function has returned `product`. */
function isAwaitable(product: unknown): boolean {
  return (typeof product === "object" || typeof product === "function") &&
    product !== null &&
    (typeof (product as PromiseLike<unknown>).then === "function" ||
      isCoroutine(product));
}
