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

Deno.test("A line gives the oldest of all on demand, whatever else comes and goes", () => {
  const first = Date.now();
  console.log(`seeds ${first} to ${first + 49}`);
  for (let seed = first; seed < first + 50; seed++) {
    const random = new SeededRandom(seed);
    const priorities = 1 + random.nextInt(40);
    const dead = new Set<number>();
    const isWanted = (value: number) => !dead.has(value);
    const line = new PriorityLine<number>((value) => value);
    let model: { value: number; priority: number }[] = [];
    const take = (index: number) => model.splice(index, 1)[0]?.value;
    for (let value = 0; value < 500; value++) {
      const choice = random.nextInt(12);
      if (choice < 7) {
        const priority = random.nextInt(priorities);
        line.push(value, priority);
        model.push({ value, priority });
      } else if (choice < 9) {
        const best = model.reduce(
          (best, { priority }, index) =>
            priority > (model[best]?.priority ?? -1) ? index : best,
          0,
        );
        assertEquals(line.shift(isWanted), take(best), `seed ${seed}`);
      } else if (choice < 11) {
        assertEquals(line.shiftOldest(isWanted), take(0), `seed ${seed}`);
      } else if (model.length > 0) {
        const { value, priority } = model[random.nextInt(model.length)]!;
        dead.add(value);
        line.forgo(priority, isWanted);
        model = model.filter((one) => one.value !== value);
      }
    }
    while (model.length > 0) {
      assertEquals(line.shiftOldest(isWanted), take(0), `seed ${seed}`);
    }
    assertEquals(line.shiftOldest(isWanted), undefined);
    assertEquals(line.shift(isWanted), undefined);
  }
});

Deno.test("Each of n values of n priorities costs about as many steps as log n", () => {
  let comparisons = 0;
  const isWanted = () => true;
  const stepsFor = (count: number) => {
    const line = new PriorityLine<number>((value) => {
      comparisons++;
      return value;
    });
    comparisons = 0;
    for (let n = 0; n < count; n++) line.push(n, -n);
    for (let n = 0; n < count; n++) {
      if (n % 32 === 0) line.shiftOldest(isWanted);
      else line.shift(isWanted);
    }
    return comparisons / count;
  };
  const [few, many] = [stepsFor(200), stepsFor(5_000)];
  assertEquals(many <= 2 * few, true, `${few} against ${many}`);
});
