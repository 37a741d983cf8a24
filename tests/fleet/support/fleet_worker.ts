/**
 * A worker of a fleet as a process of its own: prints a line for each thing that
 * happens, and ends when its input does.
 *
 *     fleet_worker.ts PORT LEASE_MS PLACE MODE STORE
 *
 * `PLACE` is where functions run, one at a time: `loop` or `threads`. `MODE` goes to
 * the functions. `STORE` is `bullmq` or `jetstream`.
 *
 * @module
 */
import { run, ThreadPool, until } from "@rota/rota";
import type { RemoteExecutor, RemoteExecutorOptions } from "@rota/rota/fleet";
import { LoopExecutor } from "@rota/rota/workers";

/** A fleet over a store, and the end of its connection. */
interface Fleet {
  readonly make: (options: RemoteExecutorOptions) => RemoteExecutor;
  readonly end: () => unknown;
}

async function onRedis(port: number): Promise<Fleet> {
  const [classes, { Redis }, { bullmqExecutor }] = await Promise.all([
    import("bullmq"),
    import("ioredis"),
    import("@rota/rota/fleet"),
  ]);
  const connection = new Redis({
    ...{ port, maxRetriesPerRequest: null, retryStrategy: () => 50 },
  });
  connection.on("error", () => {});
  return {
    make: (options) => bullmqExecutor({ ...options, ...classes, connection }),
    end: () => connection.disconnect(),
  };
}

async function onNats(port: number): Promise<Fleet> {
  const [functions, { connect }, { jetstreamExecutor }] = await Promise.all([
    import("@nats-io/jetstream"),
    import("@nats-io/transport-node"),
    import("@rota/rota/fleet"),
  ]);
  const connection = await connect({
    ...{ port, maxReconnectAttempts: -1, reconnectTimeWait: 50 },
  });
  return {
    make: (options) =>
      jetstreamExecutor({ ...options, ...functions, connection }),
    end: () => connection.close(),
  };
}

if (import.meta.main) {
  const [port, leaseMs, place, mode, store] = Deno.args;
  const { make, end } = store === "jetstream"
    ? await onNats(Number(port))
    : await onRedis(Number(port));
  await run(async () => {
    await using executor = place === "loop"
      ? new LoopExecutor()
      : new ThreadPool({ maxWorkers: 1 });
    const fleet = make({
      ...{ executor, role: "work", leaseMs: Number(leaseMs) },
      maxLostLeases: 1_000,
    });
    await fleet.ready();
    console.log("ready");
    if (mode === "forget") return; // the end of the run lets go of it
    const input = Deno.stdin.readable.getReader();
    await until(() => input.read());
    await fleet.shutdown({ graceMs: 0 });
  });
  console.log("ended");
  await end();
}
