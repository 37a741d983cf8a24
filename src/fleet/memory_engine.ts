/**
 * A store of jobs in memory, and the engine for it: for tests, and as an example
 * of how an engine is written.
 *
 * @module
 */
import { RemoteStoreError } from "../errors.ts";
import { checkOptions, inspect } from "../loop/checks.ts";
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

/** A job in the store. */
interface StoredJob {
  readonly request: RemoteRequest;
  readonly payload: string;
  /** Place in line among jobs of its priority. */
  readonly order: number;
  state: "delayed" | "waiting" | "leased" | "ended";
  token: number;
  failures: number;
  lostLeases: number;
  holder: MemoryEngine | null;
  /** End of the delay, or of the lease. */
  timer: TimerHandle | null;
  outcome: RemoteOutcome | null;
}

/**
 * A store of jobs in the memory of this program, for tests: everything that a store
 * of a fleet does, on the clock of the loop, so that it works with virtual time.
 *
 * Any number of executors of one loop may share it. It can be taken away, and it
 * can end leases, to show what a program does then.
 *
 * @example A job whose lease is lost runs again
 * ```ts
 * import { run, sleep } from "@rota/rota/loop";
 * import { LoopExecutor } from "@rota/rota/workers";
 * import { memoryExecutor, MemoryStore } from "@rota/rota/fleet";
 * import { assertEquals } from "@std/assert";
 *
 * async function work(rota: string): Promise<number> {
 *   const { currentJob, sleep } = await import(rota);
 *   await sleep(1_000);
 *   return currentJob()!.lease!.fencingToken;
 * }
 *
 * const token = await run(async () => {
 *   const store = new MemoryStore();
 *   await using fleet = memoryExecutor({ store, executor: new LoopExecutor() });
 *   const job = fleet.submit(work, [import.meta.resolve("@rota/rota")]);
 *   await sleep(500);
 *   store.loseLeases();
 *   return await job;
 * }, { host: "virtual" });
 * assertEquals(token, 2);
 * ```
 */
export class MemoryStore {
  readonly #jobs = new Map<string, StoredJob>();
  readonly #keys = new Map<string, string>();
  readonly #engines = new Set<MemoryEngine>();
  #orders = 0;
  #isAway = false;

  /** Whether the store is away: it answers every call with an error, and leases run out. */
  get isAway(): boolean {
    return this.#isAway;
  }

  /** Takes the store away, or brings it back. */
  set isAway(isAway: boolean) {
    this.#isAway = isAway;
    if (!isAway) this.#wake();
  }

  /** How many jobs have not ended. */
  get size(): number {
    return [...this.#jobs.values()].filter(({ state }) => state !== "ended")
      .length;
  }

  /** Ends all leases, as if they had not been renewed in time. The workers learn of it when they next renew them, or say what became of the job. */
  loseLeases(): void {
    for (const job of this.#jobs.values()) {
      if (job.state === "leased") this.#expire(job);
    }
  }

  /**
   * Puts something in line that no submitter of this version has written.
   *
   * @param payload Payload that a worker will find.
   * @returns The id of the job.
   */
  inject(payload: Json): string {
    const id = crypto.randomUUID();
    const name = "injected";
    this.put(getRunningLoop(), {
      ...{ id, name, payload, rank: 0, delayMs: 0 },
      ...{ attempts: 1, dedupeKey: null },
    });
    return id;
  }

  // -- What engines call --

  /** @internal */
  join(engine: MemoryEngine): void {
    this.check();
    this.#engines.add(engine);
  }

  /** @internal */
  leave(engine: MemoryEngine): void {
    this.#engines.delete(engine);
  }

  /** @internal Throws if the store is away. */
  check(): void {
    if (this.#isAway) throw new RemoteStoreError("the memory store is away");
  }

  /** @internal Adds a job; returns its id, or that of another one with its key. */
  put(loop: EventLoop, request: RemoteRequest): string {
    const { id, dedupeKey, delayMs } = request;
    if (this.#jobs.has(id)) return id;
    const other = dedupeKey === null ? undefined : this.#keys.get(dedupeKey);
    if (other !== undefined) return other;
    if (dedupeKey !== null) this.#keys.set(dedupeKey, id);
    const job: StoredJob = {
      request,
      payload: JSON.stringify(request.payload),
      order: this.#orders++,
      state: "waiting",
      ...{ token: 0, failures: 0, lostLeases: 0 },
      ...{ holder: null, timer: null, outcome: null },
    };
    this.#jobs.set(id, job);
    this.#wait(loop, job, delayMs);
    return id;
  }

  /** Puts a job in line, after a delay. */
  #wait(loop: EventLoop, job: StoredJob, delayMs: number): void {
    job.timer?.cancel();
    job.timer = null;
    job.holder = null;
    job.state = delayMs > 0 ? "delayed" : "waiting";
    if (delayMs > 0) {
      job.timer = loop.callLater(delayMs, () => this.#wait(loop, job, 0));
    } else this.#wake();
  }

  #wake(): void {
    for (const engine of this.#engines) engine.wake();
  }

  /** @internal Leases the first job to an engine; null if none waits. */
  lease(engine: MemoryEngine): StoredJob | null {
    if (this.#isAway) return null;
    let first: StoredJob | null = null;
    for (const job of this.#jobs.values()) {
      if (job.state !== "waiting") continue;
      if (first === null || isBefore(job, first)) first = job;
    }
    if (first === null) return null;
    const job = first;
    job.state = "leased";
    job.holder = engine;
    job.token++;
    job.timer = engine.loop.callLater(
      engine.roles.leaseMs,
      () => this.#expire(job),
    );
    for (const { listener } of this.#engines) listener.begun(job.request.id);
    return job;
  }

  #expire(job: StoredJob): void {
    const { holder } = job;
    if (++job.lostLeases > holder!.roles.maxLostLeases) {
      const message = `its lease has run out ${job.lostLeases} times`;
      this.#end(job, { kind: "abandoned", message });
    } else this.#wait(holder!.loop, job, 0);
  }

  /** @internal Renews a lease. Returns false if it is over. */
  renew(engine: MemoryEngine, id: string, token: number): boolean {
    const job = this.#heldBy(engine, id, token);
    if (job === null) return false;
    job.timer!.reschedule(engine.loop.time() + engine.roles.leaseMs);
    return true;
  }

  #heldBy(engine: MemoryEngine, id: string, token: number): StoredJob | null {
    const job = this.#jobs.get(id);
    return job?.state === "leased" && job.holder === engine &&
        job.token === token
      ? job
      : null;
  }

  /** @internal Takes a verdict. Returns false, and changes nothing, if the lease is over. */
  commit(
    engine: MemoryEngine,
    id: string,
    token: number,
    verdict: RemoteVerdict,
  ): boolean {
    const job = this.#heldBy(engine, id, token);
    if (job === null) return false;
    if (verdict.kind === "returned" || verdict.kind === "threw") {
      this.#end(job, verdict);
    } else if (verdict.kind === "retry") {
      job.failures++;
      this.#wait(engine.loop, job, verdict.delayMs);
    } else if (verdict.kind === "release") {
      this.#wait(engine.loop, job, verdict.delayMs);
    }
    return true;
  }

  #end(job: StoredJob, outcome: RemoteOutcome): void {
    job.timer?.cancel();
    job.timer = null;
    job.state = "ended";
    job.outcome = outcome;
    const { id, dedupeKey } = job.request;
    if (dedupeKey !== null) this.#keys.delete(dedupeKey);
    for (const { listener } of this.#engines) listener.ended(id, outcome);
  }

  /** @internal Removes a job that waits, or tells its holder. */
  cancel(id: string, reason: string): boolean {
    const job = this.#jobs.get(id);
    if (job === undefined || job.state === "ended") return false;
    if (job.state === "leased") {
      job.holder!.listener.cancelled(id, reason);
      return false;
    }
    this.#end(job, { kind: "removed" });
    return true;
  }

  /** @internal */
  progress(id: string, value: string): void {
    for (const { listener } of this.#engines) listener.progressed(id, value);
  }

  /** @internal */
  find(id: string): RemoteStanding {
    const job = this.#jobs.get(id);
    if (job === undefined) return { kind: "unknown" };
    return job.outcome ?? { kind: "open" };
  }
}

function isBefore(a: StoredJob, b: StoredJob): boolean {
  if (a.request.rank !== b.request.rank) return a.request.rank > b.request.rank;
  return a.order < b.order;
}

/** Times that a lease is renewed while it would hold. */
const RENEWALS = 3;

/** Engine for a {@linkcode MemoryStore}. */
export class MemoryEngine implements RemoteEngine {
  readonly inWords = "the memory store";
  readonly isOutside = false;
  readonly loop: EventLoop = getRunningLoop();
  readonly #store: MemoryStore;
  listener!: EngineListener;
  roles!: EngineRoles;
  #run: ((lease: RemoteLease) => Promise<RemoteVerdict>) | null = null;
  #concurrency = 0;
  #leases = 0;
  #stopped: (() => void) | null = null;
  #isStopped = false;

  constructor(store: MemoryStore) {
    this.#store = store;
  }

  // deno-lint-ignore require-await
  async open(listener: EngineListener, roles: EngineRoles): Promise<void> {
    this.listener = listener;
    this.roles = roles;
    this.#store.join(this);
  }

  // deno-lint-ignore require-await
  async add(requests: readonly RemoteRequest[]): Promise<readonly string[]> {
    this.#store.check();
    return requests.map((request) => this.#store.put(this.loop, request));
  }

  // deno-lint-ignore require-await
  async cancel(id: string, reason: string): Promise<boolean> {
    this.#store.check();
    return this.#store.cancel(id, reason);
  }

  // deno-lint-ignore require-await
  async find(ids: readonly string[]): Promise<readonly RemoteStanding[]> {
    this.#store.check();
    return ids.map((id) => this.#store.find(id));
  }

  work(
    concurrency: number,
    run: (lease: RemoteLease) => Promise<RemoteVerdict>,
  ): void {
    this.#concurrency = concurrency;
    this.#run = run;
    this.wake();
  }

  /** There may be a job to lease. */
  wake(): void {
    if (this.#run !== null) this.loop.callSoon(() => this.#lease());
  }

  #lease(): void {
    while (!this.#isStopped && this.#leases < this.#concurrency) {
      const job = this.#store.lease(this);
      if (job === null) return;
      this.#leases++;
      this.#work(job, job.token);
    }
  }

  /** Has a job run, renews its lease meanwhile, and hands in the verdict. */
  async #work(job: StoredJob, token: number): Promise<void> {
    const { id } = job.request;
    const lease: RemoteLease = {
      id,
      payload: JSON.parse(job.payload),
      fencingToken: token,
      attempt: job.failures + 1,
      onLost: null,
      progress: (value) => this.#store.progress(id, value),
    };
    const renewal = this.#renew(lease, token);
    const verdict = await this.#run!(lease);
    renewal.cancel();
    this.#commit(id, token, verdict);
  }

  /** Renews a lease until it is cancelled. */
  #renew(lease: RemoteLease, token: number): { cancel(): void } {
    const everyMs = this.roles.leaseMs / RENEWALS;
    const { loop } = this;
    let isLost = false;
    const renew = () => {
      if (isLost) return;
      // While the store is away nobody can tell: it says so when it is back.
      if (
        this.#store.isAway || this.#store.renew(this, lease.id, token)
      ) timer = loop.callLater(everyMs, renew);
      else {
        isLost = true;
        lease.onLost?.();
      }
    };
    let timer = loop.callLater(everyMs, renew);
    return { cancel: () => timer.cancel() };
  }

  #commit(id: string, token: number, verdict: RemoteVerdict): void {
    if (this.#store.isAway && verdict.kind !== "lost") {
      this.loop.callLater(
        this.roles.leaseMs / RENEWALS,
        () => this.#commit(id, token, verdict),
      );
      return;
    }
    this.#store.commit(this, id, token, verdict);
    this.#leases--;
    if (this.#leases === 0) this.#stopped?.();
    this.#lease();
  }

  stop(): Promise<void> {
    this.#isStopped = true;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#stopped = resolve;
    if (this.#leases === 0) resolve();
    return promise;
  }

  // deno-lint-ignore require-await
  async close(): Promise<void> {
    this.#isStopped = true;
    this.#store.leave(this);
  }
}

/** Options of {@linkcode memoryExecutor}. */
export interface MemoryExecutorOptions extends RemoteExecutorOptions {
  /** The store, which several executors may share. */
  readonly store: MemoryStore;
}

/**
 * Makes an executor over a store in memory: for tests of programs whose jobs go to
 * a fleet.
 *
 * @param options The store, role and so on.
 * @returns The executor; see {@linkcode MemoryStore} for an example.
 * @throws {TypeError} If an option is of the wrong type.
 * @throws {RangeError} If a number is out of range.
 * @throws {MisuseError} If no loop is running.
 */
export function memoryExecutor(options: MemoryExecutorOptions): RemoteExecutor {
  const what = "create a memory executor";
  checkOptions(options, what);
  const { store } = options;
  if (!(store instanceof MemoryStore)) {
    throw new TypeError(
      `Cannot ${what} as store must be a MemoryStore: received ${
        inspect(store)
      }`,
    );
  }
  return new RemoteExecutor(new MemoryEngine(store), options);
}
