/**
 * The part of a remote executor that works: runs the functions of leased jobs in
 * an executor, and says what becomes of the jobs.
 *
 * | The run | Verdict |
 * |---|---|
 * | returned | returned, also if it was to be given back |
 * | threw, and may be tried again | retry |
 * | threw otherwise, was cancelled by its submitter, or is late | threw |
 * | was cancelled by a shutdown or the end of the run; or found no room | release |
 * | lost its lease | lost, whatever it has given |
 *
 * @module
 */
import {
  CancelledError,
  ExecutorShutDownError,
  JobVersionError,
  LeaseLostError,
  OverloadError,
  TimeoutError,
} from "../errors.ts";
import { wallClockMs } from "../host/clock.ts";
import type { EventLoop } from "../loop/event_loop.ts";
import type { Future } from "../loop/future.ts";
import type { SeededRandom } from "../structures/random.ts";
import { type JobLease, LEASE } from "../workers/current_job.ts";
import type { Executor, SubmitOptions } from "../workers/executor.ts";
import { type ModuleTask, taskModule } from "../workers/module_task.ts";
import { withoutSites } from "../workers/submit_site.ts";
import { withLocalsOf } from "../workers/transport.ts";
import type { RemoteLease, RemoteVerdict } from "./engine.ts";
import { encode, type Envelope, sealError, unseal } from "./envelope.ts";
import { retryDelayMs } from "./remote_options.ts";

/** Delay before a job comes back that the executor did not take. */
const NO_ROOM_MS = 100;

/** A function that the executor can call. */
type Callable = ModuleTask<readonly unknown[], unknown>;

/** Modules that are remembered. */
const MODULES_MAX = 1_000;

const sources = new Map<string, Callable>();
const modules = new Map<string, Readonly<Record<string, Callable>>>();

/** Returns an export as a task: the same object each time, which needs no check. */
function exportOf(module: string, name: string): Callable {
  let tasks = modules.get(module);
  if (tasks === undefined) {
    tasks = taskModule(module) as Readonly<Record<string, Callable>>;
    if (modules.size >= MODULES_MAX) modules.clear();
    modules.set(module, tasks);
  }
  return tasks[name] ?? { module, name };
}

/** Makes a module of a function that was sent by its source. */
function moduleOf(source: string): Callable {
  let task = sources.get(source);
  if (task === undefined) {
    const code = encodeURIComponent(`export default (${source}\n);`);
    const module = `data:text/javascript;charset=utf-8,${code}`;
    task = Object.freeze({ module, name: "default" });
    if (sources.size >= MODULES_MAX) sources.clear();
    sources.set(source, task);
  }
  return task;
}

/** A leased job that runs here. */
class Run {
  readonly lease: RemoteLease;
  readonly job: Envelope;
  readonly say: (verdict: RemoteVerdict) => void;
  future: Future<unknown> | null = null;
  /** Why it was cancelled here; null if it was not. */
  ending: "cancelled" | "released" | "lost" | null = null;

  constructor(
    lease: RemoteLease,
    job: Envelope,
    say: (verdict: RemoteVerdict) => void,
  ) {
    this.lease = lease;
    this.job = job;
    this.say = say;
  }

  end(ending: "cancelled" | "released" | "lost", reason: unknown): void {
    this.ending ??= ending;
    this.future?.cancel(reason);
  }
}

/** Runs leased jobs. */
export class Station {
  readonly #loop: EventLoop;
  readonly #executor: Executor;
  readonly #root: string | null;
  readonly #random: SeededRandom;
  readonly #runs = new Map<string, Run>();
  /** Whether it gives back what it gets: a store may lease a last job to it while it stops. */
  #isReleasing = false;

  constructor(
    loop: EventLoop,
    executor: Executor,
    root: string | null,
    random: SeededRandom,
  ) {
    this.#loop = loop;
    this.#executor = executor;
    this.#root = root;
    this.#random = random;
  }

  /** How many leased jobs have no verdict yet. */
  get running(): number {
    return this.#runs.size;
  }

  /** Runs a leased job. Called from anywhere. */
  run(lease: RemoteLease): Promise<RemoteVerdict> {
    const { promise, resolve } = Promise.withResolvers<RemoteVerdict>();
    if (this.#loop.isClosed()) resolve({ kind: "release", delayMs: 0 });
    else this.#loop.callSoon(beginRun, this, lease, resolve);
    return promise;
  }

  /** Begins with a leased job. */
  begin(lease: RemoteLease, say: (verdict: RemoteVerdict) => void): void {
    if (this.#isReleasing) return say({ kind: "release", delayMs: 0 });
    let job: Envelope;
    try {
      job = unseal(lease.payload, this.#root);
    } catch (error) {
      say({ kind: "threw", ...sealError(error) });
      return;
    }
    const run = new Run(lease, job, say);
    const older = this.#runs.get(lease.id);
    if (older !== undefined) loseRun(older); // of which the store has not told
    this.#runs.set(lease.id, run);
    lease.onLost = () => this.#loop.callSoon(loseRun, run);
    try {
      run.future = this.#submit(run);
    } catch (error) {
      this.#settle(run, this.#verdictOn(run, error));
      return;
    }
    run.future.addDoneCallback((future) => this.#finish(run, future));
  }

  #submit({ lease, job }: Run): Future<unknown> {
    const { id, fencingToken, attempt } = lease;
    const { name, dedupeKey, deadlineAtMs } = job;
    const leftMs = deadlineAtMs === Infinity
      ? Infinity
      : deadlineAtMs - wallClockMs();
    if (leftMs <= 0) {
      throw new TimeoutError(
        `Cannot run job "${name}": its deadline passed while it was in line`,
      );
    }
    const held: JobLease = { id, fencingToken, attempt, dedupeKey };
    const options: SubmitOptions = {
      name,
      deadlineMs: leftMs === Infinity ? undefined : this.#loop.time() + leftMs,
      onProgress: job.tellsProgress
        ? (value) => lease.progress(encode(value))
        : undefined,
    };
    const task = "source" in job.task
      ? moduleOf(job.task.source)
      : exportOf(job.task.module, job.task.name);
    return withLocalsOf(
      job.locals === null
        ? { [LEASE]: held }
        : { ...job.locals, [LEASE]: held },
      () => withoutSites(() => this.#executor.submit(task, job.args, options)),
    );
  }

  #finish(run: Run, future: Future<unknown>): void {
    let verdict: RemoteVerdict;
    try {
      verdict = { kind: "returned", value: encode(future.result()) };
    } catch (error) {
      verdict = this.#verdictOn(run, error);
    }
    this.#settle(run, verdict);
  }

  #settle(run: Run, verdict: RemoteVerdict): void {
    run.lease.onLost = null;
    if (this.#runs.get(run.lease.id) === run) this.#runs.delete(run.lease.id);
    run.say(run.ending === "lost" ? { kind: "lost" } : verdict);
  }

  #verdictOn(run: Run, error: unknown): RemoteVerdict {
    const { lease, job, ending } = run;
    if (ending === "released") return { kind: "release", delayMs: 0 };
    if (run.future === null && isRefusal(error)) {
      return { kind: "release", delayMs: NO_ROOM_MS };
    }
    const failure = sealError(error);
    const isFinal = ending !== null || isForGood(error, job) ||
      lease.attempt >= job.retry.attempts;
    if (isFinal) return { kind: "threw", ...failure };
    const delayMs = retryDelayMs(job.retry, lease.attempt, this.#random);
    return { kind: "retry", delayMs, ...failure };
  }

  /** A submitter wants a job cancelled. */
  cancel(id: string, reason: string): void {
    this.#runs.get(id)?.end("cancelled", new CancelledError(reason));
  }

  /** Returns all jobs to the store without waiting for them: no turn of the loop comes any more. */
  abandon(): void {
    for (const run of this.#runs.values()) {
      run.say({ kind: "release", delayMs: 0 });
    }
    this.#runs.clear();
  }

  /** Cancels all jobs that run, so that they go back to the store. */
  release(): void {
    this.#isReleasing = true;
    const reason = new CancelledError("the worker is shut down");
    for (const run of this.#runs.values()) run.end("released", reason);
  }
}

function beginRun(
  station: Station,
  lease: RemoteLease,
  say: (verdict: RemoteVerdict) => void,
): void {
  station.begin(lease, say);
}

function loseRun(run: Run): void {
  run.end(
    "lost",
    new LeaseLostError(
      `The lease on job "${run.job.name}" is lost: it was not renewed in time`,
    ),
  );
}

/** Whether an executor has no room for a job, or takes none any more. */
function isRefusal(error: unknown): boolean {
  return error instanceof OverloadError ||
    error instanceof ExecutorShutDownError;
}

/** Whether another attempt of a job would be in vain. */
function isForGood(error: unknown, job: Envelope): boolean {
  return error instanceof JobVersionError || error instanceof CancelledError ||
    (error instanceof TimeoutError && job.deadlineAtMs <= wallClockMs());
}
