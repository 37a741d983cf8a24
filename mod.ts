/**
 * Rota: an event loop for Deno that you can hold in your hand.
 *
 * What Python has in asyncio: a loop with an exact order, timers that fire
 * within microseconds, descriptors and signals, tasks that are cancelled and
 * clean up. Tasks are generator coroutines, which the loop controls at every
 * step, or plain async functions; both wait for the same operations. Importing
 * it needs no permission.
 *
 * @example Two tasks, one in each style
 * ```ts
 * import { type Coroutine, getRunningLoop, run, sleep } from "@rota/rota";
 * import { assertEquals } from "@std/assert";
 *
 * const log: string[] = [];
 * const tick = function* (name: string, everyMs: number): Coroutine<void> {
 *   for (let n = 1; n <= 2; n++) {
 *     yield* sleep(everyMs);
 *     log.push(`${name} ${n}`);
 *   }
 * };
 * await run(async () => {
 *   const slow = getRunningLoop().createTask(() => tick("slow", 15));
 *   await sleep(10);
 *   log.push("main");
 *   await slow;
 * }, { host: "virtual" }); // without this option it takes 30 ms
 * assertEquals(log, ["main", "slow 1", "slow 2"]);
 * ```
 *
 * @module
 */
import "./src/load_order.ts";

export {
  type BlockedTask,
  BrokenBarrierError,
  CancelledError,
  ChannelClosedError,
  DeadlockError,
  DescriptorsUnsupportedError,
  InterruptedError,
  InvalidStateError,
  LoopClosedError,
  MisuseError,
  OsError,
  OverloadError,
  QueueEmptyError,
  QueueFullError,
  QueueShutDownError,
  RateLimitError,
  TaskGroupClosedError,
  TaskGroupError,
  TimeoutError,
} from "./src/errors.ts";

export {
  type Host,
  type HostClient,
  READABLE,
  type ReadyListener,
  WRITABLE,
} from "./src/host/host.ts";
export { Pipe } from "./src/host/pipe.ts";
export type { HostChoice } from "./src/host/select.ts";
export { VirtualHost } from "./src/host/portable.ts";

export { AttemptOperation } from "./src/loop/attempt_operation.ts";
export { isCancellation } from "./src/loop/cancellation.ts";
export {
  Operation,
  type OperationOptions,
  type WaitOptions,
} from "./src/loop/operation.ts";
export { Block, type BlockOptions, currentBlock } from "./src/loop/block.ts";
export {
  checkpoint,
  sleep,
  type SleepOptions,
  yieldNow,
} from "./src/loop/sleep.ts";
export { currentTask, getRunningLoop, TaskLocal } from "./src/loop/current.ts";
export type { Descriptor } from "./src/loop/watchers.ts";
export { EventLoop } from "./src/loop/event_loop.ts";
export type {
  ExceptionContext,
  ExceptionHandler,
} from "./src/loop/diagnostics.ts";
export { Future, isFuture, type Suspension } from "./src/loop/future.ts";
export {
  each,
  type EachBody,
  items,
  type ItemSource,
  type OperationIterable,
} from "./src/loop/each.ts";
export { scoped } from "./src/loop/scoped.ts";
export { until } from "./src/loop/until.ts";
export { Handle, TimerHandle } from "./src/loop/handle.ts";
export type {
  DeadlockPolicy,
  EventLoopOptions,
  LoopStats,
  TaskFactory,
} from "./src/loop/loop_options.ts";
export {
  allTasks,
  eagerTaskFactory,
  EventLoopPolicy,
  getEventLoopPolicy,
  newEventLoop,
  run,
  Runner,
  type RunOptions,
  setEventLoopPolicy,
} from "./src/loop/run.ts";
export {
  type PostedFunction,
  PostedTask,
  type PostTaskOptions,
  PriorityHandle,
} from "./src/loop/ranked.ts";
export {
  type Priority,
  PriorityScheduler,
  type PrioritySchedulerOptions,
  type ReadyItem,
  type Scheduler,
} from "./src/loop/scheduler.ts";
export {
  type Coroutine,
  Task,
  type TaskBody,
  type TaskOptions,
} from "./src/loop/task.ts";

export {
  Barrier,
  BoundedSemaphore,
  CapacityLimiter,
  type CapacityLimiterStatistics,
  Condition,
  Flag,
  Lock,
  Semaphore,
} from "./src/sync/locks.ts";
export {
  BaseQueue,
  Channel,
  type ChannelOptions,
  type ChannelReceiveResult,
  type ChannelStats,
  LifoQueue,
  PriorityQueue,
  Queue,
} from "./src/sync/queue.ts";
export type { Permit } from "./src/sync/wait_queue.ts";

export {
  AsCompleted,
  asCompleted,
  type AsCompletedOptions,
  type BlockBody,
  CancelScope,
  cancelScope,
  type CancelScopeOptions,
  currentEffectiveDeadline,
  ensureFuture,
  failAfter,
  failAt,
  gather,
  type Gathered,
  type GatheredOrFailed,
  type GatherOptions,
  type LoopOptions,
  moveOnAfter,
  moveOnAt,
  type ReturnWhen,
  type ScopeOptions,
  type ScopeOutcome,
  shield,
  type StartOptions,
  TaskGroup,
  taskGroup,
  type TaskGroupOptions,
  Timeout,
  timeout,
  timeoutAt,
  wait,
  type Waitable,
  type Waited,
  waitFor,
  type WaitForFuturesOptions,
  type WaitResult,
} from "./src/structured/mod.ts";

export {
  ConcurrencyLimit,
  type ConcurrencyLimitOptions,
  type ConcurrencyLimitStats,
  type JobOptions,
} from "./src/schedule/concurrency_limit.ts";
export type {
  Job,
  JobBody,
  OverloadStrategy,
} from "./src/schedule/limit_core.ts";
export {
  LimitMap,
  type LimitMapOptions,
  type MapBody,
} from "./src/schedule/limit_map.ts";
export {
  type RateAcquireOptions,
  type RateAlgorithm,
  RateLimiter,
  type RateLimiterOptions,
} from "./src/schedule/rate_limiter.ts";
export {
  every,
  type OverrunPolicy,
  type PeriodicBody,
  type PeriodicErrorPolicy,
  type PeriodicOptions,
  type PeriodicStats,
  PeriodicTask,
} from "./src/schedule/periodic.ts";
export type { MissedTicks, Schedule, Tick } from "./src/schedule/ticks.ts";
