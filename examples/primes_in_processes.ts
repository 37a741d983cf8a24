/**
 * Work for the processor in child processes, which may do nothing but compute:
 * they get no permission except to load their module.
 */

import { ProcessPool, run, taskModule } from "@rota/rota";
import { assertEquals } from "@std/assert";

const { countPrimes } = taskModule<typeof import("./jobs/primes.ts")>(
  new URL("./jobs/primes.ts", import.meta.url),
);
const STEP = 50_000;

await run(async () => {
  await using pool = new ProcessPool({ maxWorkers: 2 });
  const parts = [0, 1, 2, 3].map((n) =>
    pool.submit(countPrimes, [n * STEP, (n + 1) * STEP])
  );
  let total = 0;
  for (const [n, part] of parts.entries()) {
    const count = await part;
    console.log(`From ${n * STEP} on: ${count} primes`);
    total += count;
  }
  assertEquals(total, 17_984);
});
