/**
 * Testing tools: schedules of tasks, explored and replayed.
 *
 * @example
 * ```ts
 * import { Lock, gather, sleep } from "@rota/rota";
 * import { explore } from "@rota/rota/testing";
 * import { assertEquals } from "@std/assert";
 *
 * const report = await explore(function* () {
 *   let balance = 0;
 *   const lock = new Lock();
 *   const deposit = function* () {
 *     using _permit = yield* lock.acquire();
 *     const before = balance;
 *     yield* sleep(0);
 *     balance = before + 1;
 *   };
 *   yield* gather([deposit, deposit]);
 *   assertEquals(balance, 2);
 * }, { strategy: "dfs" });
 * assertEquals(report.complete, true);
 * ```
 *
 * @module
 */
import "./load_order.ts";

// -- Exploration --

export {
  explore,
  type ExploreOptions,
  type ExploreReport,
  replay,
  type ReplayOptions,
} from "./explore.ts";
export { type ExploredProgram } from "./explore_run.ts";
export { type ExploreStrategy } from "./explore_strategies.ts";
export {
  ExplorationError,
  type ExplorationFailure,
  type ExplorationFailureKind,
  NondeterminismError,
  ScheduleError,
} from "../errors.ts";
