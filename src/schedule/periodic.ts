/**
 * Periodic work: `every`, and the task that it makes.
 *
 * @module
 */
import {
  CancelledError,
  InvalidStateError,
  LoopClosedError,
  MisuseError,
} from "../errors.ts";
import { wallClockMs as machineClockMs } from "../host/runtime.ts";
import {
  checkFunction,
  checkInteger,
  checkNotNegative,
  checkOneOf,
  checkOptions,
  checkSignal,
  checkString,
  inspect,
  isGeneratorFunction,
} from "../loop/checks.ts";
import { current, getRunningLoop } from "../loop/current.ts";
import type { EventLoop } from "../loop/event_loop.ts";
import { Future } from "../loop/future.ts";
import {
  items,
  type ItemSource,
  type OperationIterable,
} from "../loop/each.ts";
import type { TimerHandle } from "../loop/handle.ts";
import { Operation } from "../loop/operation.ts";
import {
  checkPriority,
  DEFAULT_PRIORITY,
  type Priority,
} from "../loop/scheduler.ts";
import { type Coroutine, Task, type TaskBody } from "../loop/task.ts";
import { isCoroutine, loopOf, type LoopOptions } from "../structured/waitable.ts";
import { RingBuffer } from "../structures/queues.ts";
import { SeededRandom } from "../structures/random.ts";
import {
  type Beat,
  Grid,
  IntervalTicks,
  Jitter,
  LATE_MS,
  MISSED_TICKS,
  type MissedTicks,
  type Schedule,
  ScheduleTicks,
  Tick,
  type Ticks,
} from "./ticks.ts";

/**
 * What a {@linkcode PeriodicTask} runs: a function, a generator function or an
 * async function. It is waited for what it returns.
 */
export type PeriodicBody = (tick: Tick) => unknown;

/**
 * What happens when a tick comes while the run of an earlier one has not ended.
 *
 * - `"skip"`: the tick is dropped.
 * - `"queue"`: it waits in line, for as long as it takes. If runs are always
 *   slower than ticks, the line grows without bound; `stats().queued` shows it.
 * - `"concurrent"`: it runs beside the earlier one.
 * - `"cancel-previous"`: the earlier run is cancelled, and the tick runs when
 *   that has cleaned up. If more ticks come before, only the last one runs.
 */
export type OverrunPolicy =
  | "skip"
  | "queue"
  | "concurrent"
  | "cancel-previous";

/**
 * What happens when a run fails.
 *
 * - `"report"`: the exception handler of the loop is told, and the job goes on.
 * - `"stop"`: the job ends, and whoever waits for it gets the error.
 * - A function is called with the error and the tick, and the job goes on. What
 *   the function throws ends the job, as with `"stop"`.
 */
export type PeriodicErrorPolicy =
  | "report"
  | "stop"
  | ((error: unknown, tick: Tick) => void);

/** What {@linkcode PeriodicTask.stats} gives: the job at one moment. */
export interface PeriodicStats {
  /** How many runs have begun. */
  readonly runs: number;
  /** How many of them began more than 5 ms after they were due. */
  readonly late: number;
  /** The most that one of them was late, in milliseconds. */
  readonly maxLateMs: number;
  /**
   * How many ticks were dropped, as they were missed or came during a run. Those
   * of a schedule that were missed in one go count as one.
   */
  readonly skipped: number;
  /** How many runs have failed. */
  readonly failed: number;
  /** How many runs were cancelled. */
  readonly cancelled: number;
  /** What the last failed run threw; `undefined` if none has failed. */
  readonly lastError: unknown;
  /** How many runs have begun and not ended. */
  readonly running: number;
  /** How many ticks wait for a run to end. */
  readonly queued: number;
  /** When the next tick is due, on the clock of the loop; `null` if none is planned. */
  readonly nextDueMs: number | null;
}

/** How {@linkcode every} goes about it. */
export interface PeriodicOptions extends LoopOptions {
  /**
   * What to call it in messages.
   *
   * @default {`every(10)` for an interval of 10 ms, else `every(schedule)`}
   */
  readonly name?: string | undefined;
  /** Cancels it, with the signal's reason, when it aborts. */
  readonly signal?: AbortSignal | undefined;
  /**
   * What becomes of ticks that could not run in time.
   *
   * @default {"skip"}
   */
  readonly missedTicks?: MissedTicks | undefined;
  /**
   * What happens when a tick comes while an earlier one still runs.
   *
   * @default {"skip"}
   */
  readonly overrun?: OverrunPolicy | undefined;
  /**
   * Puts each tick off by a random time from 0 up to, but not including, so many
   * milliseconds. It does not add up. One that exceeds the interval makes ticks
   * miss their time.
   *
   * @default {0}
   */
  readonly jitterMs?: number | undefined;
  /**
   * What the random times follow from: a safe integer.
   *
   * @default {another one for each job}
   */
  readonly seed?: number | undefined;
  /**
   * After how many runs it ends, triggered ones included.
   *
   * @default {Infinity}
   */
  readonly maxRuns?: number | undefined;
  /**
   * Whether it runs at once, in the next turn, as tick 0, instead of after the
   * first interval.
   *
   * @default {false}
   */
  readonly immediate?: boolean | undefined;
  /**
   * How urgent the runs are. With another one than the default each run is a task
   * that waits its turn; without, a run begins in the turn of its tick.
   *
   * @default {that of the task that makes the job, else "user-visible"}
   */
  readonly priority?: Priority | undefined;
  /**
   * What happens when a run fails.
   *
   * @default {"report"}
   */
  readonly onError?: PeriodicErrorPolicy | undefined;
  /**
   * The wall clock that a schedule goes by: milliseconds since 1970, as
   * `Date.now()` gives.
   *
   * @default {that of the machine; on a virtual host, the time of the loop}
   */
  readonly wallClockMs?: (() => number) | undefined;
}

const OVERRUN: readonly OverrunPolicy[] = [
  "skip",
  "queue",
  "concurrent",
  "cancel-previous",
];

/**
 * How long a schedule waits at most until it looks at the wall clock again, which
 * may have been set, or gone on while the machine was asleep.
 */
const RECHECK_MS = 60_000;

/**
 * Runs `fn` again and again: at an interval, or by a schedule.
 *
 * The k-th tick is due at the start + k intervals, however late the ones before
 * were and however long they took: there is no drift. It is never early. What
 * happens to ticks that are missed, come during a run, or fail is up to the
 * options; by default they are dropped, dropped, and reported, and the job goes
 * on. Runs do not overlap unless `overrun` is `"concurrent"`.
 *
 * A schedule is anything with `nextRun(after)`, such as a `Cron` of the package
 * `croner`. It is on the wall clock. If that is set back, nothing runs early and
 * no moment comes twice: the job waits until the clock is past the last one. If
 * it is set forward, or the machine was asleep, that is noticed within a minute.
 * A schedule that throws, or gives no later moments, ends the job with an error.
 *
 * Ticks of several jobs that are due at the same moment run in one turn. Those
 * of jobs that began in one turn with the same interval share one timer of the
 * loop: they run one after the other, in the order in which the jobs were armed,
 * which is that of the ticks before. A plain function is called by the timer,
 * which costs about a third of a microsecond; any other is a task for each run.
 * The next tick keeps the process alive like any other timer; see
 * {@linkcode PeriodicTask.unref}.
 *
 * @example Every 10 ms, five times
 * ```ts
 * import { every, getRunningLoop, run, sleep } from "@rota/rota";
 * import { assertEquals } from "@std/assert";
 *
 * const log: string[] = [];
 * await run(async () => {
 *   const loop = getRunningLoop();
 *   await every(10, async (tick) => {
 *     await sleep(tick.index === 2 ? 15 : 1);
 *     log.push(`tick ${tick.index} of ${tick.dueMs} until ${loop.time()}`);
 *   }, { maxRuns: 3 });
 * }, { host: "virtual" });
 * assertEquals(log, [
 *   "tick 1 of 10 until 11",
 *   "tick 2 of 20 until 35",
 *   "tick 4 of 40 until 41",
 * ]);
 * ```
 *
 * @example As an iteration
 * ```ts
 * import { each, every, run } from "@rota/rota";
 * import { assertEquals } from "@std/assert";
 *
 * const dueMs: number[] = [];
 * await run(async () => {
 *   for await (const tick of every(10)) {
 *     dueMs.push(tick.dueMs);
 *     if (tick.index === 3) break; // which cancels the job
 *   }
 * }, { host: "virtual" });
 * await run(function* () {
 *   yield* each(every(10, { immediate: true, maxRuns: 2 }), (tick) => {
 *     dueMs.push(tick.dueMs);
 *   });
 * }, { host: "virtual" });
 * assertEquals(dueMs, [10, 20, 30, 0, 10]);
 * ```
 *
 * @param interval Milliseconds between the ticks, above 0, or a schedule.
 * @param fn A function, generator function or async function; it is given the
 * {@linkcode Tick}. Without one, the ticks are for whoever iterates.
 * @param options The policies, a signal, and more.
 * @returns The task, which has begun.
 * @throws {TypeError} If an argument is of the wrong type.
 * @throws {RangeError} If a number is out of range.
 * @throws {MisuseError} If no loop is given or running.
 * @throws {LoopClosedError} If the loop is closed.
 */
export function every(
  interval: number | Schedule,
  fn: PeriodicBody | undefined,
  options?: PeriodicOptions,
): PeriodicTask;
/** The same without a function, for iterating. */
export function every(
  interval: number | Schedule,
  options?: PeriodicOptions,
): PeriodicTask;
export function every(
  interval: number | Schedule,
  second?: PeriodicBody | PeriodicOptions,
  third?: PeriodicOptions,
): PeriodicTask {
  const what = "start periodic work";
  const isOptions = third === undefined && typeof second === "object" &&
    second !== null;
  const fn = isOptions ? undefined : second;
  const options = isOptions ? second : third === undefined ? {} : third;
  checkInterval(interval, what);
  if (fn !== undefined) checkFunction(fn, what, "fn");
  const settings = settleOptions(interval, options, what);
  const loop = loopOf(options, what) ?? getRunningLoop();
  if (loop.isClosed()) {
    throw new LoopClosedError(`Cannot ${what}: the event loop is closed`);
  }
  const planner = new Planner(loop, settings);
  const { immediate } = settings;
  const ticks = planner.plan(interval, immediate ? 0 : 1, immediate);
  return new PeriodicTask(
    loop,
    ticks,
    fn as PeriodicBody ?? null,
    settings,
    planner,
  );
}

// -- From options to plans --

/** What {@linkcode every} was given, checked, with a value for each. */
interface PeriodicSettings {
  readonly name: string;
  readonly signal: AbortSignal | undefined;
  readonly missedTicks: MissedTicks;
  readonly overrun: OverrunPolicy;
  readonly maxRuns: number;
  readonly immediate: boolean;
  /** That of the job; what it inherits if none was given. */
  readonly priority: Priority | undefined;
  readonly onError: PeriodicErrorPolicy;
}

/** Makes plans for a job. */
interface PeriodicPlanner {
  /** Makes the ticks of another interval or schedule, from now on. */
  replan(interval: number | Schedule, index: number, what: string): Ticks;
}

/** Makes the plans of one job. */
class Planner implements PeriodicPlanner {
  readonly #loop: EventLoop;
  readonly #settings: Settings;
  readonly #jitter: Jitter | null;
  /** Made for the first who needs it, which jobs with intervals do not. */
  #madeClock: WallClock | null = null;

  constructor(loop: EventLoop, settings: Settings) {
    this.#loop = loop;
    this.#settings = settings;
    const { jitterMs, seed } = settings;
    this.#jitter = jitterMs > 0
      ? new Jitter(
        new SeededRandom(seed ?? nextSeed(this.#clock.read())),
        jitterMs,
      )
      : null;
  }

  plan(
    interval: number | Schedule,
    index: number,
    immediate: boolean,
  ): Ticks {
    if (typeof interval === "number") {
      return new IntervalTicks(
        interval,
        this.#loop.time(),
        immediate ? index : index - 1,
        immediate ? "anchor" : "after",
        this.#jitter,
      );
    }
    const clock = this.#clock;
    return new ScheduleTicks(
      interval,
      () => clock.read(),
      clock.recheckMs,
      index,
      immediate ? "now" : "next",
      this.#jitter,
    );
  }

  replan(interval: number | Schedule, index: number, what: string): Ticks {
    checkInterval(interval, what);
    return this.plan(interval, index, false);
  }

  get #clock(): WallClock {
    return this.#madeClock ??= new WallClock(
      this.#loop,
      this.#settings.wallClockMs,
    );
  }
}

/** The clock that schedules go by. */
class WallClock {
  /** After how long it has to be looked at again, as it may have been set. */
  readonly recheckMs: number;
  readonly #readMs: () => number;

  constructor(loop: EventLoop, given: (() => number) | undefined) {
    const virtual = loop["virtual"];
    // On a virtual host nobody can set it, and it moves with the loop's.
    this.recheckMs = given === undefined && virtual ? Infinity : RECHECK_MS;
    this.#readMs = given ?? (virtual ? () => loop.time() : machineClockMs);
  }

  read(): number {
    const wallMs: unknown = this.#readMs();
    if (typeof wallMs !== "number" || !Number.isFinite(wallMs)) {
      throw new TypeError(
        `Cannot read the wall clock as wallClockMs must return a finite number: received ${
          inspect(wallMs)
        }`,
      );
    }
    return wallMs;
  }
}

let seeds = 0;

/** A seed that differs from job to job, and from run to run on a real clock. */
function nextSeed(wallMs: number): number {
  return (Math.floor(wallMs) + seeds++ * 2 ** 32) % Number.MAX_SAFE_INTEGER;
}

function checkInterval(interval: unknown, what: string): void {
  if (typeof interval === "number") {
    if (interval > 0 && interval < Infinity) return;
    throw new RangeError(
      `Cannot ${what} as interval must be a finite number of milliseconds above 0: received ${interval}`,
    );
  }
  if (typeof (interval as Schedule | null)?.nextRun === "function") return;
  throw new TypeError(
    `Cannot ${what} as interval must be a number of milliseconds or a schedule with nextRun(): received ${
      inspect(interval)
    }`,
  );
}

/** All options, each with its value. */
interface Settings extends PeriodicSettings {
  readonly jitterMs: number;
  readonly seed: number | undefined;
  readonly wallClockMs: (() => number) | undefined;
}

/** Checks the options and fills in the defaults. Each is read once. */
function settleOptions(
  interval: number | Schedule,
  options: PeriodicOptions,
  what: string,
): Settings {
  checkOptions(options, what);
  const {
    name = typeof interval === "number"
      ? `every(${interval})`
      : "every(schedule)",
    signal,
    missedTicks = "skip",
    overrun = "skip",
    jitterMs = 0,
    seed,
    maxRuns = Infinity,
    immediate = false,
    priority,
    onError = "report",
    wallClockMs,
  } = options;
  if (priority !== undefined) checkPriority(priority, what);
  checkString(name, what, "name");
  checkSignal(signal, what);
  checkOneOf(missedTicks, MISSED_TICKS, what, "missedTicks");
  checkOneOf(overrun, OVERRUN, what, "overrun");
  checkNotNegative(jitterMs, what, "jitterMs");
  if (jitterMs === Infinity) {
    throw new RangeError(
      `Cannot ${what} as jitterMs must be finite: received Infinity`,
    );
  }
  if (seed !== undefined) {
    checkInteger(seed, Number.MIN_SAFE_INTEGER, what, "seed");
    if (!Number.isSafeInteger(seed)) {
      throw new RangeError(
        `Cannot ${what} as seed must be a safe integer: received ${seed}`,
      );
    }
  }
  checkInteger(maxRuns, 1, what, "maxRuns", "or Infinity");
  checkOneOf(immediate, [true, false], what, "immediate");
  if (typeof onError !== "function") {
    checkOneOf(onError, ["report", "stop"], what, "onError");
  }
  if (wallClockMs !== undefined) {
    checkFunction(wallClockMs, what, "wallClockMs");
  }
  return {
    name,
    signal,
    missedTicks,
    overrun,
    jitterMs,
    seed,
    maxRuns,
    immediate,
    priority,
    onError,
    wallClockMs,
  };
}

// -- The task --

/**
 * Stand in for what is running and what is in line, and stay empty: most jobs
 * never need their own, and touching less memory makes a tick cheaper.
 */
const NO_RUNS = new Map<Task<unknown>, Tick>();
const NO_TICKS = new RingBuffer<Tick>();

/** From the end of a sleep to that of the task that sleeps it takes so many turns. */
const ENDING_TURNS = 2;

/**
 * What the task of a job waits for: done when no tick will come any more and
 * every run has ended. To be cancelled is a request, which the job fulfils.
 */
class JobEnd extends Future<void> {
  job: PeriodicTask | null = null;

  override cancel(reason?: unknown): boolean {
    if (this.done()) return false;
    this.job!["cancelRuns"](reason);
    return true;
  }

  endCancelled(reason: unknown): void {
    super.cancel(reason);
  }
}

/**
 * What becomes of a promise whose function was called outside of all tasks. It
 * cannot be cancelled: the wait for it lasts until it is settled.
 */
class PromiseEnd extends Future<unknown> {
  constructor(loop: EventLoop, promise: PromiseLike<unknown>) {
    super(loop, "a promise that a run has returned");
    promise.then(
      (value) => this.setResult(value),
      (error) => this.setException(error),
    );
  }

  override cancel(): boolean {
    return !this.done();
  }
}

/** One wish for the next tick. */
class Ask {
  /** Whether it was turned down, as somebody else waits: that is no end of the job. */
  refused = false;
}

/** Why a job has ended, if not because all is done. */
type Cause =
  | { readonly kind: "cancelled"; readonly reason: unknown }
  | { readonly kind: "failed"; readonly error: unknown };

/**
 * Something that is done again and again: what {@linkcode every} returns.
 *
 * It is a task, without a result: wait for it with `yield*` or `await` until it
 * has ended, by `maxRuns`, a schedule that has no more moments, `cancel`, or an
 * error. It ends after its last run has. Waiting for it and being cancelled
 * cancels it, as with any task, and so does the end of {@linkcode run}.
 *
 * Each run has a task of its own, a child of this one, unless its function is a
 * plain one that returns nothing to wait for: that is called by the timer. The
 * first run of a plain function has a task in any case. A plain function that
 * returns a promise only in a later run cannot be cancelled inside that one run;
 * `tick.signal` tells it. Use an async function or a generator function.
 *
 * The task starts in the next turn, as all tasks do, and its intervals are counted
 * from there. All that start in one turn do so at the same moment, so that their
 * ticks come together. A run is over when the task learns of its end, which is
 * in the turn after. One that ends at the very moment of the next tick ends in
 * time.
 *
 * @example Paused, triggered, and sent on its way again
 * ```ts
 * import { every, getRunningLoop, run, sleep } from "@rota/rota";
 * import { assertEquals } from "@std/assert";
 *
 * const ranAt: number[] = [];
 * await run(function* () {
 *   const loop = getRunningLoop();
 *   using job = every(10, () => ranAt.push(loop.time()));
 *   yield* sleep(25);
 *   job.pause();
 *   yield* sleep(20);
 *   job.trigger(); // at 45
 *   yield* sleep(2);
 *   job.resume(); // at 47; the grid is that of before
 *   yield* sleep(20);
 * }, { host: "virtual" });
 * assertEquals(ranAt, [10, 20, 45, 50, 60]);
 * ```
 */
export class PeriodicTask extends Task<void>
  implements AsyncIterable<Tick>, OperationIterable<Tick>, Disposable {
  readonly #end: JobEnd;
  /** Made when it is needed, which it is not for jobs that tick together. */
  #timer: TimerHandle | null = null;
  readonly #settings: PeriodicSettings;
  readonly #planner: PeriodicPlanner;
  /** As far as they are not behind: see {@linkcode PeriodicTask.#catchUp}. */
  #ticks: Ticks;
  /** The one who iterates, while it waits. */
  #consumer: Future<Tick | null> | null = null;
  #started = false;
  #cause: Cause | null = null;
  /** From when to when the last run lasted: what came due then came during it. */
  #busyFromMs = Infinity;
  #busyUntilMs = -Infinity;
  /** How often the tick that is due has looked whether the last run ends in time. */
  #looks = 0;
  #late = 0;
  #failed = 0;
  #cancelled = 0;
  #lastError: unknown = undefined;

  // What most ticks need is here, side by side: after an interval it is not in
  // the cache any more.

  /** Null if the ticks are for whoever iterates. */
  readonly #fn: PeriodicBody | null;
  /** Whether the function has turned out to return nothing to wait for. */
  #direct = false;
  #paused = false;
  /** Whether no tick will come any more. */
  #over = false;
  #running: Map<Task<unknown>, Tick> = NO_RUNS;
  #waiting: RingBuffer<Tick> = NO_TICKS;
  /** What it ticks by together with others; null if it has a timer of its own. */
  #grid: Grid | null = null;
  /** What it is armed for, and its place there; written by the beat alone. */
  private beat: Beat | null = null;
  private slot = 0;
  /** The number of the tick that is planned, as long as it ticks with others. */
  #index = 0;
  #runs = 0;
  readonly #maxRuns: number;
  #skipped = 0;
  #skippedAtRun = 0;
  #maxLateMs = 0;

  /**
   * Made by {@linkcode every}.
   *
   * @ignore
   */
  constructor(
    loop: EventLoop,
    ticks: Ticks,
    fn: PeriodicBody | null,
    settings: PeriodicSettings,
    planner: PeriodicPlanner,
  ) {
    const end = new JobEnd(loop, "its last run");
    super(loop, () => end, {
      name: settings.name,
      signal: settings.signal,
      priority: settings.priority,
    });
    end.job = this;
    this.#end = end;
    this.#settings = settings;
    this.#planner = planner;
    this.#maxRuns = settings.maxRuns;
    this.#ticks = ticks;
    this.#fn = fn;
    // It belongs to the async context, and in debug mode to the place, of here.
    if (loop["instrumented"]) this.#ownTimer();
    if (this.cancelling() > 0) this.#halt(); // the signal had aborted already
  }

  // -- Ticks --

  /**
   * Runs one step. The loop calls this.
   *
   * @ignore
   */
  override run(): void {
    super.run();
    if (!this.#started) this.#startTicks();
  }

  /** The job has begun to wait for its end. */
  #startTicks(): void {
    this.#started = true;
    if (this.#over) return;
    const start = startOf(this.loop);
    const { nowMs } = start;
    this.#ticks.start(nowMs);
    if (this.#mayTickWithOthers()) {
      const { index, intervalMs } = this.#ticks as IntervalTicks;
      this.#grid = gridOf(this.loop, start, intervalMs);
      this.#index = index;
    }
    if (this.#ticks.exhausted) this.#finish();
    else if (this.#settings.immediate && this.#fn !== null) this.#fire(NaN);
    else this.#arm(nowMs);
  }

  /**
   * Whether a shared timer does for it. Not if somebody wants to see all timers
   * or handles, nor if its place in the order of things may differ from that of
   * the others.
   */
  #mayTickWithOthers(): boolean {
    const { loop } = this;
    return this.#fn !== null && this.#timer === null &&
      this.#ticks instanceof IntervalTicks && this.#ticks.isShareable &&
      this.#settings.missedTicks !== "delay" && this.#isOrdinary() &&
      loop["ranking"] === null && !loop["overridden"] && !loop.debug;
  }

  /**
   * A tick has come that is one of many: does what {@linkcode PeriodicTask.#fire}
   * does, if nothing stands in the way of a run, and touches as little as it can.
   * Takes the time. Returns it if it was read after all that was done, else `NaN`.
   */
  private beatCame(beat: Beat, nowMs: number): number {
    const { index, dueMs, nextDueMs } = beat;
    if (
      nowMs < dueMs || nowMs > nextDueMs || dueMs < this.#busyUntilMs ||
      this.#running.size > 0 || this.#waiting.length > 0 || !this.#direct ||
      !this.#isOrdinary()
    ) {
      this.#catchUp();
      return this.#fire(nowMs);
    }
    this.#index = index + 1;
    const tick = new Tick(this, index, dueMs, null, this.#skipped);
    this.#count(tick, nowMs);
    this.#call(this.#fn!, tick);
    const endMs = this.loop.time();
    if (endMs > nextDueMs || !this.#direct) {
      this.#busyFromMs = nowMs;
      if (this.#waitsForEnd()) this.#busyUntilMs = endMs;
    }
    if (this.#over) this.#endIfIdle();
    else if (!this.#paused && this.#grid !== null && this.beat === null) {
      this.#grid.join(this, index + 1);
    }
    return endMs;
  }

  /** Reads what {@linkcode PeriodicTask.beatCame} is going to read. The sum means nothing. */
  private readAhead(): number {
    return this.#runs + this.#busyUntilMs + this.#maxLateMs + this.priority +
      (this.#direct ? 1 : 0);
  }

  /** Brings its own plan to where it is, after it has ticked with others. */
  #catchUp(): void {
    if (this.#grid !== null) {
      (this.#ticks as IntervalTicks).moveTo(this.#index);
    }
  }

  /** From now on it has a timer of its own. */
  #leaveOthers(): void {
    if (this.#grid === null) return;
    this.#catchUp();
    this.beat?.remove(this);
    this.#grid = null;
    this.#arm(this.loop.time()); // also in its run: nobody else does it then
  }

  /** What all timers call: no job needs a function of its own. */
  static readonly #tick = (job: PeriodicTask, readMs: number): number =>
    job.#fire(readMs);

  /** The timer has come. Takes and returns what a {@linkcode TickCallback} does. */
  #fire(readMs: number): number {
    if (this.#over || this.#paused) return readMs;
    const nowMs = Number.isNaN(readMs) ? this.loop.time() : readMs;
    if (this.#running.size > 0) {
      this.#reap(nowMs);
      if (this.#over || this.#paused) return NaN;
    }
    const ticks = this.#ticks;
    let tick: Tick | null = null;
    try {
      const lateMs = ticks.lateMs(nowMs);
      if (lateMs < 0) {
        this.#arm(nowMs);
        return NaN;
      }
      if (this.#running.size > 0 && this.#looksAgain()) return NaN;
      tick = this.#takeTick(ticks, nowMs, nowMs - lateMs);
    } catch (error) {
      this.#fail(error); // the schedule has
    }
    // The schedule may have cancelled or paused the job when it was asked.
    if (this.#over || this.#paused) return NaN;
    const endMs = tick !== null ? this.#come(tick, nowMs) : NaN;
    // The run may have given the job other ticks, which it has armed.
    if (this.#over || this.#ticks !== ticks) return NaN;
    if (ticks.exhausted) this.#finish();
    else this.#arm(nowMs);
    return endMs;
  }

  /** A run that ends at this very moment is given the turns it needs for that. */
  #looksAgain(): boolean {
    if (
      this.#settings.overrun === "concurrent" || this.#looks === ENDING_TURNS
    ) return false;
    this.#looks++;
    this.loop.callSoon(() => void this.#fire(NaN));
    return true;
  }

  /** The tick that is due, with the next one planned; null if it came during a run and is dropped. */
  #takeTick(ticks: Ticks, nowMs: number, cameMs: number): Tick | null {
    const { overrun, missedTicks } = this.#settings;
    const during = this.#cameDuringRun(cameMs);
    if (during && overrun === "skip") {
      this.#skipped += 1 + ticks.advance(nowMs, "burst") +
        ticks.skipTo(this.#busyUntilMs);
      this.#index = ticks.index;
      return null;
    }
    const { index } = ticks;
    const dueMs = ticks.dueMs(nowMs);
    const momentMs = ticks.momentMs();
    const tick = new Tick(this, index, dueMs, momentMs, this.#skipped);
    // What came during a run and stands in line for its end was not missed.
    const inLine = during && overrun === "queue";
    this.#skipped += ticks.advance(nowMs, inLine ? "burst" : missedTicks);
    this.#index = ticks.index;
    return tick;
  }

  /** Whether what came at a moment came while the last run lasted, or the line before it. */
  #cameDuringRun(cameMs: number): boolean {
    return cameMs >= this.#busyFromMs && cameMs < this.#busyUntilMs;
  }

  /** Sets the timer to the next tick, if anybody wants it. */
  #arm(nowMs: number): void {
    if (this.#over || this.#paused || !this.#started) return;
    if (this.#fn === null && !this.#isAwaited()) return;
    this.#looks = 0;
    if (this.#grid !== null) {
      this.#index = this.#ticks.index;
      this.beat?.remove(this);
      this.#grid.join(this, this.#index);
      return;
    }
    let wakeMs: number;
    try {
      wakeMs = this.#ticks.wakeMs(nowMs);
    } catch (error) {
      this.#fail(error); // the wall clock has
      return;
    }
    this.#ownTimer().reschedule(wakeMs);
  }

  #ownTimer(): TimerHandle {
    return this.#timer ??= this.loop["createTickTimer"](
      PeriodicTask.#tick,
      this,
    );
  }

  /** No tick comes until it is armed again. */
  #disarm(): void {
    this.#catchUp();
    this.beat?.remove(this);
    this.#timer?.reschedule(Infinity);
  }

  /**
   * A tick is there: runs it, hands it over, puts it in line or drops it. Returns
   * what {@linkcode PeriodicTask.#begin} does.
   */
  #come(tick: Tick, nowMs: number): number {
    if (this.#fn === null) {
      this.#deliver(tick, nowMs);
      return NaN;
    }
    if (this.#running.size === 0 && this.#waiting.length === 0) {
      return this.#begin(this.#fn, tick, nowMs);
    }
    switch (this.#settings.overrun) {
      case "skip":
        this.#skipped++;
        return NaN;
      case "queue":
        this.#line(tick);
        return NaN;
      case "concurrent":
        return this.#begin(this.#fn, tick, nowMs);
      case "cancel-previous":
        if (this.#waiting.length > 0) {
          this.#waiting.clear();
          this.#skipped++;
        } else {
          for (const task of [...this.#running.keys()]) {
            task.cancel("the next tick has come");
          }
        }
        this.#line(tick);
        return NaN;
    }
  }

  /** Puts a tick in line. */
  #line(tick: Tick): void {
    if (this.#waiting === NO_TICKS) this.#waiting = new RingBuffer();
    this.#waiting.push(tick);
  }

  // -- Runs --

  /** Begins a run. Returns the time if it was read after all that, else `NaN`. */
  #begin(fn: PeriodicBody, tick: Tick, nowMs: number): number {
    this.#count(tick, nowMs);
    // What stood in line belongs to the same stretch of work.
    if (!this.#cameDuringRun(tick.dueMs)) this.#busyFromMs = nowMs;
    if (this.#direct && this.#isOrdinary()) this.#call(fn, tick);
    else this.#start(fn, tick);
    let endMs = NaN;
    if (this.#waitsForEnd()) this.#busyUntilMs = endMs = this.loop.time();
    if (this.#over) this.#endIfIdle();
    return endMs;
  }

  /** Whether a tick that comes during a run does not begin another one. */
  #waitsForEnd(): boolean {
    const { overrun } = this.#settings;
    return overrun === "skip" || overrun === "queue";
  }

  #count(tick: Tick, nowMs: number): void {
    this.#skippedAtRun = tick["begin"](nowMs, this.#skippedAtRun);
    const { lateMs } = tick;
    if (lateMs > LATE_MS) this.#late++;
    if (lateMs > this.#maxLateMs) this.#maxLateMs = lateMs;
    if (++this.#runs >= this.#maxRuns) this.#halt();
  }

  /** Calls a function that returns nothing to wait for. */
  #call(fn: PeriodicBody, tick: Tick): void {
    const { task, stepper } = current;
    current.task = current.stepper = this as Task<unknown>;
    let run: Task<unknown> | null = null;
    try {
      const product = fn(tick);
      if (isAwaitable(product)) {
        const body = isCoroutine(product) || product instanceof Operation
          ? product
          : () => new PromiseEnd(this.loop, product as PromiseLike<unknown>);
        run = this.#createTask(body, true); // it has begun
        this.#direct = false;
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
    const makesGenerator = isGeneratorFunction(fn);
    let task: Task<unknown>;
    try {
      task = this.#createTask(
        makesGenerator
          ? fn(tick) as Coroutine<unknown>
          : () => this.#tryOut(fn, tick),
        this.#isOrdinary(),
      );
    } catch (error) {
      this.#runFailed(error, tick); // its parameters, or a task factory
      return;
    }
    this.#watch(task, tick);
  }

  /** The first run of a plain function shows whether it needs a task. */
  #tryOut(fn: PeriodicBody, tick: Tick): unknown {
    const product = fn(tick);
    if (!isAwaitable(product)) this.#direct = true;
    return product;
  }

  /** Makes the task of a run. */
  #createTask(body: TaskBody<unknown>, eager: boolean): Task<unknown> {
    const { task, stepper } = current;
    current.task = current.stepper = this as Task<unknown>;
    try {
      return this.loop.createTask(body, {
        name: this.name,
        priority: this.priority,
        eager,
      });
    } finally {
      current.task = task;
      current.stepper = stepper;
    }
  }

  /** Whether its runs need not wait their turn by priority. */
  #isOrdinary(): boolean {
    return this.priority === DEFAULT_PRIORITY;
  }

  #watch(task: Task<unknown>, tick: Tick): void {
    tick["runAs"](task);
    if (task.done()) {
      this.#ended(task, tick);
      return;
    }
    if (this.#running === NO_RUNS) this.#running = new Map();
    this.#running.set(task, tick);
    // Cancelled from within its first step, when it was not known yet.
    if (this.#cause !== null) task.cancel(reasonOf(this.#cause));
    task.addDoneCallback(() => {
      // Else the next tick came first, and has seen it.
      if (!this.#running.delete(task)) return;
      this.#ended(task, tick);
      this.#busyUntilMs = this.loop.time();
      this.#beginNext();
    });
  }

  /** Looks for runs that have ended in this turn. */
  #reap(nowMs: number): void {
    for (const [task, tick] of [...this.#running]) {
      if (!task.done()) continue;
      this.#running.delete(task);
      this.#ended(task, tick);
      this.#busyUntilMs = nowMs;
    }
    this.#beginNext();
  }

  /** A run has ended. */
  #ended(task: Task<unknown>, tick: Tick): void {
    if (task.cancelled()) this.#cancelled++;
    else if (task.failed()) this.#runFailed(task.exception(), tick);
  }

  /** Begins what is in line, if it may, and ends the job if that was all. */
  #beginNext(): void {
    while (
      this.#waiting.length > 0 && this.#running.size === 0 && !this.#paused
    ) this.#begin(this.#fn!, this.#waiting.shift()!, this.loop.time());
    if (this.#over) this.#endIfIdle();
  }

  #runFailed(error: unknown, tick: Tick): void {
    if (error instanceof CancelledError) {
      this.#cancelled++;
      return;
    }
    this.#failed++;
    this.#lastError = error;
    const { onError } = this.#settings;
    if (onError === "stop") this.#fail(error);
    else if (onError === "report") {
      this.#report(`A run of task "${this.name}" failed`, error);
    } else {
      try {
        onError(error, tick);
      } catch (thrown) {
        this.#fail(thrown);
      }
    }
  }

  #report(message: string, exception: unknown): void {
    this.loop.callExceptionHandler({
      message,
      exception,
      task: this as Task<unknown>,
      name: this.name,
    });
  }

  // -- The end --

  #endTicks(): void {
    this.beat?.remove(this);
    this.#timer?.cancel();
  }

  /** No tick comes any more. */
  #halt(): void {
    this.#over = true;
    this.#endTicks();
    this.#waiting.clear();
    this.#wakeConsumer();
  }

  /** There are no more ticks; those in line still run. */
  #finish(): void {
    this.#over = true;
    this.#endTicks();
    this.#wakeConsumer();
    this.#endIfIdle();
  }

  /** Ends the job with an error. */
  #fail(error: unknown): void {
    if (this.#cause?.kind === "failed" || this.#end.done()) {
      this.#report(
        `Task "${this.name}" failed once more while it ended`,
        error,
      );
      return;
    }
    const cancelsRuns = this.#cause === null;
    this.#cause = { kind: "failed", error };
    this.#halt();
    if (cancelsRuns) {
      for (const task of [...this.#running.keys()]) task.cancel();
    }
    this.#endIfIdle();
  }

  /** Somebody has cancelled the job. */
  private cancelRuns(reason: unknown): void {
    this.#cause ??= { kind: "cancelled", reason };
    this.#halt();
    for (const task of [...this.#running.keys()]) task.cancel(reason);
    this.#endIfIdle();
  }

  #endIfIdle(): void {
    const end = this.#end;
    if (
      this.#running.size > 0 || this.#waiting.length > 0 || end.done()
    ) return;
    const cause = this.#cause;
    if (cause === null) end.setResult();
    else if (cause.kind === "failed") end.setException(cause.error);
    else end.endCancelled(cause.reason);
  }

  /**
   * Ends it: no tick comes any more from this moment on, those in line are
   * dropped, and the runs that are under way are cancelled. When they have
   * cleaned up, whoever waits for the task, or iterates it, gets a
   * {@linkcode CancelledError}.
   *
   * @param reason What to say about the cause.
   * @returns Whether it had not ended.
   */
  override cancel(reason?: unknown): boolean {
    // A signal that has aborted already cancels it while it is being made.
    if (#timer in this && !this.done()) this.#halt();
    return super.cancel(reason);
  }

  /** The same as {@linkcode cancel}. */
  [Symbol.dispose](): void {
    this.cancel();
  }

  // -- What can be asked of it --

  /**
   * Lets no tick come until {@linkcode resume}. Runs that are under way go on;
   * those in line wait. A paused task does not keep the process alive. Doing it
   * twice is harmless.
   *
   * @throws {InvalidStateError} If no tick will come any more.
   */
  pause(): void {
    this.#checkGoesOn("pause");
    this.#paused = true;
    this.#disarm();
  }

  /**
   * Lets ticks come again. Those of the pause are dropped and not counted: the
   * next is the first on the grid that has not passed, with `"delay"` one that is
   * a full interval away. With `"burst"` they are made up for. What waits in line
   * begins in the next turn. Does nothing if it was not paused.
   *
   * @throws {InvalidStateError} If no tick will come any more.
   */
  resume(): void {
    this.#checkGoesOn("resume");
    if (!this.#paused) return;
    const nowMs = this.loop.time();
    this.#catchUp();
    try {
      this.#ticks.resume(nowMs, this.#settings.missedTicks);
    } catch (error) {
      this.#fail(error); // the schedule has
      return;
    }
    if (this.#over) return; // the schedule has cancelled the job
    this.#paused = false;
    if (this.#waiting.length > 0) this.loop.callSoon(() => this.#beginNext());
    if (this.#ticks.exhausted) this.#finish();
    else this.#arm(nowMs);
  }

  /**
   * Goes by another interval or schedule from now on: the next tick is due one
   * interval from now, and so on. The numbers of the ticks go on. Runs that are
   * under way, and those in line, stay as they are.
   *
   * @example Slower, as nothing happens
   * ```ts
   * import { every, getRunningLoop, run, sleep } from "@rota/rota";
   * import { assertEquals } from "@std/assert";
   *
   * const ranAt: number[] = [];
   * await run(async () => {
   *   const loop = getRunningLoop();
   *   every(10, ({ job }) => {
   *     ranAt.push(loop.time());
   *     job.reschedule(2 * loop.time());
   *   });
   *   await sleep(300);
   * }, { host: "virtual" });
   * assertEquals(ranAt, [10, 30, 90, 270]);
   * ```
   *
   * @param interval Milliseconds between the ticks, or a schedule.
   * @throws {TypeError} If it is neither.
   * @throws {RangeError} If it is a number that is not finite or not above 0.
   * @throws {InvalidStateError} If no tick will come any more.
   */
  reschedule(interval: number | Schedule): void {
    const what = "reschedule a periodic task";
    this.#catchUp();
    const ticks = this.#planner.replan(interval, this.#ticks.index, what);
    this.#checkGoesOn("reschedule");
    this.#disarm();
    this.#grid = null;
    this.#ticks = ticks;
    if (ticks.exhausted) this.#finish();
    else this.#arm(this.loop.time());
  }

  /**
   * Runs it once in the next turn, in addition to its ticks and whether or not it
   * is paused. If a run has not ended then, `overrun` decides, so the default is
   * to drop it. Whoever iterates gets a tick.
   *
   * @throws {InvalidStateError} If no tick will come any more.
   */
  trigger(): void {
    this.#checkGoesOn("trigger");
    const dueMs = this.loop.time();
    this.loop.callSoon(() => {
      if (this.#over) return;
      const nowMs = this.loop.time();
      this.#reap(nowMs);
      if (this.#over) return;
      this.#come(new Tick(this, -1, dueMs, null, this.#skipped), nowMs);
    });
  }

  /**
   * Makes the next tick keep the process alive while the loop runs, as it does
   * from the start. Undoes {@linkcode unref}.
   */
  ref(): void {
    this.#timer?.ref();
  }

  /** Lets the process end though a tick is still to come, if nothing else keeps it alive. */
  unref(): void {
    if (this.#over || this.loop.isClosed()) return;
    this.#leaveOthers();
    this.#ownTimer().unref();
  }

  /**
   * Counts what has happened.
   *
   * @returns A frozen snapshot.
   */
  stats(): PeriodicStats {
    const planned = !this.#over && !this.#paused;
    this.#catchUp();
    return Object.freeze({
      runs: this.#runs,
      late: this.#late,
      maxLateMs: this.#maxLateMs,
      skipped: this.#skipped,
      failed: this.#failed,
      cancelled: this.#cancelled,
      lastError: this.#lastError,
      running: this.#running.size,
      queued: this.#waiting.length,
      nextDueMs: planned ? this.#ticks.dueMs(this.loop.time()) : null,
    });
  }

  #checkGoesOn(what: string): void {
    if (!this.#over) return;
    throw new InvalidStateError(
      `Cannot ${what} a periodic task: no tick of "${this.name}" will come any more`,
    );
  }

  // -- Iterating --

  /**
   * Gives the ticks, if there is no function to run: `for await (const tick of
   * every(10))` in an async function, `yield* each(every(10), ...)` in a
   * generator coroutine. Each is planned when the one before is given, so that a
   * consumer that takes its time finds one tick waiting, late; what becomes of
   * the others is up to `missedTicks`. Leaving the iteration cancels the task.
   *
   * One waits at a time: who asks for a tick while somebody else waits for it gets
   * a {@linkcode MisuseError}, and the other one, and the task, are not concerned.
   *
   * @returns An iterator for `for await`.
   * @throws {MisuseError} If there is a function.
   */
  [Symbol.asyncIterator](): AsyncIterableIterator<Tick, undefined> {
    this.#checkIterable();
    return {
      next: async () => {
        const ask = new Ask();
        try {
          return await this.#next(ask);
        } catch (error) {
          // "for await" does not close what has failed.
          if (!ask.refused) this.cancel();
          throw error;
        }
      },
      return: () => {
        this.cancel();
        return Promise.resolve({ done: true, value: undefined });
      },
      [Symbol.asyncIterator]() {
        return this;
      },
    };
  }

  /** @ignore */
  [items](): ItemSource<Tick> {
    this.#checkIterable();
    const ask = new Ask();
    return Object.assign(() => this.#next(ask), {
      // Who was turned down has nothing to leave.
      close: () => {
        if (!ask.refused) this.cancel();
      },
    });
  }

  #checkIterable(): void {
    if (this.#fn === null) return;
    throw new MisuseError(
      "Cannot iterate a periodic task: it has a function to run",
    );
  }

  #next(ask: Ask): Operation<IteratorResult<Tick, undefined>> {
    return new Operation(() => this.#nextTick(ask), {
      name: `the next tick of "${this.name}"`,
    });
  }

  *#nextTick(ask: Ask): Coroutine<IteratorResult<Tick, undefined>> {
    ask.refused = this.#consumer !== null;
    if (ask.refused) {
      throw new MisuseError(
        "Cannot wait for the next tick: somebody waits for it already",
      );
    }
    if (!this.#over || this.#waiting.length > 0) {
      const { loop } = this;
      const waiter = new Future<Tick | null>(loop, "the next tick");
      const nowMs = loop.time();
      this.#consumer = waiter;
      try {
        const triggered = this.#waiting.shift();
        if (triggered === undefined) this.#arm(nowMs);
        else this.#deliver(triggered, nowMs);
        const tick = yield* waiter;
        if (tick !== null) return { done: false, value: tick };
      } finally {
        this.#consumer = null;
        if (!this.#over) this.#timer?.reschedule(Infinity);
      }
    }
    yield* this;
    return { done: true, value: undefined };
  }

  /** Gives a tick to whoever iterates, or keeps one that nobody waits for yet. */
  #deliver(tick: Tick, nowMs: number): void {
    if (!this.#isAwaited()) {
      this.#line(tick);
      return;
    }
    this.#consumer!.setResult(tick);
    this.#count(tick, nowMs);
    if (this.#over) this.#endIfIdle();
  }

  /** Tells whoever iterates that there are no more ticks. */
  #wakeConsumer(): void {
    if (this.#isAwaited()) this.#consumer!.setResult(null);
  }

  /** Whether somebody waits for a tick and has not been given one. */
  #isAwaited(): boolean {
    return this.#consumer !== null && !this.#consumer.done();
  }

  /**
   * Names the class in messages and inspections.
   *
   * @returns `"PeriodicTask"`.
   */
  override get [Symbol.toStringTag](): string {
    return "PeriodicTask";
  }
}

/** What jobs share that start in one turn. */
interface Start {
  readonly turn: number;
  readonly nowMs: number;
  /** By interval. */
  readonly grids: Map<number, Grid>;
}

const starts = new WeakMap<EventLoop, Start>();

/**
 * The moment at which all jobs start that start in this turn. So their ticks
 * fall into one turn too, and wake the loop once instead of once for each job.
 */
function startOf(loop: EventLoop): Start {
  const turn = loop.stats().turns;
  let start = starts.get(loop);
  if (start === undefined || start.turn !== turn) {
    start = { turn, nowMs: loop.time(), grids: new Map() };
    starts.set(loop, start);
  }
  return start;
}

function gridOf(loop: EventLoop, start: Start, intervalMs: number): Grid {
  const { grids, nowMs } = start;
  let grid = grids.get(intervalMs);
  if (grid === undefined) {
    grids.set(intervalMs, grid = new Grid(loop, intervalMs, nowMs));
  }
  return grid;
}

function reasonOf(cause: Cause): unknown {
  return cause.kind === "cancelled" ? cause.reason : undefined;
}

/** Whether a run is not over when its function has returned `product`. */
function isAwaitable(product: unknown): boolean {
  return (typeof product === "object" || typeof product === "function") &&
    product !== null &&
    (typeof (product as PromiseLike<unknown>).then === "function" ||
      isCoroutine(product));
}
