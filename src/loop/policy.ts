/**
 * The policy that makes event loops, and `newEventLoop`, which asks it.
 *
 * @module
 */
import { checkFunction } from "./checks.ts";
import { EventLoop } from "./event_loop.ts";
import type { EventLoopOptions } from "./loop_options.ts";

/**
 * Policy that decides which loop {@linkcode newEventLoop}, and with it
 * {@linkcode run}, makes.
 *
 * A thin layer for programs that come from asyncio, which is retiring
 * policies: a process-wide setting that every library may change confuses. Give
 * `run` a `loopFactory` instead, unless you have to reach code that calls `run`
 * itself.
 *
 * @example A policy that injects a loop which logs
 * ```ts
 * import {
 *   EventLoop,
 *   type EventLoopOptions,
 *   EventLoopPolicy,
 *   getEventLoopPolicy,
 *   type Handle,
 *   run,
 *   setEventLoopPolicy,
 *   sleep,
 * } from "@rota/rota";
 * import { assertEquals } from "@std/assert";
 *
 * let scheduled = 0;
 * class CountingLoop extends EventLoop {
 *   override callSoon<A extends unknown[]>(
 *     callback: (...args: A) => unknown,
 *     ...args: A
 *   ): Handle {
 *     scheduled++;
 *     return super.callSoon(callback, ...args);
 *   }
 * }
 * class CountingPolicy extends EventLoopPolicy {
 *   override newEventLoop(options: EventLoopOptions): EventLoop {
 *     return new CountingLoop(options);
 *   }
 * }
 *
 * const before = getEventLoopPolicy();
 * setEventLoopPolicy(new CountingPolicy());
 * await run(function* () {
 *   yield* sleep(0);
 * });
 * setEventLoopPolicy(before);
 * assertEquals(scheduled, 3); // the first step, the second, and the end
 * ```
 */
export class EventLoopPolicy {
  /**
   * Makes a loop.
   *
   * @param options Options passed to {@linkcode newEventLoop} or `run`.
   * @returns A new loop.
   */
  newEventLoop(options: EventLoopOptions): EventLoop {
    return new EventLoop(options);
  }
}

let policy = new EventLoopPolicy();

/**
 * Returns the policy in force.
 *
 * @returns The policy that {@linkcode setEventLoopPolicy} set last, or the
 * default.
 */
export function getEventLoopPolicy(): EventLoopPolicy {
  return policy;
}

/**
 * Sets the policy of this thread. Loops that exist are not touched.
 *
 * @param replacement The policy from now on.
 * @throws {TypeError} If it has no `newEventLoop`.
 */
export function setEventLoopPolicy(replacement: EventLoopPolicy): void {
  checkFunction(
    replacement?.newEventLoop,
    "set the event loop policy",
    "policy.newEventLoop",
  );
  policy = replacement;
}

/**
 * Makes a loop, as the policy in force wants it: by default `new EventLoop(options)`.
 *
 * @example A single turn
 * ```ts
 * import { newEventLoop } from "@rota/rota";
 *
 * await using loop = newEventLoop();
 * loop.callSoon(() => console.log("one turn"));
 * loop.stop();
 * await loop.runForever();
 * ```
 *
 * @param options Host, precision, debug mode and more.
 * @returns A new loop. Close it after use.
 */
export function newEventLoop(options: EventLoopOptions = {}): EventLoop {
  return policy.newEventLoop(options);
}
