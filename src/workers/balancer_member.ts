/**
 * Member of a load balancer: its line of jobs, what runs there, and its health.
 *
 * @module
 */
import { ClaimQueue } from "../schedule/claim_queue.ts";
import { DecayingMean } from "../structures/decaying_mean.ts";
import type { LinkedList, ListNode } from "../structures/linked_list.ts";
import { WaitQueue } from "../sync/wait_queue.ts";
import type { AnyBalancerJob } from "./balancer_job.ts";
import type { MemberState, MemberStats } from "./balancer_options.ts";
import type { Candidate } from "./balancing.ts";
import type { Executor } from "./executor.ts";
import { Health } from "./outliers.ts";
import { IdlePlace } from "./steal_board.ts";

/** Share of a new member at first. */
const SHARE_MIN = 0.1;

/** Standing of a member: whether it gets jobs, and whether it still is one. */
type Standing = "open" | "ejected" | "draining" | "removed";

/** Average run time of the jobs of all members, for those that have none of their own. */
interface CommonAverage {
  readonly runMs: DecayingMean;
}

/** Rules that are the same for all members of a balancer. */
interface MemberRules {
  readonly slowStartMs: number;
  readonly averageMs: number;
}

/** An executor in a balancer. */
export class Member implements Candidate, ListNode<Member> {
  /** List of the members whose lines are as long: see `StealBoard`. */
  list: LinkedList<Member> | undefined = undefined;
  nextNode: Member | undefined = undefined;
  previousNode: Member | undefined = undefined;

  readonly idlePlace: IdlePlace = new IdlePlace(this);
  readonly executor: Executor;
  readonly name: string;
  readonly weight: number;
  standing: Standing = "open";
  readonly health: Health<Member> = new Health(this);
  /** Job that shows whether the member is well again. */
  probe: AnyBalancerJob | null = null;
  /** Jobs in line that any other member may take. */
  readonly free: ClaimQueue = new ClaimQueue();
  /** Jobs in line that belong here by their key. */
  readonly bound: ClaimQueue = new ClaimQueue();
  running = 0;
  done = 0;
  failed = 0;
  cancelled = 0;
  crashed = 0;
  stolen = 0;
  readonly runMs: DecayingMean;
  /** Capacity when it was last asked for. */
  capacityKnown = 0;
  /** Moment at which its slow start began; -Infinity for none. */
  startedMs = -Infinity;
  readonly #slowStartMs: number;
  readonly #common: CommonAverage;
  readonly #idle: WaitQueue = new WaitQueue("LoadBalancer.drain()", this);

  constructor(
    executor: Executor,
    name: string,
    weight: number,
    rules: MemberRules,
    common: CommonAverage,
  ) {
    this.executor = executor;
    this.name = name;
    this.weight = weight;
    this.#slowStartMs = rules.slowStartMs;
    this.#common = common;
    this.runMs = new DecayingMean(rules.averageMs);
  }

  /** How many jobs are in its line. */
  get queued(): number {
    return this.free.length + this.bound.length;
  }

  get pending(): number {
    return this.queued + this.running;
  }

  averageMs(nowMs: number): number {
    const common = this.#common.runMs.value;
    return this.runMs.valueWith(Number.isNaN(common) ? 1 : common, nowMs);
  }

  share(nowMs: number): number {
    const ageMs = nowMs - this.startedMs;
    if (ageMs >= this.#slowStartMs) return 1;
    return Math.max(SHARE_MIN, ageMs / this.#slowStartMs);
  }

  accepts(nowMs: number): boolean {
    if (this.standing === "open") return true;
    return this.standing === "ejected" && this.mayBeProbed(nowMs);
  }

  /** Whether an ejected member may have a job that shows whether it is well again. */
  mayBeProbed(nowMs: number): boolean {
    return this.probe === null && nowMs >= this.health.probeAtMs &&
      this.hasRoom();
  }

  /** Whether it may be given another job. A member that says it can do nothing still gets one: it has a line, too. */
  hasRoom(): boolean {
    return this.running < Math.max(1, this.capacityKnown);
  }

  /** Whether it has room for a job of another member's line. */
  isIdle(nowMs: number): boolean {
    if (this.standing !== "open" || this.queued > 0) return false;
    const share = this.share(nowMs);
    return this.running <
      (share === 1
        ? Math.max(1, this.capacityKnown)
        : Math.max(1, Math.floor(this.capacityKnown * share)));
  }

  /** Returns the job that is to be begun next: the first of the highest priority. */
  next(): AnyBalancerJob | undefined {
    const free = this.free.peek() as AnyBalancerJob | undefined;
    if (this.bound.length === 0) return free;
    const bound = this.bound.peek() as AnyBalancerJob;
    if (free === undefined || bound.rank > free.rank) return bound;
    return free.rank > bound.rank || free.arrival < bound.arrival
      ? free
      : bound;
  }

  /** All jobs in line, in the order in which they would begin, bound ones first. */
  listQueued(): AnyBalancerJob[] {
    return [...this.bound, ...this.free] as AnyBalancerJob[];
  }

  /** Line of the waits until it has no job. */
  get idleLine(): WaitQueue {
    return this.#idle;
  }

  #stateName(nowMs: number): MemberState {
    if (this.standing === "ejected") {
      return this.probe === null ? "ejected" : "probing";
    }
    if (this.standing !== "open") return "draining";
    return this.share(nowMs) < 1 ? "warming" : "ready";
  }

  stats(nowMs: number): MemberStats {
    const { executor, name, weight, queued, running, health } = this;
    const { done, failed, cancelled, crashed, stolen } = this;
    return Object.freeze({
      executor,
      name,
      weight,
      state: this.#stateName(nowMs),
      queued,
      running,
      done,
      failed,
      cancelled,
      crashed,
      stolen,
      averageRunMs: this.runMs.value,
      ejections: health.ejections,
    });
  }
}
