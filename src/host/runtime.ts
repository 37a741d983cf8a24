/**
 * What the process and the engine know and nobody else does: what is allowed, the
 * environment, standard error and the end of the process; which task a promise
 * continuation belongs to, and when an object is gone.
 *
 * `node:async_hooks` is loaded when the first async function runs as a task, and
 * never by programs that are made of generators: two milliseconds if there is
 * time to import it, and some ten if it has to be there at once.
 *
 * @module
 */
import type { AsyncLocalStorage } from "node:async_hooks";

/** Whether native libraries may be opened. Asks the runtime, never the user. */
export function ffiGranted(): boolean {
  return Deno.permissions.querySync({ name: "ffi" }).state === "granted";
}

/** Whether environment variable `variable` may be read. Never asks the user. */
function envGranted(variable: string): boolean {
  return Deno.permissions.querySync({ name: "env", variable }).state ===
    "granted";
}

/** Reads an environment variable, if that is allowed without asking. */
export function readEnvironment(name: string): string | undefined {
  return envGranted(name) ? Deno.env.get(name) : undefined;
}

/** Writes `text` to standard error: what a loop says when nobody else listens. */
export function writeError(text: string): void {
  // deno-lint-ignore no-console
  console.error(text);
}

/** Ends the process at once with `code`. */
export function exitProcess(code: number): never {
  Deno.exit(code);
}

let storage: AsyncLocalStorage<object> | null = null;

function load(): typeof import("node:async_hooks") {
  return globalThis.process.getBuiltinModule("node:async_hooks");
}

/**
 * Imports what {@linkcode runOwned} needs, so that it does not have to load the
 * runtime's Node layer for it. `null` if that has happened, else a promise that
 * always fulfils: should the import fail, {@linkcode runOwned} says so.
 */
export function prepareOwners(): Promise<void> | null {
  if (storage !== null) return null;
  return import("node:async_hooks").then(({ AsyncLocalStorage }) => {
    storage ??= new AsyncLocalStorage();
  }, () => {});
}

/** Runs `fn` with `owner` as what {@linkcode ownerOfContinuation} finds, there and in all that `fn` awaits. */
export function runOwned<T, A extends unknown[]>(
  owner: object,
  fn: (...args: A) => T,
  ...args: A
): T {
  storage ??= new (load().AsyncLocalStorage)<object>();
  return storage.run(owner, fn, ...args);
}

/** The innermost `owner` around the running continuation, or `undefined`. */
export function ownerOfContinuation(): object | undefined {
  return storage === null ? undefined : storage.getStore();
}

/** Keeps the current async context: the result runs a function in it. Costs about a microsecond. */
export function captureContext(): <T>(fn: () => T) => T {
  return load().AsyncLocalStorage.snapshot() as <T>(fn: () => T) => T;
}

/**
 * Calls `collected` with what was given to {@linkcode Registry.register} some
 * time after the object it was registered for is gone, or never: collection is
 * up to the engine.
 */
export class Registry<Held> {
  readonly #registry: FinalizationRegistry<Held>;

  /** Makes a registry. `collected` must not throw. */
  constructor(collected: (held: Held) => void) {
    this.#registry = new FinalizationRegistry(collected);
  }

  /** Watches `target`. `held` must not refer to it. Costs about a microsecond. */
  register(target: WeakKey, held: Held): void {
    this.#registry.register(target, held);
  }
}
