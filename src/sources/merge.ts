/**
 * Several sources as one.
 *
 * @module
 */
import { CancelledError } from "../errors.ts";
import { isCancellation } from "../loop/cancellation.ts";
import { inspect } from "../loop/checks.ts";
import { each, items, type OperationIterable } from "../loop/each.ts";
import { Future } from "../loop/future.ts";
import type { Operation } from "../loop/operation.ts";
import type { Task } from "../loop/task.ts";
import type { Coroutine } from "../loop/task_body.ts";
import { Flag } from "../sync/flag.ts";
import { RingBuffer } from "../structures/ring_buffer.ts";
import { Source } from "./source.ts";

/** Anything that {@linkcode merge} takes. */
export type Mergeable<T> = OperationIterable<T> | AsyncIterable<T>;

/** Type of the items of a source. */
export type ItemOf<S> = S extends OperationIterable<infer T> ? T
  : S extends AsyncIterable<infer T> ? T
  : never;

/** A task that goes through one of the sources, as the merged source sees it. */
interface Pump {
  readonly source: Mergeable<unknown>;
  /** Set while an item waits to be taken. */
  gate: Future<void> | null;
  /**
   * Error of its source. The task itself does not fail: the end of a run reports tasks that do,
   * also when somebody else has the error.
   */
  failure: { readonly error: unknown } | null;
}

class Merged<T> extends Source<T> {
  readonly #sources: readonly Mergeable<T>[];
  /** Pumps of the items that wait, in their order. */
  readonly #owners = new RingBuffer<Pump>();
  readonly #tasks = new Set<Task<void>>();
  readonly #left = new Flag();
  #begun = false;

  constructor(sources: readonly Mergeable<T>[]) {
    // A pump hands in one item at a time, so there are never more than pumps.
    super({ buffer: Infinity }, {
      what: "merge sources",
      name: "merge()",
      cannotBlock: null,
      outside: "never",
    });
    this.#sources = sources;
    this.begin(undefined);
    if (sources.length === 0) this.end();
  }

  protected override wanted(): void {
    if (this.#begun) return;
    this.#begun = true;
    for (const source of this.#sources) {
      const pump: Pump = { source, gate: null, failure: null };
      const task = this.loop.createTask(() => this.#run(pump), {
        name: "merge()",
      });
      this.#tasks.add(task);
      task.addDoneCallback((task) => this.#pumpEnded(task, pump));
    }
  }

  /** Hands in one item after the other, each when the one before was taken. */
  *#run(pump: Pump): Coroutine<void> {
    const hand = (item: T) => this.#hand(pump, item);
    try {
      yield* each(pump.source as Mergeable<T>, function* (item) {
        yield* hand(item);
      });
    } catch (error) {
      if (isCancellation(error)) throw error;
      pump.failure = { error };
    }
  }

  *#hand(pump: Pump, item: T): Coroutine<void> {
    pump.gate = new Future<void>(this.loop, "the consumer of merge()");
    this.#owners.push(pump);
    this.deliver(item);
    yield* pump.gate;
  }

  protected override taken(): void {
    const gate = this.#owners.shift()?.gate;
    if (gate !== null && gate?.done() === false) gate.setResult();
  }

  #pumpEnded(task: Task<void>, { failure }: Pump): void {
    this.#tasks.delete(task);
    const isOver = this.closed;
    if (failure !== null) {
      const { error } = failure;
      if (isOver) this.report(error, "had a source that failed to close");
      else this.fail(error);
    } else if (!isOver) {
      if (task.cancelled()) this.fail(new CancelledError(task.cancelReason()));
      else if (this.#tasks.size === 0) this.end();
    }
    if (this.#tasks.size === 0) this.#left.set();
  }

  protected release(): void {
    for (const task of this.#tasks) task.cancel();
    for (const source of this.#sources) {
      // Also those that no pump has begun with.
      if (source instanceof Source) source[Symbol.dispose]();
    }
  }

  protected override cleanUp(): Operation<unknown> | undefined {
    return this.#tasks.size === 0 ? undefined : this.#left.wait();
  }
}

function isMergeable(value: unknown): boolean {
  return typeof value === "object" && value !== null &&
    (typeof Reflect.get(value, items) === "function" ||
      typeof Reflect.get(value, Symbol.asyncIterator) === "function");
}

/**
 * Merges sources: returns the items of all of them as one source, in the order in which
 * they come.
 *
 * The sources are gone through, each by a task of its own, from the first wait on. No source
 * is ahead of the others by more than one item: when an item was taken, the next one of its
 * source stands behind those of the others. The merged source ends when all have ended. When
 * one fails, all others are closed, and its error is thrown after the items that came
 * before. Leaving the merged source in any way closes all sources, also those that were not
 * begun if they are sources of this folder, and waits until they are closed. `close()` does so
 * too: the items that were handed in can still be taken, one of a source at most, but what waits
 * in the buffers of the sources is dropped. An error of a source that comes after the end of the
 * merged one is told to the loop's exception handler.
 *
 * Sources keep what comes before the first wait, by their own buffers and policies. Each item
 * costs a switch of tasks more than without the merge.
 *
 * @example Ticks and events, until the first click
 * ```ts
 * import { each, every, fromEvent, getRunningLoop, merge, run } from "@rota/rota";
 * import { assertEquals } from "@std/assert";
 *
 * const target = new EventTarget();
 * let ticks = 0;
 * await run(function* () {
 *   getRunningLoop().callLater(35, () => target.dispatchEvent(new Event("click")));
 *   const all = merge(fromEvent(target, "click"), every(10));
 *   yield* each(all, (item, stop) => {
 *     if (item instanceof Event) stop();
 *     else ticks++;
 *   });
 * }, { host: "virtual" });
 * assertEquals(ticks, 3);
 * ```
 *
 * @typeParam S Types of the sources.
 * @param sources Sources, channels, queues, streams, or anything else that `for await` takes
 * but plain iterables. They belong to the merged source from now on.
 * @returns The merged source.
 * @throws {TypeError} If one of them is not iterable, or is there twice.
 * @throws {MisuseError} If no loop is running.
 */
export function merge<S extends readonly Mergeable<unknown>[]>(
  ...sources: S
): Source<ItemOf<S[number]>> {
  sources.forEach((source, index) => {
    if (!isMergeable(source)) {
      throw new TypeError(
        `Cannot merge sources as each must be a source or an async iterable: received ${
          inspect(source)
        }`,
      );
    }
    if (sources.indexOf(source) < index) {
      throw new TypeError(
        `Cannot merge sources as they must be different: received ${
          inspect(source)
        } twice`,
      );
    }
  });
  return new Merged(sources as readonly Mergeable<ItemOf<S[number]>>[]);
}
