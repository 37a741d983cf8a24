/**
 * Microtasks, in the caller's async context and outside of it.
 *
 * @module
 */

/** Runs `callback` when the current microtask is done: 15 to 20 ns. */
export const microtask: (callback: () => void) => void = queueMicrotask;

let submit: () => void;
const detachedCallbacks: (() => void)[] = [];

/**
 * Runs `callback` a few microtasks later, in the async context this module was
 * loaded in and not in that of the caller.
 *
 * A promise reaction or a timer belongs to the async context in which it was registered. Code of the library that
 * registers one while code of the user is on the stack leaves that context first: otherwise the user's
 * `AsyncLocalStorage` values would show up in code that is not theirs.
 */
export function detached(callback: () => void): void {
  if (detachedCallbacks.push(callback) === 1) submit();
}

/** Registers the next reaction from inside the last: same async context. */
function listen(): void {
  const { promise, resolve } = Promise.withResolvers<void>();
  submit = resolve;
  promise.then(() => {
    listen();
    // A microtask each, so that one that throws does not take others with it.
    for (const callback of detachedCallbacks.splice(0)) microtask(callback);
  });
}

listen();
