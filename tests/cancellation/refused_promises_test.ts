/**
 * Promises whose wait was refused, as a cancellation was due.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import {
  cancelScope,
  currentTask,
  gather,
  getRunningLoop,
  sleep,
  until,
  wait,
  waitFor,
} from "../../mod.ts";
import {
  as,
  FOREIGN,
  type Mix,
  outcomeOf,
  type Steps,
  wrong,
} from "../support/mixed_styles.ts";
import { abortError, answering, DAY } from "../support/cancelling.ts";

Deno.test("A promise whose wait was refused, as a cancellation was due, is not a failure that nobody handled", async () => {
  const waits: Record<string, (mix: Mix) => Steps> = {
    "until": function* () {
      yield until(answering(currentTask()!.signal, (reason) => reason));
    },
    "until, answered as Node does": function* () {
      yield until(
        answering(currentTask()!.signal, (cause) => abortError({ cause })),
      );
    },
    "until in a scope": function* (mix) {
      yield cancelScope(as(mix.inner, function* () {
        yield until(answering(currentTask()!.signal, (reason) => reason));
      }));
    },
    "waitFor": function* () {
      yield waitFor(
        answering(currentTask()!.signal, (reason) => reason),
        DAY,
      );
    },
    "waitFor without time": function* () {
      yield waitFor(answering(currentTask()!.signal, (reason) => reason), 0);
    },
    "waitFor in a scope": function* (mix) {
      yield cancelScope(as(mix.inner, function* () {
        yield waitFor(
          answering(currentTask()!.signal, (reason) => reason),
          DAY,
        );
      }));
    },
    "waitFor of an operation": function* () {
      yield waitFor(
        until(answering(currentTask()!.signal, (reason) => reason)),
        DAY,
      );
    },
    "gather": function* () {
      yield gather([answering(currentTask()!.signal, (reason) => reason)]);
    },
  };
  const cases = Object.fromEntries(
    Object.entries(waits).map((
      [key, make],
    ) => [key, { make, wanted: `["cancelled"]` }]),
  );
  const unhandled: unknown[] = [];
  const note = (event: PromiseRejectionEvent) => {
    event.preventDefault();
    unhandled.push("nobody handled it");
  };
  globalThis.addEventListener("unhandledrejection", note);
  const differences = await wrong(cases, async ({ make }, mix) => {
    unhandled.length = 0;
    const outcome = await outcomeOf(
      as(mix.outer, function* () {
        const task = getRunningLoop().createTask(as(mix.inner, function* () {
          currentTask()!.cancel();
          yield* make(mix);
        }));
        yield wait([task]);
        yield sleep(1);
        return [task.cancelled() ? "cancelled" : "ended", ...unhandled];
      }),
      FOREIGN,
    );
    return outcome;
  });
  globalThis.removeEventListener("unhandledrejection", note);
  assertEquals(differences, []);
});
