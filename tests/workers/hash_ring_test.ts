/**
 * The hash ring: how even the shares are, and how few keys a change moves.
 *
 * @module
 */
import { assert, assertEquals, assertThrows } from "@std/assert";
import { HashRing } from "../../src/structures/hash_ring.ts";
import { SeededRandom } from "../../src/structures/random.ts";

const KEYS = Array.from({ length: 5_000 }, (_, n) => `key ${n}`);

function ringOf(names: readonly string[]): HashRing<string> {
  const ring = new HashRing<string>();
  for (const name of names) ring.add(name, name);
  return ring;
}

function ownersOf(ring: HashRing<string>): (string | undefined)[] {
  return KEYS.map((key) => ring.find(key));
}

function namesOf(count: number, prefix: string): string[] {
  return Array.from({ length: count }, (_, n) => `${prefix} ${n}`);
}

Deno.test("An empty ring has no owner for a key, and a node that is added twice is refused", () => {
  const ring = new HashRing<string>();
  assertEquals(ring.find("a"), undefined);
  assertEquals(ring.remove("a"), false);
  ring.add("a", "a");
  assertThrows(() => ring.add("a", "a"), Error, "it is on the ring already");
  assertEquals([ring.find("x"), ring.size], ["a", 1]);
  assertEquals(ring.remove("a"), true);
  assertEquals([ring.find("x"), ring.size], [undefined, 0]);
});

Deno.test("A number and its decimal text are the same key", () => {
  const ring = ringOf(namesOf(20, "node"));
  for (let n = 0; n < 200; n++) assertEquals(ring.find(n), ring.find(`${n}`));
});

Deno.test("The owner of a key depends on the names alone, not on how the ring has come about", () => {
  const random = new SeededRandom(4);
  const names = namesOf(12, "node");
  const expected = ownersOf(ringOf(names));
  for (let round = 0; round < 10; round++) {
    const ring = ringOf(random.shuffle([...names, "guest 1", "guest 2"]));
    if (round % 2 === 0) ring.find("key"); // merges what is there by now
    ring.remove("guest 1");
    ring.remove("guest 2");
    assertEquals(ownersOf(ring), expected);
  }
});

Deno.test("Of n nodes a change moves at most 2/n of the keys, and only to or from the node that comes or goes", () => {
  const random = new SeededRandom(12);
  for (let round = 0; round < 60; round++) {
    const count = 2 + random.nextInt(60);
    const names = namesOf(count, `round ${round}`);
    const ring = ringOf(names);
    const before = ownersOf(ring);
    ring.add("new", "new");
    const with1 = ownersOf(ring);
    let moved = 0;
    for (const [index, owner] of with1.entries()) {
      if (owner === before[index]) continue;
      moved++;
      assertEquals(owner, "new");
    }
    assert(moved > 0 && moved <= KEYS.length * 2 / (count + 1), `${moved}`);
    ring.remove("new");
    assertEquals(ownersOf(ring), before);

    const gone = names[random.nextInt(count)]!;
    ring.remove(gone);
    moved = 0;
    for (const [index, owner] of ownersOf(ring).entries()) {
      if (owner === before[index]) continue;
      moved++;
      assertEquals(before[index], gone);
    }
    assert(moved > 0 && moved <= KEYS.length * 2 / count, `${moved}`);
  }
});

Deno.test("No node of a thousand has more than twice its share", () => {
  const ring = ringOf(namesOf(1_000, "node"));
  const counts = new Map<string, number>();
  const keys = 200_000;
  for (let key = 0; key < keys; key++) {
    const owner = ring.find(key)!;
    counts.set(owner, (counts.get(owner) ?? 0) + 1);
  }
  assertEquals(counts.size, 1_000);
  assert(Math.max(...counts.values()) <= 2 * keys / 1_000);
});

Deno.test("A node has keys in proportion to its weight", () => {
  const ring = new HashRing<string>();
  ring.add("light", "light", 1);
  ring.add("heavy", "heavy", 4);
  const heavy = ownersOf(ring).filter((owner) => owner === "heavy").length;
  assert(Math.abs(heavy / KEYS.length - 0.8) < 0.08, `${heavy}`);
});

Deno.test("Keys of a node that is not accepted go to the others, and come back; a chance stays the same", () => {
  const ring = ringOf(namesOf(10, "node"));
  const before = ownersOf(ring);
  const chances = new Map<string, number>();
  for (const [index, key] of KEYS.entries()) {
    const owner = ring.find(key, (node, chance) => {
      const pair = `${key} ${node}`;
      assertEquals(chances.get(pair) ?? chance, chance);
      assert(chance >= 0 && chance < 1);
      chances.set(pair, chance);
      return node !== "node 3";
    });
    if (before[index] === "node 3") assert(owner !== "node 3");
    else assertEquals(owner, before[index]);
    const half = ring.find(
      key,
      (node, chance) => node !== "node 3" || chance < 0.5,
    );
    assert(half === owner || half === before[index]);
  }
  assertEquals(ring.find("key", () => false), undefined);
});
