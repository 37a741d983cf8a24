/**
 * The async context: which task a promise continuation belongs to.
 *
 * `node:async_hooks` is expensive to load, so it is loaded on first use, when the first task runs a function that is no
 * generator function.
 *
 * @module
 */
import type { AsyncLocalStorage } from "node:async_hooks";

let hooks: typeof import("node:async_hooks") | null = null;
let storage: AsyncLocalStorage<object> | null = null;
let preparation: Promise<void> | null = null;

/** Loads the module at once. Takes some ten milliseconds, as it loads the whole Node layer. */
function load(): typeof import("node:async_hooks") {
  return hooks ??= globalThis.process.getBuiltinModule("node:async_hooks");
}

/**
 * Imports the module that {@linkcode runOwned} needs, if it `isNeeded` and not there yet. Takes two milliseconds and a
 * few microtasks; {@linkcode runOwned} alone would take ten.
 *
 * @returns A promise to wait for while an import is under way, also for callers that do not need it, so that nobody
 * overtakes anybody; else `null`. It always fulfils: should the import fail, {@linkcode runOwned} loads the module itself.
 */
export function prepareOwners(isNeeded: boolean): Promise<void> | null {
  if (preparation !== null || hooks !== null || !isNeeded) return preparation;
  preparation = import("node:async_hooks").then((module) => {
    hooks ??= module;
  }, () => {});
  preparation.then(() => {
    preparation = null;
  });
  return preparation;
}

/**
 * Runs `fn` with `owner` as its owner: {@linkcode ownerOfContinuation} returns it in `fn` and in everything that `fn`
 * awaits. Costs a third of a microsecond.
 */
export function runOwned<T, A extends unknown[]>(
  owner: object,
  fn: (...args: A) => T,
  ...args: A
): T {
  storage ??= new (load().AsyncLocalStorage)<object>();
  return storage.run(owner, fn, ...args);
}

/** The same for a function without arguments, which costs two arrays less. */
export function runOwnedPlain<T>(owner: object, fn: () => T): T {
  storage ??= new (load().AsyncLocalStorage)<object>();
  return storage.run(owner, fn);
}

/** Returns the innermost owner around the running continuation, or `undefined`. */
export function ownerOfContinuation(): object | undefined {
  return storage === null ? undefined : storage.getStore();
}

/** Takes a snapshot of the current async context; the result runs a function in it. Costs about a microsecond. */
export function captureContext(): <T>(fn: () => T) => T {
  return load().AsyncLocalStorage.snapshot() as <T>(fn: () => T) => T;
}
