/**
 * Stacks of the places where handles, tasks and operations were made, for debug
 * mode.
 *
 * @module
 */
/** How many frames a stack has at least, unless the program wants none: some of them are the library's own. */
const FRAMES_MIN = 12;

/**
 * Stack of the place where something was made. To take it costs two to five
 * microseconds; the text, which takes a hundred, is made when it is asked for.
 *
 * Until then it refers to the functions that were running, and to the objects
 * whose methods they were.
 */
export class CreationStack {
  #error: Error | null;
  #text: string | undefined = undefined;

  constructor() {
    const limit = Error.stackTraceLimit;
    const tooFew = limit > 0 && limit < FRAMES_MIN;
    if (tooFew) Error.stackTraceLimit = FRAMES_MIN;
    this.#error = new Error("created");
    if (tooFew) Error.stackTraceLimit = limit;
  }

  /** Returns the stack as text, a frame a line; `undefined` if the program has turned stacks off. */
  text(): string | undefined {
    if (this.#error !== null) {
      // The program may have set `Error.stackTraceLimit` or `prepareStackTrace`.
      const stack: unknown = this.#error.stack;
      this.#error = null;
      const firstEnd = typeof stack === "string" ? stack.indexOf("\n") : -1;
      if (firstEnd >= 0) this.#text = (stack as string).slice(firstEnd + 1);
    }
    return this.#text;
  }
}
