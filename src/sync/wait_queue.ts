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
import { LinkedList, type ListNode } from "../structures/queues.ts";

/**
 * The right to be inside: what acquiring a lock or a semaphore gives.
 *
 * `using permit = yield* lock.acquire()` gives it back when the block is left,
 * `scoped(permit, ...)` when its body ends. Giving it back a second time does
 * nothing, so it never frees what somebody else has acquired since.
 */
export interface Permit extends Disposable {
  /** Whether it counts now: not any more once it is given back, and not during a {@linkcode Condition.wait}. */
  readonly held: boolean;
  /** Gives it back, and wakes whoever is next. The second time it does nothing. */
  release(): void;
  /** The same as {@linkcode Permit.release}. */
  [Symbol.dispose](): void;
}

/**
 * One who waits in a {@linkcode WaitQueue}: a future that `yield*` waits for.
 * Its result is what the waking one said, `true` in most cases.
 */
export class Waiter<V = undefined> extends Future<boolean>
  implements ListNode<Waiter<V>> {
  list: LinkedList<Waiter<V>> | undefined = undefined;
  nextNode: Waiter<V> | undefined = undefined;
  previousNode: Waiter<V> | undefined = undefined;
  /** What it waits with: the value of a sender. */
  readonly item: V;
  readonly #queue: WaitQueue<V>;
  #refuse: ((reason: unknown) => void) | undefined;
  /** Whose priority counts for those behind it, as it is about to leave the line. */
  private holder: Urgency | null = null;

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

  /** Whether it has been woken. It may have been cancelled since, in the turn before its own. */
  get woken(): boolean {
    return this.done() && !this.cancelled();
  }

  /** Whether it has been neither woken nor cancelled, and somebody still waits for it. */
  get pending(): boolean {
    // An abort takes the waiting one away at once, one turn before it leaves.
    return !this.done() && this.hasWaiter();
  }

  override cancel(reason?: unknown): boolean {
    if (this.#refuse !== undefined && !this.done()) {
      this.#refuse(reason);
      return true;
    }
    if (this.done()) return false;
    this.#aboutToLeave();
    super.cancel(reason);
    this.#queue["cancelledCount"]++;
    return true;
  }

  /** Whoever waits is taken away by an abort, and leaves in its next turn. */
  protected override waiterLeaves(): void {
    this.#aboutToLeave();
  }

  /**
   * Nobody behind it may get in before it has left: it is in their way like one
   * who is inside. If it was woken, what it will hold is its own already.
   */
  #aboutToLeave(): void {
    if (priorityLoops.count === 0 || this.holder !== null) return;
    const [waiting] = this["listWaiters"]();
    if (waiting !== undefined) {
      this.holder = this.#queue["lendTo"](urgencyOf(waiting));
    }
  }

  /** Wakes it. */
  wake(result: boolean): void {
    this.#aboutToLeave();
    this.setResult(result);
  }

  /** What those share who wait in the queue. */
  protected override pressure(): object | null {
    return this.#queue["pressureOfWaiters"]();
  }

  /** Nobody waits for it any more. */
  private close(): void {
    this.#queue.givenBack(this.holder);
    this.holder = null;
    if (this.done()) return;
    this.#refuse = undefined;
    this.cancel();
  }
}

/**
 * Those who wait for the same thing, first come, first served: the one wait
 * queue that locks, semaphores, queues and the rest are built on.
 *
 *     const waiter = this.#waiters.enter();
 *     try {
 *       yield* waiter;
 *     } finally {
 *       this.#waiters.leave(waiter);
 *     }
 *
 * As in asyncio, a waiter leaves when its task runs, not when it is woken or
 * cancelled, and those in between count or do not, depending on the question.
 * Nothing here takes longer because many wait: each waiter is passed over once.
 */
export class WaitQueue<V = undefined> {
  /** What is waited for. */
  readonly label: string;
  readonly #waiters = new LinkedList<Waiter<V>>();
  /** The first who may be pending: all before it are not. */
  #next: Waiter<V> | undefined = undefined;
  /** How many have been cancelled and have not left. */
  private cancelledCount = 0;
  #loop: EventLoop | null = null;
  /** Whether somebody holds what is waited for here, and is raised to those who wait. */
  readonly #isHeld: boolean;
  #pressure: Pressure | null = null;

  /**
   * @param label What is waited for, such as `"Queue.get()"`, for deadlock reports.
   * @param held `"held"` if tasks hold what is waited for, and say so by `taken`.
   */
  constructor(label: string, held?: "held") {
    this.label = label;
    this.#isHeld = held !== undefined;
  }

  /** How many wait, the woken ones included who have not had their turn, and the cancelled ones not. */
  get length(): number {
    return this.#waiters.length - this.cancelledCount;
  }

  /**
   * Comes in as the last.
   *
   * @param item What it waits with.
   * @param refuse Makes a waiter that cannot be cancelled: this is told instead.
   */
  enter(item: V, refuse?: (reason: unknown) => void): Waiter<V> {
    const waiter = new Waiter(this.open(), this.label, this, item, refuse);
    this.append(waiter);
    return waiter;
  }

  /** The loop that a waiter has to belong to who comes in now. */
  open(): EventLoop {
    const loop = getRunningLoop();
    if (this.#loop !== loop) this.#moveTo(loop);
    return loop;
  }

  /** Takes in a waiter that was made for this queue, as the last. */
  append(waiter: Waiter<V>): void {
    this.#waiters.append(waiter);
    if (this.#next === undefined) this.#next = waiter;
  }

  /** Goes out, woken or not. */
  leave(waiter: Waiter<V>): void {
    waiter["close"]();
    if (this.#next === waiter) this.#next = waiter.nextNode;
    if (this.#waiters.remove(waiter) && waiter.cancelled()) {
      this.cancelledCount--;
    }
  }

  /** The first who has been neither woken nor cancelled. */
  peek(): Waiter<V> | undefined {
    let next = this.#next;
    while (next !== undefined && !next.pending) next = next.nextNode;
    return this.#next = next;
  }

  /** Wakes the first who has been neither woken nor cancelled, and returns it. */
  wakeNext(result: boolean = true): Waiter<V> | undefined {
    const waiter = this.peek();
    waiter?.wake(result);
    return waiter;
  }

  /**
   * Wakes the very first, unless it has been woken or cancelled. In that case it
   * will look for itself, when it runs, whether the next is to be woken.
   */
  wakeHead(): void {
    const head = this.#waiters.first;
    if (head !== undefined && !head.done()) head.wake(true);
  }

  /** Wakes all who have been neither woken nor cancelled. */
  wakeAll(result: boolean = true): void {
    while (this.wakeNext(result) !== undefined);
  }

  /**
   * The running task takes what is waited for here. On a loop that goes by
   * priority it is raised to those who wait, until it is `givenBack`.
   */
  taken(): Urgency | null {
    return priorityLoops.count === 0 ? null : this.takenBy(findTask());
  }

  /** The same for another task; null is nobody. */
  takenBy(task: Task<unknown> | null): Urgency | null {
    if (priorityLoops.count === 0 || task === null) return null;
    return this.lendTo(task["urgency"]);
  }

  /** `holder`, which `taken` gave, holds it no more. */
  givenBack(holder: Urgency | null): void {
    if (holder !== null) this.#pressure!.takeFrom(holder);
  }

  private lendTo(holder: Urgency | null): Urgency | null {
    if (!this.#isHeld || holder === null) return null;
    (this.#pressure ??= new Pressure()).grantTo(holder);
    return holder;
  }

  private pressureOfWaiters(): Pressure | null {
    return this.#isHeld ? this.#pressure ??= new Pressure() : null;
  }

  #moveTo(loop: EventLoop): void {
    if (this.#loop !== null && this.#waiters.length > 0) {
      if (!this.#loop.isClosed()) {
        throw new MisuseError(
          `Cannot wait for ${this.label}: it is in use on another event loop`,
        );
      }
      // They waited on a loop that was closed under them.
      this.#waiters.clear();
      this.#next = undefined;
      this.cancelledCount = 0;
    }
    this.#loop = loop;
  }
}
