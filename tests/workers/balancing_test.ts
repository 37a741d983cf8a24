/**
 * The strategies of a load balancer, over members that are plain objects.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { SeededRandom } from "../../src/structures/random.ts";
import {
  type Balancing,
  BALANCING_STRATEGIES,
  type BalancingStrategy,
  type Candidate,
  makeBalancing,
} from "../../src/workers/balancing.ts";

class Dummy implements Candidate {
  readonly name: string;
  weight = 1;
  pending = 0;
  runMs = 1;
  part = 1;
  isOpen = true;

  constructor(name: string) {
    this.name = name;
  }

  averageMs(): number {
    return this.runMs;
  }

  share(): number {
    return this.part;
  }

  accepts(): boolean {
    return this.isOpen;
  }
}

function setUp(
  strategy: BalancingStrategy,
  count: number,
): { balancing: Balancing<Dummy>; members: Dummy[] } {
  const balancing = makeBalancing<Dummy>(strategy, new SeededRandom(7));
  const members = Array.from({ length: count }, (_, n) => new Dummy(`m${n}`));
  for (const member of members) {
    balancing.enlist(member);
    balancing.join(member, 0);
  }
  return { balancing, members };
}

function choose(
  balancing: Balancing<Dummy>,
  key?: string | number,
  avoided: Dummy | null = null,
): Dummy {
  return balancing.choose({ key, avoided }, 0);
}

function countChoices(
  balancing: Balancing<Dummy>,
  rounds: number,
): Record<string, number> {
  const counts: Record<string, number> = {};
  for (let n = 0; n < rounds; n++) {
    const { name } = choose(balancing);
    counts[name] = (counts[name] ?? 0) + 1;
  }
  return counts;
}

for (const strategy of BALANCING_STRATEGIES) {
  Deno.test(`"${strategy}" chooses only members that have joined, and avoids one if it can`, () => {
    const random = new SeededRandom(3);
    const { balancing, members } = setUp(strategy, 6);
    const joined = new Set(members);
    for (let round = 0; round < 2_000; round++) {
      const member = members[random.nextInt(members.length)]!;
      if (!joined.has(member)) {
        balancing.join(member, 0);
        joined.add(member);
        member.isOpen = true;
      } else if (joined.size > 1) {
        balancing.leave(member);
        joined.delete(member);
        member.isOpen = false;
      }
      assertEquals(balancing.size, joined.size);
      member.pending = random.nextInt(5);
      const avoided = random.nextInt(2) === 0
        ? members[random.nextInt(members.length)]!
        : null;
      const key = random.nextInt(2) === 0 ? random.nextInt(50) : undefined;
      const chosen = choose(balancing, key, avoided);
      assert(joined.has(chosen));
      if (joined.size > 1) assert(chosen !== avoided);
    }
  });

  Deno.test(`"${strategy}" is the same from run to run with the same seed`, () => {
    const names = () => {
      const { balancing } = setUp(strategy, 9);
      return Array.from(
        { length: 100 },
        (_, n) => choose(balancing, n % 3 === 0 ? n : undefined).name,
      );
    };
    assertEquals(names(), names());
  });
}

Deno.test("round-robin takes turns, in the order in which members have joined, whatever their weights", () => {
  const { balancing, members } = setUp("round-robin", 3);
  members[1]!.weight = 10;
  const names = () => Array.from({ length: 6 }, () => choose(balancing).name);
  assertEquals(names(), ["m0", "m1", "m2", "m0", "m1", "m2"]);
  balancing.leave(members[1]!);
  assertEquals(names(), ["m0", "m2", "m0", "m2", "m0", "m2"]);
});

Deno.test("weighted serves members in proportion to their weights, and spreads the turns", () => {
  const { balancing, members } = setUp("weighted", 0);
  for (const [name, weight] of [["a", 5], ["b", 1], ["c", 1]] as const) {
    const member = new Dummy(name);
    member.weight = weight;
    balancing.join(member, 0);
    members.push(member);
  }
  const names = Array.from({ length: 70 }, () => choose(balancing).name);
  assertEquals(names.filter((name) => name === "a").length, 50);
  assertEquals(names.filter((name) => name === "b").length, 10);
  for (let at = 0; at + 7 <= names.length; at += 7) {
    const seven = names.slice(at, at + 7);
    assertEquals(seven.filter((name) => name === "a").length, 5);
  }
});

Deno.test("least-pending goes by jobs for the weight, and equals take turns", () => {
  const { balancing, members } = setUp("least-pending", 3);
  members[0]!.pending = 2;
  members[1]!.pending = 3;
  members[2]!.pending = 3;
  assertEquals(choose(balancing).name, "m0");
  members[1]!.weight = 4;
  assertEquals(choose(balancing).name, "m1");
  const even = setUp("least-pending", 3).balancing;
  assertEquals(countChoices(even, 30), { m0: 10, m1: 10, m2: 10 });
});

Deno.test("least-busy multiplies the jobs by the average run time", () => {
  const { balancing, members } = setUp("least-busy", 2);
  members[0]!.runMs = 10;
  members[1]!.runMs = 30;
  assertEquals(choose(balancing).name, "m0");
  members[0]!.pending = 4;
  assertEquals(choose(balancing).name, "m1");
  members[1]!.pending = 1;
  assertEquals(choose(balancing).name, "m0");
});

Deno.test("power-of-two never chooses the most loaded, and draws all others", () => {
  const { balancing, members } = setUp("power-of-two", 5);
  members[4]!.pending = 100;
  const counts = countChoices(balancing, 1_000);
  assertEquals(Object.keys(counts).sort(), ["m0", "m1", "m2", "m3"]);
  for (const count of Object.values(counts)) assert(count > 200);
});

Deno.test("hash gives all jobs of a key to one member, and jobs without a key to any", () => {
  const { balancing, members } = setUp("hash", 10);
  const owners = Array.from(
    { length: 500 },
    (_, key) => choose(balancing, key),
  );
  for (const [key, owner] of owners.entries()) {
    assertEquals(choose(balancing, key), owner);
  }
  members[3]!.isOpen = false;
  balancing.leave(members[3]!);
  for (const [key, owner] of owners.entries()) {
    const chosen = choose(balancing, key);
    if (owner === members[3]) assert(chosen !== owner);
    else assertEquals(chosen, owner);
  }
  assertEquals(Object.keys(countChoices(balancing, 1_000)).length, 9);
  assertEquals(balancing.bindsKeys, true);
});

for (
  const strategy of [
    "round-robin",
    "weighted",
    "least-pending",
    "power-of-two",
    "hash",
  ] as const
) {
  Deno.test(`"${strategy}" gives a new member a share that grows`, () => {
    const { balancing, members } = setUp(strategy, 4);
    const fresh = members[0]!;
    const count = (part: number) => {
      fresh.part = part;
      for (const member of members) member.pending = 0;
      let own = 0;
      for (let n = 0; n < 4_000; n++) {
        const chosen = choose(balancing, strategy === "hash" ? n : undefined);
        chosen.pending++;
        if (chosen === fresh) own++;
      }
      return own;
    };
    const tenth = count(0.1);
    const half = count(0.5);
    const full = count(1);
    assert(tenth > 0 && tenth < 250, `${tenth}`);
    assert(half > 350 && half < 750, `${half}`);
    assert(full > 800 && full < 1_250, `${full}`);
  });
}

Deno.test("Turns of members that come and go do not pile up", () => {
  const { balancing, members } = setUp("round-robin", 2);
  for (let n = 0; n < 10_000; n++) {
    balancing.leave(members[1]!);
    balancing.join(members[1]!, 0);
  }
  assertEquals(countChoices(balancing, 10), { m0: 5, m1: 5 });
});
