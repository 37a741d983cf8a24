/**
 * Rota: asyncio-style tasks, cancellation, exact timers and virtual time for
 * Deno.
 *
 * An event loop runs callbacks, timers and tasks in an exact order. Tasks can
 * be cancelled where they wait, and clean up. Timers never fire early,
 * descriptors and signals wake the loop, and in tests time jumps instead of
 * passing. A task is a generator coroutine, which the loop controls at every
 * step, or a plain async function; both wait for the same operations. Importing
 * Rota needs no permission.
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
  ChildShutdown,
  ChildSpecError,
  type ChildSpecProblem,
  ChildStartError,
  ChildStateError,
  type ChildStateProblem,
  ConnectionLostError,
  DeadlockError,
  DescriptorsUnsupportedError,
  DetectionUnsupportedError,
  ExecutorShutDownError,
  HeartbeatLostError,
  HookTooLateError,
  InterruptedError,
  InvalidStateError,
  JobVersionError,
  LeaseLostError,
  LoopClosedError,
  MessageTooLargeError,
  MisuseError,
  OsError,
  OverloadError,
  QueueEmptyError,
  QueueFullError,
  QueueShutDownError,
  RateLimitError,
  ReconnectLimitError,
  RemoteStoreError,
  RestartLimitError,
  SourceClosedError,
  SourceOverflowError,
  SupervisorEndedError,
  TaskGroupClosedError,
  TaskGroupError,
  TimeoutError,
  WatchdogUnsupportedError,
  WebSocketClosedError,
  WorkerCrashError,
  type WorkerCrashKind,
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
export { VirtualHost } from "./src/host/virtual.ts";

export { AttemptOperation } from "./src/loop/attempt_operation.ts";
export {
  Operation,
  type OperationOptions,
  type WaitOptions,
} from "./src/loop/operation.ts";
export { Block, type BlockOptions } from "./src/loop/block.ts";
export {
  checkpoint,
  sleep,
  type SleepOptions,
  yieldNow,
} from "./src/loop/sleep.ts";
export { currentBlock } from "./src/loop/block.ts";
export {
  currentTask,
  getRunningLoop,
  TaskLocal,
  type TaskLocalOptions,
} from "./src/loop/current.ts";
export { createTask } from "./src/loop/create_task.ts";
export type { Descriptor } from "./src/loop/descriptors.ts";
export { isCancellation } from "./src/loop/cancellation.ts";
export { EventLoop } from "./src/loop/event_loop.ts";
export type {
  ExceptionContext,
  ExceptionHandler,
} from "./src/loop/exceptions.ts";
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
export { Handle } from "./src/loop/handle.ts";
export { TimerHandle } from "./src/loop/timer_handle.ts";
export type {
  DeadlockPolicy,
  EventLoopOptions,
  LoopStats,
  TaskFactory,
} from "./src/loop/loop_options.ts";
export { allTasks } from "./src/loop/all_tasks.ts";
export { eagerTaskFactory } from "./src/loop/eager_tasks.ts";
export {
  EventLoopPolicy,
  getEventLoopPolicy,
  newEventLoop,
  setEventLoopPolicy,
} from "./src/loop/policy.ts";
export { run } from "./src/loop/run.ts";
export { Runner, type RunOptions } from "./src/loop/runner.ts";
export {
  type PostedFunction,
  PostedTask,
  type PostTaskOptions,
} from "./src/loop/posted_task.ts";
export { PriorityHandle } from "./src/loop/priority_handle.ts";
export type { Priority } from "./src/loop/priority.ts";
export {
  PriorityScheduler,
  type PrioritySchedulerOptions,
} from "./src/loop/priority_scheduler.ts";
export type { ReadyItem, Scheduler } from "./src/loop/scheduler.ts";
export { type Coroutine, type TaskBody } from "./src/loop/task_body.ts";
export { Task, type TaskOptions } from "./src/loop/task.ts";

export { Barrier } from "./src/sync/barrier.ts";
export {
  BoundedSemaphore,
  Semaphore,
  type SemaphoreStatistics,
} from "./src/sync/semaphore.ts";
export {
  CapacityLimiter,
  type CapacityLimiterStatistics,
} from "./src/sync/capacity_limiter.ts";
export { Condition, type ConditionStatistics } from "./src/sync/condition.ts";
export { Flag, type FlagStatistics } from "./src/sync/flag.ts";
export { Lock, type LockStatistics } from "./src/sync/lock.ts";
export {
  BaseQueue,
  LifoQueue,
  PriorityQueue,
  Queue,
  type QueueStatistics,
} from "./src/sync/queue.ts";
export {
  Channel,
  type ChannelOptions,
  type ChannelReceiveResult,
  type ChannelStats,
} from "./src/sync/channel.ts";
export type { Permit } from "./src/sync/permit.ts";

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
  every,
  type Job,
  type JobBody,
  type JobOptions,
  LimitMap,
  type LimitMapOptions,
  type MapBody,
  type MissedTicks,
  type OverloadStrategy,
  type OverrunPolicy,
  type PeriodicBody,
  type PeriodicErrorPolicy,
  type PeriodicOptions,
  type PeriodicStats,
  PeriodicTask,
  type RateAcquireOptions,
  type RateAlgorithm,
  RateLimiter,
  type RateLimiterOptions,
  type Schedule,
  type Tick,
} from "./src/schedule/mod.ts";

export { BaseExecutor } from "./src/workers/base_executor.ts";
export type {
  Executor,
  ExecutorMapOptions,
  ExecutorStats,
  Percentiles,
  ShutdownOptions,
  SubmitOptions,
} from "./src/workers/executor.ts";
export {
  type ExecutorTask,
  type JobResult,
  type ModuleTask,
  type TaskModule,
  taskModule,
} from "./src/workers/module_task.ts";
export type { ThreadResourceLimits } from "./src/host/thread.ts";
export {
  ThreadPool,
  type ThreadPoolOptions,
} from "./src/workers/thread_pool.ts";
export {
  ProcessPool,
  type ProcessPoolOptions,
} from "./src/workers/process_pool.ts";
export type {
  PoolBackoffOptions,
  PoolOptions,
  RecycleOptions,
} from "./src/workers/pool_options.ts";
export type {
  PermissionGrant,
  ProcessPermissions,
} from "./src/workers/permission_flags.ts";
export { toThread } from "./src/workers/to_thread.ts";

export { LoadBalancer } from "./src/workers/load_balancer.ts";
export type { BalancingStrategy } from "./src/workers/balancing.ts";
export type {
  EjectionOptions,
  LoadBalancerOptions,
  MemberOptions,
  MemberState,
  MemberStats,
  RemoveOptions,
} from "./src/workers/balancer_options.ts";

export {
  type CurrentJob,
  currentJob,
  type JobLease,
} from "./src/workers/current_job.ts";
export { withTransfer } from "./src/workers/transfer.ts";

export { LoopHandle } from "./src/workers/loop_handle.ts";
export type {
  HandleArguments,
  HandleCallOptions,
  HandleFunction,
  HandleResult,
  LoopHandleOptions,
  PackedHandle,
  TransferableHandle,
} from "./src/workers/loop_handle.ts";

export { Supervisor } from "./src/supervise/supervisor.ts";
export {
  type DynamicChildOptions,
  DynamicSupervisor,
} from "./src/supervise/dynamic_supervisor.ts";
export { SupervisorBase } from "./src/supervise/supervisor_base.ts";
export type {
  AutoShutdown,
  CommonSupervisorOptions,
  DynamicSupervisorOptions,
  RestartStrategy,
  SupervisorOptions,
} from "./src/supervise/supervisor_options.ts";
export type {
  ChildOptions,
  ChildSpec,
  ChildStart,
  ChildType,
  RestartType,
  ShutdownType,
} from "./src/supervise/child_spec.ts";
export type { BackoffOptions } from "./src/supervise/backoff.ts";
export type { ChildRun } from "./src/supervise/child_run.ts";
export type { ChildEnd } from "./src/supervise/child_end.ts";
export type {
  ChildCounts,
  ChildInfo,
} from "./src/supervise/supervisor_calls.ts";
export {
  type ChildControl,
  type ChildHost,
  ignore,
  type Supervisable,
  supervised,
} from "./src/supervise/supervised.ts";

export {
  type ChildEvent,
  type SupervisorEvent,
  SupervisorEvents,
  type SupervisorEventsOptions,
  type SupervisorListener,
  type SupervisorStateEvent,
} from "./src/supervise/supervisor_events.ts";
export {
  type ChildTree,
  SupervisorTree,
  type TreeState,
} from "./src/supervise/supervisor_tree.ts";

export {
  GracefulShutdown,
  gracefulShutdown,
  onShutdown,
  shutdownSignal,
  waitForShutdown,
} from "./src/supervise/graceful_shutdown.ts";
export {
  ShutdownHook,
  type ShutdownHookContext,
  type ShutdownHookFunction,
  type ShutdownHookOptions,
} from "./src/supervise/shutdown_hooks.ts";
export type {
  GracefulShutdownOptions,
  RunShutdownOptions,
} from "./src/supervise/shutdown_options.ts";
export type {
  ShutdownFailure,
  ShutdownPhaseReport,
  ShutdownReport,
  ShutdownStraggler,
} from "./src/supervise/shutdown_report.ts";
export type {
  SharedPhase,
  ShutdownPhase,
} from "./src/supervise/shutdown_timetable.ts";

export type { LinePort } from "./src/host/message_port.ts";
export {
  joinWatchdog,
  type JoinWatchdogOptions,
  type WatchdogMembership,
} from "./src/supervise/join_watchdog.ts";
export {
  Watchdog,
  type WatchdogBlock,
  type WatchdogOptions,
} from "./src/supervise/watchdog.ts";
export type { RunningKind } from "./src/supervise/watch_board.ts";
export {
  supervisedPool,
  type SupervisedPoolOptions,
} from "./src/supervise/supervised_pool.ts";
export {
  workerLoop,
  type WorkerLoopContext,
  type WorkerLoopOptions,
} from "./src/supervise/worker_loop.ts";
export {
  childProcess,
  type ChildProcessOptions,
  type ProcessStop,
  type SupervisedProcess,
} from "./src/supervise/supervised_process.ts";

export {
  type Emitter,
  fromEvent,
  fromMessagePort,
  type Listener,
  once,
  type OnceOptions,
} from "./src/sources/events.ts";
export type {
  WebSocketClose,
  WebSocketData,
  WebSocketMessage,
  WebSocketOptions,
} from "./src/sources/connection.ts";
export { type ItemOf, merge, type Mergeable } from "./src/sources/merge.ts";
export {
  fromFsEvents,
  fromStream,
  type FsEventsOptions,
} from "./src/sources/pulled.ts";
export {
  type OpenSocket,
  type ReconnectBackoff,
  reconnecting,
  type ReconnectingOptions,
  type ReconnectingState,
  type ReconnectingWebSocket,
} from "./src/sources/reconnecting.ts";
export type { Overflow, Source, SourceOptions } from "./src/sources/source.ts";
export {
  fromReader,
  fromSignal,
  type ReaderOptions,
} from "./src/sources/system.ts";
export {
  fromWebSocket,
  type WebSocketSource,
} from "./src/sources/web_socket.ts";

export {
  type CloseServerOptions,
  serve,
  Server,
  type ServerState,
  type ServerStatistics,
} from "./src/serve/server.ts";
export type {
  HttpInfo,
  IntakeOptions,
  ListenOptions,
  ServeHandler,
  ServeOptions,
} from "./src/serve/serve_options.ts";
export {
  type BackgroundOptions,
  RequestContext,
} from "./src/serve/fetch_run.ts";
export type {
  UpgradedSocket,
  WebSocketUpgradeOptions,
} from "./src/host/http_server.ts";
export type { LifespanSource } from "./src/serve/lifespan.ts";
export type { IntakeCounts } from "./src/serve/intake.ts";
export {
  eventStream,
  type EventStreamItem,
  type EventStreamOptions,
  type EventStreamSource,
  type ServerSentEvent,
} from "./src/serve/event_stream.ts";
export { supervisedServer } from "./src/serve/supervised_server.ts";
export {
  type NodeHandler,
  nodeHandler,
  type NodeHandlerOptions,
  type NodeServer,
} from "./src/serve/node_handler.ts";
export type {
  NodeRequest,
  NodeResponse,
  NodeSocket,
} from "./src/serve/node_run.ts";

export {
  SupervisedConnection,
  type SupervisedConnectionOptions,
  type UseOptions,
} from "./src/supervise/supervised_connection.ts";

export type { Instrument } from "./src/loop/instrument.ts";
export type { TaskWait } from "./src/loop/waits.ts";

export { RemoteExecutor } from "./src/fleet/remote_executor.ts";
export type {
  RemoteExecutorOptions,
  RemoteSubmitOptions,
  RetryBackoffOptions,
} from "./src/fleet/remote_options.ts";
export {
  type BullmqBackend,
  type BullmqBase,
  type BullmqClass,
  bullmqExecutor,
  type BullmqExecutorOptions,
  type BullmqJob,
  type BullmqQueue,
  type BullmqWorker,
} from "./src/fleet/bullmq.ts";
export {
  jetstreamExecutor,
  type JetstreamExecutorOptions,
} from "./src/fleet/jetstream.ts";
export type {
  JetStreamClient,
  JetStreamManager,
  NatsConnection,
  NatsMessage,
  NatsSubscription,
} from "./src/fleet/jetstream_states.ts";
export {
  memoryExecutor,
  type MemoryExecutorOptions,
  MemoryStore,
} from "./src/fleet/memory_engine.ts";
export type {
  EngineListener,
  EngineRoles,
  Json,
  RemoteEngine,
  RemoteFailure,
  RemoteLease,
  RemoteOutcome,
  RemoteRequest,
  RemoteStanding,
  RemoteVerdict,
} from "./src/fleet/engine.ts";

export {
  LoopExecutor,
  type LoopExecutorOptions,
} from "./src/workers/loop_executor.ts";

export {
  type HiddenTasks,
  locateTasks,
  type RingTask,
  type TaskRef,
  type TaskState,
  TaskTree,
  taskTree,
  type TaskTreeOptions,
  type TreeTask,
  type TreeThing,
  type TreeWait,
} from "./src/observe/task_tree.ts";
export {
  dumpTasks,
  type DumpTasksOptions,
  printTaskTree,
  type PrintTaskTreeOptions,
} from "./src/observe/task_dump.ts";
export {
  type LagEvent,
  LagMonitor,
  type LagMonitorOptions,
  type LagSnapshot,
  measureLag,
} from "./src/observe/lag_monitor.ts";
export {
  type HasTree,
  type Metric,
  Metrics,
  type MetricSample,
  type MetricsOptions,
  type OtelMeter,
  type OtelMetricOptions,
  type OtelMetricsApi,
} from "./src/observe/metrics.ts";
export {
  type OtelSpan,
  type OtelTraceApi,
  TaskSpans,
  type Trace,
  type TraceEvent,
  Tracer,
  type TracerOptions,
} from "./src/observe/tracer.ts";
export {
  type Finding,
  type Growing,
  Lints,
  type LintsOptions,
} from "./src/observe/lints.ts";
export type { TaskPlace } from "./src/observe/task_places.ts";
export {
  inspect,
  type InspectOptions,
  Inspector,
} from "./src/observe/inspect.ts";
export type {
  InspectedPool,
  InspectorSample,
  InspectorState,
} from "./src/observe/inspect_feed.ts";
export type {
  InspectedChild,
  InspectedSupervisor,
  InspectorBlock,
  InspectorProblem,
} from "./src/observe/inspect_problems.ts";
