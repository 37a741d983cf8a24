/**
 * Deaths of workers, in words and as errors.
 *
 * @module
 */
import { WorkerCrashError, type WorkerCrashKind } from "../errors.ts";
import type { LinkEnd } from "./link.ts";
import type { KillReason } from "./pool_worker.ts";

/** Names by which a pool is called in messages. */
export interface PoolNames {
  /** The pool, such as `ThreadPool` or `ThreadPool "images"`. */
  readonly pool: string;
  /** Word for its workers. */
  readonly kind: "thread" | "process" | "loop" | "store";
}

/** How a worker died, as its jobs and the exception handler are told. */
export interface WorkerDeath {
  readonly kind: WorkerCrashKind;
  readonly exitCode: number | null;
  readonly cause: unknown;
  /** The same in words, after "it". */
  readonly how: string;
}

/** Describes the end of a worker that has started, and has answered nothing for `silentMs` if it was killed for that. */
export function deathOf(
  end: LinkEnd,
  killedAs: KillReason | null,
  silentMs: number,
): WorkerDeath {
  const { exitCode, cause } = end;
  if (killedAs === "unresponsive") {
    const how = `answered nothing for ${silentMs} ms`;
    return { kind: "unresponsive", exitCode, cause, how };
  }
  // A worker that was told to end, and has jobs all the same, has ended itself.
  const kind = end.kind === "closed" ? "exit" : end.kind;
  return { kind, exitCode, cause, how: howOf(kind, exitCode, cause) };
}

/** Describes the end of a worker that has not started. */
export function startFailure(end: LinkEnd): WorkerDeath {
  const { kind, exitCode, cause } = end;
  const how = kind === "start"
    ? `could not start${causeInWords(cause)}`
    : `did not start: it ${
      howOf(kind === "closed" ? "exit" : kind, exitCode, cause)
    }`;
  return { kind: "start", exitCode, cause, how };
}

/** Describes a worker that was not ready in time. */
export function startTimeout(afterMs: number): WorkerDeath {
  const how = `was not ready after ${afterMs} ms`;
  return { kind: "start", exitCode: null, cause: undefined, how };
}

/** The error of a job, or of nobody's, for a death. */
export function crashError(
  names: PoolNames,
  jobInWords: string | null,
  death: WorkerDeath,
): WorkerCrashError {
  const { kind, exitCode, cause, how } = death;
  const { pool, kind: worker } = names;
  const message = jobInWords === null
    ? `A ${worker} of ${pool} ${how}`
    : kind === "start"
    ? `Cannot begin ${jobInWords}: no ${worker} of ${pool} could be started, the last one ${how}`
    : `Cannot finish ${jobInWords}: its ${worker} in ${pool} ${how}`;
  return new WorkerCrashError(
    message,
    kind,
    exitCode,
    cause === undefined ? undefined : { cause },
  );
}

function howOf(
  kind: WorkerCrashKind,
  exitCode: number | null,
  cause: unknown,
): string {
  const code = exitCode === null ? "" : ` with exit code ${exitCode}`;
  switch (kind) {
    case "error":
      return `died of an error that no job threw${causeInWords(cause)}`;
    case "rejection":
      return `died of a rejection that nobody handled${causeInWords(cause)}`;
    case "exit":
      return `ended itself${code}`;
    case "out-of-memory":
      return "had no memory left";
    case "killed":
      return `was killed${code}`;
    case "unresponsive":
      return "reacted no more";
    case "start":
      return `could not start${causeInWords(cause)}`;
    case "protocol":
      return `sent what nobody understands${causeInWords(cause)}`;
  }
}

/** The message of a cause, for the end of a sentence; "" if there is none. */
function causeInWords(cause: unknown): string {
  if (cause === undefined) return "";
  try {
    return `: ${cause instanceof Error ? cause.message : String(cause)}`;
  } catch {
    return ""; // an object without a prototype
  }
}
