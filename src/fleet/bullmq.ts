/**
 * Engine for BullMQ on Redis, whose classes are passed in.
 *
 * | Here | In BullMQ |
 * |---|---|
 * | lease | lock, renewed from here, until the last job has ended, also while the worker closes |
 * | fencing token | `attemptsStarted`, counted by the script that gives the lock |
 * | verdict | outcome of the processor; refused by Redis if the lock is another's or gone |
 * | retry | a failure with the delay as custom backoff |
 * | release | `moveToDelayed`, until now |
 * | dead worker | stalled job |
 * | priority 0 | 2^20, less for higher ones |
 * | cancellation | removal, or an event in the stream of the queue `<name>-cancel` |
 *
 * @module
 */
import { wallClockMs } from "../host/clock.ts";
import {
  checkOneOf,
  checkOptions,
  checkString,
  inspect,
} from "../loop/checks.ts";
import { getRunningLoop } from "../loop/current.ts";
import type { EventLoop } from "../loop/event_loop.ts";
import type { TimerHandle } from "../loop/timer_handle.ts";
import type {
  EngineListener,
  EngineRoles,
  Json,
  RemoteEngine,
  RemoteLease,
  RemoteOutcome,
  RemoteRequest,
  RemoteStanding,
  RemoteVerdict,
} from "./engine.ts";
import { RemoteExecutor } from "./remote_executor.ts";
import type { RemoteExecutorOptions } from "./remote_options.ts";

/** A class of BullMQ, of which Rota makes instances. */
export type BullmqClass<T> = new (name: string, ...rest: never[]) => T;

/** Part of BullMQ's backends that is used. */
export interface BullmqBackend {
  /** Adds an event to the stream of the queue. */
  publishEvent(fields: never, maxEvents: number): Promise<unknown>;
  /** Ends the connection that waits for jobs. */
  disconnectBlocking?(wait?: boolean): Promise<void>;
}

/** Part of BullMQ's classes that is used of all of them. */
export interface BullmqBase {
  /** Adds a listener. */
  on(event: never, listener: never): unknown;
  /** Waits for the connection. */
  waitUntilReady(): Promise<unknown>;
  /** Closes the connections that it has made. */
  close(): Promise<unknown>;
  /** Ends the connections at once. */
  disconnect(): Promise<void>;
  /** Returns the part that talks to the store. */
  getBackend(): BullmqBackend;
}

/** Part of BullMQ's `Job` that is used. */
export interface BullmqJob {
  /** Id of the job. */
  id?: string | undefined;
  /** Payload of the job. */
  data: unknown;
  /** Failed attempts so far. */
  attemptsMade: number;
  /** How often it has become active. */
  attemptsStarted: number;
  /** Message of the last failure. */
  failedReason: string;
  /** Stacks of failures. */
  stacktrace: string[] | null;
  /** Outcome of the processor. */
  returnvalue: unknown;
  /** When it ended. */
  finishedOn?: number | undefined;
  /** Sets the progress. */
  updateProgress(progress: never): Promise<void>;
  /** Puts the job back, to be taken from that moment on. */
  moveToDelayed(timestamp: number, token?: string): Promise<unknown>;
}

/** Part of BullMQ's `Queue` that is used. */
export interface BullmqQueue extends BullmqBase {
  /** Adds jobs. */
  addBulk(jobs: never): Promise<{ id?: string | undefined }[]>;
  /** Removes a job that is not active. */
  remove(id: string): Promise<number>;
  /** Looks a job up. */
  getJob(id: string): Promise<unknown>;
  /** Looks up where a job is. */
  getJobState(id: string): Promise<string>;
}

/** Part of BullMQ's `Worker` that is used. */
export interface BullmqWorker extends BullmqBase {
  /** Takes jobs until it is closed. */
  run(): Promise<void>;
  /** Renews locks; returns the ids of jobs whose lock is another's, or gone. */
  extendJobLocks(
    ids: string[],
    tokens: string[],
    durationMs: number,
  ): Promise<string[]>;
}

/** Options of {@linkcode bullmqExecutor}. */
export interface BullmqExecutorOptions extends RemoteExecutorOptions {
  /** The class of that name of the package `bullmq`. */
  readonly Queue: BullmqClass<BullmqQueue>;
  /** The class of that name of the package `bullmq`; may be left out with the role `"submit"`. */
  readonly Worker?: BullmqClass<BullmqWorker> | undefined;
  /** The class of that name of the package `bullmq`. */
  readonly QueueEvents: BullmqClass<BullmqBase>;
  /**
   * A client of `ioredis`, made with `maxRetriesPerRequest: null`, or what else BullMQ
   * takes. It stays open at the end; the connections that BullMQ makes after its model
   * are closed.
   */
  readonly connection: object;
  /**
   * Name of the queue. Programs with the same one are a fleet.
   *
   * @default {"rota"}
   */
  readonly queue?: string | undefined;
  /**
   * Prefix of all keys in Redis.
   *
   * @default {"bull"}
   */
  readonly prefix?: string | undefined;
}

const CREATE = "create a BullMQ executor";
/** Priority in BullMQ of jobs with priority 0; less is higher there. */
const PRIORITY_0 = 2 ** 20;
const PRIORITY_MAX = 2 ** 21 - 1;
/** Times that a lease is renewed while it would hold. */
const RENEWALS = 3;
/** Events that the stream of cancellations keeps. */
const CANCELLATIONS_MAX = 1_000;
/** Line of the stack of a failed job with its error, for the submitter. */
const ERROR_LINE = "\n    rota: ";
/** How soon BullMQ tries again to reach a server that is away. */
const RETRY_MS = 1_000;
/** How long an idle worker of BullMQ waits at most for a job that it was not woken for. */
const DRAIN_SECONDS = 1;
/** States of jobs that can be removed. */
const WAITING = new Set(["waiting", "delayed", "prioritized", "paused"]);

/** A leased job of this worker. */
interface Held {
  readonly lease: RemoteLease;
  readonly token: string;
  /** When its lease was last known to hold for a whole `leaseMs`. */
  renewedMs: number;
}

/** An error by which BullMQ tells what a processor wants. */
class Signal extends Error {
  readonly delayMs: number;

  constructor(name: string, message: string, stack: string, delayMs: number) {
    super(message);
    this.name = name;
    this.stack = stack;
    this.delayMs = delayMs;
  }
}

/** Engine over a queue of BullMQ. */
class BullmqEngine implements RemoteEngine {
  readonly inWords: string;
  readonly isOutside = true;
  readonly #options: BullmqExecutorOptions;
  readonly #name: string;
  readonly #prefix: string;
  readonly #loop: EventLoop = getRunningLoop();
  #queue: BullmqQueue | null = null;
  #worker: BullmqWorker | null = null;
  /** Queue whose stream has the cancellations, once there is one. */
  #cancelling: BullmqQueue | null = null;
  readonly #events: BullmqBase[] = [];
  /** All that is to be closed. */
  readonly #made: BullmqBase[] = [];
  #listener!: EngineListener;
  #roles!: EngineRoles;
  readonly #held = new Map<string, Held>();
  #renewal: TimerHandle | null = null;
  #isRenewing = false;
  #stopped: Promise<void> | null = null;

  constructor(options: BullmqExecutorOptions) {
    const { queue = "rota", prefix = "bull" } = options;
    this.#options = options;
    this.#name = queue;
    this.#prefix = prefix;
    this.inWords = `BullMQ queue "${queue}"`;
  }

  // -- Connections --

  async open(listener: EngineListener, roles: EngineRoles): Promise<void> {
    this.#listener = listener;
    this.#roles = roles;
    const { Queue } = this.#options;
    if (this.#queue === null) {
      this.#queue = this.#make(Queue, this.#name, {});
      if (roles.submits) this.#hear(this.#listen(this.#name));
      if (roles.works) this.#hearCancellations(this.#listen(this.#control));
    }
    await Promise.all(this.#made.map((made) => made.waitUntilReady()));
  }

  #listen(name: string): BullmqBase {
    // From the first event that is kept: those of the time until BullMQ listens would be missed.
    const from = { lastEventId: "0" };
    this.#events.push(this.#make(this.#options.QueueEvents, name, from));
    return this.#events.at(-1)!;
  }

  /** Name of the queue whose stream has the cancellations of running jobs. */
  get #control(): string {
    return `${this.#name}-cancel`;
  }

  #make<T extends BullmqBase>(
    Class: BullmqClass<T>,
    name: string,
    options: object,
    ...before: readonly unknown[]
  ): T {
    const { connection } = this.#options;
    const all = { connection, prefix: this.#prefix, ...options };
    const rest = [...before, all] as never[];
    const made = new Class(name, ...rest);
    this.#made.push(made);
    this.#on(made, "error", (error: unknown) => {
      // A job that has lost its lock is no fault of the store.
      if (!isLostLock(error)) this.#listener.failed(error);
    });
    return made;
  }

  #on<A extends unknown[]>(
    made: BullmqBase,
    event: string,
    fn: (...args: A) => void,
  ): void {
    made.on(event as never, fn as never);
  }

  // -- Submitting --

  async add(requests: readonly RemoteRequest[]): Promise<readonly string[]> {
    const jobs = requests.map((request) => this.#jobOf(request));
    const added = await this.#queue!.addBulk(jobs as never);
    return added.map(({ id }) => id!);
  }

  #jobOf(request: RemoteRequest) {
    const { id, name, payload, rank, delayMs, attempts, dedupeKey } = request;
    return {
      ...{ name: name === "" ? "job" : name, data: payload },
      opts: {
        jobId: id,
        priority: priorityOf(rank),
        ...(attempts > 1 && { attempts, backoff: { type: "rota" } }),
        ...(delayMs > 0 && { delay: Math.ceil(delayMs) }),
        ...(dedupeKey !== null && { deduplication: { id: dedupeKey } }),
      },
    };
  }

  #hear(events: BullmqBase): void {
    const listener = this.#listener;
    this.#on(events, "active", ({ jobId }: QueueEvent) => {
      if (listener.awaits(jobId)) listener.begun(jobId);
    });
    this.#on(events, "progress", ({ jobId, data }: QueueEvent) => {
      if (listener.awaits(jobId)) listener.progressed(jobId, String(data));
    });
    this.#on(events, "completed", ({ jobId, returnvalue }: QueueEvent) => {
      if (!listener.awaits(jobId)) return;
      const value = String(returnvalue);
      listener.ended(jobId, { kind: "returned", value });
    });
    this.#on(events, "failed", ({ jobId }: QueueEvent) => {
      if (listener.awaits(jobId)) this.#tellOutcome(jobId);
    });
    this.#on(events, "removed", ({ jobId }: QueueEvent) => {
      if (listener.awaits(jobId)) listener.ended(jobId, { kind: "removed" });
    });
  }

  /** Looks up the outcome of a job that has failed: the event has the message only. */
  async #tellOutcome(id: string): Promise<void> {
    try {
      const [standing] = await this.find([id]);
      if (standing!.kind === "open" || standing!.kind === "unknown") return;
      this.#listener.ended(id, standing as RemoteOutcome);
    } catch (error) {
      this.#listener.failed(error); // found with the next check
    }
  }

  find(ids: readonly string[]): Promise<readonly RemoteStanding[]> {
    return Promise.all(ids.map(async (id) => {
      const job = await this.#queue!.getJob(id) as BullmqJob | null | undefined;
      return standingOf(job ?? null);
    }));
  }

  async cancel(id: string, reason: string): Promise<boolean> {
    const queue = this.#queue!;
    const state = await queue.getJobState(id);
    if (WAITING.has(state) && await queue.remove(id) === 1) return true;
    if (state === "completed" || state === "failed") {
      await this.#tellOutcome(id);
      return false;
    }
    const { Queue } = this.#options;
    this.#cancelling ??= this.#make(Queue, this.#control, {});
    const event = { event: "cancel", jobId: id, reason };
    await this.#cancelling.getBackend()
      .publishEvent(event as never, CANCELLATIONS_MAX);
    return false;
  }

  // -- Working --

  #hearCancellations(events: BullmqBase): void {
    this.#on(events, "cancel", ({ jobId, reason }: QueueEvent) => {
      if (this.#held.has(jobId)) {
        this.#listener.cancelled(jobId, String(reason));
      }
    });
  }

  work(
    concurrency: number,
    run: (lease: RemoteLease) => Promise<RemoteVerdict>,
  ): void {
    const { leaseMs, maxLostLeases, keepResultsMs, keepFailedMs } = this.#roles;
    const process = (job: BullmqJob, token?: string) =>
      this.#process(job, token, run);
    const worker = this.#make(this.#options.Worker!, this.#name, {
      concurrency,
      autorun: false,
      lockDuration: leaseMs,
      // BullMQ's own renewal forgets a job when an earlier run of it ends here.
      skipLockRenewal: true,
      stalledInterval: Math.max(50, Math.floor(leaseMs / 2)),
      maxStalledCount: Math.min(maxLostLeases, Number.MAX_SAFE_INTEGER),
      runRetryDelay: RETRY_MS,
      drainDelay: DRAIN_SECONDS,
      removeOnComplete: keptFor(keepResultsMs),
      removeOnFail: keptFor(keepFailedMs),
      settings: {
        backoffStrategy: (_n: number, _type: string, error: unknown) =>
          error instanceof Signal ? error.delayMs : 0,
      },
    }, process);
    this.#worker = worker;
    worker.run().catch((error) => this.#listener.failed(error));
  }

  async #process(
    job: BullmqJob,
    token: string | undefined,
    run: (lease: RemoteLease) => Promise<RemoteVerdict>,
  ): Promise<string> {
    const id = job.id!;
    let told: Promise<unknown> | null = null;
    const lease: RemoteLease = {
      id,
      payload: job.data as Json,
      fencingToken: job.attemptsStarted,
      attempt: job.attemptsMade + 1,
      onLost: null,
      progress: (value) => {
        // Values are told in order: the last of them is enough to wait for.
        told = job.updateProgress(value as never).catch(() => {});
      },
    };
    this.#lose(id); // an earlier lease on it, of which nobody has told
    const held = { lease, token: token!, renewedMs: this.#loop.time() };
    this.#held.set(id, held);
    this.#renewLater();
    const verdict = await run(lease);
    if (this.#held.get(id) === held) this.#held.delete(id);
    if (told !== null) await told;
    // No more promises than that for the usual case.
    if (verdict.kind === "returned") return verdict.value;
    return await this.#handIn(job, token, verdict);
  }

  /** Turns any other verdict into what BullMQ expects of a processor. */
  async #handIn(
    job: BullmqJob,
    token: string | undefined,
    verdict: Exclude<RemoteVerdict, { readonly kind: "returned" }>,
  ): Promise<never> {
    switch (verdict.kind) {
      case "threw":
      case "retry": {
        const { kind, message, stack, error } = verdict;
        const delayMs = kind === "retry" ? verdict.delayMs : 0;
        const name = kind === "retry" ? "Error" : "UnrecoverableError";
        throw new Signal(name, message, stack + ERROR_LINE + error, delayMs);
      }
      case "release":
        await this.#release(job, token, verdict.delayMs);
        throw new Signal("WaitingError", "released", "", 0);
      case "lost":
        throw new Signal("WaitingError", "the lease is lost", "", 0);
    }
  }

  async #release(
    job: BullmqJob,
    token: string | undefined,
    delayMs: number,
  ): Promise<void> {
    try {
      // Not moveToWait(), which wakes nobody for a job that has a priority.
      await job.moveToDelayed(wallClockMs() + delayMs, token);
    } catch (error) {
      // The job is still active then, and goes back when its lock has run out.
      if (!isLostLock(error)) this.#listener.failed(error);
    }
  }

  #lose(id: string): void {
    const held = this.#held.get(id);
    if (held === undefined) return;
    this.#held.delete(id);
    held.lease.onLost?.();
  }

  /** Renews all leases, several times in the time that they hold. */
  #renewLater(): void {
    if (this.#renewal !== null) return;
    this.#renewal = this.#loop.callLater(this.#roles.leaseMs / RENEWALS, () => {
      this.#renewal = null;
      this.#renew();
      if (this.#held.size > 0) this.#renewLater();
    });
  }

  async #renew(): Promise<void> {
    const { leaseMs } = this.#roles;
    const nowMs = this.#loop.time();
    for (const [id, { renewedMs }] of this.#held) {
      if (nowMs - renewedMs > leaseMs) this.#lose(id); // Redis is away
    }
    const all = [...this.#held];
    if (this.#isRenewing || all.length === 0) return;
    this.#isRenewing = true;
    try {
      const lost = new Set(
        await this.#worker!.extendJobLocks(
          all.map(([id]) => id),
          all.map(([, { token }]) => token),
          leaseMs,
        ),
      );
      for (const [id, held] of all) {
        if (!lost.has(id)) held.renewedMs = nowMs;
        else if (this.#held.get(id) === held) this.#lose(id);
      }
    } catch (error) {
      this.#listener.failed(error); // tried again soon
    } finally {
      this.#isRenewing = false;
    }
  }

  // -- The end --

  stop(): Promise<void> {
    const worker = this.#worker;
    if (worker === null) return Promise.resolve();
    return this.#stopped ??= worker.close().then(() => {});
  }

  async close(): Promise<void> {
    this.#renewal?.cancel();
    await Promise.all(this.#made.map((made) => made.close()));
  }

  abandon(): void {
    // The client that was passed in goes on; those that were made after it end.
    for (const made of this.#made) {
      made.getBackend().disconnectBlocking?.(false).catch(() => {});
    }
    for (const events of this.#events) events.disconnect().catch(() => {});
  }
}

/** Event of a queue: each kind has other fields. */
interface QueueEvent {
  readonly jobId: string;
  readonly data?: unknown;
  readonly returnvalue?: unknown;
  readonly reason?: string;
}

function priorityOf(rank: number): number {
  const priority = PRIORITY_0 - Math.round(rank);
  return Math.min(Math.max(priority, 1), PRIORITY_MAX);
}

/** How long BullMQ keeps what has ended; `false` is for ever. */
function keptFor(ms: number): false | { age: number } {
  return ms === Infinity ? false : { age: Math.ceil(ms / 1_000) };
}

/** Whether an error says that a job has no lock any more, or another worker's. */
function isLostLock(error: unknown): boolean {
  const { message } = error as Error;
  return /^(could not renew lock|Missing lock|Lock mismatch|Missing key for job)/
    .test(message);
}

function standingOf(job: BullmqJob | null): RemoteStanding {
  if (job === null) return { kind: "unknown" };
  if (job.finishedOn === undefined) return { kind: "open" };
  if (typeof job.returnvalue === "string") {
    return { kind: "returned", value: job.returnvalue };
  }
  const message = job.failedReason;
  if (message.startsWith("job stalled more than")) {
    return { kind: "abandoned", message };
  }
  const stack = job.stacktrace?.at(-1) ?? "";
  const at = stack.lastIndexOf(ERROR_LINE);
  const error = at < 0 ? null : stack.slice(at + ERROR_LINE.length);
  return { kind: "threw", error, message };
}

/**
 * Makes an executor whose jobs go through a queue of BullMQ, on Redis.
 *
 * BullMQ and its client are passed in. Jobs are ordinary jobs of BullMQ, which its
 * tools show; jobs that others have added to the queue fail with a
 * {@linkcode JobVersionError}, so give it a queue of its own.
 *
 * Redis keeps no more than it is told to: have it write to disk (`appendonly yes`),
 * with `maxmemory-policy noeviction`. A job that Redis has lost is added again if its
 * submitter still waits for it; its fencing tokens begin with 1 again then, so a
 * server that forgets cannot fence.
 *
 * Priorities are rounded to whole numbers, from -1,048,575 to 1,048,575.
 *
 * @example A job queue on Redis
 * ```ts ignore
 * import { bullmqExecutor, run, taskModule } from "@rota/rota";
 * import { Queue, QueueEvents, Worker } from "bullmq";
 * import { Redis } from "ioredis";
 *
 * const jobs = taskModule<typeof import("./jobs.ts")>(
 *   new URL("./jobs.ts", import.meta.url),
 * );
 * const connection = new Redis({ maxRetriesPerRequest: null });
 * await run(async () => {
 *   await using fleet = bullmqExecutor({ Queue, QueueEvents, Worker, connection });
 *   console.log(await fleet.submit(jobs.resize, ["cat.png"]));
 * });
 * connection.disconnect();
 * ```
 *
 * @param options Classes, connection, role and so on.
 * @returns The executor.
 * @throws {TypeError} If a class or the connection is missing, or an option is of the wrong type.
 * @throws {RangeError} If a number is out of range.
 * @throws {MisuseError} If no loop is running.
 */
export function bullmqExecutor(options: BullmqExecutorOptions): RemoteExecutor {
  checkOptions(options, CREATE);
  const { role = "both", queue = "rota", prefix = "bull" } = options;
  checkOneOf(role, ["both", "submit", "work"], CREATE, "role");
  checkString(queue, CREATE, "queue");
  checkString(prefix, CREATE, "prefix");
  if (queue === "" || queue.includes(":")) {
    throw new RangeError(
      `Cannot ${CREATE} as queue must be a name without a colon: received ${
        JSON.stringify(queue)
      }`,
    );
  }
  checkClass(options.Queue, "Queue");
  checkClass(options.QueueEvents, "QueueEvents");
  if (role !== "submit") checkClass(options.Worker, "Worker");
  checkConnection(options.connection);
  return new RemoteExecutor(new BullmqEngine(options), options);
}

function checkClass(value: unknown, name: string): void {
  if (typeof value === "function") return;
  throw new TypeError(
    `Cannot ${CREATE} as ${name} must be the class of the package bullmq: received ${
      inspect(value)
    }`,
  );
}

function checkConnection(connection: unknown): void {
  if (typeof connection !== "object" || connection === null) {
    throw new TypeError(
      `Cannot ${CREATE} as connection must be a client of ioredis: received ${
        inspect(connection)
      }`,
    );
  }
  const { options } = connection as { options?: Record<string, unknown> };
  const retries = options?.maxRetriesPerRequest;
  if (typeof retries !== "number" || retries === 0) return;
  throw new TypeError(
    `Cannot ${CREATE} as connection must be made with maxRetriesPerRequest: null: received ${retries}`,
  );
}
