/**
 * Integers that go from a producer to a consumer through a queue of a hundred,
 * in order: what handing one over costs, waits at a full and an empty queue
 * included.
 *
 * @module
 */
import { type Coroutine, gather, Queue, run } from "../mod.ts";
import { Effect, Queue as EffectQueue } from "effect";
import { register, type Stopwatch, type Suite } from "./support/suite.ts";

const CAPACITY = 100;

/** Takes the numbers that come out, which have to be 0, 1, 2 and so on. */
class Sequence {
  count = 0;

  take(number: number): void {
    if (number !== this.count) {
      throw new Error(`Got ${number} where ${this.count} was due`);
    }
    this.count++;
  }
}

/** Rota: two generator tasks. */
export async function handOffToGenerator(
  size: number,
  watch: Stopwatch,
): Promise<number> {
  const sequence = new Sequence();
  const queue = new Queue<number>(CAPACITY);
  const produce = function* (): Coroutine<void> {
    for (let n = 0; n < size; n++) yield* queue.put(n);
  };
  const consume = function* (): Coroutine<void> {
    for (let n = 0; n < size; n++) sequence.take(yield* queue.get());
  };
  await run(function* () {
    watch.start();
    yield* gather([produce, consume]);
    watch.end();
  }, { host: "portable" });
  return sequence.count;
}

/** Rota: two async functions. */
export async function handOffToAsync(
  size: number,
  watch: Stopwatch,
): Promise<number> {
  const sequence = new Sequence();
  const queue = new Queue<number>(CAPACITY);
  const produce = async (): Promise<void> => {
    for (let n = 0; n < size; n++) await queue.put(n);
  };
  const consume = async (): Promise<void> => {
    for (let n = 0; n < size; n++) sequence.take(await queue.get());
  };
  await run(async () => {
    watch.start();
    await gather([produce, consume]);
    watch.end();
  }, { host: "portable" });
  return sequence.count;
}

/** An array that is written and read in a circle. */
class Ring {
  readonly #slots: number[] = new Array(CAPACITY).fill(0);
  #first = 0;
  length = 0;

  push(number: number): void {
    this.#slots[(this.#first + this.length++) % CAPACITY] = number;
  }

  shift(): number {
    const number = this.#slots[this.#first]!;
    this.#first = (this.#first + 1) % CAPACITY;
    this.length--;
    return number;
  }
}

/** No loop at all: two generators and a ring, stepped by turns. */
export function handOffByRing(size: number, watch: Stopwatch): number {
  const sequence = new Sequence();
  const ring = new Ring();
  const produce = function* (): Generator<void, void, void> {
    for (let n = 0; n < size; n++) {
      while (ring.length === CAPACITY) yield;
      ring.push(n);
    }
  };
  const consume = function* (): Generator<void, void, void> {
    for (let n = 0; n < size; n++) {
      while (ring.length === 0) yield;
      sequence.take(ring.shift());
    }
  };
  const producer = produce();
  const consumer = consume();
  watch.start();
  do producer.next(); while (consumer.next().done !== true);
  watch.end();
  return sequence.count;
}

/** Two async functions and a ring; a promise for whoever has to wait, none for who has not. */
export async function handOffByPromises(
  size: number,
  watch: Stopwatch,
): Promise<number> {
  const sequence = new Sequence();
  const ring = new Ring();
  let wake: (() => void) | undefined;
  const changed = (): Promise<void> =>
    new Promise((resolve) => {
      wake = resolve;
    });
  const produce = async (): Promise<void> => {
    for (let n = 0; n < size; n++) {
      while (ring.length === CAPACITY) await changed();
      ring.push(n);
      wake?.();
      wake = undefined;
    }
  };
  const consume = async (): Promise<void> => {
    for (let n = 0; n < size; n++) {
      while (ring.length === 0) await changed();
      sequence.take(ring.shift());
      wake?.();
      wake = undefined;
    }
  };
  watch.start();
  await Promise.all([produce(), consume()]);
  watch.end();
  return sequence.count;
}

/** The web's streams. */
export async function handOffByStream(
  size: number,
  watch: Stopwatch,
): Promise<number> {
  const sequence = new Sequence();
  const { readable, writable } = new TransformStream<number, number>(
    undefined,
    { highWaterMark: CAPACITY },
  );
  const produce = async (): Promise<void> => {
    const writer = writable.getWriter();
    for (let n = 0; n < size; n++) {
      await writer.ready;
      const written = writer.write(n);
      if (n === size - 1) await written;
    }
    await writer.close();
  };
  const consume = async (): Promise<void> => {
    for await (const number of readable) sequence.take(number);
  };
  watch.start();
  await Promise.all([produce(), consume()]);
  watch.end();
  return sequence.count;
}

/** Effect: one at a time, or all there are at once. */
export function handOffInEffect(
  how: "take" | "takeAll",
): (size: number, watch: Stopwatch) => Promise<number> {
  return async (size, watch) => {
    const sequence = new Sequence();
    const program = Effect.gen(function* () {
      const queue = yield* EffectQueue.bounded<number>(CAPACITY);
      const produce = Effect.gen(function* () {
        for (let n = 0; n < size; n++) yield* EffectQueue.offer(queue, n);
      });
      const consume = Effect.gen(function* () {
        while (sequence.count < size) {
          if (how === "take") sequence.take(yield* EffectQueue.take(queue));
          else {
            for (const number of yield* EffectQueue.takeAll(queue)) {
              sequence.take(number);
            }
          }
        }
      });
      yield* Effect.all([produce, consume], { concurrency: "unbounded" });
    });
    watch.start();
    await Effect.runPromise(program);
    watch.end();
    return sequence.count;
  };
}

/** What is compared. */
export const suites: readonly Suite[] = [{
  name: "hand-off",
  title: "hand-off through a queue of 100",
  things: "items",
  size: 100_000,
  tinySize: 250,
  iterations: 10,
  cases: [
    { name: "Rota, generators", role: "rota", run: handOffToGenerator },
    { name: "Rota, async functions", role: "rota", run: handOffToAsync },
    { name: "ring, generators", role: "limit", run: handOffByRing },
    { name: "ring, promises", role: "rival", run: handOffByPromises },
    { name: "TransformStream", role: "rival", run: handOffByStream },
    { name: "Effect, take", role: "rival", run: handOffInEffect("take") },
    { name: "Effect, takeAll", role: "rival", run: handOffInEffect("takeAll") },
  ],
  foreign: [
    {
      name: "asyncio Queue",
      program: "python3",
      script: "hand_off.py",
      figure: "item",
    },
  ],
}];
suites.forEach(register);
