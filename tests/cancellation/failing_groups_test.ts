/**
 * Cancellations from outside that come as a group fails.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import {
  CancelledError,
  cancelScope,
  currentTask,
  failAfter,
  getRunningLoop,
  moveOnAfter,
  type Operation,
  sleep,
  type TaskGroup,
  taskGroup,
  timeout,
  until,
  wait,
} from "../../mod.ts";
import {
  as,
  type Mix,
  outcomeOf,
  type Steps,
  tell,
  wrong,
} from "../support/mixed_styles.ts";
import { DAY } from "../support/cancelling.ts";

/** How the cancellation comes into the group that fails. */
const FAILING: Record<string, (mix: Mix, group: TaskGroup) => Steps> = {
  "in the turn in which a child fails": function* (mix, group) {
    group.createTask(as(mix.inner, function* () {
      yield sleep(10);
      throw new Error("child");
    }));
    yield sleep(DAY);
  },
  "and a child fails in its clean-up": function* (mix, group) {
    group.createTask(as(mix.inner, function* () {
      try {
        yield sleep(DAY);
      } finally {
        yield sleep(5);
        // deno-lint-ignore no-unsafe-finally
        throw new Error("child");
      }
    }));
    yield sleep(DAY);
  },
  "and a child fails at once when it is cancelled": function* (mix, group) {
    group.createTask(as(mix.inner, function* () {
      try {
        yield sleep(DAY);
      } catch {
        throw new Error("child");
      }
    }));
  },
  "while the group waits for children of which one fails later": function* (
    mix,
    group,
  ) {
    group.createTask(as(mix.inner, function* () {
      try {
        yield sleep(DAY);
      } catch {
        yield sleep(20);
        throw new Error("child");
      }
    }));
    group.createTask(() => sleep(DAY));
  },
  "and the failing child is in a group of a group": function* (mix, group) {
    group.createTask(as(mix.inner, function* () {
      yield sleep(10);
      throw new Error("child");
    }));
    group.createTask(as(mix.inner, function* () {
      yield taskGroup((inside) => {
        inside.createTask(() => sleep(DAY));
        return sleep(DAY);
      });
    }));
    yield sleep(DAY);
  },
};

/** What the task waits for afterwards. */
const NEXT: Record<string, () => Steps> = {
  "sleeps": function* () {
    yield sleep(1);
  },
  "waits for a promise": function* () {
    yield until(new Promise(() => {}));
  },
  "ends a group": function* () {
    yield taskGroup((group) => {
      group.createTask(() => sleep(DAY));
    });
  },
};

for (const [how, failing] of Object.entries(FAILING)) {
  Deno.test(`A cancellation that comes ${how} is thrown at the next wait`, async () => {
    const cases = Object.fromEntries(
      Object.entries(NEXT).map(([name, next]) => [name, {
        next,
        wanted: ["TaskGroupError[child]", 1, "CancelledError: Cancelled", true],
      }]),
    );
    const differences = await wrong(cases, async ({ next }, mix) => {
      const log: unknown[] = [];
      const outcome = await outcomeOf(as(mix.outer, function* () {
        const task = getRunningLoop().createTask(as(mix.outer, function* () {
          try {
            yield taskGroup((group) =>
              as(mix.inner, () => failing(mix, group))() as never
            );
          } catch (error) {
            log.push(tell(error), currentTask()!.cancelling());
          }
          try {
            yield* next();
          } catch (error) {
            log.push(
              error instanceof CancelledError
                ? "CancelledError: Cancelled"
                : tell(error),
            );
            throw error;
          }
        }));
        yield sleep(10);
        task.cancel();
        yield wait([task]);
        log.push(task.cancelled());
      }));
      return outcome === "undefined" ? log : outcome;
    });
    assertEquals(differences, []);
  });
}

Deno.test("A deadline that makes a group fail is thrown at the next wait", async () => {
  const blocks = {
    timeout: { block: timeout, wanted: "TimeoutError" },
    failAfter: { block: failAfter, wanted: "TimeoutError" },
    moveOnAfter: { block: moveOnAfter, wanted: `{"cancelledCaught":true}` },
  };
  const differences = await wrong(
    blocks,
    ({ block }, mix) =>
      outcomeOf(as(mix.outer, function* () {
        return yield (block as typeof timeout)(
          10,
          as(mix.inner, function* () {
            try {
              yield taskGroup((group) => {
                group.createTask(function* () {
                  try {
                    yield* sleep(DAY);
                  } catch {
                    throw new Error("child");
                  }
                });
                return as(mix.outer, function* () {
                  yield sleep(DAY);
                })() as never;
              });
            } catch { /* the group's */ }
            yield sleep(5);
            return "ran on";
          }),
        );
      })),
  );
  assertEquals(differences, []);
});

Deno.test("A cancellation that was caught before a group fails is thrown again, as in asyncio", async () => {
  const groups: Record<
    string,
    { group: (mix: Mix) => Operation<unknown>; wanted: unknown }
  > = {
    "a child fails": {
      group: (mix) =>
        taskGroup((group) => {
          group.createTask(as(mix.inner, function* () {
            yield sleep(1);
            throw new Error("E");
          }));
        }),
      wanted: [true],
    },
    "the body fails": {
      group: (mix) =>
        taskGroup(as(mix.inner, function* () {
          yield sleep(1);
          throw new Error("E");
        })),
      wanted: [true],
    },
    "a group in a timeout": {
      group: (mix) =>
        timeout(
          100,
          as(mix.inner, function* () {
            yield taskGroup((group) => {
              group.createTask(function* () {
                throw new Error("E");
              });
            });
          }),
        ),
      wanted: [true],
    },
    "a group in a scope": {
      group: (mix) =>
        cancelScope(as(mix.inner, function* () {
          yield taskGroup(function* () {
            throw new Error("E");
          });
        })),
      wanted: [true],
    },
    "a group in a group": {
      group: (mix) =>
        taskGroup(as(mix.inner, function* () {
          yield taskGroup(async () => {
            await sleep(1);
            throw new Error("E");
          });
        })),
      wanted: [true],
    },
  };
  const differences = await wrong(groups, async ({ group }, mix) => {
    const log: unknown[] = [];
    const outcome = await outcomeOf(as(mix.outer, function* () {
      const task = getRunningLoop().createTask(as(mix.outer, function* () {
        try {
          yield sleep(DAY);
        } catch { /* clean up */ }
        try {
          yield group(mix);
        } catch { /* the group's */ }
      }));
      yield sleep(1);
      task.cancel();
      yield wait([task]);
      log.push(task.cancelled());
    }));
    return outcome === "undefined" ? log : outcome;
  });
  assertEquals(differences, []);
});
