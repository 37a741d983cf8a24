/**
 * A worker of a fleet as a process of its own: prints a line for each thing that
 * happens, and ends when its input does.
 *
 *     bullmq_worker.ts PORT LEASE_MS PLACE MODE
 *
 * `PLACE` is where functions run: `loop` or `threads`. `MODE` goes to the functions.
 *
 * @module
 */
import { Queue, QueueEvents, Worker } from "bullmq";
import { Redis } from "ioredis";
import { run, ThreadPool, until } from "@rota/rota";
import { bullmqExecutor } from "@rota/rota/fleet";
import { LoopExecutor } from "@rota/rota/workers";

if (import.meta.main) {
  const [port, leaseMs, place] = Deno.args;
  const connection = new Redis({
    port: Number(port),
    maxRetriesPerRequest: null,
    retryStrategy: () => 50,
  });
  connection.on("error", () => {});
  await run(async () => {
    await using executor = place === "loop"
      ? new LoopExecutor({ concurrency: 4 })
      : new ThreadPool({ maxWorkers: 1 });
    const fleet = bullmqExecutor({
      ...{ Queue, QueueEvents, Worker, connection, executor },
      role: "work",
      leaseMs: Number(leaseMs),
      maxLostLeases: 1_000,
    });
    await fleet.ready();
    console.log("ready");
    const input = Deno.stdin.readable.getReader();
    await until(() => input.read());
    await fleet.shutdown({ graceMs: 0 });
  });
  console.log("ended");
  connection.disconnect();
}
