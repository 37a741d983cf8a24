/**
 * Loop of a handle, as the handle sees it: in this thread or in another one.
 *
 * @module
 */
import { ExecutorShutDownError } from "../errors.ts";
import type { LinePort } from "../host/message_port.ts";
import type { EventLoop } from "../loop/event_loop.ts";
import type { HandleCall } from "./handle_call.ts";

/** Function to be called, and what is handed to it. */
export interface CallPlan {
  readonly name: string;
  readonly args: readonly unknown[];
  /** Objects of the arguments that are moved instead of copied. */
  readonly transfer: readonly Transferable[];
}

/** The loop that a handle stands for. */
export interface HandleTarget {
  readonly isClosed: boolean;
  /** Has a function called for a caller on `loop`. Never throws: what is wrong with the call is in the future. */
  call<T>(
    loop: EventLoop,
    plan: CallPlan,
    signal: AbortSignal | undefined,
  ): HandleCall<T>;
  /** Has a function called whose outcome nobody waits for. */
  post(plan: CallPlan): void;
  /** Opens a line for a copy of the handle, and returns its other end. */
  openLine(): LinePort;
  close(): void;
}

/** Makes the error for something that a closed handle cannot do. */
export function shutDownError(
  what: string,
  why: string,
): ExecutorShutDownError {
  return new ExecutorShutDownError(`Cannot ${what}: ${why}`);
}

/** Reason of such an error at the handle that was closed. */
export const CLOSED_HERE = "the loop handle is closed";

/** Returns the error for values that could not be cloned. Errors of their getters stay as they are. */
function cloneError(what: string, error: unknown): unknown {
  if (!(error instanceof DOMException)) return error;
  return new DOMException(`Cannot ${what}: ${error.message}`, error.name);
}

/** Returns the error for the arguments of a call. */
export function argumentsError(name: string, error: unknown): unknown {
  return cloneError(`call "${name}" as its arguments must be cloneable`, error);
}

/** Returns the error for the result of a call. */
export function resultError(name: string, error: unknown): unknown {
  return cloneError(
    `hand over the result of "${name}" as it must be cloneable`,
    error,
  );
}
