/**
 * `waitAllTasksBlocked`: until nothing goes on in a loop. `Sequencer`: steps of
 * several tasks in one given order.
 *
 * @module
 */
import { InvalidStateError, MisuseError } from "../errors.ts";
import { macrotask } from "../host/macrotask.ts";
import { checkInteger, checkWaitOptions } from "../loop/checks.ts";
import { core } from "../loop/core.ts";
import { getRunningLoop } from "../loop/current.ts";
import type { EventLoop } from "../loop/event_loop.ts";
import { Future } from "../loop/future.ts";
import { Operation, type WaitOptions } from "../loop/operation.ts";
import type { Coroutine } from "../loop/task_body.ts";

// -- All tasks blocked --

const watches = new WeakMap<EventLoop, BlockedWatch>();

/** Looks, from pass to pass of the runtime, whether anything goes on in a loop. */
class BlockedWatch {
  readonly waiters: Set<Future<void>> = new Set();
  readonly #loop: EventLoop;
  #isLooking = false;
  /** Turns at the last look at which nothing was ready; NaN if there was none. */
  #turns = NaN;

  constructor(loop: EventLoop) {
    this.#loop = loop;
  }

  /** Looks until no task waits for it any more. Meanwhile a virtual clock stands still. */
  begin(): void {
    if (this.#isLooking) return;
    this.#isLooking = true;
    this.#turns = NaN;
    this.#loop[core].outside.outsideBegan();
    macrotask(this.#look);
  }

  readonly #look = (): void => {
    const loop = this.#loop;
    if (this.waiters.size === 0 || !loop.isRunning()) return this.#end();
    const { turns, ready } = loop.stats();
    // No turn since the last look, between which all microtasks have run.
    if (ready === 0 && turns === this.#turns) {
      this.#end();
      for (const waiter of this.waiters) waiter.setResult();
      return;
    }
    this.#turns = ready === 0 ? turns : NaN;
    macrotask(this.#look);
  };

  #end(): void {
    this.#isLooking = false;
    this.#loop[core].outside.outsideEnded();
  }
}

/**
 * Waits until all other tasks of the loop are blocked: no callback is ready, no
 * task can go on, and all promise continuations have run.
 *
 * Like trio's `wait_all_tasks_blocked`. A task that waits for a timer, for I/O or
 * for a foreign promise is blocked, too. A virtual clock does not move meanwhile:
 * it jumps after those who wait here have gone on. Tasks that wait here together
 * go on together. Works on every host; on a real one other tasks may be woken right
 * after. While some task never blocks, it waits.
 *
 * @example Both workers have come to the lock
 * ```ts
 * import { getRunningLoop, Lock, run } from "@rota/rota";
 * import { waitAllTasksBlocked } from "@rota/rota/testing";
 * import { assertEquals } from "@std/assert";
 *
 * await run(async () => {
 *   const lock = new Lock();
 *   const permit = await lock.acquire();
 *   let inside = 0;
 *   const worker = async () => {
 *     using _permit = await lock.acquire();
 *     inside++;
 *   };
 *   getRunningLoop().createTask(worker);
 *   getRunningLoop().createTask(worker);
 *   await waitAllTasksBlocked();
 *   assertEquals(inside, 0);
 *   permit.release();
 *   await waitAllTasksBlocked();
 *   assertEquals(inside, 2);
 * });
 * ```
 *
 * @param options A signal that ends the wait.
 * @returns An operation: nothing happens until it is awaited.
 * @throws {TypeError} If `signal` is not an `AbortSignal`.
 */
export function waitAllTasksBlocked(
  options: WaitOptions = {},
): Operation<void> {
  const name = "waitAllTasksBlocked()";
  const signal = checkWaitOptions(options, "wait until all tasks are blocked");
  return new Operation(waitBlocked, { name, signal });
}

function* waitBlocked(): Coroutine<void> {
  const loop = getRunningLoop();
  let watch = watches.get(loop);
  if (watch === undefined) watches.set(loop, watch = new BlockedWatch(loop));
  const waiter = new Future<void>(loop, "waitAllTasksBlocked()");
  watch.waiters.add(waiter);
  watch.begin();
  try {
    yield* waiter;
  } finally {
    watch.waiters.delete(waiter);
  }
}

// -- Sequencer --

/**
 * Puts steps of several tasks into one order, by numbers from 0 on.
 *
 * Like trio's `Sequencer`. A task takes a position and waits until all positions
 * before have been left; it leaves by disposing of what it got. Each position can
 * be taken once. If a task that waits for its position is cancelled, the sequence
 * is broken, and all who wait, or come later, get an error instead of waiting for
 * ever.
 *
 * @example The steps of two tasks, one after the other
 * ```ts
 * import { gather, run } from "@rota/rota";
 * import { Sequencer } from "@rota/rota/testing";
 * import { assertEquals } from "@std/assert";
 *
 * const log: string[] = [];
 * await run(async () => {
 *   const sequence = new Sequencer();
 *   await gather([
 *     async () => {
 *       {
 *         using _step = await sequence.position(0);
 *         log.push("a");
 *       }
 *       using _step = await sequence.position(2);
 *       log.push("c");
 *     },
 *     function* () {
 *       using _step = yield* sequence.position(1);
 *       log.push("b");
 *     },
 *   ]);
 * });
 * assertEquals(log, ["a", "b", "c"]);
 * ```
 */
export class Sequencer {
  readonly #taken = new Set<number>();
  readonly #waiting = new Map<number, Future<void>>();
  /** The position whose turn it is, or will be when the ones before are left. */
  #next = 0;
  /** The position whose task was cancelled; null while the sequence is whole. */
  #brokenAt: number | null = null;

  /**
   * Takes a position: waits until the one before has been left.
   *
   * @param position The number, from 0 on.
   * @param options A signal that ends the wait, which breaks the sequence.
   * @returns An operation that gives a disposable, by which the position is left.
   * @throws {TypeError} If `position` is not a number, or `signal` no `AbortSignal`.
   * @throws {RangeError} If `position` is not an integer >= 0.
   * @throws {MisuseError} When awaited, if the position was taken before.
   * @throws {InvalidStateError} When awaited, if the sequence is broken, or breaks.
   */
  position(position: number, options: WaitOptions = {}): Operation<Disposable> {
    const what = "take a position in a sequence";
    checkInteger(position, 0, what, "position");
    const signal = checkWaitOptions(options, what);
    return new Operation(() => this.#take(position), {
      name: `Sequencer.position(${position})`,
      signal,
    });
  }

  *#take(position: number): Coroutine<Disposable> {
    if (this.#taken.has(position)) {
      throw new MisuseError(
        `Cannot take position ${position} in a sequence: it was taken before`,
      );
    }
    if (this.#brokenAt !== null) throw this.#broken(position);
    this.#taken.add(position);
    if (position > this.#next) yield* this.#wait(position);
    let left = false;
    return {
      [Symbol.dispose]: () => {
        if (left) return;
        left = true;
        this.#next = position + 1;
        this.#waiting.get(position + 1)?.setResult();
      },
    };
  }

  *#wait(position: number): Coroutine<void> {
    const turn = new Future<void>(
      getRunningLoop(),
      `Sequencer.position(${position})`,
    );
    this.#waiting.set(position, turn);
    let isWhole = false;
    try {
      yield* turn;
      isWhole = true;
    } finally {
      this.#waiting.delete(position);
      if (!isWhole && this.#brokenAt === null) this.#break(position);
    }
  }

  #break(position: number): void {
    this.#brokenAt = position;
    for (const [other, turn] of this.#waiting) {
      if (!turn.done()) turn.setException(this.#broken(other));
    }
  }

  #broken(position: number): InvalidStateError {
    return new InvalidStateError(
      `Cannot take position ${position} in a sequence: it is broken, as position ${this.#brokenAt} was given up`,
    );
  }
}
