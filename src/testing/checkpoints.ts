/**
 * `assertCheckpoints` and `assertNoCheckpoints`: whether a piece of code lets other
 * tasks run.
 *
 * @module
 */
import { AssertionError } from "../errors.ts";
import { ownerOfContinuation } from "../host/async_context.ts";
import { runBody, StrandFuture } from "../loop/body.ts";
import { checkFunction, isGeneratorFunction } from "../loop/checks.ts";
import { getRunningLoop } from "../loop/current.ts";
import type { EventLoop } from "../loop/event_loop.ts";
import type { Suspension } from "../loop/future.ts";
import { Operation } from "../loop/operation.ts";
import type { InnerStrand } from "../loop/strand.ts";
import { strandsInside } from "../loop/strand_tree.ts";
import type { Coroutine } from "../loop/task_body.ts";

/** Code whose checkpoints are looked for: in either style. */
export type CheckpointBody<T> = () => Coroutine<T> | PromiseLike<T> | T;

/**
 * Runs `body` in the current task, and fails unless it has executed a checkpoint: a
 * wait in which the loop had a turn, and at which it could have been cancelled.
 *
 * Like trio's `assert_checkpoints`. A wait that finds everything ready is none, as
 * in asyncio: `acquire` of a free lock goes on at once. Neither is the wait for a
 * foreign promise, at which nothing can be cancelled; `until` makes one of it.
 *
 * @example A loop that lets others run
 * ```ts
 * import { Queue, run, sleep } from "@rota/rota";
 * import { assertCheckpoints, assertNoCheckpoints } from "@rota/rota/testing";
 *
 * await run(async () => {
 *   const queue = new Queue<number>();
 *   await assertNoCheckpoints(async () => await queue.put(1));
 *   await assertNoCheckpoints(async () => await queue.get());
 *   await assertCheckpoints(async () => await sleep(0));
 * });
 * ```
 *
 * @typeParam T Type of the result.
 * @param body The code: an async function or generator function.
 * @returns An operation that gives the result of `body`, and fails with its error.
 * @throws {TypeError} If `body` is not a function.
 * @throws {AssertionError} When awaited, if there was no checkpoint.
 */
export function assertCheckpoints<T>(body: CheckpointBody<T>): Operation<T> {
  return watched(body, "assertCheckpoints()", (found) => {
    if (found) return;
    throw new AssertionError(
      "Expected a checkpoint: the body ran to its end without letting the loop have a turn",
    );
  });
}

/**
 * Runs `body` in the current task, and fails if it has executed a checkpoint: see
 * {@linkcode assertCheckpoints}.
 *
 * @typeParam T Type of the result.
 * @param body The code: an async function or generator function.
 * @returns An operation that gives the result of `body`, and fails with its error.
 * @throws {TypeError} If `body` is not a function.
 * @throws {AssertionError} When awaited, if there was a checkpoint.
 */
export function assertNoCheckpoints<T>(body: CheckpointBody<T>): Operation<T> {
  return watched(body, "assertNoCheckpoints()", (found) => {
    if (!found) return;
    throw new AssertionError(
      "Expected no checkpoint: the body has let the loop have a turn",
    );
  });
}

/** Runs `body`; `check` is told whether there was a checkpoint, unless the body fails. */
function watched<T>(
  body: CheckpointBody<T>,
  name: string,
  check: (found: boolean) => void,
): Operation<T> {
  checkFunction(body, "look for checkpoints", "body");
  return new Operation(function* () {
    const watch = new CheckpointWatch(getRunningLoop());
    let value: T;
    try {
      value = yield* watch.run(body);
    } finally {
      watch.end();
    }
    check(watch.found);
    return value;
  }, { name, whenCancelled: "enter" });
}

/** Watch over the waits of one body. */
class CheckpointWatch {
  found = false;
  readonly #loop: EventLoop;
  #call: InnerStrand | null = null;
  #isOver = false;

  constructor(loop: EventLoop) {
    this.#loop = loop;
  }

  *run<T>(body: CheckpointBody<T>): Coroutine<T> {
    if (isGeneratorFunction(body)) {
      return yield* this.#step(body() as Coroutine<T>);
    }
    const iterable = runBody<undefined, T>(null, () => {
      this.#call = ownerOfContinuation() as InnerStrand;
      return body();
    }, undefined);
    if (!(iterable instanceof StrandFuture)) return yield* this.#step(iterable);
    this.#loop.callSoon(this.#look);
    return yield* iterable;
  }

  /** Stops looking. */
  end(): void {
    this.#isOver = true;
  }

  /** Counts the yields of a generator: at each the loop has a turn. */
  *#step<T>(iterable: Iterable<Suspension, T, unknown>): Coroutine<T> {
    const iterator = iterable[Symbol.iterator]();
    let step = iterator.next();
    while (step.done !== true) {
      this.found = true;
      let sent: unknown;
      try {
        sent = yield step.value;
      } catch (error) {
        if (iterator.throw === undefined) throw error;
        step = iterator.throw(error);
        continue;
      }
      step = iterator.next(sent);
    }
    return step.value;
  }

  /**
   * Looks, in each turn, whether an async function waits in an operation: one that
   * found everything ready is over before the next turn.
   */
  readonly #look = (): void => {
    if (this.#isOver) return;
    const call = this.#call!;
    this.found = [call, ...strandsInside(call)].some((strand) =>
      strand.firstWait !== null || strand.yields > 0
    );
    if (!this.found) this.#loop.callSoon(this.#look);
  };
}
