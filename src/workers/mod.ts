/**
 * Work outside of the loop: pools of threads and processes, a balancer over
 * several of them, and calls from thread to thread.
 *
 * | To | use |
 * |---|---|
 * | call a function that blocks | {@linkcode toThread} |
 * | call many, in threads | {@linkcode ThreadPool} |
 * | call them on the loop, in tasks | {@linkcode LoopExecutor} |
| call them with fewer permissions, or where a crash must not take the program along | {@linkcode ProcessPool} |
 * | spread jobs over several executors | {@linkcode LoadBalancer} |
 * | know the job that runs, or submit others from inside it | {@linkcode currentJob} |
 * | call functions of a loop from another thread | {@linkcode LoopHandle} |
 *
 * @example A function in a thread, beside a loop that goes on
 * ```ts
 * import { run } from "@rota/rota/loop";
 * import { ThreadPool } from "@rota/rota/workers";
 * import { assertEquals } from "@std/assert";
 *
 * const sum = await run(async () => {
 *   await using pool = new ThreadPool({ maxWorkers: 1 });
 *   return await pool.submit((a: number, b: number) => a + b, [1, 2]);
 * });
 * assertEquals(sum, 3);
 * ```
 *
 * @module
 */
import "./load_order.ts";

// -- Executors --

export { BaseExecutor } from "./base_executor.ts";
export type {
  Executor,
  ExecutorMapOptions,
  ExecutorStats,
  Percentiles,
  ShutdownOptions,
  SubmitOptions,
} from "./executor.ts";
export {
  type ExecutorTask,
  type JobResult,
  type ModuleTask,
  type TaskModule,
  taskModule,
} from "./module_task.ts";
export type { ThreadResourceLimits } from "../host/thread.ts";
export { ThreadPool, type ThreadPoolOptions } from "./thread_pool.ts";
export { ProcessPool, type ProcessPoolOptions } from "./process_pool.ts";
export type {
  PoolBackoffOptions,
  PoolOptions,
  RecycleOptions,
} from "./pool_options.ts";
export type {
  PermissionGrant,
  ProcessPermissions,
} from "./permission_flags.ts";
export { toThread } from "./to_thread.ts";
export { LoopExecutor, type LoopExecutorOptions } from "./loop_executor.ts";

// -- Balancing --

export { LoadBalancer } from "./load_balancer.ts";
export type { BalancingStrategy } from "./balancing.ts";
export type {
  EjectionOptions,
  LoadBalancerOptions,
  MemberOptions,
  MemberState,
  MemberStats,
  RemoveOptions,
} from "./balancer_options.ts";

// -- In the worker --

export { type CurrentJob, currentJob, type JobLease } from "./current_job.ts";
export { withTransfer } from "./transfer.ts";

// -- Loops in several threads --

export { LoopHandle } from "./loop_handle.ts";
export type {
  HandleArguments,
  HandleCallOptions,
  HandleFunction,
  HandleResult,
  LoopHandleOptions,
  PackedHandle,
  TransferableHandle,
} from "./loop_handle.ts";
export {
  DetectionUnsupportedError,
  ExecutorShutDownError,
  WorkerCrashError,
  type WorkerCrashKind,
} from "../errors.ts";
