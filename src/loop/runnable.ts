/**
 * Interfaces of what a loop queues: ready entries, timers, and the ready queue
 * itself.
 *
 * @module
 */
import type { TimerNode } from "../structures/timer_queue.ts";
import type { Future } from "./future.ts";
import type { Relay } from "./priority_inheritance.ts";
import type { onBehalf } from "./waiters.ts";

/**
 * Entry of the ready queue: a callback's handle, or a task or wait to go on with.
 *
 * @internal
 */
export interface Runnable {
  /** Called when its turn has come. Errors go to the loop's exception handler. */
  run(): void;
  /** Priority node under which this is queued on loops that go by priority; without it, see `PriorityReadyQueue`. */
  readonly relay?: () => Relay;
  /** Future whose end queues this, on behalf of others. */
  readonly watched?: Future<unknown>;
  /** The task or future in whose name this waits for `awaited`; without it, or null, for none. */
  [onBehalf]?(awaited: Future<unknown>): Future<unknown> | null;
}

/** Entry of a loop's timers: a callback's handle, or a task's sleep. */
export interface Timer extends TimerNode, Runnable {
  /** Whether the process is to live for this timer: not for one that never runs. */
  holdsProcess(): boolean;
  /** The moment has come: `run` is called when its turn has come. */
  fallDue(): void;
}

/** Ready queue of a loop: a ring, or a queue that goes by priority. */
export interface ReadyQueue {
  readonly length: number;
  push(runnable: Runnable): void;
  shift(): Runnable | undefined;
  clear(): void;
}
