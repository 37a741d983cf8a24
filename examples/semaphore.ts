/**
 * Semaphores: at most `n` tasks at a time.
 *
 * `using` releases a permit, or permit.release(); a second release does
 * nothing. A bounded semaphore throws if its release() is called once too
 * often.
 */

import { BoundedSemaphore, gather, run, Semaphore, sleep } from "@rota/rota";
import { assertEquals, assertThrows } from "@std/assert";

const semaphore = new Semaphore(3);
let inside = 0;
let insideMax = 0;

async function visit(): Promise<void> {
  using _permit = await semaphore.acquire();
  insideMax = Math.max(insideMax, ++inside);
  await sleep(5);
  inside--;
}

await run(() => gather(Array.from({ length: 10 }, () => visit)));
console.log(`at most ${insideMax} of 10 visitors were inside`);
assertEquals([insideMax, semaphore.value], [3, 3]);

const bounded = new BoundedSemaphore(1);
const permit = bounded.tryAcquire();
assertEquals(bounded.tryAcquire(), null);
permit?.release();
permit?.release(); // does nothing
const error = assertThrows(() => bounded.release(), RangeError);
console.log(error.message);
