/**
 * An HTTP service with limits, health checks and a graceful end.
 *
 * At most four requests run at a time and four wait in line; the others are told to come
 * back. A request that takes too long is answered with 504. At SIGTERM, which the program
 * sends to itself, the health check fails first; then what was accepted is answered, the
 * log is written, and the program ends with code 0.
 */

import { onShutdown, run, sleep, taskGroup, until } from "@rota/rota";
import { serve } from "@rota/rota/serve";
import { assertEquals } from "@std/assert";

const log: string[] = [];

async function* openLog(): AsyncGenerator<(line: string) => void, void, void> {
  console.log("the log is open");
  yield (line) => log.push(line);
  console.log(`the log is closed, with ${log.length} lines`);
}

await run(async () => {
  const server = serve(async (request, { value: write }) => {
    const { pathname } = new URL(request.url);
    await sleep(pathname === "/slow" ? 10_000 : 50);
    write(pathname);
    return new Response(`hello from ${pathname}\n`);
  }, {
    port: 0,
    hostname: "127.0.0.1",
    maxConcurrent: 4,
    maxWaiting: 4,
    requestTimeoutMs: 300,
    readinessPath: "/ready",
    lifespan: openLog,
  });
  const { port } = await server.ready() as Deno.NetAddr;
  const url = `http://127.0.0.1:${port}`;
  const status = async (path: string) => {
    const response = await fetch(`${url}${path}`);
    await response.text();
    return response.status;
  };

  // Twelve at once: four run, four wait, four are refused.
  const paths = Array.from({ length: 12 }, (_, n) => `/${n}`);
  const all = await until(Promise.all(paths.map(status)));
  console.log(`twelve requests at once: ${all.toSorted().join(" ")}`);
  assertEquals(all.filter((code) => code === 200).length, 8);
  console.log(`one that takes too long: ${await until(status("/slow"))}`);

  onShutdown("not-ready", async ({ reason }) => {
    await sleep(0);
    console.log(`${reason}: ready says ${await until(status("/ready"))}`);
  });
  await taskGroup(async (group) => {
    group.createTask(async () => {
      console.log(`the last request: ${await until(status("/last"))}`);
    });
    await sleep(10);
    Deno.kill(Deno.pid, "SIGTERM");
    await server; // ends when everything is answered
  });
  console.log(`served ${server.statistics().served}`);
}, { shutdown: { budgetMs: 5_000, preStopMs: 20 } });
assertEquals(log.includes("/last"), true);
