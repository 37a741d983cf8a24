/**
 * Options of a map over a source, checked, and what follows from them.
 *
 * @module
 */
import {
  checkFunction,
  checkInteger,
  checkOneOf,
  checkOptions,
  checkSignal,
  inspect,
} from "../loop/checks.ts";
import type { WaitOptions } from "../loop/operation.ts";
import { checkPriority, type Priority } from "../loop/priority.ts";
import type { Coroutine } from "../loop/task_body.ts";
import { isSource, type MapSource } from "./map_source.ts";

/** Options of {@linkcode ConcurrencyLimit.map}. */
export interface LimitMapOptions extends WaitOptions {
  /**
   * Whether results come in the order of the source; else in the order in which
   * they were done.
   *
   * @default {true}
   */
  readonly ordered?: boolean | undefined;
  /**
   * Place of the map in line, among jobs and other maps.
   *
   * @default {"user-visible"}
   */
  readonly priority?: Priority | undefined;
  /**
   * When results are gone through one by one: how many may wait to be taken
   * before no further item is begun. Items that run then still add theirs.
   *
   * @default {the size of the limit}
   */
  readonly bufferSize?: number | undefined;
}

/**
 * Function that a map calls for each item: an async function, a generator
 * function or a plain one.
 *
 * @typeParam T Type of an item.
 * @typeParam R Type of a result.
 */
export type MapBody<T, R> = (
  item: T,
  index: number,
) => Coroutine<R> | PromiseLike<R> | R;

/** Work of a map. */
export interface MapPlan<T, R> {
  readonly source: MapSource<T>;
  readonly body: MapBody<T, R>;
  readonly rank: number;
  /** Whether a failure is a result like any other. */
  readonly settled: boolean;
  readonly ordered: boolean;
  /** Undefined for as many as the limit has slots. */
  readonly bufferSize: number | undefined;
  readonly signal: AbortSignal | undefined;
}

/** Checks what a map was given. */
export function planMap<T, R>(
  source: MapSource<T>,
  body: MapBody<T, R>,
  options: LimitMapOptions,
  settled: boolean,
): MapPlan<T, R> {
  const what = "map over a source";
  if (!isSource(source)) {
    throw new TypeError(
      `Cannot ${what} as source must be iterable: received ${inspect(source)}`,
    );
  }
  checkFunction(body, what, "body");
  checkOptions(options, what);
  const { ordered = true, priority, bufferSize, signal } = options;
  checkOneOf(ordered, [true, false], what, "ordered");
  if (bufferSize !== undefined) {
    checkInteger(bufferSize, 1, what, "bufferSize", "or Infinity");
  }
  checkSignal(signal, what);
  const rank = checkPriority(priority, what);
  return { source, body, rank, settled, ordered, bufferSize, signal };
}
