import { assert, assertEquals, assertThrows } from "@std/assert";
import { SeededRandom } from "../src/structures/random.ts";

Deno.test("SeededRandom repeats its sequence for the same seed", () => {
  const first = new SeededRandom(42);
  const second = new SeededRandom(42);
  for (let draw = 0; draw < 1000; draw++) {
    assertEquals(first.next(), second.next());
  }
});

Deno.test("SeededRandom keeps the sequence of a seed from version to version", () => {
  const random = new SeededRandom(1);
  const drawn = Array.from({ length: 4 }, () => random.nextInt(2 ** 32));
  assertEquals(drawn, [1779833415, 2026416846, 1661539736, 2729060721]);
});

Deno.test("SeededRandom gives unrelated sequences for neighbouring, negative and large seeds", () => {
  const seeds = [
    0,
    1,
    2,
    3,
    -1,
    -2,
    2 ** 32,
    2 ** 32 + 1,
    2 ** 53 - 1,
    1 - 2 ** 53,
  ];
  const firstDraws = seeds.map((seed) =>
    new SeededRandom(seed).nextInt(2 ** 32)
  );
  assertEquals(new Set(firstDraws).size, seeds.length);
  for (const [index, draw] of firstDraws.entries()) {
    for (const other of firstDraws.slice(index + 1)) {
      let differing = 0;
      for (let bits = draw ^ other; bits !== 0; bits &= bits - 1) differing++;
      assert(differing >= 4 && differing <= 28, `${differing} bits differ`);
    }
  }
});

Deno.test("SeededRandom.next() stays in [0, 1) and fills it evenly", () => {
  const random = new SeededRandom(5);
  const counts = new Array<number>(10).fill(0);
  for (let draw = 0; draw < 100_000; draw++) {
    const value = random.next();
    assert(value >= 0 && value < 1);
    counts[Math.floor(value * 10)]!++;
  }
  for (const count of counts) {
    assert(count > 9_500 && count < 10_500, `${count}`);
  }
});

Deno.test("SeededRandom.nextInt() gives every result below the bound about equally often", () => {
  const random = new SeededRandom(6);
  for (const bound of [1, 2, 3, 7, 100]) {
    const counts = new Array<number>(bound).fill(0);
    for (let draw = 0; draw < bound * 2000; draw++) {
      counts[random.nextInt(bound)]!++;
    }
    for (const count of counts) {
      assert(count > 1_700 && count < 2_300, `${count}`);
    }
  }
  // Two thirds of 2^32: a plain remainder would draw the lower half twice as often.
  const large = Math.floor(2 ** 32 / 3) * 2;
  let low = 0;
  for (let draw = 0; draw < 10_000; draw++) {
    if (random.nextInt(large) < large / 2) low++;
  }
  assert(low > 4_700 && low < 5_300, `${low}`);
});

Deno.test("SeededRandom.shuffle() keeps the elements and reaches every order", () => {
  const random = new SeededRandom(7);
  const orders = new Map<string, number>();
  for (let round = 0; round < 6_000; round++) {
    const array = ["a", "b", "c"];
    assert(random.shuffle(array) === array);
    const order = array.join("");
    orders.set(order, (orders.get(order) ?? 0) + 1);
  }
  assertEquals([...orders.keys()].sort(), [
    "abc",
    "acb",
    "bac",
    "bca",
    "cab",
    "cba",
  ]);
  for (const count of orders.values()) {
    assert(count > 850 && count < 1_150, `${count}`);
  }
  assertEquals(random.shuffle([]), []);
});

Deno.test("SeededRandom refuses seeds and bounds that are not whole numbers in range", () => {
  assertThrows(
    () => new SeededRandom(0.5),
    RangeError,
    "Cannot seed a generator as seed must be a safe integer: received 0.5",
  );
  assertThrows(() => new SeededRandom(NaN), RangeError);
  assertThrows(() => new SeededRandom(2 ** 53), RangeError);
  const random = new SeededRandom(1);
  assertThrows(
    () => random.nextInt(0),
    RangeError,
    "Cannot draw a whole number as bound must be an integer from 1 to 2^32: received 0",
  );
  for (const bound of [NaN, 1.5, -1, 2 ** 32 + 1, Infinity]) {
    assertThrows(() => random.nextInt(bound), RangeError);
  }
});
