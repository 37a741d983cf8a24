/**
 * Graceful shutdown in phases, with one budget for the process.
 *
 * A small server with a queue of jobs behind it. At SIGTERM its health check begins
 * to fail. Then it takes no more requests, finishes the jobs that it has taken, and
 * ends with code 0. Here the program sends the signal to itself, which needs
 * --allow-run.
 */

import {
  each,
  gracefulShutdown,
  onShutdown,
  Queue,
  run,
  shutdownSignal,
  sleep,
  taskGroup,
  until,
} from "@rota/rota";
import { assertEquals } from "@std/assert";

const log: string[] = [];
const say = (text: string) => {
  log.push(text);
  console.log(text);
};

const jobs = new Queue<number>();
let accepted = 0;
let done = 0;

/** Answers health checks, and takes jobs. */
function handle(request: Request): Response {
  if (new URL(request.url).pathname === "/health") {
    return new Response(null, { status: shutdownSignal.aborted ? 503 : 200 });
  }
  jobs.putNowait(++accepted);
  return new Response("accepted");
}

function* work(): Generator {
  yield* each(jobs, function* () {
    yield* sleep(200);
    done++;
  });
}

await run(async () => {
  const hostname = "127.0.0.1";
  const server = Deno.serve({ hostname, port: 0, onListen: () => {} }, handle);
  const url = `http://${hostname}:${server.addr.port}`;

  // The hooks of a phase run side by side, and the next phase waits for them.
  onShutdown("not-ready", async ({ reason }) => {
    const { status } = await until(() => fetch(`${url}/health`));
    say(`${reason}: the health check says ${status}`);
  });
  onShutdown("stop-intake", async () => {
    await until(() => server.shutdown());
    jobs.shutdown(); // the workers end when it is empty
    say(`no more requests, ${accepted - done} jobs are left`);
  }, { name: "server" });

  await until(async () => {
    for (let count = 0; count < 4; count++) await (await fetch(url)).text();
  });
  setTimeout(() => Deno.kill(Deno.pid, "SIGTERM"), 20);
  // Main ends by itself when the work is done. If it did not, it would be
  // cancelled in time to clean up within the budget.
  await taskGroup((group) => {
    group.createTask(work, { name: "first worker" });
    group.createTask(work, { name: "second worker" });
  });
  say(`main has ended, in phase "${gracefulShutdown().phase}"`);
}, {
  shutdown: {
    budgetMs: 5_000,
    preStopMs: 30, // the time that a load balancer needs to notice
    onReport: (report) => console.log(String(report)),
  },
});

assertEquals(done, 4);
assertEquals(log[0], "SIGTERM: the health check says 503");
assertEquals(log.at(-1), 'main has ended, in phase "drain"');
