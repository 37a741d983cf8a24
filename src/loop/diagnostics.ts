/**
 * What a loop tells of the programs that it runs: errors that nobody else gets,
 * tasks that wait for ever, and in debug mode what is slow and where it was made.
 *
 * @module
 */
import { type BlockedTask, DeadlockError } from "../errors.ts";
import { captureContext } from "../host/async_context.ts";
import { monotonicMs } from "../host/clock.ts";
import { writeError } from "../host/process.ts";
import { inspect } from "./checks.ts";
import type { EventLoop } from "./event_loop.ts";
import { Future } from "./future.ts";
import { Handle, type Runnable } from "./handle.ts";
import type { DeadlockPolicy } from "./loop_options.ts";
import { PostedTask, runPosted } from "./ranked.ts";
import { stepTask, Task } from "./task.ts";

/**
 * What a loop tells its exception handler: a message, and whatever is known.
 *
 * The keys are asyncio's, in camel case.
 */
export interface ExceptionContext {
  /** What happened. */
  readonly message: string;
  /** What was thrown, if something was. */
  readonly exception?: unknown;
  /** The future concerned, if it still exists. */
  readonly future?: Future<unknown>;
  /** The task concerned, if it still exists. */
  readonly task?: Task<unknown>;
  /** The callback concerned. */
  readonly handle?: Handle;
  /** The name of the task or operation concerned, also when that is gone. */
  readonly name?: string;
  /** How long a slow callback took, in milliseconds. */
  readonly durationMs?: number;
  /** Where the object concerned was made; only in debug mode. */
  readonly creationStack?: string;
}

/**
 * What {@linkcode EventLoop.setExceptionHandler} takes: it is told of every
 * error that no caller, group or supervisor gets.
 */
export type ExceptionHandler = (
  loop: EventLoop,
  context: ExceptionContext,
) => void;

/** Throws if a context is none. */
export function checkContext(context: ExceptionContext): void {
  if (typeof context?.message !== "string") {
    throw new TypeError(
      `Cannot call the exception handler as context must be an object with a message: received ${
        inspect(context)
      }`,
    );
  }
}

/** Writes a context to standard error: the message, the error, and where things were made. */
export function reportToConsole(context: ExceptionContext): void {
  const lines = [`rota: ${context.message}`];
  if ("exception" in context) lines.push(indent(stackOf(context.exception)));
  if (context.creationStack !== undefined) {
    lines.push("  created at:", indent(context.creationStack));
  }
  writeError(lines.join("\n"));
}

/** What is thrown may be anything, and must not break the one who reports it. */
function stackOf(error: unknown, around: readonly unknown[] = []): string {
  if (around.includes(error)) return "itself";
  try {
    return describe(error, [...around, error]);
  } catch {
    return Object.prototype.toString.call(error);
  }
}

function describe(error: unknown, seen: readonly unknown[]): string {
  if (!(error instanceof Error)) return String(error);
  const text = error.stack ?? `${error.name}: ${error.message}`;
  const cause = error.cause === undefined
    ? ""
    : `\ncaused by: ${stackOf(error.cause, seen)}`;
  if (!(error instanceof AggregateError)) return text + cause;
  return text + cause +
    error.errors.map((inner) => `\none of: ${stackOf(inner, seen)}`).join("");
}

function indent(text: string): string {
  return text.split("\n").map((line) => `  ${line}`).join("\n");
}

/** How long all tasks must have been parked before a deadlock is reported on a host with a real clock. */
export const DEADLOCK_MS = 1_000;

/** Notices a deadlock of one loop, and reports it or ends the run. */
export class DeadlockWatch {
  private readonly loop: EventLoop;
  /** What the loop was asked to do; undefined leaves it to host and debug mode. */
  private readonly wanted: DeadlockPolicy | undefined;
  /** Whether this run has been told of a deadlock already. */
  private reported = false;

  constructor(loop: EventLoop, wanted: DeadlockPolicy | undefined) {
    this.loop = loop;
    this.wanted = wanted;
  }

  /** A new run may be told of a deadlock again. */
  reset(): void {
    this.reported = false;
  }

  /** Whether the loop, about to wait without a deadline, may be in a deadlock that counts. */
  isNeeded(): boolean {
    const loop = this.loop;
    return !loop["virtual"] && !this.reported && loop["tasks"].size > 0 &&
      loop["asyncOutside"] === 0 && loop["outside"] === 0 &&
      loop["descriptors"].size === 0 && loop["signals"].size === 0 &&
      this.policy() !== "ignore";
  }

  /** All tasks have been parked for {@linkcode DEADLOCK_MS}. */
  expired(): void {
    if (this.loop["ready"].length > 0 || !this.isNeeded()) return;
    this.tell(this.policy());
  }

  /** A virtual host has nothing to move its clock to. */
  starved(): void {
    const loop = this.loop;
    if (loop["forever"] || loop["tasks"].size === 0) return;
    const policy = this.policy();
    if (policy === "error" || (policy === "report" && !this.reported)) {
      this.tell(policy);
    }
  }

  private policy(): DeadlockPolicy {
    if (this.wanted !== undefined) return this.wanted;
    if (this.loop["virtual"]) return "error";
    return this.loop["debugging"] ? "report" : "ignore";
  }

  private tell(policy: DeadlockPolicy): void {
    this.reported = true;
    const error = this.describe();
    if (policy === "error") this.loop["failRun"](error);
    else {
      this.loop.callExceptionHandler({
        message: error.message,
        exception: error,
      });
    }
  }

  private describe(): DeadlockError {
    const loop = this.loop;
    const tasks: BlockedTask[] = loop["unfinishedTasks"]().map((task) => ({
      name: task.name,
      waitsFor: task["describeWait"](),
      ...loop["creationOf"](task),
    }));
    const list = tasks.map(({ name, waitsFor }) =>
      `\n  task "${name}" waits for ${waitsFor}`
    );
    return new DeadlockError(
      `Every task waits, and nothing is left that could wake one:${
        list.join("")
      }`,
      tasks,
    );
  }
}

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
