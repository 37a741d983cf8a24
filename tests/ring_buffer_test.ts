import { assertEquals } from "@std/assert";
import { SeededRandom } from "../src/structures/random.ts";
import { RingBuffer } from "../src/structures/ring_buffer.ts";

Deno.test("RingBuffer hands values out in the order in which they came", () => {
  const ring = new RingBuffer<string>();
  ring.push("a");
  ring.push("b");
  ring.push("c");
  assertEquals(ring.peek(), "a");
  assertEquals(ring.length, 3);
  assertEquals([ring.shift(), ring.shift(), ring.shift()], ["a", "b", "c"]);
  assertEquals(ring.length, 0);
});

Deno.test("RingBuffer.pop() takes the newest value", () => {
  const ring = new RingBuffer<number>();
  ring.push(1);
  ring.push(2);
  assertEquals([ring.pop(), ring.pop(), ring.pop()], [2, 1, undefined]);
});

Deno.test("RingBuffer returns undefined while it is empty and works afterwards", () => {
  const ring = new RingBuffer<number>();
  assertEquals(ring.shift(), undefined);
  assertEquals(ring.pop(), undefined);
  assertEquals(ring.peek(), undefined);
  assertEquals(ring.length, 0);
  ring.push(1);
  assertEquals(ring.shift(), 1);
});

Deno.test("RingBuffer counts values that are undefined", () => {
  const ring = new RingBuffer<undefined>();
  ring.push(undefined);
  ring.push(undefined);
  assertEquals(ring.length, 2);
  assertEquals(ring.shift(), undefined);
  assertEquals(ring.length, 1);
});

Deno.test("RingBuffer.clear() removes everything", () => {
  const ring = new RingBuffer<number>();
  for (let value = 0; value < 1000; value++) ring.push(value);
  ring.clear();
  assertEquals([...ring], []);
  ring.push(7);
  assertEquals([...ring], [7]);
});

for (const steps of [20_000, 400_000]) {
  Deno.test(`RingBuffer behaves like an array in ${steps} random operations`, () => {
    const seed = Date.now();
    console.log(`seed ${seed}`);
    const random = new SeededRandom(seed);
    const ring = new RingBuffer<number>();
    // The model is an array with a start index: with `shift` it would be slow at the large size.
    const model: number[] = [];
    let start = 0;
    // The long run swings far enough to pass the size at which an emptied ring is dropped.
    const phaseSteps = steps / 20;
    for (let step = 0; step < steps; step++) {
      const growing = Math.floor(step / phaseSteps) % 2 === 0;
      const choice = random.nextInt(100);
      if (choice < (growing ? 80 : 15)) {
        ring.push(step);
        model.push(step);
      } else if (choice < 95) {
        const expected = start < model.length ? model[start++] : undefined;
        assertEquals(ring.shift(), expected);
      } else {
        const expected = start < model.length ? model.pop() : undefined;
        assertEquals(ring.pop(), expected);
      }
      if (ring.length !== model.length - start) {
        throw new Error(`length ${ring.length} after step ${step}`);
      }
      if (ring.peek() !== model[start]) {
        throw new Error(`peek() is ${ring.peek()} after step ${step}`);
      }
      if (step % 1000 === 0) {
        assertEquals([...ring], model.slice(start));
        const values = Array.from(ring, (_, index) => ring.at(index));
        assertEquals(values, model.slice(start));
      }
    }
  });
}

Deno.test("RingBuffer keeps the order when it grows while wrapped", () => {
  for (let lead = 0; lead < 40; lead++) {
    const ring = new RingBuffer<number>();
    for (let value = 0; value < lead; value++) {
      ring.push(value);
      ring.shift();
    }
    const values = Array.from({ length: 100 }, (_, value) => value);
    for (const value of values) ring.push(value);
    assertEquals([...ring], values);
  }
});

Deno.test("RingBuffer works on after a large burst has left, by either end", () => {
  for (const take of ["shift", "pop"] as const) {
    const ring = new RingBuffer<number>();
    for (let round = 0; round < 2; round++) {
      const values = Array.from({ length: 20_000 }, (_, value) => value);
      for (const value of values) ring.push(value);
      const left = values.map(() => ring[take]());
      assertEquals(left, take === "shift" ? values : values.toReversed());
      assertEquals([ring.length, ring.peek(), ring[take]()], [
        0,
        undefined,
        undefined,
      ]);
    }
  }
});
