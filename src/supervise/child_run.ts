/**
 * Runs of a child, each from its start to its end.
 *
 * @module
 */
import { microtask } from "../host/microtask.ts";
import { type CancelledError, MisuseError } from "../errors.ts";
import { current } from "../loop/current.ts";
import type { EventLoop } from "../loop/event_loop.ts";
import type { Future } from "../loop/future.ts";
import type { Task } from "../loop/task.ts";
import type { Coroutine } from "../loop/task_body.ts";
import type { Child } from "./child.ts";
import type { ShutdownType } from "./child_spec.ts";
import {
  type ChildEnd,
  endByError,
  KILLED_END,
  NORMAL_END,
  SHUTDOWN_END,
} from "./child_end.ts";
import { Leftover } from "./leftover.ts";
import type { Message } from "./mailbox.ts";
import {
  type ChildControl,
  type ChildHost,
  ignore,
  isSupervisable,
  type Supervisable,
  supervised,
} from "./supervised.ts";
import { SupervisedTask } from "./supervised_task.ts";
import { hasVitals, Vitals } from "./vitals.ts";

/**
 * A run of a child: the second argument of its `start`, and the result of
 * `startChild`. After a restart there is another one. Like a pid in OTP.
 *
 * @typeParam V Type of the value that the child handed over when it was ready.
 */
export interface ChildRun<V = unknown> {
  /** Id of the child. */
  readonly id: string;
  /** Path of the child in messages: names of its supervisors and its id, joined by "/". */
  readonly path: string;
  /**
   * State of the run. `"starting"` until it is ready, `"stopping"` from the moment
   * its supervisor ends it, `"ended"`.
   */
  readonly state: "starting" | "running" | "stopping" | "ended";
  /**
   * Whether its supervisor ends it only to start it again, with a sibling that has
   * ended: see the strategies `"one-for-all"` and `"rest-for-one"`. That holds for what a
   * supervisor in such a group ends as well. `false` for an end that is final as far as
   * is known, and for the restart of a child that has ended by itself.
   */
  readonly isRestarting: boolean;
  /** The argument of `started(value)`; `undefined` before that. */
  readonly value: V | undefined;
  /** How it has ended; `null` before that. */
  readonly end: ChildEnd | null;
  /**
   * The task in which `start` runs. Cancelling it ends the run as `"cancelled"`. `null`
   * once that has returned: the child has ended, or is something else than a task,
   * such as a supervisor.
   */
  readonly task: Task<unknown> | null;
  /** A signal that aborts when the task is cancelled, for `fetch` and the like; aborted once `task` is `null`. */
  readonly signal: AbortSignal;
  /** Says that the child is alive: see `heartbeatMs`. Costs a few nanoseconds. */
  heartbeat(): void;
}

/** Supervisor, as the runs of its children see it. */
export interface RunOwner {
  readonly loop: EventLoop;
  readonly path: string;
  /** Task of the supervisor, the parent of those of its children. */
  readonly task: Task<unknown>;
  /** Whether it is being ended by cancellation, with all that is in it. */
  readonly endsWithTree: boolean;
  /** Whether it is being ended only to be started again, with all that is in it. */
  readonly isRestarting: boolean;
  /** Whether all that is in it is killed. */
  readonly isKilled: boolean;
  /** Returns the error by which it asks its children to end. */
  stopError(): CancelledError;
  /** The run is ready. */
  runStarted(run: SupervisedRun): void;
  /** The run has ended, or has failed to start. */
  runEnded(run: SupervisedRun): void;
  /** The run goes on although it counts as ended. */
  runLeft(run: SupervisedRun, leftover: Leftover): void;
  /** The end of the run has come to the front of the mailbox. */
  serveEnd(run: SupervisedRun): Coroutine<void> | null;
}

/** How a start went: null while it goes on. */
export type StartOutcome = "started" | "ignored" | "failed" | null;

/** A run, as its supervisor sees it. */
export class SupervisedRun implements ChildRun, ChildHost, Message {
  readonly child: Child;
  readonly owner: RunOwner;
  value: unknown = undefined;
  end: ChildEnd | null = null;
  /** How the start went; null while it goes on. */
  outcome: StartOutcome = null;
  /** The error of a start that failed. */
  startError: unknown = undefined;
  /** Request of its supervisor. */
  request: "nothing" | "stop" | "kill" = "nothing";
  /** Whether its supervisor waits for its end, and so takes no further notice of it. */
  isAwaited = false;
  /** Whether its supervisor ends it as one of a group that it restarts. */
  endsWithGroup = false;
  /** Whether its supervisor has dealt with its end. */
  isHandled = false;
  #task: SupervisedTask | null = null;
  /** Means to end what the start has returned, if that is the child; null while the task is. */
  #control: ChildControl | null = null;
  /** Null until it is ready, and for children whose health is of no interest. */
  #vitals: Vitals | null = null;

  constructor(child: Child, owner: RunOwner) {
    this.child = child;
    this.owner = owner;
  }

  get id(): string {
    return this.child.id;
  }

  get path(): string {
    return `${this.owner.path}/${this.child.id}`;
  }

  get loop(): EventLoop {
    return this.owner.loop;
  }

  get task(): Task<unknown> | null {
    return this.#task;
  }

  get signal(): AbortSignal {
    return this.#task === null ? AbortSignal.abort() : this.#task.signal;
  }

  get shutdown(): ShutdownType {
    return this.child.settings.shutdown;
  }

  get heartbeatMs(): number {
    return this.child.settings.heartbeatMs;
  }

  get endsWithTree(): boolean {
    return this.owner.endsWithTree;
  }

  get isRestarting(): boolean {
    if (this.endsWithTree || this.owner.isKilled) return false;
    return this.endsWithGroup || this.owner.isRestarting;
  }

  get state(): "starting" | "running" | "stopping" | "ended" {
    if (this.end !== null) return "ended";
    if (this.request !== "nothing") return "stopping";
    return this.outcome === null ? "starting" : "running";
  }

  heartbeat(): void {
    this.#vitals?.beat();
  }

  // -- The start --

  /** Calls the start, up to the point where it waits for the first time. */
  begin(): void {
    const { child } = this;
    const { start } = child;
    const body = child.saysStarted
      ? () => start((value) => this.#saidStarted(value), this)
      : start as unknown as () => unknown;
    this.#callIn(this.owner.task, body);
    if (child.saysStarted) return;
    // Ready when it waits for the first time. An async function may have returned
    // or thrown already: its promise tells in the microtasks that are queued by now.
    const task = this.#task;
    if (task === null) return;
    if (!task.promised) this.started();
    else {
      microtask(() => {
        if (this.#task === task) this.started();
      });
    }
  }

  /** Makes the task, as a child of `parent`, and runs its first step inside the code that starts it. */
  #callIn(parent: Task<unknown>, body: () => unknown): void {
    const { loop, task, stepper } = current;
    current.loop = this.loop;
    current.task = parent;
    current.stepper = parent;
    try {
      this.#task = new SupervisedTask(this, this.loop, body);
      this.#task.run();
    } finally {
      current.loop = loop;
      current.task = task;
      current.stepper = stepper;
    }
  }

  #saidStarted(value: unknown): void {
    if (this.outcome === "started") {
      throw new MisuseError(
        `Cannot say that child "${this.path}" has started: it has said so before`,
      );
    }
    this.started(value);
  }

  started(value?: unknown): void {
    if (this.end !== null) return;
    // A function that has waited was ready then: what it returns later has the value.
    if (this.outcome === "started") this.value ??= value;
    if (this.outcome !== null) return;
    this.outcome = "started";
    this.value = value;
    const { settings } = this.child;
    if (hasVitals(settings)) this.#vitals = new Vitals(this, settings);
    this.owner.runStarted(this);
  }

  /** The function of the child has returned. */
  returned(value: unknown): void {
    this.#task = null; // which would be kept for as long as this is
    if (this.end !== null) return; // it was abandoned
    if (isSupervisable(value)) this.#adopt(value);
    else if (this.outcome !== null) this.ended(NORMAL_END);
    else if (value === ignore) this.#ignored();
    else if (this.child.saysStarted) {
      this.#failed(
        new MisuseError(
          `Cannot start child "${this.path}": it ended without calling started()`,
        ),
      );
    } else {
      this.started();
      this.ended(NORMAL_END);
    }
  }

  /** The function of the child has thrown. */
  threw(error: unknown): void {
    this.#task = null;
    if (this.end !== null) return; // it was abandoned
    if (this.outcome === null) this.#failed(error);
    else this.ended(endByError(error, this.request));
  }

  /** Refuses to start it: an earlier run goes on. */
  refuseStart(error: Error): void {
    this.outcome = "failed";
    this.startError = error;
    this.end = { kind: "crash", error };
  }

  /** A stop waits for its start, which has its shutdown time left. */
  hurry(): void {
    this.#control?.hurry?.();
  }

  #ignored(): void {
    this.outcome = "ignored";
    this.end = NORMAL_END;
    this.owner.runEnded(this);
  }

  #failed(error: unknown, end = endByError(error, this.request)): void {
    this.outcome = "failed";
    this.startError = error;
    this.end = end;
    this.owner.runEnded(this);
  }

  /** The start has returned something that is the child from now on. */
  #adopt(child: Supervisable): void {
    if (this.request !== "nothing") {
      this.#over(this.request === "kill" ? KILLED_END : SHUTDOWN_END);
      return;
    }
    if (
      child.isSupervisor === true && this.child.settings.type !== "supervisor"
    ) {
      this.threw(
        new TypeError(
          `Cannot start child "${this.path}" as its type must be "supervisor": its start has returned one`,
        ),
      );
      return;
    }
    let control: ChildControl;
    try {
      control = child[supervised](this);
    } catch (error) {
      this.threw(error);
      return;
    }
    if (this.end === null) this.#control = control;
  }

  // -- The end --

  serve(): Coroutine<void> | null {
    return this.owner.serveEnd(this);
  }

  refuse(): void {
    // A supervisor that ends deals with all its children.
  }

  /** Asks it to end. */
  stop(): void {
    this.request = "stop";
    this.#vitals?.stopWatching(); // cleaning up may take its shutdown time
    if (this.#task !== null) this.#task.interrupt(this.owner.stopError());
    else this.#control?.stop();
  }

  /** Ends it at once, as far as that is possible. */
  kill(): void {
    if (this.end !== null || this.request === "kill") return;
    this.request = "kill";
    if (this.#task !== null) this.#task.kill();
    else this.#control?.kill();
  }

  /** Kills it, for a reason that is its end. */
  killFor(error: Error): void {
    if (this.end !== null || this.request !== "nothing") return;
    this.#vitals!.certainEnd = { kind: "crash", error };
    this.kill();
  }

  ended(end: ChildEnd, leftover?: Future<unknown>): void {
    if (this.end !== null) return;
    if (leftover !== undefined) {
      const waitsFor = end.kind === "abandoned" ? end.waitsFor : undefined;
      this.owner.runLeft(this, new Leftover(leftover, waitsFor));
    }
    if (this.outcome === null) {
      this.#failed(end.kind === "crash" ? end.error : end, end);
    } else this.#over(end);
  }

  #over(end: ChildEnd): void {
    this.end = end;
    const vitals = this.#vitals;
    if (vitals !== null) {
      vitals.end();
      if (vitals.certainEnd !== null) this.end = vitals.certainEnd;
    }
    if (this.outcome === null) {
      this.outcome = "failed";
      this.startError = end;
    }
    this.#control = null;
    this.owner.runEnded(this);
  }

  /** Whether it has run for long enough to have the failures before it forgotten. */
  get wasHealthy(): boolean {
    return this.#vitals?.wasHealthy === true;
  }

  /** The task cannot be ended: it counts as ended, and goes on. */
  abandon(waitsFor: string): void {
    if (this.end !== null) return;
    this.owner.runLeft(this, new Leftover(this.#task!, waitsFor));
    this.#over({ kind: "abandoned", waitsFor });
  }
}
