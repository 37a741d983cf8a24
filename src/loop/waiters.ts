/**
 * The contract between a future and its waiters, and the keys under which futures, tasks and operations serve the other
 * files of the library. Programs see none of them: they wait with `yield*` and `await`.
 *
 * *What a future asks of a waiter:* to be a {@linkcode Runnable}, and to be added
 * once. *What it promises:* a waiter is queued exactly once, in the turn after the
 * one in which the future is done (at once if it is done already), in the order in
 * which waiters were added; a waiter that was removed before is never queued. When
 * the waiter runs, the future is done, and `result()` returns or throws the outcome;
 * to ask for it counts as having seen an error. Adding and removing are O(1).
 *
 * @module
 */
import type { Runnable } from "./runnable.ts";
import type { WaitFacts } from "./waits.ts";

/** Lists the waiters, in order. */
export const listWaiters: unique symbol = Symbol("listWaiters");
/** Throws if the wait that is about to begin would keep the future from ever being done. */
export const checkWaiter: unique symbol = Symbol("checkWaiter");
/** Returns what the waiters share, a `Pressure`, if the future depends on tasks: they lend them their priority. */
export const pressureOf: unique symbol = Symbol("pressureOf");
/** Says in words what is waited for, for messages: "Queue.get()". */
export const inWords: unique symbol = Symbol("inWords");
/** Takes the error of a cancelled future: the stored one for the first caller, then new ones. */
export const takeCancellation: unique symbol = Symbol("takeCancellation");
/** Returns the error of a failed future, which does not count as having seen it. */
export const peekError: unique symbol = Symbol("peekError");
/** Whether the future failed and nobody has seen the error yet. */
export const isUnseen: unique symbol = Symbol("isUnseen");
/** Key of the record of a failure that nobody has seen, once it is watched. */
export const failureRecord: unique symbol = Symbol("failureRecord");
/** Whether a cancellation that the future hands on to others is on its way through them. */
export const isHandingOn: unique symbol = Symbol("isHandingOn");
/** Whether a waiter is among those of the future, which is not done. */
export const isAwaitedBy: unique symbol = Symbol("isAwaitedBy");
/** Returns the facts about a wait for a future: its kind, the thing, and the tasks behind it. */
export const explain: unique symbol = Symbol("explain");
/** Lists the tasks that hold a thing. */
export const listHolders: unique symbol = Symbol("listHolders");
/** Returns the task or future in whose name a waiter waits; null if there is none. */
export const onBehalf: unique symbol = Symbol("onBehalf");

/**
 * The members by which a future serves its waiters.
 *
 * @internal
 */
export interface Awaited {
  /** Adds a waiter. It has a name, and no symbol, as it is on the hot path. */
  addWaiter(waiter: Runnable): void;
  /** Removes a waiter: O(1). It runs no more on behalf of the future. */
  removeWaiter(waiter: Runnable): void;
  [listWaiters](): readonly Runnable[];
  [checkWaiter](): void;
  [pressureOf](): object | null;
  [inWords](): string;
  [takeCancellation](): unknown;
  [peekError](): unknown;
  [isUnseen](): boolean;
  [isHandingOn](): boolean;
  [isAwaitedBy](waiter: Runnable): boolean;
  [explain](): WaitFacts;
}

// -- Tasks --

/** Urgency with which the end of a task is dealt with, where the task does that itself. */
export const urgencyOfEnd: unique symbol = Symbol("urgencyOfEnd");
/** Says in words what the task waits for. */
export const describeWait: unique symbol = Symbol("describeWait");
/** Whether the first step may call an async function. */
export const mayBeAsync: unique symbol = Symbol("mayBeAsync");
/** Ends a task that its loop gives up, and wakes the waiters outside the loop. */
export const destroy: unique symbol = Symbol("destroy");

// -- Operations --

/** Ends an operation that was not started, as its task was cancelled before it began. */
export const drop: unique symbol = Symbol("drop");
