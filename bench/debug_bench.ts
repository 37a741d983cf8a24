/**
 * Debug mode beside the same loop without it: callbacks that are scheduled, and
 * tasks in a `gather`.
 *
 * @module
 */
import { EventLoop, gather } from "../mod.ts";
import { register, type Stopwatch, type Suite } from "./support/suite.ts";

/** Callbacks scheduled from outside, then run. */
export function callsOnLoop(
  debug: boolean,
): (size: number, watch: Stopwatch) => Promise<number> {
  return async (size, watch) => {
    await using loop = new EventLoop({ host: "portable", debug });
    let count = 0;
    const callback = (): void => {
      if (++count === size) loop.stop();
    };
    watch.start();
    for (let n = 0; n < size; n++) loop.callSoon(callback);
    await loop.runForever();
    watch.end();
    return count;
  };
}

/** Generator tasks that return at once, in one `gather`. */
export function gatherOnLoop(
  debug: boolean,
): (size: number, watch: Stopwatch) => Promise<number> {
  return async (size, watch) => {
    // So many tasks at once take longer than a callback should, which is reported.
    await using loop = new EventLoop({
      host: "portable",
      debug,
      slowCallbackMs: Infinity,
    });
    const body = function* () {
      return 1;
    };
    const bodies = Array.from({ length: size }, () => body);
    return await loop.runUntilComplete(function* () {
      watch.start();
      const ones = yield* gather(bodies);
      watch.end();
      return ones.length;
    });
  };
}

/** What is compared. */
export const suites: readonly Suite[] = [{
  name: "debug-call",
  title: "callSoon in debug mode",
  things: "callbacks",
  // As many as a program schedules at a time; some 200 ns each without debug
  // mode, as the start of the run is among them.
  size: 30,
  tinySize: 30,
  cases: [
    { name: "Rota, debug mode", role: "rota", run: callsOnLoop(true) },
    { name: "without debug mode", role: "limit", run: callsOnLoop(false) },
  ],
}, {
  name: "debug-gather",
  title: "tasks of a gather in debug mode",
  things: "tasks",
  size: 1_000,
  tinySize: 40,
  iterations: 5,
  cases: [
    { name: "Rota, debug mode", role: "rota", run: gatherOnLoop(true) },
    { name: "without debug mode", role: "limit", run: gatherOnLoop(false) },
  ],
}];
suites.forEach(register);
