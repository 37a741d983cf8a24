/** Runs `callback` when the current microtask is done: 15 to 20 ns. */
export const microtask: (callback: () => void) => void = queueMicrotask;

let immediate: ((callback: () => void) => unknown) | undefined;

/**
 * Runs `callback` in the next pass of the runtime's own event loop.
 *
 * `setImmediate` is looked up on first use: that loads the runtime's Node layer,
 * which takes some five milliseconds that a short program need not spend.
 */
export function macrotask(callback: () => void): void {
  immediate ??= setImmediate;
  immediate(callback);
}

let submit: () => void;
const detachedCallbacks: (() => void)[] = [];

/**
 * Runs `callback` a few microtasks later, in the async context this module was
 * loaded in and not in that of the caller.
 *
 * A promise reaction or a timer belongs to the async context in which it was
 * registered. So whatever registers one on the library's own account, while
 * code of the user is on the stack, has to leave that context first; otherwise
 * the user's `AsyncLocalStorage` values show up in code that is not theirs.
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
