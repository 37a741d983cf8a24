/**
 * Ticks of a periodic task without a function, handed to a consumer.
 *
 * @module
 */
import { MisuseError } from "../errors.ts";
import type { EventLoop } from "../loop/event_loop.ts";
import { Future } from "../loop/future.ts";
import type { ItemSource } from "../loop/each.ts";
import { Operation } from "../loop/operation.ts";
import type { Coroutine } from "../loop/task_body.ts";
import type { PeriodicTask } from "./periodic_task.ts";
import type { Tick } from "./tick.ts";

/** A job, as the feed of its ticks sees it. */
export interface FeedingJob {
  readonly task: PeriodicTask;
  readonly loop: EventLoop;
  /** Whether a tick may still come, or one is in line. */
  hasTicks(): boolean;
  /** Delivers the first tick in line, or else arms the timer. */
  ask(): void;
  /** Disarms the timer: nobody waits for a tick any more. */
  stopAsking(): void;
}

/** Request for the next tick. */
class Request {
  /** Whether it was refused, as somebody else waits: the job goes on then. */
  refused = false;
}

/** Hands ticks to a consumer, one at a time. */
export class TickFeed {
  readonly #job: FeedingJob;
  /** Wait of the consumer, while there is one. */
  #consumer: Future<Tick | null> | null = null;

  constructor(job: FeedingJob) {
    this.#job = job;
  }

  /** Whether somebody waits for a tick and has not been given one. */
  get isAwaited(): boolean {
    return this.#consumer !== null && !this.#consumer.done();
  }

  /** Delivers a tick to the consumer, which must be waiting. */
  deliver(tick: Tick): void {
    this.#consumer!.setResult(tick);
  }

  /** Wakes the consumer, as there are no more ticks. */
  end(): void {
    if (this.isAwaited) this.#consumer!.setResult(null);
  }

  /** Iterator for `for await`. */
  iterate(): AsyncIterableIterator<Tick, undefined> {
    const { task } = this.#job;
    return {
      next: async () => {
        const request = new Request();
        try {
          return await this.#next(request);
        } catch (error) {
          // "for await" does not close an iterator that has thrown.
          if (!request.refused) task.cancel();
          throw error;
        }
      },
      return: () => {
        task.cancel();
        return Promise.resolve({ done: true, value: undefined });
      },
      [Symbol.asyncIterator]() {
        return this;
      },
    };
  }

  /** Source for {@linkcode each}. */
  source(): ItemSource<Tick> {
    const request = new Request();
    return Object.assign(() => this.#next(request), {
      // A request that was refused has nothing to close.
      close: () => {
        if (!request.refused) this.#job.task.cancel();
      },
    });
  }

  #next(request: Request): Operation<IteratorResult<Tick, undefined>> {
    return new Operation(() => this.#waitForTick(request), {
      name: `the next tick of "${this.#job.task.name}"`,
    });
  }

  *#waitForTick(
    request: Request,
  ): Coroutine<IteratorResult<Tick, undefined>> {
    request.refused = this.#consumer !== null;
    if (request.refused) {
      throw new MisuseError(
        "Cannot wait for the next tick: somebody waits for it already",
      );
    }
    const job = this.#job;
    if (job.hasTicks()) {
      const waiter = new Future<Tick | null>(job.loop, "the next tick");
      this.#consumer = waiter;
      try {
        job.ask();
        const tick = yield* waiter;
        if (tick !== null) return { done: false, value: tick };
      } finally {
        this.#consumer = null;
        job.stopAsking();
      }
    }
    yield* job.task;
    return { done: true, value: undefined };
  }
}
