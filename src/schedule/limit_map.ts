/**
 * Map over a source, as its user sees it: an operation and an iterable.
 *
 * @module
 */
import { getRunningLoop } from "../loop/current.ts";
import {
  items,
  type ItemSource,
  type OperationIterable,
} from "../loop/each.ts";
import { Operation } from "../loop/operation.ts";
import type { Coroutine } from "../loop/task_body.ts";
import type { LimitCore } from "./limit_core.ts";
import { MapIteration } from "./map_iteration.ts";
import type { MapPlan } from "./map_plan.ts";
import { ResultList } from "./map_results.ts";
import { MapRun } from "./map_run.ts";

/**
 * Map over a source, which {@linkcode ConcurrencyLimit.map} returns: await it
 * for an array of all results, or iterate it with `for await` or
 * {@linkcode each}. Nothing begins before, and it can be done only once.
 *
 * @typeParam R Type of a result.
 */
export class LimitMap<R> extends Operation<R[]>
  implements AsyncIterable<R>, OperationIterable<R> {
  readonly #core: LimitCore;
  readonly #plan: MapPlan<unknown, R>;

  /**
   * Made by {@linkcode ConcurrencyLimit.map}.
   *
   * @ignore
   */
  constructor(
    core: LimitCore,
    plan: MapPlan<unknown, R>,
  ) {
    super(undefined, { name: "ConcurrencyLimit.map()", signal: plan.signal });
    this.#core = core;
    this.#plan = plan;
  }

  /**
   * Runs the whole map.
   *
   * @returns A coroutine that returns the results.
   */
  protected override *begin(): Coroutine<R[]> {
    const results = new ResultList<R>(this.#plan.ordered);
    const run = new MapRun(
      this.#core,
      getRunningLoop(),
      this.#plan,
      results,
    );
    run.start();
    yield* run.join();
    run.throwFailure();
    return results.list;
  }

  /**
   * Iterates the results, each as soon as it is there. The map begins when the
   * first is asked for. Leaving the loop early stops the map as a failure does,
   * and waits until the items at work have ended. In a generator coroutine, use
   * `each(...)`.
   *
   * @returns An iterator for `for await`.
   * @throws {MisuseError} If the map was awaited or iterated before.
   */
  [Symbol.asyncIterator](): AsyncIterator<R, undefined> {
    const iteration = this.#iterate();
    return {
      next: async () => await iteration.next(),
      return: async () => {
        await iteration.close();
        return { done: true, value: undefined };
      },
    };
  }

  /** @ignore */
  [items](): ItemSource<R> {
    const iteration = this.#iterate();
    return Object.assign(() => iteration.next(), {
      close: () => iteration.close(),
    });
  }

  #iterate(): MapIteration<R> {
    this.start();
    return new MapIteration(this.#core, this.#plan);
  }

  /**
   * Names the class in messages and inspections.
   *
   * @returns `"LimitMap"`.
   */
  override get [Symbol.toStringTag](): string {
    return "LimitMap";
  }
}
