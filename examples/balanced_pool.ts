/**
 * Two pools behind a load balancer, which survive their threads: every seventh
 * job dies with its thread, and runs again elsewhere, as it is idempotent.
 */

import { LoadBalancer, run, taskModule, ThreadPool } from "@rota/rota";
import { assertEquals } from "@std/assert";

const { square } = taskModule<typeof import("./jobs/fragile.ts")>(
  new URL("./jobs/fragile.ts", import.meta.url),
);

await run(async () => {
  await using balancer = new LoadBalancer([], {
    strategy: "power-of-two",
    seed: 1,
  });
  balancer.add(new ThreadPool({ maxWorkers: 1 }), { name: "left" });
  balancer.add(new ThreadPool({ maxWorkers: 1 }), { name: "right" });

  // Counts down over all threads; the job that takes the last one dies.
  const shared = new SharedArrayBuffer(4);
  const callsLeft = new Int32Array(shared);
  let sum = 0;
  for (let round = 0; round < 3; round++) {
    Atomics.store(callsLeft, 0, 7);
    const jobs = Array.from(
      { length: 10 },
      (_, n) => balancer.submit(square, [n, shared], { idempotent: true }),
    );
    for (const job of jobs) sum += await job;
  }
  assertEquals(sum, 3 * 285);
  const { done, rerun } = balancer.stats();
  console.log(`${done} jobs done, ${rerun} of them ran again`);
  assertEquals(rerun, 3);
});
