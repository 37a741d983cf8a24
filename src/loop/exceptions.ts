/**
 * Errors that no caller, group or supervisor gets: the exception handler of a
 * loop, and the report on standard error that it makes by default.
 *
 * @module
 */
import { writeError } from "../host/process.ts";
import { inspect } from "./checks.ts";
import type { EventLoop } from "./event_loop.ts";
import type { Future } from "./future.ts";
import type { Handle } from "./handle.ts";
import type { Task } from "./task.ts";

/**
 * Context of an error, as an exception handler gets it: a message, and whatever
 * is known.
 *
 * Keys like asyncio's, in camel case.
 */
export interface ExceptionContext {
  /** Event, in words. */
  readonly message: string;
  /** Error that was thrown, if one was. */
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
 * Handler for {@linkcode EventLoop.setExceptionHandler}: it is called for every
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

/** Caller of the exception handler of one loop, however that behaves. */
export class ExceptionReporter {
  /** Handler that the program has set; null for the default. */
  handler: ExceptionHandler | null = null;
  readonly #loop: EventLoop;

  constructor(loop: EventLoop) {
    this.#loop = loop;
  }

  /** Calls the handler with an error. An error in the handler is reported as well. */
  report(context: ExceptionContext): void {
    checkContext(context);
    if (this.handler === null) {
      this.#handleByDefault(context);
      return;
    }
    try {
      this.handler(this.#loop, context);
    } catch (error) {
      this.#handleByDefault(context);
      this.#handleByDefault({
        message: "Unhandled error in exception handler",
        exception: error,
      });
    }
  }

  /** The default handler may be that of a subclass, and throw as well. */
  #handleByDefault(context: ExceptionContext): void {
    try {
      this.#loop.defaultExceptionHandler(context);
    } catch (error) {
      reportToConsole(context);
      reportToConsole({
        message: "Unhandled error in default exception handler",
        exception: error,
      });
    }
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

/** Returns the stack of an error. Anything may be thrown, and must not break the report. */
function stackOf(error: unknown, around: readonly unknown[] = []): string {
  if (around.includes(error)) return "itself";
  try {
    return describe(error, [...around, error]);
  } catch {
    return `a value of type ${typeof error} that has no text`;
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
