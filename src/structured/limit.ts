/**
 * The tasks of a group, as the group sees them, and how it keeps no more than so
 * many of them running at once.
 *
 * @module
 */
import {
  addWaiter,
  checkWaiter,
  inWords,
  pressureOf,
  takeCancellation,
  urgencyOfEnd,
} from "../loop/waiters.ts";
import { CancelledError } from "../errors.ts";
import { core } from "../loop/core.ts";
import { findTask } from "../loop/current.ts";
import type { EventLoop } from "../loop/event_loop.ts";
import { Future, type Suspension } from "../loop/future.ts";
import { isCancellation, type Request } from "../loop/cancellation.ts";
import { PromiseWait } from "../loop/promise_wait.ts";
import type { Priority } from "../loop/priority.ts";
import { Relay } from "../loop/priority_inheritance.ts";
import {
  type Coroutine,
  Task,
  type TaskBody,
  type TaskOptions,
} from "../loop/task.ts";
import type { LinkedList, ListNode } from "../structures/linked_list.ts";
import { PriorityLine } from "../structures/priority_line.ts";
import { RingBuffer } from "../structures/ring_buffer.ts";

/** Who is told that a child has ended, in the turn after. */
export interface ChildOwner {
  /** The task that has opened the group. */
  readonly task: Task<unknown>;
  /** How many of its tasks run at once; null if all do. */
  readonly limiter: Limiter | null;
  childDone(child: Child): void;
  /** What is as urgent as the task that waits for the group; null if it does not yet. */
  joined(): Relay | null;
}

/** One task in the list of a group. */
export interface Child extends ListNode<Child> {
  readonly task: Task<unknown>;
}

/**
 * A task that a group made itself: it is in the group's list, and its own first
 * done callback, so that a group costs no further object for each task.
 */
export class ChildTask<T> extends Task<T> implements Child {
  list: LinkedList<Child> | undefined = undefined;
  nextNode: Child | undefined = undefined;
  previousNode: Child | undefined = undefined;
  readonly owner: ChildOwner;

  constructor(
    owner: ChildOwner,
    loop: EventLoop,
    body: TaskBody<T>,
    options: TaskOptions,
    queued = true,
  ) {
    super(loop, body, options, queued);
    this.owner = owner;
    if (!this.done()) this[addWaiter](this);
  }

  get task(): Task<unknown> {
    return this as Task<unknown>;
  }

  /** It is for the one who waits for the group. */
  override [urgencyOfEnd](): object | null {
    return this.owner.joined();
  }

  protected override intercept(): boolean {
    if (!this.done()) return false;
    this.owner.childDone(this);
    return true;
  }
}

/** A task that the loop's task factory made. */
export class ForeignChild implements Child {
  list: LinkedList<Child> | undefined = undefined;
  nextNode: Child | undefined = undefined;
  previousNode: Child | undefined = undefined;
  readonly task: Task<unknown>;

  constructor(owner: ChildOwner, task: Task<unknown>) {
    this.task = task;
    if (!task.done()) task.addDoneCallback(() => owner.childDone(this));
  }
}

/** A line with fewer who have left it is not cleared of them. */
const SWEEP_MIN = 1_024;

/** The place in line of a task that has got in line more than once: only the last one counts. */
class Place {
  readonly task: LimitedTask<unknown>;

  constructor(task: LimitedTask<unknown>) {
    this.task = task;
  }
}

/** Who is in line: the task itself as long as it has not moved. */
type InLine = LimitedTask<unknown> | Place;

/**
 * The slots of one group. A task takes one before it begins and gives it back
 * when it has ended; those that find none wait in line without having begun.
 * One that has lent its slot, and wants it back, goes before those.
 */
export class Limiter {
  readonly #limit: number;
  /** More than the limit if somebody could not be made to wait. */
  #running = 0;
  readonly #parked = new PriorityLine<InLine>();
  /** How many of them have left the line, or have another place in it. */
  #gone = 0;
  readonly #returning = new RingBuffer<Return>();

  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Takes a slot if there is one. Nobody waits then. */
  take(): boolean {
    if (this.#running >= this.#limit) return false;
    this.#running++;
    return true;
  }

  /** Takes a slot even if there is none. */
  insist(): void {
    this.#running++;
  }

  /** Puts a task in line that is to begin when there is a slot. */
  park(task: LimitedTask<unknown>): void {
    this.#parked.push(task, task.priority);
  }

  /** The same for one that was in line before. */
  parkAgain(task: LimitedTask<unknown>): Place {
    const place = new Place(task);
    this.#parked.push(place, task.priority);
    return place;
  }

  /** One has left its place in line. Slots may be taken for ever: the line must not fill with such. */
  forgo(): void {
    if (++this.#gone < SWEEP_MIN || 2 * this.#gone < this.#parked.length) {
      return;
    }
    this.#parked.sweep(isInLine);
    this.#gone = 0;
  }

  /** Puts one in line who is to go on when there is a slot. */
  wait(waiting: Return): void {
    this.#returning.push(waiting);
  }

  /** A slot is free: gives it to the next. */
  release(): void {
    this.#running--;
    while (this.#running < this.#limit) {
      const waiting = this.#returning.shift();
      if (waiting !== undefined) {
        if (waiting.isOver()) continue;
        this.#running++;
        waiting.grant();
        continue;
      }
      const next = this.#next();
      if (next === null) return;
      this.#running++;
      next.begin();
    }
  }

  /** Takes the first out of the line. */
  #next(): LimitedTask<unknown> | null {
    const before = this.#parked.length;
    const next = this.#parked.shift(isInLine);
    const dropped = before - this.#parked.length;
    this.#gone -= next === undefined ? dropped : dropped - 1;
    if (next === undefined) return null;
    return next instanceof Place ? next.task : next;
  }
}

/** Whether a task still waits at this place: it may have been cancelled, or have moved. */
function isInLine(inLine: InLine): boolean {
  return inLine instanceof Place
    ? inLine.task.waitsAt(inLine)
    : inLine.waitsAt(PARKED);
}

/** The wait of a task for the slot that it had lent. */
class Return extends Future<void> {
  readonly #task: LimitedTask<unknown>;

  constructor(task: LimitedTask<unknown>) {
    super(task.loop, "a slot of its task group");
    this.#task = task;
  }

  /** Whether it needs no slot any more. */
  isOver(): boolean {
    return this.done() || this.#task.done();
  }

  /** There is a slot. */
  grant(): void {
    this.#task.returned();
    this.setResult();
  }
}

/** A task that whoever holds a slot may have to lend it for, to wait for this one. */
export class LendingTask<T> extends ChildTask<T> {
  override [Symbol.iterator](): Iterator<Suspension, T, unknown> {
    const lender = lenderFor([this]);
    return lender === null
      ? super[Symbol.iterator]()
      : lending(lender, { [Symbol.iterator]: () => super[Symbol.iterator]() });
  }

  override then<A = T, B = never>(
    onFulfilled?: OnFulfilled<T, A>,
    onRejected?: OnRejected<B>,
  ): PromiseLike<A | B> {
    return thenLending(this, lenderFor([this]), onFulfilled, onRejected) ??
      super.then(onFulfilled, onRejected);
  }
}

/** A future that stands for tasks, which whoever holds a slot may have to lend it for. */
export abstract class LendingFuture<T> extends Future<T> {
  /** What it stands for. */
  protected abstract awaited(): Iterable<Future<unknown>>;

  #relay: Relay | null = null;

  /** Whoever waits for this waits for all of them. */
  override [pressureOf](): object {
    return this.relayed().pressure;
  }

  /** What is as urgent as those who wait for this. */
  relayed(): Relay {
    if (this.#relay === null) {
      this.#relay = new Relay(this.loop);
      for (const future of this.awaited()) this.#relay.dependOn(future);
    }
    return this.#relay;
  }

  /** What keeps one of them from ever being done keeps this. */
  override [checkWaiter](): void {
    for (const future of this.awaited()) future[checkWaiter]();
  }

  override [Symbol.iterator](): Iterator<Suspension, T, unknown> {
    this[checkWaiter]();
    const lender = lenderFor(this.awaited());
    return lender === null
      ? super[Symbol.iterator]()
      : lending(lender, { [Symbol.iterator]: () => super[Symbol.iterator]() });
  }

  override then<A = T, B = never>(
    onFulfilled?: OnFulfilled<T, A>,
    onRejected?: OnRejected<B>,
  ): PromiseLike<A | B> {
    this[checkWaiter]();
    const lender = lenderFor(this.awaited());
    return thenLending(this, lender, onFulfilled, onRejected) ??
      super.then(onFulfilled, onRejected);
  }
}

/** It holds a slot. More than this: in how many waits it has lent the slot for. */
const HELD = 0;
/** It has not begun and is not in line, or it has ended. */
const NONE = -1;
/** It is in line to begin. */
const PARKED = -2;
/** It was in line to begin, and has left it. */
const LEFT = -3;

/** A task that begins when its group has a slot for it. */
export class LimitedTask<T> extends LendingTask<T> {
  /** One of the numbers above, or its place in line: to begin, or to go on. */
  #slot: number | Place | Return = NONE;

  constructor(
    owner: ChildOwner,
    loop: EventLoop,
    body: TaskBody<T>,
    options: TaskOptions,
  ) {
    super(owner, loop, body, options, false);
    // A task that was cancelled needs no slot to end.
    if (this.cancelling() > 0) loop[core].schedule(this);
    else this.#enter();
  }

  get #limiter(): Limiter {
    return this.owner.limiter!;
  }

  /** Queues the first step, or gets in line for a slot. */
  #enter(): void {
    if (this.#limiter.take()) this.begin();
    else if (this.#slot === LEFT) this.#parkAgain();
    else {
      this.#slot = PARKED;
      this.#limiter.park(this as LimitedTask<unknown>);
    }
  }

  #parkAgain(): void {
    this.#slot = this.#limiter.parkAgain(this as LimitedTask<unknown>);
  }

  #isParked(): boolean {
    return this.#slot === PARKED || this.#slot instanceof Place;
  }

  /** Whether it is in line to begin, at this place. */
  waitsAt(place: Place | typeof PARKED): boolean {
    return this.#slot === place;
  }

  /** It has been given a slot. */
  begin(): void {
    this.#slot = HELD;
    this.loop[core].schedule(this);
  }

  override setPriority(priority: Priority): void {
    const before = this.priority;
    super.setPriority(priority);
    if (this.priority === before || !this.#isParked()) return;
    this.#parkAgain();
    this.#limiter.forgo(); // its place of before
  }

  override cancel(reason?: unknown): boolean {
    const accepted = super.cancel(reason);
    // A signal may have aborted before the fields were there.
    if (accepted && #slot in this && this.#isParked()) {
      this.#slot = LEFT;
      this.#limiter.forgo();
      this.loop[core].schedule(this);
    }
    return accepted;
  }

  protected override intercept(): boolean {
    if (
      (this.#slot === NONE || this.#slot === LEFT) && !this.done() &&
      this.cancelling() === 0
    ) {
      // The cancellation that took it out of the line was taken back.
      this.#enter();
      return true;
    }
    return super.intercept();
  }

  /** The task has ended. */
  giveBack(): void {
    const slot = this.#slot;
    this.#slot = NONE;
    if (slot === HELD) this.#limiter.release();
  }

  /**
   * Whether it counts, and `future` is one of its own that may need its slot: a
   * task that it made in the same group, or one of a group that it opened.
   */
  ownsUnfinished(future: Future<unknown>): boolean {
    const slot = this.#slot;
    if (typeof slot === "number" && slot < HELD) return false;
    if (!(future instanceof LendingTask) || future.done()) return false;
    return future.owner.task === this as Task<unknown> ||
      future.owner === this.owner &&
        future.parent === this as Task<unknown>;
  }

  /** Gives its slot to others while it waits for them. */
  lend(): void {
    const slot = this.#slot;
    if (slot instanceof Return) {
      // It is in line for what it lends, in another of its async functions.
      this.#slot = HELD + 1;
      slot.setResult();
      return;
    }
    if (slot instanceof Place || slot < HELD) return;
    this.#slot = slot + 1;
    if (slot === HELD) this.#limiter.release();
  }

  /**
   * One of the waits is over. It counts again when the last is: at once, which
   * gives null, or when that is done which is returned.
   */
  reclaim(): Return | null {
    const slot = this.#slot;
    if (typeof slot !== "number" || slot <= HELD) return null;
    this.#slot = slot - 1;
    if (slot > HELD + 1 || this.#limiter.take()) return null;
    if (this.cancelling() > 0) {
      this.#limiter.insist(); // what is cancelled ends, and does not wait for that
      return null;
    }
    const inLine = new Return(this as LimitedTask<unknown>);
    this.#slot = inLine;
    this.#limiter.wait(inLine);
    return inLine;
  }

  /** What it was in line for is there. */
  returned(): void {
    this.#slot = HELD;
  }

  /** It goes on without having waited to the end, and counts. */
  goOn(): void {
    if (!(this.#slot instanceof Return)) return;
    this.#limiter.insist();
    this.#slot = HELD;
  }
}

/** The current task, if it is about to wait for one of its own that may need its slot. */
export function lenderFor(
  futures: Iterable<Future<unknown>>,
): LimitedTask<unknown> | null {
  const task = findTask();
  if (!(task instanceof LimitedTask)) return null;
  for (const future of futures) if (task.ownsUnfinished(future)) return task;
  return null;
}

/** Waits, while the slot of the waiting task is lent; goes on when it has one again. */
export function* lending<T>(
  lender: LimitedTask<unknown>,
  waiting: Iterable<Suspension, T, unknown>,
): Coroutine<T> {
  lender.lend();
  let value: T;
  try {
    value = yield* waiting;
  } catch (error) {
    const interruption = yield* returning(lender);
    if (interruption === null) throw error;
    if (isCancellation(error)) throw interruption.error;
    // What the wait has come to goes first, and a cancellation is not lost.
    if (interruption.error instanceof CancelledError) {
      lender.postponeCancel(interruption.error);
    }
    throw error;
  }
  const interruption = yield* returning(lender);
  if (interruption !== null) throw interruption.error;
  return value;
}

/** Waits until a task has its slot again; gives what ended that wait before. */
export function* returning(
  lender: LimitedTask<unknown>,
): Coroutine<{ readonly error: unknown } | null> {
  const slot = lender.reclaim();
  if (slot === null) return null;
  try {
    yield* slot;
    return null;
  } catch (error) {
    return { error };
  } finally {
    lender.goOn();
  }
}

type OnFulfilled<T, A> = ((value: T) => A | PromiseLike<A>) | null | undefined;
type OnRejected<B> =
  | ((reason: unknown) => B | PromiseLike<B>)
  | null
  | undefined;

/** The same for an async function: null if it does not wait, or has nothing to lend. */
function thenLending<T, A, B>(
  future: Future<T>,
  lender: LimitedTask<unknown> | null,
  onFulfilled: OnFulfilled<T, A>,
  onRejected: OnRejected<B>,
): PromiseLike<A | B> | null {
  if (
    lender === null || typeof onFulfilled !== "function" ||
    typeof onRejected !== "function"
  ) return null;
  const wait = new LendingWait(lender, future, onFulfilled, onRejected);
  future[addWaiter](wait);
  return wait;
}

/** The wait of an async function that lends the slot of its task. */
class LendingWait<T, A, B> extends PromiseWait<T, A, B> {
  readonly #lender: LimitedTask<unknown>;
  /** What it waits for in the end. */
  #slot: Return | null = null;

  constructor(
    lender: LimitedTask<unknown>,
    future: Future<T>,
    onFulfilled: (value: T) => A | PromiseLike<A>,
    onRejected: (reason: unknown) => B | PromiseLike<B>,
  ) {
    super(future, onFulfilled, onRejected);
    this.#lender = lender;
    lender.lend();
  }

  override run(): void {
    if (this.#slot === null) {
      if (!this.isOver()) return;
      this.#slot = this.#lender.reclaim();
      if (this.#slot !== null) {
        this.#slot[addWaiter](this);
        const level = this.strand!.level;
        if (level !== null) this.interrupt(level);
        return;
      }
    } else {
      this.#lender.goOn();
      if (this.#slot.cancelled()) {
        return this.fail(this.#slot[takeCancellation]());
      }
    }
    super.run();
  }

  override interrupt(request: Request): void {
    // The constructor may be told of a cancellation that is there already.
    if (#slot in this && this.#slot?.cancel(request.reason)) {
      if (!request.isLevel) request.state = "thrown";
      return;
    }
    super.interrupt(request);
  }

  override describe(): string {
    return this.#slot === null ? super.describe() : this.#slot[inWords]();
  }
}
