/**
 * A Redis server for tests, on a free port of the loopback.
 *
 * ```ts
 * redisTest("a key is kept over a restart", async () => {
 *   await using redis = await startRedis();
 *   // … a client on 127.0.0.1 and redis.port
 *   await redis.stop("SIGKILL");
 *   await redis.start(); // the same port, the same data
 * });
 * ```
 *
 * @module
 */

import { type ServerProcess, startServer, testWith } from "./server_process.ts";

/**
 * Registers a test that needs a Redis server; skipped, with the reason in its
 * name, where none is installed.
 */
export function redisTest(
  name: string,
  fn: (t: Deno.TestContext) => void | Promise<void>,
): void {
  testWith("redis-server", name, fn);
}

/**
 * Starts a Redis server and waits until it takes connections. Each command is
 * on disk before it is answered, so that also a SIGKILL loses nothing.
 */
export function startRedis(): Promise<ServerProcess> {
  return startServer({
    name: "redis-server",
    readyLine: "Ready to accept connections",
    args: (port, dir) => [
      ...["--port", String(port), "--bind", "127.0.0.1", "--dir", dir],
      ...["--save", "", "--appendonly", "yes", "--appendfsync", "always"],
      // BullMQ asks for this, and warns on the console otherwise.
      ...["--maxmemory-policy", "noeviction"],
    ],
  });
}
