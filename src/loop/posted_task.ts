/**
 * Functions that are posted to a loop with a priority, like the web's
 * `scheduler.postTask`.
 *
 * @module
 */
import type { Strand } from "./strand_tree.ts";
import { explain, inWords, pressureOf } from "./waiters.ts";
import { InvalidStateError, MisuseError } from "../errors.ts";
import { runOwned } from "../host/async_context.ts";
import { checkNumber } from "./checks.ts";
import { core } from "./core.ts";
import type { EventLoop } from "./event_loop.ts";
import { Future } from "./future.ts";
import { type Priority, requirePriority } from "./priority.ts";
import { Urgency } from "./priority_inheritance.ts";
import type { WaitFacts } from "./waits.ts";
import type { ReadyPlace } from "./ready_place.ts";
import { cancellationBy, subscribe, type Subscription } from "./signal_hub.ts";
import type { Coroutine } from "./task_body.ts";
import type { Task } from "./task.ts";
import type { TimerHandle } from "./timer_handle.ts";

/** Options of {@linkcode EventLoop.postTask}. */
export interface PostTaskOptions {
  /**
   * Priority of the function. Counts on a loop with a
   * {@linkcode PriorityScheduler}.
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

/** Body of a posted task: a function that computes, an async function or a generator function. */
export type PostedFunction<T> = () => Coroutine<T> | PromiseLike<T> | T;

/** Fields that most posted tasks never need. */
class Extras {
  /** Priority, once it may change. */
  urgency: Urgency | null = null;
  /** Timer for the moment at which it is ready; null if none is pending. */
  timer: TimerHandle | null = null;
  subscription: Subscription | null = null;
  /** Task that runs an async or generator function. */
  task: Task<unknown> | null = null;
  /** Enters the async context of the code that posted it. */
  enter: (<R>(fn: () => R) => R) | null = null;
}

/** Stands for the function while it runs. */
const RUNNING = Symbol("running");

/** Stands for the function once it has been withdrawn by itself. */
class Withdrawal {
  readonly reason: unknown;

  constructor(reason: unknown) {
    this.reason = reason;
  }
}

/**
 * Runs the posted function, or its first step.
 *
 * A function and not a method: an error keeps the receivers of the frames on
 * the stack where it was made, and a task that is kept by its own error is
 * never collected, nor its failure reported.
 */
export let runPosted: (posted: PostedTask<unknown>) => void;

/** Returns where a posted task is in the ready queue of a loop that goes by priority, if it is. */
export let placeOf: (posted: PostedTask<unknown>) => ReadyPlace | null;

/** Sets where it is. */
export let setPlace: (
  posted: PostedTask<unknown>,
  place: ReadyPlace | null,
) => void;

/** Returns the priority of a posted task as one that may change, made on first use. */
export let urgencyOfPosted: (posted: PostedTask<unknown>) => Urgency;

/** Returns the same if it was made, else null. */
export let knownUrgencyOf: (posted: PostedTask<unknown>) => Urgency | null;

/**
 * A function that a loop will run, and the future of what it returns.
 *
 * {@linkcode EventLoop.postTask} makes one. Until the function begins it can be
 * withdrawn, moved in time, and made more or less urgent; an async or generator
 * function can be cancelled and made more urgent after that too. Every kind of
 * end wakes the waiters.
 *
 * @typeParam T Type of the result.
 */
export class PostedTask<T> extends Future<T> {
  // Posted tasks are many and have to be small: until the end, the field for
  // the result holds the state of the function.
  private level: number;
  private item: ReadyPlace | null;
  private extras: Extras | null;

  /** @ignore */
  constructor(
    loop: EventLoop,
    fn: PostedFunction<T>,
    priority: number,
    options: PostTaskOptions,
  ) {
    super(loop, "a posted function");
    this.value = fn;
    this.level = priority;
    this.item = null;
    this.extras = null;
    if (loop[core].inheritsContext) {
      this.#extra().enter = loop[core].captureContext();
    }
    const { signal, delayMs } = options;
    if (signal !== undefined) this.#follow(signal);
    if (this.done()) return; // the signal had aborted
    if (delayMs !== undefined && delayMs > 0) {
      this.#startTimer(loop.time() + delayMs);
    } else loop[core].schedule(this);
  }

  /** Function to run; undefined once it has begun, or never will. */
  private get fn(): PostedFunction<T> | undefined {
    const value = this.value;
    return !this.done() && typeof value === "function"
      ? value as PostedFunction<T>
      : undefined;
  }

  #extra(): Extras {
    return this.extras ??= new Extras();
  }

  #follow(signal: AbortSignal): void {
    const subscription = subscribe(
      signal,
      () => this.cancel(cancellationBy(signal)),
    );
    if (this.done()) return;
    this.#extra().subscription = subscription;
    this.kernel.strays.subscriptions.add(subscription);
  }

  #startTimer(whenMs: number): void {
    const timer = this.loop.callAt(whenMs, () => {
      this.#extra().timer = null;
      this.kernel.schedule(this);
    });
    this.#extra().timer = timer;
    this.kernel.ranking?.noteTimer(timer, this as Future<unknown>);
  }

  /** Priority as a node that may change, made on first use. */
  private urgent(): Urgency {
    const extras = this.#extra();
    if (extras.urgency === null) {
      extras.urgency = new Urgency(this.level, this.kernel.ranking);
      if (this.item !== null) {
        this.item.urgency = extras.urgency;
        extras.urgency.entered(this.item);
      }
    }
    return extras.urgency;
  }

  /** Priority of the function, without what it inherits from its waiters. */
  get priority(): number {
    return this.level;
  }

  /**
   * Makes the function more or less urgent, also while it is queued. Takes
   * effect at once: it goes behind the ready ones of that priority. Does
   * nothing after its end.
   *
   * @param priority The new priority.
   * @throws {TypeError} If `priority` is no priority.
   */
  setPriority(priority: Priority): void {
    const level = requirePriority(
      priority,
      "set the priority of a posted task",
    );
    if (this.done()) return;
    const urgency = this.urgent();
    this.level = level;
    urgency.setBase(level);
    this.extras!.task?.setPriority(level);
  }

  /**
   * Postpones the function, or brings it forward, to a moment on the clock of
   * {@linkcode EventLoop.time}. A queued function leaves its place. When the
   * moment has come, it goes behind the ready ones of its priority.
   *
   * @param whenMs The moment. A past moment means as soon as possible.
   * @throws {TypeError} If `whenMs` is not a number.
   * @throws {RangeError} If `whenMs` is `NaN`.
   * @throws {InvalidStateError} If the function has begun, or was withdrawn.
   * @throws {LoopClosedError} If the loop is closed.
   */
  reschedule(whenMs: number): void {
    const what = "reschedule a posted task";
    checkNumber(whenMs, what, "whenMs");
    if (this.fn === undefined) {
      throw new InvalidStateError(
        `Cannot ${what}: it ${
          this.cancelled() ? "was cancelled" : "has begun"
        }`,
      );
    }
    if (this.loop.isClosed()) this.kernel.refuseClosed(what);
    const timer = this.extras?.timer;
    if (timer) timer.reschedule(whenMs);
    else {
      this.#leaveQueue();
      this.#startTimer(whenMs);
    }
  }

  /** Without a scheduler its place in the queue stays, and has nothing to run. */
  #leaveQueue(): void {
    this.kernel.ranking?.withdrawPosted(this as PostedTask<unknown>);
  }

  /**
   * Withdraws the function: it does not begin any more, and the waiters throw a
   * {@linkcode CancelledError}. An async or generator function that has begun
   * is cancelled like a {@linkcode Task}, and the posted task ends when it
   * does. A plain function that cancels its own posted task runs on; its result
   * is dropped, its error is not.
   *
   * @param reason Cause, of any type.
   * @returns Whether it had not ended.
   */
  override cancel(reason?: unknown): boolean {
    if (this.done()) return false;
    const task = this.extras?.task;
    if (task) return task.cancel(reason);
    if (this.fn === undefined) {
      this.value = new Withdrawal(reason);
      return true;
    }
    this.#leaveQueue();
    this.#end();
    return super.cancel(reason);
  }

  /**
   * Always throws: the function returns the result.
   *
   * @throws {MisuseError} Always.
   */
  override setResult(_value: T): never {
    throw new MisuseError(
      "Cannot set the result of postTask(): its function decides it",
    );
  }

  /**
   * Always throws: a posted task fails by an error of its function.
   *
   * @throws {MisuseError} Always.
   */
  override setException(_error: unknown): never {
    throw new MisuseError(
      "Cannot set the exception of postTask(): its function decides it",
    );
  }

  /**
   * Called when its turn has come: begins, or ends like the task that it became.
   *
   * @ignore
   */
  run(): void {
    runPosted(this as PostedTask<unknown>);
  }

  /** Returns the function if it is to begin now. */
  private begin(): PostedFunction<T> | undefined {
    const { fn, extras } = this;
    // The function was withdrawn, or postponed, when it was queued already.
    if (fn === undefined || extras !== null && extras.timer !== null) {
      return undefined;
    }
    this.value = RUNNING;
    return fn;
  }

  /** The function has become a task, whose first step is over. */
  private become(task: Task<T>): void {
    const withdrawn = this.#withdrawal();
    if (withdrawn !== null) task.cancel(withdrawn.reason);
    if (task.done()) {
      this.endLike(task);
      return;
    }
    // Set in its first step.
    if (task.priority !== this.level) task.setPriority(this.level);
    this.#extra().task = task as Task<unknown>;
    // The waiters for this future wait for the task.
    task.addWaiter(this);
  }

  /**
   * The strand of functions that it has called, once it has become a task.
   *
   * @ignore
   */
  get strandNow(): Strand | null {
    return this.runner?.strandNow ?? null;
  }

  /**
   * The task of async functions that were called by the function.
   *
   * @ignore
   */
  get runner(): Task<unknown> | null {
    return this.extras?.task ?? null;
  }

  #withdrawal(): Withdrawal | null {
    const value = this.value;
    return value instanceof Withdrawal ? value : null;
  }

  /** The function has returned. */
  private endWithValue(value: T): void {
    const withdrawn = this.#withdrawal();
    this.#end();
    if (withdrawn !== null) super.cancel(withdrawn.reason);
    else super.setResult(value);
  }

  /** The function has thrown. */
  private endWithError(error: unknown): void {
    this.#end();
    this.fail(error);
  }

  /** The task that it became has ended. */
  private endLike(task: Task<T>): void {
    this.#end();
    const cancelled = task.cancelled();
    let result: T;
    try {
      result = task.result();
    } catch (error) {
      if (cancelled) super.cancel(error);
      else this.fail(error);
      return;
    }
    super.setResult(result);
  }

  #end(): void {
    const { extras } = this;
    if (extras === null) return;
    this.extras = null;
    extras.timer?.cancel();
    if (extras.subscription !== null) {
      extras.subscription.unsubscribe();
      this.kernel.strays.subscriptions.delete(extras.subscription);
    }
    extras.urgency?.end();
  }

  /** Facts about a wait for the function: the task that it has become ends it. */
  override [explain](): WaitFacts {
    const { runner } = this;
    return {
      kind: "postTask",
      target: this,
      behind: runner === null ? [] : [runner],
    };
  }

  /** Name of this in messages. */
  override [inWords](): string {
    const name = this.fn?.name;
    return name ? `posted function "${name}"` : "a posted function";
  }

  /** Pressure of the waiters. */
  override [pressureOf](): object {
    return this.urgent().pressure;
  }

  /**
   * Name of the class in messages and inspections.
   *
   * @returns `"PostedTask"`.
   */
  override get [Symbol.toStringTag](): string {
    return "PostedTask";
  }

  static {
    runPosted = (posted) => {
      const { runner, loop } = posted;
      if (runner !== null) {
        if (!posted.done()) posted.endLike(runner);
        return;
      }
      const fn = posted.begin();
      if (fn === undefined) return;
      const enter = posted.extras?.enter;
      try {
        let body = fn;
        if (Object.getPrototypeOf(fn) === Function.prototype) {
          // The function may call an async one, whose continuations have to
          // find the task.
          const product = enter
            ? enter(() => runOwned(posted, fn))
            : runOwned(posted, fn);
          if (!isWaited(product)) {
            posted.endWithValue(product);
            return;
          }
          body = () => product as PromiseLike<unknown>;
        }
        const options = { priority: posted.priority, eager: true };
        posted.become(
          enter
            ? enter(() => loop.createTask(body, options))
            : loop.createTask(body, options),
        );
      } catch (error) { // of a plain function, or of a task factory
        if (posted.done()) throw error;
        posted.endWithError(error);
      }
    };
    placeOf = (posted) => posted.item;
    setPlace = (posted, place) => {
      posted.item = place;
    };
    urgencyOfPosted = (posted) => posted.urgent();
    knownUrgencyOf = (posted) => posted.extras?.urgency ?? null;
  }
}

/** The `run` of all of them, by which the kernel recognizes one. */
export const POSTED_RUN = PostedTask.prototype.run;

/** Whether a plain function has returned something to wait for. */
function isWaited(product: unknown): boolean {
  return typeof product === "object" && product !== null &&
    (typeof (product as { then?: unknown }).then === "function" ||
      typeof (product as { throw?: unknown }).throw === "function");
}
