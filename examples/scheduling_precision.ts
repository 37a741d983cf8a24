/**
 * How late timers fire, on this machine, now.
 *
 * A timer of Rota never fires early, and its delay is not rounded. By default a
 * waiting loop spends nothing, and is woken some 50 to 100 us after the
 * deadline (a millisecond without --allow-ffi). A precise loop wakes a little
 * earlier and polls until the deadline.
 */

import { type EventLoopOptions, getRunningLoop, run, sleep } from "@rota/rota";

const DELAY_MS = 0.5;
const ROUNDS = 100;

/** How late each of some sleeps was, in microseconds, ascending. */
function measure(options: EventLoopOptions): Promise<number[]> {
  return run(function* () {
    const loop = getRunningLoop();
    const latenessUs: number[] = [];
    for (let round = 0; round < ROUNDS; round++) {
      const deadlineMs = loop.time() + DELAY_MS;
      yield* sleep(DELAY_MS);
      const wokenMs = loop.time();
      if (wokenMs < deadlineMs) throw new Error("A timer fired early");
      latenessUs.push((wokenMs - deadlineMs) * 1_000);
    }
    return latenessUs.sort((a, b) => a - b);
  }, options);
}

for (const timerPrecision of ["thrifty", "precise"] as const) {
  const latenessUs = await measure({ timerPrecision });
  const at = (part: number) =>
    latenessUs[Math.floor(part * (ROUNDS - 1))]!.toFixed(1).padStart(8);
  console.log(
    `${timerPrecision}: median${at(0.5)} us, 90% within${at(0.9)} us`,
  );
}
