/**
 * Periodic task, as its user sees it.
 *
 * @module
 */
import { MisuseError } from "../errors.ts";
import type { EventLoop } from "../loop/event_loop.ts";
import {
  items,
  type ItemSource,
  type OperationIterable,
} from "../loop/each.ts";
import { Task } from "../loop/task.ts";
import { PeriodicCore } from "./periodic_core.ts";
import { JobEnd } from "./periodic_ends.ts";
import type { PeriodicBody, PeriodicSettings } from "./periodic_options.ts";
import type { PeriodicStats } from "./periodic_stats.ts";
import type { Schedule } from "./schedule_ticks.ts";
import type { Tick } from "./tick.ts";
import type { TickFeed } from "./tick_feed.ts";
import type { TickPlanner } from "./tick_planner.ts";
import type { Ticks } from "./ticks.ts";

/** Returns the inside of a job. */
export let coreOf: (job: PeriodicTask) => PeriodicCore;

/**
 * Task that runs again and again, which {@linkcode every} returns.
 *
 * Like a task without a result: wait for its end with `yield*` or `await`. It
 * ends by `maxRuns`, a schedule that has no more moments, `cancel`, or an
 * error, and after its last run. Cancelling a task that waits for it cancels
 * it, as with any task, and so does the end of {@linkcode run}.
 *
 * Each run has a task of its own, a child of this one, unless its function is a
 * plain one that returns nothing to wait for: that is called by the timer. The
 * first run of a plain function has a task in any case. A plain function that
 * returns a promise only in a later run cannot be cancelled inside that one run,
 * except by `tick.signal`. Use an async function or a generator function.
 *
 * The task starts in the next turn, as all tasks do, but its intervals are counted
 * from the call of {@linkcode every}. Jobs that are made within a millisecond
 * count from the moment of the last of them, so that their ticks come together.
 * The end of a run is noticed in the turn after. A run that ends at the very
 * moment of the next tick ends in time.
 *
 * @example Pause, trigger, resume
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
 *   job.resume(); // at 47; the grid is the same as before
 *   yield* sleep(20);
 * }, { host: "virtual" });
 * assertEquals(ranAt, [10, 20, 45, 50, 60]);
 * ```
 */
export class PeriodicTask extends Task<void>
  implements AsyncIterable<Tick>, OperationIterable<Tick>, Disposable {
  readonly #core: PeriodicCore;

  static {
    coreOf = (job) => job.#core;
  }

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
    planner: TickPlanner,
  ) {
    const end = new JobEnd(loop);
    super(loop, () => end, {
      name: settings.name,
      signal: settings.signal,
      priority: settings.priority,
    });
    const core = new PeriodicCore(this, end, ticks, fn, settings, planner);
    end.job = this.#core = core;
    if (this.cancelling() > 0) core.halt(); // the signal had aborted already
  }

  /**
   * Runs one step. The loop calls this.
   *
   * @ignore
   */
  override run(): void {
    super.run();
    this.#core.start();
  }

  /**
   * Ends it: no tick comes any more from this moment on, ticks in line are
   * dropped, and runs that are under way are cancelled. When they have cleaned
   * up, waiting for the task, or iterating it, throws a
   * {@linkcode CancelledError}.
   *
   * @param reason Reason of the cancellation.
   * @returns Whether it had not ended.
   */
  override cancel(reason?: unknown): boolean {
    // A signal that has aborted already cancels it while it is being made.
    if (#core in this && !this.done()) this.#core.halt();
    return super.cancel(reason);
  }

  /** Does the same as {@linkcode cancel}. */
  [Symbol.dispose](): void {
    this.cancel();
  }

  /**
   * Lets no tick come until {@linkcode resume}. Runs that are under way go on;
   * ticks in line wait. A paused task does not keep the process alive. Pausing
   * twice is harmless, and so is pausing in the last of `maxRuns`.
   *
   * @throws {InvalidStateError} If no tick will come any more.
   */
  pause(): void {
    this.#core.pause();
  }

  /**
   * Lets ticks come again. Ticks of the pause are dropped and not counted: the
   * next is the first on the grid that has not passed, with `"delay"` one that is
   * a full interval away. With `"burst"` they are made up for. Ticks in line
   * begin in the next turn. Does nothing if it was not paused, nor in the last of
   * `maxRuns`.
   *
   * @throws {InvalidStateError} If no tick will come any more.
   */
  resume(): void {
    this.#core.resume();
  }

  /**
   * Changes to another interval or schedule: the next tick is due one interval
   * from now, and so on. The numbers of the ticks go on. Runs that are under way,
   * and ticks in line, stay as they are. Does nothing in the last of `maxRuns`,
   * so that a function need not know which run is the last.
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
    this.#core.reschedule(interval);
  }

  /**
   * Runs it once in the next turn, in addition to its ticks and whether or not it
   * is paused. If a run has not ended then, `overrun` decides, so the default is
   * to drop it. A consumer that iterates gets a tick. Does nothing in the last of
   * `maxRuns`.
   *
   * @throws {InvalidStateError} If no tick will come any more.
   */
  trigger(): void {
    this.#core.trigger();
  }

  /**
   * Makes the next tick keep the process alive while the loop runs, as it does
   * from the start. Undoes {@linkcode unref}.
   */
  ref(): void {
    this.#core.ref();
  }

  /**
   * Lets the process end though a tick is still to come, if nothing else keeps it
   * alive. It gives the task a timer of its own, which is set anew: of jobs that
   * are due at the same moment as its next tick, it runs last.
   */
  unref(): void {
    this.#core.unref();
  }

  /**
   * Returns the counts of its runs.
   *
   * @returns A frozen snapshot.
   */
  stats(): PeriodicStats {
    return this.#core.stats();
  }

  /**
   * Iterates the ticks, if there is no function to run: `for await (const tick of
   * every(10))` in an async function, `yield* each(every(10), ...)` in a
   * generator coroutine. Each tick is planned when the one before is given, so
   * that a slow consumer finds one tick waiting, late; `missedTicks` decides about
   * the others. Leaving the iteration cancels the task.
   *
   * Only one consumer can wait at a time: a second one gets a
   * {@linkcode MisuseError}, which does not affect the first one and the task.
   *
   * @returns An iterator for `for await`.
   * @throws {MisuseError} If there is a function.
   */
  [Symbol.asyncIterator](): AsyncIterableIterator<Tick, undefined> {
    return this.#feed().iterate();
  }

  /** @ignore */
  [items](): ItemSource<Tick> {
    return this.#feed().source();
  }

  #feed(): TickFeed {
    const { feed } = this.#core;
    if (feed !== null) return feed;
    throw new MisuseError(
      "Cannot iterate a periodic task: it has a function to run",
    );
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
