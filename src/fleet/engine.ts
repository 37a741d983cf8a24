/**
 * The interface between a {@linkcode RemoteExecutor} and a store of jobs: what an
 * engine for another system has to do.
 *
 *     add ─▶ waits ─▶ leased ─▶ returned, threw
 *             ▲ │       │ │
 *             │ │       │ └─ retry (after a delay), release, or the lease ran out
 *             └─┼───────┘
 *               └─▶ removed, by a cancellation
 *
 * The rules: a job runs at least once. At each moment one worker at most has the
 * lease on it, which the engine renews until the verdict is in, whatever the loop's
 * handlers do meanwhile, also after `stop()`. Each lease of a job has a larger fencing
 * token than those before it. The store refuses the verdict of a worker whose lease
 * is over.
 *
 * @module
 */

/** A value that can be written as JSON. */
export type Json =
  | string
  | number
  | boolean
  | null
  | readonly Json[]
  | { readonly [name: string]: Json };

/** A job for the store. */
export interface RemoteRequest {
  /** Id of the job. Adding a job again under its id changes nothing. */
  readonly id: string;
  /** Name of the job, for people who look into the store. */
  readonly name: string;
  /** The job itself. */
  readonly payload: Json;
  /** Priority as a number: higher first. 0 unless something else was said. */
  readonly rank: number;
  /** How long it waits before it can be leased. */
  readonly delayMs: number;
  /** How often the job is begun at most; more than 1 if a verdict may be "retry". */
  readonly attempts: number;
  /** While a job with the same key waits or runs, no other is added; null for none. */
  readonly dedupeKey: string | null;
}

/** How a job ended. */
export type RemoteOutcome =
  | { readonly kind: "returned"; readonly value: string }
  /** `error` is that of the verdict; null if the store lost it, or the failure is of its own making. */
  | {
    readonly kind: "threw";
    readonly error: string | null;
    readonly message: string;
  }
  /** The store has given up: too many workers died with it. */
  | { readonly kind: "abandoned"; readonly message: string }
  /** The job was taken out of the store. */
  | { readonly kind: "removed" };

/** Standing of a job in the store: its outcome; or it has none yet; or the store knows nothing of it. */
export type RemoteStanding = RemoteOutcome | { kind: "open" | "unknown" };

/** Verdict of a worker on a job that it has leased. */
export type RemoteVerdict =
  | { readonly kind: "returned"; readonly value: string }
  /** The job has failed for good. */
  | RemoteFailure & { readonly kind: "threw" }
  /** The job has failed, and is to be leased again after a delay. */
  | RemoteFailure & { readonly kind: "retry"; readonly delayMs: number }
  /**
   * The job goes back as if it had not been leased: for another worker at once, as
   * this one shuts down, or after a delay, as this one has no room.
   */
  | { readonly kind: "release"; readonly delayMs: number }
  /** The lease is lost, and nothing is to be said. */
  | { readonly kind: "lost" };

/** A failure, for the submitter and for people who look into the store. */
export interface RemoteFailure {
  /** The error, for the submitter only. */
  readonly error: string;
  /** Class and message. */
  readonly message: string;
  /** Stack, or the message where there is none. */
  readonly stack: string;
}

/** A job that this worker may run. */
export interface RemoteLease {
  /** Id of the job. */
  readonly id: string;
  /** Payload of its request. */
  readonly payload: Json;
  /** Larger in each later lease of this job. */
  readonly fencingToken: number;
  /** Number of attempts that have begun, this one included. Leases that were lost may or may not count. */
  readonly attempt: number;
  /** Called at most once, if the lease is lost before the verdict. Set by the worker. */
  onLost: (() => void) | null;
  /** Passes a value of `progress` on to the submitter. Values arrive in order, before the outcome. */
  progress(value: string): void;
}

/** Called by an engine, from anywhere, once it is open. Never throws. */
export interface EngineListener {
  /** Whether this program waits for a job: what happens to others need not be told. */
  awaits(id: string): boolean;
  /** A worker has leased a job. Need not be told. */
  begun(id: string): void;
  /** A job has progressed. */
  progressed(id: string, value: string): void;
  /** A job has ended. May be told of jobs of others, and more than once. */
  ended(id: string, outcome: RemoteOutcome): void;
  /** A submitter wants a job cancelled that some worker has leased. */
  cancelled(id: string, reason: string): void;
  /** The store is away, or has done something unexpected. Told as often as it happens. */
  failed(error: unknown): void;
}

/** Purposes and times with which an engine is opened. */
export interface EngineRoles {
  /** Whether jobs will be added. */
  readonly submits: boolean;
  /** Whether jobs will be leased. */
  readonly works: boolean;
  /** How long a lease holds that is not renewed. */
  readonly leaseMs: number;
  /** How many leases of one job may run out before the store gives it up. */
  readonly maxLostLeases: number;
  /** How long outcomes are kept. */
  readonly keepResultsMs: number;
  /** How long failed jobs are kept. */
  readonly keepFailedMs: number;
}

/** A store of jobs. */
export interface RemoteEngine {
  /** The store in messages, such as `BullMQ queue "mail"`. */
  readonly inWords: string;
  /** Whether the store is outside of the loop, so that a virtual clock stands still for it. */
  readonly isOutside: boolean;
  /**
   * Connects. Rejects if the store is not there; is called again then, after a delay.
   */
  open(listener: EngineListener, roles: EngineRoles): Promise<void>;
  /**
   * Adds jobs. Rejects if the store is away; all are added again then, those too that it has taken.
   *
   * @returns Their ids in the store: for a job that was not added as another one has its `dedupeKey`, the id of that.
   * An error for a job that the store will never take, such as one that is too large: its submitter gets it, and the others go on.
   */
  add(
    requests: readonly RemoteRequest[],
  ): Promise<readonly (string | Error)[]>;
  /**
   * Removes a job that waits, or has the worker told that has it.
   *
   * @returns Whether it was removed: it will not run.
   */
  cancel(id: string, reason: string): Promise<boolean>;
  /** Looks jobs up, for outcomes that were missed. */
  find(ids: readonly string[]): Promise<readonly RemoteStanding[]>;
  /**
   * Begins to lease jobs, and calls `run` for each, for so many at a time. Called once, after `open`.
   */
  work(
    concurrency: number,
    run: (lease: RemoteLease) => Promise<RemoteVerdict>,
  ): void;
  /** Leases no more jobs. Resolves when the verdicts of all that were leased are in. Leases are renewed until then. */
  stop(): Promise<void>;
  /** Lets go of all connections that the engine has made. May be called before `open` has resolved, and without `stop`. */
  close(): Promise<void>;
  /** Lets go of what `close` could not, as the store is away: called if `close` takes too long. Never throws. */
  abandon?(): void;
}
