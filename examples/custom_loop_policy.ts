/**
 * A loop of your own, made by a policy for code that knows nothing of it.
 *
 * A subclass that overrides callSoon or callAt sees all scheduling, that of
 * tasks included. A program that calls run() itself can do without a policy:
 * run(main, { loopFactory: (options) => new LoggingLoop(options) }).
 */

import {
  EventLoop,
  type EventLoopOptions,
  EventLoopPolicy,
  getEventLoopPolicy,
  type Handle,
  run,
  setEventLoopPolicy,
  sleep,
  type TimerHandle,
} from "@rota/rota";
import { assertEquals } from "@std/assert";

const log: string[] = [];

class LoggingLoop extends EventLoop {
  override callSoon<A extends unknown[]>(
    callback: (...args: A) => unknown,
    ...args: A
  ): Handle {
    log.push("soon");
    return super.callSoon(callback, ...args);
  }

  override callAt<A extends unknown[]>(
    whenMs: number,
    callback: (...args: A) => unknown,
    ...args: A
  ): TimerHandle {
    log.push("timer");
    return super.callAt(whenMs, callback, ...args);
  }
}

class LoggingPolicy extends EventLoopPolicy {
  override newEventLoop(options: EventLoopOptions): EventLoop {
    return new LoggingLoop(options);
  }
}

/** Somebody else's code. */
async function innocent(): Promise<void> {
  await run(function* () {
    yield* sleep(5);
  });
}

const before = getEventLoopPolicy();
setEventLoopPolicy(new LoggingPolicy());
await innocent();
setEventLoopPolicy(before);
await innocent(); // not logged

console.log(`The loop was asked for: ${log.join(", ")}`);
// The first step, the sleep, the second step, and the end of the run.
assertEquals(log, ["soon", "timer", "soon", "soon"]);
