/**
 * Looking into a loop while it runs: who waits for whom.
 *
 * | To | use |
 * |---|---|
 * | see the tasks, who waits for whom, and deadlocks | {@linkcode taskTree} |
 * | watch a loop in the browser | {@linkcode inspect} |
 *
 * @example A deadlock, found while the program runs
 * ```ts
 * import { createTask, run, sleep } from "@rota/rota/loop";
 * import { taskTree } from "@rota/rota/observe";
 * import { Lock } from "@rota/rota/sync";
 * import { assertEquals } from "@std/assert";
 *
 * await run(function* () {
 *   const lock = new Lock();
 *   using _permit = yield* lock.acquire();
 *   const waiter = createTask(function* () {
 *     using _permit = yield* lock.acquire();
 *   }, { name: "waiter" });
 *   yield* sleep(10);
 *   const { tasks } = taskTree();
 *   assertEquals(tasks[1]!.waits[0]!.heldBy[0]!.name, "main");
 *   waiter.cancel();
 * }, { host: "virtual", name: "main" });
 * ```
 *
 * @module
 */
import "./load_order.ts";

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
} from "./task_tree.ts";
export {
  dumpTasks,
  type DumpTasksOptions,
  printTaskTree,
  type PrintTaskTreeOptions,
} from "./task_dump.ts";
export {
  type LagEvent,
  LagMonitor,
  type LagMonitorOptions,
  type LagSnapshot,
  measureLag,
} from "./lag_monitor.ts";
export {
  type HasTree,
  type Metric,
  Metrics,
  type MetricSample,
  type MetricsOptions,
  type OtelMeter,
  type OtelMetricOptions,
  type OtelMetricsApi,
} from "./metrics.ts";
export {
  type OtelSpan,
  type OtelTraceApi,
  TaskSpans,
  type Trace,
  type TraceEvent,
  Tracer,
  type TracerOptions,
} from "./tracer.ts";
export {
  type Finding,
  type Growing,
  Lints,
  type LintsOptions,
} from "./lints.ts";
export type { TaskPlace } from "./task_places.ts";
export { inspect, type InspectOptions, Inspector } from "./inspect.ts";
export type {
  InspectedPool,
  InspectorSample,
  InspectorState,
} from "./inspect_feed.ts";
export type {
  InspectedChild,
  InspectedSupervisor,
  InspectorBlock,
  InspectorProblem,
} from "./inspect_problems.ts";
