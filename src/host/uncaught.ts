/**
 * Errors that nobody caught, in the whole thread.
 *
 * @module
 */

/**
 * Has a function called with every error and rejection of this thread that nobody handles, instead of letting the runtime
 * print it and end the thread.
 *
 * @param uncaught Called with it.
 */
export function onUncaught(
  uncaught: (kind: "error" | "rejection", error: unknown) => void,
): void {
  addEventListener("error", (event) => {
    event.preventDefault();
    uncaught("error", event.error);
  });
  addEventListener("unhandledrejection", (event) => {
    event.preventDefault();
    uncaught("rejection", event.reason);
  });
}
