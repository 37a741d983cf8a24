/**
 * Health of the members of a load balancer: which are ejected, as they crash or
 * are far slower than the others, and when they are tried again.
 *
 * @module
 */
import type { DecayingMean } from "../structures/decaying_mean.ts";
import { Heap } from "../structures/heap.ts";
import { LinkedList, type ListNode } from "../structures/linked_list.ts";
import type { EjectionSettings } from "./balancer_options.ts";

/** How often run times are compared at most. */
const SWEEP_MS = 1_000;
/** How many members that are due are looked at for a job. */
const LOOKS_MAX = 4;

/** A member, as its health is concerned. */
export interface Watched<M> {
  readonly health: Health<M>;
  readonly runMs: DecayingMean;
  /** Whether it may have a job that shows whether it is well again. */
  mayBeProbed(nowMs: number): boolean;
}

/**
 * Health of one member. `isEjected` leads: the member's `standing` follows it, in
 * the calls of {@linkcode EjectionTarget}, and may also say that it has left.
 */
export class Health<M> implements ListNode<Health<M>> {
  /** List of those that may be tried by now. */
  list: LinkedList<Health<M>> | undefined = undefined;
  nextNode: Health<M> | undefined = undefined;
  previousNode: Health<M> | undefined = undefined;
  readonly member: M;
  /** Crashes since a job last ended otherwise. */
  crashes = 0;
  /** How often it was ejected. */
  ejections = 0;
  isEjected = false;
  /** Moment from which on it may be tried again; Infinity unless it is ejected. */
  probeAtMs = Infinity;
  /** How long the last ejection took, and when it ended. */
  backoffMs = 0;
  readySinceMs = -Infinity;

  constructor(member: M) {
    this.member = member;
  }
}

/** A moment at which a member may be tried, unless that has changed since. */
interface ProbeTime<M> {
  readonly member: M;
  readonly atMs: number;
}

/** The balancer, as it carries out what is decided here. */
export interface EjectionTarget<M> {
  /** Members that are neither drained nor removed. */
  readonly watched: ReadonlySet<M>;
  /** The member gets no more jobs, and those in its line go elsewhere. */
  ejected(member: M): void;
  /** The member gets jobs again. */
  reinstated(member: M): void;
}

/**
 * The ejected members, and the rules by which they come and go.
 *
 *     well ──eject──▶ ejected, in #times ──probeAtMs──▶ in #due ──probing──▶ has a job
 *      ▲                  ▲                               ▲                     │ probed
 *      │                  └───────── too slow, crash ─────┼─────────────────────┤
 *      │                                                  └── says nothing ─────┤
 *      └──────────────────────────── well ──────────────────────────────────────┘
 *
 * `probeAtMs` of a member's health is the moment that counts. `#times` is only its
 * index: an entry that differs from it is void, and dropped when it comes up, so
 * nothing has to be taken out of the middle of a heap. `#due` holds the members
 * whose moment has passed and that have no job yet.
 */
export class Outliers<M extends Watched<M>> {
  readonly #rules: EjectionSettings;
  readonly #target: EjectionTarget<M>;
  readonly #ejected = new Set<M>();
  /** When members are to be tried; some entries have become void. */
  readonly #times = new Heap<ProbeTime<M>>((a, b) => a.atMs < b.atMs);
  /** Members that may be tried by now. */
  readonly #due: LinkedList<Health<M>> = new LinkedList();
  #nextSweepMs = -Infinity;

  constructor(rules: EjectionSettings, target: EjectionTarget<M>) {
    this.#rules = rules;
    this.#target = target;
  }

  /** How many members are ejected. */
  get count(): number {
    return this.#ejected.size;
  }

  /** Returns the moment at which the next member may be tried: Infinity if none will, and if one may be already. */
  nextProbeMs(): number {
    return this.#peek()?.atMs ?? Infinity;
  }

  /** A job has ended otherwise than by a crash. Compares run times, now and then. */
  noteRun(member: M, nowMs: number): void {
    member.health.crashes = 0;
    if (this.#rules.slowFactor === Infinity || nowMs < this.#nextSweepMs) {
      return;
    }
    this.#nextSweepMs = nowMs + SWEEP_MS;
    this.#sweep(nowMs);
  }

  /** A worker of a member has died under a job, or could not be started. */
  noteCrash(member: M, nowMs: number): void {
    const { health } = member;
    health.crashes++;
    if (health.isEjected || health.crashes < this.#rules.crashesMax) return;
    // A member that has left may still crash under its last jobs.
    if (this.#target.watched.has(member) && this.#mayEject()) {
      this.#eject(member, nowMs);
    }
  }

  /** Returns an ejected member that may be tried now, other than `avoided`. */
  findDue(nowMs: number, avoided: M | null): M | undefined {
    if (this.#ejected.size === 0) return undefined;
    for (let next = this.#peek(); next !== undefined; next = this.#peek()) {
      if (next.atMs > nowMs) break;
      this.#times.pop();
      this.#noteDue(next.member);
    }
    const due = this.#due;
    for (let looks = Math.min(LOOKS_MAX, due.length); looks > 0; looks--) {
      const health = due.first!;
      const { member } = health;
      if (member !== avoided && member.mayBeProbed(nowMs)) return member;
      // Others are looked at next time.
      due.remove(health);
      due.append(health);
    }
    return undefined;
  }

  /** An ejected member has got a job. */
  probing(member: M): void {
    this.#due.remove(member.health);
  }

  #noteDue({ health }: M): void {
    if (health.list === undefined) this.#due.append(health);
  }

  /** The job of an ejected member has ended; `runMs` is NaN if that says nothing, Infinity after a crash. */
  probed(member: M, runMs: number, nowMs: number): void {
    if (!member.health.isEjected) return;
    if (Number.isNaN(runMs)) this.#noteDue(member);
    else if (this.#isSlow(runMs, this.#medianWithout(member, nowMs))) {
      this.#putOff(member, nowMs);
    } else this.#reinstate(member, nowMs);
  }

  /** A member is drained or has been removed: its health is of no concern any more. */
  forget(member: M, nowMs: number): void {
    this.#ejected.delete(member);
    this.#due.remove(member.health);
    member.health.isEjected = false;
    // Half of fewer members may be fewer.
    while (2 * this.#ejected.size > this.#target.watched.size) {
      for (const first of this.#ejected) {
        this.#reinstate(first, nowMs);
        break;
      }
    }
  }

  /** Reinstates all members: their times belong to the clock of another loop. */
  pardonAll(nowMs: number): void {
    this.#nextSweepMs = -Infinity;
    for (const member of [...this.#ejected]) this.#reinstate(member, nowMs);
    for (const { health } of this.#target.watched) {
      health.readySinceMs = -Infinity;
    }
  }

  #peek(): ProbeTime<M> | undefined {
    for (;;) {
      const first = this.#times.peek();
      if (first === undefined) return undefined;
      const { health } = first.member;
      if (health.isEjected && health.probeAtMs === first.atMs) return first;
      this.#times.pop();
    }
  }

  #mayEject(): boolean {
    return 2 * (this.#ejected.size + 1) <= this.#target.watched.size;
  }

  #eject(member: M, nowMs: number): void {
    const { health } = member;
    // A member that has been well for long begins anew.
    if (nowMs - health.readySinceMs > 2 * health.backoffMs) {
      health.backoffMs = 0;
    }
    health.isEjected = true;
    this.#ejected.add(member);
    this.#putOff(member, nowMs);
    this.#target.ejected(member);
  }

  #putOff(member: M, nowMs: number): void {
    const { health } = member;
    const { backoffMs, backoffMaxMs } = this.#rules;
    health.ejections++;
    health.backoffMs = health.backoffMs === 0
      ? backoffMs
      : Math.min(2 * health.backoffMs, backoffMaxMs);
    health.probeAtMs = nowMs + health.backoffMs;
    this.#due.remove(member.health);
    this.#times.push({ member, atMs: health.probeAtMs });
  }

  #reinstate(member: M, nowMs: number): void {
    const { health } = member;
    this.#ejected.delete(member);
    this.#due.remove(member.health);
    health.isEjected = false;
    health.crashes = 0;
    health.probeAtMs = Infinity;
    health.readySinceMs = nowMs;
    member.runMs.clear();
    this.#target.reinstated(member);
  }

  /** Ejects members whose run time is far above the median of the others, the slowest first. */
  #sweep(nowMs: number): void {
    const measured = this.#measured(nowMs);
    for (let last = measured.length - 1; last > 0; last--) {
      const member = measured[last]!;
      const median = medianOf(measured, last);
      if (!this.#isSlow(member.runMs.value, median) || !this.#mayEject()) {
        return;
      }
      this.#eject(member, nowMs);
    }
  }

  #isSlow(runMs: number, medianMs: number): boolean {
    if (runMs === Infinity) return true;
    const { slowFactor, slowMinMs } = this.#rules;
    return runMs > slowMinMs && runMs > slowFactor * medianMs;
  }

  #medianWithout(member: M, nowMs: number): number {
    const others = this.#measured(nowMs).filter((one) => one !== member);
    return medianOf(others, others.length);
  }

  /** Members that take jobs and have run enough of them, the fastest first. */
  #measured(nowMs: number): M[] {
    const { samplesMin } = this.#rules;
    return [...this.#target.watched].filter((member) =>
      !member.health.isEjected && member.runMs.count(nowMs) >= samplesMin
    ).sort((a, b) => a.runMs.value - b.runMs.value);
  }
}

/** Median run time of the first `length` of sorted members; NaN if there are none. */
function medianOf<M extends Watched<M>>(
  sorted: readonly M[],
  length: number,
): number {
  if (length === 0) return NaN;
  const upper = sorted[length >> 1]!.runMs.value;
  return length % 2 === 1
    ? upper
    : (upper + sorted[(length >> 1) - 1]!.runMs.value) / 2;
}
