/**
 * The three strategies of a supervisor: who is restarted with a child that crashes.
 *
 * Three children are started in order. The one in the middle crashes once. Those
 * that are restarted with it are stopped first, in reverse order.
 */

import { type RestartStrategy, run, sleep, Supervisor } from "@rota/rota";
import { assertEquals } from "@std/assert";

/** Runs three children under a strategy; returns what happened from the crash on. */
async function crashUnder(strategy: RestartStrategy): Promise<string> {
  const log: string[] = [];
  let crashes = 0;

  function child(id: string) {
    return {
      id,
      async start() {
        log.push(`start ${id}`);
        await sleep(10);
        if (id === "cache" && crashes++ === 0) {
          log.length = 0;
          log.push(`${id} crashes`);
          throw new Error("out of luck");
        }
        try {
          await sleep(Infinity);
        } finally {
          log.push(`stop ${id}`);
        }
      },
    };
  }

  return await run(async () => {
    await using supervisor = new Supervisor({
      strategy,
      children: ["database", "cache", "server"].map(child),
      reportCrashes: false, // they would go to standard error
    });
    await supervisor.start();
    await sleep(100);
    const happened = log.join(", ");
    console.log(`${supervisor.tree()}\n${happened}\n`);
    return happened;
  }, { host: "virtual" });
}

assertEquals(await crashUnder("one-for-one"), "cache crashes, start cache");
assertEquals(
  await crashUnder("rest-for-one"), // what was started later may depend on it
  "cache crashes, stop server, start cache, start server",
);
assertEquals(
  await crashUnder("one-for-all"), // none can do without the others
  "cache crashes, stop server, stop database, " +
    "start database, start cache, start server",
);
