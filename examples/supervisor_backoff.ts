/**
 * Backoff: a child that fails again and again waits longer and longer for its
 * restart; once it has run for a while, the next failure counts as its first.
 *
 * On virtual time, so that minutes pass at once.
 */

import { getRunningLoop, run, sleep, Supervisor } from "@rota/rota";
import { assertEquals } from "@std/assert";

const startedAt: number[] = [];

/** A client of a server that is down for the first second, and restarts after a minute. */
async function connect(): Promise<void> {
  const nowMs = getRunningLoop().time();
  startedAt.push(nowMs);
  await sleep(1);
  if (nowMs < 1_000) throw new Error("connection refused");
  if (nowMs < 60_000) {
    await sleep(60_000);
    throw new Error("connection lost");
  }
  await sleep(Infinity);
}

await run(async () => {
  await using supervisor = new Supervisor({
    name: "app",
    children: [{ id: "client", start: connect }],
    maxRestarts: 10,
    withinMs: 60_000,
    backoff: {
      initialMs: 100,
      factor: 2,
      maxMs: 5_000,
      healthyMs: 10_000,
      // Where many clients fail together, leave the default, "full": each delay
      // is then a random part of this one.
      jitter: "none",
    },
    reportCrashes: false,
  });
  using _listening = supervisor.subscribe((event) => {
    if (event.type !== "restarting") return;
    const { childId, delayMs, atMs } = event;
    console.log(`at ${atMs} ms: ${childId} is restarted in ${delayMs} ms`);
  });

  await supervisor.start();
  await sleep(500);
  console.log(String(supervisor.tree())); // shows how long it has to wait
  await sleep(100_000);
  console.log(String(supervisor.tree()));
}, { host: "virtual" });

const gapsMs = startedAt.slice(1).map((at, n) => at - startedAt[n]!);
assertEquals(gapsMs, [101, 201, 401, 801, 60_101]);
