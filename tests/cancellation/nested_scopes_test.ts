/**
 * Scopes and timeouts that are cancelled together.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import {
  CancelledError,
  CancelScope,
  type CancelScopeOptions,
  failAfter,
  getRunningLoop,
  moveOnAfter,
  sleep,
  timeout,
} from "../../mod.ts";
import { as, outcomeOf, wrong } from "../support/mixed_styles.ts";
import { type Body, DAY } from "../support/cancelling.ts";

interface Nest {
  readonly options?: readonly CancelScopeOptions[];
  /** Cancels some of them, the outermost first. */
  readonly cancel: (scopes: readonly CancelScope[]) => void;
  /** Whether the statement after each scope ran, and which have caught it; the outermost first. */
  readonly wanted: {
    readonly ranOn: readonly boolean[];
    readonly caught: readonly boolean[];
  };
}

const NESTS: Record<string, Nest> = {
  "inner, then outer": {
    cancel: ([outer, inner]) => {
      inner!.cancel();
      outer!.cancel();
    },
    wanted: { ranOn: [true, false], caught: [true, false] },
  },
  "outer, then inner": {
    cancel: ([outer, inner]) => {
      outer!.cancel();
      inner!.cancel();
    },
    wanted: { ranOn: [true, false], caught: [true, false] },
  },
  "three, from the innermost": {
    options: [{}, {}, {}],
    cancel: (scopes) => scopes.toReversed().forEach((scope) => scope.cancel()),
    wanted: { ranOn: [true, false, false], caught: [true, false, false] },
  },
  "the outermost and the innermost of three": {
    options: [{}, {}, {}],
    cancel: (scopes) => {
      scopes[2]!.cancel();
      scopes[0]!.cancel();
    },
    wanted: { ranOn: [true, false, false], caught: [true, false, false] },
  },
  "by the same deadline": {
    options: [{ delayMs: 5 }, { delayMs: 5 }],
    cancel: () => {},
    wanted: { ranOn: [true, false], caught: [true, false] },
  },
  "the inner one alone": {
    cancel: ([, inner]) => inner!.cancel(),
    wanted: { ranOn: [true, true], caught: [false, true] },
  },
  "both, and the inner one is a shield": {
    options: [{}, { shield: true }],
    cancel: ([outer, inner]) => {
      inner!.cancel();
      outer!.cancel();
    },
    // The statement after the inner scope runs up to its wait.
    wanted: { ranOn: [true, true], caught: [true, true] },
  },
};

for (const when of ["in the body", "from outside"]) {
  Deno.test(`Of scopes that are cancelled together ${when}, the outermost decides`, async () => {
    const differences = await wrong(NESTS, async (nest, mix) => {
      const options = nest.options ?? [{}, {}];
      const ranOn: boolean[] = options.map(() => false);
      const scopes = options.map((option) => new CancelScope(option));
      const nested = (level: number): Body =>
        as(level % 2 === 0 ? mix.outer : mix.inner, function* () {
          const inside = level + 1 < scopes.length
            ? nested(level + 1)
            : as(mix.inner, function* () {
              if (when === "in the body") nest.cancel(scopes);
              else getRunningLoop().callLater(2, () => nest.cancel(scopes));
              yield sleep(10);
            });
          yield scopes[level]!.run(inside);
          ranOn[level] = true;
          yield sleep(20);
        });
      const outcome = await outcomeOf(nested(0));
      if (outcome !== "undefined") return outcome;
      return {
        ranOn,
        caught: scopes.map(({ cancelledCaught }) => cancelledCaught),
      };
    });
    assertEquals(differences, []);
  });
}

Deno.test("Of a scope and a timeout with one deadline, the outer one decides", async () => {
  const pairs = {
    "timeout around moveOnAfter": {
      outer: timeout,
      inner: moveOnAfter,
      wanted: "TimeoutError",
    },
    "failAfter around moveOnAfter": {
      outer: failAfter,
      inner: moveOnAfter,
      wanted: "TimeoutError",
    },
    "moveOnAfter around timeout": {
      outer: moveOnAfter,
      inner: timeout,
      wanted: `{"cancelledCaught":true}`,
    },
    "moveOnAfter around failAfter": {
      outer: moveOnAfter,
      inner: failAfter,
      wanted: `{"cancelledCaught":true}`,
    },
    "timeout around timeout": {
      outer: timeout,
      inner: timeout,
      wanted: "TimeoutError",
    },
  };
  const differences = await wrong(pairs, async ({ outer, inner }, mix) => {
    let ranOn = false;
    const outcome = await outcomeOf(as(mix.outer, function* () {
      return yield (outer as typeof timeout)(
        10,
        as(mix.outer, function* () {
          try {
            yield (inner as typeof timeout)(
              10,
              as(mix.inner, function* () {
                yield sleep(DAY);
              }),
            );
            ranOn = true;
          } catch (error) {
            if (error instanceof CancelledError) throw error;
            ranOn = true; // with the error of the inner one
          }
        }),
      );
    }));
    return ranOn ? "ran on" : outcome;
  });
  assertEquals(differences, []);
});
