/**
 * Iteration over the results of a map.
 *
 * @module
 */
import { getRunningLoop } from "../loop/current.ts";
import { Operation } from "../loop/operation.ts";
import { subscribe, type Subscription } from "../loop/signal_hub.ts";
import type { Coroutine } from "../loop/task_body.ts";
import type { LimitCore } from "./limit_core.ts";
import type { MapPlan } from "./map_plan.ts";
import { ResultStream } from "./map_results.ts";
import { MapRun } from "./map_run.ts";

// Both are entered by a task that was cancelled before, as there is a map to end.
const NEXT = {
  name: "the next result of ConcurrencyLimit.map()",
  whenCancelled: "enter",
} as const;
const CLOSE = {
  name: "the end of ConcurrencyLimit.map()",
  whenCancelled: "enter",
} as const;

/** Goes through the results of a map, which begins with the first `next`. */
export class MapIteration<R> {
  readonly #core: LimitCore;
  readonly #plan: MapPlan<unknown, R>;
  readonly #results: ResultStream<R>;
  #run: MapRun<unknown, R> | null = null;
  #subscription: Subscription | null = null;
  /** Reason with which the signal has ended it. */
  #aborted: { readonly reason: unknown } | null = null;
  #closed = false;

  constructor(core: LimitCore, plan: MapPlan<unknown, R>) {
    this.#core = core;
    this.#plan = plan;
    const { ordered, bufferSize } = plan;
    this.#results = new ResultStream(ordered, () => bufferSize ?? core.size);
  }

  /** Waits for the next result. */
  next(): Operation<IteratorResult<R, undefined>> {
    return new Operation(() => this.#next(), NEXT);
  }

  /** Stops the map, and waits for its end. */
  close(): Operation<void> {
    return new Operation(() => this.#close(), CLOSE);
  }

  *#next(): Coroutine<IteratorResult<R, undefined>> {
    if (this.#closed) return { done: true, value: undefined };
    const run = this.#run ?? this.#start();
    for (;;) {
      const taken = this.#results.take();
      if (taken !== undefined) {
        run.resultTaken();
        return { done: false, value: taken.value };
      }
      if (run.isOver) break;
      try {
        yield* run.change();
      } catch (error) {
        // An iterator that has thrown is closed by nobody else.
        run.interrupt();
        try {
          yield* this.#close();
        } catch {
          // Cancelled once more: the first cancellation is under way already.
        }
        throw error;
      }
    }
    this.#end();
    if (this.#aborted !== null) throw this.#aborted.reason;
    run.throwFailure();
    return { done: true, value: undefined };
  }

  *#close(): Coroutine<void> {
    this.#end();
    if (this.#run === null || this.#run.isOver) return;
    this.#run.stop();
    yield* this.#run.join();
  }

  #end(): void {
    this.#closed = true;
    this.#subscription?.unsubscribe();
    this.#subscription = null;
  }

  #start(): MapRun<unknown, R> {
    const { signal } = this.#plan;
    signal?.throwIfAborted();
    const loop = getRunningLoop();
    const run = new MapRun(this.#core, loop, this.#plan, this.#results);
    run.start();
    this.#run = run;
    if (signal !== undefined) {
      this.#subscription = subscribe(signal, (reason) => {
        if (run.isOver) return;
        this.#aborted = { reason };
        run.stop();
      });
    }
    return run;
  }
}
