/**
 * Worker of a pool, as the pool sees it: its state, its jobs, and what it tells.
 *
 * @module
 */
import type { AnyJob } from "./job.ts";
import type {
  LinkEnd,
  LinkListener,
  LinkStarter,
  NestedSpec,
  WorkerLink,
} from "./link.ts";
import type { PoolTimer } from "./pool_clock.ts";

/**
 * State of a worker: `"starting"` until it takes jobs; `"working"`; `"draining"`
 * while it ends the jobs that it has, and takes no more; `"closing"` when it was
 * told to end; `"killed"`; `"ended"`. A condemned worker, see `crew.ts`, is in the
 * state in which it was condemned, and takes no jobs.
 */
export type WorkerState =
  | "starting"
  | "working"
  | "draining"
  | "closing"
  | "killed"
  | "ended";

/** Why a pool kills a worker. */
export type KillReason = "start" | "cancelled" | "unresponsive" | "closing";

/** A pool, as its workers see it. */
export interface WorkerOwner {
  workerReady(worker: PoolWorker): void;
  jobReturned(worker: PoolWorker, job: AnyJob, value: unknown): void;
  jobThrew(worker: PoolWorker, job: AnyJob, error: unknown): void;
  /** A job submits another one. Throws if that cannot be taken. */
  jobNests(
    parent: AnyJob,
    spec: NestedSpec,
    onProgress: ((value: unknown) => void) | null,
  ): AnyJob;
  workerAnswered(worker: PoolWorker, usedBytes: number): void;
  workerEnded(worker: PoolWorker, end: LinkEnd): void;
}

/** A worker: its link, its state, and the jobs that it has. */
export class PoolWorker implements LinkListener {
  readonly #owner: WorkerOwner;
  readonly link: WorkerLink;
  state: WorkerState = "starting";
  /** Whether it is to be killed as soon as only jobs are left that did not end in time. */
  condemned = false;
  /** Why it was killed, if it was. */
  killedAs: KillReason | null = null;
  readonly jobs: Map<number, AnyJob> = new Map();
  /** How many jobs it has ended. */
  jobsDone = 0;
  /** Worker that is to replace it, and worker that it is to replace. */
  successor: PoolWorker | null = null;
  predecessor: PoolWorker | null = null;
  readonly startedMs: number;
  idleSinceMs = 0;
  /** Limit for the step that the worker itself has to make: to start, or to end. */
  timer: PoolTimer | null = null;

  // -- Life signs --

  /** When the ping was sent that was not answered yet; NaN if there is none. */
  pingedMs = NaN;
  /** When it was last asked for its memory. */
  askedMs = -Infinity;
  /** CPU time when it was last seen to have moved, and when that was. */
  cpuMs = NaN;
  movedMs = 0;
  /** Limit for the answer of a condemned worker. */
  wedgeTimer: PoolTimer | null = null;
  /** How long that was, if the worker is killed for it; null if it is not. */
  silentMs: number | null = null;

  constructor(owner: WorkerOwner, starter: LinkStarter, nowMs: number) {
    this.#owner = owner;
    this.startedMs = nowMs;
    this.link = starter(this);
  }

  /** Whether it takes jobs, or will once it has started. */
  get isActive(): boolean {
    return this.state === "starting" || this.accepts;
  }

  /** Whether it takes jobs. */
  get accepts(): boolean {
    return this.state === "working" && !this.condemned;
  }

  /** Whether all jobs that it has were to end and did not. */
  get hasOnlyOverdue(): boolean {
    for (const job of this.jobs.values()) if (!job.overdue) return false;
    return true;
  }

  /** Whether it has a job that was to end and did not. */
  get hasOverdue(): boolean {
    for (const job of this.jobs.values()) if (job.overdue) return true;
    return false;
  }

  /** Sends a ping, unless the answer to another one is outstanding. */
  ping(nowMs: number): void {
    if (!Number.isNaN(this.pingedMs)) return;
    this.pingedMs = this.movedMs = nowMs;
    this.cpuMs = this.link.cpuMs();
    this.link.ping();
  }

  clearTimers(): void {
    this.timer?.cancel();
    this.wedgeTimer?.cancel();
    this.timer = this.wedgeTimer = null;
  }

  // -- What the link tells --

  ready(): void {
    if (this.state === "starting") this.#owner.workerReady(this);
  }

  returned(id: number, value: unknown): void {
    const job = this.#take(id);
    if (job !== undefined) this.#owner.jobReturned(this, job, value);
  }

  threw(id: number, error: unknown): void {
    const job = this.#take(id);
    if (job !== undefined) this.#owner.jobThrew(this, job, error);
  }

  progressed(id: number, value: unknown): void {
    this.jobs.get(id)?.progressed(value);
  }

  nested(
    id: number,
    spec: NestedSpec,
    onProgress: ((value: unknown) => void) | null,
  ): AnyJob | null {
    const parent = this.jobs.get(id);
    if (parent === undefined) return null;
    return this.#owner.jobNests(parent, spec, onProgress);
  }

  answered(usedBytes: number): void {
    this.pingedMs = NaN;
    if (this.state !== "ended") this.#owner.workerAnswered(this, usedBytes);
  }

  ended(end: LinkEnd): void {
    if (this.state !== "ended") this.#owner.workerEnded(this, end);
  }

  /** Takes back a job that has ended here; undefined if another end of it came first. */
  #take(id: number): AnyJob | undefined {
    const job = this.jobs.get(id);
    if (job === undefined) return undefined;
    this.jobs.delete(id);
    job.leaveWorker();
    this.jobsDone++;
    return job;
  }
}
