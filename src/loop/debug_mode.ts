/**
 * Debug mode of a loop: where things were made, and which callbacks and steps
 * take too long. Also the async context of a loop made with
 * `asyncContext: "inherit"`, as both are given to new handles.
 *
 * @module
 */
import { inWords } from "./waiters.ts";
import { captureContext } from "../host/async_context.ts";
import { monotonicMs } from "../host/clock.ts";
import { Registry } from "../host/finalization.ts";
import { writeError } from "../host/process.ts";
import { microtask } from "../host/microtask.ts";
import { core } from "./core.ts";
import { CreationStack } from "./creation_stack.ts";
import type { EventLoop } from "./event_loop.ts";
import { Future } from "./future.ts";
import { describeHandle, Handle, runnableIn, wrapCallback } from "./handle.ts";
import type { Runnable } from "./runnable.ts";
import { runRunnable } from "./run_runnable.ts";
import { Task } from "./task.ts";

/** Kinds of functions that cannot run as a callback: calling them only makes a promise or a generator. */
const UNSUITABLE = /^\[object (Async|Generator|AsyncGenerator)Function\]$/;

/** A loop that was made in debug mode; does not refer to it. */
interface LoopRecord {
  isClosed: boolean;
  readonly madeAt: string | undefined;
}

const collectedLoops = new Registry<LoopRecord>(({ isClosed, madeAt }) => {
  if (isClosed) return;
  const origin = madeAt === undefined ? "" : `\n  created at:\n${madeAt}`;
  writeError(
    'rota: an event loop was never closed: use "await using", or call close()' +
      origin,
  );
});

/** Creation stacks and running times of one loop. */
export class DebugMode {
  /** From which duration on a callback counts as slow, in milliseconds. */
  slowMs: number;
  #stacks: WeakMap<WeakKey, CreationStack> | null = null;
  readonly #loop: EventLoop;
  #record: LoopRecord | null = null;

  constructor(loop: EventLoop, slowMs: number) {
    this.#loop = loop;
    this.slowMs = slowMs;
  }

  /** Has it told if the loop is collected before it is closed: its host is open then for good. */
  watchLoop(): void {
    // As text at once: a stack refers to the loop, whose constructor is in it.
    const madeAt = new CreationStack().text();
    this.#record = { isClosed: false, madeAt };
    collectedLoops.register(this.#loop, this.#record);
  }

  /** The loop is closed. */
  loopClosed(): void {
    if (this.#record !== null) this.#record.isClosed = true;
  }

  /** Sets the async context and creation stack of a new handle, as far as they are wanted. */
  instrument(handle: Handle, callback?: unknown): void {
    if (this.#loop[core].inheritsContext) {
      wrapCallback(handle, captureContext());
    }
    if (!this.#loop[core].debugging) return;
    const kind = Object.prototype.toString.call(callback);
    if (UNSUITABLE.test(kind)) {
      throw new TypeError(
        "Cannot schedule a callback as callback must be a plain function: received " +
          `${kind.slice(8, -1)} ${describeHandle(handle)}, use createTask()`,
      );
    }
    this.noteCreation(handle);
  }

  /** Remembers where `object` is being made. */
  noteCreation(object: WeakKey): void {
    if (!this.#loop[core].debugging) return;
    (this.#stacks ??= new WeakMap()).set(object, new CreationStack());
  }

  /** Remembers where `wait` has begun: where the operation was made that is awaited. */
  keepStack(wait: WeakKey, stack: CreationStack): void {
    (this.#stacks ??= new WeakMap()).set(wait, stack);
  }

  /** Returns where `object` was made, if that is known. */
  creationStackOf(object: WeakKey): string | undefined {
    return this.#stacks?.get(object)?.text();
  }

  /** Returns the same, ready to be spread into an exception context. */
  creationOf(object: WeakKey): { creationStack?: string } {
    const creationStack = this.creationStackOf(object);
    return creationStack === undefined ? {} : { creationStack };
  }

  /** Runs something of a turn, and reports it if it takes long. */
  runTimed(runnable: Runnable): void {
    const loop = this.#loop;
    // All of it is read before, as a callback's handle may drop it meanwhile.
    const subject = runnableIn(runnable, loop[core].resume);
    const task = subject instanceof Task ? subject as Task<unknown> : undefined;
    const what = task !== undefined
      ? `task "${task.name}"`
      : subject instanceof Handle
      ? describeHandle(subject)
      : subject instanceof Future
      ? (subject as Future<unknown>)[inWords]()
      : "a wait";
    const startMs = monotonicMs();
    try {
      runRunnable(runnable);
    } finally {
      this.#check(monotonicMs() - startMs, what, subject);
    }
  }

  /**
   * Resumes an async function, and reports it if its next stretch takes long: from
   * one `await` to the next, which is a microtask of its own.
   *
   * @param resume Resolves the promise that the function awaits.
   */
  resumeTimed(task: Task<unknown>, resume: () => void): void {
    let startMs = NaN;
    microtask(() => {
      startMs = monotonicMs();
    });
    resume();
    microtask(() => {
      this.#check(monotonicMs() - startMs, `task "${task.name}"`, task);
    });
  }

  /** Reports a callback or step that has run for long. */
  #check(durationMs: number, what: string, subject: Runnable): void {
    if (!(durationMs >= this.slowMs)) return;
    const task = subject instanceof Task ? subject as Task<unknown> : undefined;
    this.#loop.callExceptionHandler({
      message: `Executing ${what} took ${durationMs.toFixed(1)} ms`,
      durationMs,
      ...(task && { task, name: task.name }),
      ...(subject instanceof Handle && { handle: subject }),
      ...this.creationOf(subject),
    });
  }
}
