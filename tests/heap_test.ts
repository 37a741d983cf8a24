/**
 * The heap, against a sorted array.
 *
 * @module
 */
import { assertEquals, assertThrows } from "@std/assert";
import { Heap } from "../src/structures/heap.ts";
import { SeededRandom } from "../src/structures/random.ts";

Deno.test("An empty heap has nothing to give", () => {
  const heap = new Heap<number>((a, b) => a < b);
  assertEquals([heap.peek(), heap.pop(), heap.length], [
    undefined,
    undefined,
    0,
  ]);
  heap.push(1);
  heap.clear();
  assertEquals([heap.peek(), heap.pop(), heap.length], [
    undefined,
    undefined,
    0,
  ]);
});

Deno.test("A heap gives what a sorted array gives, whatever comes and goes", () => {
  const first = Date.now();
  console.log(`seeds ${first} to ${first + 49}`);
  for (let seed = first; seed < first + 50; seed++) {
    const random = new SeededRandom(seed);
    const heap = new Heap<number>((a, b) => a < b);
    let model: number[] = [];
    for (let step = 0; step < 300; step++) {
      if (random.nextInt(5) < 3) {
        const value = random.nextInt(40);
        heap.push(value);
        model = [...model, value].sort((a, b) => a - b);
      } else assertEquals(heap.pop(), model.shift(), `seed ${seed}`);
      assertEquals(heap.length, model.length);
      assertEquals(heap.peek(), model[0]);
      assertEquals([...heap].sort((a, b) => a - b), model);
    }
    while (model.length > 0) assertEquals(heap.pop(), model.shift());
    assertEquals(heap.pop(), undefined);
  }
});

Deno.test("A heap stays as it was when a comparison throws", () => {
  let left = Infinity;
  const heap = new Heap<number>((a, b) => {
    if (left-- <= 0) throw new Error("No");
    return a < b;
  });
  for (const value of [5, 3, 8, 1, 9, 2, 7]) heap.push(value);
  const before = [...heap];
  for (const change of [() => heap.push(0), () => heap.pop()]) {
    for (const comparisons of [0, 1]) {
      left = comparisons;
      assertThrows(change, Error, "No");
      assertEquals([...heap], before);
    }
  }
  left = Infinity;
  const order = [];
  while (heap.length > 0) order.push(heap.pop());
  assertEquals(order, [1, 2, 3, 5, 7, 8, 9]);
});
