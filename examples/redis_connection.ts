/**
 * ioredis under a supervisor: a connection that is made anew when Redis restarts.
 *
 * A reader asks for a key every 20 ms. In the midst of it Redis is killed and started
 * again: the commands wait, and go on. A consumer is blocked in BLPOP, on a connection of
 * its own, and is cancelled. The program starts a Redis server of its own, and says so if
 * none is installed.
 *
 * @module
 */

import { run, sleep, Supervisor, taskGroup } from "@rota/rota";
import { SupervisedConnection } from "@rota/rota/supervise";
import { assertEquals } from "@std/assert";
import { Redis } from "ioredis";

/** Starts a Redis server, and waits until it takes connections. */
async function startRedis(port: number): Promise<Deno.ChildProcess> {
  const child = new Deno.Command("redis-server", {
    args: ["--port", `${port}`, "--bind", "127.0.0.1", "--save", ""],
    stdin: "null",
    stdout: "piped",
  }).spawn();
  const log = child.stdout.pipeThrough(new TextDecoderStream());
  for await (const text of log.values({ preventCancel: true })) {
    if (text.includes("Ready to accept")) break;
  }
  log.pipeTo(new WritableStream()); // or it would block one day
  return child;
}

function freePort(): number {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  return listener.addr.port;
}

const port = freePort();
let server: Deno.ChildProcess;
try {
  server = await startRedis(port);
} catch (error) {
  if (!(error instanceof Deno.errors.NotFound)) throw error;
  console.log("This example needs redis-server, which is not installed.");
  Deno.exit(0);
}

const redis = new SupervisedConnection(() =>
  new Redis(port, "127.0.0.1", {
    lazyConnect: true, // the supervisor connects it,
    retryStrategy: null, // and connects it again
  }), { name: "redis" });

const supervisor = new Supervisor({
  children: [{ id: "redis", start: redis.start }],
  backoff: { initialMs: 10, maxMs: 100 },
  maxRestarts: Infinity, // Redis may be away for as long as it likes
  reportCrashes: false,
});
supervisor.subscribe((event) => {
  if (event.type === "started" || event.type === "ended") {
    console.log(`connection: ${event.type}`);
  }
});

try {
  await run(async () => {
    await using _ = supervisor;
    await supervisor.start();
    await taskGroup(async (group) => {
      // Blocks its connection, so it needs one of its own. Cancelling drops that one.
      const consumer = group.createTask(() =>
        redis.dedicated((client) => client.blpop("jobs", 0), {
          idempotent: true, // blocks again when Redis is back
        })
      );

      const reader = group.createTask(async () => {
        let answers = 0;
        while (answers < 20) {
          // INCR might count twice if it ran again, GET may run again.
          await redis.use((client) => client.get("greeting"), {
            idempotent: true,
          });
          answers++;
          await sleep(20);
        }
        return answers;
      });

      await sleep(100);
      console.log("Redis is killed");
      server.kill("SIGKILL");
      await server.status;
      await sleep(200);
      server = await startRedis(port);
      console.log("Redis is back");

      assertEquals(await reader, 20);
      consumer.cancel();
    });
    console.log(
      `20 answers, ${supervisor.tree().restarts} attempts to restart`,
    );
  });
} finally {
  server.kill("SIGKILL");
  await server.status;
}
