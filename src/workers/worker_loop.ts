/**
 * The loop of a worker, which starts when a job first needs one: a worker whose
 * jobs only compute never loads the loop.
 *
 * @module
 */
import { loaded } from "../loop/current.ts";
import type { EventLoop } from "../loop/event_loop.ts";
import type { EventLoopOptions } from "../loop/loop_options.ts";

/** The one loop for all jobs of a worker. */
export class WorkerLoop {
  readonly #options: EventLoopOptions;
  #loop: EventLoop | null = null;
  #run: Promise<void> | null = null;
  #closed = false;

  /** @param options Options of the loop. */
  constructor(options: EventLoopOptions) {
    this.#options = options;
  }

  /** The loop, if it has been started. */
  get loop(): EventLoop | null {
    return this.#loop;
  }

  /** Returns the loop, started now if it was not; null if its class is not loaded, or the worker ends. */
  start(): EventLoop | null {
    if (this.#loop !== null || this.#closed) return this.#loop;
    const { makeLoop } = loaded;
    if (makeLoop === null) return null;
    const loop = makeLoop(this.#options);
    this.#loop = loop;
    this.#run = loop.runForever();
    return loop;
  }

  /** Loads what {@linkcode start} needs. */
  async load(): Promise<void> {
    await import("../loop/mod.ts");
  }

  /**
   * Cancels the tasks that are left, runs on until they have ended, and closes
   * the loop. Does nothing if there is none.
   *
   * @param cancelGraceMs How long they may take.
   */
  async close(cancelGraceMs: number): Promise<void> {
    this.#closed = true;
    const loop = this.#loop;
    if (loop === null) return;
    this.#loop = null;
    loop.stop();
    await this.#run;
    const { Runner } = await import("../loop/runner.ts");
    const runner = new Runner({ loopFactory: () => loop, cancelGraceMs });
    runner.getLoop();
    await runner.close();
  }
}
