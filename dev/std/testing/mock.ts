/**
 * Stands in for `jsr:@std/testing/mock` where jsr.io cannot be reached: `spy` of a
 * function, and two of its assertions. Without `links` in deno.json the original is
 * used.
 *
 * @module
 */

/** A call of a spy. */
export interface SpyCall<
  // deno-lint-ignore no-explicit-any
  Self = any,
  // deno-lint-ignore no-explicit-any
  Args extends unknown[] = any[],
  // deno-lint-ignore no-explicit-any
  Return = any,
> {
  args: Args;
  returned?: Return;
  error?: Error;
  self?: Self;
}

/** A function that notes its calls. */
export interface Spy<
  // deno-lint-ignore no-explicit-any
  Self = any,
  // deno-lint-ignore no-explicit-any
  Args extends unknown[] = any[],
  // deno-lint-ignore no-explicit-any
  Return = any,
> {
  (this: Self, ...args: Args): Return;
  original: (this: Self, ...args: Args) => Return;
  calls: SpyCall<Self, Args, Return>[];
  restored: boolean;
  restore(): void;
}

/** Makes a spy of a function. */
export function spy<Self, Args extends unknown[], Return>(
  original: (this: Self, ...args: Args) => Return,
): Spy<Self, Args, Return> {
  const calls: SpyCall<Self, Args, Return>[] = [];
  const spied = function (this: Self, ...args: Args): Return {
    const call: SpyCall<Self, Args, Return> = { args, self: this };
    calls.push(call);
    try {
      return call.returned = original.apply(this, args);
    } catch (error) {
      call.error = error as Error;
      throw error;
    }
  };
  const restore = () => {
    throw new Error("Cannot restore: spy is of a function");
  };
  return Object.assign(spied, { original, calls, restored: false, restore });
}

/** Fails unless a spy was called so many times. */
export function assertSpyCalls(spy: Spy, expected: number): void {
  if (spy.calls.length === expected) return;
  throw new Error(
    `Spy not called as much as expected: ${spy.calls.length}, not ${expected}`,
  );
}

/** Fails unless a call had these arguments. */
export function assertSpyCall(
  spy: Spy,
  index: number,
  expected: { args?: unknown[] } = {},
): void {
  const call = spy.calls[index];
  if (call === undefined) throw new Error(`Spy has no call ${index}`);
  const { args } = expected;
  if (
    args !== undefined && JSON.stringify(call.args) !== JSON.stringify(args)
  ) {
    throw new Error(`Spy not called with expected args: ${call.args}`);
  }
}
