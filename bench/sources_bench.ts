/**
 * Events of a target that a task takes through `fromEvent`, beside a bare listener: what
 * it costs to have them one after the other, with a bound, and without missing one.
 *
 * A burst of events is dispatched in each turn; the dispatch itself is part of the figure.
 *
 * @module
 */
import { type Coroutine, each, getRunningLoop, run, sleep } from "../mod.ts";
import { fromEvent } from "../src/sources/mod.ts";
import { register, type Stopwatch, type Suite } from "./support/suite.ts";

/** A case for bursts of so many events. */
type BurstCase = (
  burst: number,
) => (size: number, watch: Stopwatch) => Promise<number>;

function dispatch(target: EventTarget, count: number): void {
  for (let n = 0; n < count; n++) target.dispatchEvent(new Event("tick"));
}

/** Dispatches events in bursts, one burst a turn. */
function* produce(
  target: EventTarget,
  size: number,
  burst: number,
): Coroutine<void> {
  for (let sent = 0; sent < size; sent += burst) {
    dispatch(target, Math.min(burst, size - sent));
    yield* sleep(0);
  }
}

/** A listener that counts. */
export const listenBare: BurstCase = (burst) => async (size, watch) => {
  const target = new EventTarget();
  let count = 0;
  const listener = () => {
    count++;
  };
  await run(function* () {
    target.addEventListener("tick", listener);
    watch.start();
    yield* produce(target, size, burst);
    watch.end();
    target.removeEventListener("tick", listener);
  }, { host: "portable" });
  return count;
};

/** A generator task that takes each event. */
export const takeInGenerator: BurstCase = (burst) => async (size, watch) => {
  const target = new EventTarget();
  let count = 0;
  await run(function* () {
    const events = fromEvent(target, "tick", { buffer: size });
    getRunningLoop().createTask(() => produce(target, size, burst));
    watch.start();
    yield* each(events, function* (_event, stop) {
      if (++count === size) stop();
    });
    watch.end();
  }, { host: "portable" });
  return count;
};

/** An async function that takes each event. */
export const takeInAsync: BurstCase = (burst) => async (size, watch) => {
  const target = new EventTarget();
  let count = 0;
  await run(async () => {
    const events = fromEvent(target, "tick", { buffer: size });
    getRunningLoop().createTask(() => produce(target, size, burst));
    watch.start();
    for await (const _event of events) if (++count === size) break;
    watch.end();
  }, { host: "portable" });
  return count;
};

function suiteOf(burst: number): Suite {
  return {
    name: `events-${burst}`,
    title: `events of a target, ${burst} a turn`,
    things: "events",
    size: 100_000,
    tinySize: 250,
    iterations: 10,
    cases: [
      { name: "Rota, each", role: "rota", run: takeInGenerator(burst) },
      { name: "Rota, for await", role: "rota", run: takeInAsync(burst) },
      { name: "bare listener", role: "limit", run: listenBare(burst) },
    ],
  };
}

/** What is compared. */
export const suites: readonly Suite[] = [suiteOf(1), suiteOf(100)];
suites.forEach(register);
