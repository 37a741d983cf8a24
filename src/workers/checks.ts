/**
 * Checks that several kinds of executors make of their options, and the seeds
 * that they take if none was given.
 *
 * @module
 */
import { monotonicMs, wallClockMs } from "../host/clock.ts";
import {
  checkInteger,
  checkNumber,
  checkOptions,
  checkString,
  inspect,
} from "../loop/checks.ts";

/** Throws unless `value` is a number > 0; `Infinity` is allowed. */
export function checkPositive(
  value: unknown,
  what: string,
  name: string,
  unit?: string,
): void {
  checkNumber(value, what, name, unit);
  if (value as number > 0) return;
  throw new RangeError(
    `Cannot ${what} as ${name} must be > 0: received ${value}`,
  );
}

/** Throws unless `value` is a number >= `least`; `Infinity` is allowed. */
export function checkAtLeast(
  value: unknown,
  least: number,
  what: string,
  name: string,
  unit?: string,
): void {
  checkNumber(value, what, name, unit);
  if (value as number >= least) return;
  throw new RangeError(
    `Cannot ${what} as ${name} must be >= ${least}: received ${value}`,
  );
}

/** Throws unless `env` is an object of strings. */
export function checkEnvironment(env: unknown, what: string): void {
  if (typeof env !== "object" || env === null || Array.isArray(env)) {
    throw new TypeError(
      `Cannot ${what} as env must be an object: received ${inspect(env)}`,
    );
  }
  for (const [name, value] of Object.entries(env)) {
    checkString(value, what, `env.${name}`);
  }
}

/**
 * The range of each limit, in megabytes. With 4 for the old generation, or more
 * for code than there are addresses, V8 ends the whole process; with 6 some
 * threads do not start.
 */
const LIMITS = {
  maxOldGenerationSizeMb: [8, Infinity],
  maxYoungGenerationSizeMb: [0, Infinity],
  codeRangeSizeMb: [0, 4_096],
  stackSizeMb: [0, Infinity],
} as const;

/** Throws unless a thread can be started with these `resourceLimits`. */
export function checkResourceLimits(limits: unknown, what: string): void {
  checkOptions(limits, what, "resourceLimits");
  for (const [key, [least, most]] of Object.entries(LIMITS)) {
    const value: unknown = Reflect.get(limits as object, key);
    if (value === undefined) continue;
    const name = `resourceLimits.${key}`;
    checkPositive(value, what, name, "megabytes");
    checkAtLeast(value, least, what, name, "megabytes");
    if (value as number <= most) continue;
    throw new RangeError(
      `Cannot ${what} as ${name} must be <= ${most}: received ${value}`,
    );
  }
}

/** Throws for what can be known not to be movable. The rest is found out when it is sent. */
export function checkTransfer(transfer: unknown, what: string): void {
  if (!Array.isArray(transfer)) {
    throw new TypeError(
      `Cannot ${what} as transfer must be an array: received ${
        inspect(transfer)
      }`,
    );
  }
  for (const item of transfer) {
    const fault = transferFault(item);
    if (fault === null) continue;
    throw new TypeError(
      `Cannot ${what} as transfer must hold objects that can be moved: received ${fault}`,
    );
  }
  if (new Set(transfer).size < transfer.length) {
    throw new TypeError(
      `Cannot ${what} as transfer must hold each object once: received one of them twice`,
    );
  }
}

/** Why an object cannot be moved, in words; null if that is not known. */
function transferFault(item: unknown): string | null {
  if (typeof item !== "object" || item === null) return inspect(item);
  if (ArrayBuffer.isView(item)) {
    return `${inspect(item)}, whose buffer can be moved`;
  }
  if (item instanceof SharedArrayBuffer) return "a SharedArrayBuffer";
  if (isPlain(item)) return inspect(item);
  return item instanceof ArrayBuffer && item.detached
    ? "an ArrayBuffer that was moved before"
    : null;
}

/** Whether it is an object of the language that can be copied at most: moving it would fail once others have been moved. */
function isPlain(item: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(item);
  return prototype === null || COPIED.has(prototype);
}

const COPIED: ReadonlySet<unknown> = new Set([
  Object.prototype,
  Array.prototype,
  Map.prototype,
  Set.prototype,
  Date.prototype,
  RegExp.prototype,
  Promise.prototype,
]);

/** Throws unless `seed` is a safe integer. */
export function checkSeed(seed: unknown, what: string, name: string): void {
  checkInteger(seed, Number.MIN_SAFE_INTEGER, what, name);
  if (!Number.isSafeInteger(seed)) {
    throw new RangeError(
      `Cannot ${what} as ${name} must be a safe integer: received ${seed}`,
    );
  }
}

let seeds = 0;

/** Returns a seed that differs from executor to executor, from run to run, and from process to process. */
export function nextSeed(): number {
  return seedOf(wallClockMs(), monotonicMs(), seeds++);
}

/**
 * Makes a seed of two clocks and a count. Processes that fail together, as what they use has failed, draw one in the
 * same millisecond, and are not to come back together: the nanoseconds tell them apart.
 */
export function seedOf(wallMs: number, nowMs: number, count: number): number {
  const high = (Math.floor(nowMs * 1e6) + count) % 2 ** 21;
  return high * 2 ** 32 + Math.floor(wallMs) % 2 ** 32;
}
