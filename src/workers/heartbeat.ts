/**
 * Heartbeat of the workers that have jobs: who answers nothing and uses no CPU
 * time is stuck.
 *
 * @module
 */
import type { PoolClock, PoolTimer } from "./pool_clock.ts";
import type { PoolWorker } from "./pool_worker.ts";

/** CPU time that a stuck worker may use: there are other threads in a process. */
const IDLE_CPU_MS = 1;
/** How many pings there are in the time after which a worker counts as stuck. */
const BEATS = 4;

/** Pings busy workers, and finds those that are stuck. */
export class Heartbeat {
  readonly #clock: PoolClock;
  readonly #unresponsiveMs: number;
  readonly #workers: Iterable<PoolWorker>;
  readonly #stuck: (worker: PoolWorker) => void;
  #timer: PoolTimer | null = null;

  constructor(
    clock: PoolClock,
    unresponsiveMs: number,
    workers: Iterable<PoolWorker>,
    stuck: (worker: PoolWorker) => void,
  ) {
    this.#clock = clock;
    this.#unresponsiveMs = unresponsiveMs;
    this.#workers = workers;
    this.#stuck = stuck;
  }

  /** A worker has got a job. The beat goes on until a beat finds none that has one. */
  wake(): void {
    if (this.#timer !== null || this.#unresponsiveMs === Infinity) return;
    this.#timer = this.#clock.after(
      this.#unresponsiveMs / BEATS,
      () => this.#beat(),
    );
  }

  stop(): void {
    this.#timer?.cancel();
    this.#timer = null;
  }

  #beat(): void {
    this.#timer = null;
    const nowMs = this.#clock.nowMs();
    let isBusy = false;
    for (const worker of [...this.#workers]) {
      if (worker.jobs.size === 0 || worker.state === "killed") continue;
      isBusy = true;
      if (this.#isStuck(worker, nowMs)) this.#stuck(worker);
    }
    if (isBusy) this.wake();
  }

  #isStuck(worker: PoolWorker, nowMs: number): boolean {
    if (Number.isNaN(worker.pingedMs)) {
      worker.ping(nowMs);
      return false;
    }
    const cpuMs = worker.link.cpuMs();
    // A time that cannot be known counts as one that moves.
    if (!(cpuMs - worker.cpuMs < IDLE_CPU_MS)) {
      worker.cpuMs = cpuMs;
      worker.movedMs = nowMs;
    }
    return nowMs - worker.movedMs >= this.#unresponsiveMs;
  }
}
