/**
 * How errors and values look in a trace.
 *
 * @module
 */
import {
  BrokenBarrierError,
  CancelledError,
  InvalidStateError,
  MisuseError,
  QueueEmptyError,
  QueueFullError,
  QueueShutDownError,
  TaskGroupError,
  TimeoutError,
} from "../../mod.ts";
import { ProgramError, type UserErrorName } from "./language.ts";

/** What programs raise: `ErrA`, `ErrB` or `ErrC`. */
export class UserError extends Error {
  constructor(name: UserErrorName, message: string | null) {
    super(message ?? "");
    this.name = name;
  }
}

/** The library's errors by the names they have in a trace, which are Python's. */
const NAMES: readonly (readonly [new (...args: never[]) => Error, string])[] = [
  [CancelledError, "CancelledError"],
  [TaskGroupError, "ExceptionGroup"],
  [TimeoutError, "TimeoutError"],
  [InvalidStateError, "InvalidStateError"],
  [QueueEmptyError, "QueueEmpty"],
  [QueueFullError, "QueueFull"],
  [QueueShutDownError, "QueueShutDown"],
  [BrokenBarrierError, "BrokenBarrierError"],
  [MisuseError, "RuntimeError"],
  [RangeError, "ValueError"],
];

/**
 * The name of an error's type, as handlers use it.
 *
 * @throws {ProgramError} If the language knows no such error: it is a mistake
 * of the interpreter or of the library, which no handler may hide.
 */
export function typeOf(error: unknown): string {
  if (error instanceof UserError) return error.name;
  // The engine's stack overflow is a RangeError, too.
  if (!isStackOverflow(error)) {
    for (const [type, name] of NAMES) if (error instanceof type) return name;
  }
  throw new ProgramError(`unexpected error ${inspect(error)}`, {
    cause: error,
  });
}

/** An error as an event shows it. */
export function encodeError(error: unknown): string {
  const type = typeOf(error);
  if (error instanceof UserError) return withText(type, error.message);
  if (error instanceof CancelledError) return withText(type, error.reason);
  if (error instanceof TaskGroupError) {
    return `${type}[${error.errors.map(encodeError).join(",")}]`;
  }
  return type;
}

/** A value as an event shows it. */
export function encodeValue(value: unknown): unknown {
  if (value === undefined) return null;
  if (Array.isArray(value)) return value.map(encodeValue);
  if (value instanceof Error) return { exc: encodeError(value) };
  return value;
}

/** Whether a handler for `names` takes an error of this type. */
export function isCaughtBy(names: readonly string[], type: string): boolean {
  return names.some((name) =>
    name === type || name === "BaseException" ||
    (name === "Exception" && type !== "CancelledError")
  );
}

function withText(type: string, text: unknown): string {
  return text === undefined || text === "" ? type : `${type}(${text})`;
}

function isStackOverflow(error: unknown): boolean {
  return error instanceof RangeError && error.message.includes("call stack");
}

function inspect(error: unknown): string {
  return error instanceof Error
    ? `${error.name}: ${error.message}`
    : `${error}`;
}
