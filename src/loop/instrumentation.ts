/**
 * What debug mode and `asyncContext: "inherit"` add to callbacks and tasks.
 *
 * @module
 */
import { captureContext } from "../host/async_context.ts";
import { monotonicMs } from "../host/timing.ts";
import type { EventLoop } from "./event_loop.ts";
import { Future } from "./future.ts";
import { Handle, type Runnable } from "./handle.ts";
import { PostedTask, runPosted } from "./posted_task.ts";
import { stepTask, Task } from "./task.ts";

/** Remembers where things were made, and measures how long they run. */
export class Instrumentation {
  private stacks: WeakMap<WeakKey, string> | null = null;
  private readonly loop: EventLoop;

  constructor(loop: EventLoop) {
    this.loop = loop;
  }

  /** Gives a new handle its context and creation stack, as far as they are wanted. */
  instrument(handle: Handle, callback?: unknown): void {
    if (this.loop["inheritsContext"]) {
      const enter = captureContext();
      const run = handle["callback"]!;
      handle["callback"] = (...args) => enter(() => run(...args));
      Object.defineProperty(handle["callback"], "name", { value: run.name });
    }
    if (!this.loop["debugging"]) return;
    const kind = callback === undefined
      ? ""
      : Object.prototype.toString.call(callback);
    if (
      kind === "[object AsyncFunction]" || kind.endsWith("GeneratorFunction]")
    ) {
      throw new TypeError(
        "Cannot schedule a callback as callback must be a plain function: received " +
          `${kind.slice(8, -1)} ${handle["describe"]()}, use createTask()`,
      );
    }
    this.noteCreation(handle);
  }

  /** Remembers where `object` is being made. */
  noteCreation(object: WeakKey): void {
    if (!this.loop["debugging"]) return;
    this.stacks ??= new WeakMap();
    const stack = new Error("created").stack!;
    this.stacks.set(object, stack.slice(stack.indexOf("\n") + 1));
  }

  /** Where `object` was made, if that is known. */
  creationStackOf(object: WeakKey): string | undefined {
    return this.stacks?.get(object);
  }

  /** Runs something of a turn, and reports it if it takes long. */
  runTimed(runnable: Runnable): void {
    const loop = this.loop;
    // All of it is read before, as a callback's handle may drop it meanwhile.
    const subject = runnable instanceof Handle &&
        runnable["callback"] as unknown === loop["resume"]
      ? runnable["args"][0] as Runnable
      : runnable;
    const task = subject instanceof Task ? subject as Task<unknown> : undefined;
    const what = task !== undefined
      ? `task "${task.name}"`
      : subject instanceof Handle
      ? subject["describe"]()
      : subject instanceof Future
      ? (subject as Future<unknown>)["describe"]()
      : "a wait";
    const startMs = monotonicMs();
    try {
      // As in a turn that is not measured: see EventLoop.runHandles.
      if (runnable.run === Task.prototype.run) {
        stepTask(runnable as Task<unknown>);
      } else if (runnable instanceof PostedTask) runPosted(runnable);
      else runnable.run();
    } finally {
      const durationMs = monotonicMs() - startMs;
      if (durationMs >= loop["slowMs"]) {
        loop.callExceptionHandler({
          message: `Executing ${what} took ${durationMs.toFixed(1)} ms`,
          durationMs,
          ...(task && { task, name: task.name }),
          ...(subject instanceof Handle && { handle: subject }),
          ...loop["creationOf"](subject),
        });
      }
    }
  }
}
