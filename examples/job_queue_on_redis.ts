/**
 * A job queue on Redis, by BullMQ: one program submits, two others work. Here they
 * are all in one process. A job that fails is tried again; submissions with the same
 * key join one job; an urgent job goes first; a worker that shuts down gives back
 * the job that it has.
 */

import { run, taskModule } from "@rota/rota";
import { bullmqExecutor } from "@rota/rota/fleet";
import { LoopExecutor } from "@rota/rota/workers";
import { assertEquals } from "@std/assert";
import { withRedis } from "./jobs/redis.ts";

const jobs = taskModule<typeof import("./jobs/letters.ts")>(
  new URL("./jobs/letters.ts", import.meta.url),
);

await withRedis((redis) =>
  run(async () => {
    await using fleet = bullmqExecutor({ ...redis, role: "submit" });
    const work = () =>
      bullmqExecutor({
        ...redis,
        role: "work",
        leaseMs: 2_000, // a job of a dead worker goes to another one after that
        executor: new LoopExecutor({ concurrency: 4 }),
      });
    await using first = work();
    await using second = work();
    await first.ready();
    await second.ready();

    const letter = fleet.submit(jobs.send, ["Ada"], {
      attempts: 3,
      backoff: { initialMs: 50 },
      dedupeKey: "letter to Ada",
    });
    const same = fleet.submit(jobs.send, ["Ada"], {
      dedupeKey: "letter to Ada",
    });
    const urgent = fleet.submit(jobs.countLetters, ["at once"], {
      priority: "user-blocking",
    });
    console.log(`urgent: ${await urgent} letters`);
    console.log(await letter);
    assertEquals(await same, await letter);

    await first.shutdown({ graceMs: 1_000 });
    const left = await fleet.map(jobs.countLetters, ["the other", "goes on"]);
    assertEquals(left, [8, 6]);
    console.log(`${fleet.stats().done} jobs done`);
  })
);
