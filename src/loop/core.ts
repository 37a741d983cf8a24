/**
 * The seam of the loop: how the parts of `src/loop/`, and the folders that are
 * built on it, reach what an {@linkcode EventLoop} does for them and programs
 * never call.
 *
 * `loop[core]` is the only way in. Nothing here has code of its own: the kernel
 * (`kernel.ts`) implements it, and each part has a file named after it.
 *
 * ```ts ignore
 * const { outside } = loop[core];
 * outside.outsideBegan();
 * loop[core].schedule(task);
 * ```
 *
 * @module
 */
import type { Host } from "../host/host.ts";
import type { DebugMode } from "./debug_mode.ts";
import type { DefaultExecutor } from "./default_executor.ts";
import type { Endings } from "./endings.ts";
import type { EventLoop } from "./event_loop.ts";
import type { Descriptors } from "./descriptors.ts";
import type { Instruments } from "./instruments.ts";
import type { OutsideWork } from "./outside_work.ts";
import type { PriorityReadyQueue } from "./priority_ready_queue.ts";
import type { Runnable, Timer } from "./runnable.ts";
import type { SignalHandlers } from "./signal_handlers.ts";
import type { StrayWaits } from "./stray_waits.ts";
import type { Task } from "./task.ts";
import type { TaskList } from "./task_list.ts";
import type { TickCallback } from "./tick_timer.ts";
import type { TimerHandle } from "./timer_handle.ts";
import type { UnseenFailures } from "./unseen_failures.ts";
import type { UnstartedOperations } from "./unstarted_operations.ts";

/** Key of an event loop's core. */
export const core: unique symbol = Symbol("core");

/** Queueing of what runs in a turn to come. */
export interface ReadyCore {
  /** Ready queue of a loop that goes by priority; null on every other loop. */
  readonly ranking: PriorityReadyQueue | null;
  /**
   * Whether a subclass overrides `callSoon` or `callAt` and so wants to see all
   * scheduling: whatever has a shorter way of its own must not take it then.
   */
  readonly overridden: boolean;
  /** Callback in which `schedule` hands a runnable to an overridden `callSoon`. */
  readonly resume: (runnable: Runnable) => void;
  /** Turns so far; during a turn its number. */
  readonly turns: number;
  /** Queues a task, wait or callback to run; works between turns too, and wakes a parked loop. */
  schedule(runnable: Runnable): void;
  /** Reports what a runnable has thrown to the exception handler. */
  runnableFailed(runnable: Runnable, error: unknown): void;
  /** Throws the `LoopClosedError` for `what`, a phrase such as "create a task". */
  refuseClosed(what: string): never;
}

/** Timers: callbacks that have a deadline. */
export interface TimerCore {
  /** Puts a timer into the queue; a parked loop takes it into account. Throws on a closed loop. */
  startTimer(timer: Timer): void;
  /** Lists the timers that are pending, in no particular order. */
  list(): Timer[];
  /** Takes a timer out of the queue, or out of the ready queue; does nothing if it is in neither. */
  dropTimer(timer: Timer): void;
  /** Sets another deadline for a timer, be it pending or not. Throws on a closed loop. */
  moveTimer(timer: TimerHandle, whenMs: number): void;
  /** Notes that a pending timer began or ceased to keep the process alive. */
  timerHoldChanged(holds: boolean): void;
  /** Makes a timer for ticks, which is never due until it is moved. */
  createTickTimer<T>(callback: TickCallback<T>, target: T): TimerHandle;
}

/** Ticks: several of one timer may run in one turn. */
export interface TickCore {
  /** How many ticks a timer may run in one go, each of which counts as a handle. */
  tickBudget(): number;
  /** Counts ticks that have run. `unfinished` has more of them and runs next, after the gate. */
  tickedFor(ticks: number, unfinished: TimerHandle | null): void;
}

/** Pace of async functions, whose continuations run between two turns. */
export interface AsyncCore {
  /** Set when a turn resumes a promise reaction: the next turn leaves it time. */
  promiseResumed: boolean;
  /**
   * Whether an async function may go on with another operation that is ready,
   * instead of waiting a turn for it. Counts the question.
   */
  mayStartAtOnce(): boolean;
  /** Whether a task that computes has kept others waiting, or has a cancellation to hear of. */
  isTimeToYield(): boolean;
}

/** Running a loop, for those that are its owner. */
export interface RunCore {
  readonly host: Host;
  /** Whether the clock of the loop is virtual. */
  readonly virtual: boolean;
  readonly signals: SignalHandlers;
  readonly descriptors: Descriptors;
  /** Runs turns until the loop is stopped; `isAsync` if the first may call an async function. */
  drive(mode: RunMode, isAsync?: boolean): Promise<void>;
  /** Whether the loop was started by `runForever`. */
  runsForever(): boolean;
  /** How many callbacks and tasks are ready. */
  readyCount(): number;
  /**
   * Has the run go on that {@linkcode EventLoop.stop} was about to end, in the turn in which that was called; false if there
   * is none.
   */
  takeStopBack(): boolean;
  /** Ends the run with an error. */
  failRun(error: Error): void;
}

/** How long a loop runs: until `stop()`, or until a future is done, which calls `stop()`. */
export type RunMode = "forever" | "until-complete";

/**
 * All that an event loop does for the library alone.
 *
 * @internal
 */
export interface LoopCore extends ReadyCore, TickCore, AsyncCore, RunCore {
  /** The loop itself. */
  readonly loop: EventLoop;
  readonly timers: TimerCore;
  /** Tasks that have not ended. */
  readonly tasks: TaskList;
  /** Counts of what waits outside the loop. */
  readonly outside: OutsideWork;
  /** Failed futures that nobody has looked at. */
  readonly failures: UnseenFailures;
  /** Operations that nobody has waited for. */
  readonly unstarted: UnstartedOperations;
  /** Waits and subscriptions of code outside of tasks, which end with the loop. */
  readonly strays: StrayWaits;
  /** Parts of the library that are told when the loop ends. */
  readonly endings: Endings;
  /** The executor of `runInExecutor(null, …)`. */
  readonly executor: DefaultExecutor;
  /** Creation stacks, and the time that callbacks take. */
  readonly debug: DebugMode;
  /** Instruments; null on a loop that has none. */
  readonly instruments: Instruments | null;

  /** Whether new objects need more than their fields: a creation stack, or an async context. */
  readonly instrumented: boolean;
  /** Whether the loop is in debug mode. */
  readonly debugging: boolean;
  /** Whether callbacks and tasks run in the async context of the code that scheduled them. */
  readonly inheritsContext: boolean;
  /** Whether resumptions of async functions are observed, by debug mode, an instrument or a watch. */
  readonly observing: boolean;
  /** Notes that an async function is about to be resumed, for the watch. Returns whether `resumeObserved` has to do it. */
  noteResume(task: Task<unknown>): boolean;
  /** Resumes an async function on behalf of debug mode and instruments. */
  resumeObserved(task: Task<unknown>, resume: () => void): void;
  /** Takes over the watch of this thread, or lets go of it. Not inside of a turn. */
  adoptWatch(): void;
  /** Returns a function that runs others in the async context of now. */
  captureContext(): <R>(fn: () => R) => R;
  /** Has the exception handler told if a cancelled task does not react for long. */
  warnOfStuckTask(task: Task<unknown>): TimerHandle;
}
