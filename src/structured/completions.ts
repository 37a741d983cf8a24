/**
 * The futures of an `asCompleted`, in the order in which they are done: each is
 * handed out once, to the longest waiter.
 *
 * @module
 */
import { checkWaiter, explain, pressureOf } from "../loop/waiters.ts";
import { MisuseError, TimeoutError } from "../errors.ts";
import { findTask, getRunningLoop } from "../loop/current.ts";
import type { EventLoop } from "../loop/event_loop.ts";
import type { Future } from "../loop/future.ts";
import type { TimerHandle } from "../loop/timer_handle.ts";
import type { Relay } from "../loop/priority_inheritance.ts";
import type { Coroutine } from "../loop/task_body.ts";
import type { WaitFacts } from "../loop/waits.ts";
import type { Task } from "../loop/task.ts";
import { isAtWork } from "../loop/work_runner.ts";
import { RingBuffer } from "../structures/ring_buffer.ts";
import { Waiter, WaitQueue } from "../sync/wait_queue.ts";
import { relayTo } from "./joint_future.ts";
import { lenderFor, lending } from "./lending.ts";
import { type Dependent, Watch } from "./watch.ts";

/** Futures in the order in which they are done. */
export class Completions<F extends Future<unknown>> implements Dependent {
  /** The futures that are not done, with what listens for that. */
  readonly #todo: Map<F, Watch>;
  /** The futures that are done; `null` for each that was not in time. */
  readonly #done = new RingBuffer<F | null>();
  readonly #waiters: WaitQueue;
  /** Hands the priority of those who wait on to all that are left; made when it is asked for. */
  #relay: Relay | null = null;
  #timer: TimerHandle | null = null;
  /** The loop of the futures; `null` if there are none. */
  #loop: EventLoop | null = null;
  /** The last task that was found not to keep any of them from being done. */
  #checked: Task<unknown> | null = null;

  /** Listens to `futures`, for `timeoutMs` at most; null is for ever. The program has it as `owner`. */
  constructor(futures: Iterable<F>, timeoutMs: number | null, owner: object) {
    this.#todo = new Map();
    this.#waiters = new WaitQueue("asCompleted()", owner);
    for (const future of new Set(futures)) {
      this.#loop = future.loop;
      const watch = new Watch(future, this.#completed, this);
      this.#todo.set(future, watch);
      this.#relay?.dependOn(future); // one that is done has asked for it already
    }
    if (timeoutMs !== null && this.#loop !== null) {
      this.#timer = this.#loop.callLater(timeoutMs, this.#timedOut);
    }
  }

  /** How many are not done. */
  get pending(): number {
    return this.#todo.size;
  }

  readonly #timedOut = (): void => {
    for (let left = this.#todo.size; left > 0; left--) this.#done.push(null);
    for (let left = this.#letGo(); left > 0; left--) this.#waiters.wakeNext();
  };

  readonly #completed = (future: Future<unknown>): void => {
    if (!this.#todo.delete(future as F)) return; // it was not in time
    this.#relay?.leaveWait(future);
    this.#done.push(future as F);
    this.#waiters.wakeNext();
    if (this.#todo.size === 0) this.#timer?.cancel();
  };

  /** Each of those that are left may be the next: a waiter lends all of them its priority. */
  relayed(): Relay {
    return this.#relay ??= relayTo(this.#loop!, this.#todo.keys());
  }

  /** The first wait for the next one. */
  get whose(): Future<unknown> | null {
    return this.#waiters.peek() ?? null;
  }

  /** Lists those that are left. */
  left(): Future<unknown>[] {
    return [...this.#todo.keys()];
  }

  /** Takes back all that listens to the futures that are left; returns how many these were. */
  #letGo(): number {
    const left = this.#todo.size;
    for (const [future, watch] of this.#todo) {
      watch.end();
      this.#relay?.leaveWait(future);
    }
    this.#todo.clear();
    return left;
  }

  /** Ends the listening, as no wait is left and none will begin. */
  close(): void {
    this.#timer?.cancel();
    this.#letGo();
  }

  /**
   * Waits until one is done that nobody else takes, and takes it.
   *
   * @throws {TimeoutError} If there is none in time.
   */
  *next(): Coroutine<F> {
    if (this.#loop !== null && getRunningLoop() !== this.#loop) {
      throw new MisuseError(
        "Cannot iterate as completed: it would wait for a future of another event loop",
      );
    }
    const lender = lenderFor(this.#todo.keys());
    const future = lender === null
      ? yield* this.#take()
      : yield* lending(lender, this.#take());
    if (future !== null) return future;
    throw new TimeoutError("Timed out: not all were completed in time");
  }

  *#take(): Coroutine<F | null> {
    while (this.#done.length === 0) {
      this.#checkWaiter();
      const waiter = new NextWaiter(
        this.#waiters.open(),
        this.#waiters,
        this as Completions<Future<unknown>>,
      );
      this.#waiters.append(waiter);
      try {
        yield* waiter;
      } catch (error) {
        // Woken for a future that it cannot take any more: it goes to the next in line.
        if (waiter.woken && this.#done.length > 0) this.#waiters.wakeNext();
        throw error;
      } finally {
        this.#waiters.leave(waiter);
      }
    }
    return this.#done.shift()!;
  }

  /** Throws if the current task keeps one of those that are left from ever being done. */
  #checkWaiter(): void {
    const task = findTask();
    // The answer stays the same for a task: no job gets in line once more.
    if (task === this.#checked) return;
    if (isAtWork(task)) {
      for (const future of this.#todo.keys()) future[checkWaiter]();
    }
    this.#checked = task;
  }
}

/** A wait for the next future that is done, which lends all of them its priority. */
class NextWaiter extends Waiter {
  readonly #completions: Completions<Future<unknown>>;

  constructor(
    loop: EventLoop,
    queue: WaitQueue,
    completions: Completions<Future<unknown>>,
  ) {
    super(loop, queue.label, queue, undefined, undefined);
    this.#completions = completions;
  }

  override [pressureOf](): object {
    return this.#completions.relayed().pressure;
  }

  override [explain](): WaitFacts {
    return { ...super[explain](), behind: this.#completions.left() };
  }
}
