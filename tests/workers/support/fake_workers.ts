/**
 * Workers that do what a test says, for the part of the pools that does not know
 * of threads and processes.
 *
 * @module
 */
import { assert } from "@std/assert";
import type {
  JobSpec,
  LinkEnd,
  LinkListener,
  LinkStarter,
  WorkerLink,
} from "../../../src/workers/link.ts";
import { PoolCore } from "../../../src/workers/pool_core.ts";
import {
  type PoolOptions,
  settlePoolOptions,
} from "../../../src/workers/pool_options.ts";
import { ManualClock } from "./manual_clock.ts";

/** A worker that a test plays. */
export class FakeWorker implements WorkerLink {
  readonly listener: LinkListener;
  readonly index: number;
  /** Names of the jobs that it was sent, and what it has of them by id. */
  readonly sent: string[] = [];
  readonly sentIds: number[] = [];
  readonly has: Map<number, JobSpec> = new Map();
  readonly aborted: { readonly id: number; readonly reason: unknown }[] = [];
  state: "starting" | "ready" | "ended" = "starting";
  pings = 0;
  isClosed = false;
  isKilled = false;
  cpu = NaN;
  lives: boolean | undefined = false;
  /** Thrown by the next `send`. */
  refusal: unknown = undefined;

  constructor(listener: LinkListener, index: number) {
    this.listener = listener;
    this.index = index;
  }

  // -- What the pool asks for --

  send(job: JobSpec): void {
    assert(this.state === "ready", "a job for a worker that is not ready");
    assert(!this.isKilled && !this.isClosed, "a job for a worker that ends");
    if (this.refusal !== undefined) {
      const error = this.refusal;
      this.refusal = undefined;
      throw error;
    }
    const { id, name, task, args, transfer, remainingMs, locals } = job;
    this.sent.push(name);
    this.sentIds.push(id);
    this.has.set(id, { id, name, task, args, transfer, remainingMs, locals });
  }

  abort(id: number, reason: unknown): void {
    this.aborted.push({ id, reason });
  }

  ping(): void {
    this.pings++;
  }

  close(): void {
    this.isClosed = true;
  }

  kill(): void {
    this.isKilled = true;
  }

  cpuMs(): number {
    return this.cpu;
  }

  livesOn(): boolean | undefined {
    return this.lives;
  }

  // -- What the test has it do --

  ready(): this {
    this.state = "ready";
    this.listener.ready();
    return this;
  }

  /** The id of a job by its name; of the first job without one. */
  idOf(name?: string): number {
    for (const [id, job] of this.has) {
      if (name === undefined || job.name === name) return id;
    }
    throw new Error(`worker ${this.index} has no job ${name ?? ""}`);
  }

  returns(value: unknown, name?: string): void {
    const id = this.idOf(name);
    this.has.delete(id);
    this.listener.returned(id, value);
  }

  throws(error: unknown, name?: string): void {
    const id = this.idOf(name);
    this.has.delete(id);
    this.listener.threw(id, error);
  }

  progresses(value: unknown, name?: string): void {
    this.listener.progressed(this.idOf(name), value);
  }

  answers(usedBytes: number = 0): void {
    this.listener.answered(usedBytes);
  }

  ends(end: Partial<LinkEnd> = {}): void {
    assert(this.state !== "ended", "a worker that ends twice");
    this.state = "ended";
    this.has.clear();
    this.listener.ended({
      kind: end.kind ??
        (this.isKilled ? "killed" : this.isClosed ? "closed" : "exit"),
      exitCode: end.exitCode ?? null,
      cause: end.cause,
      unread: end.unread,
      unsent: end.unsent,
    });
  }
}

/** All workers that a pool has started. */
export class FakeWorkers {
  readonly all: FakeWorker[] = [];

  readonly start: LinkStarter = (listener) => {
    const worker = new FakeWorker(listener, this.all.length);
    this.all.push(worker);
    return worker;
  };

  /** The worker with an index. */
  at(index: number): FakeWorker {
    const worker = this.all[index];
    if (worker === undefined) throw new Error(`no worker ${index} was started`);
    return worker;
  }

  get last(): FakeWorker {
    return this.at(this.all.length - 1);
  }

  get left(): FakeWorker[] {
    return this.all.filter(({ state }) => state !== "ended");
  }

  /** Ends the workers that were told to end. */
  obey(): void {
    for (const worker of this.left) {
      if (worker.isClosed || worker.isKilled) worker.ends();
    }
  }
}

/** A pool with the workers and the clock of a test. */
export interface FakePool {
  readonly pool: PoolCore;
  readonly workers: FakeWorkers;
  readonly clock: ManualClock;
}

export const TASK = { module: "file:///jobs.ts", name: "job" } as const;

/** Makes a pool that is played by the test. */
export function fakePool(options: PoolOptions = {}): FakePool {
  const workers = new FakeWorkers();
  const clock = new ManualClock();
  const settings = settlePoolOptions(
    { backoff: { seed: 1 }, ...options },
    "create a pool",
    2,
  );
  const pool = new PoolCore(
    workers.start,
    settings,
    { pool: 'ThreadPool "test"', kind: "thread" },
    { clock },
  );
  return { pool, workers, clock };
}
