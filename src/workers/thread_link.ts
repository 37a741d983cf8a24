/**
 * Link to a worker that is a thread.
 *
 * The thread runs `thread_entry.ts`, and speaks by a {@linkcode Wire}. The end of a thread is known for certain by the
 * runtime's `exit` only; why it ended is what came first: its own last words, a `kill()`, an error of the
 * runtime's.
 *
 * @module
 */
import { ThreadClock } from "../host/libc_thread.ts";
import { macrotask } from "../host/macrotask.ts";
import { detached } from "../host/microtask.ts";
import {
  loadThreads,
  type Thread,
  type ThreadListener,
  type ThreadResourceLimits,
  type Threads,
} from "../host/thread.ts";
import { after, type HostTimer } from "../host/timers.ts";
import { watchShare } from "../loop/step_watch.ts";
import { type PackedError, packError, unpackError } from "./error_codec.ts";
import { dropHandles, packHandles } from "./handle_arguments.ts";
import type {
  JobSpec,
  LinkEnd,
  LinkListener,
  LinkStarter,
  NestedSpec,
  WorkerLink,
} from "./link.ts";
import type { TaskRef } from "./module_task.ts";
import { NestedDesk } from "./nested_desk.ts";
import {
  type DeathMessage,
  FromThread,
  type JobMessage,
  type JobRest,
  taskKey,
  TASKS_MAX,
  ToThread,
  type WithdrawMessage,
} from "./thread_protocol.ts";
import { THREAD_SCRIPT } from "./thread_script.ts";
import { Wire, wireMemory } from "./wire.ts";

/** How long a thread that is to end may take to load its script: until then it cannot be ended, and after that is lost. */
const STUCK_MS = 5_000;

/** Options of the threads of a pool. */
export interface ThreadLinkOptions {
  /** Name of the threads. */
  readonly name: string;
  /** Environment variables, in place of those of this process. */
  readonly env?: Readonly<Record<string, string>> | undefined;
  /** Limits of memory. */
  readonly resourceLimits?: ThreadResourceLimits | undefined;
  /** How long a thread that is to end may take to load its script; some seconds by default. */
  readonly stuckMs?: number | undefined;
}

/** Loads what starts threads. */
export async function loadThreadStarter(
  options: ThreadLinkOptions,
): Promise<LinkStarter> {
  return threadStarter(await loadThreads(), options);
}

/** Makes a starter of threads. */
export function threadStarter(
  threads: Threads,
  options: ThreadLinkOptions,
): LinkStarter {
  return (listener) => new ThreadLink(threads, options, listener);
}

/** Numbers of the tasks that the thread has been told. */
class TaskNumbers {
  readonly #numbers = new Map<string, number>();
  #last = -1;
  /** The task that was asked for last, which is often asked for again. */
  #recent: TaskRef | null = null;
  #recentNumber = -1;

  /** Returns the number of a task; -1 if it has none. */
  find(task: TaskRef): number {
    if (task === this.#recent) return this.#recentNumber;
    const number = this.#numbers.get(taskKey(task)) ?? -1;
    this.remember(task, number);
    return number;
  }

  /** Returns a number for a task that has none: a new one, or that of the oldest task. */
  assign(task: TaskRef): number {
    this.#last = (this.#last + 1) % TASKS_MAX;
    if (this.#numbers.size === TASKS_MAX) {
      this.#numbers.delete(this.#numbers.keys().next().value!);
    }
    this.#numbers.set(taskKey(task), this.#last);
    this.remember(task, this.#last);
    return this.#last;
  }

  remember(task: TaskRef, number: number): void {
    this.#recent = task;
    this.#recentNumber = number;
  }
}

/** Returns what goes along with a job, or undefined if all of it is as usual. */
function restOf(
  { name, task, remainingMs, locals }: JobSpec,
): JobRest | undefined {
  const isUsual = remainingMs === Infinity && locals === null &&
    name === ("name" in task ? task.name : "");
  return isUsual ? undefined : { name, remainingMs, locals };
}

/** A thread, as its pool sees it. */
class ThreadLink implements WorkerLink, ThreadListener {
  readonly #listener: LinkListener;
  readonly #memory = wireMemory();
  #wire: Wire | null = null;
  #thread: Thread | null = null;
  /** State of the thread: a lost one has never said that it is ready, and counts as ended. */
  #phase: "starting" | "working" | "lost" | "ended" = "starting";
  /** Numbers of jobs that come when the thread is gone, and cannot be sent; null while it is there. */
  #unsent: number[] | null = null;
  /** Why the thread ends, if that is known. */
  #fate: Pick<LinkEnd, "kind" | "cause"> | null = null;
  readonly #tasks = new TaskNumbers();
  #clock: ThreadClock | null = null;
  readonly #stuckMs: number;
  /** Limit for the start of a thread that is to end. */
  #stuckTimer: HostTimer | null = null;
  /** Jobs that jobs of the thread have submitted; null before the first. */
  #nested: NestedDesk | null = null;

  constructor(
    threads: Threads,
    options: ThreadLinkOptions,
    listener: LinkListener,
  ) {
    this.#listener = listener;
    this.#stuckMs = options.stuckMs ?? STUCK_MS;
    // Elsewhere, as a thread tells of itself in the async context in which it was started.
    detached(() => this.start(threads, options));
  }

  start(threads: Threads, options: ThreadLinkOptions): void {
    if (this.#fate !== null) return this.ended(null);
    try {
      const { name, env, resourceLimits } = options;
      const watch = watchShare.current?.(name) ?? null;
      const data = { memory: this.#memory, watch };
      const transfer = watch === null ? [] : [watch.port];
      const settings = { name, env, resourceLimits, data, transfer };
      this.#thread = threads.start(THREAD_SCRIPT, settings, this);
    } catch (error) {
      this.#fate = { kind: "start", cause: error };
      return this.ended(null);
    }
    this.#wire = new Wire(this.#memory, this.#thread.mail, "pool");
    this.listen();
  }

  // -- The pool's side --

  send(job: JobSpec): void {
    const wire = this.#wire;
    if (wire === null || this.#phase === "ended") return;
    const { id, task } = job;
    if (this.#unsent !== null) {
      this.#unsent.push(id);
      return;
    }
    const rest = restOf(job);
    let number = this.#tasks.find(task);
    if (number < 0) {
      number = this.#tasks.assign(task);
      wire.send(ToThread.TASK, number, task);
    }
    const transfer = [...job.transfer];
    const args = packHandles(job.args, transfer);
    const message: JobMessage = rest === undefined
      ? [number, args]
      : [number, args, rest];
    try {
      wire.send(ToThread.JOB, id, message, transfer);
    } catch (error) {
      dropHandles(args);
      throw error;
    }
  }

  abort(id: number, reason: unknown): void {
    this.tell(ToThread.ABORT, id, packError(reason));
    this.#nested?.cancel(id, reason);
  }

  ping(): void {
    this.tell(ToThread.PING);
  }

  close(): void {
    if (this.#wire !== null) this.tell(ToThread.CLOSE);
    else this.#fate ??= { kind: "closed", cause: undefined };
  }

  kill(): void {
    this.endAs("killed", undefined);
  }

  cpuMs(): number {
    return this.#clock?.cpuMs() ?? NaN;
  }

  livesOn(): boolean | undefined {
    if (this.#thread === null) return false;
    if (this.#phase === "lost") return true;
    const clock = this.#clock;
    const exists = clock?.exists();
    if (this.#phase === "ended") clock?.close();
    return exists;
  }

  tell(kind: number, id = 0, value: unknown = null): void {
    if (this.#phase !== "ended") this.#wire?.send(kind, id, value);
  }

  /** Notes why the thread ends, and ends it as soon as that is safe. */
  endAs(kind: LinkEnd["kind"], cause: unknown): void {
    this.#fate ??= { kind, cause };
    // A thread that has sent something is not loading its script any more.
    const isSafe = this.#phase === "working" || kind === "protocol";
    if (isSafe) this.#thread?.terminate();
    else if (this.#thread !== null && this.#phase === "starting") {
      this.#stuckTimer ??= after(this.#stuckMs, this.#lose, false);
    }
  }

  /** Counts a thread as lost that is to end, and may never be ready for that. */
  readonly #lose = (): void => {
    this.#stuckTimer = null;
    if (this.#phase !== "starting") return;
    this.#phase = "lost";
    this.#listener.ended({ ...this.#fate!, exitCode: null });
  };

  // -- The thread's side --

  /** Waits for messages. */
  listen(): void {
    const sleep = this.#wire!.sleep();
    if (sleep === null) macrotask(this.#receiveAll);
    else sleep.then(this.#receiveAll);
  }

  readonly #receiveAll = (): void => {
    if (this.#phase === "ended") return;
    this.drain();
    if (this.#fate?.kind !== "protocol") this.listen();
  };

  drain(): void {
    try {
      this.#wire?.drain(this.#receive);
    } catch (error) {
      this.endAs("protocol", error);
    }
  }

  readonly #receive = (kind: number, id: number, value: unknown): void => {
    const listener = this.#listener;
    switch (kind) {
      case FromThread.RETURNED:
        this.#nested?.parentEnded(id);
        return listener.returned(id, value);
      case FromThread.THREW:
        this.#nested?.parentEnded(id);
        return listener.threw(id, unpackError(value as PackedError));
      case FromThread.PROGRESSED:
        return listener.progressed(id, value);
      case FromThread.ANSWERED:
        return listener.answered(value as number);
      case FromThread.READY:
        return this.ready(id);
      case FromThread.CLOSED:
        this.#fate ??= { kind: "closed", cause: undefined };
        return;
      case FromThread.DIED: {
        const [kind, error] = value as DeathMessage;
        this.#fate ??= { kind, cause: unpackError(error) };
        return;
      }
      case FromThread.NESTED:
        this.#nested ??= this.openDesk();
        return this.#nested.submit(id, value as NestedSpec);
      case FromThread.WITHDRAWN: {
        const [number, reason] = value as WithdrawMessage;
        return this.#nested?.withdraw(id, number, unpackError(reason));
      }
      default:
        throw new RangeError(`Cannot read a message: its kind is ${kind}`);
    }
  };

  openDesk(): NestedDesk {
    return new NestedDesk(this.#listener, {
      returned: (number, value) =>
        this.tell(ToThread.NESTED_RETURNED, number, value),
      threw: (number, error) =>
        this.tell(ToThread.NESTED_THREW, number, packError(error)),
      progressed: (number, value) =>
        this.tell(ToThread.NESTED_PROGRESSED, number, value),
    });
  }

  ready(threadId: number): void {
    if (this.#phase === "lost") return this.#thread!.terminate();
    this.#phase = "working";
    if (threadId !== 0) this.#clock = new ThreadClock(threadId);
    if (this.#fate !== null) this.#thread?.terminate();
    else this.#listener.ready();
  }

  messaged(message: unknown): void {
    const cause = new TypeError(
      `Cannot read a message of a thread: ${typeof message} is not of the protocol`,
    );
    this.endAs("protocol", cause);
  }

  failed(error: unknown): void {
    const code = error instanceof Error && "code" in error ? error.code : null;
    if (code === "ERR_WORKER_OUT_OF_MEMORY") {
      this.#fate ??= { kind: "out-of-memory", cause: error };
    } else if (this.#phase === "working") {
      this.#fate ??= { kind: "error", cause: error };
    } else this.#fate ??= { kind: "start", cause: error };
  }

  ended(exitCode: number | null): void {
    this.#stuckTimer?.cancel();
    this.#stuckTimer = null;
    if (this.#phase === "ended") return;
    if (this.#phase === "lost") {
      this.#phase = "ended";
      this.#wire!.close();
      return;
    }
    const unsent = this.#unsent = [];
    // Last words come in, and results before them, after which the pool may send jobs.
    this.drain();
    const unread = this.unread();
    const end = { ...this.endOf(exitCode), unread, unsent };
    this.#phase = "ended";
    this.#wire?.close();
    this.#clock?.close();
    this.#nested?.close();
    this.#listener.ended(end);
  }

  /** Returns the numbers of the jobs that the thread has not taken; undefined if it has spoilt its memory. */
  unread(): number[] | undefined {
    try {
      return this.#wire?.untaken(ToThread.JOB);
    } catch (error) {
      this.#fate ??= { kind: "protocol", cause: error };
      return undefined;
    }
  }

  endOf(exitCode: number | null): LinkEnd {
    const { kind, cause } = this.#fate ?? { kind: "exit", cause: undefined };
    const isAsked = kind === "killed" || kind === "closed";
    if (isAsked || this.#phase === "working") return { kind, exitCode, cause };
    const why = cause ?? new Error(
      `Cannot start a thread: it ended with exit code ${exitCode} before it was ready`,
    );
    return { kind: "start", exitCode, cause: why };
  }
}
