/**
 * Writes random trees: the same one from the same seed.
 *
 * @module
 */
import {
  type Act,
  type Body,
  type Foreign,
  type Node,
  rewrite,
  type TimedAct,
  type Tree,
} from "./tree.ts";

/** A small generator of random numbers: the same tree from the same seed. */
export class Chance {
  #state: number;

  constructor(seed: number) {
    this.#state = Math.imul(seed + 1, 0x9e3779b1) | 0;
  }

  /** A number from 0 up to, but not including, 1. */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let t = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  }

  below(count: number): number {
    return Math.floor(this.next() * count);
  }

  maybe(share: number): boolean {
    return this.next() < share;
  }

  pick<T>(from: readonly T[]): T {
    return from[this.below(from.length)]!;
  }
}

const LEAVES = [
  ...["sleep", "sleep", "sleep", "sleep", "sleep", "sleep", "never", "never"],
  ...["foreign", "foreign", "until", "throw", "throw", "condition"],
  ...["get", "put", "send", "receive", "act", "act", "join", "join", "shield"],
] as const;
const DISTINCT_LEAVES = ["sleep", "sleep", "sleep", "never", "throw"] as const;
const BLOCKS = [
  ...["timeout", "timeout", "timeoutAt", "waitFor", "moveOnAfter"],
  ...["moveOnAfter", "failAfter", "scope", "scope", "group", "group", "group"],
  ...["group", "gather", "gather", "wait", "catch", "catch", "finally"],
  ...["finally", "scoped", "scoped", "call", "all", "each", "untilBody"],
  ...["lock", "semaphore"],
] as const;
const DISTINCT_BLOCKS = [
  ...["timeout", "moveOnAfter", "failAfter", "scope", "group", "group"],
  ...["catch", "finally", "gather", "call"],
] as const;
const SPANS = [0, 0, 0, 1, 1, 2, 3, 5, 8];

/** Writes one random tree. */
class Writer {
  readonly #chance: Chance;
  readonly #distinct: boolean;
  readonly #foreign: boolean;
  /** The names of what an act can be done to. */
  readonly targets = ["main"];
  #left: number;
  #names = 0;
  /** Neither locks in locks nor tasks that wait while they hold one: no deadlocks of its own. */
  #holding = false;

  constructor(chance: Chance, distinct: boolean) {
    this.#chance = chance;
    this.#distinct = distinct;
    this.#foreign = chance.maybe(0.4);
    this.#left = 3 + chance.below(9);
  }

  #ms(): number {
    const { next } = { next: () => this.#chance.next() };
    return this.#distinct
      ? Math.round(next() * 20_000) / 1_000 + 0.0005
      : this.#chance.pick(SPANS);
  }

  #name(kind: string): string {
    const name = `${kind}${++this.#names}`;
    this.targets.push(name);
    return name;
  }

  body(depth: number, siblings = 0, most = 3): Body {
    const nodes: Node[] = [];
    const length = 1 + this.#chance.below(most);
    for (let n = 0; n < length && this.#left > 0; n++) {
      nodes.push(this.#node(depth, siblings));
    }
    return nodes;
  }

  #node(depth: number, siblings: number): Node {
    this.#left--;
    const chance = this.#chance;
    if (depth >= 5 || chance.maybe(depth === 0 ? 0.15 : 0.45)) {
      return this.#leaf(siblings);
    }
    return this.#block(
      chance.pick<typeof BLOCKS[number]>(
        this.#distinct ? DISTINCT_BLOCKS : BLOCKS,
      ),
      depth + 1,
      siblings,
    );
  }

  #leaf(siblings: number): Node {
    const chance = this.#chance;
    const kind = chance.pick<typeof LEAVES[number]>(
      this.#distinct ? DISTINCT_LEAVES : LEAVES,
    );
    switch (kind) {
      case "foreign":
      case "until":
        return { do: kind, promise: this.#promise() };
      case "join":
      case "shield":
        return siblings > 0
          ? { do: kind, sibling: chance.below(siblings) }
          : { do: "never" };
      case "act":
        return this.#act();
      case "sleep":
        return { do: "sleep", ms: this.#ms() };
      default:
        return { do: kind };
    }
  }

  #act(): Act {
    const chance = this.#chance;
    // The name of something that comes later is as likely: it is resolved at the end.
    const target = `?${chance.below(1_000)}`;
    return { do: "act", target, how: chance.maybe(0.8) ? "cancel" : "abort" };
  }

  #promise(): Foreign {
    const chance = this.#chance;
    const unit = this.#foreign
      ? chance.pick(["hops", "ms", "ms"] as const)
      : chance.pick(["hops", "hops", "macrotask"] as const);
    const answers = chance.pick(
      ["nothing", "nothing", "reason", "cause"] as const,
    );
    return {
      after: unit === "hops" ? chance.below(8) : 1 + chance.below(12),
      unit,
      answers,
    };
  }

  #block(
    kind: typeof BLOCKS[number],
    depth: number,
    siblings: number,
  ): Node {
    const chance = this.#chance;
    const inside = (most = 3) => this.body(depth, siblings, most);
    const signal = !this.#distinct && chance.maybe(0.15);
    switch (kind) {
      case "scope":
        return {
          do: kind,
          name: this.#name("scope"),
          shield: chance.maybe(0.4),
          body: inside(),
          signal,
        };
      case "group":
        return this.#group(depth, signal);
      case "gather":
        return {
          do: kind,
          name: this.#name("gather"),
          keep: chance.maybe(0.5),
          children: this.#children(depth, `gather${this.#names}`),
        };
      case "wait":
        return {
          do: kind,
          name: this.#name("wait"),
          first: chance.maybe(0.5),
          children: this.#children(depth, `wait${this.#names}`),
        };
      case "catch":
        return {
          do: kind,
          body: inside(2),
          then: chance.pick(
            ["swallow", "swallow", "rethrow", "uncancel"] as const,
          ),
          cleanup: chance.maybe(0.5) ? inside(1) : [],
        };
      case "finally":
        return { do: kind, body: inside(2), cleanup: inside(1) };
      case "scoped":
        return {
          do: kind,
          disposal: chance.maybe(0.8) ? "async" : "sync",
          ms: chance.pick(SPANS),
          fails: chance.maybe(0.1),
          body: inside(2),
        };
      case "call":
        return { do: kind, body: inside(2) };
      case "all":
        return { do: kind, bodies: [inside(2), inside(2)] };
      case "each":
        return this.#each();
      case "untilBody":
        return { do: kind, body: this.#simple(2) };
      case "lock":
      case "semaphore":
        return this.#held(kind, depth, siblings);
      default:
        return {
          do: kind,
          name: this.#name(kind),
          ms: this.#ms(),
          body: inside(),
          signal,
        };
    }
  }

  #each(): Node {
    return {
      do: "each",
      source: this.#chance.pick(
        ["array", "generator", "generator", "queue", "channel", "reader"],
      ),
      body: this.#simple(1),
    };
  }

  /** What waits for nothing but the loop, and opens nothing. */
  #simple(length: number): Body {
    const chance = this.#chance;
    return Array.from({ length }, (): Node => {
      const kind = chance.pick(["sleep", "sleep", "get", "foreign"] as const);
      return kind === "sleep"
        ? { do: kind, ms: this.#ms() }
        : kind === "foreign"
        ? { do: kind, promise: this.#promise() }
        : { do: kind };
    });
  }

  #held(kind: "lock" | "semaphore", depth: number, siblings: number): Node {
    if (this.#holding) return { do: "sleep", ms: this.#ms() };
    this.#holding = true;
    const body = this.body(Math.max(depth, 4), siblings, 2)
      .filter((node) => node.do !== "join" && node.do !== "condition");
    this.#holding = false;
    return { do: kind, body };
  }

  #group(depth: number, signal: boolean): Node {
    const name = this.#name("group");
    const limit = this.#chance.maybe(0.2)
      ? 1 + this.#chance.below(2)
      : Infinity;
    // A task that waits for its sibling keeps its slot, which that one may need.
    const children = this.#children(depth, name, limit === Infinity);
    return {
      do: "group",
      name,
      limit,
      body: this.#chance.maybe(0.25) ? [] : this.body(depth, children.length),
      children,
      signal,
    };
  }

  #children(
    depth: number,
    name: string,
    know = false,
  ): Body[] {
    return Array.from({ length: 1 + this.#chance.below(3) }, (_, index) => {
      this.targets.push(`${name}.${index}`);
      return this.body(depth, know ? index : 0, 2);
    });
  }
}

/** Makes the tree of a seed. */
export function treeOf(seed: number): Tree {
  const chance = new Chance(seed);
  const distinct = seed % 5 === 0;
  const writer = new Writer(chance, distinct);
  const body = writer.body(0);
  const { targets } = writer;
  const acts: TimedAct[] = [];
  for (let n = chance.below(4); n > 0; n--) {
    acts.push({
      do: "act",
      target: chance.pick(targets),
      how: distinct || chance.maybe(0.8) ? "cancel" : "abort",
      atMs: distinct
        ? Math.round(chance.next() * 25_000) / 1_000 + 0.0002
        : chance.below(9),
      turns: distinct ? 0 : chance.below(4),
      hops: distinct || chance.maybe(0.5) ? 0 : chance.below(8),
    });
  }
  const styles = chance.below(0x40000000);
  return { body: resolve(body, targets), acts, styles, distinct };
}

/** Gives acts in the code their targets, once all are known. */
function resolve(body: Body, targets: readonly string[]): Body {
  return rewrite(body, (node) => {
    if (node.do !== "act" || !node.target.startsWith("?")) return node;
    const number = Number(node.target.slice(1));
    return { ...node, target: targets[number % targets.length]! };
  });
}
