/**
 * How a task group keeps no more than so many tasks running at once.
 *
 * @module
 */
import { currentTask } from "../loop/current.ts";
import type { EventLoop } from "../loop/event_loop.ts";
import type { Future, Suspension } from "../loop/future.ts";
import type { Coroutine, Task, TaskBody, TaskOptions } from "../loop/task.ts";
import { RingBuffer } from "../structures/ring_buffer.ts";
import { type ChildOwner, ChildTask } from "./child.ts";

/**
 * The slots of one group. A task takes one for its first step and gives it back
 * at its end; those that find none wait in line without having begun.
 */
export class Limiter {
  readonly #limit: number;
  #running = 0;
  readonly #parked = new RingBuffer<LimitedTask<unknown>>();

  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Takes a slot for `task`, or puts it in line. */
  admit(task: LimitedTask<unknown>): boolean {
    if (this.#running >= this.#limit) {
      this.#parked.push(task);
      return false;
    }
    this.#running++;
    return true;
  }

  /** A slot is taken without asking, by a task that had lent its own. */
  take(): void {
    this.#running++;
  }

  /** Gives back a slot, and starts who has been waiting for it longest. */
  release(): void {
    this.#running--;
    while (this.#running < this.#limit) {
      const next = this.#parked.shift();
      if (next === undefined) return;
      if (!next.isParked()) continue; // it was cancelled in line
      this.#running++;
      next.begin();
    }
  }
}

/** Ends a task that was cancelled in line. */
function runTask(task: LimitedTask<unknown>): void {
  task.run();
}

/** A task that begins when its group has a slot for it. */
export class LimitedTask<T> extends ChildTask<T> {
  readonly #limiter: Limiter;
  #state: "new" | "parked" | "begun" = "new";
  #holdsSlot = false;
  /** How many waits for tasks of its own it is in. */
  #loans = 0;

  constructor(
    owner: ChildOwner,
    limiter: Limiter,
    loop: EventLoop,
    body: TaskBody<T>,
    options: TaskOptions,
  ) {
    super(owner, loop, body, { ...options, eager: false });
    this.#limiter = limiter;
  }

  protected override intercept(): boolean {
    if (this.#state === "begun") return super.intercept();
    if (this.#state === "parked") return true;
    // A task that was cancelled needs no slot to end.
    if (this.cancelling() === 0) {
      if (!this.#limiter.admit(this as LimitedTask<unknown>)) {
        this.#state = "parked";
        return true;
      }
      this.#holdsSlot = true;
    }
    this.#state = "begun";
    return false;
  }

  isParked(): boolean {
    return this.#state === "parked";
  }

  /** A slot is there. */
  begin(): void {
    this.#state = "begun";
    this.#holdsSlot = true;
    this["startEagerly"](); // it may be called from within the step of another task
  }

  override cancel(reason?: unknown): boolean {
    const accepted = super.cancel(reason);
    if (accepted && #state in this && this.#state === "parked") {
      this.#state = "begun";
      this.loop.callSoon(runTask, this as LimitedTask<unknown>);
    }
    return accepted;
  }

  /** The task has ended. */
  giveBack(): void {
    if (this.#holdsSlot && this.#loans === 0) this.#limiter.release();
    this.#holdsSlot = false;
  }

  /** Whether it counts, and `future` is a task of its own that may have to wait for its slot. */
  ownsUnfinished(future: Future<unknown>): boolean {
    return this.#holdsSlot && future instanceof LimitedTask && !future.done() &&
      future.#limiter === this.#limiter &&
      future.parent === this as Task<unknown>;
  }

  /** Lets others run while it waits for them. */
  lend(): void {
    if (this.#holdsSlot && this.#loans++ === 0) this.#limiter.release();
  }

  /** It goes on, and counts again, even if that makes one too many for a while. */
  reclaim(): void {
    if (this.#holdsSlot && --this.#loans === 0) this.#limiter.take();
  }

  override [Symbol.iterator](): Iterator<Suspension, T, unknown> {
    const lender = lenderFor([this]);
    return lender === null
      ? super[Symbol.iterator]()
      : lending(lender, { [Symbol.iterator]: () => super[Symbol.iterator]() });
  }

  override then<A = T, B = never>(
    onFulfilled?: ((value: T) => A | PromiseLike<A>) | null,
    onRejected?: ((reason: unknown) => B | PromiseLike<B>) | null,
  ): PromiseLike<A | B> {
    return thenLending(
      lenderFor([this]),
      (onFulfilled, onRejected) => super.then(onFulfilled, onRejected),
      onFulfilled,
      onRejected,
    );
  }
}

/** The current task, if it is about to wait for one of its own that may need its slot. */
export function lenderFor(
  futures: Iterable<Future<unknown>>,
): LimitedTask<unknown> | null {
  const task = currentTask();
  if (!(task instanceof LimitedTask)) return null;
  for (const future of futures) if (task.ownsUnfinished(future)) return task;
  return null;
}

type OnFulfilled<T, A> = ((value: T) => A | PromiseLike<A>) | null | undefined;
type OnRejected<B> =
  | ((reason: unknown) => B | PromiseLike<B>)
  | null
  | undefined;

/** Calls `then`, and lends the slot until one of the callbacks is called. */
export function thenLending<T, A, B>(
  lender: LimitedTask<unknown> | null,
  then: (
    onFulfilled: OnFulfilled<T, A>,
    onRejected: OnRejected<B>,
  ) => PromiseLike<A | B>,
  onFulfilled: OnFulfilled<T, A>,
  onRejected: OnRejected<B>,
): PromiseLike<A | B> {
  if (
    lender === null || typeof onFulfilled !== "function" ||
    typeof onRejected !== "function"
  ) return then(onFulfilled, onRejected);
  lender.lend();
  return then((value) => {
    lender.reclaim();
    return onFulfilled(value);
  }, (error) => {
    lender.reclaim();
    return onRejected(error);
  });
}

/** Waits, while the slot of the waiting task is lent. */
export function* lending<T>(
  lender: LimitedTask<unknown>,
  waiting: Iterable<Suspension, T, unknown>,
): Coroutine<T> {
  lender.lend();
  try {
    return yield* waiting;
  } finally {
    lender.reclaim();
  }
}
