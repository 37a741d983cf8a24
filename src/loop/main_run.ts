/**
 * The run of a main task, and whoever has taken its end over: Ctrl-C at first, a graceful shutdown if there is one.
 *
 * Graceful shutdown is in `src/supervise/`, further out, and fills {@linkcode shutdownSlot} when it is loaded.
 *
 * @module
 */
import { InterruptedError, MisuseError } from "../errors.ts";
import type { RunShutdownOptions } from "../supervise/shutdown_options.ts";
import { core } from "./core.ts";
import type { EventLoop } from "./event_loop.ts";
import type { Future } from "./future.ts";
import { Interrupt } from "./interrupt.ts";
import type { Task } from "./task.ts";

/** The part of a graceful shutdown that decides how a run ends. */
export interface RunGuard {
  /** Whether SIGINT is its business. */
  readonly handlesInterrupt: boolean;
  /** Another run on the same loop begins. Throws if the shutdown has begun. */
  attach(run: MainRun): void;
  /** Returns a future for which the loop has to run on before it is left; null if there is none. */
  rest(): Future<void> | null;
  /** The tasks that are left are about to be cancelled, by the runner. */
  cleanUpBegins(): void;
  /** Returns the error that `run` throws in place of `error`, which came out of main. */
  errorFor(error: unknown): unknown;
  /** The run is over, and the loop is left. */
  runIsOver(): void;
  /**
   * The runner has closed the loop. Returns a promise for which it has to wait before it settles, null if there is none: a
   * run without a result does not go on before the shutdown has ended the process.
   */
  runnerClosed(): Promise<void> | null;
}

/** Graceful shutdown, once it is loaded. */
export const shutdownSlot: {
  /** Checks the options. Throws if they are wrong. */
  check: ((options: RunShutdownOptions, virtual: boolean) => void) | null;
  /** Has a run take part, and calls its `guardBy`. Throws if the shutdown has begun. */
  join: ((run: MainRun, options: RunShutdownOptions) => void) | null;
} = { check: null, join: null };

/** Throws if the options of a graceful shutdown are wrong, or there is none. */
export function checkShutdown(
  options: RunShutdownOptions | undefined,
  virtual: boolean,
): void {
  if (options === undefined) return;
  if (shutdownSlot.check === null) {
    throw new MisuseError(
      'Cannot shut a run down gracefully: import "@rota/rota" or "@rota/rota/supervise"',
    );
  }
  shutdownSlot.check(options, virtual);
}

const openRuns = new WeakMap<EventLoop, MainRun>();

/** Returns the run of a main task that is under way on a loop; undefined if there is none. */
export function findMainRun(loop: EventLoop): MainRun | undefined {
  return openRuns.get(loop);
}

const guards = new WeakMap<EventLoop, RunGuard>();

/** Hands the ends of all runs on a loop to `guard`. */
export function guardLoop(loop: EventLoop, guard: RunGuard): void {
  guards.set(loop, guard);
}

/** Returns the guard of the runs on a loop; null if there is none. */
export function guardOf(loop: EventLoop): RunGuard | null {
  return guards.get(loop) ?? null;
}

/** Run of one main task. */
export class MainRun {
  readonly loop: EventLoop;
  #main: Task<unknown> | null = null;
  #interrupt: Interrupt | null = null;
  #guard: RunGuard | null = null;
  /** Whether the callback that stops the loop at the end of main is there. */
  #stopIsSet = false;
  /** Whether the loop goes on although main has ended. */
  #goesOn = false;

  /** Begins before the main task is made, so that a shutdown that is under way refuses it. */
  constructor(loop: EventLoop, shutdown: RunShutdownOptions | undefined) {
    this.loop = loop;
    openRuns.set(loop, this);
    try {
      if (shutdown !== undefined) shutdownSlot.join!(this, shutdown);
      else this.#attachTo(guardOf(loop));
    } catch (error) {
      openRuns.delete(loop);
      throw error;
    }
  }

  /** The main task; null before it is made. */
  get main(): Task<unknown> | null {
    return this.#main;
  }

  /** Joins a shutdown in which the loop takes part since before. */
  #attachTo(guard: RunGuard | null): void {
    if (guard === null) return;
    guard.attach(this);
    this.#guard = guard;
  }

  /** Hands the end of the run, and of those that follow on the loop, to `guard`. */
  guardBy(guard: RunGuard): void {
    guardLoop(this.loop, guard);
    if (this.#guard === null && this.#stopIsSet) this.#watchEnd();
    this.#guard = guard;
    if (guard.handlesInterrupt) this.#interrupt?.release();
  }

  /** The main task is there. */
  begin(main: Task<unknown>, interrupts: boolean): void {
    this.#main = main;
    if (!interrupts || this.#guard?.handlesInterrupt === true) return;
    this.#interrupt = new Interrupt(this.loop, main);
  }

  /** The loop stops when main ends, from now on. Only a run with a guard has to hear of that. */
  stopsWithMain(): void {
    this.#stopIsSet = true;
    if (this.#guard !== null) this.#watchEnd();
  }

  #watchEnd(): void {
    this.#main!.addDoneCallback(() => this.#mainEnded());
  }

  /** Returns the error that `run` throws in place of `error`. */
  errorFor(error: unknown): unknown {
    if (this.#interrupt?.ended(error) === true) {
      return new InterruptedError("SIGINT");
    }
    return this.#guard === null ? error : this.#guard.errorFor(error);
  }

  /**
   * Main has ended, and the loop is about to stop. While a shutdown is under way it goes on without a break: code of its
   * hooks that is resumed in a break would find no running loop.
   */
  #mainEnded(): void {
    const rest = this.#guard === null ? null : this.#guard.rest();
    if (rest === null || !this.loop[core].takeStopBack()) return;
    this.#goesOn = true;
    rest.addDoneCallback(() => {
      if (this.#goesOn) this.loop.stop();
    });
  }

  /** The run is over, and the loop is left. */
  isOver(): void {
    this.#guard?.runIsOver();
  }

  /** Main has ended, or its run has. Returns a future for which the loop has to run on. */
  end(): Future<void> | null {
    this.#goesOn = false;
    openRuns.delete(this.loop);
    this.#interrupt?.release();
    return this.#guard === null ? null : this.#guard.rest();
  }
}
