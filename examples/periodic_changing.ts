/**
 * Periodic work whose interval changes with what it finds.
 *
 * A queue of mail is looked at every 40 ms while it is empty, and every 10 ms
 * while there is something in it. The first look is at once. The times are those
 * of the virtual host, so that the program is over at once as well.
 */

import { every, getRunningLoop, run, sleep } from "@rota/rota";
import { assertEquals } from "@std/assert";

const BUSY_MS = 10;
const IDLE_MS = 40;

const mail: string[] = [];
const looks: string[] = [];
await run(async () => {
  const loop = getRunningLoop();
  loop.callAt(70, () => mail.push("a letter", "a bill"));

  using poll = every(IDLE_MS, ({ job, index }) => {
    const item = mail.shift() ?? "nothing";
    looks.push(`${loop.time()} ms, look ${index}: ${item}`);
    job.reschedule(item === "nothing" ? IDLE_MS : BUSY_MS);
  }, { name: "poll", immediate: true });

  await sleep(150);
  const { runs, skipped, late } = poll.stats();
  console.log(`${runs} looks, ${skipped} skipped, ${late} late`);
}, { host: "virtual" });

for (const look of looks) console.log(look);
assertEquals(looks, [
  "0 ms, look 0: nothing",
  "40 ms, look 1: nothing",
  "80 ms, look 2: a letter",
  "90 ms, look 3: a bill",
  "100 ms, look 4: nothing",
  "140 ms, look 5: nothing",
]);
