/**
 * Timetable of a shutdown: the phases, and how the budget is shared out among them.
 *
 * Every phase has a moment by which it must be over, counted from the beginning of the shutdown. A phase that is over
 * before gives the rest of its time to those that follow, as their moments stay where they are.
 *
 * @module
 */

/**
 * Phase of a shutdown:
 *
 * - `"not-ready"`: health checks say so from now on.
 * - `"pre-stop"`: the balancer gets the time to notice, `preStopMs`.
 * - `"stop-intake"`: no new work is taken.
 * - `"drain"`: the work that was taken is finished.
 * - `"cancel"`: main and all other tasks are cancelled, with the reason.
 * - `"force"`: what has not stopped until now is ended by other means. Skipped if all has stopped.
 */
export type ShutdownPhase =
  | "not-ready"
  | "pre-stop"
  | "stop-intake"
  | "drain"
  | "cancel"
  | "force";

/** The phases of a shutdown, in their order. */
export const SHUTDOWN_PHASES: readonly ShutdownPhase[] = [
  "not-ready",
  "pre-stop",
  "stop-intake",
  "drain",
  "cancel",
  "force",
];

/** Times by phase, in milliseconds. */
export type PhaseTimes = Readonly<Record<ShutdownPhase, number>>;

/** Phases whose share of the budget can be set. Draining gets the rest. */
export type SharedPhase = Exclude<ShutdownPhase, "drain">;

/** Shares of what is left of the budget besides `preStopMs` and the shares that are set. */
const SHARES: Readonly<Record<SharedPhase, number>> = {
  "not-ready": 0.05,
  "pre-stop": 0.05,
  "stop-intake": 0.1,
  "cancel": 0.15,
  "force": 0.05,
};

/** Settings of a timetable. */
export interface TimetableOptions {
  /** Time for all phases together. */
  readonly budgetMs: number;
  /** The delay of the phase `"pre-stop"`. */
  readonly preStopMs: number;
  /** Shares that the program has set. */
  readonly sharesMs: Readonly<Partial<Record<SharedPhase, number>>>;
}

/**
 * Returns by when each phase must be over, in milliseconds from the beginning.
 *
 * @param what The action that is refused if the shares do not fit.
 * @throws {RangeError} If the shares that were set and `preStopMs` take more than the budget.
 */
export function timetableOf(
  { budgetMs, preStopMs, sharesMs }: TimetableOptions,
  what: string,
): PhaseTimes {
  const set = Object.values(sharesMs).reduce((sum, ms) => sum + ms, preStopMs);
  if (budgetMs === Infinity) return unlimited();
  if (set > budgetMs) {
    throw new RangeError(
      `Cannot ${what} as preStopMs and sharesMs must fit into budgetMs: ` +
        `received ${set} ms of ${budgetMs} ms`,
    );
  }
  const freeMs = budgetMs - set;
  const partOf = (phase: SharedPhase) =>
    sharesMs[phase] ?? SHARES[phase] * freeMs;
  const notReady = partOf("not-ready");
  const preStop = notReady + preStopMs + partOf("pre-stop");
  return {
    "not-ready": notReady,
    "pre-stop": preStop,
    "stop-intake": preStop + partOf("stop-intake"),
    // From behind, so that the last phases keep what they need.
    "drain": budgetMs - partOf("cancel") - partOf("force"),
    "cancel": budgetMs - partOf("force"),
    "force": budgetMs,
  };
}

/** Time that a phase has without a budget, from its own beginning: the share that is set, if one is. */
export function shareOf(
  phase: ShutdownPhase,
  { preStopMs, sharesMs }: Omit<TimetableOptions, "budgetMs">,
): number {
  if (phase === "drain") return Infinity;
  const shareMs = sharesMs[phase] ?? Infinity;
  return phase === "pre-stop" ? preStopMs + shareMs : shareMs;
}

function unlimited(): PhaseTimes {
  return {
    "not-ready": Infinity,
    "pre-stop": Infinity,
    "stop-intake": Infinity,
    "drain": Infinity,
    "cancel": Infinity,
    "force": Infinity,
  };
}
