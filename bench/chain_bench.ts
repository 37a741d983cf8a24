/**
 * One callback that schedules itself again and again: what a turn of the loop
 * costs when there is nothing else to do, or nothing that is due.
 *
 * @module
 */
import { EventLoop, type EventLoopOptions, Pipe } from "../mod.ts";
import { register, type Stopwatch, type Suite } from "./support/suite.ts";

async function chain(
  size: number,
  watch: Stopwatch,
  options: EventLoopOptions,
  prepare?: (loop: EventLoop) => () => void,
): Promise<number> {
  await using loop = new EventLoop(options);
  const cleanUp = prepare?.(loop);
  let count = 0;
  const again = (): void => {
    if (++count < size) loop.callSoon(again);
    else loop.stop();
  };
  loop.callSoon(again);
  watch.start();
  await loop.runForever();
  watch.end();
  cleanUp?.();
  return count;
}

/** Rota, with nothing else pending. */
export function chainOnLoop(size: number, watch: Stopwatch): Promise<number> {
  return chain(size, watch, { host: "portable" });
}

/** Rota, with a timer that is due in an hour. */
export function chainBesideTimer(
  size: number,
  watch: Stopwatch,
): Promise<number> {
  return chain(size, watch, { host: "portable" }, (loop) => {
    const timer = loop.callLater(3_600_000, () => {});
    return () => timer.cancel();
  });
}

/** Rota, with a reader on a pipe into which nobody writes. */
export function chainBesideDescriptor(
  size: number,
  watch: Stopwatch,
): Promise<number> {
  return chain(size, watch, { host: "native" }, (loop) => {
    const pipe = Pipe.open();
    loop.addReader(pipe.readFd, () => {
      throw new Error("Nobody wrote into the pipe");
    });
    return () => {
      loop.removeReader(pipe.readFd);
      pipe.close();
    };
  });
}

/** The same by a function that schedules a callback. */
export function chainBy(
  schedule: (callback: () => void) => void,
): (size: number, watch: Stopwatch) => Promise<number> {
  return async (size, watch) => {
    const { promise, resolve } = Promise.withResolvers<void>();
    let count = 0;
    const again = (): void => {
      if (++count < size) schedule(again);
      else resolve();
    };
    watch.start();
    schedule(again);
    await promise;
    watch.end();
    return count;
  };
}

const settled = Promise.resolve();

/** What is compared. */
export const suites: readonly Suite[] = [{
  name: "chain",
  title: "callback chain",
  things: "callbacks",
  size: 200_000,
  tinySize: 40,
  cases: [
    { name: "Rota", role: "rota", run: chainOnLoop },
    { name: "Rota, timer pending", role: "rota", run: chainBesideTimer },
    {
      name: "Rota, descriptor watched",
      role: "rota",
      run: chainBesideDescriptor,
    },
    {
      name: "queueMicrotask",
      role: "limit",
      run: chainBy((callback) => queueMicrotask(callback)),
    },
    {
      name: "promise.then",
      role: "rival",
      run: chainBy((callback) => settled.then(callback)),
    },
    {
      name: "process.nextTick",
      role: "rival",
      run: chainBy((callback) => globalThis.process.nextTick(callback)),
    },
    {
      name: "setImmediate",
      role: "rival",
      run: chainBy((callback) => setImmediate(callback)),
    },
  ],
}];
suites.forEach(register);
