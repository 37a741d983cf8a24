/**
 * Cancellations that come as the body of a group ends.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import {
  getRunningLoop,
  sleep,
  type Task,
  taskGroup,
  timeout,
  wait,
} from "../../mod.ts";
import {
  as,
  type Mix,
  outcomeOf,
  type Steps,
  wrong,
} from "../support/mixed_styles.ts";
import { DAY } from "../support/cancelling.ts";

Deno.test("A cancellation that comes as the body of a group ends is delivered", async () => {
  const cases: Record<
    string,
    { make: (mix: Mix, self: () => Task<unknown>) => Steps; wanted: unknown }
  > = {
    "by the first step of a child": {
      make: function* (mix, self) {
        yield taskGroup((group) => {
          group.createTask(as(mix.inner, function* () {
            self().cancel("stop");
            yield sleep(DAY);
          }));
        });
      },
      wanted: true,
    },
    "by the first step of a child, with an async body": {
      make: function* (mix, self) {
        yield taskGroup(async (group) => {
          group.createTask(as(mix.inner, function* () {
            self().cancel("stop");
            yield sleep(DAY);
          }));
        });
      },
      wanted: true,
    },
    "by the last statement of the body": {
      make: function* (mix, self) {
        yield taskGroup((group) => {
          group.createTask(() => sleep(DAY));
          return as(mix.inner, function* () {
            yield sleep(1);
            self().cancel("stop");
          })() as never;
        });
      },
      wanted: true,
    },
    "by a callback in the turn of the last statement": {
      make: function* (mix, self) {
        yield taskGroup((group) => {
          group.createTask(() => sleep(DAY));
          return as(mix.inner, function* () {
            yield sleep(1);
            getRunningLoop().callSoon(() => self().cancel("stop"));
          })() as never;
        });
      },
      wanted: true,
    },
    "by a microtask after the last statement": {
      make: function* (mix, self) {
        yield taskGroup((group) => {
          group.createTask(() => sleep(DAY));
          return as(mix.inner, function* () {
            yield sleep(1);
            queueMicrotask(() => self().cancel("stop"));
          })() as never;
        });
      },
      wanted: true,
    },
    "in a group in a group": {
      make: function* (mix, self) {
        yield taskGroup(as(mix.inner, function* () {
          yield taskGroup(async (group) => {
            group.createTask(async () => {
              self().cancel("stop");
              await sleep(DAY);
            });
          });
        }));
      },
      wanted: true,
    },
    "in a timeout": {
      make: function* (mix, self) {
        yield timeout(
          DAY,
          as(mix.inner, function* () {
            yield taskGroup(async (group) => {
              group.createTask(async () => {
                self().cancel("stop");
                await sleep(DAY);
              });
            });
          }),
        );
      },
      wanted: true,
    },
  };
  const differences = await wrong(cases, async ({ make }, mix) => {
    let task!: Task<unknown>;
    const outcome = await outcomeOf(as(mix.outer, function* () {
      task = getRunningLoop().createTask(
        as(mix.outer, () => make(mix, () => task)),
      );
      yield wait([task], { timeoutMs: 1_000 });
    }));
    return outcome === "undefined" ? task.cancelled() : outcome;
  });
  assertEquals(differences, []);
});
