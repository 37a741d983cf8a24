/**
 * Histogram: percentiles within its error, whatever the values are.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { Histogram } from "../../src/structures/histogram.ts";
import { SeededRandom } from "../../src/structures/random.ts";

/** The value that a part of sorted values does not exceed. */
function exact(sorted: number[], part: number): number {
  return sorted[Math.max(Math.ceil(part * sorted.length) - 1, 0)]!;
}

Deno.test("percentiles of random values are correct within 4 %", () => {
  for (let seed = 1; seed <= 30; seed++) {
    const random = new SeededRandom(seed);
    const scale = 10 ** (random.nextInt(10) - 5);
    const spread = 1 + random.nextInt(8);
    const histogram = new Histogram();
    const values = Array.from(
      { length: 1 + random.nextInt(3_000) },
      () => scale * 10 ** (random.next() * spread),
    );
    for (const value of values) histogram.add(value);
    values.sort((a, b) => a - b);
    assertEquals(histogram.count, values.length);
    for (const part of [0, 0.01, 0.25, 0.5, 0.9, 0.99, 0.999, 1]) {
      const is = histogram.quantile(part);
      const expected = exact(values, part);
      assert(
        Math.abs(is / expected - 1) < 0.04,
        `seed ${seed}, part ${part}: ${is} for ${expected}`,
      );
    }
  }
});

Deno.test("the least and the greatest value are exact, and one value is all percentiles", () => {
  const histogram = new Histogram();
  assertEquals(histogram.quantile(0.5), NaN);
  histogram.add(1.23);
  for (const part of [0, 0.5, 1]) assertEquals(histogram.quantile(part), 1.23);
  for (const value of [0.017, 55.5, 4]) histogram.add(value);
  assertEquals([histogram.quantile(0), histogram.quantile(1)], [0.017, 55.5]);
  histogram.clear();
  assertEquals([histogram.count, histogram.quantile(1)], [0, NaN]);
});

Deno.test("values out of its range count as the least and the greatest", () => {
  const histogram = new Histogram();
  for (const value of [0, -1, NaN, 1e-12, 5, 1e20, Infinity]) {
    histogram.add(value);
  }
  assertEquals(histogram.count, 6);
  assertEquals(histogram.quantile(0.3), -1);
  const middle = histogram.quantile(0.6);
  assert(Math.abs(middle - 5) < 0.2);
  assertEquals(histogram.quantile(0.9), Infinity);
});
