/**
 * A NATS server with JetStream for tests, on a free port of the loopback.
 *
 * ```ts
 * natsTest("a message is kept over a restart", async () => {
 *   await using nats = await startNats();
 *   // … a client on 127.0.0.1 and nats.port
 *   await nats.stop("SIGKILL");
 *   await nats.start(); // the same port, the same streams
 * });
 * ```
 *
 * @module
 */

import { type ServerProcess, startServer, testWith } from "./server_process.ts";

/**
 * Registers a test that needs a NATS server; skipped, with the reason in its
 * name, where none is installed.
 */
export function natsTest(
  name: string,
  fn: (t: Deno.TestContext) => void | Promise<void>,
): void {
  testWith("nats-server", name, fn);
}

/**
 * Starts a NATS server with JetStream and waits until it takes connections.
 * File streams hold what was acknowledged, also after a SIGKILL of the server.
 */
export function startNats(): Promise<ServerProcess> {
  return startServer({
    name: "nats-server",
    readyLine: "Server is ready",
    args: (port, dir) => [
      ...["--addr", "127.0.0.1", "--port", String(port)],
      ...["--jetstream", "--store_dir", dir],
    ],
  });
}
