/**
 * Options that all sources have, and how they are checked.
 *
 * @module
 */
import {
  checkInteger,
  checkOneOf,
  checkOptions,
  checkSignal,
} from "../loop/checks.ts";

/**
 * Fate of an item that comes while the buffer of a source is full:
 *
 * - `"block"`: the source waits. Only for sources that can be made to wait:
 *   streams and descriptors.
 * - `"drop-oldest"`: the oldest item of the buffer is dropped for it.
 * - `"drop-newest"`: the new item is dropped.
 * - `"error"`: the source ends. Items of the buffer can still be taken, then a
 *   {@linkcode SourceOverflowError} is thrown. If nobody comes to see it, the loop's exception
 *   handler is told.
 */
export type Overflow = "block" | "drop-oldest" | "drop-newest" | "error";

/** Options that all sources have. */
export interface SourceOptions {
  /**
   * How many items the source keeps for its consumer, at least 1. `Infinity` is
   * allowed, and means that a slow consumer costs memory without a bound.
   *
   * @default {1_024; 1 for sources that can wait, and for signals}
   */
  readonly buffer?: number | undefined;
  /**
   * Fate of an item that comes while the buffer is full.
   *
   * @default {"error"; "block" for sources that can wait, "drop-newest" for signals}
   */
  readonly overflow?: Overflow | undefined;
  /**
   * Closes the source when it aborts: items in the buffer are dropped, and the
   * consumer gets the reason of the signal.
   */
  readonly signal?: AbortSignal | undefined;
}

/** Properties of a kind of source, for the constructor. */
export interface SourceKind {
  /** The call in words, such as `"subscribe to events"`. */
  readonly what: string;
  /** Name in messages, such as `"fromEvent(message)"`. */
  readonly name: string;
  /** Why the source cannot wait; `null` if it can. */
  readonly cannotBlock: string | null;
  /**
   * Whether waits count as waits for something outside: always, only on a real clock, or
   * never.
   */
  readonly outside: "always" | "real" | "never";
  readonly buffer?: number;
  readonly overflow?: Overflow;
}

const OVERFLOWS: readonly Overflow[] = [
  "block",
  "drop-oldest",
  "drop-newest",
  "error",
];

/** Size of the buffer, and the policy. */
export type Settings = readonly [capacity: number, overflow: Overflow];

/** Checks the options of a source. Throws the reason of a signal that has aborted. */
export function settle(options: SourceOptions, kind: SourceKind): Settings {
  const { what, cannotBlock } = kind;
  checkOptions(options, what);
  const {
    buffer = kind.buffer ?? (cannotBlock === null ? 1 : 1_024),
    overflow = kind.overflow ?? (cannotBlock === null ? "block" : "error"),
    signal,
  } = options;
  checkInteger(buffer, 1, what, "buffer", "or Infinity");
  checkOneOf(overflow, OVERFLOWS, what, "overflow");
  if (overflow === "block" && cannotBlock !== null) {
    throw new TypeError(
      `Cannot ${what} as overflow must not be "block" where ${cannotBlock}: received "block"`,
    );
  }
  checkSignal(signal, what);
  signal?.throwIfAborted();
  return [buffer, overflow];
}
