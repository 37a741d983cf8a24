/**
 * Locks, semaphores, queues and channels: how tasks wait for one another.
 *
 * | | |
 * |---|---|
 * | {@linkcode Lock} | one task at a time |
 * | {@linkcode Semaphore}, {@linkcode BoundedSemaphore} | a number of tasks at a time |
 * | {@linkcode CapacityLimiter} | the same, and it knows its borrowers |
 * | {@linkcode Flag} | `wait()` returns once it is set: asyncio's `Event` |
 * | {@linkcode Condition} | waits for a change that is made under a lock |
 * | {@linkcode Barrier} | tasks go on when a given number of them has come |
 * | {@linkcode Queue}, {@linkcode PriorityQueue}, {@linkcode LifoQueue} | items between tasks, counted until done |
 * | {@linkcode Channel} | values between tasks, until it is closed |
 *
 * All of them serve waiters in the order in which they came. Every wait takes a
 * `signal` that ends it. A waiter that is cancelled, also in the turn in which
 * it was woken, loses nothing: its permit, item or value goes to the next one.
 * Generators wait by `yield*`, async functions by `await`.
 *
 * @example Two workers, one of each style, share a queue and a lock
 * ```ts
 * import { run, sleep } from "@rota/rota/loop";
 * import { taskGroup } from "@rota/rota/structured";
 * import { Lock, Queue } from "@rota/rota/sync";
 * import { assertEquals } from "@std/assert";
 *
 * const log: string[] = [];
 * await run(async () => {
 *   const queue = new Queue<string>();
 *   for (const job of ["a", "b"]) queue.putNowait(job);
 *   const lock = new Lock();
 *   await taskGroup((group) => {
 *     group.createTask(function* () {
 *       const job = yield* queue.get();
 *       using _permit = yield* lock.acquire();
 *       yield* sleep(10);
 *       log.push(`generator: ${job}`);
 *     });
 *     group.createTask(async () => {
 *       const job = await queue.get();
 *       using _permit = await lock.acquire();
 *       log.push(`async: ${job}`);
 *     });
 *   });
 * }, { host: "virtual" });
 * assertEquals(log, ["generator: a", "async: b"]);
 * ```
 *
 * @module
 */
import "./load_order.ts";

export { Barrier } from "./barrier.ts";
export {
  CapacityLimiter,
  type CapacityLimiterStatistics,
} from "./capacity_limiter.ts";
export {
  Channel,
  type ChannelOptions,
  type ChannelReceiveResult,
  type ChannelStats,
} from "./channel.ts";
export { Condition, type ConditionStatistics } from "./condition.ts";
export { Flag, type FlagStatistics } from "./flag.ts";
export { Lock, type LockStatistics } from "./lock.ts";
export type { Permit } from "./permit.ts";
export {
  BaseQueue,
  LifoQueue,
  PriorityQueue,
  Queue,
  type QueueStatistics,
} from "./queue.ts";
export {
  BoundedSemaphore,
  Semaphore,
  type SemaphoreStatistics,
} from "./semaphore.ts";
