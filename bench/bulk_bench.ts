/**
 * A hundred thousand callbacks at once: scheduled from outside, then run.
 *
 * @module
 */
import { EventLoop } from "../mod.ts";
import { register, type Stopwatch, type Suite } from "./support/suite.ts";

/** Rota: both parts are timed, scheduling and running. */
export async function bulkOnLoop(
  size: number,
  watch: Stopwatch,
): Promise<number> {
  await using loop = new EventLoop({ host: "portable" });
  let count = 0;
  const callback = (): void => {
    if (++count === size) loop.stop();
  };
  watch.start();
  for (let n = 0; n < size; n++) loop.callSoon(callback);
  await loop.runForever();
  watch.end();
  return count;
}

/** The same by a function that schedules a callback. */
export function bulkBy(
  schedule: (callback: () => void) => void,
): (size: number, watch: Stopwatch) => Promise<number> {
  return async (size, watch) => {
    const { promise, resolve } = Promise.withResolvers<void>();
    let count = 0;
    const callback = (): void => {
      if (++count === size) resolve();
    };
    watch.start();
    for (let n = 0; n < size; n++) schedule(callback);
    await promise;
    watch.end();
    return count;
  };
}

const settled = Promise.resolve();

/** What is compared. */
export const suites: readonly Suite[] = [{
  name: "bulk",
  title: "bulk dispatch",
  things: "callbacks",
  size: 100_000,
  tinySize: 40,
  cases: [
    { name: "Rota", role: "rota", run: bulkOnLoop },
    {
      name: "queueMicrotask",
      role: "limit",
      run: bulkBy((callback) => queueMicrotask(callback)),
    },
    {
      name: "promise.then",
      role: "rival",
      run: bulkBy((callback) => settled.then(callback)),
    },
    {
      name: "process.nextTick",
      role: "rival",
      run: bulkBy((callback) => globalThis.process.nextTick(callback)),
    },
    {
      name: "setImmediate",
      role: "rival",
      run: bulkBy((callback) => setImmediate(callback)),
    },
  ],
}];
suites.forEach(register);
