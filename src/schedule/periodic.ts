import { LoopClosedError } from "../errors.ts";
import { wallClockMs as machineClockMs } from "../host/timing.ts";
import {
  checkFunction,
  checkNotNegative,
  checkOneOf,
  checkOptions,
  checkSignal,
  checkString,
  inspect,
} from "../loop/checks.ts";
import { getRunningLoop } from "../loop/current.ts";
import type { EventLoop } from "../loop/event_loop.ts";
import { checkPriority, type Priority } from "../loop/scheduler.ts";
import { loopOf, type LoopOptions } from "../structured/wait.ts";
import { SeededRandom } from "../structures/random.ts";
import { checkInteger } from "../loop/checks.ts";
import {
  IntervalTicks,
  Jitter,
  MISSED_TICKS,
  type MissedTicks,
  type Schedule,
  ScheduleTicks,
  type Ticks,
} from "./ticks.ts";
import {
  type OverrunPolicy,
  type PeriodicBody,
  type PeriodicErrorPolicy,
  type PeriodicPlanner,
  type PeriodicSettings,
  PeriodicTask,
} from "./periodic_task.ts";

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
