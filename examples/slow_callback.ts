/**
 * Debug mode reports callbacks and tasks that block the loop.
 *
 * The reports go to the loop's exception handler, which by default writes them
 * to standard error. `ROTA_DEBUG=1` turns debug mode on from outside.
 */

import { getRunningLoop, run, sleep } from "@rota/rota";
import { assert } from "@std/assert";

function resizeImage(): void {
  const endMs = performance.now() + 60;
  while (performance.now() < endMs);
}

const reports: string[] = [];
await run(function* () {
  const loop = getRunningLoop();
  loop.setExceptionHandler((_loop, { message, creationStack }) => {
    reports.push(message);
    console.log(message);
    const here = creationStack?.split("\n").find((line) =>
      line.includes(import.meta.url)
    );
    console.log(`  scheduled ${here?.trim()}`);
  });
  loop.callSoon(resizeImage);
  yield* sleep(20);
}, { debug: true, slowCallbackMs: 50 });

assert(
  reports.some((report) =>
    report.startsWith('Executing callback "resizeImage" took')
  ),
);
