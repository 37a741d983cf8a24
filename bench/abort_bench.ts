/**
 * One abort signal that ends a hundred thousand waits: what each of them costs,
 * from being made to being over. There is one listener on the signal, and none
 * left in the end.
 *
 * @module
 */
import { type Coroutine, EventLoop, sleep, type Task } from "../mod.ts";
import { register, type Stopwatch, type Suite } from "./support/suite.ts";

const LONG_MS = 3_600_000;

/** What to make a waiting task of. */
type Make = (loop: EventLoop, signal: AbortSignal) => Task<void>;

/** Counts the listeners on a signal. */
class Listeners {
  now = 0;
  most = 0;

  constructor(signal: AbortSignal) {
    const { addEventListener, removeEventListener } = signal;
    signal.addEventListener = (...args: unknown[]) => {
      this.most = Math.max(this.most, ++this.now);
      Reflect.apply(addEventListener, signal, args);
    };
    signal.removeEventListener = (...args: unknown[]) => {
      this.now--;
      Reflect.apply(removeEventListener, signal, args);
    };
  }
}

/** Rota: makes the tasks, lets them wait, and aborts. */
export function abortAll(
  make: Make,
): (size: number, watch: Stopwatch) => Promise<number> {
  return async (size, watch) => {
    await using loop = new EventLoop({ host: "portable" });
    const controller = new AbortController();
    const listeners = new Listeners(controller.signal);
    const turn = (): Promise<void> => {
      loop.stop();
      return loop.runForever();
    };
    watch.start();
    const tasks: Task<void>[] = [];
    for (let n = 0; n < size; n++) tasks.push(make(loop, controller.signal));
    await turn();
    await turn(); // most waits of so many async functions only begin in the second
    controller.abort();
    await turn();
    await turn(); // async functions end a few microtasks after the first
    watch.end();
    if (listeners.most > 1 || listeners.now > 0) {
      throw new Error(`${listeners.most} listeners, ${listeners.now} left`);
    }
    let ended = 0;
    for (const task of tasks) {
      // Looks at the error, so that nobody reports it.
      if (task.cancelled() || task.exception() !== undefined) ended++;
    }
    return ended;
  };
}

/** Rota: as many waits in the async functions that one task has called. */
async function abortHelpers(size: number, watch: Stopwatch): Promise<number> {
  await using loop = new EventLoop({ host: "portable" });
  const controller = new AbortController();
  const { signal } = controller;
  const listeners = new Listeners(signal);
  let ended = 0;
  const helper = async (): Promise<void> => {
    try {
      await sleep(LONG_MS, { signal });
    } catch (error) {
      if (error !== signal.reason) throw error;
      ended++;
    }
  };
  watch.start();
  const task = loop.createTask(async () => {
    const helpers: Promise<void>[] = [];
    for (let n = 0; n < size; n++) helpers.push(helper());
    await Promise.all(helpers);
  });
  task.addDoneCallback(() => loop.stop());
  loop.callLater(0, () => loop.callSoon(() => controller.abort()));
  await loop.runForever();
  watch.end();
  task.result();
  if (listeners.most > 1 || listeners.now > 0) {
    throw new Error(`${listeners.most} listeners, ${listeners.now} left`);
  }
  return ended;
}

/** What as many async functions cost that wait without a signal, and end by themselves. */
async function sleepAll(size: number, watch: Stopwatch): Promise<number> {
  await using loop = new EventLoop({ host: "portable" });
  let ended = 0;
  const count = (): void => {
    if (++ended === size) loop.stop();
  };
  watch.start();
  for (let n = 0; n < size; n++) {
    loop.createTask(async () => {
      await sleep(1);
    }).addDoneCallback(count);
  }
  await loop.runForever();
  watch.end();
  return ended;
}

/** What is compared. */
export const suites: readonly Suite[] = [{
  name: "abort",
  title: "waits that one signal ends",
  things: "waits",
  size: 100_000,
  tinySize: 40,
  iterations: 10,
  cases: [
    {
      name: "Rota, waits of generators",
      role: "rota",
      run: abortAll((loop, signal) => loop.createTask(waiting(signal))),
    },
    {
      name: "Rota, waits of async functions",
      role: "rota",
      run: abortHelpers,
    },
    {
      name: "Rota, async tasks with a wait each",
      role: "rota",
      run: abortAll((loop, signal) =>
        loop.createTask(async () => {
          await sleep(LONG_MS, { signal });
        })
      ),
    },
    {
      name: "async tasks, no signal",
      role: "limit",
      run: sleepAll,
    },
    {
      name: "Rota, tasks",
      role: "rota",
      run: abortAll((loop, signal) => loop.createTask(parked, { signal })),
    },
  ],
}];
suites.forEach(register);

function* waiting(signal: AbortSignal): Coroutine<void> {
  yield* sleep(LONG_MS, { signal });
}

function* parked(): Coroutine<void> {
  yield* sleep(LONG_MS);
}
