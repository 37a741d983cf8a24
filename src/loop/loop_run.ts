/**
 * Run of a loop: its state, and the promise for its end.
 *
 *     STOPPED --begin()--> RUNNING --requestStop(), fail()--> STOPPING --end()--> STOPPED
 *     STOPPED --requestStop()--> STOPPING   the next run ends after one turn
 *     STOPPED --close()--> CLOSED
 *
 * @module
 */
import { LoopClosedError, MisuseError } from "../errors.ts";
import type { RunMode } from "./core.ts";
import { runningLoops } from "./current.ts";
import type { EventLoop } from "./event_loop.ts";

/** No run is under way. */
export const STOPPED = 0;
/** Turns run, one after the other. */
export const RUNNING = 1;
/** The run ends after this turn; if none is under way, the next one after one turn. */
export const STOPPING = 2;
export const CLOSED = 3;
export type RunState =
  | typeof STOPPED
  | typeof RUNNING
  | typeof STOPPING
  | typeof CLOSED;

/** Run that is under way. */
interface Run {
  readonly mode: RunMode;
  /** Error that ends it. */
  failure: Error | null;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

/** State of one loop. */
export class LoopRun {
  state: RunState = STOPPED;
  #run: Run | null = null;
  readonly #loop: EventLoop;

  constructor(loop: EventLoop) {
    this.#loop = loop;
  }

  isRunning(): boolean {
    return this.#run !== null;
  }

  /** Returns the state in a word, for inspection. */
  name(): "stopped" | "running" | "closed" {
    if (this.state === CLOSED) return "closed";
    return this.#run === null ? "stopped" : "running";
  }

  isForever(): boolean {
    return this.#run?.mode === "forever";
  }

  /** Throws if the loop is closed or running already. */
  checkMayBegin(): void {
    if (this.state === CLOSED) this.refuseClosed("run the event loop");
    if (this.#run !== null) {
      throw new MisuseError("Cannot run the event loop: it is running already");
    }
  }

  refuseClosed(what: string): never {
    throw new LoopClosedError(`Cannot ${what}: the event loop is closed`);
  }

  /** Begins; the promise is settled by {@linkcode end}. */
  begin(mode: RunMode): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#run = { mode, failure: null, resolve, reject };
    if (this.state === STOPPED) this.state = RUNNING;
    runningLoops.add(this.#loop);
    return promise;
  }

  /** Has the run end after this turn; false on a closed loop. */
  requestStop(): boolean {
    if (this.state === CLOSED) return false;
    this.state = STOPPING;
    return true;
  }

  /** Has a run that was about to end go on; false if there is none, or it ends with an error. */
  takeStopBack(): boolean {
    if (this.state !== STOPPING || this.#run?.failure !== null) return false;
    this.state = RUNNING;
    return true;
  }

  /** Has the run end with an error. */
  fail(error: Error): void {
    if (this.#run !== null) this.#run.failure = error;
    this.state = STOPPING;
  }

  /** Leaves the run; returns the function that settles its promise. */
  end(): () => void {
    const run = this.#run!;
    this.#run = null;
    this.state = STOPPED;
    runningLoops.delete(this.#loop);
    return () => {
      if (run.failure === null) run.resolve();
      else run.reject(run.failure);
    };
  }

  close(): void {
    this.state = CLOSED;
  }
}
