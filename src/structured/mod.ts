/**
 * Structured concurrency: several things at once, time limits, and blocks that no
 * task outlives.
 *
 * - Waiting for several: {@linkcode gather}, {@linkcode wait}, {@linkcode asCompleted}.
 * - Time limits: {@linkcode timeout} and {@linkcode waitFor}, like asyncio's, cancel
 *   once; {@linkcode moveOnAfter} and {@linkcode failAfter}, like trio's, stay
 *   cancelled until they are left.
 * - Tasks that end together: {@linkcode taskGroup}.
 * - Cancelling a part of a task: {@linkcode cancelScope}. Keeping a cancellation out:
 *   {@linkcode shield} for one wait, `shield: true` for a scope.
 *
 * @example Three pages at once, within a second
 * ```ts
 * import { run, sleep } from "@rota/rota/loop";
 * import { failAfter, taskGroup } from "@rota/rota/structured";
 * import { assertEquals } from "@std/assert";
 *
 * const pages: string[] = [];
 * const load = async (name: string, ms: number) => {
 *   await sleep(ms);
 *   pages.push(name);
 * };
 * await run(async () => {
 *   await failAfter(1_000, () =>
 *     taskGroup(async (group) => {
 *       group.spawn(() => load("news", 30));
 *       group.spawn(() => load("mail", 10));
 *       group.spawn(() => load("chat", 20));
 *     }));
 * }, { host: "virtual" });
 * assertEquals(pages, ["mail", "chat", "news"]);
 * ```
 *
 * @module
 */
import "./load_order.ts";

export {
  AsCompleted,
  asCompleted,
  type AsCompletedOptions,
} from "./as_completed.ts";
export type { BlockBody } from "./block_body.ts";
export {
  CancelScope,
  cancelScope,
  type CancelScopeOptions,
  type ScopeOptions,
  type ScopeOutcome,
} from "./cancel_scope.ts";
export { currentEffectiveDeadline } from "./effective_deadline.ts";
export { ensureFuture } from "./ensure_future.ts";
export { failAfter, failAt } from "./fail_after.ts";
export {
  gather,
  type Gathered,
  type GatheredOrFailed,
  type GatherOptions,
} from "./gather.ts";
export type { StartOptions } from "./group_start.ts";
export { moveOnAfter, moveOnAt } from "./move_on.ts";
export { shield } from "./shield.ts";
export { TaskGroup, taskGroup, type TaskGroupOptions } from "./task_group.ts";
export { Timeout, timeout, timeoutAt } from "./timeout.ts";
export {
  type ReturnWhen,
  wait,
  type WaitForFuturesOptions,
  type WaitResult,
} from "./wait.ts";
export { waitFor } from "./wait_for.ts";
export type { LoopOptions, Waitable, Waited } from "./waitable.ts";
