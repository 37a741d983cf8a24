/**
 * Options of `submit`, checked: what every executor of functions does first.
 *
 * @module
 */
import {
  checkNumber,
  checkOneOf,
  checkOptions,
  checkPlainFunction,
  checkSignal,
  checkString,
  inspect,
} from "../loop/checks.ts";
import { getRunningLoop } from "../loop/current.ts";
import { checkPriority, DEFAULT_PRIORITY } from "../loop/priority.ts";
import { checkTransfer } from "./checks.ts";
import type { SubmitOptions } from "./executor.ts";

const SUBMIT = "submit a job";
const NOTHING: readonly never[] = Object.freeze([]);

/** Options of a job, checked and complete. */
export interface JobSettings {
  /** "" if none was given. */
  readonly name: string;
  readonly signal: AbortSignal | undefined;
  /** Priority as a number. */
  readonly rank: number;
  readonly key: string | number | undefined;
  /** Moment of the loop's clock; Infinity if there is no deadline. */
  readonly deadlineMs: number;
  readonly transfer: readonly Transferable[];
  readonly idempotent: boolean;
  readonly onProgress: ((value: unknown) => void) | null;
}

/** The settings of a job that was submitted without options. */
export const NO_JOB_SETTINGS: JobSettings = Object.freeze({
  name: "",
  signal: undefined,
  rank: DEFAULT_PRIORITY,
  key: undefined,
  deadlineMs: Infinity,
  transfer: NOTHING,
  idempotent: false,
  onProgress: null,
});

/**
 * Checks the options of `submit`.
 *
 * @param options Options as they were given; undefined if there were none.
 * @throws {TypeError} If an option is of the wrong type, or `transfer` has
 * something that cannot be moved.
 * @throws {RangeError} If `deadlineMs` is `NaN` or has passed.
 * @throws {MisuseError} If there is a deadline and no loop is running.
 */
export function checkSubmitOptions(
  options: SubmitOptions | undefined,
): JobSettings {
  if (options === undefined) return NO_JOB_SETTINGS;
  checkOptions(options, SUBMIT);
  const {
    name = "",
    signal,
    priority,
    key,
    deadlineMs = Infinity,
    transfer = NOTHING,
    idempotent = false,
    onProgress,
  } = options;
  checkString(name, SUBMIT, "name");
  checkSignal(signal, SUBMIT);
  const rank = checkPriority(priority, SUBMIT);
  if (key !== undefined) checkKey(key);
  if (deadlineMs !== Infinity) checkDeadline(deadlineMs);
  if (transfer !== NOTHING) checkTransfer(transfer, SUBMIT);
  checkOneOf(idempotent, [true, false], SUBMIT, "idempotent");
  if (onProgress !== undefined) {
    checkPlainFunction(onProgress, SUBMIT, "onProgress");
  }
  return {
    name,
    signal,
    rank,
    key,
    deadlineMs,
    transfer: transfer === NOTHING ? NOTHING : [...transfer],
    idempotent,
    onProgress: onProgress ?? null,
  };
}

/**
 * Copies the arguments of a job, as the caller may go on with the array. Objects
 * in it are copied when the job is sent.
 *
 * @throws {TypeError} If it is no array.
 */
export function copyArguments<A extends readonly unknown[]>(args: A): A {
  if (!Array.isArray(args)) {
    throw new TypeError(
      `Cannot ${SUBMIT} as args must be an array: received ${inspect(args)}`,
    );
  }
  const copy: readonly unknown[] = args.slice();
  return copy as A;
}

function checkKey(key: unknown): void {
  const { inWords, isOne } = typeof key === "number"
    ? { inWords: "not be NaN", isOne: !Number.isNaN(key) }
    : { inWords: "be a string or a number", isOne: typeof key === "string" };
  if (isOne) return;
  throw new TypeError(
    `Cannot ${SUBMIT} as key must ${inWords}: received ${inspect(key)}`,
  );
}

function checkDeadline(deadlineMs: unknown): void {
  checkNumber(deadlineMs, SUBMIT, "deadlineMs");
  const nowMs = getRunningLoop().time();
  if (deadlineMs as number > nowMs) return;
  throw new RangeError(
    `Cannot ${SUBMIT} as deadlineMs must be after now, ${nowMs}: received ${deadlineMs}`,
  );
}
