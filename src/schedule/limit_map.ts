import { getRunningLoop } from "../loop/current.ts";
import {
  items,
  type ItemSource,
  type OperationIterable,
} from "../loop/generators.ts";
import { Operation, type WaitOptions } from "../loop/operation.ts";
import type { Priority } from "../loop/priority.ts";
import { subscribe, type Subscription } from "../loop/signal_hub.ts";
import type { Coroutine } from "../loop/task.ts";
import type { LimitCore } from "./limit_core.ts";
import { ResultList, ResultStream } from "./map_results.ts";
import { type MapPlan, MapRun } from "./map_run.ts";

/** How to {@linkcode ConcurrencyLimit.map}. */
export interface LimitMapOptions extends WaitOptions {
  /**
   * Whether results come in the order of the source; else in the order in which
   * they were done.
   *
   * @default {true}
   */
  readonly ordered?: boolean | undefined;
  /**
   * Where the map stands in line, among jobs and other maps.
   *
   * @default {"user-visible"}
   */
  readonly priority?: Priority | undefined;
  /**
   * When results are gone through one by one: how many may wait to be taken
   * before no further item is begun with. Those that run then still add theirs.
   *
   * @default {the size of the limit}
   */
  readonly bufferSize?: number | undefined;
}

/** Options that have been checked. */
export interface MapSettings {
  readonly ordered: boolean;
  readonly bufferSize: number;
  readonly signal: AbortSignal | undefined;
}

/**
 * What {@linkcode ConcurrencyLimit.map} gives: wait for it to have all results
 * in an array, or go through them with `for await` or {@linkcode each}. Nothing
 * begins before, and it is done once.
 *
 * @typeParam R What a result is.
 */
export class LimitMap<R> extends Operation<R[]>
  implements AsyncIterable<R>, OperationIterable<R> {
  readonly #core: LimitCore;
  readonly #plan: MapPlan<unknown, R>;
  readonly #settings: MapSettings;

  /**
   * Made by {@linkcode ConcurrencyLimit.map}.
   *
   * @ignore
   */
  constructor(
    core: LimitCore,
    plan: MapPlan<unknown, R>,
    settings: MapSettings,
  ) {
    super(undefined, {
      name: "ConcurrencyLimit.map()",
      signal: settings.signal,
    });
    this.#core = core;
    this.#plan = plan;
    this.#settings = settings;
  }

  /**
   * Runs all of it.
   *
   * @returns A coroutine that gives the results.
   */
  protected override *begin(): Coroutine<R[]> {
    const results = new ResultList<R>(this.#settings.ordered);
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
   * Goes through the results, each as soon as it is there. The map begins when
   * the first is asked for. Leaving the loop early stops the map as a failure
   * does, and waits until what ran has ended. In a generator coroutine, use
   * `each(...)`.
   *
   * @returns An iterator for `for await`.
   * @throws {MisuseError} If the map was waited for or gone through before.
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

  #iterate(): Iteration<R> {
    this.start();
    return new Iteration(this.#core, this.#plan, this.#settings);
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

// Both are entered by one who was cancelled before, as there is a map to end.
const NEXT = {
  name: "the next result of ConcurrencyLimit.map()",
  whenCancelled: "enter",
} as const;
const CLOSE = {
  name: "the end of ConcurrencyLimit.map()",
  whenCancelled: "enter",
} as const;

/** Goes through the results of a map, which begins with the first. */
class Iteration<R> {
  readonly #core: LimitCore;
  readonly #plan: MapPlan<unknown, R>;
  readonly #signal: AbortSignal | undefined;
  readonly #results: ResultStream<R>;
  #run: MapRun<unknown, R> | null = null;
  #subscription: Subscription | null = null;
  /** What the signal has ended it with. */
  #aborted: { readonly reason: unknown } | null = null;
  #closed = false;

  constructor(
    core: LimitCore,
    plan: MapPlan<unknown, R>,
    { ordered, bufferSize, signal }: MapSettings,
  ) {
    this.#core = core;
    this.#plan = plan;
    this.#signal = signal;
    this.#results = new ResultStream(ordered, bufferSize);
  }

  next(): Operation<IteratorResult<R, undefined>> {
    return new Operation(() => this.#next(), NEXT);
  }

  close(): Operation<void> {
    return new Operation(() => this.#close(), CLOSE);
  }

  *#next(): Coroutine<IteratorResult<R, undefined>> {
    if (this.#closed) return { done: true, value: undefined };
    const run = this.#run ?? this.#start();
    for (;;) {
      const taken = this.#results.take();
      if (taken !== undefined) {
        run.taken();
        return { done: false, value: taken.value };
      }
      if (run.over) break;
      try {
        yield* run.change();
      } catch (error) {
        // Nobody closes an iterator that has thrown.
        try {
          yield* this.#close();
        } catch {
          // Interrupted once more: the first one is under way already.
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
    if (this.#run === null || this.#run.over) return;
    this.#run.stop();
    yield* this.#run.join();
  }

  #end(): void {
    this.#closed = true;
    this.#subscription?.unsubscribe();
    this.#subscription = null;
  }

  #start(): MapRun<unknown, R> {
    this.#signal?.throwIfAborted();
    const loop = getRunningLoop();
    const run = new MapRun(this.#core, loop, this.#plan, this.#results);
    run.start();
    this.#run = run;
    if (this.#signal !== undefined) {
      this.#subscription = subscribe(this.#signal, (reason) => {
        if (run.over) return;
        this.#aborted = { reason };
        run.stop();
      });
    }
    return run;
  }
}
