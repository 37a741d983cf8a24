/**
 * Periodic work: `every`.
 *
 * @module
 */
import { LoopClosedError } from "../errors.ts";
import { checkFunction } from "../loop/checks.ts";
import { getRunningLoop } from "../loop/current.ts";
import { loopOf } from "../structured/waitable.ts";
import {
  type PeriodicBody,
  type PeriodicOptions,
  settleOptions,
} from "./periodic_options.ts";
import { PeriodicTask } from "./periodic_task.ts";
import type { Schedule } from "./schedule_ticks.ts";
import { checkInterval, TickPlanner } from "./tick_planner.ts";

/**
 * Runs `fn` again and again: at an interval, or by a schedule.
 *
 * The k-th tick is due k intervals after this call, however late the ticks before were and however long they took:
 * there is no drift. A tick is never early. The options decide about ticks that are missed, ticks that come during a
 * run, and runs that fail; by default the ticks are dropped, errors are reported, and the job goes on. Runs do not
 * overlap unless `overrun` is `"concurrent"`.
 *
 * A schedule is anything with `nextRun(after)`, such as a `Cron` of the package
 * `croner`. Its moments are on the wall clock. If that is set back, nothing runs
 * early and no moment comes twice: the job waits until the clock is past the last
 * moment. If it is set forward, or the machine was asleep, that is noticed within
 * a minute. A schedule that throws, or returns no later moments, ends the job
 * with an error.
 *
 * Ticks of several jobs that are due at the same moment run in one turn, in the
 * order in which the jobs were armed for it: at first the order in which they
 * were made, then that of the ticks before. Jobs that were made together with the
 * same interval share one timer of the loop. A plain function is called by the
 * timer, which costs about a third of a microsecond; any other is a task for each
 * run. The next tick keeps the process alive like any other timer; see
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
 * @param fn A function, generator function or async function; its argument is the
 * {@linkcode Tick}. Without one, the ticks are there to be iterated.
 * @param options The policies, a signal, and more.
 * @returns The task. It has begun.
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
/** Makes a periodic task without a function, to be iterated. */
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
  const planner = new TickPlanner(loop, settings);
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
