/**
 * Ctrl-C during `run`: the first cancels the main task, the second ends the
 * process.
 *
 * @module
 */
import { isCancellation } from "./cancellation.ts";
import { exitProcess } from "../host/process.ts";
import { isListened, onSignal } from "../host/signals.ts";
import { core } from "./core.ts";
import type { EventLoop } from "./event_loop.ts";
import type { Task } from "./task.ts";

const INTERRUPTED_EXIT_CODE = 130;

/** Effect of SIGINT (Ctrl-C) on one run: the first cancels the main task, the second ends the process. */
export class Interrupt {
  readonly #loop: EventLoop;
  readonly #main: Task<unknown>;
  #count = 0;
  #remove: () => void;

  constructor(loop: EventLoop, main: Task<unknown>) {
    this.#loop = loop;
    this.#main = main;
    this.#remove = this.#listen(() => this.#first());
  }

  #listen(listener: () => void): () => void {
    return onSignal("SIGINT", listener, (error) => {
      this.#loop.callExceptionHandler({
        message: "Cannot handle SIGINT",
        exception: error,
      });
    });
  }

  #first(): void {
    if (this.#loop[core].signals.has("SIGINT")) return; // the program has taken over
    this.#count++;
    // With nobody listening, the second SIGINT finds the default action, which
    // ends the process with the same code even while this thread is busy.
    this.#remove();
    if (isListened("SIGINT")) {
      this.#remove = this.#listen(() => exitProcess(INTERRUPTED_EXIT_CODE));
    }
    this.#main.cancel("SIGINT");
  }

  /** Whether `error` is what came of a cancellation by SIGINT and nothing else. */
  ended(error: unknown): boolean {
    return this.#count > 0 && isCancellation(error) &&
      this.#main.cancelled() &&
      this.#main.cancelling() <= this.#count;
  }

  release(): void {
    this.#remove();
  }
}
