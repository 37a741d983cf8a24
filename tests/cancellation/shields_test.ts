/**
 * The children of a group whose body is in a shield.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import {
  CancelScope,
  cancelScope,
  failAfter,
  Flag,
  getRunningLoop,
  moveOnAfter,
  moveOnAt,
  type Operation,
  sleep,
  taskGroup,
  timeout,
} from "../../mod.ts";
import {
  as,
  type Mix,
  outcomeOf,
  type Steps,
  wrong,
} from "../support/mixed_styles.ts";
import { type Body, DAY, now } from "../support/cancelling.ts";

/** How a scope around a group is cancelled after 10 ms. */
const SCOPES: Record<string, (body: Body) => Operation<unknown>> = {
  moveOnAfter: (body) => moveOnAfter(10, body),
  moveOnAt: (body) => moveOnAt(now() + 10, body),
  failAfter: (body) => failAfter(10, body),
  "CancelScope.cancel": (body) => {
    const scope = new CancelScope();
    getRunningLoop().callLater(10, () => scope.cancel());
    return scope.run(body);
  },
  "a signal": (body) => {
    const controller = new AbortController();
    getRunningLoop().callLater(
      10,
      () => controller.abort(new Error("aborted")),
    );
    return cancelScope(body, { signal: controller.signal });
  },
  "two scopes": (body) => moveOnAfter(10, () => cancelScope(body)),
  "a scope around a timeout": (body) =>
    moveOnAfter(10, () => timeout(DAY, body)),
};

Deno.test("A cancelled scope cancels the children of a group whose body is in a shield", async () => {
  const shapes: Record<
    string,
    (mix: Mix, child: Body, rest: () => Steps) => Body
  > = {
    "a group": (mix, child, rest) =>
      as(mix.inner, function* () {
        yield taskGroup((group) => {
          group.createTask(child);
          return as(mix.inner, rest)() as never;
        });
      }),
    "a group with a limit": (mix, child, rest) =>
      as(mix.inner, function* () {
        yield taskGroup((group) => {
          group.createTask(child);
          return as(mix.outer, rest)() as never;
        }, { limit: 1 });
      }),
    "a group in the child of a group": (mix, child, rest) =>
      as(mix.inner, function* () {
        yield taskGroup((group) => {
          group.createTask(as(mix.inner, function* () {
            yield taskGroup((inside) => {
              inside.createTask(child);
            });
          }));
          return as(mix.inner, rest)() as never;
        });
      }),
  };
  for (const [scope, around] of Object.entries(SCOPES)) {
    const cases = Object.fromEntries(
      Object.entries(shapes).map((
        [key, shape],
      ) => [key, { shape, wanted: [10, 1_000] }]),
    );
    const differences = await wrong(cases, async ({ shape }, mix) => {
      const at: number[] = [];
      const never = new Flag();
      const child = as(mix.inner, function* () {
        try {
          yield never.wait();
        } finally {
          at.push(now());
        }
      });
      await outcomeOf(as(mix.outer, function* () {
        try {
          yield around(shape(mix, child, function* () {
            yield cancelScope(
              as(mix.inner, function* () {
                yield sleep(1_000);
              }),
              { shield: true },
            );
            at.push(now());
          }));
        } catch { /* of failAfter, or of the signal */ }
      }));
      return at;
    });
    assertEquals([scope, ...differences], [scope]);
  }
});
