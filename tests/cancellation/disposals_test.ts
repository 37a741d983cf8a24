/**
 * Resources whose task is cancelled: they are disposed of once, and the disposal may be cancelled, too.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import {
  cancelScope,
  currentTask,
  getRunningLoop,
  moveOnAfter,
  scoped,
  sleep,
  taskGroup,
  timeout,
  wait,
} from "../../mod.ts";
import {
  as,
  FOREIGN,
  foreign,
  type Mix,
  outcomeOf,
  type Steps,
  wrong,
} from "../support/mixed_styles.ts";
import { type Body, connection, DAY, ENDERS } from "../support/cancelling.ts";

/** A body that holds resources. */
const HOLDING: Record<string, (mix: Mix) => Body> = {
  "scoped": (mix) =>
    as(mix.outer, function* () {
      yield scoped(
        connection(),
        as(mix.inner, function* () {
          yield sleep(DAY);
        }),
      );
    }),
  "await using": () => async () => {
    await using _connection = connection();
    await sleep(DAY);
  },
  "two of them": (mix) =>
    as(mix.outer, function* () {
      yield scoped(
        connection(),
        as(mix.inner, function* () {
          yield scoped(
            connection(),
            as(mix.inner, function* () {
              yield sleep(DAY);
            }),
          );
        }),
      );
    }),
  "await using twice": () => async () => {
    await using _first = connection();
    await using _second = connection();
    await sleep(DAY);
  },
  "in a group": (mix) =>
    as(mix.outer, function* () {
      yield taskGroup(as(mix.inner, function* () {
        yield scoped(
          connection(),
          as(mix.inner, function* () {
            yield sleep(DAY);
          }),
        );
      }));
    }),
};

Deno.test("Body and disposal that end by one cancelled scope are a cancellation, not a failure", async () => {
  for (const name of ["moveOnAfter", "failAfter", "CancelScope.cancel"]) {
    const { around, outcome } = ENDERS[name]!;
    const cases = Object.fromEntries(
      Object.entries(HOLDING).map((
        [key, body],
      ) => [key, { body, wanted: outcome }]),
    );
    const differences = await wrong(
      cases,
      ({ body }, mix) => outcomeOf(as(mix.outer, () => around(10, body(mix)))),
    );
    assertEquals([name, ...differences], [name]);
  }
});

Deno.test("A task that is cancelled once more during its disposal is cancelled", async () => {
  const cases = Object.fromEntries(
    Object.entries(HOLDING).map((
      [key, body],
    ) => [key, { body, wanted: [true, "undefined"] }]),
  );
  const differences = await wrong(cases, async ({ body }, mix) => {
    let cancelled = false;
    const outcome = await outcomeOf(as(mix.outer, function* () {
      yield taskGroup(function* (group) {
        const child = group.createTask(body(mix));
        for (let n = 0; n < 3; n++) {
          yield* sleep(10);
          child.cancel();
        }
        yield* wait([child]);
        cancelled = child.cancelled();
      });
    }));
    return [cancelled, outcome];
  });
  assertEquals(differences, []);
});

Deno.test("A disposal that really fails is a failure, also if the body was cancelled", async () => {
  const broken = {
    [Symbol.asyncDispose]: async () => {
      throw new Error("disposal");
    },
  };
  const cancelled = "CancelledError: Cancelled";
  const cases = {
    "timeout": { wanted: `SuppressedError[disposal, ${cancelled}]` },
    "task.cancel": {
      wanted: `SuppressedError[disposal, ${cancelled}: stop]`,
    },
  };
  const differences = await wrong(cases, ({ wanted }, mix) => {
    const body = as(mix.outer, function* () {
      yield scoped(
        broken,
        as(mix.inner, function* () {
          yield sleep(DAY);
        }),
      );
    });
    return outcomeOf(as(mix.outer, function* () {
      if (!wanted.endsWith("stop]")) return yield timeout(10, body);
      const task = getRunningLoop().createTask(body);
      getRunningLoop().callLater(10, () => task.cancel("stop"));
      return yield task;
    }));
  });
  assertEquals(differences, []);
});

Deno.test("A resource that was given to scoped is disposed of once, whatever was pending", async () => {
  const resources = {
    "an async disposal": (log: string[]) => ({
      async [Symbol.asyncDispose]() {
        log.push("disposed");
      },
    }),
    "a disposal that waits": (log: string[]) => ({
      async [Symbol.asyncDispose]() {
        log.push("disposed");
        await sleep(5);
      },
    }),
    "a plain disposal": (log: string[]) => ({
      [Symbol.dispose]() {
        log.push("disposed");
      },
    }),
  };
  for (const [what, make] of Object.entries(resources)) {
    const cases = Object.fromEntries(
      Object.entries(ENDERS).map((
        [key, { around, outcome }],
      ) => [key, { around, wanted: [outcome, "disposed"] }]),
    );
    const differences = await wrong(cases, async ({ around }, mix) => {
      const log: string[] = [];
      const outcome = await outcomeOf(
        as(mix.outer, () =>
          around(
            10,
            as("async", function* () {
              const resource = yield foreign(20, make(log));
              yield scoped(
                resource as AsyncDisposable,
                as(mix.inner, function* () {
                  yield sleep(DAY);
                }),
              );
            }),
          )),
        FOREIGN,
      );
      return [outcome, ...log];
    });
    assertEquals([what, ...differences], [what]);
  }
});

Deno.test("A resource is disposed of in a scope that is cancelled already, and after a self-cancellation", async () => {
  const cases: Record<
    string,
    { make: (mix: Mix, resource: AsyncDisposable) => Steps; wanted: unknown }
  > = {
    "a cancelled scope": {
      make: function* (mix, resource) {
        yield cancelScope((scope) => {
          scope.cancel();
          return as(mix.inner, function* () {
            yield scoped(
              resource,
              as(mix.inner, function* () {
                yield sleep(DAY);
              }),
            );
          })();
        });
      },
      wanted: ["undefined", "disposed"],
    },
    "a scope without time": {
      make: function* (mix, resource) {
        yield moveOnAfter(
          0,
          as(mix.inner, function* () {
            yield scoped(resource, () => sleep(DAY));
          }),
        );
      },
      wanted: ["undefined", "disposed"],
    },
    "a task that has cancelled itself": {
      make: function* (mix, resource) {
        const task = getRunningLoop().createTask(as(mix.inner, function* () {
          currentTask()!.cancel();
          yield scoped(resource, () => sleep(DAY));
        }));
        yield wait([task]);
      },
      wanted: ["undefined", "disposed"],
    },
    "a resource in a resource": {
      make: function* (mix, resource) {
        const task = getRunningLoop().createTask(as(mix.inner, function* () {
          currentTask()!.cancel();
          yield scoped(
            connection(5),
            as(mix.inner, function* () {
              yield scoped(resource, () => sleep(DAY));
            }),
          );
        }));
        yield wait([task]);
      },
      wanted: ["undefined", "disposed"],
    },
    "a group that was cancelled": {
      make: function* (mix, resource) {
        yield taskGroup((group) =>
          as(mix.inner, function* () {
            group.cancel();
            yield scoped(resource, () => sleep(DAY));
          })()
        );
      },
      wanted: ["undefined", "disposed"],
    },
  };
  const differences = await wrong(cases, async ({ make }, mix) => {
    const log: string[] = [];
    const outcome = await outcomeOf(as(mix.outer, () =>
      make(mix, {
        async [Symbol.asyncDispose]() {
          log.push("disposed");
        },
      })));
    return [outcome, ...log];
  });
  assertEquals(differences, []);
});
