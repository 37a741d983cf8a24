/**
 * The event loop: callbacks, timers, futures, tasks in two styles, cancellation,
 * and `run`, which makes a loop, runs a program on it and closes it.
 *
 * Everything else in Rota is built on this folder: locks and queues
 * (`../sync/`), groups and timeouts (`../structured/`), periodic work and limits
 * (`../schedule/`).
 *
 * Where to begin reading: `kernel.ts` has one turn of the loop, top to bottom;
 * `event_loop.ts` the methods that programs call; `future.ts` and `task.ts` what
 * they wait for; `core.ts` how all of these reach one another.
 *
 * @example A timer, a future and a task on a virtual clock
 * ```ts
 * import { createTask, getRunningLoop, run, sleep } from "@rota/rota/loop";
 * import { assertEquals } from "@std/assert";
 *
 * const log: string[] = [];
 * await run(function* () {
 *   const loop = getRunningLoop();
 *   const answer = loop.createFuture<number>();
 *   loop.callLater(20, () => answer.setResult(42));
 *   const ticker = createTask(async () => {
 *     for (;;) {
 *       await sleep(8);
 *       log.push(`tick at ${loop.time()}`);
 *     }
 *   });
 *   log.push(`${yield* answer} at ${loop.time()}`);
 *   ticker.cancel();
 * }, { host: "virtual" });
 * assertEquals(log, ["tick at 8", "tick at 16", "42 at 20"]);
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
export {
  Operation,
  type OperationOptions,
  type WaitOptions,
} from "./operation.ts";
export { Block, type BlockOptions } from "./block.ts";
export { checkpoint, sleep, type SleepOptions, yieldNow } from "./sleep.ts";
export { currentBlock } from "./block.ts";
export {
  currentTask,
  getRunningLoop,
  TaskLocal,
  type TaskLocalOptions,
} from "./current.ts";
export type { RunShutdownOptions } from "../supervise/shutdown_options.ts";
export type { Executor, ShutdownOptions } from "../workers/executor.ts";
export type { ExecutorTask, JobResult } from "../workers/module_task.ts";
export { createTask } from "./create_task.ts";
export type { Descriptor } from "./descriptors.ts";
export { EventLoop } from "./event_loop.ts";
export type { ExceptionContext, ExceptionHandler } from "./exceptions.ts";
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
export { Handle } from "./handle.ts";
export type { Instrument } from "./instrument.ts";
export { TimerHandle } from "./timer_handle.ts";
export type {
  DeadlockPolicy,
  EventLoopOptions,
  LoopStats,
  TaskFactory,
} from "./loop_options.ts";
export { allTasks } from "./all_tasks.ts";
export { eagerTaskFactory } from "./eager_tasks.ts";
export {
  EventLoopPolicy,
  getEventLoopPolicy,
  newEventLoop,
  setEventLoopPolicy,
} from "./policy.ts";
export { run } from "./run.ts";
export { Runner, type RunOptions } from "./runner.ts";
export {
  type PostedFunction,
  PostedTask,
  type PostTaskOptions,
} from "./posted_task.ts";
export { PriorityHandle } from "./priority_handle.ts";
export type { Priority } from "./priority.ts";
export {
  PriorityScheduler,
  type PrioritySchedulerOptions,
} from "./priority_scheduler.ts";
export type { ReadyItem, Scheduler } from "./scheduler.ts";
export { type Coroutine, type TaskBody } from "./task_body.ts";
export { Task, type TaskOptions } from "./task.ts";
export type { TaskWait } from "./waits.ts";
export { isCancellation } from "./cancellation.ts";
