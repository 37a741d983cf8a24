/**
 * The line of tasks that wait for the same thing, first come, first served. All
 * primitives of this folder are built on it.
 *
 * @module
 */
import {
  explain,
  listHolders,
  listWaiters,
  pressureOf,
} from "../loop/waiters.ts";
import { MisuseError } from "../errors.ts";
import { findTask, getRunningLoop } from "../loop/current.ts";
import type { EventLoop } from "../loop/event_loop.ts";
import { Future } from "../loop/future.ts";
import { urgencyOf } from "../loop/priority_ready_queue.ts";
import {
  Pressure,
  priorityLoops,
  type Urgency,
} from "../loop/priority_inheritance.ts";
import type { Task } from "../loop/task.ts";
import { kindOf, observed, type WaitFacts } from "../loop/waits.ts";
import { LinkedList, type ListNode } from "../structures/linked_list.ts";

/**
 * Place in a {@linkcode WaitQueue}: a future, for `yield*`. Its result is
 * the argument of the wake-up, `true` in most cases.
 *
 * A waiter is _pending_ first. Then it is _woken_, or it is _gone_: cancelled,
 * or its task was taken away by an abort. Either way it stays in line until its
 * task runs, in the next turn, and calls {@linkcode WaitQueue.leave}.
 */
export class Waiter<V = undefined> extends Future<boolean>
  implements ListNode<Waiter<V>> {
  list: LinkedList<Waiter<V>> | undefined = undefined;
  nextNode: Waiter<V> | undefined = undefined;
  previousNode: Waiter<V> | undefined = undefined;
  /** Payload of the wait, such as the value of a sender. */
  readonly item: V;
  readonly #queue: WaitQueue<V>;
  #refuse: ((reason: unknown) => void) | undefined;
  #gone = false;
  /** Task that the waiters behind this one raise, as it is about to leave the line. */
  #raised: Urgency | null = null;

  constructor(
    loop: EventLoop,
    label: string,
    queue: WaitQueue<V>,
    item: V,
    refuse: ((reason: unknown) => void) | undefined,
  ) {
    super(loop, label);
    this.#queue = queue;
    this.item = item;
    this.#refuse = refuse;
  }

  /** Whether it has been woken. Its task may have been cancelled since, before it runs. */
  get woken(): boolean {
    return this.done() && !this.cancelled();
  }

  /** Whether it was cancelled, or its task taken away by an abort, before it was woken. */
  get gone(): boolean {
    return this.#gone;
  }

  /** Whether it still waits: neither woken nor gone. */
  get pending(): boolean {
    return !this.#gone && !this.done();
  }

  override cancel(reason?: unknown): boolean {
    if (this.done()) return false;
    if (this.#refuse !== undefined) {
      this.#refuse(reason);
      return true;
    }
    this.#go();
    super.cancel(reason);
    return true;
  }

  /** An abort takes the task away at once; the task leaves the line when it runs. */
  protected override waiterLeaves(): void {
    if (!this.done()) this.#go();
  }

  #go(): void {
    if (this.#gone) return;
    this.#raise();
    this.#gone = true;
    // The waiter is in no line any more if its loop was closed.
    if (this.list !== undefined) this.#queue.noteGone();
  }

  /**
   * Raises its task to the priority of those behind it: they cannot get in
   * before it has left. If it was woken, the permit is its own already.
   */
  #raise(): void {
    if (priorityLoops.count === 0 || this.#raised !== null) return;
    const [waiting] = this[listWaiters]();
    if (waiting !== undefined) {
      this.#raised = this.#queue.lendTo(urgencyOf(waiting));
    }
  }

  /** Wakes it: its task runs in the next turn. For the queue. */
  wake(result: boolean): void {
    this.#raise();
    this.setResult(result);
  }

  /** Facts about the wait in this line. */
  override [explain](): WaitFacts {
    return this.#queue.explainWait(this.label);
  }

  /** Priority that all waiters of the queue share. */
  override [pressureOf](): object | null {
    return this.#queue.pressureOfWaiters();
  }

  /** Ends it, as its task waits no more. For the queue. */
  close(): void {
    if (!this.done()) {
      this.#refuse = undefined;
      this.cancel();
    }
    this.#queue.givenBack(this.#raised);
    this.#raised = null;
  }
}

/** Object that tasks wait for and others hold. */
interface Held {
  /** Lists the tasks that hold it. */
  [listHolders]?(): Iterable<Task<unknown>>;
}

/** How many of the tasks that serve a line are noted. */
const SERVERS_MAX = 16;

/**
 * Line of waiters, first come, first served.
 *
 *     const waiter = this.#waiters.enter(undefined);
 *     try {
 *       yield* waiter;
 *     } finally {
 *       this.#waiters.leave(waiter);
 *     }
 *
 * As in asyncio, a waiter leaves when its task runs, not when it is woken or
 * cancelled. Until then {@linkcode length} counts the woken, who are in the way
 * of newcomers, {@linkcode pendingCount} does not. All methods take constant
 * time, amortized: each waiter is passed over once.
 */
export class WaitQueue<V = undefined> {
  /** Name of the wait, such as `"Queue.get()"`, for deadlock reports. */
  readonly label: string;
  readonly #waiters = new LinkedList<Waiter<V>>();
  /** First waiter that may be pending: none before it is. */
  #next: Waiter<V> | undefined = undefined;
  /** Waiters in line that were cancelled or aborted. */
  #goneCount = 0;
  #pendingPeak = 0;
  /** Waiters in line that were woken. */
  #wokenCount = 0;
  #loop: EventLoop | null = null;
  /** Whether tasks hold the thing that is waited for, and are raised to the priority of the waiters. */
  readonly #isHeld: boolean;
  /** Tasks that have woken waiters while an instrument was there, the latest ones; null if there are none. */
  #servers: Set<Task<unknown>> | null = null;
  /** The lock, the queue, or what else the program has of it. */
  readonly #owner: object;
  #pressure: Pressure | null = null;

  /**
   * @param label Name of the wait, such as `"Queue.get()"`, for deadlock reports.
   * @param owner The thing that is waited for, as the program has it.
   * @param held `"held"` if tasks hold the thing, and say so by `taken`.
   */
  constructor(label: string, owner: object, held?: "held") {
    this.label = label;
    this.#owner = owner;
    this.#isHeld = held !== undefined;
  }

  /** Waiters in line, those included that are woken and have not run; not those that are gone. */
  get length(): number {
    const length = this.#waiters.length - this.#goneCount;
    return length > 0 && this.#isAbandoned() ? 0 : length;
  }

  /** Waiters in line that are neither woken nor gone. */
  get pendingCount(): number {
    return this.length === 0 ? 0 : this.length - this.#wokenCount;
  }

  /** The largest `pendingCount` so far. */
  get pendingPeak(): number {
    return this.#pendingPeak;
  }

  /**
   * Adds a waiter at the end of the line.
   *
   * @param item Payload of the wait.
   * @param refuse Makes a waiter that cannot be cancelled: this is called instead, with the reason.
   */
  enter(item: V, refuse?: (reason: unknown) => void): Waiter<V> {
    const waiter = new Waiter(this.open(), this.label, this, item, refuse);
    this.append(waiter);
    return waiter;
  }

  /** Returns the loop to which the next waiter has to belong. */
  open(): EventLoop {
    const loop = getRunningLoop();
    if (this.#loop !== loop) this.#moveTo(loop);
    return loop;
  }

  /** Adds a waiter that was made for this queue. */
  append(waiter: Waiter<V>): void {
    this.#waiters.append(waiter);
    if (this.#next === undefined) this.#next = waiter;
    const pending = this.#waiters.length - this.#goneCount - this.#wokenCount;
    if (pending > this.#pendingPeak) this.#pendingPeak = pending;
  }

  /** Removes a waiter, woken or not, from wherever it stands. */
  leave(waiter: Waiter<V>): void {
    waiter.close();
    if (this.#next === waiter) this.#next = waiter.nextNode;
    if (!this.#waiters.remove(waiter)) return;
    if (waiter.gone) this.#goneCount--;
    else this.#wokenCount--;
  }

  /** Returns the first pending waiter. */
  peek(): Waiter<V> | undefined {
    let next = this.#next;
    while (next !== undefined && !next.pending) next = next.nextNode;
    this.#next = next;
    return next !== undefined && this.#isAbandoned() ? undefined : next;
  }

  /** Wakes the first pending waiter, and returns it. */
  wakeNext(result: boolean = true): Waiter<V> | undefined {
    const waiter = this.peek();
    if (waiter !== undefined) this.#wake(waiter, result);
    return waiter;
  }

  /**
   * Wakes the very first waiter, unless it is woken or gone. In that case it
   * decides itself, when it runs, whether the next is to be woken.
   */
  wakeHead(): void {
    const head = this.#waiters.first;
    if (head !== undefined && head.pending && !this.#isAbandoned()) {
      this.#wake(head, true);
    }
  }

  /** Wakes all pending waiters, in order. */
  wakeAll(result: boolean = true): void {
    while (this.wakeNext(result) !== undefined);
  }

  /** Notes that the running task serves this line. */
  #noteServer(): void {
    const task = this.#isHeld ? null : findTask();
    if (task === null) return;
    const servers = this.#servers ??= new Set();
    if (servers.has(task)) return;
    servers.add(task);
    for (const server of servers) {
      if (server.done() || servers.size > SERVERS_MAX) servers.delete(server);
    }
  }

  /** Facts about a wait in this line. For waiters. */
  explainWait(label: string): WaitFacts {
    const target = this.#owner;
    const kind = kindOf(label);
    const holders = (target as Held)[listHolders]?.();
    if (holders !== undefined) {
      return { kind, target, behind: holders, isHeld: true };
    }
    const servers = [...this.#servers ?? []];
    return { kind, target, behind: servers.filter((task) => !task.done()) };
  }

  #wake(waiter: Waiter<V>, result: boolean): void {
    // Only here, not for each item that nobody waits for: that costs a queue 3 %.
    if (observed.count > 0) this.#noteServer();
    this.#wokenCount++;
    waiter.wake(result);
  }

  /** Counts a waiter that is about to leave without being woken. For waiters. */
  noteGone(): void {
    this.#goneCount++;
  }

  /**
   * The running task takes the thing that is waited for here. On a loop that
   * goes by priority it is raised to the priority of the waiters, until it is
   * `givenBack`.
   */
  taken(): Urgency | null {
    return priorityLoops.count === 0 ? null : this.takenBy(findTask());
  }

  /** The same for another task; for `null` it does nothing. */
  takenBy(task: Task<unknown> | null): Urgency | null {
    if (priorityLoops.count === 0 || task === null) return null;
    return this.lendTo(task.urgency);
  }

  /** Ends the raise of `holder`, which `taken` returned. */
  givenBack(holder: Urgency | null): void {
    if (holder !== null) this.#pressure!.takeFrom(holder);
  }

  /** Raises `holder` to the priority of the waiters. For waiters. */
  lendTo(holder: Urgency | null): Urgency | null {
    if (!this.#isHeld || holder === null) return null;
    (this.#pressure ??= new Pressure()).grantTo(holder);
    return holder;
  }

  /** Returns the priority that all waiters share; null if nobody can be raised to it. For waiters. */
  pressureOfWaiters(): Pressure | null {
    return this.#isHeld ? this.#pressure ??= new Pressure() : null;
  }

  /** Whether the loop was closed under the waiters, so that they never leave. */
  #isAbandoned(): boolean {
    return this.#loop !== null && this.#loop.isClosed();
  }

  #moveTo(loop: EventLoop): void {
    if (this.#loop !== null && this.#waiters.length > 0) {
      if (!this.#loop.isClosed()) {
        throw new MisuseError(
          `Cannot wait for ${this.label}: it is in use on another event loop`,
        );
      }
      this.#waiters.clear();
      this.#next = undefined;
      this.#goneCount = 0;
      this.#wokenCount = 0;
    }
    this.#loop = loop;
  }
}
