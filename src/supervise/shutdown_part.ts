/**
 * Parts of a phase of a shutdown, which run side by side: a hook, the delay, the end of main, the end of all tasks.
 *
 * @module
 */
import { CancelledError } from "../errors.ts";
import { core } from "../loop/core.ts";
import type { EventLoop } from "../loop/event_loop.ts";
import type { Task } from "../loop/task.ts";
import type { TaskBody } from "../loop/task_body.ts";
import type { TimerHandle } from "../loop/timer_handle.ts";
import { describeWait } from "../loop/waiters.ts";
import type { ShutdownHook, ShutdownHookContext } from "./shutdown_hooks.ts";
import type { ShutdownFailure, ShutdownStraggler } from "./shutdown_report.ts";
import type { ShutdownPhase } from "./shutdown_timetable.ts";

/** Part of a phase. */
export interface ShutdownPart {
  /** Loop on which it runs. */
  readonly loop: EventLoop;
  /** Begins; `ended` is called once it is over, in a later turn, unless it has expired before. */
  begin(ended: () => void): void;
  /** Ends the part, whose time is over, and notes what has not stopped. */
  expire(): void;
  /** Goes on on another loop, as its own is about to be closed. Left out if it cannot. */
  moveTo?(loop: EventLoop): void;
}

/** A loop that takes part in a shutdown, and the main task that runs on it. */
export interface ShutdownMember {
  readonly loop: EventLoop;
  /** Null if the loop was not started by `run`. */
  readonly main: Task<unknown> | null;
  /** Whether the run is over, and its runner has cancelled the tasks that were left. */
  readonly cleansUp: boolean;
  /** Main is about to be cancelled. */
  noteCancel(): void;
}

/** State that the parts of a shutdown have in common. */
export class ShutdownRecord {
  /** The reason, as hooks are told. */
  readonly reason: unknown;
  /** The error with which tasks are cancelled, the same for all. */
  readonly cancellation: CancelledError;
  readonly stragglers: ShutdownStraggler[] = [];
  readonly failures: ShutdownFailure[] = [];
  /** Tasks of hooks that have neither ended nor expired. */
  readonly hookTasks: Set<Task<unknown>> = new Set();
  /** Tasks that were cancelled, or are in the list of stragglers: each is cancelled once. */
  readonly cancelled: WeakSet<Task<unknown>> = new WeakSet();
  /** Tasks that are in the list of stragglers. */
  readonly listed: WeakSet<Task<unknown>> = new WeakSet();

  constructor(reason: unknown, cancellation: CancelledError) {
    this.reason = reason;
    this.cancellation = cancellation;
  }

  /** Puts a task on the list of what did not stop in time, once. */
  list(
    task: Task<unknown>,
    kind: ShutdownStraggler["kind"],
    phase: ShutdownPhase,
    forMs: number,
  ): void {
    if (this.listed.has(task)) return;
    this.listed.add(task);
    this.stragglers.push({
      kind,
      name: task.name,
      phase,
      waitsFor: task[describeWait](),
      forMs,
      ...task.kernel.debug.creationOf(task),
    });
  }

  /** Puts all unfinished tasks of a loop on that list. */
  listLeft(
    { loop, main }: ShutdownMember,
    phase: ShutdownPhase,
    forMs: (task: Task<unknown>) => number,
  ): void {
    for (const task of this.leftOn(loop)) {
      this.list(task, task === main ? "main" : "task", phase, forMs(task));
    }
  }

  /** Puts a hook whose phase was not reached on that list. */
  listUnreached({ name, phase }: ShutdownHook): void {
    const waitsFor = "its phase, which was not reached";
    this.stragglers.push({ kind: "hook", name, phase, waitsFor, forMs: 0 });
  }

  /** Returns the unfinished tasks of a loop, without those that hooks are still allowed to have. */
  leftOn(loop: EventLoop): Task<unknown>[] {
    const tasks = loop[core].tasks.toArray();
    return this.hookTasks.size === 0
      ? tasks
      : tasks.filter((task) => !this.#isOfHook(task));
  }

  #isOfHook(task: Task<unknown>): boolean {
    for (let at: Task<unknown> | null = task; at !== null; at = at.parent) {
      if (this.hookTasks.has(at)) return true;
    }
    return false;
  }
}

/** Call of a hook. */
export class HookPart implements ShutdownPart {
  readonly loop: EventLoop;
  readonly #hook: ShutdownHook;
  readonly #record: ShutdownRecord;
  readonly #limitMs: number;
  readonly #controller: AbortController = new AbortController();
  #startMs = 0;
  #task: Task<unknown> | null = null;
  #timer: TimerHandle | null = null;
  #expired = false;

  /**
   * @param loop Loop on which it runs.
   * @param limitMs Time that its phase has left.
   */
  constructor(
    hook: ShutdownHook,
    loop: EventLoop,
    record: ShutdownRecord,
    limitMs: number,
  ) {
    this.#hook = hook;
    this.loop = loop;
    this.#record = record;
    this.#limitMs = limitMs;
  }

  begin(ended: () => void): void {
    const { timeoutMs, fn, name, phase } = this.#hook;
    const { loop } = this;
    this.#startMs = loop.time();
    const deadlineMs = this.#startMs + Math.min(timeoutMs, this.#limitMs);
    const context: ShutdownHookContext = {
      phase,
      reason: this.#record.reason,
      deadlineMs,
      signal: this.#controller.signal,
    };
    // The task awaits the result of the function: a promise, a generator, an operation.
    const body = (() => fn(context)) as TaskBody<unknown>;
    const task = this.#task = loop.createTask(body, { name });
    this.#record.hookTasks.add(task);
    task.addDoneCallback(() => this.#taskEnded(task, ended));
    if (timeoutMs >= this.#limitMs) return;
    this.#timer = loop.callAt(deadlineMs, () => {
      this.expire();
      ended();
    });
  }

  #taskEnded(task: Task<unknown>, ended: () => void): void {
    this.#record.hookTasks.delete(task);
    this.#timer?.cancel();
    if (task.cancelled()) {
      if (!this.#expired) this.#fail(new CancelledError(task.cancelReason()));
    } else {
      const error = task.exception();
      if (error !== undefined) this.#fail(error);
    }
    if (!this.#expired) ended();
  }

  #fail(error: unknown): void {
    const { name, phase } = this.#hook;
    if (!this.#expired) this.#record.failures.push({ name, phase, error });
    this.loop.callExceptionHandler({
      message: `Shutdown hook "${name}" failed in phase "${phase}"`,
      exception: error,
      name,
    });
  }

  expire(): void {
    const task = this.#task;
    if (task === null || task.done() || this.#expired) return;
    this.#expired = true;
    this.#timer?.cancel();
    const { phase } = this.#hook;
    const record = this.#record;
    record.list(task, "hook", phase, this.loop.time() - this.#startMs);
    record.hookTasks.delete(task);
    record.cancelled.add(task);
    const reason = new CancelledError(
      `its time in phase "${phase}" of the shutdown is over`,
    );
    this.#controller.abort(reason);
    task.cancel(reason);
  }
}

/** Delay in which the program goes on as before. */
export class DelayPart implements ShutdownPart {
  loop: EventLoop;
  readonly #delayMs: number;
  #timer: TimerHandle | null = null;
  #untilMs = 0;
  #ended: () => void = () => {};

  constructor(loop: EventLoop, delayMs: number) {
    this.loop = loop;
    this.#delayMs = delayMs;
  }

  begin(ended: () => void): void {
    this.#ended = ended;
    this.#untilMs = this.loop.time() + this.#delayMs;
    this.#timer = this.loop.callAt(this.#untilMs, ended);
  }

  moveTo(loop: EventLoop): void {
    this.expire();
    this.loop = loop;
    this.#timer = loop.callAt(this.#untilMs, this.#ended);
  }

  expire(): void {
    this.#timer?.cancel();
  }
}

/** Wait for the end of a main task, which is not cancelled for it. */
export class MainPart implements ShutdownPart {
  readonly loop: EventLoop;
  readonly #main: Task<unknown>;
  #ended: (() => void) | null = null;

  constructor(main: Task<unknown>) {
    this.loop = main.loop;
    this.#main = main;
  }

  begin(ended: () => void): void {
    this.#ended = () => ended();
    this.#main.addDoneCallback(this.#ended);
  }

  expire(): void {
    if (this.#ended !== null) this.#main.removeDoneCallback(this.#ended);
  }
}

/**
 * End of the tasks of a loop: main is cancelled first, as other tasks may serve its clean-up; the others, also those that
 * are made meanwhile, when main has ended or has had half of the time.
 */
export class CancelPart implements ShutdownPart {
  readonly loop: EventLoop;
  readonly #member: ShutdownMember;
  readonly #record: ShutdownRecord;
  readonly #phase: ShutdownPhase;
  readonly #limitMs: number;
  /** Tasks that are waited for, and since when. */
  readonly #waitsFor: Map<Task<unknown>, number> = new Map();
  #timer: TimerHandle | null = null;
  #ended: () => void = () => {};
  #over = false;
  #untilMs = 0;
  #executorAsked = false;

  /** @param limitMs Time that the phase has left. */
  constructor(
    member: ShutdownMember,
    record: ShutdownRecord,
    phase: ShutdownPhase,
    limitMs: number,
  ) {
    this.loop = member.loop;
    this.#member = member;
    this.#record = record;
    this.#phase = phase;
    this.#limitMs = limitMs;
  }

  begin(ended: () => void): void {
    this.#ended = ended;
    const { loop, main } = this.#member;
    this.#untilMs = loop.time() + this.#limitMs;
    const cancelAll = () => this.#cancelAll();
    if (main === null || main.done()) {
      loop.callSoon(cancelAll);
      return;
    }
    this.#member.noteCancel();
    this.#timer = loop.callLater(this.#limitMs / 2, cancelAll);
    this.#cancel(main);
  }

  #cancel(task: Task<unknown>): void {
    if (this.#waitsFor.has(task)) return;
    this.#waitsFor.set(task, this.loop.time());
    task.addDoneCallback(() => {
      this.#waitsFor.delete(task);
      if (this.#waitsFor.size === 0) this.#cancelAll();
    });
    const { cancellation, cancelled } = this.#record;
    if (cancelled.has(task)) return;
    cancelled.add(task);
    if (this.#member.cleansUp && task.cancelling() > 0) return;
    task.cancel(cancellation);
  }

  #cancelAll(): void {
    if (this.#over) return;
    const left = this.#record.leftOn(this.loop);
    for (const task of left) this.#cancel(task);
    if (left.length > 0 || this.#asksExecutor()) return;
    this.#finish();
    this.#ended();
  }

  /** Has the default executor end its jobs, within half of what is left; false if there is none, or it has. */
  #asksExecutor(): boolean {
    const { loop } = this;
    if (this.#executorAsked || !loop[core].executor.isInUse) return false;
    this.#executorAsked = true;
    const graceMs = Math.max(this.#untilMs - loop.time(), 0) / 2;
    const task = loop.createTask(
      () => loop.shutdownDefaultExecutor({ graceMs }),
      { name: "the default executor" },
    );
    this.#record.cancelled.add(task); // its end is what is waited for
    this.#cancel(task);
    return true;
  }

  #finish(): void {
    this.#over = true;
    this.#timer?.cancel();
  }

  expire(): void {
    if (this.#over) return;
    this.#finish();
    const nowMs = this.loop.time();
    this.#record.listLeft(
      this.#member,
      this.#phase,
      (task) => nowMs - (this.#waitsFor.get(task) ?? nowMs),
    );
  }
}
