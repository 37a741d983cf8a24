/**
 * What users get, as data: the names that `mod.ts` exports, and that importing
 * it does nothing. A name that is added or lost fails here until somebody has
 * written it down.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { ROOT, runDeno } from "./support/run_deno.ts";
import { codeOf } from "./support/source_text.ts";

/** Classes, functions and constants. */
const VALUES: readonly string[] = [
  "AsCompleted",
  "AttemptOperation",
  "Barrier",
  "BaseExecutor",
  "BaseQueue",
  "Block",
  "BoundedSemaphore",
  "BrokenBarrierError",
  "CancelScope",
  "CancelledError",
  "CapacityLimiter",
  "Channel",
  "ChannelClosedError",
  "ChildShutdown",
  "ChildSpecError",
  "ChildStartError",
  "ChildStateError",
  "ConcurrencyLimit",
  "Condition",
  "ConnectionLostError",
  "DeadlockError",
  "DescriptorsUnsupportedError",
  "DetectionUnsupportedError",
  "DynamicSupervisor",
  "EventLoop",
  "EventLoopPolicy",
  "ExecutorShutDownError",
  "Flag",
  "Future",
  "GracefulShutdown",
  "Handle",
  "HeartbeatLostError",
  "HookTooLateError",
  "Inspector",
  "InterruptedError",
  "InvalidStateError",
  "JobVersionError",
  "LagMonitor",
  "LeaseLostError",
  "LifoQueue",
  "LimitMap",
  "Lints",
  "LoadBalancer",
  "Lock",
  "LoopClosedError",
  "LoopExecutor",
  "LoopHandle",
  "MemoryStore",
  "MessageTooLargeError",
  "Metrics",
  "MisuseError",
  "Operation",
  "OsError",
  "OverloadError",
  "PeriodicTask",
  "Pipe",
  "PostedTask",
  "PriorityHandle",
  "PriorityQueue",
  "PriorityScheduler",
  "ProcessPool",
  "Queue",
  "QueueEmptyError",
  "QueueFullError",
  "QueueShutDownError",
  "READABLE",
  "RateLimitError",
  "RateLimiter",
  "ReconnectLimitError",
  "RemoteExecutor",
  "RemoteStoreError",
  "RequestContext",
  "RestartLimitError",
  "Runner",
  "Semaphore",
  "Server",
  "ShutdownHook",
  "SourceClosedError",
  "SourceOverflowError",
  "SupervisedConnection",
  "Supervisor",
  "SupervisorBase",
  "SupervisorEndedError",
  "SupervisorEvents",
  "SupervisorTree",
  "Task",
  "TaskGroup",
  "TaskGroupClosedError",
  "TaskGroupError",
  "TaskLocal",
  "TaskSpans",
  "TaskTree",
  "ThreadPool",
  "Timeout",
  "TimeoutError",
  "TimerHandle",
  "Tracer",
  "VirtualHost",
  "WRITABLE",
  "Watchdog",
  "WatchdogUnsupportedError",
  "WebSocketClosedError",
  "WorkerCrashError",
  "allTasks",
  "asCompleted",
  "bullmqExecutor",
  "cancelScope",
  "checkpoint",
  "childProcess",
  "createTask",
  "currentBlock",
  "currentEffectiveDeadline",
  "currentJob",
  "currentTask",
  "dumpTasks",
  "each",
  "eagerTaskFactory",
  "ensureFuture",
  "eventStream",
  "every",
  "failAfter",
  "failAt",
  "fromEvent",
  "fromFsEvents",
  "fromMessagePort",
  "fromReader",
  "fromSignal",
  "fromStream",
  "fromWebSocket",
  "gather",
  "getEventLoopPolicy",
  "getRunningLoop",
  "gracefulShutdown",
  "ignore",
  "inspect",
  "isCancellation",
  "isFuture",
  "items",
  "jetstreamExecutor",
  "joinWatchdog",
  "locateTasks",
  "measureLag",
  "memoryExecutor",
  "merge",
  "moveOnAfter",
  "moveOnAt",
  "newEventLoop",
  "nodeHandler",
  "onShutdown",
  "once",
  "printTaskTree",
  "reconnecting",
  "run",
  "scoped",
  "serve",
  "setEventLoopPolicy",
  "shield",
  "shutdownSignal",
  "sleep",
  "supervised",
  "supervisedPool",
  "supervisedServer",
  "taskGroup",
  "taskModule",
  "taskTree",
  "timeout",
  "timeoutAt",
  "toThread",
  "until",
  "wait",
  "waitFor",
  "waitForShutdown",
  "withTransfer",
  "workerLoop",
  "yieldNow",
];

/** Interfaces and type aliases. A class is a type too, but stands above. */
const TYPES: readonly string[] = [
  "AsCompletedOptions",
  "AutoShutdown",
  "BackgroundOptions",
  "BackoffOptions",
  "BalancingStrategy",
  "BlockBody",
  "BlockOptions",
  "BlockedTask",
  "BullmqBackend",
  "BullmqBase",
  "BullmqClass",
  "BullmqExecutorOptions",
  "BullmqJob",
  "BullmqQueue",
  "BullmqWorker",
  "CancelScopeOptions",
  "CapacityLimiterStatistics",
  "ChannelOptions",
  "ChannelReceiveResult",
  "ChannelStats",
  "ChildControl",
  "ChildCounts",
  "ChildEnd",
  "ChildEvent",
  "ChildHost",
  "ChildInfo",
  "ChildOptions",
  "ChildProcessOptions",
  "ChildRun",
  "ChildSpec",
  "ChildSpecProblem",
  "ChildStart",
  "ChildStateProblem",
  "ChildTree",
  "ChildType",
  "CloseServerOptions",
  "CommonSupervisorOptions",
  "ConcurrencyLimitOptions",
  "ConcurrencyLimitStats",
  "ConditionStatistics",
  "Coroutine",
  "CurrentJob",
  "DeadlockPolicy",
  "Descriptor",
  "DumpTasksOptions",
  "DynamicChildOptions",
  "DynamicSupervisorOptions",
  "EachBody",
  "EjectionOptions",
  "Emitter",
  "EngineListener",
  "EngineRoles",
  "EventLoopOptions",
  "EventStreamItem",
  "EventStreamOptions",
  "EventStreamSource",
  "ExceptionContext",
  "ExceptionHandler",
  "Executor",
  "ExecutorMapOptions",
  "ExecutorStats",
  "ExecutorTask",
  "Finding",
  "FlagStatistics",
  "FsEventsOptions",
  "GatherOptions",
  "Gathered",
  "GatheredOrFailed",
  "GracefulShutdownOptions",
  "Growing",
  "HandleArguments",
  "HandleCallOptions",
  "HandleFunction",
  "HandleResult",
  "HasTree",
  "HiddenTasks",
  "Host",
  "HostChoice",
  "HostClient",
  "HttpInfo",
  "InspectOptions",
  "InspectedChild",
  "InspectedPool",
  "InspectedSupervisor",
  "InspectorBlock",
  "InspectorProblem",
  "InspectorSample",
  "InspectorState",
  "Instrument",
  "IntakeCounts",
  "IntakeOptions",
  "ItemOf",
  "ItemSource",
  "JetStreamClient",
  "JetStreamManager",
  "JetstreamExecutorOptions",
  "Job",
  "JobBody",
  "JobLease",
  "JobOptions",
  "JobResult",
  "JoinWatchdogOptions",
  "Json",
  "LagEvent",
  "LagMonitorOptions",
  "LagSnapshot",
  "LifespanSource",
  "LimitMapOptions",
  "LinePort",
  "LintsOptions",
  "ListenOptions",
  "Listener",
  "LoadBalancerOptions",
  "LockStatistics",
  "LoopExecutorOptions",
  "LoopHandleOptions",
  "LoopOptions",
  "LoopStats",
  "MapBody",
  "MemberOptions",
  "MemberState",
  "MemberStats",
  "MemoryExecutorOptions",
  "Mergeable",
  "Metric",
  "MetricSample",
  "MetricsOptions",
  "MissedTicks",
  "ModuleTask",
  "NatsConnection",
  "NatsMessage",
  "NatsSubscription",
  "NodeHandler",
  "NodeHandlerOptions",
  "NodeRequest",
  "NodeResponse",
  "NodeServer",
  "NodeSocket",
  "OnceOptions",
  "OpenSocket",
  "OperationIterable",
  "OperationOptions",
  "OtelMeter",
  "OtelMetricOptions",
  "OtelMetricsApi",
  "OtelSpan",
  "OtelTraceApi",
  "Overflow",
  "OverloadStrategy",
  "OverrunPolicy",
  "PackedHandle",
  "Percentiles",
  "PeriodicBody",
  "PeriodicErrorPolicy",
  "PeriodicOptions",
  "PeriodicStats",
  "PermissionGrant",
  "Permit",
  "PoolBackoffOptions",
  "PoolOptions",
  "PostTaskOptions",
  "PostedFunction",
  "PrintTaskTreeOptions",
  "Priority",
  "PrioritySchedulerOptions",
  "ProcessPermissions",
  "ProcessPoolOptions",
  "ProcessStop",
  "QueueStatistics",
  "RateAcquireOptions",
  "RateAlgorithm",
  "RateLimiterOptions",
  "ReaderOptions",
  "ReadyItem",
  "ReadyListener",
  "ReconnectBackoff",
  "ReconnectingOptions",
  "ReconnectingState",
  "ReconnectingWebSocket",
  "RecycleOptions",
  "RemoteEngine",
  "RemoteExecutorOptions",
  "RemoteFailure",
  "RemoteLease",
  "RemoteOutcome",
  "RemoteRequest",
  "RemoteStanding",
  "RemoteSubmitOptions",
  "RemoteVerdict",
  "RemoveOptions",
  "RestartStrategy",
  "RestartType",
  "RetryBackoffOptions",
  "ReturnWhen",
  "RingTask",
  "RunOptions",
  "RunShutdownOptions",
  "RunningKind",
  "Schedule",
  "Scheduler",
  "ScopeOptions",
  "ScopeOutcome",
  "SemaphoreStatistics",
  "ServeHandler",
  "ServeOptions",
  "ServerSentEvent",
  "ServerState",
  "ServerStatistics",
  "SharedPhase",
  "ShutdownFailure",
  "ShutdownHookContext",
  "ShutdownHookFunction",
  "ShutdownHookOptions",
  "ShutdownOptions",
  "ShutdownPhase",
  "ShutdownPhaseReport",
  "ShutdownReport",
  "ShutdownStraggler",
  "ShutdownType",
  "SleepOptions",
  "Source",
  "SourceOptions",
  "StartOptions",
  "SubmitOptions",
  "Supervisable",
  "SupervisedConnectionOptions",
  "SupervisedPoolOptions",
  "SupervisedProcess",
  "SupervisorEvent",
  "SupervisorEventsOptions",
  "SupervisorListener",
  "SupervisorOptions",
  "SupervisorStateEvent",
  "Suspension",
  "TaskBody",
  "TaskFactory",
  "TaskGroupOptions",
  "TaskLocalOptions",
  "TaskModule",
  "TaskOptions",
  "TaskPlace",
  "TaskRef",
  "TaskState",
  "TaskTreeOptions",
  "TaskWait",
  "ThreadPoolOptions",
  "ThreadResourceLimits",
  "Tick",
  "Trace",
  "TraceEvent",
  "TracerOptions",
  "TransferableHandle",
  "TreeState",
  "TreeTask",
  "TreeThing",
  "TreeWait",
  "UpgradedSocket",
  "UseOptions",
  "WaitForFuturesOptions",
  "WaitOptions",
  "WaitResult",
  "Waitable",
  "Waited",
  "WatchdogBlock",
  "WatchdogMembership",
  "WatchdogOptions",
  "WebSocketClose",
  "WebSocketData",
  "WebSocketMessage",
  "WebSocketOptions",
  "WebSocketSource",
  "WebSocketUpgradeOptions",
  "WorkerCrashKind",
  "WorkerLoopContext",
  "WorkerLoopOptions",
];

const ENTRY = new URL("mod.ts", ROOT);
const NAMED = /\bexport\s+(type\s+)?\{([^}]*)\}\s*from\s*"[^"]*"\s*;?/g;

interface Exports {
  readonly values: readonly string[];
  readonly types: readonly string[];
  /** What is left of the code when the named re-exports are taken away. */
  readonly rest: string;
}

function exportsOf(source: string): Exports {
  const code = codeOf(source);
  const values: string[] = [];
  const types: string[] = [];
  for (const [, type, names = ""] of code.matchAll(NAMED)) {
    for (const item of names.split(",").map((name) => name.trim())) {
      if (item === "") continue;
      const exported = item.split(/\s+/).at(-1) ?? item;
      const isType = type !== undefined || /^type\s+(?!as\s+\w+$)/.test(item);
      (isType ? types : values).push(exported);
    }
  }
  return {
    values: values.sort(),
    types: types.sort(),
    rest: code.replaceAll(NAMED, "").trim(),
  };
}

async function hasEntry(): Promise<boolean> {
  try {
    return (await Deno.stat(ENTRY)).isFile;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

// Until mod.ts is written there is nothing to look at.
const ignore = !await hasEntry();

Deno.test(
  { name: "mod.ts is named re-exports and nothing else", ignore },
  async () => {
    const source = await Deno.readTextFile(ENTRY);
    const first = 'import "./src/load_order.ts";\n';
    assertEquals(source.split(first).length, 2);
    assertEquals(exportsOf(source.replace(first, "")).rest, "");
  },
);

Deno.test({ name: "mod.ts exports the reviewed values", ignore }, async () => {
  const module: object = await import(ENTRY.href);
  assertEquals(Object.keys(module).sort(), [...VALUES].sort());
});

Deno.test({ name: "mod.ts exports the reviewed types", ignore }, async () => {
  const { values, types } = exportsOf(await Deno.readTextFile(ENTRY));
  assertEquals(types, [...TYPES].sort());
  assertEquals(values, [...VALUES].sort());
});

Deno.test(
  { name: "importing mod.ts asks for no permission", ignore },
  async () => {
    const audit = await Deno.makeTempFile();
    const env = { DENO_AUDIT_PERMISSIONS: audit };
    const asked = async (entry: string) => {
      await Deno.writeTextFile(audit, "");
      const { code, stderr } = await runDeno(["run", "-A", entry], { env });
      assertEquals({ code, stderr }, { code: 0, stderr: "" });
      return await Deno.readTextFile(audit);
    };
    try {
      // Deno writes down what is asked for, also what is granted or caught.
      const canary =
        "data:text/javascript,try { Deno.env.get('CANARY') } catch {}";
      assert((await asked(canary)).includes("CANARY"));
      assertEquals(await asked(ENTRY.href), "");
    } finally {
      await Deno.remove(audit);
    }
  },
);

Deno.test({
  name: "importing mod.ts without any permission prints nothing and ends",
  ignore,
}, async () => {
  const denied = ["read", "write", "net", "env", "sys", "run", "ffi", "import"];
  const flags = denied.map((name) => `--deny-${name}`);
  assertEquals(
    await runDeno(["run", "--no-prompt", ...flags, ENTRY.href]),
    { code: 0, killed: false, stdout: "", stderr: "" },
  );
});

Deno.test(
  { name: "importing mod.ts leaves nothing behind", ignore },
  async () => {
    // Files are left out: Deno opens caches of its own, and reading one of ours
    // would need a permission.
    const probe = `
    const handles = () => {
      if (Deno.build.os !== "linux") return [];
      const links = [];
      for (const { name } of Deno.readDirSync("/proc/self/fd")) {
        try {
          links.push(Deno.readLinkSync("/proc/self/fd/" + name));
        } catch { /* it was the one of the listing itself */ }
      }
      return links.filter((link) => !link.startsWith("/")).sort();
    };
    const look = () => JSON.stringify([
      handles(),
      Reflect.ownKeys(globalThis).map(String),
    ]);
    await import("data:text/javascript,");
    const before = look();
    await import(${JSON.stringify(ENTRY.href)});
    const after = look();
    console.log(before === after ? "same" : before + "\\n" + after);
  `;
    const { stdout, stderr } = await runDeno(["eval", probe]);
    assertEquals({ stdout, stderr }, { stdout: "same\n", stderr: "" });
  },
);

Deno.test("exportsOf() tells values, types and the rest apart", () => {
  const found = exportsOf(`/** Docs: export { no } from "./no.ts"; */
    export { b, a as c, type D } from "./a.ts";
    export type { E, F as G } from "./a.ts";
    export {} from "./a.ts";
    export * from "./b.ts";
    export const x = 1;`);
  assertEquals(found.values, ["b", "c"]);
  assertEquals(found.types, ["D", "E", "G"]);
  assertEquals(
    found.rest.split("\n").map((line) => line.trim()),
    ['export * from "      ";', "export const x = 1;"],
  );
});
