/**
 * Slots for requests: those of a server of its own, or those of a `ConcurrencyLimit`
 * that others use, too.
 *
 * @module
 */
import { OverloadError } from "../errors.ts";
import { currentTask } from "../loop/current.ts";
import type { Future } from "../loop/future.ts";
import type { Coroutine } from "../loop/task_body.ts";
import type { ConcurrencyLimit } from "../schedule/concurrency_limit.ts";
import type { Job } from "../schedule/limit_job.ts";
import { PriorityLine } from "../structures/priority_line.ts";
import type { RequestRun } from "./request_run.ts";

/** Slots, and the line for them. */
export interface Slots {
  /** Takes a slot, if a request would get it at once. */
  tryTake(): boolean;
  /** Whether a request that enters now would get a slot, though not at once. */
  hasRoom(): boolean;
  /** Has a request admitted in its turn. Returns what it has got: a slot, a place in line, or nothing. */
  enter(run: RequestRun): "slot" | "line" | "none";
  /** Takes a request out of the line. */
  withdraw(run: RequestRun): void;
  /** Returns the slot of a request to the others. */
  release(run: RequestRun): void;
}

function isWaiting(run: RequestRun): boolean {
  return run.state === "waiting";
}

/** Slots that belong to one server: higher priority first, then first come, first served. */
export class OwnSlots implements Slots {
  readonly #size: number;
  #used = 0;
  readonly #line: PriorityLine<RequestRun> = new PriorityLine();
  /** Whether a pump is at work further down the stack. */
  #pumping = false;

  constructor(size: number) {
    this.#size = size;
  }

  tryTake(): boolean {
    // The line is empty while a slot is free.
    if (this.#used >= this.#size) return false;
    this.#used++;
    return true;
  }

  hasRoom(): boolean {
    return false;
  }

  enter(run: RequestRun): "line" {
    this.#line.push(run, run.rank);
    return "line";
  }

  withdraw(run: RequestRun): void {
    this.#line.forgo(run.rank, isWaiting);
  }

  release(): void {
    this.#used--;
    // A request may end inside of its beginning: no recursion, however many there are.
    if (this.#pumping || this.#line.length === 0) return;
    this.#pumping = true;
    try {
      while (this.#used < this.#size) {
        const next = this.#line.shift(isWaiting);
        if (next === undefined) return;
        this.#used++;
        next.intake.admit(next);
      }
    } finally {
      this.#pumping = false;
    }
  }
}

/** Slots of a limit: each request is one job of it. */
export class LimitSlots implements Slots {
  readonly #limit: ConcurrencyLimit;
  readonly #jobs: Map<RequestRun, Job<void>> = new Map();
  readonly #ends: Map<RequestRun, Future<void>> = new Map();

  constructor(limit: ConcurrencyLimit) {
    this.#limit = limit;
  }

  tryTake(): boolean {
    return false; // a job begins in the next turn at the earliest
  }

  hasRoom(): boolean {
    const { used, size, pending } = this.#limit.stats();
    return used < size && pending === 0 && !this.#limit.paused;
  }

  enter(run: RequestRun): "slot" | "line" | "none" {
    let job: Job<void>;
    try {
      job = this.#limit.run(() => this.#hold(run), {
        name: run.name,
        priority: run.rank,
        detached: true,
      });
    } catch (error) {
      if (error instanceof OverloadError) return "none";
      throw error;
    }
    if (job.done()) { // there was no room
      job.exception();
      return "none";
    }
    this.#jobs.set(run, job);
    job.addDoneCallback(() => {
      this.#jobs.delete(run);
      if (!job.cancelled()) job.exception();
      // The job was dropped, or the line was cleared.
      run.cancel("overloaded", "its place in line was taken away");
    });
    return job.phase === "running" ? "slot" : "line";
  }

  withdraw(run: RequestRun): void {
    this.#jobs.get(run)?.cancel();
  }

  release(run: RequestRun): void {
    this.#ends.get(run)?.setResult();
  }

  /** Keeps a slot for as long as the request runs. */
  *#hold(run: RequestRun): Coroutine<void> {
    if (run.state !== "waiting") return;
    // The limit knows its own slot by this, and refuses to have the request wait for another one.
    run.holder = currentTask();
    run.intake.admit(run);
    while (!run.hasEnded) {
      const end = run.loop.createFuture<void>(run.name);
      this.#ends.set(run, end);
      try {
        yield* end;
      } catch (error) {
        run.cancel("cancelled", error); // the loop ends
      } finally {
        this.#ends.delete(run);
      }
    }
  }
}
