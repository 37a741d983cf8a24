/**
 * A hundred thousand callbacks of ten priorities: submitted in random order,
 * then run, the most urgent first.
 *
 * @module
 */
import { MixedScheduler } from "effect/Scheduler";
import { EventLoop, PriorityScheduler } from "../mod.ts";
import { register, type Stopwatch, type Suite } from "./support/suite.ts";

const LEVELS = 10;

/** The priorities of the callbacks: the same sequence for everybody. */
export function priorities(size: number): number[] {
  let state = 12_345;
  return Array.from({ length: size }, () => {
    state = (state * 1_103_515_245 + 12_345) % 2 ** 31;
    return (state >> 8) % LEVELS;
  });
}

/** Ten callbacks, one for each priority, that count themselves and watch their order. */
class Callbacks {
  count = 0;
  readonly list: readonly (() => void)[];
  #last = LEVELS;

  constructor(size: number, done: () => void) {
    this.list = Array.from({ length: LEVELS }, (_, priority) => () => {
      if (priority > this.#last) {
        throw new Error(`${priority} ran after ${this.#last}`);
      }
      this.#last = priority;
      if (++this.count === size) done();
    });
  }
}

async function onLoop(size: number, watch: Stopwatch): Promise<number> {
  await using loop = new EventLoop({
    host: "portable",
    scheduler: new PriorityScheduler({ ageEvery: Infinity }),
  });
  const callbacks = new Callbacks(size, () => loop.stop());
  const order = priorities(size);
  watch.start();
  for (const priority of order) {
    loop.callWithPriority(priority, callbacks.list[priority]!);
  }
  await loop.runForever();
  watch.end();
  return callbacks.count;
}

/** With ageing the order is not strict: one in 32 is the oldest. */
async function onAgeingLoop(size: number, watch: Stopwatch): Promise<number> {
  await using loop = new EventLoop({
    host: "portable",
    scheduler: new PriorityScheduler(),
  });
  let count = 0;
  const callback = (): void => {
    if (++count === size) loop.stop();
  };
  const order = priorities(size);
  watch.start();
  for (const priority of order) loop.callWithPriority(priority, callback);
  await loop.runForever();
  watch.end();
  return count;
}

/** What can be waited for, and knows the task of an async function. */
async function posted(size: number, watch: Stopwatch): Promise<number> {
  await using loop = new EventLoop({
    host: "portable",
    scheduler: new PriorityScheduler({ ageEvery: Infinity }),
  });
  const callbacks = new Callbacks(size, () => loop.stop());
  const order = priorities(size);
  const options = Array.from({ length: LEVELS }, (_, priority) => ({
    priority,
  }));
  watch.start();
  for (const priority of order) {
    loop.postTask(callbacks.list[priority]!, options[priority]!);
  }
  await loop.runForever();
  watch.end();
  return callbacks.count;
}

async function inArrays(size: number, watch: Stopwatch): Promise<number> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const callbacks = new Callbacks(size, resolve);
  const order = priorities(size);
  watch.start();
  const queues = Array.from({ length: LEVELS }, (): (() => void)[] => []);
  for (const priority of order) {
    queues[priority]!.push(callbacks.list[priority]!);
  }
  queueMicrotask(() => {
    for (const queue of queues.toReversed()) {
      for (const callback of queue) callback();
    }
  });
  await promise;
  watch.end();
  return callbacks.count;
}

async function onEffect(size: number, watch: Stopwatch): Promise<number> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const callbacks = new Callbacks(size, resolve);
  const order = priorities(size);
  watch.start();
  const dispatcher = new MixedScheduler().makeDispatcher();
  for (const priority of order) {
    // There the least number goes first.
    dispatcher.scheduleTask(callbacks.list[priority]!, LEVELS - priority);
  }
  await promise;
  watch.end();
  return callbacks.count;
}

/** What is compared. */
export const suites: readonly Suite[] = [{
  name: "priorities",
  title: "ten priorities",
  things: "callbacks",
  size: 100_000,
  tinySize: 40,
  cases: [
    { name: "Rota", role: "rota", run: onLoop },
    { name: "Rota, ageing", role: "rota", run: onAgeingLoop },
    { name: "Rota, postTask", role: "rota", run: posted },
    { name: "hand-written arrays", role: "limit", run: inArrays },
    { name: "Effect's dispatcher", role: "rival", run: onEffect },
  ],
}];
suites.forEach(register);
