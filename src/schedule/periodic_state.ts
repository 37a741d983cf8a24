/**
 * States of a periodic task.
 *
 * @module
 */

/** End of a job that gets no more ticks: how it ends when its last run has ended. */
export type Ending =
  | { readonly kind: "finished" }
  | { readonly kind: "cancelled"; readonly reason: unknown }
  | { readonly kind: "failed"; readonly error: unknown };

/**
 * State of a job:
 *
 * - `"unstarted"`, `"unstarted-paused"`: its task has not had its first step.
 * - `"ticking"`: the next tick is planned.
 * - `"paused"`: no tick comes until it is resumed.
 * - {@linkcode Ending}: no tick comes any more. Runs may still be under way.
 */
export type PeriodicState =
  | "unstarted"
  | "unstarted-paused"
  | "ticking"
  | "paused"
  | Ending;

/** End of a job that was neither cancelled nor failed. */
export const FINISHED: Ending = { kind: "finished" };

/** Whether no tick comes any more. */
export function isEnding(state: PeriodicState): state is Ending {
  return typeof state === "object";
}

/** Whether the job is paused. */
export function isPaused(state: PeriodicState): boolean {
  return state === "paused" || state === "unstarted-paused";
}
