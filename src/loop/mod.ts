/**
 * The event loop: turns, callbacks and timers, futures and tasks, operations, and `run`.
 *
 * @example
 * ```ts
 * import { getRunningLoop, run, sleep } from "@rota/rota/loop";
 * import { assertEquals } from "@std/assert";
 *
 * const answer = await run(function* () {
 *   const task = getRunningLoop().createTask(function* () {
 *     yield* sleep(10);
 *     return 42;
 *   });
 *   return yield* task;
 * }, { host: "virtual" });
 * assertEquals(answer, 42);
 * ```
 *
 * @module
 */
import "./load_order.ts";

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
} from "../errors.ts";
export { AttemptOperation } from "./attempt_operation.ts";
export { isCancellation } from "./cancellation.ts";
export {
  Operation,
  type OperationOptions,
  type WaitOptions,
} from "./operation.ts";
export { Block, type BlockOptions, currentBlock } from "./block.ts";
export { checkpoint, sleep, type SleepOptions, yieldNow } from "./sleep.ts";
export { currentTask, getRunningLoop, TaskLocal } from "./current.ts";
export type { Descriptor } from "./watchers.ts";
export { EventLoop } from "./event_loop.ts";
export type { ExceptionContext, ExceptionHandler } from "./diagnostics.ts";
export { Future, isFuture, type Suspension } from "./future.ts";
export {
  each,
  type EachBody,
  items,
  type ItemSource,
  type OperationIterable,
} from "./each.ts";
export { scoped } from "./scoped.ts";
export { until } from "./until.ts";
export { Handle, TimerHandle } from "./handle.ts";
export type {
  DeadlockPolicy,
  EventLoopOptions,
  LoopStats,
  TaskFactory,
} from "./loop_options.ts";
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
} from "./run.ts";
export {
  type PostedFunction,
  PostedTask,
  type PostTaskOptions,
  PriorityHandle,
} from "./ranked.ts";
export {
  type Priority,
  PriorityScheduler,
  type PrioritySchedulerOptions,
  type ReadyItem,
  type Scheduler,
} from "./scheduler.ts";
export {
  type Coroutine,
  Task,
  type TaskBody,
  type TaskOptions,
} from "./task.ts";
