/**
 * Jobs of a pool that wait for a worker: by priority, first come, first served,
 * and with a bound.
 *
 * @module
 */
import { OverloadError } from "../errors.ts";
import type { AnyClaim } from "../schedule/claim.ts";
import { ClaimQueue } from "../schedule/claim_queue.ts";
import type { OverloadStrategy } from "../schedule/concurrency_limit_options.ts";
import { LinkedList } from "../structures/linked_list.ts";
import type { AnyJob } from "./job.ts";

/** The line for the workers of a pool, and the door before it. */
export class PoolLine {
  readonly #queue = new ClaimQueue();
  /** Jobs that wait for a place in line. */
  readonly #door: LinkedList<AnyClaim> = new LinkedList();
  readonly #highWaterMark: number;
  readonly #overload: OverloadStrategy;
  readonly #poolInWords: string;

  constructor(
    highWaterMark: number,
    overload: OverloadStrategy,
    poolInWords: string,
  ) {
    this.#highWaterMark = highWaterMark;
    this.#overload = overload;
    this.#poolInWords = poolInWords;
  }

  /** How many jobs wait, those without a place in line included. */
  get length(): number {
    return this.#queue.length + this.#door.length;
  }

  /** Whether there is a bound, so that the number of slots counts. */
  get isBounded(): boolean {
    return this.#highWaterMark !== Infinity;
  }

  /**
   * Adds a job.
   *
   * @param slots For how many jobs beside those that run there is a worker, or
   * could be one: they may be in line whatever the bound.
   * @returns The job that is in line no more, or never was, as there is no room.
   * @throws {OverloadError} If there is no room, with `overload: "reject"`.
   */
  enter(job: AnyJob, slots: number): AnyJob | null {
    if (this.#door.length === 0 && this.#hasRoom(slots)) {
      this.#queue.add(job);
      return null;
    }
    if (this.#overload === "block") {
      this.#door.append(job);
      return null;
    }
    if (this.#overload === "reject") throw this.overloaded("submit a job");
    return this.#makeRoom(job);
  }

  /** Puts a job in line that has begun before, whatever the bound. */
  enterAgain(job: AnyJob): void {
    this.#queue.add(job);
  }

  /** Puts a job back to the front of its line, as it has not begun after all, whatever the bound. */
  putBack(job: AnyJob): void {
    this.#queue.addFirst(job);
  }

  /**
   * Takes out the first job, for a worker that has room; undefined if there is
   * none. A job at the door gets the place that becomes free.
   */
  take(slots: number): AnyJob | undefined {
    const first = this.#queue.peek() ?? this.#door.first;
    if (first === undefined) return undefined;
    this.#drop(first);
    this.#admit(slots - 1);
    return first as AnyJob;
  }

  /** Takes out a job that is in line or at the door. */
  remove(job: AnyJob, slots: number): void {
    this.#drop(job);
    this.#admit(slots);
  }

  /** Copies the jobs, in the order in which they would begin. */
  toArray(): AnyJob[] {
    return [...this.#queue, ...this.#door] as AnyJob[];
  }

  /** The error for a job that there is no room for. */
  overloaded(what: string): OverloadError {
    return new OverloadError(
      `Cannot ${what}: the line of ${this.#poolInWords} is full, highWaterMark is ${this.#highWaterMark}`,
    );
  }

  #hasRoom(slots: number): boolean {
    return this.#queue.length < this.#highWaterMark + slots;
  }

  /** Lets jobs in for which there is a place in line now. */
  #admit(slots: number): void {
    while (this.#door.length > 0 && this.#hasRoom(slots)) {
      this.#queue.add(this.#door.shift()!);
    }
  }

  #drop(job: AnyClaim): void {
    if (job.list === this.#door) this.#door.remove(job);
    else this.#queue.remove(job);
  }

  /** Makes room for a job by dropping a job, which may be the new one; returns that. */
  #makeRoom(job: AnyJob): AnyJob {
    const which = this.#overload === "drop-oldest" ? "oldest" : "newest";
    const lowest = this.#queue.findLowestJob(which);
    if (
      lowest === undefined || job.rank < lowest.rank ||
      (which === "newest" && job.rank === lowest.rank)
    ) return job;
    this.#queue.remove(lowest);
    this.#queue.add(job);
    return lowest as AnyJob;
  }
}
