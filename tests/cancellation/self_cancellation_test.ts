/**
 * Tasks that cancel themselves.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import {
  cancelScope,
  currentTask,
  Flag,
  getRunningLoop,
  moveOnAfter,
  type Operation,
  scoped,
  sleep,
  taskGroup,
  timeout,
  until,
  wait,
  waitFor,
} from "../../mod.ts";
import { as, outcomeOf, type Steps, wrong } from "../support/mixed_styles.ts";
import { asSteps, type Body, reasonOf } from "../support/cancelling.ts";

Deno.test("A task that cancels itself in a block that then ends is cancelled at the next wait, or at its end", async () => {
  const blocks: Record<string, (body: Body) => Operation<unknown>> = {
    timeout: (body) => timeout(100, body),
    waitFor: (body) => waitFor(body, 100),
    cancelScope: (body) => cancelScope(body),
    moveOnAfter: (body) => moveOnAfter(100, body),
    taskGroup: (body) => taskGroup(body),
    scoped: (body) => scoped({ [Symbol.dispose]() {} }, body),
    until: (body) =>
      until(async () => await as("async", () => asSteps(body))()),
  };
  delete blocks.until; // its body is a task of its own
  const rest: Record<string, () => Steps> = {
    "and ends": function* () {},
    "and sleeps": function* () {
      yield sleep(5);
    },
    "and waits for ever": function* () {
      yield new Flag().wait();
    },
  };
  for (const [name, block] of Object.entries(blocks)) {
    const cases = Object.fromEntries(
      Object.entries(rest).map((
        [key, after],
      ) => [key, { after, wanted: "cancelled: self" }]),
    );
    const differences = await wrong(
      cases,
      ({ after }, mix) =>
        outcomeOf(as(mix.outer, function* () {
          const task = getRunningLoop().createTask(as(mix.outer, function* () {
            yield block(as(mix.inner, function* () {
              currentTask()!.cancel("self");
            }));
            yield* after();
          }));
          yield wait([task], { timeoutMs: 50 });
          return task.cancelled() ? `cancelled: ${reasonOf(task)}` : "ran on";
        })),
    );
    assertEquals([name, ...differences], [name]);
  }
});
