/**
 * A lock: one task at a time, in the order in which they asked.
 *
 * Acquiring it returns a permit, and `using` releases that at the end of the
 * block, whatever happens there. Without the lock every task below would read
 * the same balance, and all but one deposit would be lost.
 */

import { gather, Lock, run, sleep } from "@rota/rota";
import { assert, assertEquals } from "@std/assert";

const lock = new Lock();
let balance = 0;

function* deposit(amount: number) {
  using permit = yield* lock.acquire();
  assert(permit.held && lock.locked());
  const before = balance;
  yield* sleep(2);
  balance = before + amount;
}

/** The same as an async function. */
async function depositAsync(amount: number): Promise<void> {
  using _permit = await lock.acquire();
  const before = balance;
  await sleep(2);
  balance = before + amount;
}

await run(function* () {
  yield* gather([10, 20, 30].map((amount) => deposit(amount)));
  yield* gather([1, 2].map((amount) => () => depositAsync(amount)));
});
console.log(`the balance is ${balance}`);
assertEquals([balance, lock.locked()], [63, false]);
