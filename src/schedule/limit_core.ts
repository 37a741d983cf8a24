/**
 * Slots of a limit, and the rules by which they are handed out.
 *
 * @module
 */
import { cancellation } from "../loop/cancellation.ts";
import { CancelledError, MisuseError, OverloadError } from "../errors.ts";
import { core } from "../loop/core.ts";
import { findTask } from "../loop/current.ts";
import type { EventLoop } from "../loop/event_loop.ts";
import type { Task } from "../loop/task.ts";
import { type Origin, type Work, WorkRunner } from "../loop/work_runner.ts";
import { LinkedList } from "../structures/linked_list.ts";
import { WaitQueue } from "../sync/wait_queue.ts";
import type { AnyClaim, Droppable } from "./claim.ts";
import { ClaimQueue } from "./claim_queue.ts";
import type { OverloadStrategy } from "./concurrency_limit_options.ts";
import { LineKeeper } from "./line_keeper.ts";

/** Work that has its slots: a job, or an item of a map. */
export interface LimitedWork extends Work {
  readonly core: LimitCore;
  /** Called with the task that does it. */
  begun(runner: WorkRunner): void;
}

/** Slots of a limit: how many there are, who has them, and who waits for them. */
export class LimitCore {
  size: number;
  readonly highWaterMark: number;
  readonly overload: OverloadStrategy;
  readonly queue: ClaimQueue = new ClaimQueue();
  /** Jobs that wait for a place in the queue. */
  readonly door: LinkedList<AnyClaim> = new LinkedList();
  /** How many slots are taken, and how many were at most. */
  used = 0;
  peak = 0;
  /** How many jobs and items run. */
  running = 0;
  paused = false;
  /** Origin of the last job, while the limit is in use: many jobs share one. */
  origin: Origin | null = null;
  done = 0;
  failed = 0;
  cancelled = 0;
  dropped = 0;
  /** How many jobs are in the queue. */
  #inLine = 0;
  #loop: EventLoop | null = null;
  #keeper: LineKeeper | null = null;
  /** Task that has just ended its work and may be given other work. */
  #free: WorkRunner | null = null;
  /** How many tasks were made and have not begun. */
  #launching = 0;
  /** Whether a pump is at work further down the stack. */
  #pumping = false;
  #arrivals = 0;
  /** The limit, as the program has it. */
  readonly owner: object;
  readonly idle: WaitQueue;
  readonly #below = new Map<number, WaitQueue>();

  constructor(
    size: number,
    highWaterMark: number,
    overload: OverloadStrategy,
    owner: object,
  ) {
    this.size = size;
    this.highWaterMark = highWaterMark;
    this.overload = overload;
    this.owner = owner;
    this.idle = new WaitQueue("ConcurrencyLimit.onIdle()", owner);
  }

  /** Lists the tasks that do its work. Goes through all tasks of the loop. */
  runners(): WorkRunner[] {
    const tasks = this.#loop?.[core].tasks.toArray() ?? [];
    return tasks.filter((task) => this.#isAtWork(task)) as WorkRunner[];
  }

  /** How many jobs have not begun. */
  get pending(): number {
    return this.#inLine + this.door.length;
  }

  /** Whether no job and no item runs or is in line. */
  isIdle(): boolean {
    return this.running === 0 && this.pending === 0;
  }

  /** Binds the limit to `loop`; throws if it is in use on another one. */
  bind(loop: EventLoop): void {
    if (this.#loop === loop) return;
    const inUse = this.running > 0 || this.queue.length > 0 ||
      this.door.length > 0;
    if (this.#loop !== null && inUse) {
      if (!this.#loop.isClosed()) {
        throw new MisuseError(
          "Cannot use a limit: it is in use on another event loop",
        );
      }
      // Left over from a loop that was closed while nothing ran.
      this.loseLoop(new CancelledError("the event loop was closed"));
      this.used = this.running = this.#launching = 0;
    }
    this.#keeper = null;
    this.#loop = loop;
  }

  /** Starts a job or puts it in line. Throws, or drops a job, if there is no room. */
  admit(job: Droppable): void {
    const { queue, door } = this;
    if (door.length === 0) {
      const head = queue.peek();
      if (
        (head === undefined || head.rank < job.rank) &&
        this.#canStart(job.weight)
      ) {
        this.#start(job);
        return;
      }
      if (this.#inLine < this.highWaterMark) {
        this.#append(job);
        return;
      }
    }
    if (this.overload === "block") {
      job.arrival = this.#arrivals++;
      door.append(job);
      this.#keep();
    } else if (this.overload === "reject") {
      this.dropped++;
      throw this.#overloaded("run a job");
    } else this.#dropFor(job);
  }

  /** Takes one slot if a claim of this rank would get it at once. */
  tryTake(rank: number): boolean {
    const head = this.queue.peek();
    if (
      this.door.length > 0 || (head !== undefined && head.rank >= rank) ||
      !this.#canStart(1)
    ) return false;
    this.#count(1);
    return true;
  }

  /** Starts a claim of a map, or puts it in line. */
  enter(claim: AnyClaim): void {
    claim.arrival = this.#arrivals++;
    this.queue.add(claim);
    this.#pump();
  }

  /** Takes a claim out of line that does not want its slots any more. */
  withdraw(claim: AnyClaim): void {
    this.#leave(claim);
    this.#pump();
    this.#settle();
  }

  /** Changes the priority of a claim in line; it becomes the last of the new one. */
  move(claim: AnyClaim, rank: number): void {
    if (claim.list === this.door) claim.rank = rank;
    else {
      this.queue.move(claim, rank);
      this.#pump();
    }
  }

  /**
   * Releases slots, and starts the claims that may start now: the first of them
   * on `runner`, if that can do such work.
   */
  release(weight: number, runner: WorkRunner | null): void {
    this.used -= weight;
    this.running--;
    if (!this.#pumping) {
      this.#free = runner;
      this.#pump();
      this.#free = null;
    }
    this.#settle();
  }

  /** Finds or makes a task for work that has its slots. */
  giveWork(loop: EventLoop, work: LimitedWork): void {
    let runner = this.#free;
    // Work that got its slots sooner begins sooner.
    if (
      runner !== null && this.#launching === 0 &&
      runner.isCoroutine === work.isCoroutine
    ) {
      this.#free = null;
      runner.take(work);
    } else {
      runner = new WorkRunner(loop, work);
      this.#launching++;
    }
    work.begun(runner);
  }

  /** Called when one of the tasks that were made has begun. */
  launched(): void {
    this.#launching--;
  }

  /**
   * Whether a map may keep a slot for its next item, which it may not while
   * anybody else waits for one. `own` is its own place in line, if it has one.
   */
  mayKeep(own: AnyClaim | null): boolean {
    if (this.paused || this.used > this.size || this.door.length > 0) {
      return false;
    }
    const { length } = this.queue;
    return length === 0 || (length === 1 && this.queue.peek() === own);
  }

  resize(size: number): void {
    this.size = size;
    this.#pump();
  }

  pause(): void {
    this.paused = true;
  }

  resume(): void {
    this.paused = false;
    this.#pump();
  }

  /** Starts other work in slots that are kept: see {@linkcode mayKeep}. */
  keepWorking(
    loop: EventLoop,
    runner: WorkRunner | null,
    work: LimitedWork,
  ): void {
    this.#free = runner;
    this.giveWork(loop, work);
    this.#free = null;
  }

  /** Cancels all jobs that have not begun; returns how many there were. */
  clear(reason: unknown): number {
    const jobs = this.#takeAll((claim) => claim.isJob);
    this.dropped += jobs.length;
    const error = cancellation(reason);
    for (const job of jobs) (job as Droppable).drop(error);
    this.#pump();
    this.#settle();
    return jobs.length;
  }

  /** Ends everything in line: the loop is being closed, and nothing can begin there any more. */
  loseLoop(reason: CancelledError): void {
    for (const claim of this.#takeAll(() => true)) claim.cancel(reason);
  }

  /** Line of the waits until fewer than `count` jobs are pending. */
  lineBelow(count: number): WaitQueue {
    let line = this.#below.get(count);
    if (line === undefined) {
      line = new WaitQueue(
        `ConcurrencyLimit.onSizeBelow(${count})`,
        this.owner,
      );
      this.#below.set(count, line);
    }
    return line;
  }

  /** Forgets the line of `count` if nobody waits in it. */
  leaveLine(count: number): void {
    if (this.#below.get(count)?.length === 0) this.#below.delete(count);
  }

  /** Throws if the running code is inside a slot of this limit. */
  refuseInside(what: string, advice: string): void {
    if (this.running > 0 && this.isInside()) {
      throw new MisuseError(
        `Cannot ${what}: the current task runs in a slot of the same limit, ` +
          `and would wait for ever if all others did so too; ${advice}`,
      );
    }
  }

  /** Whether the current task, or a task that led to its creation, has a slot of this limit. */
  isInside(): boolean {
    for (let task = findTask(); task !== null; task = task.parent) {
      if (this.#isAtWork(task)) return true;
    }
    return false;
  }

  /** Throws if the current task is one of the jobs that it wants to wait for. */
  refuseSelf(what: string): void {
    if (this.running > 0 && this.#isAtWork(findTask())) {
      throw new MisuseError(
        `Cannot ${what}: the current task is a job of it, and would wait for itself`,
      );
    }
  }

  #isAtWork(task: Task<unknown> | null): boolean {
    if (!(task instanceof WorkRunner)) return false;
    const work = task.work as LimitedWork | null;
    return work !== null && work.core === this;
  }

  #canStart(weight: number): boolean {
    // A job that has become too heavy, as the limit has shrunk, runs alone.
    return !this.paused &&
      (this.used + weight <= this.size || this.used === 0);
  }

  #start(claim: AnyClaim): void {
    this.#count(claim.weight);
    claim.begin();
  }

  #count(weight: number): void {
    this.used += weight;
    this.running++;
    if (this.used > this.peak) this.peak = this.used;
  }

  #append(job: AnyClaim): void {
    this.queue.add(job);
    this.#inLine++;
    this.#keep();
  }

  #leave(claim: AnyClaim): void {
    const before = this.pending;
    if (claim.list === this.door) this.door.remove(claim);
    else {
      this.queue.remove(claim);
      if (claim.isJob) this.#inLine--;
    }
    if (claim.isJob && this.#below.size > 0) this.#below.get(before)?.wakeAll();
  }

  /** Takes the wanted claims out of line, in the order in which they would have begun. */
  #takeAll(wanted: (claim: AnyClaim) => boolean): AnyClaim[] {
    const all = [...this.queue, ...this.door].filter(wanted);
    for (const claim of all) this.#leave(claim);
    return all;
  }

  /** Starts claims strictly in order: one for which there is no room keeps all behind it waiting. */
  #pump(): void {
    // A map whose source is empty gives its slot back while it is started. The pump
    // further down the stack goes on then: no recursion, however many there are.
    if (this.#pumping) return;
    this.#pumping = true;
    try {
      const { queue, door } = this;
      while (queue.length > 0 || door.length > 0) {
        while (door.length > 0 && this.#inLine < this.highWaterMark) {
          this.#append(door.shift()!);
        }
        const next = this.#next();
        if (!this.#canStart(next.weight)) return;
        this.#leave(next);
        this.#start(next);
      }
    } finally {
      this.#pumping = false;
    }
  }

  /** Returns the claim that is to have the next slots. Something must be in line. */
  #next(): AnyClaim {
    const head = this.queue.peek();
    const blocked = this.door.first;
    if (head === undefined) return blocked!;
    // With no places in line for jobs, only maps have some: then arrival decides.
    return this.highWaterMark === 0 && blocked !== undefined &&
        blocked.arrival < head.arrival
      ? blocked
      : head;
  }

  /** Wakes the waits for the limit to be idle, if it is. */
  #settle(): void {
    if (!this.isIdle()) return;
    this.origin = null;
    this.idle.wakeAll();
    this.#keeper?.dismiss();
    this.#keeper = null;
  }

  /** Makes room for a job by dropping a job, which may be the new one. */
  #dropFor(job: Droppable): void {
    const which = this.overload === "drop-oldest" ? "oldest" : "newest";
    const lowest = this.queue.findLowestJob(which) as Droppable | undefined;
    const error = this.#overloaded("keep a job in line");
    this.dropped++;
    if (
      lowest === undefined || job.rank < lowest.rank ||
      (which === "newest" && job.rank === lowest.rank)
    ) {
      job.drop(error);
      return;
    }
    this.#leave(lowest);
    lowest.drop(error);
    this.#append(job);
    this.#pump(); // the job that left may have kept others waiting
  }

  #overloaded(what: string): OverloadError {
    return new OverloadError(
      `Cannot ${what}: ${this.#inLine} jobs are in line already`,
    );
  }

  /** Makes sure that the jobs in line end with the tasks of the loop. */
  #keep(): void {
    if (this.#keeper !== null && this.#keeper.cancelling() === 0) return;
    this.#keeper = new LineKeeper(this.#loop!, this);
  }
}
