/**
 * A task of a limited group: it begins when the group has a slot for it, and may
 * lend the slot while it waits for tasks of its own.
 *
 * @module
 */
import { explain } from "../loop/waiters.ts";
import { core } from "../loop/core.ts";
import type { EventLoop } from "../loop/event_loop.ts";
import { Future } from "../loop/future.ts";
import type { Priority } from "../loop/priority.ts";
import type { Task, TaskOptions } from "../loop/task.ts";
import type { TaskBody } from "../loop/task_body.ts";
import type { PlaceFacts, WaitFacts } from "../loop/waits.ts";
import { type GroupSlots, Place, type SlotWait } from "./group_slots.ts";
import type { ChildOwner } from "./group_tasks.ts";
import type { Lender } from "./lending.ts";
import { LendingTask } from "./lending_futures.ts";

/** A slot that was lent, for so many waits at the same time. */
class Lent {
  waits = 1;
}

/** The wait of a task for the slot that it had lent. */
class SlotReturn extends Future<void> implements SlotWait {
  readonly #task: LimitedTask<unknown>;

  constructor(task: LimitedTask<unknown>) {
    super(task.loop, SLOT);
    this.#task = task;
  }

  override [explain](): WaitFacts {
    return slotFacts(this.#task);
  }

  isOver(): boolean {
    return this.done() || this.#task.done();
  }

  grant(): void {
    this.#task.returned();
    this.setResult();
  }
}

const SLOT = "a slot of its task group";

function slotFacts({ owner }: LimitedTask<unknown>): WaitFacts {
  return {
    kind: "slot",
    target: owner.group,
    behind: owner.slotHolders(),
    isHeld: true,
  };
}

/**
 * The slot of a limited task:
 * - `"none"`: it has not begun and is not in line, or it has ended;
 * - `"in line"`, a {@linkcode Place}: it is in line to begin, where it came first
 *   or where it has moved;
 * - `"left"`: it was in line to begin, and was cancelled;
 * - `"held"`: it has the slot;
 * - {@linkcode Lent}: it has lent the slot while it waits for tasks of its own;
 * - {@linkcode SlotReturn}: it is in line to go on.
 */
type Slot = "none" | "in line" | Place | "left" | "held" | Lent | SlotReturn;

/** A task that begins when its group has a slot for it. */
export class LimitedTask<T> extends LendingTask<T> implements Lender {
  #slot: Slot = "none";

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

  get #slots(): GroupSlots {
    return this.owner.slots!;
  }

  override get lender(): Lender {
    return this;
  }

  /** Queues the first step, or gets in line for a slot. */
  #enter(): void {
    if (this.#slots.take()) this.begin();
    else if (this.#slot === "left") this.#enterLineAgain();
    else {
      this.#slot = "in line";
      this.#slots.enterLine(this as LimitedTask<unknown>);
    }
  }

  #enterLineAgain(): void {
    this.#slot = this.#slots.enterLineAgain(this as LimitedTask<unknown>);
  }

  #isInLine(): boolean {
    return this.#slot === "in line" || this.#slot instanceof Place;
  }

  /** Whether it is in line to begin, at this place. */
  waitsAt(place: Place | "in line"): boolean {
    return this.#slot === place;
  }

  /** Whether it has a slot, and has not lent it. */
  holdsSlot(): boolean {
    return this.#slot === "held";
  }

  override placeInLine(): PlaceFacts | null {
    // The constructor of the task may have to tell of it.
    return #slot in this && this.#isInLine()
      ? { ...slotFacts(this as LimitedTask<unknown>), inWords: SLOT }
      : null;
  }

  /** Called when the task has got a slot. */
  begin(): void {
    this.#slot = "held";
    this.kernel.schedule(this);
  }

  override setPriority(priority: Priority): void {
    const before = this.priority;
    super.setPriority(priority);
    if (this.priority === before || !this.#isInLine()) return;
    this.#enterLineAgain();
    this.#slots.leaveLine(); // its place of before
  }

  override cancel(reason?: unknown): boolean {
    const accepted = super.cancel(reason);
    // A signal may have aborted before the fields were there.
    if (accepted && #slot in this && this.#isInLine()) {
      this.#slot = "left";
      this.#slots.leaveLine();
      this.kernel.schedule(this);
    }
    return accepted;
  }

  override intercept(): boolean {
    if (
      (this.#slot === "none" || this.#slot === "left") && !this.done() &&
      this.cancelling() === 0
    ) {
      // The cancellation that took it out of the line was taken back.
      this.#enter();
      return true;
    }
    return super.intercept();
  }

  override giveBack(): void {
    const slot = this.#slot;
    this.#slot = "none";
    if (slot === "held") this.#slots.release();
  }

  ownsUnfinished(future: Future<unknown>): boolean {
    const slot = this.#slot;
    if (slot === "none" || slot === "in line" || slot === "left") return false;
    if (!(future instanceof LendingTask) || future.done()) return false;
    return future.owner.task === this as Task<unknown> ||
      future.owner === this.owner &&
        future.parent === this as Task<unknown>;
  }

  lend(): void {
    const slot = this.#slot;
    if (slot === "held") {
      this.#slot = new Lent();
      this.#slots.release();
    } else if (slot instanceof Lent) slot.waits++;
    else if (slot instanceof SlotReturn) {
      // The task is in line for a slot, in another of its async functions, and
      // lends that.
      this.#slot = new Lent();
      slot.setResult();
    }
  }

  reclaim(): Future<void> | null {
    const slot = this.#slot;
    if (!(slot instanceof Lent) || --slot.waits > 0) return null;
    this.#slot = "held";
    if (this.#slots.take()) return null;
    if (this.cancelling() > 0) {
      this.#slots.insist(); // what is cancelled ends, and does not wait for that
      return null;
    }
    const wait = new SlotReturn(this as LimitedTask<unknown>);
    this.#slot = wait;
    this.#slots.enterReturning(wait);
    return wait;
  }

  /** The slot for which it was in line is there. */
  returned(): void {
    this.#slot = "held";
  }

  goOn(): void {
    if (!(this.#slot instanceof SlotReturn)) return;
    this.#slots.insist();
    this.#slot = "held";
  }
}
