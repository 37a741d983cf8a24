/**
 * `mockAsync`: stands in for an asynchronous function, by a script, and notes calls
 * and awaits.
 *
 * @module
 */
import { AssertionError, MisuseError } from "../errors.ts";
import { runBody } from "../loop/body.ts";
import { isCancellation } from "../loop/cancellation.ts";
import {
  checkFunction,
  checkInteger,
  checkNotNegative,
  checkOptions,
  checkString,
} from "../loop/checks.ts";
import { getRunningLoop } from "../loop/current.ts";
import { Operation } from "../loop/operation.ts";
import { sleep } from "../loop/sleep.ts";
import type { Coroutine } from "../loop/task_body.ts";
import { isEqual, showArguments } from "./equality.ts";

/** Options of {@linkcode mockAsync}. */
export interface MockAsyncOptions {
  /**
   * Name of the function in messages.
   *
   * @default {"mock"}
   */
  readonly name?: string | undefined;
}

/** Options of an answer. */
export interface MockAnswerOptions {
  /**
   * How long the answer takes, on the clock of the loop.
   *
   * @default {0, which does not wait at all}
   */
  readonly delayMs?: number | undefined;
}

/** A call of a mock: the shape of those of `@std/testing/mock`. */
export interface MockCall<A extends readonly unknown[], T> {
  /** The arguments. */
  readonly args: A;
  /** The `this` of the call. */
  readonly self: unknown;
  /** The operation that it returned. */
  readonly returned: Operation<T>;
}

/** An await of a call of a mock. */
export interface MockAwait<A extends readonly unknown[], T> {
  /** Arguments of the call. */
  readonly args: A;
  /** The time at which the await began, on the clock of its loop. */
  readonly startMs: number;
  /** How it has ended, so far. */
  readonly state: "pending" | "returned" | "failed" | "cancelled";
  /** The result; `undefined` if there is none. */
  readonly value: T | undefined;
  /** The error; `undefined` if there is none. */
  readonly error: unknown;
}

/** Function that a mock runs for a call. */
export type MockAnswer<A extends readonly unknown[], T> = (
  ...args: A
) => Coroutine<T> | PromiseLike<T> | Operation<T> | T;

/**
 * A function that {@linkcode mockAsync} has made.
 *
 * @typeParam A Types of the arguments.
 * @typeParam T Type of the result.
 */
export interface MockAsync<A extends readonly unknown[], T> {
  /** Takes the next answer. Nothing happens until the operation is awaited. */
  (...args: A): Operation<T>;

  /** All calls, in order. */
  readonly calls: MockCall<A, T>[];
  /** All awaits, in the order in which they began. */
  readonly awaits: MockAwait<A, T>[];

  // -- Script --

  /** Has every call from now on return `value`. Returns the mock. */
  returns(value: T, options?: MockAnswerOptions): this;
  /** Has the next call without an answer return `value`. Returns the mock. */
  returnsOnce(value: T, options?: MockAnswerOptions): this;
  /** Has every call from now on fail with `error`. Returns the mock. */
  throws(error: unknown, options?: MockAnswerOptions): this;
  /** Has the next call without an answer fail with `error`. Returns the mock. */
  throwsOnce(error: unknown, options?: MockAnswerOptions): this;
  /** Has every call from now on run `fn`, in the task that awaits it. Returns the mock. */
  runs(fn: MockAnswer<A, T>, options?: MockAnswerOptions): this;
  /** Has the next call without an answer run `fn`. Returns the mock. */
  runsOnce(fn: MockAnswer<A, T>, options?: MockAnswerOptions): this;
  /** Forgets calls and awaits, and the answers for single calls. Returns the mock. */
  reset(): this;

  // -- Assertions: each throws an `AssertionError` --

  /** Fails unless a call was awaited. */
  assertAwaited(): void;
  /** Fails unless exactly one call was awaited. */
  assertAwaitedOnce(): void;
  /** Fails unless exactly `count` calls were awaited. */
  assertAwaitCount(count: number): void;
  /** Fails unless the latest await was of a call with these arguments. */
  assertAwaitedWith(...args: A): void;
  /** Fails unless exactly one call was awaited, with these arguments. */
  assertAwaitedOnceWith(...args: A): void;
  /** Fails unless some call with these arguments was awaited. */
  assertAnyAwait(...args: A): void;
  /** Fails unless calls with these arguments were awaited one right after the other. */
  assertHasAwaits(...calls: readonly A[]): void;
  /** Fails if a call was awaited. */
  assertNotAwaited(): void;
  /** Fails if a call was made that nobody has awaited. */
  assertAllAwaited(): void;

  // -- As a spy of `@std/testing/mock`, whose assertions take it --

  /** The mock itself: it stands in for no function that it knows. */
  readonly original: (...args: A) => Operation<T>;
  /** Whether `restore` was called. */
  readonly restored: boolean;
  /** Does nothing: the mock stands in for nothing that could be restored. */
  restore(): void;
}

/** Await that is still under way, or over. */
interface OpenAwait<A extends readonly unknown[], T> {
  args: A;
  startMs: number;
  state: MockAwait<A, T>["state"];
  value: T | undefined;
  error: unknown;
}

/** An answer, and how long it takes. */
interface Scripted<A extends readonly unknown[], T> {
  readonly answer: MockAnswer<A, T>;
  readonly delayMs: number;
}

/** State of one mock. */
class MockState<A extends readonly unknown[], T> {
  readonly calls: MockCall<A, T>[] = [];
  readonly awaits: OpenAwait<A, T>[] = [];
  readonly name: string;
  #standing: Scripted<A, T> | null = null;
  #once: Scripted<A, T>[] = [];
  /** How many answers for single calls there have been. */
  #scripted = 0;
  readonly #awaited = new Set<Operation<T>>();

  constructor(name: string) {
    this.name = name;
  }

  // -- Script --

  set(
    times: "always" | "once",
    answer: MockAnswer<A, T>,
    options: MockAnswerOptions = {},
  ): void {
    const what = `script mock ${this.name}()`;
    checkFunction(answer, what, "fn");
    checkOptions(options, what);
    const { delayMs = 0 } = options;
    checkNotNegative(delayMs, what, "delayMs");
    if (times === "always") this.#standing = { answer, delayMs };
    else {
      this.#once.push({ answer, delayMs });
      this.#scripted++;
    }
  }

  reset(): void {
    this.calls.length = this.awaits.length = this.#once.length = 0;
    this.#scripted = 0;
    this.#awaited.clear();
  }

  // -- Calls --

  call(self: unknown, args: A): Operation<T> {
    const scripted = this.#once.shift() ?? this.#standing;
    const number = this.calls.length + 1;
    const begin = () => {
      this.#awaited.add(returned);
      return this.#run(scripted, args, number);
    };
    const returned = new Operation<T>(begin, { name: `mock ${this.name}()` });
    this.calls.push({ args, self, returned });
    return returned;
  }

  *#run(
    scripted: Scripted<A, T> | null,
    args: A,
    number: number,
  ): Coroutine<T> {
    const startMs = getRunningLoop().time();
    const entry: OpenAwait<A, T> = {
      args,
      startMs,
      state: "pending",
      value: undefined,
      error: undefined,
    };
    this.awaits.push(entry);
    try {
      if (scripted === null) return this.#withoutAnswer(number);
      const { answer, delayMs } = scripted;
      if (delayMs > 0) yield* sleep(delayMs);
      entry.value = yield* runBody<undefined, T>(
        null,
        () => answer(...args) as Coroutine<T>,
        undefined,
      );
      entry.state = "returned";
      return entry.value;
    } catch (error) {
      entry.state = isCancellation(error) ? "cancelled" : "failed";
      entry.error = error;
      throw error;
    }
  }

  #withoutAnswer(number: number): T {
    if (this.#scripted === 0) return undefined as T;
    throw new MisuseError(
      `Cannot answer call ${number} of mock ${this.name}(): its script has ${this.#scripted} answers`,
    );
  }

  // -- Assertions --

  fail(expected: string): never {
    const list = this.awaits.map(({ args }) =>
      `\n  ${this.name}${showArguments(args)}`
    );
    throw new AssertionError(
      `Expected mock ${this.name}() to have been awaited ${expected}: it was called ${
        times(this.calls.length)
      } and awaited ${times(list.length)}${list.join("")}`,
    );
  }

  assertCount(count: number): void {
    if (this.awaits.length !== count) this.fail(times(count));
  }

  assertLatest(args: A): void {
    const latest = this.awaits.at(-1);
    if (latest === undefined || !isEqual(latest.args, args)) {
      this.fail(`at last with ${showArguments(args)}`);
    }
  }

  assertAny(args: A): void {
    if (!this.awaits.some((entry) => isEqual(entry.args, args))) {
      this.fail(`with ${showArguments(args)}`);
    }
  }

  assertRow(rows: readonly A[]): void {
    const isRow = (from: number) =>
      rows.every((args, index) =>
        isEqual(this.awaits[from + index]?.args, args)
      );
    for (let from = 0; from + rows.length <= this.awaits.length; from++) {
      if (isRow(from)) return;
    }
    this.fail(`in a row with ${rows.map(showArguments).join(", ")}`);
  }

  assertAllAwaited(): void {
    const left = this.calls.filter(({ returned }) =>
      !this.#awaited.has(returned)
    );
    if (left.length === 0) return;
    this.fail(
      `for each call, which these were not: ${
        left.map(({ args }) => showArguments(args)).join(", ")
      }`,
    );
  }
}

function times(count: number): string {
  return count === 1 ? "once" : `${count} times`;
}

/**
 * Makes a function that stands in for an asynchronous one.
 *
 * Like Python's `AsyncMock`. Calls and awaits are noted apart, as a call that nobody
 * awaits is a mistake: it returns an {@linkcode Operation}, which does nothing
 * until it is awaited, with `yield*` or `await`. The answers come from a script;
 * those for single calls go first, in order, and belong to the calls in the order
 * of the calls. Without any script it returns `undefined`; a call for which a
 * script of single answers has none left fails. Delays are on the clock of the loop,
 * so virtual ones take no time, and cancelling the task that waits ends them.
 *
 * For code that wants a function which returns a native promise, wrap it:
 * `async (...args) => await mock(...args)`.
 *
 * @example A service that fails once and then takes its time
 * ```ts
 * import { run, sleep } from "@rota/rota";
 * import { mockAsync } from "@rota/rota/testing";
 * import { assertEquals } from "@std/assert";
 *
 * const fetchUser = mockAsync<[id: number], string>()
 *   .throwsOnce(new Error("service down"))
 *   .returns("Ada", { delayMs: 200 });
 *
 * async function userWithRetry(id: number): Promise<string> {
 *   try {
 *     return await fetchUser(id);
 *   } catch {
 *     await sleep(1_000);
 *     return await fetchUser(id);
 *   }
 * }
 *
 * assertEquals(await run(() => userWithRetry(7), { host: "virtual" }), "Ada");
 * fetchUser.assertHasAwaits([7], [7]);
 * assertEquals(fetchUser.awaits.map(({ startMs }) => startMs), [0, 1_000]);
 * ```
 *
 * @typeParam A Types of the arguments.
 * @typeParam T Type of the result.
 * @param fn Runs for every call, as with `runs`. Optional.
 * @param options A name for messages.
 * @returns The function, with its script and its assertions.
 * @throws {TypeError} If `fn` is not a function or `name` not a string.
 */
export function mockAsync<A extends readonly unknown[] = [], T = void>(
  fn?: MockAnswer<A, T>,
  options: MockAsyncOptions = {},
): MockAsync<A, T> {
  const what = "make a mock";
  checkOptions(options, what);
  const { name = "mock" } = options;
  checkString(name, what, "name");
  if (fn !== undefined) checkFunction(fn, what, "fn");
  const state = new MockState<A, T>(name);
  if (fn !== undefined) state.set("always", fn);
  const mock = function (this: unknown, ...args: unknown[]): Operation<T> {
    return state.call(this, args as unknown as A);
  } as unknown as MockAsync<A, T>;
  Object.defineProperty(mock, "name", { value: name });
  return Object.assign(
    mock,
    {
      calls: state.calls,
      awaits: state.awaits,
      original: mock,
      restored: false,
    },
    scriptOf(mock, state),
    assertionsOf(state),
  );
}

function thrower(error: unknown): () => never {
  return () => {
    throw error;
  };
}

/** The methods by which a mock gets its answers. */
function scriptOf<A extends readonly unknown[], T>(
  mock: MockAsync<A, T>,
  state: MockState<A, T>,
): object {
  const add = (times: "always" | "once") =>
  (
    answer: MockAnswer<A, T>,
    options?: MockAnswerOptions,
  ) => {
    state.set(times, answer, options);
    return mock;
  };
  const [always, once] = [add("always"), add("once")];
  type Options = MockAnswerOptions | undefined;
  return {
    returns: (value: T, options: Options) => always(() => value, options),
    returnsOnce: (value: T, options: Options) => once(() => value, options),
    throws: (error: unknown, options: Options) =>
      always(thrower(error), options),
    throwsOnce: (error: unknown, options: Options) =>
      once(thrower(error), options),
    runs: always,
    runsOnce: once,
    reset: () => {
      state.reset();
      return mock;
    },
    restore: () => {},
  };
}

function assertionsOf<A extends readonly unknown[], T>(
  state: MockState<A, T>,
): object {
  return {
    assertAwaited: () => state.awaits.length > 0 || state.fail("at all"),
    assertAwaitedOnce: () => state.assertCount(1),
    assertAwaitCount: (count: number) => {
      checkInteger(count, 0, "count the awaits of a mock", "count");
      state.assertCount(count);
    },
    assertAwaitedWith: (...args: unknown[]) =>
      state.assertLatest(args as unknown as A),
    assertAwaitedOnceWith: (...args: unknown[]) => {
      state.assertCount(1);
      state.assertLatest(args as unknown as A);
    },
    assertAnyAwait: (...args: unknown[]) =>
      state.assertAny(args as unknown as A),
    assertHasAwaits: (...calls: A[]) => state.assertRow(calls),
    assertNotAwaited: () => state.assertCount(0),
    assertAllAwaited: () => state.assertAllAwaited(),
  };
}
