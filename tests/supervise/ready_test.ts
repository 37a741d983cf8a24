/**
 * Starts without a parameter: ready at the first wait, in both styles alike. And
 * children that clean up for longer than a heartbeat.
 *
 * @module
 */
import { assertEquals, assertRejects } from "@std/assert";
import {
  ChildStartError,
  type Coroutine,
  ignore,
  run,
  sleep,
  Supervisor,
} from "@rota/rota";

const STYLES = {
  "a generator": {
    ignores: function* (): Coroutine<typeof ignore> {
      return ignore;
    },
    throws: function* (): Coroutine<void> {
      throw new RangeError("config");
    },
    returns: (inner: Supervisor) =>
      function* (): Coroutine<Supervisor> {
        return inner;
      },
    waits: function* (): Coroutine<void> {
      yield* sleep(1_000);
    },
    cleansUp: function* (): Coroutine<void> {
      try {
        yield* sleep(Infinity);
      } finally {
        yield* sleep(2_000);
      }
    },
  },
  "an async function": {
    ignores: async (): Promise<typeof ignore> => ignore,
    throws: async (): Promise<void> => {
      throw new RangeError("config");
    },
    returns: (inner: Supervisor) => async (): Promise<Supervisor> => inner,
    waits: async (): Promise<void> => {
      await sleep(1_000);
    },
    cleansUp: async (): Promise<void> => {
      try {
        await sleep(Infinity);
      } finally {
        await sleep(2_000);
      }
    },
  },
};

for (const [style, starts] of Object.entries(STYLES)) {
  Deno.test(`the start of a child may decide not to run, as ${style}`, async () => {
    await run(async () => {
      await using supervisor = new Supervisor({
        children: [{ id: "a", start: starts.ignores }],
      });
      await supervisor.start();
      await sleep(10);
      assertEquals(supervisor.state, "running");
      assertEquals(supervisor.tree().restarts, 0);
    }, { host: "virtual" });
  });

  Deno.test(`a start that throws before it waits has failed, as ${style}`, async () => {
    await run(async () => {
      const supervisor = new Supervisor({
        children: [{ id: "a", start: starts.throws }],
        reportCrashes: false,
      });
      const error = await assertRejects(
        async () => await supervisor.start(),
        ChildStartError,
      );
      assertEquals((error.cause as Error).message, "config");
    }, { host: "virtual" });
  });

  Deno.test(`a start that returns a supervisor is ready with it, as ${style}`, async () => {
    const log: string[] = [];
    await run(async () => {
      const inner = new Supervisor({
        children: [{
          id: "slow",
          start: async (started) => {
            await sleep(100);
            log.push("inner");
            started();
            await sleep(Infinity);
          },
        }],
      });
      await using supervisor = new Supervisor({
        children: [
          { id: "inner", type: "supervisor", start: starts.returns(inner) },
          {
            id: "next",
            start: async () => {
              log.push("next");
              await sleep(Infinity);
            },
          },
        ],
      });
      await supervisor.start();
    }, { host: "virtual" });
    assertEquals(log, ["inner", "next"]);
  });

  Deno.test(`a child is ready when it waits, as ${style}`, async () => {
    await run(async () => {
      await using supervisor = new Supervisor({
        children: [{ id: "a", start: starts.waits }],
      });
      await supervisor.start();
      assertEquals((await supervisor.countChildren()).active, 1);
    }, { host: "virtual" });
  });

  Deno.test(`a stop is no lost heartbeat, as ${style}`, async () => {
    await run(async () => {
      const ends: unknown[] = [];
      const supervisor = new Supervisor({
        children: [{
          id: "a",
          start: starts.cleansUp,
          heartbeatMs: 1_000,
          shutdown: 5_000,
        }],
        reportCrashes: false,
      });
      supervisor.subscribe((event) => {
        if (event.type === "ended") ends.push(event.end?.kind);
      });
      await supervisor.start();
      await supervisor.stop();
      assertEquals(ends, ["shutdown"]);
    }, { host: "virtual" });
  });
}
