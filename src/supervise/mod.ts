/**
 * Supervision: children that are restarted when they crash, and a graceful end of
 * the program.
 *
 * | To | use |
 * |---|---|
 * | keep a fixed set of children running | {@linkcode Supervisor} |
 * | start and end children of one kind as they are needed | {@linkcode DynamicSupervisor} |
 * | stop in phases on SIGTERM and Ctrl-C | {@linkcode gracefulShutdown}, {@linkcode onShutdown} |
 * | learn which task blocks the loop, while it does | {@linkcode Watchdog} |
 *
 * @example A child that crashes once and is restarted
 * ```ts
 * import { run, sleep } from "@rota/rota/loop";
 * import { Supervisor } from "@rota/rota/supervise";
 * import { assertEquals } from "@std/assert";
 *
 * const log: string[] = [];
 * await run(async () => {
 *   await using supervisor = new Supervisor({
 *     children: [{
 *       id: "worker",
 *       start: async () => {
 *         log.push("started");
 *         await sleep(10);
 *         if (log.length === 1) throw new Error("crashed");
 *         await sleep(1_000);
 *       },
 *     }],
 *     reportCrashes: false,
 *   });
 *   await supervisor.start();
 *   await sleep(50);
 * }, { host: "virtual" });
 * assertEquals(log, ["started", "started"]);
 * ```
 *
 * @module
 */
import "./load_order.ts";

// -- Supervisors --

export { Supervisor } from "./supervisor.ts";
export {
  type DynamicChildOptions,
  DynamicSupervisor,
} from "./dynamic_supervisor.ts";
export { SupervisorBase } from "./supervisor_base.ts";
export type {
  AutoShutdown,
  CommonSupervisorOptions,
  DynamicSupervisorOptions,
  RestartStrategy,
  SupervisorOptions,
} from "./supervisor_options.ts";
export type {
  ChildOptions,
  ChildSpec,
  ChildStart,
  ChildType,
  RestartType,
  ShutdownType,
} from "./child_spec.ts";
export type { BackoffOptions } from "./backoff.ts";
export type { ChildRun } from "./child_run.ts";
export type { ChildEnd } from "./child_end.ts";
export type { ChildCounts, ChildInfo } from "./supervisor_calls.ts";
export {
  type ChildControl,
  type ChildHost,
  ignore,
  type Supervisable,
  supervised,
} from "./supervised.ts";

// -- Children of other kinds --

export {
  supervisedPool,
  type SupervisedPoolOptions,
} from "./supervised_pool.ts";
export {
  SupervisedConnection,
  type SupervisedConnectionOptions,
  type UseOptions,
} from "./supervised_connection.ts";
export {
  workerLoop,
  type WorkerLoopContext,
  type WorkerLoopOptions,
} from "./worker_loop.ts";
export {
  childProcess,
  type ChildProcessOptions,
  type ProcessStop,
  type SupervisedProcess,
} from "./supervised_process.ts";

// -- Seeing what they do --

export {
  type ChildEvent,
  type SupervisorEvent,
  SupervisorEvents,
  type SupervisorEventsOptions,
  type SupervisorListener,
  type SupervisorStateEvent,
} from "./supervisor_events.ts";
export {
  type ChildTree,
  SupervisorTree,
  type TreeState,
} from "./supervisor_tree.ts";

// -- Graceful shutdown --

export {
  GracefulShutdown,
  gracefulShutdown,
  onShutdown,
  shutdownSignal,
  waitForShutdown,
} from "./graceful_shutdown.ts";
export {
  ShutdownHook,
  type ShutdownHookContext,
  type ShutdownHookFunction,
  type ShutdownHookOptions,
} from "./shutdown_hooks.ts";
export type {
  GracefulShutdownOptions,
  RunShutdownOptions,
} from "./shutdown_options.ts";
export type {
  ShutdownFailure,
  ShutdownPhaseReport,
  ShutdownReport,
  ShutdownStraggler,
} from "./shutdown_report.ts";
export type { SharedPhase, ShutdownPhase } from "./shutdown_timetable.ts";

// -- Watchdog --

export type { LinePort } from "../host/message_port.ts";
export {
  joinWatchdog,
  type JoinWatchdogOptions,
  type WatchdogMembership,
} from "./join_watchdog.ts";
export {
  Watchdog,
  type WatchdogBlock,
  type WatchdogOptions,
} from "./watchdog.ts";
export type { RunningKind } from "./watch_board.ts";
export {
  ChildShutdown,
  ChildSpecError,
  type ChildSpecProblem,
  ChildStartError,
  ChildStateError,
  type ChildStateProblem,
  ConnectionLostError,
  DetectionUnsupportedError,
  HeartbeatLostError,
  HookTooLateError,
  RestartLimitError,
  SupervisorEndedError,
  WatchdogUnsupportedError,
} from "../errors.ts";
