/**
 * Ends of a child: how a run of it came to its end, and whether that is a
 * failure.
 *
 * @module
 */
import { type CancelledError, ChildShutdown } from "../errors.ts";
import { cancellationIn } from "../loop/cancellation.ts";
import type { EventLoop } from "../loop/event_loop.ts";

/**
 * How a run of a child has ended:
 *
 * - `"normal"`: its function returned;
 * - `"shutdown"`: it ended because its supervisor asked it to, because the graceful
 *   shutdown of the program cancelled it or what it waited for, or by throwing a
 *   {@linkcode ChildShutdown}; a supervisor that has ended itself counts as this;
 * - `"cancelled"`: somebody else cancelled it;
 * - `"killed"`: its supervisor ended it without waiting for it;
 * - `"abandoned"`: its supervisor could not end it, and waits for it no longer;
 * - `"crash"`: it threw anything else.
 *
 * A transient child is restarted unless it ended as `"normal"` or `"shutdown"`, a
 * permanent one in any case. Once a graceful shutdown in which its loop takes part has begun,
 * a permanent child that ended as `"normal"` is not restarted either. Nor is one that ended
 * because of what was cancelled by {@linkcode shutdownSignal} or in the phase `"cancel"`.
 */
export type ChildEnd =
  | { readonly kind: "normal" }
  | { readonly kind: "shutdown"; readonly reason: unknown }
  | { readonly kind: "cancelled"; readonly reason: unknown }
  | { readonly kind: "killed" }
  | { readonly kind: "abandoned"; readonly waitsFor: string }
  | { readonly kind: "crash"; readonly error: unknown };

/** Reason of the cancellation by which a supervisor asks a child to end. */
export const SHUTDOWN_REASON = "shutdown";
/** Reason of the cancellation by which a supervisor kills a child. */
export const KILL_REASON = "killed";

export const NORMAL_END: ChildEnd = Object.freeze({ kind: "normal" });
export const KILLED_END: ChildEnd = Object.freeze({ kind: "killed" });
export const SHUTDOWN_END: ChildEnd = Object.freeze({
  kind: "shutdown",
  reason: SHUTDOWN_REASON,
});

/** The errors by which shutdowns abort their signals and cancel tasks. */
export const shutdownErrors: WeakSet<CancelledError> = new WeakSet();

/** The loops whose shutdown has begun. */
export const shutDownLoops: WeakSet<EventLoop> = new WeakSet();

const endsByShutdown: WeakSet<ChildEnd> = new WeakSet();

/**
 * Whether a child has ended for a shutdown that has begun: it was cancelled by that, or has
 * returned, as one does that was told to. A permanent child is not restarted then.
 */
export function isByShutdown(end: ChildEnd, loop: EventLoop): boolean {
  return endsByShutdown.has(end) ||
    end.kind === "normal" && shutDownLoops.has(loop);
}

/** Whether a transient child is restarted after this end. */
export function isAbnormal(end: ChildEnd): boolean {
  return end.kind !== "normal" && end.kind !== "shutdown";
}

/**
 * The end of a child whose function has thrown.
 *
 * @param error The error.
 * @param request Request of its supervisor, if there was one.
 */
export function endByError(
  error: unknown,
  request: "nothing" | "stop" | "kill",
): ChildEnd {
  const cancelled = cancellationIn(error);
  if (cancelled !== null) {
    if (request === "kill") return KILLED_END;
    if (request === "stop") return SHUTDOWN_END;
    if (shutdownErrors.has(cancelled)) {
      const end: ChildEnd = { kind: "shutdown", reason: cancelled.reason };
      endsByShutdown.add(end);
      return end;
    }
    return { kind: "cancelled", reason: cancelled.reason };
  }
  if (error instanceof ChildShutdown) {
    return { kind: "shutdown", reason: error.reason };
  }
  return { kind: "crash", error };
}
