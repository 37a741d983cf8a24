/**
 * Fault injection: has calls be late, get lost, come twice or fail, by chance that a
 * seed repeats.
 *
 * @module
 */
import { InjectedFaultError } from "../errors.ts";
import { runBody } from "../loop/body.ts";
import { isCancellation } from "../loop/cancellation.ts";
import {
  checkFunction,
  checkNotNegative,
  checkNumber,
  checkOneOf,
  checkOptions,
  checkString,
  inspect,
} from "../loop/checks.ts";
import { getRunningLoop } from "../loop/current.ts";
import { Future } from "../loop/future.ts";
import { Operation } from "../loop/operation.ts";
import { sleep } from "../loop/sleep.ts";
import type { Coroutine } from "../loop/task_body.ts";
import { SeededRandom } from "../structures/random.ts";

/** Options of a {@linkcode FaultInjector}. All chances are between 0 and 1, and 0 by default. */
export interface FaultOptions {
  /** Seed of the chance: the same calls in the same order get the same faults. */
  readonly seed: number;
  /** Chance of a delay before the call. */
  readonly delay?: number | undefined;
  /**
   * Length of a delay: the shortest and the longest, in milliseconds.
   *
   * @default {[1, 100]}
   */
  readonly delayMs?: readonly [min: number, max: number] | undefined;
  /** Chance that a call gets lost: it never happens. */
  readonly drop?: number | undefined;
  /** Chance that a call happens twice, one after the other. */
  readonly duplicate?: number | undefined;
  /** Chance that a call fails instead of happening. */
  readonly fail?: number | undefined;
  /** Makes the error of a call that fails; an {@linkcode InjectedFaultError} by default. */
  readonly error?: ((fault: InjectedFault) => unknown) | undefined;
}

/** Options of {@linkcode FaultInjector.wrap}. */
export interface WrapOptions {
  /** Name of the function in messages and in {@linkcode FaultInjector.injected}; its own by default. */
  readonly name?: string | undefined;
  /**
   * Whether nobody waits for an answer, as with a message: a call that gets lost
   * then returns `undefined` at once, instead of waiting for ever.
   *
   * @default {false}
   */
  readonly oneWay?: boolean | undefined;
}

/** Something that was done to a call. */
export interface InjectedFault {
  /** Number of the call among all calls of the injector, from 0 on. */
  readonly call: number;
  /** Name of the function. */
  readonly name: string;
  /** The fault, besides the delay. */
  readonly kind: "none" | "drop" | "duplicate" | "fail";
  /** Delay before the call, in milliseconds; 0 for none. */
  readonly delayMs: number;
}

/**
 * Puts faults between a program and the functions that it calls, as a bad network
 * does.
 *
 * Faults are drawn as the calls are made, a fixed number of draws for each, so that
 * a seed repeats them as long as the order of the calls is the same; on a virtual
 * loop it is. Delays are on the clock of the loop. Of loss, duplicate and failure a
 * call gets one at most; a delay may come before.
 *
 * Print the seed when a test draws one, to run it again.
 *
 * @example A counter that is told everything twice
 * ```ts
 * import { run } from "@rota/rota";
 * import { FaultInjector } from "@rota/rota/testing";
 * import { assertEquals } from "@std/assert";
 *
 * let count = 0;
 * const faults = new FaultInjector({ seed: 1, duplicate: 1, delay: 0.5 });
 * const increment = faults.wrap(async () => {
 *   count++;
 * }, { name: "increment" });
 * await run(async () => {
 *   await increment();
 *   await increment();
 * }, { host: "virtual" });
 * assertEquals(count, 4);
 * assertEquals(faults.injected.map(({ kind }) => kind), ["duplicate", "duplicate"]);
 * ```
 */
export class FaultInjector {
  /** The seed. */
  readonly seed: number;
  /** Faults so far, in the order of the calls. */
  readonly injected: InjectedFault[] = [];
  /** Errors of second calls, which nobody waits for, in order. */
  readonly duplicateErrors: unknown[] = [];
  /** Whether faults are injected. Calls are counted and drawn for in any case. */
  enabled = true;
  readonly #random: SeededRandom;
  readonly #delay: number;
  readonly #delayMs: readonly [min: number, max: number];
  readonly #drop: number;
  readonly #duplicate: number;
  readonly #fail: number;
  readonly #error: (fault: InjectedFault) => unknown;
  #calls = 0;

  /**
   * Makes an injector.
   *
   * @param options The seed, and the chances.
   * @throws {TypeError} If an option is of the wrong type.
   * @throws {RangeError} If the seed is not a safe integer, a chance is not between
   * 0 and 1, those of `drop`, `duplicate` and `fail` are more than 1 together, or
   * `delayMs` is no range.
   */
  constructor(options: FaultOptions) {
    const what = "make a fault injector";
    checkOptions(options, what);
    const { seed, delayMs = [1, 100], error = defaultError } = options;
    const { delay = 0, drop = 0, duplicate = 0, fail = 0 } = options;
    checkNumber(seed, what, "seed", "");
    for (
      const [name, chance] of Object.entries({ delay, drop, duplicate, fail })
    ) {
      checkChance(chance, what, name);
    }
    if (drop + duplicate + fail > 1) {
      throw new RangeError(
        `Cannot ${what} as drop, duplicate and fail must be <= 1 together: received ${
          drop + duplicate + fail
        }`,
      );
    }
    checkRange(delayMs, what);
    checkFunction(error, what, "error");
    this.#random = new SeededRandom(seed);
    this.seed = seed;
    this.#delay = delay;
    this.#delayMs = delayMs;
    this.#drop = drop;
    this.#duplicate = duplicate;
    this.#fail = fail;
    this.#error = error;
  }

  /**
   * Returns a function that calls `fn` with faults.
   *
   * @typeParam A Types of the arguments.
   * @typeParam T Type of the result.
   * @param fn An async function, a generator function, or one that returns an
   * operation or a value. It runs in the task that awaits the call.
   * @param options Its name, and whether it is a message without an answer.
   * @returns The function. It returns an operation: nothing happens until that is
   * awaited. A call that gets lost waits until it is cancelled, unless it is one
   * way. A call that happens twice gives the result of the first; an error of the
   * second goes to {@linkcode duplicateErrors}.
   * @throws {TypeError} If `fn` is not a function, or an option is of the wrong type.
   */
  wrap<A extends readonly unknown[], T>(
    fn: (...args: A) => Coroutine<T> | PromiseLike<T> | T,
    options: WrapOptions = {},
  ): (...args: A) => Operation<T> {
    const what = "wrap a function with faults";
    checkFunction(fn, what, "fn");
    checkOptions(options, what);
    const { name = fn.name, oneWay = false } = options;
    checkString(name, what, "name");
    checkOneOf(oneWay, [true, false], what, "oneWay");
    return (...args) => {
      const fault = this.#draw(name);
      const call = () =>
        runBody<undefined, T>(
          null,
          () => fn(...args) as Coroutine<T>,
          undefined,
        );
      return new Operation<T>(() => this.#run(fault, call, oneWay), { name });
    };
  }

  #draw(name: string): InjectedFault {
    const random = this.#random;
    const [isLate, late, chance] = [
      random.next(),
      random.next(),
      random.next(),
    ];
    const [min, max] = this.#delayMs;
    const delayMs = isLate < this.#delay ? min + late * (max - min) : 0;
    const [drop, fail] = [this.#drop, this.#drop + this.#fail];
    const kind = chance < drop
      ? "drop"
      : chance < fail
      ? "fail"
      : chance < fail + this.#duplicate
      ? "duplicate"
      : "none";
    const call = this.#calls++;
    if (!this.enabled) return { call, name, kind: "none", delayMs: 0 };
    const fault: InjectedFault = { call, name, kind, delayMs };
    if (kind !== "none" || delayMs > 0) this.injected.push(fault);
    return fault;
  }

  *#run<T>(
    fault: InjectedFault,
    call: () => ReturnType<typeof runBody<undefined, T>>,
    oneWay: boolean,
  ): Coroutine<T> {
    const { kind, name, delayMs } = fault;
    if (delayMs > 0) yield* sleep(delayMs);
    if (kind === "fail") throw this.#error(fault);
    if (kind === "drop") {
      if (oneWay) return undefined as T;
      return yield* new Future<T>(
        getRunningLoop(),
        `the answer of ${name}(), whose call got lost`,
      );
    }
    const value = yield* call();
    if (kind === "duplicate") {
      try {
        yield* call();
      } catch (error) {
        if (isCancellation(error)) throw error;
        this.duplicateErrors.push(error);
      }
    }
    return value;
  }
}

function defaultError({ call, name }: InjectedFault): InjectedFaultError {
  return new InjectedFaultError(`Injected fault in call ${call}, of ${name}()`);
}

function checkChance(value: unknown, what: string, name: string): void {
  checkNumber(value, what, name, "");
  if ((value as number) >= 0 && (value as number) <= 1) return;
  throw new RangeError(
    `Cannot ${what} as ${name} must be between 0 and 1: received ${value}`,
  );
}

function checkRange(range: unknown, what: string): void {
  if (!Array.isArray(range) || range.length !== 2) {
    throw new TypeError(
      `Cannot ${what} as delayMs must be the shortest and the longest: received ${
        inspect(range)
      }`,
    );
  }
  for (const end of range) checkNotNegative(end, what, "delayMs");
  const [min, max] = range as [number, number];
  if (min <= max && max < Infinity) return;
  throw new RangeError(
    `Cannot ${what} as delayMs must be a range: received ${min} to ${max}`,
  );
}
