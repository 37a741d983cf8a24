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

interface Item {
  readonly sequence: number;
  readonly priority: number;
  wanted: boolean;
}

const isWanted = (item: Item) => item.wanted;
const sequenceOf = (item: Item) => item.sequence;

Deno.test("A line gives its oldest or its most urgent value, whatever comes, goes and is withdrawn", () => {
  const first = Date.now();
  console.log(`seeds ${first} to ${first + 99}`);
  for (let seed = first; seed < first + 100; seed++) {
    const random = new SeededRandom(seed);
    const priorities = 1 + random.nextInt(random.nextInt(2) === 0 ? 4 : 100);
    const line = new PriorityLine<Item>();
    let model: Item[] = [];
    const take = (item: Item | undefined, expected: Item | undefined) => {
      assertEquals(item, expected, `seed ${seed}`);
      model = model.filter((other) => other !== expected);
    };
    const takeOldest = () =>
      take(line.shiftOldest(isWanted, sequenceOf), model[0]);
    const takeFirst = () =>
      take(
        line.shift(isWanted),
        model.toSorted((a, b) => b.priority - a.priority)[0],
      );
    for (let sequence = 0; sequence < 400; sequence++) {
      const choice = random.nextInt(10);
      if (choice < 5) {
        const priority = random.nextInt(priorities) - 2;
        const item = { sequence, priority, wanted: true };
        line.push(item, priority);
        model.push(item);
      } else if (choice < 7) takeFirst();
      else if (choice < 8) takeOldest();
      else if (choice < 9 && model.length > 0) {
        const item = model[random.nextInt(model.length)]!;
        item.wanted = false;
        model = model.filter((other) => other !== item);
      } else if (random.nextInt(5) === 0) {
        line.sweep(isWanted);
        assertEquals(line.length, model.length, `seed ${seed}`);
      } else if (random.nextInt(40) === 0) {
        line.clear();
        model = [];
      }
    }
    while (model.length > 0) {
      if (random.nextInt(2) === 0) takeFirst();
      else takeOldest();
    }
    takeFirst();
    takeOldest();
    line.sweep(isWanted);
    assertEquals(line.length, 0, `seed ${seed}`);
  }
});

Deno.test("A line with as many priorities as values compares few of them", () => {
  // Not time but comparisons would tell best; the line has none to count. So the numbers are large: were a new level
  // compared with all others, this would take 5,000,000,000 steps.
  const count = 100_000;
  const line = new PriorityLine<number>();
  const priorities = new SeededRandom(1)
    .shuffle(Array.from({ length: count }, (_, n) => n));
  for (const priority of priorities) line.push(priority, priority);
  const oldest = line.shiftOldest(always, () => 0);
  assertEquals(oldest === undefined, false);
  for (let expected = count - 1; expected >= 0; expected--) {
    if (expected === oldest) continue;
    assertEquals(line.shift(always) === expected, true);
  }
  assertEquals(line.length, 0);
});

Deno.test("A line drops many that are not wanted at once, in whole batches and in part", () => {
  for (const kept of [0, 15, 16, 17, 40, 99]) {
    const line = new PriorityLine<number>();
    for (let value = 0; value < 100; value++) line.push(value, 0);
    assertEquals(line.shift((value) => value >= kept), kept);
    assertEquals(line.length, 99 - kept);
    assertEquals(line.shift(() => false), undefined);
    assertEquals(line.length, 0);
  }
});
