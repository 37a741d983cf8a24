/**
 * Queue, PriorityQueue and LifoQueue: the same but for the order.
 *
 * join() waits until consumers have called taskDone() for every item. After
 * shutdown() the remaining items can still be taken, and then iterations end.
 */

import {
  each,
  getRunningLoop,
  LifoQueue,
  PriorityQueue,
  Queue,
  run,
  sleep,
} from "@rota/rota";
import { assertEquals, assertThrows } from "@std/assert";

const queue = new Queue<string>();
const done: string[] = [];
await run(function* () {
  const worker = getRunningLoop().createTask(() =>
    each(queue, function* (item) {
      yield* sleep(5);
      done.push(item);
      queue.taskDone();
    })
  );
  for (const item of ["wash", "dry", "fold"]) queue.putNowait(item);
  yield* queue.join();
  console.log(`the work is done: ${done.join(", ")}`);
  assertEquals(done, ["wash", "dry", "fold"]);
  queue.shutdown();
  yield* worker;
});
assertThrows(() => queue.putNowait("iron"));

const taken = [new PriorityQueue<number>(), new LifoQueue<number>()].map(
  (q) => {
    for (const n of [2, 3, 1]) q.putNowait(n);
    return [q.getNowait(), q.getNowait(), q.getNowait()].join(" ");
  },
);
console.log(`least first: ${taken[0]}; newest first: ${taken[1]}`);
assertEquals(taken, ["1 2 3", "1 3 2"]);
