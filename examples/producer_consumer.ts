/**
 * Producer and consumers, with a bounded queue between them.
 *
 * The queue holds three items. A producer that is faster than its consumers
 * waits in put() until there is room. Shutting the queue down lets the
 * consumers take what is left, and ends their iteration.
 */

import {
  type Coroutine,
  each,
  getRunningLoop,
  Queue,
  run,
  sleep,
} from "@rota/rota";
import { assert, assertEquals } from "@std/assert";

const ITEMS = 12;
const queue = new Queue<number>(3);
const eaten: string[] = [];
let mostWaiting = 0;

function* produce(): Coroutine<void> {
  for (let item = 1; item <= ITEMS; item++) {
    yield* queue.put(item);
    mostWaiting = Math.max(mostWaiting, queue.size);
  }
  queue.shutdown();
}

/** A consumer that is a generator coroutine. */
function* consume(name: string): Coroutine<void> {
  yield* each(queue, function* (item) {
    yield* sleep(10);
    eaten.push(`${name} ${item}`);
  });
}

/** The same as an async function. */
async function consumeAsync(name: string): Promise<void> {
  for await (const item of queue) {
    await sleep(10);
    eaten.push(`${name} ${item}`);
  }
}

await run(function* () {
  const loop = getRunningLoop();
  const tasks = [
    loop.createTask(produce, { name: "producer" }),
    loop.createTask(consume("generator"), { name: "first consumer" }),
    loop.createTask(() => consumeAsync("async"), { name: "second consumer" }),
  ];
  for (const task of tasks) yield* task;
});

console.log(eaten.join(", "));
console.log(`at most ${mostWaiting} items were waiting`);
assertEquals(eaten.length, ITEMS);
assert(mostWaiting <= queue.maxSize);
