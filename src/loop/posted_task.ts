import { InvalidStateError } from "../errors.ts";
import { checkNumber } from "./checks.ts";
import type { EventLoop } from "./event_loop.ts";
import { Future } from "./future.ts";
import type { TimerHandle } from "./handle.ts";
import { checkPriority, type Priority } from "./priority.ts";
import { cancellationBy, subscribe, type Subscription } from "./signal_hub.ts";
import type { Coroutine, Task } from "./task.ts";
import { Urgency } from "./urgency.ts";

/** How to post a function: see {@linkcode EventLoop.postTask}. */
export interface PostTaskOptions {
  /**
   * How urgent it is. Counts on a loop with a {@linkcode PriorityScheduler}.
   *
   * @default {that of the code that posts it, else "user-visible"}
   */
  readonly priority?: Priority | undefined;
  /** Cancels it, with the signal's reason, when it aborts. */
  readonly signal?: AbortSignal | undefined;
  /**
   * How long to wait before it is ready to run, in milliseconds.
   *
   * @default {0}
   */
  readonly delayMs?: number | undefined;
}

/** What may be posted: a function that computes, an async function or a generator function. */
export type PostedFunction<T> = () => Coroutine<T> | PromiseLike<T> | T;

/** The sequence of what has no place of its own in the ready queue. */
export const NOT_QUEUED = -1;

/** Fields that most posted tasks never need. */
class Extras {
  /** Its priority, once that may change. */
  urgency: Urgency | null = null;
  /** What waits for the moment at which it is ready; null if nothing does. */
  timer: TimerHandle | null = null;
  subscription: Subscription | null = null;
  /** What runs an async or generator function. */
  task: Task<unknown> | null = null;
}

/**
 * A function that a loop will run, and the future of what it returns.
 *
 * {@linkcode EventLoop.postTask} makes one. Until the function begins it can be
 * withdrawn, moved in time, and made more or less urgent; an async or generator
 * function can be cancelled and made more urgent after that too. Whoever waits
 * learns of each end there is.
 *
 * @typeParam T What the function produces.
 */
export class PostedTask<T> extends Future<T> {
  // What was posted by the thousand has to be small: until it begins, the function
  // is in the field for its result. And it is its own item of the ready queue,
  // until its priority changes there.
  private level: number;
  /** @ignore */
  sequence: number;
  private extras: Extras | null;

  /** @ignore */
  constructor(
    loop: EventLoop,
    fn: PostedFunction<T>,
    priority: number,
    options: PostTaskOptions,
  ) {
    super(loop, "a posted function");
    this["value"] = fn;
    this.level = priority;
    this.sequence = NOT_QUEUED;
    this.extras = null;
    const { signal, delayMs } = options;
    if (signal !== undefined) this.#follow(signal);
    if (this.done()) return; // the signal had aborted
    if (delayMs !== undefined && delayMs > 0) {
      this.#startTimer(loop.time() + delayMs);
    } else loop["schedule"](this);
  }

  /** Whether it stands for itself in the ready queue. @ignore */
  get alive(): boolean {
    return this.sequence !== NOT_QUEUED;
  }

  /** What to run; undefined once it has begun, or never will. */
  private get fn(): PostedFunction<T> | undefined {
    return this.done() ? undefined : this["value"] as PostedFunction<T>;
  }

  #extra(): Extras {
    return this.extras ??= new Extras();
  }

  #follow(signal: AbortSignal): void {
    const subscription = subscribe(
      signal,
      () => this.cancel(cancellationBy(signal)),
    );
    if (!this.done()) this.#extra().subscription = subscription;
  }

  #startTimer(whenMs: number): void {
    const timer = this.loop.callAt(whenMs, () => {
      this.#extra().timer = null;
      this.loop["schedule"](this);
    });
    this.#extra().timer = timer;
    this.loop["ranking"]?.noteTimer(timer, this.level);
  }

  /** Its priority as one that may change, made on first use. */
  private urgent(): Urgency {
    const extras = this.#extra();
    if (extras.urgency === null) {
      extras.urgency = new Urgency(this.level, this.loop["ranking"]);
      if (this.alive) extras.urgency.entered(this);
    }
    return extras.urgency;
  }

  /** How urgent it is; not what it may be raised to by those who wait for it. */
  get priority(): number {
    return this.level;
  }

  /**
   * Makes it more or less urgent, also while it is queued. Takes effect at once:
   * it goes behind what is ready with that priority. Does nothing after its end.
   *
   * @param priority How urgent it is.
   * @throws {TypeError} If `priority` is no priority.
   */
  setPriority(priority: Priority): void {
    const level = checkPriority(priority, "set the priority of a posted task");
    this.level = level;
    this.urgent().setBase(level);
    const { task, timer } = this.extras!;
    task?.setPriority(level);
    if (timer !== null) this.loop["ranking"]?.noteTimer(timer, level);
  }

  /**
   * Puts it off, or brings it forward, to a moment on the clock of
   * {@linkcode EventLoop.time}.
   *
   * @param whenMs The moment. One that has passed means as soon as possible.
   * @throws {TypeError} If `whenMs` is not a number.
   * @throws {RangeError} If `whenMs` is `NaN`.
   * @throws {InvalidStateError} If the function has begun, or was withdrawn.
   */
  reschedule(whenMs: number): void {
    checkNumber(whenMs, "reschedule a posted task", "whenMs");
    if (this.fn === undefined) {
      throw new InvalidStateError(
        `Cannot reschedule a posted task: it ${
          this.cancelled() ? "was cancelled" : "has begun"
        }`,
      );
    }
    // One that is queued finds the timer when its turn comes, and steps back.
    const timer = this.extras?.timer;
    if (timer) timer.reschedule(whenMs);
    else this.#startTimer(whenMs);
  }

  /**
   * Withdraws it: the function does not begin any more, and whoever waits gets a
   * {@linkcode CancelledError}. An async or generator function that has begun is
   * cancelled like a {@linkcode Task}, and this ends when it does.
   *
   * @param reason What to say about the cause.
   * @returns Whether it had not ended.
   */
  override cancel(reason?: unknown): boolean {
    if (this.done()) return false;
    const task = this.extras?.task;
    if (task) return task.cancel(reason);
    this.#end();
    return super.cancel(reason);
  }

  /** Its turn has come. @ignore */
  run(): void {
    const { fn } = this;
    // It was withdrawn, or put off, when it was queued already.
    if (
      fn === undefined || this.extras !== null && this.extras.timer !== null
    ) return;
    this["value"] = undefined;
    if (Object.getPrototypeOf(fn) !== Function.prototype) {
      this.#runAsTask(fn);
      return;
    }
    let product: unknown;
    try {
      product = fn();
    } catch (error) {
      this.#end();
      this["fail"](error);
      return;
    }
    if (typeof product === "object" && product !== null && isWaited(product)) {
      this.#runAsTask(() => product as PromiseLike<T>);
      return;
    }
    this.#end();
    this.setResult(product as T);
  }

  #runAsTask(fn: PostedFunction<T>): void {
    const task = this.loop.createTask<T>(fn, { priority: this.level });
    this.#extra().task = task as Task<unknown>;
    // Whoever waits for this waits for the task.
    if (this.loop["ranking"] !== null) {
      this.urgent().waitAt(this, task["urgency"]!.pressure);
    }
    task.addDoneCallback(() => {
      this.#end();
      if (task.cancelled()) super.cancel(task.cancelReason());
      else if (task.failed()) this["fail"](task.exception());
      else this.setResult(task.result());
    });
  }

  #end(): void {
    const { extras } = this;
    if (extras === null) return;
    this.extras = null;
    extras.timer?.cancel();
    extras.subscription?.unsubscribe();
    extras.urgency?.end();
  }

  /** What to call this in messages. */
  protected override describe(): string {
    const name = this.fn?.name;
    return name ? `posted function "${name}"` : "a posted function";
  }

  /** What those share who wait for this. */
  protected override pressure(): object {
    return this.urgent().pressure;
  }

  /**
   * Names the class in messages and inspections.
   *
   * @returns `"PostedTask"`.
   */
  override get [Symbol.toStringTag](): string {
    return "PostedTask";
  }
}

/** Whether a function that looked like any other has given something to wait for. */
function isWaited(product: object): boolean {
  return typeof (product as { then?: unknown }).then === "function" ||
    typeof (product as { throw?: unknown }).throw === "function";
}
