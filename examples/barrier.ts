/**
 * A barrier: tasks wait for one another, round by round.
 *
 * wait() returns the place in the order of arrival, so that one task can do
 * what has to be done once in a round.
 */

import { Barrier, type Coroutine, gather, run, sleep } from "@rota/rota";
import { assertEquals } from "@std/assert";

const ROUNDS = 2;
const log: string[] = [];
const barrier = new Barrier(3);

function* worker(name: string, ms: number): Coroutine<void> {
  for (let round = 1; round <= ROUNDS; round++) {
    yield* sleep(ms);
    log.push(`${name}${round}`);
    const place = yield* barrier.wait();
    if (place === barrier.parties - 1) log.push(`all have done ${round}`);
  }
}

await run(function* () {
  yield* gather([worker("a", 40), worker("b", 20), worker("c", 1)]);
});
console.log(log.join(", "));
assertEquals(log, [
  ...["c1", "b1", "a1", "all have done 1"],
  ...["c2", "b2", "a2", "all have done 2"],
]);
