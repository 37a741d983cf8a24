/**
 * The two latencies that people compare event loops by: how late a timer fires,
 * and how long a callback waits from being scheduled until it runs.
 *
 * Timer latency: a sleep of 1 ms in a loop that has nothing else to do. A
 * benchmark cannot begin to time in the middle of a sleep, so the thread is kept
 * busy afterwards for as long as the sleep was late, and that is timed.
 * Dispatch latency: from `callSoon` in an idle loop, or in one whose ten other
 * callbacks schedule themselves for ever, to the callback.
 *
 * @module
 */
import { EventLoop, type EventLoopOptions, sleep } from "../mod.ts";
import { register, type Stopwatch, type Suite } from "./support/suite.ts";

const DELAY_MS = 1;
/** Sleeps before the timed ones: a precise loop learns how late its wake-ups are. */
const LEARNING = 10;
const BUSY_CALLBACKS = 10;
const BUSY_TURNS = 100;

/** Times a busy wait that is as long as `sleeps` sleeps were late. */
async function replayLateness(
  sleeps: number,
  watch: Stopwatch,
  sleepOnce: () => Promise<unknown>,
): Promise<number> {
  let lateMs = 0;
  for (let n = 0; n < sleeps; n++) {
    const startMs = performance.now();
    await sleepOnce();
    const overMs = performance.now() - startMs - DELAY_MS;
    if (overMs < 0) throw new Error(`A sleep was ${-overMs} ms early`);
    lateMs += overMs;
  }
  watch.start();
  const untilMs = performance.now() + lateMs;
  while (performance.now() < untilMs);
  watch.end();
  return sleeps;
}

/** Rota: sleeps in an async task. */
export function sleepsOnLoop(
  options: EventLoopOptions,
): (size: number, watch: Stopwatch) => Promise<number> {
  return async (size, watch) => {
    await using loop = new EventLoop(options);
    return await loop.runUntilComplete(async () => {
      for (let n = 0; n < LEARNING; n++) await sleep(DELAY_MS);
      return await replayLateness(
        size,
        watch,
        async () => await sleep(DELAY_MS),
      );
    });
  };
}

/** The runtime's own timers. */
export function sleepsInDeno(size: number, watch: Stopwatch): Promise<number> {
  return replayLateness(
    size,
    watch,
    () => new Promise<void>((resolve) => setTimeout(resolve, DELAY_MS)),
  );
}

/** Lets whatever is under way come to rest. */
async function idle(): Promise<void> {
  for (let n = 0; n < 5; n++) {
    await new Promise<void>((resolve) => setTimeout(resolve, 0));
  }
}

/** Rota: `callSoon` from outside, in a running loop that waits. */
export async function dispatchOnIdleLoop(
  size: number,
  watch: Stopwatch,
): Promise<number> {
  await using loop = new EventLoop({ host: "native" });
  const running = loop.runForever();
  await idle();
  const count = await dispatchInTurn(
    size,
    watch,
    (callback) => loop.callSoon(callback),
  );
  loop.stop();
  await running;
  return count;
}

/** Rota: `callSoon` from a callback, in a loop that is busy with ten others. */
export async function dispatchOnBusyLoop(
  size: number,
  watch: Stopwatch,
): Promise<number> {
  await using loop = new EventLoop({ host: "native" });
  let calls = 0;
  let over = false;
  const again = (): void => {
    calls++;
    if (!over) loop.callSoon(again);
  };
  for (let n = 0; n < BUSY_CALLBACKS; n++) loop.callSoon(again);
  let count = 0;
  const counted = (): void => {
    if (++count < size) {
      loop.callSoon(counted);
      return;
    }
    watch.end();
    over = true;
    loop.stop();
  };
  const begin = (): void => {
    if (calls < BUSY_CALLBACKS * BUSY_TURNS) {
      loop.callSoon(begin);
      return;
    }
    watch.start();
    loop.callSoon(counted);
  };
  loop.callSoon(begin);
  await loop.runForever();
  return count;
}

/** Callbacks one after the other, by a function that schedules them. */
function dispatchInTurn(
  size: number,
  watch: Stopwatch,
  schedule: (callback: () => void) => void,
): Promise<number> {
  return new Promise((resolve) => {
    let count = 0;
    const callback = (): void => {
      if (++count < size) {
        schedule(callback);
        return;
      }
      watch.end();
      resolve(count);
    };
    watch.start();
    schedule(callback);
  });
}

/** The runtime's own macrotask. */
export async function dispatchBySetImmediate(
  size: number,
  watch: Stopwatch,
): Promise<number> {
  await idle();
  return await dispatchInTurn(size, watch, (callback) => {
    setImmediate(callback);
  });
}

/** The web's own macrotask: a message to oneself. */
export async function dispatchByMessage(
  size: number,
  watch: Stopwatch,
): Promise<number> {
  const { port1, port2 } = new MessageChannel();
  let next: () => void;
  port1.onmessage = () => next();
  const send = (callback: () => void): void => {
    next = callback;
    port2.postMessage(null);
  };
  await new Promise<void>(send); // the first one opens the port
  await idle();
  const count = await dispatchInTurn(size, watch, send);
  port1.close();
  port2.close();
  return count;
}

/** What is compared. */
export const suites: readonly Suite[] = [{
  name: "timer-latency",
  title: "timer latency: how late a sleep of 1 ms ends",
  things: "sleep",
  size: 1,
  tinySize: 1,
  iterations: 100,
  cases: [
    {
      name: "Rota, thrifty",
      role: "rota",
      run: sleepsOnLoop({ host: "native" }),
    },
    {
      name: "Rota, precise",
      role: "rota",
      run: sleepsOnLoop({ host: "native", timerPrecision: "precise" }),
    },
    {
      name: "Rota, portable",
      role: "rota",
      run: sleepsOnLoop({ host: "portable" }),
    },
    { name: "setTimeout", role: "rival", run: sleepsInDeno },
  ],
}, {
  name: "dispatch-latency",
  title: "dispatch latency: from callSoon to the callback",
  things: "callback",
  size: 1,
  tinySize: 1,
  iterations: 100,
  cases: [
    { name: "Rota, idle loop", role: "rota", run: dispatchOnIdleLoop },
    { name: "Rota, busy loop", role: "rota", run: dispatchOnBusyLoop },
    { name: "setImmediate", role: "rival", run: dispatchBySetImmediate },
    { name: "message channel", role: "rival", run: dispatchByMessage },
  ],
}];
suites.forEach(register);
