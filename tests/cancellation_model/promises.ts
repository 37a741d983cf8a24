/**
 * Statements that wait for promises: foreign ones, and functions given to `until`.
 *
 * @module
 */
import { setImmediate } from "node:timers";
import { currentTask, until } from "../../mod.ts";
import type { Context, Program } from "./program.ts";
import { asAsync, type Script } from "./style.ts";
import type { Body, Foreign } from "./tree.ts";

/** Waits for a promise, by itself or through `until`. */
export function* promise(
  program: Program,
  context: Context,
  kind: "foreign" | "until",
  of: Foreign,
): Script {
  // In a generator both are a wait of the loop.
  const outside = kind === "foreign" && context.isAsync;
  yield* program.wait(
    context,
    `${kind}(${of.after} ${of.unit})`,
    outside ? "outside" : of.answers === "nothing" ? "suspends" : "answers",
    () =>
      kind === "foreign"
        ? makePromise(program, of)
        : until(makePromise(program, of)),
  );
}

function makePromise(
  program: Program,
  { after, unit, answers }: Foreign,
): Promise<unknown> {
  const signal = answers === "nothing" ? null : currentTask()?.signal;
  const settled = Promise.withResolvers<unknown>();
  if (unit === "ms") program.loop.callLater(after, settled.resolve, undefined);
  else if (unit === "macrotask") setImmediate(settled.resolve, undefined);
  else {
    let chain = Promise.resolve();
    for (let hop = 0; hop < after; hop++) chain = chain.then(() => {});
    chain.then(settled.resolve);
  }
  const abort = () => {
    const { reason } = signal!;
    settled.reject(
      answers === "reason"
        ? reason
        : Object.assign(new Error("aborted", { cause: reason }), {
          name: "AbortError",
        }),
    );
  };
  if (signal?.aborted) abort();
  else signal?.addEventListener("abort", abort);
  return settled.promise;
}

/** A function given to `until`: what it waits for is the task's. */
export function* untilBody(
  program: Program,
  context: Context,
  body: Body,
): Script {
  const caller = { left: false };
  const inside = { ...context, isAsync: true, caller };
  context.place.task.branches = true;
  try {
    yield* program.wait(
      context,
      "until()",
      "calls",
      () => until(() => asAsync(() => program.all(inside, body))),
    );
  } finally {
    caller.left = true;
  }
}
