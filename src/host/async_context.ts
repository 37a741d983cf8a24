/**
 * Which task a promise continuation belongs to.
 *
 * `node:async_hooks` costs some ten milliseconds to load, so it is loaded when
 * the first async function runs as a task, and never by programs that are made
 * of generators.
 *
 * @module
 */
import type { AsyncLocalStorage } from "node:async_hooks";

let storage: AsyncLocalStorage<object> | null = null;

function load(): typeof import("node:async_hooks") {
  return globalThis.process.getBuiltinModule("node:async_hooks");
}

/** Runs `fn` with `owner` as what {@linkcode ownerOfContinuation} finds, there and in all that `fn` awaits. */
export function runOwned<T>(owner: object, fn: () => T): T {
  storage ??= new (load().AsyncLocalStorage)<object>();
  return storage.run(owner, fn);
}

/** The innermost `owner` around the running continuation, or `undefined`. */
export function ownerOfContinuation(): object | undefined {
  return storage === null ? undefined : storage.getStore();
}

/** Keeps the current async context: the result runs a function in it. Costs about a microsecond. */
export function captureContext(): <T>(fn: () => T) => T {
  return load().AsyncLocalStorage.snapshot() as <T>(fn: () => T) => T;
}
