import type { Operation, WaitOptions } from "../loop/operation.ts";
import type { Coroutine } from "../loop/task.ts";
import { AttemptOperation } from "../loop/attempt_operation.ts";
import { WaitQueue } from "./wait_queue.ts";

/**
 * Something that is so or is not, and that tasks can wait for.
 *
 * It is asyncio's `Event`, under the word that its own description uses: an
 * `Event` on the web is something else. Waiting for a flag that is set is over
 * at once. Setting it takes time in proportion to those who wait, everything
 * else is constant.
 *
 * @example Everybody waits for the start
 * ```ts
 * import { Flag, getRunningLoop, run, sleep } from "@rota/rota";
 * import { assertEquals } from "@std/assert";
 *
 * const log: string[] = [];
 * await run(async () => {
 *   const started = new Flag();
 *   const loop = getRunningLoop();
 *   loop.createTask(function* () {
 *     yield* started.wait();
 *     log.push("generator");
 *   });
 *   loop.createTask(async () => {
 *     await started.wait();
 *     log.push("async");
 *   });
 *   await sleep(10);
 *   log.push("go");
 *   started.set();
 *   await sleep(1);
 * }, { host: "virtual" });
 * assertEquals(log, ["go", "generator", "async"]);
 * ```
 */
export class Flag {
  readonly #waiters = new WaitQueue("Flag.wait()");
  #set = false;

  /**
   * Tells whether the flag is set.
   *
   * @returns Whether it is; at first it is not.
   */
  isSet(): boolean {
    return this.#set;
  }

  /**
   * Sets the flag and wakes all who wait, in the order in which they came. If it
   * is set already, nothing happens.
   */
  set(): void {
    if (this.#set) return;
    this.#set = true;
    this.#waiters.wakeAll();
  }

  /** Takes the flag back: who waits from now on waits for the next {@linkcode set}. */
  clear(): void {
    this.#set = false;
  }

  /**
   * Waits until the flag is set.
   *
   * Who has been woken does not look again: a `set()` that is followed by a
   * `clear()` lets all go who waited. Cancelling the wait has no effect on others.
   *
   * @param options A signal that ends the wait.
   * @returns An operation that gives `true`, as asyncio's does.
   */
  wait(options?: WaitOptions): Operation<true> {
    return new FlagOperation(this, options);
  }

  /** Waits in line. */
  private *waitToBeSet(): Coroutine<true> {
    const waiter = this.#waiters.enter(undefined);
    try {
      yield* waiter;
      return true;
    } finally {
      this.#waiters.leave(waiter);
    }
  }
}

class FlagOperation extends AttemptOperation<true> {
  readonly #flag: Flag;

  constructor(flag: Flag, options: WaitOptions | undefined) {
    super(WAIT, options);
    this.#flag = flag;
  }

  protected attempt(): IteratorReturnResult<true> | undefined {
    return this.#flag.isSet() ? DONE : undefined;
  }

  protected wait(): Coroutine<true> {
    return this.#flag["waitToBeSet"]();
  }
}

const WAIT = { name: "Flag.wait()" };
const DONE: IteratorReturnResult<true> = { done: true, value: true };
