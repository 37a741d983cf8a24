/**
 * Errors that are on their way out of a body when a cancellation comes.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import {
  CancelScope,
  cancelScope,
  failAfter,
  getRunningLoop,
  type Operation,
  sleep,
  taskGroup,
  timeout,
  wait,
  waitFor,
} from "../../mod.ts";
import {
  as,
  MIXES,
  outcomeOf,
  type Style,
  tell,
  wrong,
} from "../support/mixed_styles.ts";

for (
  const canceller of ["task.cancel", "group.cancel", "scope.cancel", "sibling"]
) {
  Deno.test(`The error of a body is not replaced by a cancellation that comes some microtasks later (${canceller})`, async () => {
    const fails = (style: Style) =>
      as(style, function* () {
        yield sleep(5);
        throw new Error("the body's");
      });
    const one = "the body's";
    const blocks: Record<
      string,
      { block: (style: Style) => PromiseLike<unknown>; wanted: string }
    > = {
      timeout: { block: (style) => timeout(100, fails(style)), wanted: one },
      taskGroup: {
        block: (style) => taskGroup(fails(style)),
        wanted: `TaskGroupError[${one}]`,
      },
      cancelScope: { block: (style) => cancelScope(fails(style)), wanted: one },
      failAfter: {
        block: (style) => failAfter(100, fails(style)),
        wanted: one,
      },
      waitFor: { block: (style) => waitFor(fails(style), 100), wanted: one },
      "a timeout in a group": {
        block: (style) =>
          taskGroup(async () => await timeout(100, fails(style))),
        wanted: `TaskGroupError[${one}]`,
      },
      "a scope in a scope": {
        block: (style) =>
          cancelScope(async () => await cancelScope(fails(style))),
        wanted: one,
      },
    };
    const cases: Record<
      string,
      {
        block: (style: Style) => PromiseLike<unknown>;
        hops: number;
        wanted: string;
      }
    > = {};
    for (const [name, { block, wanted }] of Object.entries(blocks)) {
      for (let hops = 0; hops <= 6; hops++) {
        cases[`${name}, ${hops} microtasks`] = { block, hops, wanted };
      }
    }
    const differences = await wrong(
      cases,
      ({ block, hops }, mix) =>
        outcomeOf(async () => {
          let outcome = "nothing";
          const work = as(mix.outer, function* () {
            try {
              yield block(mix.inner) as Operation<unknown>;
            } catch (error) {
              outcome = tell(error);
            }
          });
          let cancel: () => void;
          const late = async () => {
            await sleep(5);
            for (let n = 0; n < hops; n++) await null;
            cancel();
          };
          const loop = getRunningLoop();
          if (canceller === "task.cancel") {
            const task = loop.createTask(work);
            cancel = () => task.cancel("late");
            await wait([task, loop.createTask(late)]);
          } else if (canceller === "scope.cancel") {
            const scope = new CancelScope();
            cancel = () => scope.cancel("late");
            await wait([
              loop.createTask(() => scope.run(work)),
              loop.createTask(late),
            ]);
          } else {
            try {
              await taskGroup(async (group) => {
                cancel = () => {
                  if (canceller === "group.cancel") group.cancel("late");
                  else throw new Error("sibling");
                };
                group.createTask(work);
                group.createTask(late);
              });
            } catch { /* the sibling's */ }
          }
          return outcome;
        }),
      MIXES.filter(({ inner }) => inner === "async"),
    );
    assertEquals(differences, []);
  });
}
