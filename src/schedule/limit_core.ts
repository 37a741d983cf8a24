/**
 * The slots of a limit, the line in front of them, and the jobs that stand there.
 *
 * @module
 */
import { CancelledError, MisuseError, OverloadError } from "../errors.ts";
import { isGeneratorFunction } from "../loop/checks.ts";
import { findTask } from "../loop/current.ts";
import type { EventLoop } from "../loop/event_loop.ts";
import { Future, type Suspension } from "../loop/future.ts";
import { type Priority, requirePriority } from "../loop/priority.ts";
import { Relay } from "../loop/priority_inheritance.ts";
import {
  cancellationBy,
  subscribe,
  type Subscription,
} from "../loop/signal_hub.ts";
import { type Coroutine, Task } from "../loop/task.ts";
import {
  inherit,
  type Origin,
  type Work,
  type WorkOutcome,
  WorkRunner,
} from "../loop/work_runner.ts";
import { LinkedList, type ListNode } from "../structures/linked_list.ts";
import { WaitQueue } from "../sync/wait_queue.ts";

/** What becomes of a job for which there is no room in line. */
export type OverloadStrategy =
  | "block"
  | "reject"
  | "drop-oldest"
  | "drop-newest";

type AnyClaim = Claim<unknown>;

/** A job, or an item of a map, that has its slots. */
export interface LimitedWork extends Work {
  readonly core: LimitCore;
  /** The task that does it. */
  begun(runner: WorkRunner): void;
}

/** A job, as the line sees it. */
export interface Droppable extends AnyClaim {
  /** It was taken out of the line and will never run. */
  drop(error: Error): void;
}

/** The slots, who has them, and who waits for them. */
export class LimitCore {
  size: number;
  readonly highWaterMark: number;
  readonly overload: OverloadStrategy;
  readonly queue: ClaimQueue = new ClaimQueue();
  /** Jobs that wait for room in the queue. */
  readonly door: LinkedList<AnyClaim> = new LinkedList();
  /** How many slots are taken, and how many were at most. */
  used = 0;
  peak = 0;
  /** How many jobs and items run. */
  running = 0;
  paused = false;
  /** What the last job was asked for by, while the limit is in use. */
  origin: Origin | null = null;
  done = 0;
  failed = 0;
  cancelled = 0;
  dropped = 0;
  /** How many jobs are in the queue. */
  #inLine = 0;
  #loop: EventLoop | null = null;
  #keeper: Keeper | null = null;
  /** A task that has just ended its work, and may be given other. */
  #free: WorkRunner | null = null;
  /** How many tasks were made that have not begun. */
  #launching = 0;
  /** Whether those in line are being started, further down the stack. */
  #pumping = false;
  #arrivals = 0;
  readonly idle: WaitQueue = new WaitQueue("ConcurrencyLimit.onIdle()");
  readonly #below = new Map<number, WaitQueue>();

  constructor(
    size: number,
    highWaterMark: number,
    overload: OverloadStrategy,
  ) {
    this.size = size;
    this.highWaterMark = highWaterMark;
    this.overload = overload;
  }

  /** How many jobs have not begun. */
  get pending(): number {
    return this.#inLine + this.door.length;
  }

  /** Whether no job and no item runs or stands in line. */
  isIdle(): boolean {
    return this.running === 0 && this.pending === 0;
  }

  /** Takes the limit into use on `loop`. */
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
      // What is left stood in line when nothing ran, on a loop that was closed.
      this.loseLoop(new CancelledError("the event loop was closed"));
      this.used = this.running = this.#launching = 0;
    }
    this.#keeper = null;
    this.#loop = loop;
  }

  /** Puts a job in line, or starts it. Throws, or drops one, if there is no room. */
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

  /** Takes one slot if one who comes now would get it at once. */
  tryTake(rank: number): boolean {
    const head = this.queue.peek();
    if (
      this.door.length > 0 || (head !== undefined && head.rank >= rank) ||
      !this.#canStart(1)
    ) return false;
    this.#count(1);
    return true;
  }

  /** Puts what is no job in line, or starts it. */
  enter(claim: AnyClaim): void {
    claim.arrival = this.#arrivals++;
    this.queue.add(claim);
    this.#pump();
  }

  /** Takes one out of line who does not want its slots any more. */
  withdraw(claim: AnyClaim): void {
    this.#leave(claim);
    this.#pump();
    this.#settle();
  }

  /** Gives one in line another priority; it is the last of that. */
  move(claim: AnyClaim, rank: number): void {
    if (claim.list === this.door) claim.rank = rank;
    else {
      this.queue.move(claim, rank);
      this.#pump();
    }
  }

  /**
   * Gives slots back, and starts who may start now: the first of them on
   * `runner`, if that can do such work.
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

  /** Has somebody do the work of one who has slots. */
  giveWork(loop: EventLoop, work: LimitedWork): void {
    let runner = this.#free;
    // Nobody begins before those who have had their slots sooner.
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

  /** One of the tasks that were made has begun. */
  launched(): void {
    this.#launching--;
  }

  /**
   * Whether one who has slots may go on with them for another item. Nobody else
   * may wait for them.
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

  /** Gives somebody who has slots already, and keeps them, other work. */
  keepWorking(
    loop: EventLoop,
    runner: WorkRunner | null,
    work: LimitedWork,
  ): void {
    this.#free = runner;
    this.giveWork(loop, work);
    this.#free = null;
  }

  /** Cancels all jobs that have not begun; returns how many they were. */
  clear(reason: unknown): number {
    const jobs = this.#takeAll((claim) => claim.isJob);
    this.dropped += jobs.length;
    const error = reason instanceof CancelledError
      ? reason
      : new CancelledError(reason);
    for (const job of jobs) (job as Droppable).drop(error);
    this.#pump();
    this.#settle();
    return jobs.length;
  }

  /** The loop is being closed: all in line end, as nobody can begin there any more. */
  loseLoop(reason: CancelledError): void {
    for (const claim of this.#takeAll(() => true)) claim.cancel(reason);
  }

  /** The line of those who wait until fewer than `count` jobs are pending. */
  lineBelow(count: number): WaitQueue {
    let line = this.#below.get(count);
    if (line === undefined) {
      line = new WaitQueue(`ConcurrencyLimit.onSizeBelow(${count})`);
      this.#below.set(count, line);
    }
    return line;
  }

  /** Forgets a line in which nobody waits. */
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

  /** Whether the current task, or one that it was created by, has a slot of this limit. */
  isInside(): boolean {
    for (let task = findTask(); task !== null; task = task.parent) {
      if (this.#isAtWork(task)) return true;
    }
    return false;
  }

  /** Throws if the current task is itself what it wants to see the end of. */
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
    // One that has become too heavy, as the limit has shrunk, runs alone.
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

  /** Takes out of line all that are wanted, in the order in which they would have begun. */
  #takeAll(wanted: (claim: AnyClaim) => boolean): AnyClaim[] {
    const all = [...this.queue, ...this.door].filter(wanted);
    for (const claim of all) this.#leave(claim);
    return all;
  }

  /** Starts those in line, strictly in order: one for whom there is no room keeps all behind it waiting. */
  #pump(): void {
    // One that starts may be done with its slots at once, as a map whose source is
    // empty: the loop that has started it goes on, however many there are.
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

  /** Who is to have the next slots, if there is anybody. */
  #next(): AnyClaim {
    const head = this.queue.peek();
    const blocked = this.door.first;
    if (head === undefined) return blocked!;
    // With no places in line for jobs, maps have them all: who has come first then counts.
    return this.highWaterMark === 0 && blocked !== undefined &&
        blocked.arrival < head.arrival
      ? blocked
      : head;
  }

  /** Tells those who wait for the limit to be idle. */
  #settle(): void {
    if (!this.isIdle()) return;
    this.origin = null;
    this.idle.wakeAll();
    this.#keeper?.dismiss();
    this.#keeper = null;
  }

  /** Makes room for a job by dropping one, which may be the job itself. */
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
    this.#pump(); // the one that left may have kept others waiting
  }

  #overloaded(what: string): OverloadError {
    return new OverloadError(
      `Cannot ${what}: ${this.#inLine} jobs are in line already`,
    );
  }

  /** Has jobs in line end with the tasks of their loop. */
  #keep(): void {
    if (this.#keeper !== null && this.#keeper.cancelling() === 0) return;
    this.#keeper = new Keeper(this.#loop!, this);
  }
}

/**
 * What stands for all jobs in line among the tasks of the loop: who cancels
 * those, as `run()` does at its end, ends the jobs that have not begun, too.
 */
class Keeper extends Task<void> {
  readonly #dismissed: Future<void>;
  readonly #core: LimitCore;

  constructor(loop: EventLoop, core: LimitCore) {
    const dismissed = new Future<void>(loop, "jobs in line for a limit");
    super(loop, waitFor(dismissed), { name: "ConcurrencyLimit" });
    this.#dismissed = dismissed;
    this.#core = core;
    inherit(this, null);
  }

  dismiss(): void {
    if (!this.#dismissed.done()) this.#dismissed.setResult();
  }

  override cancel(reason?: unknown): boolean {
    const accepted = super.cancel(reason);
    if (accepted) this.#core.clear(reason);
    return accepted;
  }

  protected override destroy(reason: CancelledError): void {
    this.#core.loseLoop(reason);
    super.destroy(reason);
  }
}

function* waitFor(future: Future<void>): Coroutine<void> {
  yield* future;
}

/**
 * One who stands in line for slots of a limit: a job, or a map that wants to
 * begin with another item. Its future is done when all is over.
 */
export abstract class Claim<T> extends Future<T>
  implements ListNode<Claim<unknown>> {
  declare list: LinkedList<Claim<unknown>> | undefined;
  declare nextNode: Claim<unknown> | undefined;
  declare previousNode: Claim<unknown> | undefined;
  /** The number of its priority: higher first. Only its queue changes it. */
  declare rank: number;
  /** How many slots it takes. */
  declare readonly weight: number;
  /** Grows from one who comes to the next, where that has to be known. Only the limit sets it. */
  declare arrival: number;

  constructor(loop: EventLoop, label: string, rank: number, weight: number) {
    super(loop, label);
    this.list = undefined;
    this.nextNode = undefined;
    this.previousNode = undefined;
    this.rank = rank;
    this.weight = weight;
    this.arrival = 0;
  }

  /** Whether it is a job, which counts as pending while it stands in line, and may be dropped. */
  abstract readonly isJob: boolean;

  /** It has its slots. */
  abstract begin(): void;
}

/** Lines that are empty are kept for the next who comes, but not more than so many lines. */
const LINES_KEPT_MAX = 16;

/** Those of one priority, first come, first served. */
class Line extends LinkedList<AnyClaim> {
  readonly rank: number;

  constructor(rank: number) {
    super();
    this.rank = rank;
  }
}

/**
 * A queue by priority: the higher first, and first come, first served among
 * equals. Whatever is in line, coming and leaving take constant time; a
 * priority that nobody in line has takes time in proportion to the number of
 * different ones.
 */
class ClaimQueue {
  readonly #lines = new Map<number, Line>();
  /** The same lines, the lowest priority first. */
  readonly #sorted: Line[] = [];
  #length = 0;

  /** How many are in line. */
  get length(): number {
    return this.#length;
  }

  /** Comes in as the last of its priority. */
  add(claim: AnyClaim): void {
    (this.#lines.get(claim.rank) ?? this.#open(claim.rank)).append(claim);
    this.#length++;
  }

  /** Takes out one who is in line. */
  remove(claim: AnyClaim): void {
    claim.list!.remove(claim);
    this.#length--;
  }

  /** Moves one who is in line to the end of the line of another priority. */
  move(claim: AnyClaim, rank: number): void {
    this.remove(claim);
    claim.rank = rank;
    this.add(claim);
  }

  /** The first of the highest priority. */
  peek(): AnyClaim | undefined {
    if (this.#length === 0) return undefined;
    const sorted = this.#sorted;
    for (let index = sorted.length - 1; index >= 0; index--) {
      const { first } = sorted[index]!;
      if (first !== undefined) return first;
      if (sorted.length > LINES_KEPT_MAX) this.#close(index);
    }
    return undefined;
  }

  /** The job that has come first, or last, of those of the lowest priority that any job has. */
  findLowestJob(which: "oldest" | "newest"): AnyClaim | undefined {
    for (const line of this.#sorted) {
      let claim = which === "oldest" ? line.first : line.last;
      while (claim !== undefined && !claim.isJob) {
        claim = which === "oldest" ? claim.nextNode : claim.previousNode;
      }
      if (claim !== undefined) return claim;
    }
    return undefined;
  }

  /** Yields all in the order in which they are served. Those it has yielded may leave meanwhile. */
  *[Symbol.iterator](): Generator<AnyClaim, void, undefined> {
    for (const line of [...this.#sorted].reverse()) yield* line;
  }

  #open(rank: number): Line {
    const sorted = this.#sorted;
    let low = 0;
    let high = sorted.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (sorted[middle]!.rank < rank) low = middle + 1;
      else high = middle;
    }
    const line = new Line(rank);
    sorted.splice(low, 0, line);
    this.#lines.set(rank, line);
    return line;
  }

  #close(index: number): void {
    const [line] = this.#sorted.splice(index, 1);
    this.#lines.delete(line!.rank);
  }
}

/**
 * What a limit runs: an async function, a generator function or a plain
 * function, without parameters.
 *
 * @typeParam T What it produces.
 */
export type JobBody<T> = () => Coroutine<T> | PromiseLike<T> | T;

/**
 * What {@linkcode ConcurrencyLimit.run} gives: a future of what the function
 * will produce, which may be in line, running or done.
 *
 * Wait for it like for any future. An error that nobody looks at is reported to
 * the loop's exception handler, once. Waiting for it in a task that itself runs
 * in a slot of the same limit, while it stands in line, throws a
 * {@linkcode MisuseError}, also by `gather`, `shield`, `wait`, `asCompleted`, `until`
 * and the like. (`wait` for the first of several is not refused, if another one
 * may be that.)
 *
 * @typeParam T What the function produces.
 */
export interface Job<T> extends Future<T> {
  /** What it was called; `""` if nothing was given. */
  readonly name: string;
  /** Its priority as a number: higher first. */
  readonly priority: number;
  /**
   * How far it has come: `"pending"` in line, `"running"` while it has its slots,
   * `"done"` with a result, an error or a cancellation.
   */
  readonly phase: "pending" | "running" | "done";
  /**
   * Gives a job in line another priority: it goes behind those that have it
   * already, also if it is the same. If nobody stands before it now and there is
   * room, it begins. A job that has begun keeps what it has.
   *
   * @param priority The new priority.
   * @returns Whether it was in line.
   * @throws {TypeError} If `priority` is none.
   */
  setPriority(priority: Priority): boolean;
  /**
   * Cancels the job. In line, it leaves the line and never runs, at once. While
   * it runs, its task is cancelled as by {@linkcode Task.cancel}: the job is done,
   * and its slots are free, when that has cleaned up.
   *
   * @param reason What to say about the cause.
   * @returns Whether the job had not ended.
   */
  cancel(reason?: unknown): boolean;
}

/** A job as its limit sees it. */
export class LimitJob<T> extends Claim<T> implements Job<T>, LimitedWork {
  readonly core: LimitCore;
  #body: JobBody<T> | null;
  #runner: WorkRunner | null = null;
  readonly origin: Origin | null;
  #subscription: Subscription | null = null;
  /** Hands the priority of those who wait on to the task. */
  #relay: Relay | null = null;

  constructor(
    core: LimitCore,
    loop: EventLoop,
    body: JobBody<T>,
    rank: number,
    weight: number,
    origin: Origin | null,
    name: string,
  ) {
    super(loop, name, rank, weight);
    this.core = core;
    this.#body = body;
    this.origin = origin;
  }

  override get isJob(): boolean {
    return true;
  }

  get isCoroutine(): boolean {
    return isGeneratorFunction(this.#body);
  }

  get taskName(): string {
    return this.label;
  }

  get name(): string {
    return this.label;
  }

  get phase(): "pending" | "running" | "done" {
    if (this.done()) return "done";
    return this.list === undefined ? "running" : "pending";
  }

  get priority(): number {
    return this.rank;
  }

  setPriority(priority: Priority): boolean {
    const rank = requirePriority(priority, "set the priority of a job");
    if (this.list === undefined) return false;
    this.core.move(this as Claim<unknown>, rank);
    return true;
  }

  override cancel(reason?: unknown): boolean {
    if (this.done()) return false;
    if (this.#runner !== null) return this.#runner.cancelWork(this, reason);
    const inLine = this.list !== undefined;
    this.#finish();
    super.cancel(reason);
    this.core.cancelled++;
    if (inLine) this.core.withdraw(this as Claim<unknown>);
    return true;
  }

  override setResult(_value: T): never {
    throw new MisuseError(
      `Cannot set the result of ${this.describe()}: its function decides it`,
    );
  }

  override setException(_error: unknown): never {
    throw new MisuseError(
      `Cannot set the exception of ${this.describe()}: its function decides it`,
    );
  }

  /** Has `signal` cancel the job. */
  follow(signal: AbortSignal): void {
    if (this.done()) return; // there was no room for it
    this.#subscription = subscribe(
      signal,
      () => this.cancel(cancellationBy(signal)),
    );
  }

  begin(): void {
    this.core.giveWork(this.loop, this);
  }

  begun(runner: WorkRunner): void {
    this.#runner = runner;
    this.#relay?.dependOn(runner as Future<unknown>);
  }

  /** What those share who wait for the job. */
  protected override pressure(): object {
    if (this.#relay === null) {
      this.#relay = new Relay(this.loop);
      if (this.#runner !== null) {
        this.#relay.dependOn(this.#runner as Future<unknown>);
      }
    }
    return this.#relay.pressure;
  }

  launched(): void {
    this.core.launched();
  }

  call(): unknown {
    return this.#body!();
  }

  lost(reason: CancelledError): void {
    this.core.loseLoop(reason);
  }

  drop(error: Error): void {
    this.#finish();
    if (error instanceof CancelledError) super.cancel(error);
    else super.setException(error);
  }

  ended(
    outcome: WorkOutcome,
    value: unknown,
    runner: WorkRunner | null,
  ): void {
    const core = this.core;
    core[outcome]++;
    this.#finish();
    if (outcome === "done") super.setResult(value as T);
    else if (outcome === "failed") super.setException(value);
    else this["finishCancelled"](value);
    core.release(this.weight, runner);
  }

  #finish(): void {
    this.#body = null;
    this.#runner = null;
    this.#relay?.end();
    if (this.#subscription === null) return;
    this.#subscription.unsubscribe();
    this.#subscription = null;
  }

  /** Throws if who is about to wait may keep the job from ever having a slot. */
  protected override checkWaiter(): void {
    if (this.list === undefined) return;
    this.core.refuseInside(
      `wait for ${this.describe()}`,
      "do not wait for it in here, or give it no slot of its own: call its function",
    );
  }

  override [Symbol.iterator](): Iterator<Suspension, T, unknown> {
    this.checkWaiter();
    return super[Symbol.iterator]();
  }

  override then<A = T, B = never>(
    onFulfilled?: ((value: T) => A | PromiseLike<A>) | null,
    onRejected?: ((reason: unknown) => B | PromiseLike<B>) | null,
  ): PromiseLike<A | B> {
    this.checkWaiter();
    return super.then(onFulfilled, onRejected);
  }

  /** Whether a cancellation that its task hands on to others is on its way through them. */
  protected override isHandingOn(): boolean {
    return this.#runner !== null && this.#runner["isHandingOn"]();
  }

  /** What to call the job in messages. */
  protected override describe(): string {
    return this.label === "" ? "a job" : `job "${this.label}"`;
  }

  override get [Symbol.toStringTag](): string {
    return "Job";
  }
}
