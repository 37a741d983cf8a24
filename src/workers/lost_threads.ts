/**
 * Workers that go on although they have ended: threads in native code that does
 * not return.
 *
 * @module
 */
import type { WorkerLink } from "./link.ts";
import type { PoolClock, PoolTimer } from "./pool_clock.ts";

/** How often a worker is looked at after its end, and at which distances: most are gone at once. */
const LOOKS_MS: readonly number[] = [5, 20, 75, 100, 100, 100, 100];

/** Looks after workers that were killed, until they are gone or count as lost. */
export class LostThreads {
  readonly #clock: PoolClock;
  readonly #lost: (jobName: string) => void;
  readonly #settled: () => void;
  readonly #pending: Set<PoolTimer> = new Set();
  /** How many are lost. */
  count = 0;

  /**
   * Makes an empty list.
   *
   * @param lost Called once for each worker that is lost, with the job that it had; "" if it had none.
   * @param settled Called when nothing is left to be looked at.
   */
  constructor(
    clock: PoolClock,
    lost: (jobName: string) => void,
    settled: () => void,
  ) {
    this.#clock = clock;
    this.#lost = lost;
    this.#settled = settled;
  }

  /** Whether there are workers that may or may not be gone. */
  get isLooking(): boolean {
    return this.#pending.size > 0;
  }

  /** Looks after a worker that has ended. */
  watch(link: WorkerLink, jobName: string): void {
    this.#look(link, jobName, 0);
  }

  #look(link: WorkerLink, jobName: string, looks: number): void {
    if (link.livesOn() !== true) return;
    if (looks === LOOKS_MS.length) {
      this.count++;
      this.#lost(jobName);
      return;
    }
    const timer = this.#clock.after(LOOKS_MS[looks]!, () => {
      this.#pending.delete(timer);
      this.#look(link, jobName, looks + 1);
      if (this.#pending.size === 0) this.#settled();
    });
    this.#pending.add(timer);
  }
}
