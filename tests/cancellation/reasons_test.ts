/**
 * The reason of a cancellation arrives with it.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import {
  cancelScope,
  gather,
  getRunningLoop,
  scoped,
  shield,
  sleep,
  type Task,
  taskGroup,
  timeout,
  until,
  wait,
} from "../../mod.ts";
import {
  as,
  FOREIGN,
  type Mix,
  outcomeOf,
  type Steps,
  wrong,
} from "../support/mixed_styles.ts";
import { connection, DAY, reasonOf } from "../support/cancelling.ts";

Deno.test("The reason of a cancellation arrives with it, whatever is waited for", async () => {
  const waits: Record<string, (mix: Mix, child: Task<unknown>) => Steps> = {
    "gather with exceptions": function* (_, child) {
      yield gather([child], { returnExceptions: true });
    },
    "gather": function* (_, child) {
      yield gather([child, getRunningLoop().createTask(() => sleep(DAY))]);
    },
    "wait": function* (_, child) {
      yield wait([child]);
    },
    "a group": function* (mix) {
      yield taskGroup((group) => {
        group.createTask(() => sleep(DAY));
        return as(mix.inner, function* () {
          yield sleep(DAY);
        })() as never;
      });
    },
    "the end of a group": function* () {
      yield taskGroup((group) => {
        group.createTask(() => sleep(DAY));
      });
    },
    "a timeout": function* (mix) {
      yield timeout(
        DAY,
        as(mix.inner, function* () {
          yield sleep(DAY);
        }),
      );
    },
    "a scope": function* (mix) {
      yield cancelScope(as(mix.inner, function* () {
        yield sleep(DAY);
      }));
    },
    "shield": function* (_, child) {
      yield shield(child);
    },
    "until": function* () {
      yield until(new Promise(() => {}));
    },
    "scoped": function* (mix) {
      yield scoped(
        connection(),
        as(mix.inner, function* () {
          yield sleep(DAY);
        }),
      );
    },
  };
  // Where the child swallows the cancellation that was handed on to it, `gather` ends as
  // if nothing had come, and the request is thrown one wait later. asyncio's
  // `Task.cancel` keeps the message only of a request that was not handed on, so that it
  // is lost here.
  const wanted = (key: string) =>
    key === "gather with exceptions" ? "undefined" : "why";
  const cases = Object.fromEntries(
    Object.entries(waits).map((
      [key, make],
    ) => [key, { make, wanted: wanted(key) }]),
  );
  const differences = await wrong(
    cases,
    ({ make }, mix) =>
      outcomeOf(
        as(mix.outer, function* () {
          const loop = getRunningLoop();
          const child = loop.createTask(as(mix.inner, function* () {
            try {
              yield sleep(DAY);
            } catch { /* swallowed */ }
          }));
          const waiter = loop.createTask(as(mix.outer, function* () {
            yield* make(mix, child);
            yield sleep(DAY);
          }));
          yield sleep(5);
          waiter.cancel("why");
          yield wait([waiter]);
          child.cancel();
          return waiter.cancelled() ? reasonOf(waiter) : "ran on";
        }),
        FOREIGN,
      ),
  );
  assertEquals(differences, []);
});

Deno.test("A reason goes through a gather whose child is cancelled with it", async () => {
  const differences = await wrong(
    Object.fromEntries(
      [true, false].flatMap((returnExceptions) =>
        ["child first", "waiter first"].map((order) => [
          `${order}${returnExceptions ? ", with exceptions" : ""}`,
          { order, returnExceptions, wanted: "why" },
        ])
      ),
    ),
    ({ order, returnExceptions }, mix) =>
      outcomeOf(as(mix.outer, function* () {
        const loop = getRunningLoop();
        const child = loop.createTask(as(mix.inner, function* () {
          try {
            yield sleep(DAY);
          } catch (error) {
            if (!returnExceptions) throw error;
          }
        }));
        const waiter = loop.createTask(as(mix.outer, function* () {
          yield gather([child], { returnExceptions: returnExceptions as true });
          yield sleep(DAY);
        }));
        yield sleep(5);
        if (order === "child first") child.cancel("why");
        waiter.cancel("why");
        if (order !== "child first") child.cancel("why");
        yield wait([waiter]);
        return waiter.cancelled() ? reasonOf(waiter) : "ran on";
      })),
  );
  assertEquals(differences, []);
});
