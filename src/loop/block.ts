import type { Task } from "./task.ts";

/**
 * A part of a task that can be cancelled by itself: what a timeout, a task
 * group or a cancel scope opens around its body.
 *
 * Blocks nest. Cancelling one cancels the task as {@linkcode Task.cancel} does,
 * but only the signals of this block and of those opened inside it abort. Each
 * block must be closed by its opener, innermost first.
 */
export class Block {
  /** The task this block is a part of. */
  readonly task: Task<unknown>;
  /** The block around this one; `null` for that of the whole task. */
  readonly outer: Block | null;
  private controller: AbortController | null = null;
  private aborted = false;
  private reason: unknown = undefined;

  /**
   * Made by {@linkcode Task.openBlock}.
   *
   * @ignore
   */
  constructor(task: Task<unknown>, outer: Block | null) {
    this.task = task;
    this.outer = outer;
  }

  /**
   * A signal that aborts when this block, or one around it, is cancelled. Made
   * on first use. The reason is a {@linkcode CancelledError}.
   */
  get signal(): AbortSignal {
    if (this.controller === null) {
      this.controller = new AbortController();
      if (this.aborted) this.controller.abort(this.reason);
    }
    return this.controller.signal;
  }

  /**
   * Cancels the task as {@linkcode Task.cancel} does, for the sake of this
   * block: whoever calls it calls {@linkcode Task.uncancel} once the
   * cancellation has reached the end of the block.
   *
   * @param reason What to say about the cause.
   * @returns Whether the task had not ended.
   */
  cancel(reason?: unknown): boolean {
    return this.task["cancelFrom"](this, reason);
  }

  /** Ends the block. The block around it becomes the innermost again. */
  close(): void {
    this.task["closeBlock"](this);
  }

  private abort(error: unknown): void {
    if (this.aborted) return;
    this.aborted = true;
    this.reason = error;
    this.controller?.abort(error);
  }

  /** The cancellation was dealt with: what starts from now on gets a fresh signal. */
  private renew(): void {
    if (!this.aborted) return;
    this.aborted = false;
    this.reason = undefined;
    this.controller = null;
  }
}
