/**
 * The line with priorities, against a sorted array.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import { PriorityLine } from "../src/structures/priority_line.ts";
import { SeededRandom } from "../src/structures/random.ts";

const always = () => true;

Deno.test("A line of one priority is first in, first out", () => {
  const line = new PriorityLine<number>();
  for (let round = 0; round < 3; round++) {
    for (let n = 0; n < 40; n++) line.push(n, 0);
    for (let n = 0; n < 40; n++) assertEquals(line.shift(always), n);
    assertEquals(line.shift(always), undefined);
  }
});

Deno.test("A line with priorities does what a stable sort does, whatever comes and goes", () => {
  const first = Date.now();
  console.log(`seeds ${first} to ${first + 49}`);
  for (let seed = first; seed < first + 50; seed++) {
    const random = new SeededRandom(seed);
    const priorities = 1 + random.nextInt(6);
    const line = new PriorityLine<number>();
    const model: { value: number; priority: number }[] = [];
    for (let value = 0; value < 300; value++) {
      if (random.nextInt(5) < 3) {
        const priority = random.nextInt(priorities) - 2;
        line.push(value, priority);
        model.push({ value, priority });
        model.sort((a, b) => b.priority - a.priority);
      } else {
        assertEquals(line.shift(always), model.shift()?.value, `seed ${seed}`);
      }
      if (random.nextInt(40) === 0) {
        const kept = random.nextInt(3);
        line.sweep((value) => value % 3 !== kept);
        model.splice(
          0,
          Infinity,
          ...model.filter((one) => one.value % 3 !== kept),
        );
      }
      assertEquals(line.length, model.length, `seed ${seed}`);
    }
    while (model.length > 0) {
      assertEquals(line.shift(always), model.shift()!.value);
    }
    assertEquals(line.shift(always), undefined);
  }
});

Deno.test("A line takes infinite priorities", () => {
  const line = new PriorityLine<string>();
  line.push("last", -Infinity);
  line.push("middle", 0);
  line.push("first", Infinity);
  assertEquals([line.shift(always), line.shift(always), line.shift(always)], [
    "first",
    "middle",
    "last",
  ]);
});

Deno.test("A line drops what is not wanted any more", () => {
  const line = new PriorityLine<string>();
  for (const value of ["a", "b", "c"]) line.push(value, 1);
  line.push("d", 0);
  const asked: string[] = [];
  const value = line.shift((value) => {
    asked.push(value);
    return value === "b";
  });
  assertEquals([value, asked, line.length], ["b", ["a", "b"], 2]);
  assertEquals(line.shift((value) => value === "d"), "d");
  assertEquals([line.shift(always), line.length], [undefined, 0]);
});
