/**
 * Every error class that a caller may want to catch, and nothing else.
 *
 * They keep apart what has to be handled apart: cancellation
 * ({@linkcode CancelledError}), an object in the wrong state for what was asked
 * ({@linkcode InvalidStateError}), a call that is wrong wherever it is made
 * ({@linkcode MisuseError}), and the world outside ({@linkcode OsError}). Bad
 * arguments are plain `TypeError`s and `RangeError`s.
 *
 * @module
 */

/**
 * Thrown at the point of waiting of a task that is being cancelled.
 *
 * Clean up in `finally`, then let it go on: a task that ends with it counts as
 * cancelled, not as failed. Catching it and going on is allowed, but whoever
 * asked for the cancellation may be waiting for the task to end.
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
  /** What was given to `cancel(reason)`; `undefined` if nothing was. */
  readonly reason: unknown;

  /**
   * Makes the error that cancelling throws.
   *
   * @param reason What to say about the cause, of any type.
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
 * Thrown for a call that is wrong by its place or order, whatever its
 * arguments: a second `run` on a running loop, an operation awaited twice,
 * an object of another loop.
 */
export class MisuseError extends Error {
  static {
    this.prototype.name = "MisuseError";
  }
}

/** Thrown for anything that is asked of a closed loop, or was still waiting when it closed. */
export class LoopClosedError extends MisuseError {
  static {
    this.prototype.name = "LoopClosedError";
  }
}

/** One line of a {@linkcode DeadlockError}: a task and what it waits for. */
export interface BlockedTask {
  /** The task's name. */
  readonly name: string;
  /** What it waits for, in words. */
  readonly waitsFor: string;
  /** Where the task was made; only in debug mode. */
  readonly creationStack?: string;
}

/**
 * Thrown when every task waits for something that nothing can bring about.
 *
 * The message names each task and what it waits for.
 */
export class DeadlockError extends Error {
  /** The tasks that wait, in the order in which they were made. */
  readonly tasks: readonly BlockedTask[];

  /**
   * Makes the error.
   *
   * @param message What to say.
   * @param tasks The tasks that wait.
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
   * @param message What could not be done, to which descriptor.
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

/** Thrown at those who wait at a barrier that is aborted or reset. */
export class BrokenBarrierError extends MisuseError {
  static {
    this.prototype.name = "BrokenBarrierError";
  }
}

/**
 * Thrown by a channel that is closed: by `send` at once, by `receive` when no
 * value is left.
 *
 * @example What could not be sent is not lost
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
  /** The value that was not sent; not there in the error of a `receive`. */
  declare readonly value?: unknown;

  /**
   * Makes the error.
   *
   * @param message What to say.
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
 * Thrown by a task group in which something failed: all failures in one.
 *
 * `errors` has those of the children in the order in which the group learnt of
 * them; that of the body comes last.
 */
export class TaskGroupError extends AggregateError {
  static {
    this.prototype.name = "TaskGroupError";
  }
}

/** Thrown when something is asked of a task group that is not open for it: not entered yet, or over. */
export class TaskGroupClosedError extends MisuseError {
  static {
    this.prototype.name = "TaskGroupClosedError";
  }
}

/** Thrown at a job for which a limit has no room left in line. */
export class OverloadError extends Error {
  static {
    this.prototype.name = "OverloadError";
  }
}

/** Thrown by a rate limiter that refuses instead of making wait. */
export class RateLimitError extends Error {
  /** How long to wait before it is worth asking again, in milliseconds. */
  readonly retryAfterMs: number;

  /**
   * Makes the error.
   *
   * @param message What to say.
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
