/**
 * Children as a supervisor is told of them: what to start, when to restart it, how
 * to stop it.
 *
 * @module
 */
import { ChildSpecError } from "../errors.ts";
import {
  checkFunction,
  checkNotNegative,
  checkOneOf,
  checkOptions,
  checkString,
  inspect,
} from "../loop/checks.ts";
import { checkPositive } from "../workers/checks.ts";
import { Backoff, type BackoffOptions } from "./backoff.ts";
import type { ChildRun } from "./child_run.ts";

/**
 * When a child that has ended is started again:
 *
 * - `"permanent"`: always;
 * - `"transient"`: if it has crashed or was cancelled by somebody else, so not
 *   after a `"normal"` or a `"shutdown"`;
 * - `"temporary"`: never; the supervisor forgets it.
 */
export type RestartType = "permanent" | "transient" | "temporary";

/**
 * How a supervisor ends a child: milliseconds that it has to end after it was
 * asked to, by cancellation, before it is killed; `Infinity` for all the time it
 * needs; `"brutal-kill"` to kill it at once.
 */
export type ShutdownType = number | "brutal-kill";

/** Whether a child is a supervisor or anything else. */
export type ChildType = "worker" | "supervisor";

/**
 * Function that starts a child.
 *
 * It runs in a task of its own: a generator function, an async function or a plain
 * function. With a parameter, it has to call that, `started(value)`, once the child
 * is ready; what throws before that is a failed start. Without one the child is
 * ready when the function waits for the first time.
 *
 * A plain result ends the child. A {@linkcode Supervisable} that it returns, such as
 * a {@linkcode Supervisor}, is the child from then on. {@linkcode ignore} says that
 * the child is not to run.
 *
 * @typeParam V Type of the value that the child hands over when it is ready.
 */
export type ChildStart<V = unknown> = (
  started: (value?: V) => void,
  run: ChildRun,
) => unknown;

/** How children of one kind are started, restarted and stopped. */
export interface ChildOptions {
  /**
   * When the child is started again.
   *
   * @default {"permanent"}
   */
  readonly restart?: RestartType | undefined;
  /**
   * How the child is ended.
   *
   * @default {5_000, for supervisors Infinity}
   */
  readonly shutdown?: ShutdownType | undefined;
  /**
   * Whether its end is one that `autoShutdown` looks at. Not for permanent
   * children, nor with `autoShutdown: "never"`.
   *
   * @default {false}
   */
  readonly significant?: boolean | undefined;
  /**
   * `"supervisor"` if the child is one.
   *
   * @default {"worker"}
   */
  readonly type?: ChildType | undefined;
  /**
   * Delays of its restarts, in place of those of the supervisor; `null` for none.
   *
   * @default {that of the supervisor}
   */
  readonly backoff?: BackoffOptions | null | undefined;
  /**
   * How long it may go without calling {@linkcode ChildRun.heartbeat}, in
   * milliseconds, from the moment it is ready. A child that is silent for longer
   * is killed, and has crashed with a {@linkcode HeartbeatLostError}. Time in which
   * the loop did not turn, as the machine was suspended, does not count.
   *
   * @default {none}
   */
  readonly heartbeatMs?: number | undefined;
  /**
   * Whether the child may be started again while an earlier run of it, which could
   * not be ended and was abandoned, still goes on.
   *
   * @default {false}
   */
  readonly allowOverlap?: boolean | undefined;
}

/**
 * A child of a {@linkcode Supervisor}.
 *
 * @typeParam V Type of the value that the child hands over when it is ready.
 */
export interface ChildSpec<V = unknown> extends ChildOptions {
  /** Name of the child, unique in its supervisor. */
  readonly id: string;
  /** Starts the child. */
  readonly start: ChildStart<V>;
}

const RESTARTS: readonly RestartType[] = [
  "permanent",
  "transient",
  "temporary",
];
const TYPES: readonly ChildType[] = ["worker", "supervisor"];
const BOOLEANS: readonly boolean[] = [true, false];
const WORKER_SHUTDOWN_MS = 5_000;

/** The options of a child, checked, each with its value. All children of a dynamic supervisor share one. */
export class ChildSettings {
  readonly restart: RestartType;
  readonly shutdown: ShutdownType;
  readonly significant: boolean;
  readonly type: ChildType;
  readonly backoff: Backoff | null;
  /** `Infinity` if there is to be no heartbeat. */
  readonly heartbeatMs: number;
  readonly allowOverlap: boolean;

  /**
   * Checks the options and fills in the defaults.
   *
   * @param id Id of the child in messages.
   * @param backoff That of the supervisor.
   * @param what The refused action in messages.
   */
  constructor(
    options: ChildOptions,
    id: string,
    backoff: Backoff | null,
    what: string,
  ) {
    const { restart = "permanent", significant = false, type = "worker" } =
      options;
    checkOneOf(restart, RESTARTS, what, "restart");
    checkOneOf(significant, BOOLEANS, what, "significant");
    checkOneOf(type, TYPES, what, "type");
    const shutdown = options.shutdown ??
      (type === "supervisor" ? Infinity : WORKER_SHUTDOWN_MS);
    checkShutdown(shutdown, type, id, what);
    const { heartbeatMs = Infinity, allowOverlap = false } = options;
    checkPositive(heartbeatMs, what, "heartbeatMs");
    checkOneOf(allowOverlap, BOOLEANS, what, "allowOverlap");
    this.restart = restart;
    this.shutdown = shutdown;
    this.significant = significant;
    this.type = type;
    this.backoff = options.backoff === undefined
      ? backoff
      : options.backoff === null
      ? null
      : new Backoff(options.backoff, what);
    this.heartbeatMs = heartbeatMs;
    this.allowOverlap = allowOverlap;
  }
}

function checkShutdown(
  shutdown: unknown,
  type: ChildType,
  id: string,
  what: string,
): void {
  if (shutdown === "brutal-kill") {
    if (type !== "supervisor") return;
    throw new ChildSpecError(
      `Cannot ${what} as shutdown of supervisor "${id}" must be a number of milliseconds: received "brutal-kill", by which its children would be left behind`,
      "brutal-kill",
      id,
    );
  }
  if (typeof shutdown === "string") {
    throw new TypeError(
      `Cannot ${what} as shutdown must be "brutal-kill" or a number of milliseconds: received ${
        inspect(shutdown)
      }`,
    );
  }
  checkNotNegative(shutdown, what, "shutdown");
}

/** Checks what every spec needs, apart from its options: an id and a function. */
export function checkSpec(spec: ChildSpec, what: string): void {
  checkOptions(spec, what, "spec");
  checkString(spec.id, what, "id");
  if (typeof spec.start === "function") return;
  checkFunction(spec.start, what, `start of child ${inspect(spec.id)}`);
}

/** Throws if a child is significant and its supervisor or its restart type has no use for that. */
export function checkSignificance(
  settings: ChildSettings,
  id: string,
  autoShutdown: string,
  what: string,
): void {
  if (!settings.significant) return;
  if (settings.restart !== "permanent" && autoShutdown !== "never") return;
  const why = settings.restart === "permanent"
    ? 'restart is "permanent"'
    : 'autoShutdown of its supervisor is "never"';
  throw new ChildSpecError(
    `Cannot ${what} as child "${id}" must not be significant if ${why}: received significant: true`,
    "bad-combination",
    id,
  );
}

/** Whether a start has to call `started` before its child is ready: if it has a parameter by which it can. */
export function saysStarted(start: ChildStart): boolean {
  return start.length > 0;
}
