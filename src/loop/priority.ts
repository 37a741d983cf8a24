/**
 * Priorities as programs write them, and as numbers.
 *
 * @module
 */
import { inspect } from "./checks.ts";

/**
 * Priority of a task or callback: one of the web's three words, or a number,
 * higher first.
 *
 * `"user-blocking"` stands for 10, `"user-visible"` for 0, `"background"` for
 * -10. The default is `"user-visible"`.
 */
export type Priority =
  | "user-blocking"
  | "user-visible"
  | "background"
  | number;

/** Priority of whatever has none of its own. */
export const DEFAULT_PRIORITY = 0;

const NUMBERS: ReadonlyMap<unknown, number> = new Map([
  ["user-blocking", 10],
  ["user-visible", DEFAULT_PRIORITY],
  ["background", -10],
]);

/** Like `requirePriority`, but returns `otherwise` for `undefined`. */
export function checkPriority(
  priority: unknown,
  what: string,
  otherwise: number = DEFAULT_PRIORITY,
): number {
  return priority === undefined ? otherwise : requirePriority(priority, what);
}

/**
 * The number a priority stands for. Throws unless it is a number other than
 * `NaN`, or one of the words.
 */
export function requirePriority(priority: unknown, what: string): number {
  if (typeof priority === "number" && !Number.isNaN(priority)) return priority;
  const number = NUMBERS.get(priority);
  if (number !== undefined) return number;
  throw new TypeError(
    `Cannot ${what} as priority must be "user-blocking", "user-visible", "background" ` +
      `or a number: received ${inspect(priority)}`,
  );
}
