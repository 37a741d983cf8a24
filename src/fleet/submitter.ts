/**
 * The part of a remote executor that submits jobs: to its pool of futures, the
 * store is a worker that takes any number of jobs.
 *
 *     send ─▶ outbox ─▶ being added ─▶ in the store ─▶ its outcome is told, or found
 *               ▲            │
 *               └────────────┘ the store did not take it: again after a delay
 *
 * @module
 */
import {
  CancelledError,
  RemoteStoreError,
  WorkerCrashError,
} from "../errors.ts";
import { wallClockMs } from "../host/clock.ts";
import { cancellation } from "../loop/cancellation.ts";
import type { EventLoop } from "../loop/event_loop.ts";
import type { Coroutine } from "../loop/task_body.ts";
import type { TimerHandle } from "../loop/timer_handle.ts";
import { until } from "../loop/until.ts";
import { ExponentialBackoff } from "../structures/backoff.ts";
import type { SeededRandom } from "../structures/random.ts";
import type { AnyJob } from "../workers/job.ts";
import type { JobSpec, LinkListener, WorkerLink } from "../workers/link.ts";
import type { JobSettings } from "../workers/submit_options.ts";
import type {
  RemoteEngine,
  RemoteOutcome,
  RemoteRequest,
  RemoteStanding,
} from "./engine.ts";
import { damaged, decode, seal, unsealError } from "./envelope.ts";
import type { RemoteJobSettings, RemoteSettings } from "./remote_options.ts";

/** Settings of a job of a fleet. */
export interface SubmittedSettings extends JobSettings {
  readonly remote: RemoteJobSettings;
}

/** The executor, as its submitter sees it. */
export interface SubmitterOwner {
  /** The store did something wrong: the first of a row of failures is reported. */
  storeFailed(error: unknown): void;
  /** The store has answered. */
  storeAnswered(): void;
}

/** Most jobs that are added, or looked up, at a time. */
const BATCH = 100;

/** A job that has been submitted and has not ended. */
interface Entry {
  /** Number of the job in the pool of futures. */
  readonly number: number;
  readonly request: RemoteRequest;
  /** Id of the job in the store; null before that has taken it. */
  storeId: string | null;
  /** Whether the store may have it, as it was sent there once. */
  offered: boolean;
  /** Whether its outcome is known. */
  told: boolean;
  begun: boolean;
  /** Set once it is to be cancelled. */
  ending: { readonly reason: unknown } | null;
  /** When the store must have taken it. */
  readonly takenByMs: number;
  /** Limit for its cancellation. */
  timer: TimerHandle | null;
}

/** Link to the store for the jobs of this program. */
export class Submitter implements WorkerLink {
  readonly #engine: RemoteEngine;
  readonly #loop: EventLoop;
  readonly #settings: RemoteSettings;
  readonly #owner: SubmitterOwner;
  readonly #random: SeededRandom;
  readonly #backoff = new ExponentialBackoff(50, 2, 2_000);
  readonly #prefix = crypto.randomUUID().slice(24);
  #listener: LinkListener | null = null;
  #lastNumber = 0;
  readonly #entries = new Map<number, Entry>();
  /** Entries by their ids in the store, or those that they will have. */
  readonly #byId = new Map<string, Entry[]>();
  #outbox: Entry[] = [];
  /** Entries that the store has not taken, the oldest first. */
  readonly #untaken = new Set<Entry>();
  #takeTimer: TimerHandle | null = null;
  #isOpen = false;
  #isFlushing = false;
  #failures = 0;
  #lastError: unknown = undefined;
  #retryTimer: TimerHandle | null = null;
  #checkTimer: TimerHandle | null = null;
  /** How many jobs some worker has begun. */
  running = 0;

  constructor(
    engine: RemoteEngine,
    loop: EventLoop,
    settings: RemoteSettings,
    owner: SubmitterOwner,
    random: SeededRandom,
  ) {
    this.#engine = engine;
    this.#loop = loop;
    this.#settings = settings;
    this.#owner = owner;
    this.#random = random;
  }

  // -- The pool of futures --

  /** Begins to serve the pool. */
  attach(listener: LinkListener): this {
    this.#listener = listener;
    this.#loop.callSoon(() => listener.ready());
    return this;
  }

  /** The store is open. */
  opened(): void {
    this.#isOpen = true;
    this.#flushSoon();
  }

  /** Takes a job of the pool: it is added with all others of this turn. */
  send(spec: JobSpec): void {
    const entry = this.#entryFor(spec as AnyJob);
    this.#entries.set(entry.number, entry);
    this.#byId.set(entry.request.id, [entry]);
    this.#untaken.add(entry);
    this.#limitLater();
    this.#outbox.push(entry);
    this.#flushSoon();
    this.#checkLater();
  }

  #entryFor(job: AnyJob): Entry {
    const settings = job.settings as SubmittedSettings;
    const { dedupeKey, delayMs, retry } = settings.remote;
    const { name, task, args, locals, remainingMs } = job;
    const payload = seal({
      name,
      task,
      args,
      locals,
      dedupeKey,
      retry,
      deadlineAtMs: remainingMs === Infinity
        ? Infinity
        : wallClockMs() + remainingMs,
      tellsProgress: settings.onProgress !== null,
    }, this.#settings.root);
    const id = `${this.#prefix}-${++this.#lastNumber}`;
    const { rank } = settings;
    const { attempts } = retry;
    const request = { id, name, payload, rank, delayMs, attempts, dedupeKey };
    return {
      number: job.id,
      request,
      storeId: null,
      ...{ offered: false, told: false },
      begun: false,
      ending: null,
      timer: null,
      takenByMs: this.#loop.time() + this.#settings.storeTimeoutMs,
    };
  }

  /**
   * A job is to be cancelled: at once if the store cannot have it, else in the store;
   * it ends when its end is told, or after `cancelGraceMs`.
   */
  abort(number: number, reason: unknown): void {
    const entry = this.#entries.get(number);
    if (entry === undefined || entry.ending !== null) return;
    entry.ending = { reason };
    this.#untaken.delete(entry);
    if (this.#leaveOutbox(entry)) {
      if (!entry.offered) {
        this.#loop.callSoon(() => this.#endAsAsked(entry));
        return;
      }
      entry.storeId = entry.request.id; // the store has it, or knows nothing of it
    }
    entry.timer = this.#loop.callLater(
      this.#settings.cancelGraceMs,
      () => this.#endAsAsked(entry),
    );
    if (entry.storeId !== null) this.#cancelLater(entry, entry.storeId);
  }

  /** Returns whether it was in the outbox. */
  #leaveOutbox(entry: Entry): boolean {
    const at = this.#outbox.indexOf(entry);
    if (at >= 0) this.#outbox.splice(at, 1);
    return at >= 0;
  }

  #endAsAsked(entry: Entry): void {
    const error = cancellation(entry.ending!.reason);
    this.#end(entry, (number) => this.#listener!.threw(number, error));
  }

  /** Ends an entry, unless it has ended. */
  #end(entry: Entry, tell: (number: number) => void): void {
    const { number, request, storeId } = entry;
    if (!this.#entries.delete(number)) return;
    entry.timer?.cancel();
    this.#untaken.delete(entry);
    if (entry.begun) this.running--;
    this.#forget(request.id, entry);
    if (storeId !== null && storeId !== request.id) {
      this.#forget(storeId, entry);
    }
    if (this.#entries.size === 0) this.#stopTimers();
    tell(number);
  }

  #forget(id: string, entry: Entry): void {
    const entries = this.#byId.get(id);
    if (entries === undefined) return;
    const left = entries.length === 1
      ? []
      : entries.filter((other) => other !== entry);
    if (left.length === 0) this.#byId.delete(id);
    else this.#byId.set(id, left);
  }

  #stopTimers(): void {
    this.#takeTimer?.cancel();
    this.#takeTimer = null;
    this.#checkTimer?.cancel();
    this.#checkTimer = null;
  }

  // -- Adding --

  #flushSoon(): void {
    if (!this.#isOpen || this.#isFlushing || this.#retryTimer !== null) return;
    this.#isFlushing = true;
    this.#loop.callSoon(() => {
      this.#isFlushing = false;
      while (this.#outbox.length > 0) {
        const batch = this.#outbox.splice(0, BATCH);
        this.#spawn(() => this.#add(batch));
      }
    });
  }

  /** Starts a task of the executor's own. */
  #spawn(body: () => Coroutine<void>): void {
    const name = this.#engine.inWords;
    const task = this.#loop.createTask(body, { name });
    task.addDoneCallback(() => {
      // Cancelled at the end of the run: the pool ends its jobs by itself.
      if (!task.cancelled()) task.result();
    });
  }

  *#add(batch: readonly Entry[]): Coroutine<void> {
    let ids: readonly (string | Error)[];
    for (const entry of batch) entry.offered = true;
    try {
      ids = yield* until(() =>
        this.#engine.add(batch.map(({ request }) => request))
      );
    } catch (error) {
      if (error instanceof CancelledError) throw error;
      this.#addFailed(batch, error);
      return;
    }
    this.#failures = 0;
    this.#owner.storeAnswered();
    batch.forEach((entry, index) => {
      const id = ids[index]!;
      if (typeof id === "string") this.#added(entry, id);
      else this.#refused(entry, id);
    });
  }

  #addFailed(batch: readonly Entry[], error: unknown): void {
    this.#lastError = error;
    this.#owner.storeFailed(error);
    const left = batch.filter(({ number }) => this.#entries.has(number));
    for (const entry of left) {
      if (entry.ending === null) continue;
      entry.storeId = entry.request.id; // it may have taken it all the same
      this.#cancelLater(entry, entry.storeId);
    }
    this.#outbox.unshift(...left.filter(({ ending }) => ending === null));
    if (this.#retryTimer !== null) return;
    const delayMs = this.#backoff.delayMs(++this.#failures, this.#random);
    this.#retryTimer = this.#loop.callLater(delayMs, () => {
      this.#retryTimer = null;
      this.#flushSoon();
    });
  }

  #added(entry: Entry, id: string): void {
    if (!this.#entries.has(entry.number)) {
      if (entry.told || this.#byId.has(id) || !this.#isOwn(id)) return;
      // The wait for it is over, and its submitter was told that it may run.
      this.#spawn(() => this.#cancel(id, "too late"));
      return;
    }
    entry.storeId = id;
    this.#untaken.delete(entry);
    if (entry.ending !== null) this.#cancelLater(entry, id);
    if (id === entry.request.id) return;
    // The job of another submission: it may have ended before this one knew of it.
    const others = this.#byId.get(id) ?? [];
    this.#byId.set(id, [...others, entry]);
    this.#spawn(() => this.#look([id]));
  }

  /** The store will never take a job. */
  #refused(entry: Entry, cause: Error): void {
    const error = new RemoteStoreError(
      `Cannot submit job "${entry.request.name}": ${this.#engine.inWords} refuses it: ${cause.message}`,
      { cause },
    );
    this.#end(entry, (number) => this.#listener!.threw(number, error));
  }

  /** Whether a job was added by this executor; else one of its submissions has joined it. */
  #isOwn(id: string): boolean {
    return id.startsWith(this.#prefix);
  }

  /** Sets the timer for the job that must be taken next. They are in that order. */
  #limitLater(): void {
    if (this.#takeTimer !== null) return;
    const [first] = this.#untaken;
    if (first === undefined) return;
    this.#takeTimer = this.#loop.callAt(first.takenByMs, () => {
      this.#takeTimer = null;
      for (const entry of this.#untaken) {
        if (entry.takenByMs > this.#loop.time()) break;
        this.#untaken.delete(entry);
        this.#notTaken(entry);
      }
      this.#limitLater();
    });
  }

  /** The store has not taken a job in time. */
  #notTaken(entry: Entry): void {
    const { storeTimeoutMs } = this.#settings;
    this.#leaveOutbox(entry);
    const error = new RemoteStoreError(
      `Cannot submit job "${entry.request.name}": ${this.#engine.inWords} did not take it within ${storeTimeoutMs} ms` +
        (entry.offered ? ", though it may run all the same" : ""),
      this.#lastError === undefined ? undefined : { cause: this.#lastError },
    );
    this.#end(entry, (number) => this.#listener!.threw(number, error));
  }

  // -- What the store tells: called on the loop --

  /** Whether this program waits for a job. */
  awaits(id: string): boolean {
    return this.#byId.has(id);
  }

  /** A worker has leased a job. */
  begun(id: string): void {
    for (const entry of this.#byId.get(id) ?? []) {
      if (entry.begun) continue;
      entry.begun = true;
      this.running++;
    }
    this.#repeatCancel(id);
  }

  /** A job has progressed. */
  progressed(id: string, value: string): void {
    for (const { number, request } of this.#byId.get(id) ?? []) {
      let progress: unknown;
      try {
        progress = decode(value);
      } catch (cause) {
        this.#owner.storeFailed(damaged("progress", request.name, cause));
        return;
      }
      this.#listener!.progressed(number, progress);
    }
  }

  /** A job has ended: so have all submissions that wait for it. Others are none of this program's. */
  ended(id: string, outcome: RemoteOutcome): void {
    for (const entry of this.#byId.get(id) ?? []) {
      const { ending, request } = entry;
      if (
        outcome.kind === "removed" && ending === null && request.id !== id
      ) {
        this.#offerAgain(entry, id); // whoever has added it does not want it any more
        continue;
      }
      entry.told = true;
      this.#end(entry, (number) => this.#tell(number, entry, outcome));
    }
  }

  #tell(number: number, entry: Entry, outcome: RemoteOutcome): void {
    const listener = this.#listener!;
    switch (outcome.kind) {
      case "returned": {
        let value: unknown;
        try {
          value = decode(outcome.value);
        } catch (cause) {
          const error = damaged("result", entry.request.name, cause);
          return listener.threw(number, error);
        }
        return listener.returned(number, value);
      }
      case "threw":
        return listener.threw(
          number,
          unsealError(outcome.error, outcome.message),
        );
      case "abandoned":
        return listener.threw(
          number,
          new WorkerCrashError(
            `Cannot finish job "${entry.request.name}": ${outcome.message}`,
            "unresponsive",
            null,
          ),
        );
      case "removed": {
        const reason = entry.ending?.reason ??
          `the job was removed from ${this.#engine.inWords}`;
        return listener.threw(number, cancellation(reason));
      }
    }
  }

  // -- Cancelling --

  /** Cancels a job in the store, unless others wait for it, or another program has added it. */
  #cancelLater(entry: Entry, id: string): void {
    const entries = this.#byId.get(id) ?? [];
    if (entries.some(({ ending }) => ending === null) || !this.#isOwn(id)) {
      this.#loop.callSoon(() => this.#endAsAsked(entry));
      return;
    }
    this.#spawn(() =>
      this.#cancel(id, cancellation(entry.ending!.reason).message)
    );
  }

  #repeatCancel(id: string): void {
    const entry = this.#byId.get(id)?.[0];
    if (entry?.ending && entry.storeId === id) this.#cancelLater(entry, id);
  }

  *#cancel(id: string, reason: string): Coroutine<void> {
    try {
      const removed = yield* until(() => this.#engine.cancel(id, reason));
      if (removed) this.ended(id, { kind: "removed" });
      else if (this.#byId.has(id)) yield* this.#lookForEnd(id);
    } catch (error) {
      if (error instanceof CancelledError) throw error;
      this.#owner.storeFailed(error); // repeated with the next check
    }
  }

  /** Finds out whether a job that is to be cancelled is there at all. */
  *#lookForEnd(id: string): Coroutine<void> {
    const [standing] = yield* until(() => this.#engine.find([id]));
    if (standing!.kind !== "open") this.#found(id, standing!);
  }

  // -- Looking jobs up --

  #checkLater(): void {
    if (this.#checkTimer !== null) return;
    this.#checkTimer = this.#loop.callLater(this.#settings.checkMs, () => {
      this.#checkTimer = null;
      this.#spawn(() => this.#check());
    });
  }

  /** Looks up all jobs, a batch at a time. */
  *#check(): Coroutine<void> {
    const ids = [...this.#byId].filter(([id, [entry]]) => entry!.storeId === id)
      .map(([id]) => id);
    for (let at = 0; at < ids.length; at += BATCH) {
      yield* this.#look(ids.slice(at, at + BATCH));
    }
    if (this.#entries.size > 0) this.#checkLater();
  }

  *#look(ids: readonly string[]): Coroutine<void> {
    let found: readonly RemoteStanding[];
    try {
      found = yield* until(() => this.#engine.find(ids));
    } catch (error) {
      if (error instanceof CancelledError) throw error;
      this.#owner.storeFailed(error);
      return;
    }
    this.#owner.storeAnswered();
    ids.forEach((id, index) => this.#found(id, found[index]!));
  }

  #found(id: string, standing: RemoteStanding): void {
    if (standing.kind === "open") this.#repeatCancel(id);
    else if (standing.kind !== "unknown") {
      this.ended(id, standing as RemoteOutcome);
    } else this.#lost(id);
  }

  /** The store has lost a job, or has dropped its outcome: it is added once more. */
  #lost(id: string): void {
    for (const entry of this.#byId.get(id) ?? []) {
      if (entry.storeId !== id) continue; // is being added once more already
      if (entry.ending !== null) this.#endAsAsked(entry);
      else this.#offerAgain(entry, id);
    }
  }

  /** Puts a job that is not in the store any more in the outbox. */
  #offerAgain(entry: Entry, id: string): void {
    if (id !== entry.request.id) this.#forget(id, entry);
    entry.storeId = null;
    this.#outbox.push(entry);
    this.#flushSoon();
  }

  // -- The rest of the link --

  ping(): void {
    this.#loop.callSoon(() => this.#listener!.answered(0));
  }

  close(): void {
    this.#stopTimers();
    this.#retryTimer?.cancel();
    this.#retryTimer = null;
    const end = { kind: "closed", exitCode: null, cause: undefined } as const;
    this.#loop.callSoon(() => this.#listener!.ended(end));
  }

  kill(): void {
    this.close(); // a store cannot be killed: nothing asks for it
  }

  cpuMs(): number {
    return NaN;
  }

  livesOn(): boolean {
    return false;
  }
}
