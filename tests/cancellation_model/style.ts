/**
 * Styles: one script, which yields whatever it waits for, run as a generator
 * coroutine or as an async function.
 *
 * @module
 */
import {
  type Coroutine,
  type Future,
  type Operation,
  until,
} from "../../mod.ts";

/** How the bodies of a program are written. */
export type Style = "generators" | "async functions" | "mixed";

/** Another script, as a function that the style calls. */
export class Call {
  readonly scripts: readonly (() => Script)[];

  constructor(scripts: readonly (() => Script)[]) {
    this.scripts = scripts;
  }
}

/** Whatever a script may wait for. */
export type Awaited =
  | Operation<unknown>
  | Future<unknown>
  | Promise<unknown>
  | Call;
/** A body that yields what it waits for. */
// deno-lint-ignore no-explicit-any
export type Script = Generator<Awaited, any, any>;

/** Runs a script as a generator coroutine. */
export function* asGenerator(script: () => Script): Coroutine<unknown> {
  const body = script();
  let step = body.next();
  while (step.done !== true) {
    let value: unknown;
    try {
      const { value: target } = step;
      if (target instanceof Call) {
        let failure: { error: unknown } | null = null;
        for (const inner of target.scripts) {
          try {
            value = yield* asGenerator(inner);
          } catch (error) {
            failure ??= { error };
          }
        }
        if (failure !== null) throw failure.error;
      } else {
        value = target instanceof Promise
          ? yield* until(target)
          : yield* target;
      }
    } catch (error) {
      step = body.throw(error);
      continue;
    }
    step = body.next(value);
  }
  return step.value;
}

/** Runs a script as an async function. */
export async function asAsync(script: () => Script): Promise<unknown> {
  const body = script();
  let step = body.next();
  while (step.done !== true) {
    let value: unknown;
    try {
      const { value: target } = step;
      if (target instanceof Call) {
        const settled = await Promise.allSettled(target.scripts.map(asAsync));
        const failed = settled.find(({ status }) => status === "rejected");
        if (failed !== undefined) {
          throw (failed as PromiseRejectedResult).reason;
        }
      } else value = await target;
    } catch (error) {
      step = body.throw(error);
      continue;
    }
    step = body.next(value);
  }
  return step.value;
}
