/**
 * Events of a supervisor, for listeners and iterations.
 *
 * @module
 */
import { MisuseError } from "../errors.ts";
import {
  items,
  type ItemSource,
  type OperationIterable,
} from "../loop/each.ts";
import type { EventLoop } from "../loop/event_loop.ts";
import { getRunningLoop } from "../loop/current.ts";
import { Future } from "../loop/future.ts";
import { Operation } from "../loop/operation.ts";
import type { Coroutine } from "../loop/task_body.ts";
import { RingBuffer } from "../structures/ring_buffer.ts";
import type { ChildEnd } from "./child_end.ts";
import type { ChildRun } from "./child_run.ts";

/** An event of a child. */
export interface ChildEvent {
  /**
   * - `"starting"`: a start of the child has begun;
   * - `"started"`: the child is ready;
   * - `"start-failed"`: its start has thrown; `error` is what;
   * - `"ignored"`: its start has decided not to run;
   * - `"stopping"`: its supervisor has asked it to end;
   * - `"ended"`: it has ended; `end` says how;
   * - `"restarting"`: it is to be restarted, after `delayMs`; with 0 the `"starting"`
   *   follows at once, but for the ends of siblings that are restarted with it. A group
   *   that is restarted together has one such event, of the child that has failed;
   * - `"held-up"`: it is not restarted before an earlier run has ended, which was
   *   abandoned and waits for `waitsFor`. Another `"restarting"` follows then;
   * - `"abandoned"`: it could not be ended, and waits for `waitsFor`.
   */
  readonly type:
    | "starting"
    | "started"
    | "start-failed"
    | "ignored"
    | "stopping"
    | "ended"
    | "restarting"
    | "held-up"
    | "abandoned";
  /** Path of the supervisor. */
  readonly supervisor: string;
  /** Id of the child. */
  readonly childId: string;
  /** The run concerned; with `"restarting"` and `"held-up"` the one that has ended. */
  readonly run: ChildRun;
  /** Time on the clock of the loop. */
  readonly atMs: number;
  /** How the child has ended: with `"ended"`. */
  readonly end?: ChildEnd;
  /** The error of a failed start. */
  readonly error?: unknown;
  /** Delay of the restart. */
  readonly delayMs?: number;
  /** Description of what an abandoned child waits for; none if it is a supervisor, which has told of its children. */
  readonly waitsFor?: string;
}

/** An event of the supervisor itself. */
export interface SupervisorStateEvent {
  /**
   * - `"supervisor-started"`: all its children are ready;
   * - `"restart-limit"`: it gives up; `error` is a `RestartLimitError`;
   * - `"auto-shutdown"`: a significant child has ended, and it ends too;
   * - `"supervisor-ended"`: it has ended, with all its children; `error` is the
   *   error, if there is one.
   */
  readonly type:
    | "supervisor-started"
    | "restart-limit"
    | "auto-shutdown"
    | "supervisor-ended";
  /** Path of the supervisor. */
  readonly supervisor: string;
  /** Time on the clock of the loop. */
  readonly atMs: number;
  /** The error by which it ends. */
  readonly error?: unknown;
}

/** An event of a supervisor or of one of its children. */
export type SupervisorEvent = ChildEvent | SupervisorStateEvent;

/** Function that is called with each event. An async one is not waited for. */
export type SupervisorListener = (event: SupervisorEvent) => void;

/** Options of {@linkcode Supervisor.events}. */
export interface SupervisorEventsOptions {
  /**
   * How many events are kept for a consumer that is slow. Of more the oldest are
   * dropped, and counted.
   *
   * @default {1_024}
   */
  readonly capacity?: number | undefined;
}

function tellThrown(
  loop: EventLoop,
  { supervisor, type }: SupervisorEvent,
  exception: unknown,
): void {
  loop.callExceptionHandler({
    message: `A listener of supervisor "${supervisor}" has thrown at "${type}"`,
    exception,
    name: supervisor,
  });
}

/** The listeners of one supervisor. While there are none, an event costs a comparison. */
export class EventFeed {
  /** Whether anybody listens. */
  isHeard = false;
  readonly #listeners: Set<SupervisorListener> = new Set();
  readonly #iterations: Set<SupervisorEvents> = new Set();
  #isOver = false;

  /** Adds a listener; returns what removes it. */
  subscribe(listener: SupervisorListener): Disposable {
    const own: SupervisorListener = (event) => listener(event);
    this.#listeners.add(own);
    this.isHeard = true;
    return {
      [Symbol.dispose]: () => {
        this.#listeners.delete(own);
        this.#left();
      },
    };
  }

  /** Begins an iteration over the events from now on. */
  iterate(capacity: number): SupervisorEvents {
    const iteration = new SupervisorEvents(capacity, () => {
      this.#iterations.delete(iteration);
      this.#left();
    });
    if (this.#isOver) iteration.end();
    else {
      this.#iterations.add(iteration);
      this.isHeard = true;
    }
    return iteration;
  }

  /** A listener has left. */
  #left(): void {
    this.isHeard = this.#listeners.size > 0 || this.#iterations.size > 0;
  }

  /** Calls everybody. A listener that throws is reported, and changes nothing. */
  emit(loop: EventLoop, event: SupervisorEvent): void {
    for (const iteration of this.#iterations) iteration.push(event);
    // Listeners that are added meanwhile begin with the next event.
    for (const listener of [...this.#listeners]) {
      try {
        const result = listener(event) as unknown;
        if (result instanceof Promise) {
          result.catch((exception) => tellThrown(loop, event, exception));
        }
      } catch (exception) {
        tellThrown(loop, event, exception);
      }
    }
  }

  /** No more events will come. */
  end(): void {
    this.#isOver = true;
    for (const iteration of this.#iterations) iteration.end();
    this.#iterations.clear();
  }
}

/**
 * The events of a supervisor from the call of {@linkcode Supervisor.events} until it
 * has ended: for `for await`, and for {@linkcode each} in generators.
 *
 * Events that nobody has taken yet are kept, up to a bound. There may be one consumer at a time.
 */
export class SupervisorEvents
  implements
    AsyncIterableIterator<SupervisorEvent, undefined>,
    OperationIterable<SupervisorEvent>,
    Disposable {
  readonly #capacity: number;
  readonly #leave: () => void;
  readonly #events: RingBuffer<SupervisorEvent> = new RingBuffer();
  #dropped = 0;
  #isOver = false;
  #waiter: Future<void> | null = null;

  /**
   * Made by {@linkcode Supervisor.events}.
   *
   * @ignore
   */
  constructor(capacity: number, leave: () => void) {
    this.#capacity = capacity;
    this.#leave = leave;
  }

  /** How many events were dropped because nobody took them in time. */
  get dropped(): number {
    return this.#dropped;
  }

  /** @ignore */
  push(event: SupervisorEvent): void {
    if (this.#events.length >= this.#capacity) {
      this.#events.shift();
      this.#dropped++;
    }
    this.#events.push(event);
    this.#wake();
  }

  /** @ignore */
  end(): void {
    this.#isOver = true;
    this.#wake();
  }

  #wake(): void {
    if (this.#waiter?.done() === false) this.#waiter.setResult();
  }

  /**
   * Waits for the next event.
   *
   * @returns A promise for the step of the iteration.
   * @throws {MisuseError} If somebody waits for an event already.
   */
  async next(): Promise<IteratorResult<SupervisorEvent, undefined>> {
    return await this.#next();
  }

  /**
   * Ends the iteration.
   *
   * @returns A promise for its last step.
   */
  return(): Promise<IteratorResult<SupervisorEvent, undefined>> {
    this[Symbol.dispose]();
    return Promise.resolve({ done: true, value: undefined });
  }

  /** Ends the iteration: no event is kept from now on. */
  [Symbol.dispose](): void {
    this.#leave();
    this.#events.clear();
    this.end();
  }

  /** Returns itself. */
  [Symbol.asyncIterator](): this {
    return this;
  }

  /** Source for {@linkcode each}. */
  [items](): ItemSource<SupervisorEvent> {
    return Object.assign(() => this.#next(), {
      close: () => this[Symbol.dispose](),
    });
  }

  #next(): Operation<IteratorResult<SupervisorEvent, undefined>> {
    return new Operation(() => this.#take(), {
      name: "the next event of a supervisor",
    });
  }

  *#take(): Coroutine<IteratorResult<SupervisorEvent, undefined>> {
    if (this.#waiter !== null) {
      throw new MisuseError(
        "Cannot wait for the next event of a supervisor: somebody waits for it already",
      );
    }
    for (;;) {
      const event = this.#events.shift();
      if (event !== undefined) return { done: false, value: event };
      if (this.#isOver) return { done: true, value: undefined };
      this.#waiter = new Future(
        getRunningLoop(),
        "the next event of a supervisor",
      );
      try {
        yield* this.#waiter;
      } finally {
        this.#waiter = null;
      }
    }
  }
}
