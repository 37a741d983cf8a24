/**
 * A Redis server for the examples, on a free port of the loopback.
 */

import { Queue, QueueEvents, Worker } from "bullmq";
import { Redis } from "ioredis";

/** What an executor over BullMQ needs. */
export interface RedisParts {
  readonly Queue: typeof Queue;
  readonly QueueEvents: typeof QueueEvents;
  readonly Worker: typeof Worker;
  readonly connection: Redis;
}

/** A port that is free now. */
function freePort(): number {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  return listener.addr.port;
}

/** Starts a server; null where none is installed. */
function startServer(port: number): Deno.ChildProcess | null {
  try {
    return new Deno.Command("redis-server", {
      args: [
        ...["--port", String(port), "--bind", "127.0.0.1", "--save", ""],
        ...["--maxmemory-policy", "noeviction"],
      ],
      stdout: "null",
      stderr: "null",
    }).spawn();
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return null;
    throw error;
  }
}

/** Calls `fn` with a connection to a server of its own; says so where there is none. */
export async function withRedis(
  fn: (redis: RedisParts) => Promise<void>,
): Promise<void> {
  const port = freePort();
  const server = startServer(port);
  if (server === null) {
    console.log("No fleet here: redis-server is not installed");
    return;
  }
  const connection = new Redis({
    port,
    maxRetriesPerRequest: null,
    retryStrategy: () => 20, // until the server is there
  });
  connection.on("error", () => {}); // the executor reports
  try {
    await connection.ping();
    await fn({ Queue, QueueEvents, Worker, connection });
  } finally {
    connection.disconnect();
    server.kill("SIGTERM");
    await server.status;
  }
}
