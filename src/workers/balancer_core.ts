/**
 * Heart of a load balancer: its members, and which of them gets a job.
 *
 * Events change lines and counts first and then call `dispatch`, which hands jobs
 * out until nobody with room is left that could get one.
 *
 * @module
 */
import { type CancelledError, OverloadError } from "../errors.ts";
import { cancellation } from "../loop/cancellation.ts";
import { findLoop } from "../loop/current.ts";
import type { EventLoop } from "../loop/event_loop.ts";
import type { TimerHandle } from "../loop/timer_handle.ts";
import { SeededRandom } from "../structures/random.ts";
import { WaitQueue } from "../sync/wait_queue.ts";
import type { AnyBalancerJob, JobKeeper, Run } from "./balancer_job.ts";
import { BalancerLines } from "./balancer_lines.ts";
import { Member } from "./balancer_member.ts";
import type { BalancerSettings } from "./balancer_options.ts";
import { BalancerRuns, type RunHost } from "./balancer_runs.ts";
import { type Balancing, makeBalancing } from "./balancing.ts";
import { CapacitySum } from "./capacity_sum.ts";
import type { Executor } from "./executor.ts";
import { type EjectionTarget, Outliers } from "./outliers.ts";
import { type JobEnd, PoolCounts } from "./pool_stats.ts";
import { type KeptJobs, PoolUse } from "./pool_use.ts";
import { StealBoard } from "./steal_board.ts";

/** Members, lines and counts of a balancer. */
export class BalancerCore
  implements JobKeeper, KeptJobs, RunHost, EjectionTarget<Member> {
  readonly settings: BalancerSettings;
  /** All members, those included that are being drained. */
  readonly members: Map<Executor, Member> = new Map();
  readonly named: Map<string, Member> = new Map();
  /** Members that are neither being drained nor removed. */
  readonly watched: Set<Member> = new Set();
  readonly counts: PoolCounts = new PoolCounts();
  readonly capacity: CapacitySum = new CapacitySum();
  readonly lines: BalancerLines;
  readonly runs: BalancerRuns;
  /** Line of the waits until no job is left. */
  readonly idle: WaitQueue = new WaitQueue("LoadBalancer.shutdown()", this);
  /** `"closed"` if no jobs are taken any more, `"cancelling"` if none is begun any more either. */
  phase: "open" | "closed" | "cancelling" = "open";
  readonly #balancing: Balancing<Member>;
  readonly #outliers: Outliers<Member>;
  readonly #board: StealBoard = new StealBoard();
  readonly #use: PoolUse;
  /** Members whose first job in line may be begun. */
  readonly #ready = new Set<Member>();
  #probeTimer: TimerHandle | null = null;
  #isDispatching = false;
  /** Whether a turn of the loop is to hand jobs out. */
  #isDispatchDue = false;

  constructor(settings: BalancerSettings) {
    this.settings = settings;
    const random = new SeededRandom(settings.seed);
    this.#balancing = makeBalancing<Member>(settings.strategy, random);
    this.#outliers = new Outliers<Member>(settings.ejection, this);
    this.lines = new BalancerLines(this.#board);
    this.runs = new BalancerRuns(this, this.#outliers);
    this.#use = new PoolUse(this, this.inWords, "with members");
  }

  /** Whether no job is left. */
  get isIdle(): boolean {
    return this.#use.open === 0 && this.runs.size === 0;
  }

  get isCancelling(): boolean {
    return this.phase === "cancelling";
  }

  /** Name of the balancer in messages. */
  get inWords(): string {
    const { name } = this.settings;
    return name === "" ? "a load balancer" : `load balancer "${name}"`;
  }

  /** Time of the loop; 0 before there is one. */
  nowMs(): number {
    return this.#use.loop?.time() ?? 0;
  }

  /** Binds the balancer to `loop`; throws if it is in use on another one. */
  bind(loop: EventLoop): void {
    if (this.#use.loop === loop) return;
    this.#use.bind(loop);
    this.#probeTimer = null;
    this.#isDispatchDue = false;
    // Everything that was measured belongs to another clock.
    this.runs.runMs.clear();
    for (const member of this.members.values()) {
      member.startedMs = -Infinity;
      member.runMs.clear();
    }
    this.#outliers.pardonAll(loop.time());
  }

  // -- Members --

  /** Adds a member. */
  add(executor: Executor, name: string, weight: number): void {
    const member = new Member(executor, name, weight, this.settings, this.runs);
    const { loop } = this.#use;
    const nowMs = this.nowMs();
    if (loop !== null) member.startedMs = nowMs;
    this.members.set(executor, member);
    this.named.set(name, member);
    this.watched.add(member);
    this.capacity.watch(member);
    this.#balancing.enlist(member);
    this.#balancing.join(member, nowMs);
    this.#board.update(member, nowMs);
    if (loop === null || loop.isClosed()) return;
    // Members that are added together share the jobs that have waited for them.
    if (this.lines.hasUnplaced) this.#dispatchSoon(loop);
    else this.dispatch();
  }

  /** Has a member get no more jobs. Jobs that it has, in line or running, stay. */
  drain(member: Member): void {
    if (!this.watched.has(member)) return;
    this.#retire(member, "draining");
    this.#board.update(member, this.nowMs());
    this.dispatch();
  }

  /** Removes a member. Jobs in its line go to others; those that it has begun go on. */
  remove(member: Member): void {
    this.lost(member);
    this.dispatch();
  }

  lost(member: Member): void {
    if (member.standing === "removed") return;
    this.members.delete(member.executor);
    this.named.delete(member.name);
    if (this.watched.has(member)) this.#retire(member, "removed");
    member.standing = "removed";
    this.#moveLine(member);
    this.#board.forget(member);
    this.#ready.delete(member);
    this.#wakeIfIdle(member);
  }

  #retire(member: Member, standing: "draining" | "removed"): void {
    member.standing = standing;
    member.probe = null;
    this.watched.delete(member);
    this.capacity.unwatch(member);
    this.#balancing.leave(member);
    this.#balancing.strike(member);
    this.#outliers.forget(member, this.nowMs());
  }

  /** Moves the jobs in the line of a member to others. */
  #moveLine(member: Member): void {
    const nowMs = this.nowMs();
    const jobs = member.listQueued();
    for (const job of jobs) this.lines.take(job, nowMs);
    for (const job of jobs) this.place(job);
  }

  ejected(member: Member): void {
    member.standing = "ejected";
    this.#balancing.leave(member);
    this.#moveLine(member);
    this.#board.update(member, this.nowMs());
  }

  reinstated(member: Member): void {
    const nowMs = this.nowMs();
    member.standing = "open";
    member.probe = null;
    member.startedMs = nowMs;
    this.#balancing.join(member, nowMs);
    this.#board.update(member, nowMs);
  }

  #wakeIfIdle(member: Member): void {
    if (member.pending === 0) member.idleLine.wakeAll();
  }

  // -- Lines --

  /** Takes a new job. Throws, or drops a job, if there is no room for it. */
  admit(job: AnyBalancerJob): void {
    const nowMs = job.submittedMs;
    const { lines, settings } = this;
    const member = lines.hasDoor ? null : this.#pick(job, nowMs);
    const hasPlace = !lines.hasDoor && this.#hasPlace(job, member, nowMs);
    if (!hasPlace && settings.overload === "reject") {
      throw this.#overloaded("submit a job");
    }
    this.#use.jobCame();
    if (hasPlace) this.#enqueue(job, member, nowMs);
    else if (settings.overload === "block") lines.appendToDoor(job);
    else this.#makeRoom(job, member, nowMs);
    this.dispatch();
    if (job.list !== undefined) job.watchDeadline();
  }

  /** Counts a job whose signal has aborted before it could be admitted. */
  turnAway(): void {
    this.#use.jobCame();
  }

  /** Whether a job may join the line of a member, or would not be in line at all. */
  #hasPlace(
    job: AnyBalancerJob,
    member: Member | null,
    nowMs: number,
  ): boolean {
    if (this.lines.placed < this.settings.highWaterMark) return true;
    if (member === null) return false;
    return member.queued === 0 && member.hasRoom() ||
      !this.#isBound(job) && this.#findThief(job, nowMs) !== undefined;
  }

  /** Drops a job, which may be the new one, so that there is room for the other. */
  #makeRoom(
    job: AnyBalancerJob,
    member: Member | null,
    nowMs: number,
  ): void {
    const which = this.settings.overload === "drop-oldest"
      ? "oldest"
      : "newest";
    const lowest = this.lines.findLowest(which, this.members.values());
    const isDropped = lowest === undefined || job.rank < lowest.rank ||
      which === "newest" && job.rank === lowest.rank;
    const dropped = isDropped ? job : lowest;
    if (!isDropped) {
      this.lines.take(lowest, nowMs);
      this.#enqueue(job, member, nowMs);
    }
    dropped.drop(this.#overloaded("keep a job in line"));
    this.ended("cancelled");
  }

  #overloaded(what: string): OverloadError {
    return new OverloadError(
      `Cannot ${what}: ${this.lines.placed} jobs are in line for ${this.inWords} already`,
    );
  }

  #isBound(job: AnyBalancerJob): boolean {
    return this.#balancing.bindsKeys && job.key !== undefined;
  }

  /** Returns the member for a job; null if there is none. */
  #pick(job: AnyBalancerJob, nowMs: number): Member | null {
    if (!this.#isBound(job)) {
      const due = this.#outliers.findDue(nowMs, job.avoided);
      if (due !== undefined) return due;
    }
    if (this.#balancing.size === 0) return null;
    const chosen = this.#balancing.choose(job, nowMs);
    if (job.refusers === null || !job.refusers.has(chosen)) return chosen;
    for (const member of this.watched) {
      if (member.accepts(nowMs) && !job.shuns(member)) return member;
    }
    return chosen;
  }

  #enqueue(job: AnyBalancerJob, member: Member | null, nowMs: number): void {
    this.lines.enter(job, member, this.#isBound(job), nowMs);
    if (member === null) return;
    if (member.standing === "ejected") {
      member.probe = job;
      this.#outliers.probing(member);
    }
    this.#ready.add(member);
  }

  place(job: AnyBalancerJob): void {
    const nowMs = this.nowMs();
    const member = this.#pick(job, nowMs);
    const isPointless = this.phase === "closed" && member === null;
    if (this.isCancelling || isPointless) {
      job.drop(this.#shutDown());
      this.ended("cancelled");
      return;
    }
    this.#enqueue(job, member, nowMs);
    job.watchDeadline();
  }

  withdraw(job: AnyBalancerJob): void {
    const { member } = job;
    this.lines.take(job, this.nowMs());
    if (member !== null) {
      if (member.probe === job) {
        member.probe = null;
        this.#outliers.probed(member, NaN, this.nowMs());
      }
      this.#wakeIfIdle(member);
    }
    this.unbegun();
  }

  unbegun(): void {
    this.ended("cancelled");
    this.dispatch();
  }

  /** Cancels all jobs that have not begun. */
  clear(error: CancelledError): void {
    const { members } = this;
    this.#drop(this.lines.takeAll(members.values(), this.nowMs()), error);
    for (const member of members.values()) this.#wakeIfIdle(member);
  }

  #drop(jobs: readonly AnyBalancerJob[], error: CancelledError): void {
    for (const job of jobs) {
      job.drop(error);
      this.ended("cancelled");
    }
  }

  /** After the shutdown no member comes to begin what has none. */
  #dropHopeless(): void {
    if (this.phase === "open" || this.#balancing.size > 0) return;
    this.#drop(this.lines.takeUnplaced(this.nowMs()), this.#shutDown());
  }

  #shutDown(): CancelledError {
    return cancellation(`${this.inWords} was shut down`);
  }

  // -- Handing out --

  /**
   * Hands jobs out as long as there is anybody who could get one. Outside of the
   * loop it does so in the next turn, as members take jobs for the running loop.
   */
  dispatch(): void {
    const { loop } = this.#use;
    if (this.#isDispatching || loop === null) return;
    if (findLoop() !== loop && !loop.isClosed()) {
      this.#dispatchSoon(loop);
      return;
    }
    this.#isDispatching = true;
    try {
      while (this.#handOutSome());
      this.#dropHopeless();
    } finally {
      this.#isDispatching = false;
    }
    this.#watchProbes();
    if (this.isIdle) this.idle.wakeAll();
  }

  #dispatchSoon(loop: EventLoop): void {
    if (this.#isDispatchDue) return;
    this.#isDispatchDue = true;
    loop.callSoonThreadsafe(() => {
      if (this.#use.loop !== loop) return;
      this.#isDispatchDue = false;
      this.dispatch();
    });
  }

  #handOutSome(): boolean {
    for (const member of this.#ready) {
      this.#ready.delete(member);
      this.#begin(member);
    }
    if (this.lines.length === 0) return false;
    const nowMs = this.nowMs();
    return this.#steal(nowMs) || this.#letIn(nowMs);
  }

  /** Begins jobs of a member's line while it has room. */
  #begin(member: Member): void {
    this.capacity.refresh(member);
    const nowMs = this.nowMs();
    while (member.hasRoom()) {
      const job = member.next();
      if (job === undefined) break;
      if (job.settings.deadlineMs <= nowMs) job.expire();
      else {
        this.lines.take(job, nowMs);
        this.runs.hand(member, job, nowMs);
      }
    }
    if (member.standing === "removed") return;
    this.#board.update(member, nowMs);
    this.#wakeIfIdle(member);
  }

  /** Has a member that has nothing to do take the first job of the longest line. */
  #steal(nowMs: number): boolean {
    const victim = this.#board.findLongest();
    const job = victim?.free.peek() as AnyBalancerJob | undefined;
    const thief = job && this.#findThief(job, nowMs);
    if (thief === undefined) return false;
    this.lines.take(job!, nowMs);
    thief.stolen++;
    this.#enqueue(job!, thief, nowMs);
    this.#wakeIfIdle(victim!);
    return true;
  }

  #findThief(job: AnyBalancerJob, nowMs: number): Member | undefined {
    if (!this.settings.stealing) return undefined;
    return this.#board.findIdle(job) ??
      this.#outliers.findDue(nowMs, job.avoided);
  }

  /** Lets a job in that has waited for a first member, or for a place in line. */
  #letIn(nowMs: number): boolean {
    const { lines } = this;
    const unplaced = lines.peekUnplaced();
    const next = unplaced ?? lines.peekDoor();
    if (next === undefined || unplaced && this.#balancing.size === 0) {
      return false;
    }
    const member = this.#pick(next, nowMs);
    if (!unplaced && !this.#hasPlace(next, member, nowMs)) return false;
    lines.take(next, nowMs);
    this.#enqueue(next, member, nowMs);
    return true;
  }

  freed(member: Member): void {
    if (member.standing !== "removed") this.#ready.add(member);
    this.#wakeIfIdle(member);
    this.dispatch();
  }

  // -- Ends --

  hear(run: Run): void {
    this.runs.hear(run);
  }

  ended(outcome: JobEnd): void {
    this.counts[outcome]++;
    this.#use.jobWent();
  }

  /** Takes no more jobs. Has those that have not begun cancelled, if they are to be, or all. */
  leave(cancelled: "none" | "pending" | "all"): void {
    if (this.phase === "open") this.phase = "closed";
    if (cancelled === "all") {
      this.phase = "cancelling";
      this.cancelAll(this.#shutDown());
    } else if (cancelled === "pending") this.clear(this.#shutDown());
    this.dispatch();
  }

  cancelAll(reason: unknown): void {
    this.clear(cancellation(reason));
    this.runs.cancelAll(reason);
    this.dispatch();
  }

  loseLoop(reason: CancelledError): void {
    this.clear(reason);
    this.runs.loseAll(reason);
  }

  /** Makes sure that a line does not wait longer than until the next ejected member may be tried. */
  #watchProbes(): void {
    const isWanted = this.#outliers.count > 0 && this.settings.stealing &&
      this.#board.findLongest() !== undefined;
    const atMs = isWanted ? this.#outliers.nextProbeMs() : Infinity;
    const timer = this.#probeTimer;
    if (timer === null ? atMs === Infinity : timer.when() === atMs) return;
    timer?.cancel();
    this.#probeTimer = atMs === Infinity
      ? null
      : this.#use.loop!.callAt(atMs, () => {
        this.#probeTimer = null;
        this.dispatch();
      });
  }
}
