/**
 * Cancellations that come while a group ends by itself.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import { getRunningLoop, sleep, taskGroup, until } from "../../mod.ts";
import {
  as,
  type Mix,
  outcomeOf,
  type Steps,
  wrong,
} from "../support/mixed_styles.ts";
import { startProgram } from "../support/program.ts";
import { DAY, ENDERS } from "../support/cancelling.ts";

/** Ways in which a group is ended early; its child then cleans up for a second. */
const CLOSINGS: Record<string, (mix: Mix, log: unknown[]) => Steps> = {
  "group.cancel() in the body": function* (mix) {
    yield taskGroup((group) => {
      group.createTask(as(mix.inner, slow));
      return as(mix.inner, function* () {
        yield sleep(100);
        group.cancel();
      })() as never;
    });
  },
  "group.cancel() that ends the body, too": function* (mix) {
    yield taskGroup((group) => {
      group.createTask(as(mix.inner, slow));
      getRunningLoop().callLater(100, () => group.cancel());
      return as(mix.inner, function* () {
        yield sleep(DAY);
      })() as never;
    });
  },
  "group.cancel() by a child": function* (mix) {
    yield taskGroup((group) => {
      group.createTask(as(mix.inner, slow));
      group.createTask(as(mix.inner, function* () {
        yield sleep(100);
        group.cancel();
      }));
    });
  },
  "a body that cleans up itself": function* (mix) {
    yield taskGroup((group) => {
      getRunningLoop().callLater(100, () => group.cancel());
      group.createTask(as(mix.inner, slow));
      return as(mix.inner, function* () {
        try {
          yield sleep(DAY);
        } finally {
          group.createTask === undefined || (yield sleep(5));
        }
      })() as never;
    });
  },
  "a group in a call": function* (mix) {
    const { inner } = mix;
    yield until(async () => {
      await as(inner, () => CLOSINGS["group.cancel() in the body"]!(mix, []))();
    });
  },
  "a group that runs at most one": function* (mix) {
    yield taskGroup((group) => {
      group.createTask(as(mix.inner, slow));
      group.createTask(as(mix.inner, slow));
      getRunningLoop().callLater(100, () => group.cancel());
    }, { limit: 1 });
  },
};

function* slow(): Steps<void> {
  try {
    yield sleep(DAY);
  } finally {
    yield sleep(1_000);
  }
}

for (
  const name of [
    "timeout",
    "failAfter",
    "moveOnAfter",
    "task.cancel",
    "the failure of a sibling",
  ]
) {
  const { around, outcome } = ENDERS[name]!;
  for (const goesOn of [true, false]) {
    Deno.test(`${name}: comes while a group ends by itself, and goes on${goesOn ? "" : ", where nothing else comes"}`, async () => {
      const cases = Object.fromEntries(
        Object.entries(CLOSINGS).filter(([key]) => key !== "a group in a call")
          .map(([key, closing]) => [key, { closing, wanted: outcome }]),
      );
      const differences = await wrong(
        cases,
        (entry, mix) =>
          outcomeOf(as(mix.outer, () =>
            around(
              500,
              as(mix.outer, function* () {
                yield* entry.closing(mix, []);
                if (goesOn) yield sleep(DAY);
              }),
            ))),
      );
      assertEquals(differences, []);
    });
  }
}

Deno.test("Ctrl-C while a group ends by itself ends the program", async () => {
  for (
    const main of [
      "async () => { await closing(); }",
      "async () => { await closing(); await sleep(60_000); }",
      "function* () { yield* closing(); yield* sleep(60_000); }",
      "async () => { await timeout(60_000, closing); }",
      "function* () { yield* taskGroup(async () => { await closing(); }); }",
    ]
  ) {
    const program = startProgram(`
      import { run, sleep, taskGroup, timeout } from "@rota/rota";
      const slow = async () => {
        try { await sleep(60_000); } finally {
          console.log("ready"); await sleep(200); console.log("clean");
        }
      };
      const closing = () => taskGroup(async (group) => {
        group.createTask(slow);
        await sleep(1);
        group.cancel();
      });
      await run(${main}).then(() => console.log("returned"), (error) => console.log(error.name));
    `);
    assertEquals(await program.line(), "ready");
    program.send("SIGINT");
    const { stdout, stderr } = await program.end();
    assertEquals({ main, stdout, stderr }, {
      main,
      stdout: "clean\nInterruptedError\n",
      stderr: "",
    });
  }
});

Deno.test("Ctrl-C at a foreign promise, and as a group fails, ends the program", async () => {
  const programs: Record<string, string> = {
    "async () => { await taskGroup(async (g) => { g.createTask(() => sleep(60_000)); await soon(); }); }":
      "InterruptedError\n",
    "async () => { await timeout(60_000, async () => { await soon(); await sleep(60_000); }); }":
      "InterruptedError\n",
    "async () => { await cancelScope(async () => { await soon(); await sleep(60_000); }); }":
      "InterruptedError\n",
    "async () => { try { await taskGroup(async (g) => { g.createTask(failsWhenCancelled); await soon(); await sleep(60_000); }); } catch { /* the group's */ } await sleep(60_000); }":
      "InterruptedError\n",
    "function* () { try { yield* taskGroup(function* (g) { g.createTask(failsWhenCancelled); yield* until(soon()); yield* sleep(60_000); }); } catch { /* the group's */ } yield* sleep(60_000); }":
      "InterruptedError\n",
  };
  for (const [main, wanted] of Object.entries(programs)) {
    const program = startProgram(`
      import { cancelScope, run, sleep, taskGroup, timeout, until } from "@rota/rota";
      const soon = () => { console.log("ready"); return new Promise((resolve) => setTimeout(resolve, 200)); };
      const failsWhenCancelled = async () => { try { await sleep(60_000); } catch { throw new Error("child"); } };
      await run(${main}).then(() => console.log("returned"), (error) => console.log(error.name));
    `);
    assertEquals(await program.line(), "ready");
    program.send("SIGINT");
    const { stdout, stderr } = await program.end();
    assertEquals({ main, stdout, stderr }, {
      main,
      stdout: wanted,
      stderr: "",
    });
  }
});
