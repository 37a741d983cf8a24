/**
 * The intake of a server: how many requests run at a time, how many wait in line, how
 * long each may take, what outlives its response, and how all of it ends.
 *
 * Knows nothing of HTTP. `serve()` and the adapter for `node:http` are built on it.
 *
 * @module
 */
import { findLocals, type LocalValue } from "../loop/current.ts";
import type { EventLoop } from "../loop/event_loop.ts";
import { Operation } from "../loop/operation.ts";
import type { Task } from "../loop/task.ts";
import type { TimerHandle } from "../loop/timer_handle.ts";
import type { Coroutine, TaskBody } from "../loop/task_body.ts";
import type { ConcurrencyLimit } from "../schedule/concurrency_limit.ts";
import { LinkedList } from "../structures/linked_list.ts";
import { WaitQueue } from "../sync/wait_queue.ts";
import { DueLine } from "./due_line.ts";
import type { RequestRun } from "./request_run.ts";
import { LimitSlots, OwnSlots, type Slots } from "./slots.ts";

/** Settings of an intake, checked, each with its value. */
export interface IntakeSettings {
  /** How many requests run at a time; a limit may be shared with others. */
  readonly maxConcurrent: number | ConcurrencyLimit;
  /** How many requests may wait in line. */
  readonly maxWaiting: number;
  /** How long a request may take, its time in line included. */
  readonly requestTimeoutMs: number;
}

/**
 * Something that a request has left behind and that is still open: a long body, an
 * event stream, a socket. The intake waits for it.
 */
export interface Attachment {
  /** The server takes no more requests: it is to come to an end. */
  drain(): void;
  /** Called when its time is over: has to detach itself, now or soon. */
  cut(): void;
}

/** Counts of an intake. */
export interface IntakeCounts {
  /** How many requests run. */
  readonly running: number;
  /** How many wait in line. */
  readonly waiting: number;
  /** How many functions that outlive their response run. */
  readonly background: number;
  /** How many bodies, event streams and sockets are open. */
  readonly attached: number;
  /** How many requests were served. */
  readonly served: number;
  /** How many were refused, as the line was full or the server was closing. */
  readonly refused: number;
  /** How many requests took too long. */
  readonly timedOut: number;
  /** How many clients have gone before they had their response. */
  readonly gone: number;
}

/**
 * How often requests are looked at that still run. At the second look a request becomes a task, and its
 * client is watched: that costs as much as many a request.
 */
const LOOK_MS = 25;

/**
 * How much of its time a hook leaves to the shutdown at most, so that it is over when the
 * phase is, also on a machine that is so busy that timers come late: a hook that is not over
 * counts as stuck, and makes the exit code 1.
 */
const MARGIN_MS = 250;

/** Returns how long a hook of a server may wait in a phase that goes on for `leftMs`. */
export function hookWaitMs(leftMs: number): number {
  return Math.max(leftMs - Math.min(MARGIN_MS, leftMs / 4), 0);
}

/** Takes requests in, and lets them run. */
export class Intake {
  readonly loop: EventLoop;
  readonly requestTimeoutMs: number;
  readonly maxWaiting: number;
  /** Task-local values that the requests inherit. */
  readonly locals: LocalValue | null;
  /** `"open"`, `"draining"` once no more requests are taken, `"cancelled"` once all was cancelled. */
  stage: "open" | "draining" | "cancelled" = "open";
  /**
   * Whether each response that begins says `Connection: close`: from the first phase of a
   * shutdown on, or the moment the server is closed.
   */
  endsConnections = false;
  /** Whether something was given up that keeps a graceful end from ending: connections have to be cut. */
  hasLost = false;
  readonly #slots: Slots;
  /** A request is in one of them, or in none while its function is called. */
  readonly #running: LinkedList<RequestRun> = new LinkedList();
  readonly #waiting: LinkedList<RequestRun> = new LinkedList();
  readonly #background: Set<Task<unknown>> = new Set();
  readonly #attached: Set<Attachment> = new Set();
  readonly #deadlines: DueLine<RequestRun> | null;
  /** Number of looks until now; a request knows that of its arrival. */
  #looks = 0;
  #look: TimerHandle | null = null;
  readonly #changes = new WaitQueue("Server.close()", this);
  /** How many responses are under way. */
  #held = 0;
  #served = 0;
  #refused = 0;
  #timedOut = 0;
  #gone = 0;

  constructor(loop: EventLoop, settings: IntakeSettings) {
    const { maxConcurrent, maxWaiting, requestTimeoutMs } = settings;
    this.loop = loop;
    this.locals = findLocals();
    this.maxWaiting = maxWaiting;
    this.requestTimeoutMs = requestTimeoutMs;
    this.#slots = typeof maxConcurrent === "number"
      ? new OwnSlots(maxConcurrent)
      : new LimitSlots(maxConcurrent);
    this.#deadlines = requestTimeoutMs === Infinity ? null : new DueLine(
      loop,
      requestTimeoutMs,
      (run) => run.expire(),
    );
  }

  // -- Requests --

  /** Calls the function of a request, puts it in line, or refuses it. */
  take(run: RequestRun): void {
    if (this.stage !== "open") {
      this.#refused++;
      run.refuse("closing");
      return;
    }
    if (this.#slots.tryTake()) this.admit(run);
    else if (!this.#putInLine(run)) {
      this.#refused++;
      run.refuse("overloaded");
    }
    if (run.hasEnded) return;
    run.lookOfArrival = this.#looks;
    if (this.#look === null) this.#armLook();
    if (this.#deadlines !== null) this.#deadlines.add(run);
  }

  #putInLine(run: RequestRun): boolean {
    const slots = this.#slots;
    if (this.#waiting.length >= this.maxWaiting && !slots.hasRoom()) {
      return false;
    }
    run.state = "waiting";
    const place = slots.enter(run);
    if (place === "slot") this.#running.append(run); // it begins in the next turn
    else if (place === "line") this.#waiting.append(run);
    return place !== "none";
  }

  /** A request has got its slot. */
  admit(run: RequestRun): void {
    this.#waiting.remove(run);
    run.begin();
    // Most have ended by now, and need no place in the list.
    if (!run.hasEnded && run.list === undefined) this.#running.append(run);
  }

  #armLook(): void {
    this.#look = this.loop.callLater(LOOK_MS, () => this.#lookAtAll());
    this.#look.unref(); // the server keeps the process alive
  }

  #lookAtAll(): void {
    this.#look = null;
    const seen = ++this.#looks - 2;
    for (const runs of [this.#running, this.#waiting]) {
      for (const run of runs.toArray()) {
        if (run.lookOfArrival === seen) run.settleIn();
      }
    }
    if (this.#running.length + this.#waiting.length > 0) this.#armLook();
  }

  /** A request leaves the line, for it was cancelled. */
  withdraw(run: RequestRun): void {
    this.#waiting.remove(run);
    this.#running.remove(run);
    this.#slots.withdraw(run);
    this.#forget(run);
  }

  /** The function of a request has ended. */
  leave(run: RequestRun): void {
    this.#running.remove(run);
    if (run.abortion === null) this.#served++;
    this.#forget(run);
    this.#slots.release(run);
  }

  #forget(run: RequestRun): void {
    if (run.dueMs !== 0) this.#deadlines!.ended();
    const why = run.abortion?.why;
    if (why === "timeout") this.#timedOut++;
    else if (why === "gone") this.#gone++;
    this.#settle();
  }

  /** A body was not sent within the time of its request. */
  bodyTimedOut(): void {
    this.#timedOut++;
  }

  // -- What outlives a response --

  /** Runs a function as a task that the intake waits for. */
  background(body: TaskBody<unknown>, name: string): Task<unknown> {
    const task = this.loop.createTask(body, { name });
    this.#background.add(task);
    if (this.stage === "cancelled") task.cancel("the server has ended");
    task.addDoneCallback(() => {
      this.#background.delete(task);
      const error = task.cancelled() ? undefined : task.exception();
      if (error !== undefined) {
        this.loop.callExceptionHandler({
          message: `Background function "${name}" failed`,
          exception: error,
          task,
          name,
        });
      }
      this.#settle();
    });
    return task;
  }

  /** Waits for something that a request has left open, until {@linkcode detach}. */
  attach(thing: Attachment): void {
    this.#attached.add(thing);
    if (this.stage === "draining") thing.drain();
    else if (this.stage === "cancelled") thing.cut();
  }

  /** Forgets something that was attached, as it is closed. */
  detach(thing: Attachment): void {
    if (this.#attached.delete(thing)) this.#settle();
  }

  /** A response is under way: like {@linkcode attach}, for the many that need no more than a count. */
  hold(): void {
    this.#held++;
  }

  /** Notes that a response is over. */
  unhold(): void {
    if (--this.#held === 0) this.#settle();
  }

  // -- The end --

  /** Takes no more requests. Requests in line are served. */
  drain(): void {
    if (this.stage !== "open") return;
    this.endsConnections = true;
    this.stage = "draining";
    for (const thing of [...this.#attached]) thing.drain();
    this.#settle();
  }

  /** Cancels whatever is left, and refuses the line. */
  cancel(reason: unknown): void {
    if (this.stage === "cancelled") return;
    this.drain();
    this.stage = "cancelled";
    for (
      const run of [...this.#waiting.toArray(), ...this.#running.toArray()]
    ) {
      run.cancel("cancelled", reason);
    }
    for (const task of [...this.#background]) task.cancel(reason);
    for (const thing of [...this.#attached]) thing.cut();
    this.#settle();
  }

  /** Answers for all that were cancelled and still run. */
  cutOff(): void {
    for (const run of this.#running.toArray()) run.cutOff();
  }

  /** Whether no function runs or is going to. */
  get isQuiet(): boolean {
    return this.#running.length === 0 && this.#waiting.length === 0 &&
      this.#background.size === 0;
  }

  /** Whether nothing is left: no function, and nothing that is open. */
  get isIdle(): boolean {
    return this.isQuiet && this.#attached.size === 0 && this.#held === 0;
  }

  /** Waits until nothing is left. */
  untilIdle(): Operation<void> {
    return this.until(() => this.isIdle);
  }

  /** Waits until a condition holds. Asks when something has ended, and at each {@linkcode recheck}. */
  until(holds: () => boolean): Operation<void> {
    return new Operation(() => this.#await(holds), {
      name: "the end of all requests",
    });
  }

  *#await(holds: () => boolean): Coroutine<void> {
    while (!holds()) {
      const waiter = this.#changes.enter(undefined);
      try {
        yield* waiter;
      } finally {
        this.#changes.leave(waiter);
      }
    }
  }

  /** Has those who wait look again. */
  recheck(): void {
    this.#changes.wakeAll();
  }

  /** Something has ended: whoever waits may go on, once the server ends. */
  #settle(): void {
    if (this.stage !== "open" || this.isIdle) this.#changes.wakeAll();
  }

  /** Names of what is left, for a report. */
  leftovers(): string[] {
    const names = this.#running.toArray().map((run) => run.name);
    for (const task of this.#background) names.push(task.name);
    return names;
  }

  /** Stops its timers. Nothing is waited for any more. */
  close(): void {
    this.#look?.cancel();
    this.#look = null;
    this.#deadlines?.close();
  }

  counts(): IntakeCounts {
    return {
      running: this.#running.length,
      waiting: this.#waiting.length,
      background: this.#background.size,
      attached: this.#attached.size,
      served: this.#served,
      refused: this.#refused,
      timedOut: this.#timedOut,
      gone: this.#gone,
    };
  }
}
