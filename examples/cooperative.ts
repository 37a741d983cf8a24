/**
 * Cooperative multitasking: long computations that yield to others.
 *
 * yieldNow() always takes a turn. checkpoint() takes one only if the
 * computation has kept others waiting, and costs next to nothing otherwise.
 * With priorities, urgent work runs at once, however many computations there
 * are.
 */

import {
  checkpoint,
  type Coroutine,
  getRunningLoop,
  PriorityScheduler,
  run,
  yieldNow,
} from "@rota/rota";
import { assert, assertEquals } from "@std/assert";

/** Counts the primes below a bound, and yields all the time. */
function* countPrimes(below: number): Coroutine<number> {
  let primes = 0;
  for (let n = 2; n < below; n++) {
    let divisor = 2;
    while (divisor * divisor <= n && n % divisor > 0) divisor++;
    if (divisor * divisor > n) primes++;
    yield* checkpoint();
  }
  return primes;
}

await run(async () => {
  const loop = getRunningLoop();
  const priority = "background";
  const searches = Array.from(
    { length: 4 },
    () => loop.createTask(() => countPrimes(50_000), { priority }),
  );
  let requests = 0;
  let ahead = 0;
  const server = loop.createTask(function* () {
    for (; requests < 20; requests++) {
      // A request comes in: it is served before any search goes on.
      yield* loop.postTask(() => {}, { priority: "user-blocking" });
      if (searches.every((search) => !search.done())) ahead++;
      yield* yieldNow();
    }
  }, { priority: "user-blocking" });
  await server;
  console.log(`${ahead} of ${requests} requests were served meanwhile`);
  assertEquals(ahead, 20);

  // The searches have the loop to themselves now, and share it.
  const primes: number[] = [];
  for (const search of searches) primes.push(await search);
  console.log(`each search found ${primes[0]} primes`);
  assert(primes.every((count) => count === 5_133));
}, { scheduler: new PriorityScheduler() });
