/**
 * Cron with a time zone, through the nights in which the clocks change.
 *
 * `every` takes a `Cron` of the package croner as it is. On a virtual host that
 * begins at a date, days pass in no time, so a schedule can be tested. In
 * spring there is no 02:30, and the job runs at 03:00; in autumn there are two,
 * and it runs at the first.
 */

import { every, getRunningLoop, run, VirtualHost } from "@rota/rota";
import { assertEquals } from "@std/assert";
import { Cron } from "croner";

const timeZone = "Europe/Berlin";
const clock = new Intl.DateTimeFormat("en-GB", {
  timeZone,
  dateStyle: "short",
  timeStyle: "short",
});

async function nights(start: string): Promise<string[]> {
  const runs: string[] = [];
  await run(function* () {
    const loop = getRunningLoop();
    const backup = every(
      new Cron("30 2 * * *", { timezone: timeZone }),
      () => runs.push(clock.format(loop.time())),
      { name: "backup", maxRuns: 3 },
    );
    yield* backup;
  }, { host: new VirtualHost(Date.parse(start)) });
  return runs;
}

const spring = await nights("2026-03-27T12:00:00Z");
console.log("spring:", spring.join("; "));
assertEquals(spring, [
  "28/03/2026, 02:30",
  "29/03/2026, 03:00",
  "30/03/2026, 02:30",
]);

const autumn = await nights("2026-10-24T12:00:00Z");
console.log("autumn:", autumn.join("; "));
assertEquals(autumn, [
  "25/10/2026, 02:30",
  "26/10/2026, 02:30",
  "27/10/2026, 02:30",
]);
