/**
 * Errors that stand for a cancellation, as `fetch` and Node throw for an aborted signal.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import { cancelScope, currentTask } from "../../mod.ts";
import { as, FOREIGN, outcomeOf, wrong } from "../support/mixed_styles.ts";
import { abortError, answering, ENDERS } from "../support/cancelling.ts";

const ANSWERS: Record<string, (reason: unknown) => unknown> = {
  "the reason, as fetch does": (reason) => reason,
  "an AbortError with a cause, as Node does": (cause) => abortError({ cause }),
  "an AbortError with a reason": (reason) => abortError({ reason }),
  "an AbortError in an AbortError": (cause) =>
    abortError({ cause: abortError({ cause }) }),
  "a SuppressedError of two": (cause) =>
    new SuppressedError(abortError({ cause }), cause, "both"),
};

for (const name of Object.keys(ENDERS)) {
  const { around, outcome } = ENDERS[name]!;
  Deno.test(`${name}: an answer to the aborted signal counts as the cancellation`, async () => {
    const cases = Object.fromEntries(
      Object.entries(ANSWERS).map(([key, make]) => [key, {
        make,
        // A task has no reason of its own then.
        wanted: outcome.startsWith("cancelled") ? "cancelled" : outcome,
      }]),
    );
    const differences = await wrong(cases, async ({ make }, mix) => {
      const outcome = await outcomeOf(
        as(mix.outer, () =>
          around(
            10,
            as(mix.inner, function* () {
              yield answering(currentTask()!.signal, make);
            }),
          )),
        FOREIGN,
      );
      return outcome.startsWith("cancelled") ? "cancelled" : outcome;
    });
    assertEquals(differences, []);
  });
}

Deno.test("An AbortError that is not made of a cancellation is a failure", async () => {
  const differences = await wrong({
    "without a cause": {
      error: abortError({}),
      wanted: "AbortError: The operation was aborted",
    },
    "with another cause": {
      error: abortError({ cause: new Error("disk") }),
      wanted: "AbortError: The operation was aborted",
    },
  }, ({ error }, mix) =>
    outcomeOf(
      as(mix.outer, function* () {
        return yield cancelScope(as(mix.inner, function* () {
          yield Promise.reject(error);
        }));
      }),
      FOREIGN,
    ));
  assertEquals(differences, []);
});
