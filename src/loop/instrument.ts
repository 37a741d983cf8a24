/**
 * Interface of instruments: objects that are told what a loop does, turn by turn
 * and step by step.
 *
 * @module
 */
import { MisuseError } from "../errors.ts";
import { inspect } from "./checks.ts";
import type { EventLoop } from "./event_loop.ts";
import type { Future } from "./future.ts";
import type { Handle } from "./handle.ts";
import type { Task } from "./task.ts";

/**
 * Something that is told what a loop does: the option `instruments` of
 * {@linkcode EventLoop}, or {@linkcode EventLoop.addInstrument} while it runs.
 *
 * All hooks are optional. They run on the loop's thread, in the middle of its
 * work: they should be quick, and cannot wait. A hook that throws ends the
 * instrument: it is removed, and the exception handler is told once. Hooks may
 * make tasks, add and remove instruments, and call the loop; what they do is told
 * as well, so a hook that wakes a task from `taskWakes` has to end some time.
 *
 * Steps of a generator are told exactly. Of an async function, the first part
 * and each part after an operation of the loop are told; what it does after a
 * foreign promise is not, as no loop sees that. `taskBlocks` of an async
 * function comes when its continuations have run: before the next turn, or
 * before the loop parks.
 *
 * Of each task the hooks form one order: `taskMade`; then steps, each followed by
 * `taskBlocks` if the task has to wait; after a `taskBlocks` on a future exactly one
 * `taskWakes` before the next step, unless the task ends; last `taskEnds`. A task of
 * several async functions blocks when none of them can go on, and wakes when the
 * first can. A wait that began before the loop had an instrument ends without
 * `taskWakes`.
 *
 * @example Which tasks took a step, and how long each was blocked
 * ```ts
 * import { type Instrument, run, sleep, type Task } from "@rota/rota";
 * import { assertEquals } from "@std/assert";
 *
 * const log: string[] = [];
 * const instrument: Instrument = {
 *   stepBegins: (task: Task<unknown>) => log.push(`${task.name} runs`),
 *   taskBlocks: (task: Task<unknown>) => {
 *     log.push(`${task.name} waits: ${task.waits()[0]?.kind}`);
 *   },
 *   taskEnds: (task: Task<unknown>) => log.push(`${task.name} ends`),
 * };
 * await run(function* () {
 *   yield* sleep(10);
 * }, { host: "virtual", name: "main", instruments: [instrument] });
 * assertEquals(log.slice(0, 4), [
 *   "main runs",
 *   "main waits: sleep",
 *   "main runs",
 *   "main ends",
 * ]);
 * ```
 */
export interface Instrument {
  /** A turn begins that runs something. Turns are numbered, the first one is 1. */
  turnBegins?(turn: number, loop: EventLoop): void;
  /** The turn is over. Continuations of async functions run between two turns. */
  turnEnds?(turn: number, loop: EventLoop): void;
  /** A task was made. Its first step comes later, or right after this if it is eager. */
  taskMade?(task: Task<unknown>): void;
  /** A task is about to run. */
  stepBegins?(task: Task<unknown>): void;
  /** A task has run, until its next wait or its end. */
  stepEnds?(task: Task<unknown>): void;
  /** A task waits now: for `on`, or for something outside the loop if that is `null`. */
  taskBlocks?(task: Task<unknown>, on: Future<unknown> | null): void;
  /** A task that was blocked is ready: by the task `by`, or by a timer, a callback or code outside if that is `null`. */
  taskWakes?(task: Task<unknown>, by: Task<unknown> | null): void;
  /** A task has ended: it is `done()`. Its waiters have been woken. */
  taskEnds?(task: Task<unknown>): void;
  /** A callback or a posted function is about to run. */
  callbackBegins?(callback: Handle | Future<unknown>): void;
  /** The callback has returned or thrown. */
  callbackEnds?(callback: Handle | Future<unknown>): void;
  /** Nothing is ready, and the loop waits, until `untilMs` on its clock at most. */
  parks?(untilMs: number, loop: EventLoop): void;
  /** The loop has waited, and a turn follows. */
  wakes?(loop: EventLoop): void;
}

const HOOKS = [
  "turnBegins",
  "turnEnds",
  "taskMade",
  "stepBegins",
  "stepEnds",
  "taskBlocks",
  "taskWakes",
  "taskEnds",
  "callbackBegins",
  "callbackEnds",
  "parks",
  "wakes",
] as const satisfies readonly (keyof Instrument)[];

/** Name of a hook. */
export type HookName = typeof HOOKS[number];

/** Throws unless `instrument` is an object whose hooks are functions. */
export function checkInstrument(instrument: unknown, what: string): void {
  if (typeof instrument !== "object" || instrument === null) {
    throw new TypeError(
      `Cannot ${what} as instrument must be an object with hooks: received ${
        inspect(instrument)
      }`,
    );
  }
  for (const name of HOOKS) {
    const hook = (instrument as Record<string, unknown>)[name];
    if (hook !== undefined && typeof hook !== "function") {
      throw new TypeError(
        `Cannot ${what} as instrument.${name} must be a function: received ${
          inspect(hook)
        }`,
      );
    }
  }
}

/** Throws unless `instruments` is a list of different instruments. */
export function checkInstruments(instruments: unknown, what: string): void {
  if (!Array.isArray(instruments)) {
    throw new TypeError(
      `Cannot ${what} as instruments must be an array: received ${
        inspect(instruments)
      }`,
    );
  }
  for (const instrument of instruments) checkInstrument(instrument, what);
  if (new Set(instruments).size < instruments.length) {
    throw new MisuseError(`Cannot ${what}: an instrument is listed twice`);
  }
}
