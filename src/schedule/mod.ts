/**
 * Work that comes again, and limits of how much runs: periodic tasks, limits of
 * concurrency, limits of rate.
 *
 * | To | use |
 * |---|---|
 * | run something at an interval or by a schedule | {@linkcode every} |
 * | run at most so many functions at a time | {@linkcode ConcurrencyLimit} |
 * | do something at most so often | {@linkcode RateLimiter} |
 *
 * @example Look into a queue every 100 ms, and do at most two jobs at a time
 * ```ts
 * import { run, sleep } from "@rota/rota/loop";
 * import { ConcurrencyLimit, every } from "@rota/rota/schedule";
 * import { assertEquals } from "@std/assert";
 *
 * const inbox = ["a", "b", "c"];
 * const done: string[] = [];
 * await run(async () => {
 *   const limit = new ConcurrencyLimit(2);
 *   await every(100, async () => {
 *     await limit.map(inbox.splice(0), async (name) => {
 *       await sleep(30);
 *       done.push(name);
 *     });
 *   }, { maxRuns: 2 });
 * }, { host: "virtual" });
 * assertEquals(done, ["a", "b", "c"]);
 * ```
 *
 * @module
 */
import "./load_order.ts";

// -- Periodic work --

export { every } from "./every.ts";
export { PeriodicTask } from "./periodic_task.ts";
export type { Tick } from "./tick.ts";
export type {
  OverrunPolicy,
  PeriodicBody,
  PeriodicErrorPolicy,
  PeriodicOptions,
} from "./periodic_options.ts";
export type { PeriodicStats } from "./periodic_stats.ts";
export type { MissedTicks } from "./ticks.ts";
export type { Schedule } from "./schedule_ticks.ts";

// -- Limits of concurrency --

export { ConcurrencyLimit } from "./concurrency_limit.ts";
export type {
  ConcurrencyLimitOptions,
  ConcurrencyLimitStats,
  JobOptions,
  OverloadStrategy,
} from "./concurrency_limit_options.ts";
export type { Job, JobBody } from "./limit_job.ts";
export { LimitMap } from "./limit_map.ts";
export type { LimitMapOptions, MapBody } from "./map_plan.ts";

// -- Limits of rate --

export {
  type RateAcquireOptions,
  type RateAlgorithm,
  RateLimiter,
  type RateLimiterOptions,
} from "./rate_limiter.ts";
