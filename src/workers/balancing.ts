/**
 * Strategies of a load balancer: which of its members gets the next job.
 *
 * @module
 */
import { Heap } from "../structures/heap.ts";
import { HashRing } from "../structures/hash_ring.ts";
import type { SeededRandom } from "../structures/random.ts";

/**
 * Rule by which a {@linkcode LoadBalancer} chooses the member for a job: see
 * {@linkcode LoadBalancerOptions.strategy}.
 */
export type BalancingStrategy =
  | "round-robin"
  | "least-pending"
  | "least-busy"
  | "power-of-two"
  | "weighted"
  | "hash";

/** All strategies. */
export const BALANCING_STRATEGIES: readonly BalancingStrategy[] = [
  "round-robin",
  "least-pending",
  "least-busy",
  "power-of-two",
  "weighted",
  "hash",
];

/** A member, as strategies see it. */
export interface Candidate {
  readonly name: string;
  /** Share in the jobs, beside those of others. */
  readonly weight: number;
  /** How many jobs it has, in line and running. */
  readonly pending: number;
  /** Average time that a job runs there. */
  averageMs(nowMs: number): number;
  /** Part of its weight that counts: it grows to 1 while the member is new. */
  share(nowMs: number): number;
  /** Whether it takes a job now. */
  accepts(nowMs: number): boolean;
}

/** Facts about a job that strategies go by. */
export interface Placing<M> {
  readonly key: string | number | undefined;
  /** Member that is not to get it if there is any other; null for none. */
  readonly avoided: M | null;
}

/**
 * A strategy, and the members among which it chooses.
 *
 * A member is *enlisted* from when it is added until it is drained or removed,
 * and has *joined* as long as it also takes jobs.
 */
export abstract class Balancing<M extends Candidate> {
  /** How many members have joined. */
  abstract readonly size: number;

  /** Takes note of a new member. */
  enlist(_member: M): void {}

  /** Takes note that a member leaves for good. */
  strike(_member: M): void {}

  /** A member takes jobs from now on. */
  abstract join(member: M, nowMs: number): void;

  /** A member takes no jobs from now on. */
  abstract leave(member: M): void;

  /** Whether all jobs with a key go where the key belongs. */
  get bindsKeys(): boolean {
    return false;
  }

  /** Returns the member for a job. At least one must have joined. */
  abstract choose(job: Placing<M>, nowMs: number): M;
}

/** Load that a member would have with one more job. */
function loadOf(member: Candidate, nowMs: number): number {
  return (member.pending + 1) / (member.weight * member.share(nowMs));
}

/** Members that have joined, in an array that has no holes. */
abstract class ListBalancing<M extends Candidate> extends Balancing<M> {
  protected readonly members: M[] = [];
  readonly #places = new Map<M, number>();

  get size(): number {
    return this.members.length;
  }

  join(member: M): void {
    this.#places.set(member, this.members.length);
    this.members.push(member);
  }

  leave(member: M): void {
    const place = this.#places.get(member);
    if (place === undefined) return;
    this.#places.delete(member);
    const last = this.members.pop()!;
    if (last === member) return;
    this.members[place] = last;
    this.#places.set(last, place);
  }
}

/** The less loaded of two members that chance draws. */
class PowerOfTwo<M extends Candidate> extends ListBalancing<M> {
  readonly #random: SeededRandom;

  constructor(random: SeededRandom) {
    super();
    this.#random = random;
  }

  choose({ avoided }: Placing<M>, nowMs: number): M {
    const { members } = this;
    const { length } = members;
    if (length === 1) return members[0]!;
    const drawn = this.#random.nextInt(length);
    let other = this.#random.nextInt(length - 1);
    if (other >= drawn) other++;
    const first = members[drawn]!;
    const second = members[other]!;
    if (first === avoided) return second;
    if (second === avoided) return first;
    return loadOf(second, nowMs) < loadOf(first, nowMs) ? second : first;
  }
}

/** The member with the least cost of all; takes time in proportion to their number. */
class LeastOf<M extends Candidate> extends ListBalancing<M> {
  readonly #costOf: (member: M, nowMs: number) => number;
  /** Where the search begins, so that equals take turns. */
  #start = 0;

  constructor(costOf: (member: M, nowMs: number) => number) {
    super();
    this.#costOf = costOf;
  }

  choose({ avoided }: Placing<M>, nowMs: number): M {
    const { members } = this;
    const { length } = members;
    const start = this.#start++ % length;
    let best: M | null = null;
    let least = Infinity;
    for (let step = 0; step < length; step++) {
      const at = start + step;
      const member = members[at < length ? at : at - length]!;
      if (member === avoided && length > 1) continue;
      const cost = this.#costOf(member, nowMs);
      if (best !== null && cost >= least) continue;
      best = member;
      least = cost;
    }
    return best!;
  }
}

/** A member and the moment of its next turn, on a clock that jumps from turn to turn. */
interface Turn<M> {
  readonly member: M;
  dueAt: number;
  /** Number of its place among turns at the same moment. */
  order: number;
}

/** The heap may hold so many turns of members that have left, and as many as there are others. */
const GONE_MAX = 64;

/**
 * Members in turn: each has its next turn the sooner the greater its weight is.
 * With equal weights that is plain round-robin. O(log n).
 */
class TakingTurns<M extends Candidate> extends Balancing<M> {
  readonly #turns = new Map<M, Turn<M>>();
  /** The same turns, and those of members that have left. */
  readonly #queue = new Heap<Turn<M>>((a, b) =>
    a.dueAt === b.dueAt ? a.order < b.order : a.dueAt < b.dueAt
  );
  readonly #weightOf: (member: M) => number;
  #clock = 0;
  #orders = 0;

  constructor(weightOf: (member: M) => number) {
    super();
    this.#weightOf = weightOf;
  }

  get size(): number {
    return this.#turns.size;
  }

  join(member: M, nowMs: number): void {
    const turn = { member, dueAt: this.#clock, order: 0 };
    this.#turns.set(member, turn);
    this.#putOff(turn, nowMs);
  }

  leave(member: M): void {
    if (!this.#turns.delete(member)) return;
    if (this.#queue.length <= 2 * this.#turns.size + GONE_MAX) return;
    this.#queue.clear();
    for (const turn of this.#turns.values()) this.#queue.push(turn);
  }

  choose({ avoided }: Placing<M>, nowMs: number): M {
    let turn = this.#next();
    if (turn.member === avoided && this.#turns.size > 1) {
      const kept = turn;
      turn = this.#next();
      this.#queue.push(kept);
    }
    this.#clock = Math.max(this.#clock, turn.dueAt);
    this.#putOff(turn, nowMs);
    return turn.member;
  }

  #next(): Turn<M> {
    for (;;) {
      const turn = this.#queue.pop()!;
      if (this.#turns.get(turn.member) === turn) return turn;
    }
  }

  #putOff(turn: Turn<M>, nowMs: number): void {
    const { member } = turn;
    turn.dueAt += 1 / (this.#weightOf(member) * member.share(nowMs));
    turn.order = this.#orders++;
    this.#queue.push(turn);
  }
}

/** Members by the key of the job; jobs without a key go by another strategy. */
class ByKey<M extends Candidate> extends Balancing<M> {
  readonly #ring = new HashRing<M>();
  readonly #others: Balancing<M>;

  constructor(others: Balancing<M>) {
    super();
    this.#others = others;
  }

  get size(): number {
    return this.#others.size;
  }

  override get bindsKeys(): boolean {
    return true;
  }

  override enlist(member: M): void {
    this.#ring.add(member, member.name, member.weight);
  }

  override strike(member: M): void {
    this.#ring.remove(member);
  }

  join(member: M, nowMs: number): void {
    this.#others.join(member, nowMs);
  }

  leave(member: M): void {
    this.#others.leave(member);
  }

  choose(job: Placing<M>, nowMs: number): M {
    const { key, avoided } = job;
    if (key === undefined) return this.#others.choose(job, nowMs);
    const ring = this.#ring;
    return ring.find(
      key,
      (member, chance) =>
        member !== avoided && member.accepts(nowMs) &&
        chance < member.share(nowMs),
    ) ??
      ring.find(key, (member) => member !== avoided && member.accepts(nowMs)) ??
      this.#others.choose(job, nowMs);
  }
}

/** Makes a strategy without members. */
export function makeBalancing<M extends Candidate>(
  strategy: BalancingStrategy,
  random: SeededRandom,
): Balancing<M> {
  switch (strategy) {
    case "round-robin":
      return new TakingTurns<M>(() => 1);
    case "weighted":
      return new TakingTurns<M>(({ weight }) => weight);
    case "least-pending":
      return new LeastOf<M>(loadOf);
    case "least-busy":
      return new LeastOf<M>((member, nowMs) =>
        loadOf(member, nowMs) * member.averageMs(nowMs)
      );
    case "power-of-two":
      return new PowerOfTwo<M>(random);
    case "hash":
      return new ByKey<M>(new PowerOfTwo<M>(random));
  }
}
