/**
 * Handles: callbacks that were handed to a loop and may still be withdrawn.
 *
 * @module
 */
import type { Runnable } from "./runnable.ts";

/** Stands in for the arguments of a callback that has none; never written to. */
export const NO_ARGUMENTS: readonly unknown[] = Object.freeze([]);

/** Returns a handle in words, for messages. */
export let describeHandle: (handle: Handle) => string;

/** Returns the name of a handle's callback; `""` if it has none, or was withdrawn. */
export let callbackNameOf: (handle: Handle) => string;

/** Has a handle's callback run by `enter`, in some async context. */
export let wrapCallback: (
  handle: Handle,
  enter: <R>(fn: () => R) => R,
) => void;

/**
 * Returns what `runnable` is about: on a loop whose subclass sees all scheduling
 * a task or wait comes in a callback, which is `resume`.
 */
export let runnableIn: (
  runnable: Runnable,
  resume: (runnable: Runnable) => void,
) => Runnable;

/**
 * A callback that was handed to a loop and may still be withdrawn.
 *
 * Like asyncio's `Handle`. {@linkcode EventLoop.callSoon} and
 * {@linkcode EventLoop.addReader} return one. Handles are disposable:
 * `using handle = loop.callSoon(...)` withdraws the callback when the block is
 * left.
 */
export class Handle implements Disposable {
  // Null once withdrawn, so that nothing the callback refers to is kept.
  /** @ignore */
  declare protected callback: ((...args: never[]) => unknown) | null;
  declare private args: readonly unknown[];

  /**
   * Handles are made by the methods of {@linkcode EventLoop} that return them.
   *
   * @ignore
   */
  constructor(
    callback: (...args: never[]) => unknown,
    args: readonly unknown[],
  ) {
    this.callback = callback;
    this.args = args.length === 0 ? NO_ARGUMENTS : args;
  }

  /**
   * Withdraws the callback: it does not run any more, and the handle lets go of
   * it and of its arguments. Does nothing when it has run or was withdrawn.
   *
   * @example A callback that is not wanted after all
   * ```ts
   * import { newEventLoop } from "@rota/rota";
   * import { assertEquals } from "@std/assert";
   *
   * await using loop = newEventLoop({ host: "virtual" });
   * const log: string[] = [];
   * const handle = loop.callSoon(() => log.push("unwanted"));
   * loop.callSoon(() => loop.stop());
   * handle.cancel();
   * await loop.runForever();
   * assertEquals(log, []);
   * assertEquals(handle.cancelled(), true);
   * ```
   */
  cancel(): void {
    this.callback = null;
    this.args = NO_ARGUMENTS;
  }

  /**
   * Returns whether {@linkcode cancel} was called.
   *
   * @returns Whether it was, be it before or after the callback ran.
   */
  cancelled(): boolean {
    return this.callback === null;
  }

  /** Withdraws the callback, as {@linkcode cancel} does. */
  [Symbol.dispose](): void {
    this.cancel();
  }

  /**
   * Runs the callback unless it was withdrawn. The loop calls this.
   *
   * @ignore
   */
  run(): void {
    const callback = this.callback;
    if (callback === null) return;
    if (this.args.length === 0) callback();
    else callback(...(this.args as never[]));
  }

  static {
    describeHandle = ({ callback }) => {
      const name = callback?.name;
      return `callback ${
        name === undefined || name === "" ? "(anonymous)" : `"${name}"`
      }`;
    };
    callbackNameOf = ({ callback }) => callback === null ? "" : callback.name;
    wrapCallback = (handle, enter) => {
      const run = handle.callback!;
      handle.callback = (...args) => enter(() => run(...args));
      Object.defineProperty(handle.callback, "name", { value: run.name });
    };
    runnableIn = (runnable, resume) =>
      runnable instanceof Handle && runnable.callback as unknown === resume
        ? runnable.args[0] as Runnable
        : runnable;
  }
}
