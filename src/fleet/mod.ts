/**
 * Executors over other machines: jobs wait in a store, such as Redis or NATS, and
 * run in whatever program takes them.
 *
 * | To | use |
 * |---|---|
 * | have jobs run by other programs, through Redis | {@linkcode bullmqExecutor} |
 * | the same through NATS | {@linkcode jetstreamExecutor} |
 * | test a program that does | {@linkcode memoryExecutor} |
 * | know the lease of the job that runs | `currentJob()?.lease` |
 * | use another store | {@linkcode RemoteExecutor} with a {@linkcode RemoteEngine} of your own |
 *
 * The clients of the stores are passed in: Rota depends on none.
 *
 * @example A fleet in one program
 * ```ts
 * import { run } from "@rota/rota/loop";
 * import { LoopExecutor } from "@rota/rota/workers";
 * import { memoryExecutor, MemoryStore } from "@rota/rota/fleet";
 * import { assertEquals } from "@std/assert";
 *
 * const squares = await run(async () => {
 *   const store = new MemoryStore();
 *   await using fleet = memoryExecutor({ store, executor: new LoopExecutor() });
 *   return await fleet.map((n: number) => n * n, [1, 2, 3]);
 * }, { host: "virtual" });
 * assertEquals(squares, [1, 4, 9]);
 * ```
 *
 * @module
 */
import "./load_order.ts";

// -- Executors --

export { RemoteExecutor } from "./remote_executor.ts";
export type {
  RemoteExecutorOptions,
  RemoteSubmitOptions,
  RetryBackoffOptions,
} from "./remote_options.ts";
export {
  type BullmqBackend,
  type BullmqBase,
  type BullmqClass,
  bullmqExecutor,
  type BullmqExecutorOptions,
  type BullmqJob,
  type BullmqQueue,
  type BullmqWorker,
} from "./bullmq.ts";
export {
  jetstreamExecutor,
  type JetstreamExecutorOptions,
} from "./jetstream.ts";
export type {
  JetStreamClient,
  JetStreamManager,
  NatsConnection,
  NatsMessage,
  NatsSubscription,
} from "./jetstream_states.ts";
export {
  memoryExecutor,
  type MemoryExecutorOptions,
  MemoryStore,
} from "./memory_engine.ts";

// -- Engines --

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
} from "./engine.ts";
export type { JobLease } from "../workers/current_job.ts";
export {
  JobVersionError,
  LeaseLostError,
  RemoteStoreError,
} from "../errors.ts";
