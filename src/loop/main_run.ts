/**
 * The run of a main task, and whoever has taken its end over: Ctrl-C at first, a graceful shutdown if there is one.
 *
 * Graceful shutdown is in `src/supervise/`, further out, and fills {@linkcode shutdownSlot} when it is loaded.
 *
 * @module
 */
import { InterruptedError, MisuseError } from "../errors.ts";
import type { RunShutdownOptions } from "../supervise/shutdown_options.ts";
import type { EventLoop } from "./event_loop.ts";
import type { Future } from "./future.ts";
import { Interrupt } from "./interrupt.ts";
import type { Task } from "./task.ts";

/** The part of a graceful shutdown that decides how a run ends. */
export interface RunGuard {
  /** Whether SIGINT is its business. */
  readonly handlesInterrupt: boolean;
  /** Returns a future for which the loop has to run on before it is left; null if there is none. */
  rest(): Future<void> | null;
  /** The tasks that are left are about to be cancelled, by the runner. */
  cleanUpBegins(): void;
  /** Returns the error that `run` throws in place of `error`, which came out of main. */
  errorFor(error: unknown): unknown;
  /** The loop is closed. May end the process. */
  loopClosed(): void;
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

/** Run of one main task. */
export class MainRun {
  readonly loop: EventLoop;
  #main: Task<unknown> | null = null;
  #interrupt: Interrupt | null = null;
  #guard: RunGuard | null = null;

  /** Begins before the main task is made, so that a shutdown that is under way refuses it. */
  constructor(loop: EventLoop, shutdown: RunShutdownOptions | undefined) {
    this.loop = loop;
    openRuns.set(loop, this);
    if (shutdown === undefined) return;
    try {
      shutdownSlot.join!(this, shutdown);
    } catch (error) {
      openRuns.delete(loop);
      throw error;
    }
  }

  /** The main task; null before it is made. */
  get main(): Task<unknown> | null {
    return this.#main;
  }

  /** The guard of the run, also after its end. */
  get guard(): RunGuard | null {
    return this.#guard;
  }

  /** Hands the end of the run to `guard`. */
  guardBy(guard: RunGuard): void {
    this.#guard = guard;
    if (guard.handlesInterrupt) this.#interrupt?.release();
  }

  /** The main task is there. */
  begin(main: Task<unknown>, interrupts: boolean): void {
    this.#main = main;
    if (!interrupts || this.#guard?.handlesInterrupt === true) return;
    this.#interrupt = new Interrupt(this.loop, main);
  }

  /** Returns the error that `run` throws in place of `error`. */
  errorFor(error: unknown): unknown {
    if (this.#interrupt?.ended(error) === true) {
      return new InterruptedError("SIGINT");
    }
    return this.#guard === null ? error : this.#guard.errorFor(error);
  }

  /** Main has ended, or its run has. Returns a future for which the loop has to run on. */
  end(): Future<void> | null {
    openRuns.delete(this.loop);
    this.#interrupt?.release();
    return this.#guard === null ? null : this.#guard.rest();
  }
}
