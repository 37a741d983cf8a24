/**
 * Error classes of the library.
 *
 * There is a class for each kind of error that a program handles in its own
 * way: cancellation ({@linkcode CancelledError}), an object in the wrong state
 * for a call ({@linkcode InvalidStateError}), a programming mistake
 * ({@linkcode MisuseError}), and a failure of the operating system
 * ({@linkcode OsError}). Bad arguments throw plain `TypeError`s and
 * `RangeError`s.
 *
 * @module
 */

/**
 * Thrown into a task that is being cancelled, at the point where it waits.
 *
 * Clean up in `finally`, and rethrow it if you catch it: a task that ends with
 * it counts as cancelled, not as failed. Catching it and going on is allowed,
 * but the code that cancelled the task may be waiting for it to end.
 *
 * @example Cleaning up
 * ```ts
 * import { CancelledError, getRunningLoop, run, sleep } from "@rota/rota";
 * import { assertEquals } from "@std/assert";
 *
 * const log: unknown[] = [];
 * await run(function* () {
 *   const task = getRunningLoop().createTask(function* () {
 *     try {
 *       yield* sleep(1_000);
 *     } catch (error) {
 *       if (error instanceof CancelledError) log.push(error.reason);
 *       throw error;
 *     } finally {
 *       log.push("cleaned up");
 *     }
 *   });
 *   yield* sleep(10);
 *   task.cancel("too slow");
 * }, { host: "virtual" });
 * assertEquals(log, ["too slow", "cleaned up"]);
 * ```
 */
export class CancelledError extends Error {
  /** Argument of `cancel(reason)`; `undefined` if there was none. */
  readonly reason: unknown;

  /**
   * Makes the error that cancelling throws.
   *
   * @param reason Cause, of any type.
   */
  constructor(reason?: unknown) {
    super(
      reason === undefined ? "Cancelled" : `Cancelled: ${describe(reason)}`,
    );
    this.reason = reason;
  }

  static {
    this.prototype.name = "CancelledError";
  }
}

/** A short text for a reason, which may be anything. */
function describe(reason: unknown): string {
  try {
    return reason instanceof Error ? reason.message : String(reason);
  } catch {
    return "a reason that has no text"; // such as an object without a prototype
  }
}

/** Thrown when a future, task or handle is not in the state that a call needs. */
export class InvalidStateError extends Error {
  static {
    this.prototype.name = "InvalidStateError";
  }
}

/**
 * Thrown for a call in the wrong place or order, whatever its arguments: a
 * second `run` on a running loop, an operation that is awaited twice, an object
 * of another loop.
 */
export class MisuseError extends Error {
  static {
    this.prototype.name = "MisuseError";
  }
}

/** Thrown by calls on a closed loop, and by waits that were pending when the loop closed. */
export class LoopClosedError extends MisuseError {
  static {
    this.prototype.name = "LoopClosedError";
  }
}

/** Entry of a {@linkcode DeadlockError}: a task and what it waits for. */
export interface BlockedTask {
  /** The task's name. */
  readonly name: string;
  /** Description of what the task waits for. */
  readonly waitsFor: string;
  /** Where the task was made; only in debug mode. */
  readonly creationStack?: string;
}

/**
 * Thrown when every task waits and nothing is left that could wake one.
 *
 * The message names each task and what it waits for.
 */
export class DeadlockError extends Error {
  /** The waiting tasks, in the order of their creation. */
  readonly tasks: readonly BlockedTask[];

  /**
   * Makes the error.
   *
   * @param message Text of the message.
   * @param tasks The waiting tasks.
   */
  constructor(message: string, tasks: readonly BlockedTask[]) {
    super(message);
    this.tasks = tasks;
  }

  static {
    this.prototype.name = "DeadlockError";
  }
}

/** Thrown by `run()` when a signal of the operating system ended the program's main task. */
export class InterruptedError extends Error {
  /** The signal, such as `"SIGINT"`. */
  readonly signal: string;

  /**
   * Makes the error.
   *
   * @param signal The signal's name.
   */
  constructor(signal: string) {
    super(`Interrupted by ${signal}`);
    this.signal = signal;
  }

  static {
    this.prototype.name = "InterruptedError";
  }
}

/** Thrown when the host of a loop cannot watch descriptors; the message says what to grant. */
export class DescriptorsUnsupportedError extends Error {
  static {
    this.prototype.name = "DescriptorsUnsupportedError";
  }
}

/** Thrown when a call of the operating system fails. */
export class OsError extends Error {
  /** The symbolic name, such as `"EBADF"`. */
  readonly code: string;
  /** The number behind the name, on this platform. */
  readonly errno: number;

  /**
   * Makes the error.
   *
   * @param message Text of the message: which call failed, on which descriptor.
   * @param code The symbolic name of the error.
   * @param errno Its number.
   */
  constructor(message: string, code: string, errno: number) {
    super(message);
    this.code = code;
    this.errno = errno;
  }

  static {
    this.prototype.name = "OsError";
  }
}

/** Thrown by `getNowait()` on a queue that has no item. */
export class QueueEmptyError extends Error {
  static {
    this.prototype.name = "QueueEmptyError";
  }
}

/** Thrown by `putNowait()` on a queue that has no room. */
export class QueueFullError extends Error {
  static {
    this.prototype.name = "QueueFullError";
  }
}

/** Thrown by a queue that was shut down: by `put` at once, by `get` when no item is left. */
export class QueueShutDownError extends Error {
  static {
    this.prototype.name = "QueueShutDownError";
  }
}

/** Thrown by the waits at a barrier that is aborted or reset. */
export class BrokenBarrierError extends MisuseError {
  static {
    this.prototype.name = "BrokenBarrierError";
  }
}

/**
 * Thrown by a channel that is closed: by `send` at once, by `receive` when no
 * value is left.
 *
 * @example A value that could not be sent is not lost
 * ```ts
 * import { Channel, ChannelClosedError, run } from "@rota/rota";
 * import { assertEquals, assertRejects } from "@std/assert";
 *
 * const channel = new Channel<number>();
 * channel.close();
 * const error = await assertRejects(
 *   () => run(() => channel.send(42)),
 *   ChannelClosedError,
 * );
 * assertEquals(error.value, 42);
 * ```
 */
export class ChannelClosedError extends Error {
  /** The value that was not sent; absent in the error of a `receive`. */
  declare readonly value?: unknown;

  /**
   * Makes the error.
   *
   * @param message Text of the message.
   * @param rest The value that was not sent, if there is one.
   */
  constructor(message: string, ...rest: [value: unknown] | []) {
    super(message);
    if (rest.length > 0) {
      Object.defineProperty(this, "value", {
        value: rest[0],
        enumerable: true,
      });
    }
  }

  static {
    this.prototype.name = "ChannelClosedError";
  }
}

/** Thrown when something was not done by its deadline. */
export class TimeoutError extends Error {
  static {
    this.prototype.name = "TimeoutError";
  }
}

/**
 * Thrown by a task group in which a task or the body failed; holds all
 * failures.
 *
 * `errors` has the failures of the tasks in the order in which they ended; the
 * failure of the body comes last.
 */
export class TaskGroupError extends AggregateError {
  static {
    this.prototype.name = "TaskGroupError";
  }
}

/** Thrown when a task is started in a task group that is not entered yet, or is over. */
export class TaskGroupClosedError extends MisuseError {
  static {
    this.prototype.name = "TaskGroupClosedError";
  }
}

/** Thrown for a job that a limit rejects because its queue is full. */
export class OverloadError extends Error {
  static {
    this.prototype.name = "OverloadError";
  }
}

/** Thrown by a rate limiter that refuses a call instead of letting it wait. */
export class RateLimitError extends Error {
  /** How long to wait before trying again, in milliseconds. */
  readonly retryAfterMs: number;

  /**
   * Makes the error.
   *
   * @param message Text of the message.
   * @param retryAfterMs How long to wait.
   */
  constructor(message: string, retryAfterMs: number) {
    super(message);
    this.retryAfterMs = retryAfterMs;
  }

  static {
    this.prototype.name = "RateLimitError";
  }
}

/** Thrown by a source with `overflow: "error"` whose buffer was full when one more item came. */
export class SourceOverflowError extends Error {
  static {
    this.prototype.name = "SourceOverflowError";
  }
}

/** Thrown when an item is to be taken from a source that has ended. */
export class SourceClosedError extends Error {
  static {
    this.prototype.name = "SourceClosedError";
  }
}

/**
 * Thrown for a web socket whose connection is closed, or was never made. `cause` is the
 * error that the runtime told of, if any.
 */
export class WebSocketClosedError extends Error {
  /** Close code; 1006 if the connection was lost or never made. */
  readonly code: number;
  /** Reason that the peer gave; `""` if none. */
  readonly reason: string;
  /** Whether both sides have said goodbye. */
  readonly wasClean: boolean;

  /**
   * Makes the error.
   *
   * @param message Text of the message.
   * @param close Code, reason and whether the end was clean.
   * @param options The cause.
   */
  constructor(
    message: string,
    close: {
      readonly code: number;
      readonly reason: string;
      readonly wasClean: boolean;
    },
    options?: ErrorOptions,
  ) {
    super(message, options);
    this.code = close.code;
    this.reason = close.reason;
    this.wasClean = close.wasClean;
  }

  static {
    this.prototype.name = "WebSocketClosedError";
  }
}

/** Thrown for a message of a web socket that is larger than allowed. */
export class MessageTooLargeError extends Error {
  /** The size of the message, in bytes. */
  readonly bytes: number;
  /** The limit, in bytes. */
  readonly maxBytes: number;

  /**
   * Makes the error.
   *
   * @param message Text of the message.
   * @param bytes The size of the message.
   * @param maxBytes The limit.
   */
  constructor(message: string, bytes: number, maxBytes: number) {
    super(message);
    this.bytes = bytes;
    this.maxBytes = maxBytes;
  }

  static {
    this.prototype.name = "MessageTooLargeError";
  }
}

/**
 * Thrown by a web socket with reconnection that has given up. `cause` is the error of the
 * last connection.
 */
export class ReconnectLimitError extends Error {
  /** How many attempts in a row have failed. */
  readonly failures: number;

  /**
   * Makes the error.
   *
   * @param message Text of the message.
   * @param failures How many attempts in a row have failed.
   * @param options The cause.
   */
  constructor(message: string, failures: number, options?: ErrorOptions) {
    super(message, options);
    this.failures = failures;
  }

  static {
    this.prototype.name = "ReconnectLimitError";
  }
}

/**
 * How a worker died: it threw (`"error"`) or left a rejection unhandled
 * (`"rejection"`) outside of any job, ended its process or thread (`"exit"`), had
 * no memory left (`"out-of-memory"`), was killed, reacted no more
 * (`"unresponsive"`), could not start (`"start"`), or sent what nobody
 * understands (`"protocol"`).
 */
export type WorkerCrashKind =
  | "error"
  | "rejection"
  | "exit"
  | "out-of-memory"
  | "killed"
  | "unresponsive"
  | "start"
  | "protocol";

/** Thrown by a job whose worker died before the job had ended. `cause` is what the worker threw, if that is known. */
export class WorkerCrashError extends Error {
  /** How the worker died. */
  readonly kind: WorkerCrashKind;
  /** Exit code of the thread or process, if it has one. */
  readonly exitCode: number | null;

  /**
   * Makes the error.
   *
   * @param message Text of the message.
   * @param kind How the worker died.
   * @param exitCode Exit code of the thread or process; null if it has none.
   * @param options The cause.
   */
  constructor(
    message: string,
    kind: WorkerCrashKind,
    exitCode: number | null,
    options?: ErrorOptions,
  ) {
    super(message, options);
    this.kind = kind;
    this.exitCode = exitCode;
  }

  static {
    this.prototype.name = "WorkerCrashError";
  }
}

/** Thrown when a job is given to an executor that has been shut down, and at calls of a loop that has been closed. */
export class ExecutorShutDownError extends MisuseError {
  static {
    this.prototype.name = "ExecutorShutDownError";
  }
}

/**
 * Reasons for which a supervisor refuses a child:
 *
 * - `"duplicate-id"`: two children have the same `id`;
 * - `"bad-combination"`: `significant` together with `restart: "permanent"` or
 *   with a supervisor that has `autoShutdown: "never"`;
 * - `"nothing-significant"`: `autoShutdown` without a significant child;
 * - `"brutal-kill"`: `shutdown: "brutal-kill"` for a supervisor.
 */
export type ChildSpecProblem =
  | "duplicate-id"
  | "bad-combination"
  | "nothing-significant"
  | "brutal-kill";

/** Thrown for children that contradict each other, themselves or the options of their supervisor. */
export class ChildSpecError extends TypeError {
  /** The kind of contradiction. */
  readonly problem: ChildSpecProblem;
  /** Id of the child concerned; `undefined` if it is the supervisor as a whole. */
  readonly childId: string | undefined;

  /**
   * Makes the error.
   *
   * @param message Text of the message.
   * @param problem The kind of contradiction.
   * @param childId Id of the child concerned, if it is about one.
   */
  constructor(message: string, problem: ChildSpecProblem, childId?: string) {
    super(message);
    this.problem = problem;
    this.childId = childId;
  }

  static {
    this.prototype.name = "ChildSpecError";
  }
}

/** Thrown when a child could not be started. `cause` is what the start threw. */
export class ChildStartError extends Error {
  /** Id of the child. */
  readonly childId: string;

  /**
   * Makes the error.
   *
   * @param message Text of the message.
   * @param childId Id of the child.
   * @param options The cause.
   */
  constructor(message: string, childId: string, options?: ErrorOptions) {
    super(message, options);
    this.childId = childId;
  }

  static {
    this.prototype.name = "ChildStartError";
  }
}

/**
 * States of a child, or of its supervisor, in which a call is refused:
 *
 * - `"not-found"`: there is no child of this id;
 * - `"running"`, `"restarting"`: the child must not run, nor be about to;
 * - `"already-started"`, `"already-present"`: the id is taken, by a child that
 *   runs or by one that does not;
 * - `"dynamic"`: children of a dynamic supervisor have no ids for such calls;
 * - `"max-children"`: a dynamic supervisor has as many children as it may have;
 * - `"abandoned"`: an earlier run of the child could not be ended, and goes on.
 */
export type ChildStateProblem =
  | "not-found"
  | "running"
  | "restarting"
  | "already-started"
  | "already-present"
  | "dynamic"
  | "max-children"
  | "abandoned";

/** Thrown by a call of a supervisor that the state of a child does not allow. */
export class ChildStateError extends InvalidStateError {
  /** The state that is in the way. */
  readonly problem: ChildStateProblem;
  /** Id of the child. */
  readonly childId: string;

  /**
   * Makes the error.
   *
   * @param message Text of the message.
   * @param problem The state that is in the way.
   * @param childId Id of the child.
   */
  constructor(message: string, problem: ChildStateProblem, childId: string) {
    super(message);
    this.problem = problem;
    this.childId = childId;
  }

  static {
    this.prototype.name = "ChildStateError";
  }
}

/**
 * Thrown by a child to end itself with `shutdown`: a deliberate end, after which
 * a transient child is not restarted. Like OTP's `exit({shutdown, Reason})`.
 *
 * @example A child that has nothing more to do
 * ```ts
 * import { ChildShutdown, run, sleep, Supervisor } from "@rota/rota";
 * import { assertEquals } from "@std/assert";
 *
 * let starts = 0;
 * await run(async () => {
 *   await using supervisor = new Supervisor({
 *     children: [{
 *       id: "import",
 *       restart: "transient",
 *       *start() {
 *         starts++;
 *         yield* sleep(10);
 *         throw new ChildShutdown("no more files");
 *       },
 *     }],
 *   });
 *   await supervisor.start();
 *   await sleep(100);
 * }, { host: "virtual" });
 * assertEquals(starts, 1);
 * ```
 */
export class ChildShutdown extends Error {
  /** The argument of the constructor, of any type. */
  readonly reason: unknown;

  /**
   * Makes the error.
   *
   * @param reason Cause, of any type.
   */
  constructor(reason?: unknown) {
    super(
      reason === undefined ? "Shut down" : `Shut down: ${describe(reason)}`,
    );
    this.reason = reason;
  }

  static {
    this.prototype.name = "ChildShutdown";
  }
}

/** End of a child that has sent no heartbeat for longer than its `heartbeatMs`. */
export class HeartbeatLostError extends Error {
  static {
    this.prototype.name = "HeartbeatLostError";
  }
}

/**
 * Thrown by a supervisor that has given up: its children needed more restarts
 * than `maxRestarts` within `withinMs`. `cause` is the error of the child that
 * was not restarted any more, if it has one.
 */
export class RestartLimitError extends Error {
  /** Id of the child that was not restarted any more. */
  readonly childId: string;
  /** The limit: how many restarts there may be. */
  readonly maxRestarts: number;
  /** The time within which they count, in milliseconds. */
  readonly withinMs: number;

  /**
   * Makes the error.
   *
   * @param message Text of the message.
   * @param childId Id of the child.
   * @param maxRestarts The limit.
   * @param withinMs The time within which restarts count.
   * @param options The cause.
   */
  constructor(
    message: string,
    childId: string,
    maxRestarts: number,
    withinMs: number,
    options?: ErrorOptions,
  ) {
    super(message, options);
    this.childId = childId;
    this.maxRestarts = maxRestarts;
    this.withinMs = withinMs;
  }

  static {
    this.prototype.name = "RestartLimitError";
  }
}

/** Thrown by calls of a supervisor that has ended, or ends before it has served them. */
export class SupervisorEndedError extends MisuseError {
  static {
    this.prototype.name = "SupervisorEndedError";
  }
}

/** Thrown when a hook is given to a phase of the shutdown that has begun already. */
export class HookTooLateError extends MisuseError {
  static {
    this.prototype.name = "HookTooLateError";
  }
}

/** Thrown when a watchdog is to do what the permissions do not allow; the message says what to grant. */
export class WatchdogUnsupportedError extends Error {
  static {
    this.prototype.name = "WatchdogUnsupportedError";
  }
}

/**
 * Thrown when something is made that is to notice a failure, and the permissions or the
 * operating system do not allow to look for it; the message says what that takes.
 */
export class DetectionUnsupportedError extends Error {
  static {
    this.prototype.name = "DetectionUnsupportedError";
  }
}

/**
 * Thrown by waits for a connection that is lost or closed before they have ended:
 * nobody knows whether the server has carried out what was asked. `cause` is the
 * error of the client, if it has told one.
 */
export class ConnectionLostError extends Error {
  static {
    this.prototype.name = "ConnectionLostError";
  }
}

/**
 * Thrown for a job of a fleet that its store did not take, or says nothing about:
 * the store is not there, or does not answer in time. A job that was on its way may
 * run all the same. `cause` is the last error of the client, if there was one.
 */
export class RemoteStoreError extends Error {
  static {
    this.prototype.name = "RemoteStoreError";
  }
}

/**
 * Reason of the {@linkcode CancelledError} with which a job is cancelled, and its
 * signal aborts, when the lease on it was lost: another worker may be running the job
 * by now, and the outcome of this run is refused.
 */
export class LeaseLostError extends Error {
  static {
    this.prototype.name = "LeaseLostError";
  }
}

/**
 * Thrown for a job of a fleet that its worker cannot read, as it was written by
 * another version of Rota, or by something else. The store keeps it as failed.
 */
export class JobVersionError extends Error {
  static {
    this.prototype.name = "JobVersionError";
  }
}

/** Thrown by the assertions of the testing tools. `cause` is the error behind it, if there is one. */
export class AssertionError extends Error {
  static {
    this.prototype.name = "AssertionError";
  }
}

/** Error that fault injection throws in place of a call. */
export class InjectedFaultError extends Error {
  static {
    this.prototype.name = "InjectedFaultError";
  }
}

/** Kinds of things that a test may leave behind. */
export type LeftoverKind =
  | "task"
  | "timer"
  | "descriptor"
  | "listener"
  | "permit"
  | "worker"
  | "operation";

/** Entry of a {@linkcode LeftoverError}: something that a test has left behind. */
export interface Leftover {
  /** The kind of thing. */
  readonly kind: LeftoverKind;
  /** The name in messages. */
  readonly name: string;
  /** Where it was made, if that is known. */
  readonly creationStack?: string;
}

/** Thrown by a test that has left something behind; the message names each, with the place where it was made. */
export class LeftoverError extends AssertionError {
  /** Everything that was left. */
  readonly leftovers: readonly Leftover[];

  /**
   * Makes the error.
   *
   * @param message Text of the message.
   * @param leftovers Everything that was left.
   */
  constructor(message: string, leftovers: readonly Leftover[]) {
    super(message);
    this.leftovers = leftovers;
  }

  static {
    this.prototype.name = "LeftoverError";
  }
}

/** Kind of failure that an exploration or a replay has found: see {@linkcode ExplorationError}. */
export type ExplorationFailureKind =
  | "error"
  | "unhandled"
  | "deadlock"
  | "livelock"
  | "standstill";

/** Facts of an {@linkcode ExplorationError}. */
export interface ExplorationFailure {
  /**
   * `"error"`: the program has thrown. `"unhandled"`: an error that no caller got
   * was reported to the exception handler. `"deadlock"`: every task waits, and
   * nothing is left to wake one. `"livelock"`: the program had not ended after
   * `stepsMax` steps. `"standstill"`: for a second it waited for something outside
   * the loop.
   */
  readonly kind: ExplorationFailureKind;
  /** Strategy that has found it; `"replay"` in a replay. */
  readonly strategy: string;
  /** Seed of the exploration; `null` in a replay. */
  readonly seed: number | null;
  /** How many runs it took, that in which it was found included. */
  readonly runs: number;
  /** Schedule with the fewest switches that was found, for `replay`. */
  readonly schedule: string;
  /** How many steps that schedule has. */
  readonly steps: number;
  /** How often a task was left for another one in that schedule although it could go on. */
  readonly preemptions: number;
  /** Table of that schedule: a column for each task, a line for each step. */
  readonly table: string;
  /** Real timers, clocks and random numbers that the program was seen to use, and where. */
  readonly uncontrolled: readonly string[];
}

/**
 * Thrown when an exploration has found a schedule in which the program fails, or a
 * replay has made it fail. The message has the schedule and a table of the steps;
 * `cause` is the error of the program.
 */
export class ExplorationError extends Error {
  /** Facts of the failure. */
  readonly failure: ExplorationFailure;

  /**
   * Makes the error.
   *
   * @param message Text of the message.
   * @param failure Facts of the failure.
   * @param options The error of the program, as `cause`.
   */
  constructor(
    message: string,
    failure: ExplorationFailure,
    options?: ErrorOptions,
  ) {
    super(message, options);
    this.failure = failure;
  }

  static {
    this.prototype.name = "ExplorationError";
  }
}

/**
 * Thrown when a schedule cannot be replayed: its text is broken or of another
 * version, or the program does something else than the one that was recorded.
 */
export class ScheduleError extends Error {
  /** The first step at which the program differs; `null` if it has not been run. */
  readonly step: number | null;

  /**
   * Makes the error.
   *
   * @param message Text of the message.
   * @param step The first step that differs.
   */
  constructor(message: string, step: number | null) {
    super(message);
    this.step = step;
  }

  static {
    this.prototype.name = "ScheduleError";
  }
}

/**
 * Thrown when a program that is explored does something else when it is run again
 * with the same schedule: nothing that is found in it could be replayed.
 */
export class NondeterminismError extends Error {
  /** The first step that differs. */
  readonly step: number;
  /** Real timers, clocks and random numbers that the program was seen to use, and where. */
  readonly uncontrolled: readonly string[];

  /**
   * Makes the error.
   *
   * @param message Text of the message.
   * @param step The first step that differs.
   * @param uncontrolled Timers, clocks and random numbers that the program was seen to use.
   * @param options The error of the program, as `cause`, if it had failed.
   */
  constructor(
    message: string,
    step: number,
    uncontrolled: readonly string[],
    options?: ErrorOptions,
  ) {
    super(message, options);
    this.step = step;
    this.uncontrolled = uncontrolled;
  }

  static {
    this.prototype.name = "NondeterminismError";
  }
}
