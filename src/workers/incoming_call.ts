/**
 * Call of a function of this loop: the task at the owner.
 *
 * @module
 */
import type { CancelledError } from "../errors.ts";
import { isGeneratorFunction } from "../loop/checks.ts";
import type { EventLoop } from "../loop/event_loop.ts";
import type { Runnable } from "../loop/runnable.ts";
import type { Coroutine } from "../loop/task_body.ts";
import type { Task } from "../loop/task.ts";

/** Function that is registered under a name. */
export type HandleFunction = (...args: never[]) => unknown;

/** Where the outcome of a call goes. */
export interface Reply {
  returned(value: unknown): void;
  threw(error: unknown): void;
  /** The task was cancelled, though not by the caller. */
  cancelled(error: unknown): void;
}

/** Finds the function of a name, or throws the error for its caller. */
export type FindFunction = (name: string) => HandleFunction;

/** A call that has arrived. Runs in a turn of the owner's loop, as a task. */
export class IncomingCall implements Runnable {
  readonly #loop: EventLoop;
  readonly #name: string;
  #args: readonly unknown[];
  /** Null if nobody waits for the outcome, or not any more. */
  #reply: Reply | null;
  #withdrawn = false;
  #task: Task<unknown> | null = null;

  constructor(
    loop: EventLoop,
    name: string,
    args: readonly unknown[],
    reply: Reply | null,
  ) {
    this.#loop = loop;
    this.#name = name;
    this.#args = args;
    this.#reply = reply;
  }

  /** Begins: runs the function, or its first step. Called in a turn. */
  begin(find: FindFunction): void {
    if (this.#withdrawn) return;
    let task: Task<unknown>;
    try {
      task = this.#start(find(this.#name));
    } catch (error) {
      this.#failed(error);
      return;
    }
    this.#task = task;
    if (task.done()) this.run();
    else task.addWaiter(this);
  }

  #start(fn: HandleFunction): Task<unknown> {
    const args = this.#args as never[];
    this.#args = [];
    const body = isGeneratorFunction(fn)
      ? fn(...args) as Coroutine<unknown>
      : () => fn(...args);
    return this.#loop.createTask<unknown>(body, {
      name: this.#name,
      eager: true,
    });
  }

  /** Cancels the task, whose outcome nobody waits for any more. Before its beginning it never begins. */
  withdraw(reason: unknown): void {
    this.#reply = null;
    this.#withdrawn = true;
    this.#args = [];
    this.#task?.cancel(reason);
  }

  /** Called in a turn when the task has ended. */
  run(): void {
    const task = this.#task!;
    const reply = this.#reply;
    this.#reply = null;
    let value: unknown;
    try {
      value = task.result();
    } catch (error) {
      if (!task.cancelled()) this.#failed(error, reply);
      else reply?.cancelled(error as CancelledError);
      return;
    }
    reply?.returned(value);
  }

  /** Hands an error to the caller; without one, to the exception handler. */
  #failed(error: unknown, reply: Reply | null = this.#reply): void {
    this.#reply = null;
    if (reply !== null) {
      reply.threw(error);
      return;
    }
    this.#loop.callExceptionHandler({
      message: this.#withdrawn
        ? `Function "${this.#name}" of a loop handle failed after its caller had left`
        : `Function "${this.#name}" of a loop handle failed, and nobody waits for it`,
      exception: error,
    });
  }
}
