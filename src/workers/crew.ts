/**
 * Workers of a pool: when they are started, which one gets the next job, and how
 * they are replaced and ended.
 *
 * A job is overdue when it was to end, and its grace is over. Its worker can only be killed then, but may have other jobs.
 * So it is condemned: it takes no more jobs, and is judged again whenever one of its jobs ends. The worker is killed when only
 * overdue jobs are left, and pardoned when none of them is: then it takes jobs again, unless another worker has its place.
 * Meanwhile it is probed by pings, as a worker that does not react cannot end any job, and is killed with all of them.
 *
 * @module
 */
import { resourceWatch } from "../loop/resource_watch.ts";
import { startFailure, startTimeout, type WorkerDeath } from "./crash.ts";
import type { LinkEnd, LinkStarter } from "./link.ts";
import {
  CLOSE_MARGIN_MS,
  type PoolClock,
  type PoolTimer,
  setTimer,
} from "./pool_clock.ts";
import type { PoolSettings } from "./pool_options.ts";
import type { WorkerCounts } from "./pool_stats.ts";
import {
  type KillReason,
  PoolWorker,
  type WorkerOwner,
} from "./pool_worker.ts";
import { RestartLimit } from "./restart_limit.ts";

/** How long a condemned worker may answer nothing at least, whatever the grace is. */
const WEDGE_MIN_MS = 1_000;

/** A pool, as its crew sees it. */
export interface CrewOwner extends WorkerOwner {
  /** Called when workers can be started again, or have failed to start. */
  crewChanged(): void;
  /** Called when too many starts in a row have failed, and there is no worker. */
  crewGaveUp(death: WorkerDeath): void;
}

/** The workers of a pool. */
export class Crew {
  readonly #owner: CrewOwner;
  readonly #starter: LinkStarter;
  readonly #settings: PoolSettings;
  readonly #clock: PoolClock;
  readonly #limit: RestartLimit;
  /** All that have not ended. */
  readonly workers: Set<PoolWorker> = new Set();
  /** Workers that take jobs and have none; the one that became idle last is last. */
  readonly #idle: PoolWorker[] = [];
  #starting = 0;
  #accepting = 0;
  /** Set when no worker is to be started until there is another job. */
  #hasGivenUp = false;
  /** Last failure to start that nobody has been told of. */
  #untold: WorkerDeath | null = null;
  #idleTimer: PoolTimer | null = null;
  #restartTimer: PoolTimer | null = null;
  /** Whether the pool is being shut down: no worker stays without a job. */
  #isLeaving = false;

  constructor(
    owner: CrewOwner,
    starter: LinkStarter,
    settings: PoolSettings,
    clock: PoolClock,
  ) {
    this.#owner = owner;
    this.#starter = starter;
    this.#settings = settings;
    this.#clock = clock;
    this.#limit = new RestartLimit(settings);
  }

  /** For how many more jobs there is a worker, or could be one. */
  get slotsLeft(): number {
    const { maxWorkers, concurrency } = this.#settings;
    let taken = 0;
    for (const worker of this.workers) {
      if (worker.accepts) taken += worker.jobs.size;
    }
    return Math.max(maxWorkers * concurrency - taken, 0);
  }

  /** Counts the workers by state. */
  count(): WorkerCounts {
    const idle = this.#idle.length;
    return {
      starting: this.#starting,
      idle,
      busy: this.#accepting - idle,
      stopping: this.workers.size - this.#starting - this.#accepting,
    };
  }

  // -- Giving jobs --

  /** Returns a worker that has room for a job, which it is to be given now; null if there is none. */
  pick(): PoolWorker | null {
    const idle = this.#idle.pop();
    if (idle !== undefined) return idle;
    return this.#settings.concurrency === 1 ? null : this.#leastBusy();
  }

  #leastBusy(): PoolWorker | null {
    let best: PoolWorker | null = null;
    let least = this.#settings.concurrency;
    for (const worker of this.workers) {
      if (!worker.accepts || worker.jobs.size >= least) continue;
      best = worker;
      least = worker.jobs.size;
    }
    return best;
  }

  /** A worker has a job less than before, or has not got one after all. */
  freed(worker: PoolWorker, nowMs: number): void {
    if (worker.condemned) this.#judge(worker);
    if (worker.accepts) {
      if (worker.jobs.size === 0) this.#rests(worker, nowMs);
      if (worker.jobsDone >= this.#settings.recycleAfterJobs) {
        this.recycle(worker, nowMs);
      }
    } else if (worker.jobs.size === 0 && worker.state === "draining") {
      this.#close(worker);
    }
  }

  /** A job has ended: whatever was wrong before, workers work. */
  jobDone(): void {
    if (this.#limit.failures > 0) this.#limit.reset();
  }

  // -- Starting --

  /** Another job has come: what could not be started before may be tried again. */
  jobCame(): void {
    this.#hasGivenUp = false;
  }

  /** Starts workers for so many jobs in line, as far as that is allowed. */
  provide(inLine: number): void {
    const { minWorkers, maxWorkers, concurrency } = this.#settings;
    for (;;) {
      const active = this.#starting + this.#accepting;
      const isWanted = active < minWorkers && !this.#isLeaving ||
        inLine > (this.#starting === 0 ? 0 : this.#starting * concurrency);
      if (!isWanted || active >= maxWorkers || this.#hasGivenUp) return;
      // Attempts go one at a time, until a job has been done.
      if (this.#limit.failures > 0 && this.#starting > 0) return;
      if (!this.#mayStart(this.#clock.nowMs())) return;
      this.#start(null);
    }
  }

  /** Whether a worker may be started now; else the owner is called when it may. */
  #mayStart(nowMs: number): boolean {
    const waitMs = this.#limit.nextStartMs - nowMs;
    if (!(waitMs > 0)) return true;
    this.#restartTimer ??= setTimer(this.#clock, waitMs, () => {
      this.#restartTimer = null;
      this.#owner.crewChanged();
    });
    return false;
  }

  #start(predecessor: PoolWorker | null): void {
    const worker = new PoolWorker(
      this.#owner,
      this.#starter,
      this.#clock.nowMs(),
    );
    worker.predecessor = predecessor;
    if (predecessor !== null) predecessor.successor = worker;
    this.workers.add(worker);
    resourceWatch.current?.taken("worker", worker, this.#settings.name);
    this.#starting++;
    const { startTimeoutMs } = this.#settings;
    worker.timer = setTimer(this.#clock, startTimeoutMs, () => {
      worker.timer = null;
      this.kill(worker, "start");
      this.#failed(worker, startTimeout(startTimeoutMs));
    });
  }

  /** A worker that was starting takes jobs now. Returns the failure before that nobody was told of. */
  ready(worker: PoolWorker, nowMs: number): WorkerDeath | null {
    worker.clearTimers();
    worker.state = "working";
    this.#starting--;
    this.#accepting++;
    this.#rests(worker, nowMs);
    const { predecessor } = worker;
    if (predecessor !== null) {
      this.#part(worker);
      if (predecessor.state === "working") this.#drain(predecessor);
    }
    const untold = this.#untold;
    this.#untold = null;
    return untold;
  }

  /** Starts a worker that is to take the place of another one. */
  recycle(worker: PoolWorker, nowMs: number): void {
    if (
      worker.successor !== null || !worker.accepts || this.#isLeaving ||
      this.#hasGivenUp || this.#limit.nextStartMs > nowMs
    ) return;
    this.#start(worker);
  }

  /** Separates a worker from the ones that it replaces, and is replaced by. */
  #part(worker: PoolWorker): void {
    const { predecessor, successor } = worker;
    if (predecessor !== null) predecessor.successor = null;
    if (successor !== null) successor.predecessor = null;
    worker.predecessor = worker.successor = null;
  }

  // -- Ending --

  /** Takes no more jobs in a worker, whose other jobs may end before it is killed. */
  condemn(worker: PoolWorker): void {
    this.#leaveService(worker);
    worker.condemned = true;
    this.#judge(worker);
  }

  /** Kills a condemned worker if nobody else is in there, or pardons it if there is no reason any more. */
  #judge(worker: PoolWorker): void {
    if (worker.state === "killed") return;
    if (!worker.hasOverdue) this.#pardon(worker);
    else if (worker.hasOnlyOverdue) this.kill(worker, "cancelled");
    else if (worker.wedgeTimer === null) this.#probe(worker);
  }

  /** Asks whether the worker reacts, again and again: if it does not, nothing in there can end. */
  #probe(worker: PoolWorker): void {
    // A grace is for cancelled jobs, and may be short; others may block for a moment.
    const limitMs = Math.max(this.#settings.cancelGraceMs, WEDGE_MIN_MS);
    const pingedMs = this.#clock.nowMs();
    worker.ping(pingedMs);
    worker.wedgeTimer = setTimer(this.#clock, limitMs, () => {
      worker.wedgeTimer = null;
      if (worker.pingedMs <= pingedMs) {
        worker.silentMs = limitMs;
        this.kill(worker, "unresponsive");
        this.#owner.crewChanged();
      } else this.#probe(worker);
    });
  }

  #pardon(worker: PoolWorker): void {
    worker.condemned = false;
    worker.wedgeTimer?.cancel();
    worker.wedgeTimer = null;
    if (!worker.accepts) return;
    // Another worker may have taken its place.
    const active = this.#starting + this.#accepting;
    if (active < this.#settings.maxWorkers) this.#accepting++;
    else worker.state = "draining";
  }

  kill(worker: PoolWorker, reason: KillReason): void {
    if (worker.state === "killed" || worker.state === "ended") return;
    this.#leaveService(worker);
    worker.clearTimers();
    worker.state = "killed";
    worker.killedAs = reason;
    worker.link.kill();
  }

  #drain(worker: PoolWorker): void {
    this.#leaveService(worker);
    worker.state = "draining";
    if (worker.jobs.size === 0) this.#close(worker);
  }

  /** Has a worker end that has no job. */
  #close(worker: PoolWorker): void {
    this.#leaveService(worker);
    worker.clearTimers();
    worker.state = "closing";
    const limitMs = this.#settings.cancelGraceMs + CLOSE_MARGIN_MS;
    worker.timer = setTimer(this.#clock, limitMs, () => {
      worker.timer = null;
      this.kill(worker, "closing");
    });
    worker.link.close();
  }

  /** A worker is not active any more, if it was. */
  #leaveService(worker: PoolWorker): void {
    if (worker.state === "starting") this.#starting--;
    else if (worker.accepts) {
      this.#accepting--;
      const place = this.#idle.lastIndexOf(worker);
      if (place >= 0) this.#idle.splice(place, 1);
    }
  }

  /** A worker has ended. Returns whether nobody had asked for it; a failure to start is dealt with here. */
  ended(worker: PoolWorker, end: LinkEnd, hadJob: boolean): boolean {
    const { state } = worker;
    const wasAsked = worker.killedAs !== null ||
      (state === "closing" && (end.kind === "closed" || end.kind === "killed"));
    this.#leaveService(worker);
    this.#part(worker);
    worker.clearTimers();
    worker.state = "ended";
    this.workers.delete(worker);
    resourceWatch.current?.returned(worker);
    if (wasAsked) return false;
    if (state === "starting") {
      this.#failed(worker, startFailure(end));
      return false;
    }
    return state !== "closing" && this.#died(worker, hadJob);
  }

  /** A worker has died that had started. */
  #died(worker: PoolWorker, hadJob: boolean): true {
    const couldStart = hadJob || worker.jobsDone > 0;
    this.#limit.failed(worker.startedMs, this.#clock.nowMs(), couldStart);
    return true;
  }

  /** A worker has failed to start. */
  #failed(worker: PoolWorker, death: WorkerDeath): void {
    this.#part(worker);
    this.#untold = death;
    this.#limit.failed(worker.startedMs, this.#clock.nowMs(), false);
    this.giveUpIfHopeless(death);
    this.#owner.crewChanged();
  }

  /**
   * Has the pool give up if too many starts in a row have failed, and nobody is
   * there to do the jobs. Returns whether it has, and so has told of this death.
   */
  giveUpIfHopeless(death: WorkerDeath): boolean {
    if (!this.#limit.exhausted || this.#starting + this.#accepting > 0) {
      return false;
    }
    this.#hasGivenUp = true;
    this.#untold = null;
    this.#limit.reset();
    this.#owner.crewGaveUp(death);
    return true;
  }

  // -- Idle workers --

  #rests(worker: PoolWorker, nowMs: number): void {
    worker.idleSinceMs = nowMs;
    this.#idle.push(worker);
    if (this.#idleTimer === null) this.#armIdleTimer(nowMs);
  }

  /** Sets a timer for the worker that has been idle longest, if it is not to stay. */
  #armIdleTimer(nowMs: number): void {
    const { idleTimeoutMs, minWorkers } = this.#settings;
    const first = this.#idle[0];
    if (first === undefined || this.#accepting <= minWorkers) return;
    const leftMs = first.idleSinceMs + idleTimeoutMs - nowMs;
    this.#idleTimer = setTimer(this.#clock, leftMs, () => this.#sweepIdle());
  }

  #sweepIdle(): void {
    this.#idleTimer = null;
    const { idleTimeoutMs, minWorkers } = this.#settings;
    const nowMs = this.#clock.nowMs();
    while (this.#accepting > minWorkers) {
      const first = this.#idle[0];
      if (first === undefined) return;
      if (nowMs - first.idleSinceMs < idleTimeoutMs) break;
      this.#close(first);
    }
    this.#armIdleTimer(nowMs);
  }

  // -- Shutdown --

  /** Keeps no worker from now on, and starts none but for jobs in line. */
  leave(): void {
    this.#isLeaving = true;
  }

  /** Ends the workers that have nothing to do, as nothing is in line any more. */
  dismissIdle(): void {
    for (const worker of [...this.workers]) {
      if (worker.isActive && worker.jobs.size === 0) this.#close(worker);
    }
  }

  /** Withdraws the timer for idle workers: there are none. */
  stopIdling(): void {
    this.#idleTimer?.cancel();
    this.#idleTimer = null;
  }

  /** Withdraws all timers that are left. */
  stopTimers(): void {
    this.stopIdling();
    this.#restartTimer?.cancel();
    this.#restartTimer = null;
  }
}
