/**
 * Places where jobs were submitted, for the stacks of their errors.
 *
 * @module
 */

/** How many jobs of a pool have their place noted in any case. */
const SITES_FREE = 1_000;
/** Time between two of those after that: noting one takes one to three microseconds. */
const SITE_MS = 0.25;

let isQuiet = false;

/** Calls a function whose jobs are submitted for somebody else: their place tells nothing, and is not noted. */
export function withoutSites<T>(fn: () => T): T {
  const before = isQuiet;
  isQuiet = true;
  try {
    return fn();
  } finally {
    isQuiet = before;
  }
}

/**
 * Notes where jobs are submitted: always in debug mode; else for the first
 * thousand of a pool, and then as often as it costs no more than a hundredth of
 * the time. Errors of very many short jobs may lack it.
 */
export class SubmitSites {
  #freeLeft = SITES_FREE;
  #nextMs = -Infinity;

  /** Returns an error whose stack is the place; null if it is not noted. */
  take(nowMs: number, debug: boolean): Error | null {
    if (isQuiet) return null;
    if (this.#freeLeft > 0) this.#freeLeft--;
    else if (nowMs < this.#nextMs && !debug) return null;
    this.#nextMs = nowMs + SITE_MS;
    return new Error("submitted");
  }
}

/** Adds the place of the submission to the stack of an error from elsewhere. */
export function addSite(error: unknown, site: Error | null): void {
  if (site === null || !(error instanceof Error)) return;
  try {
    // The program may have set `Error.prepareStackTrace`, or frozen the error.
    const frames = framesOf(site);
    if (frames !== "") {
      error.stack = `${error.stack}\n    --- submitted at ---\n${frames}`;
    }
  } catch {
    // The error is worth more than its stack.
  }
}

/** Frames of the pool itself, with which each of these stacks begins. Told by their classes: a path may hold the same words. */
const OWN_FRAME = /^\s*at (?:SubmitSites|PoolCore)\./;

/** The frames of a stack, a line each; "" if there are none. */
function framesOf(error: Error): string {
  const stack: unknown = error.stack;
  if (typeof stack !== "string") return "";
  const lines = stack.split("\n").slice(1);
  const first = lines.findIndex((line) => !OWN_FRAME.test(line));
  return first < 0 ? "" : lines.slice(first).join("\n");
}
