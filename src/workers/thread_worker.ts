/**
 * The worker's side of a thread: it takes messages from the wire, has jobs run, and ends when it is told to or something
 * went wrong.
 *
 * After a job, if none is under way, the thread blocks for a moment: a job that comes meanwhile begins half as late as one
 * for which the thread has to be woken from its event loop. Blocked it runs no timers, so it blocks briefly, and never
 * for long without a pass of its event loop.
 *
 * At the limit of the heap the runtime stops the running function without a word, unless a timer has called it. If
 * that was the loop of this file, the thread is dumb and the pool finds out. Else the loop goes on, and finds out when it
 * is pinged.
 *
 * @module
 */
import { monotonicMs } from "../host/clock.ts";
import { ownThreadId } from "../host/libc_thread.ts";
import { macrotask } from "../host/macrotask.ts";
import { loadHeapLimit, usedBytes } from "../host/v8.ts";
import { exitProcess, sealExit } from "../host/process.ts";
import type { OwnThread } from "../host/thread.ts";
import { onUncaught } from "../host/uncaught.ts";
import { holdLock } from "../host/web_lock.ts";
import { type PackedError, packError, unpackError } from "./error_codec.ts";
import { dropHandles, packHandles } from "./handle_arguments.ts";
import { JobRunner } from "./job_runner.ts";
import type { JobSpec, NestedSpec } from "./link.ts";
import type { TaskRef } from "./module_task.ts";
import { CLOSE_GRACE_MS } from "./pool_clock.ts";
import {
  type DeathMessage,
  FromThread,
  type JobMessage,
  ToThread,
  type WithdrawMessage,
} from "./thread_protocol.ts";
import { Wire } from "./wire.ts";

/** How long the thread blocks. */
const BLOCK_MS = 2;
/** How long the thread may go without a pass of its event loop. */
const PASS_MS = 2;
/** Microtasks that an async function may take to end, before the thread looks elsewhere. */
const HOPS = 8;
/** How long last words may wait for room. */
const LAST_WORDS_MS = 1_000;

/** A thread that runs jobs. */
export class ThreadWorker {
  readonly #wire: Wire;
  readonly #runner: JobRunner;
  readonly #tasks: TaskRef[] = [];
  /** Whether the thread is to end once it has no job. */
  #isClosing = false;
  #heapLimit: () => number = () => 0;
  #heapLimitBytes = 0;
  /** When the last message came. */
  #busyMs = 0;
  /** When the event loop had its last pass. */
  #passedMs = 0;
  /** Whether it waits for messages in its event loop. */
  #isAsleep = false;

  constructor({ mail, data }: OwnThread) {
    const { memory } = data;
    if (!(memory instanceof SharedArrayBuffer)) {
      throw new TypeError("Cannot start a thread: it got no shared memory");
    }
    this.#wire = new Wire(memory, mail, "worker");
    this.#runner = new JobRunner({
      returned: (id, value, transfer) => this.returned(id, value, transfer),
      threw: (id, error) => this.threw(id, error),
      progressed: (id, value) =>
        this.#wire.send(FromThread.PROGRESSED, id, value),
      submitted: (id, spec) => this.submitted(id, spec),
      withdrew: (id, number, reason) => this.withdrew(id, number, reason),
    });
  }

  /** Runs until the thread ends. */
  async run(): Promise<void> {
    sealExit();
    onUncaught((kind, error) => this.die(kind, error));
    this.#heapLimit = await loadHeapLimit();
    this.#heapLimitBytes = this.#heapLimit();
    await holdLock();
    this.#wire.send(FromThread.READY, ownThreadId(), null);
    while (!this.isDone()) {
      const isBusy = this.#wire.drain(this.#receive);
      if (isBusy) this.#busyMs = monotonicMs();
      const isFree = await this.settles();
      if (this.#isClosing || !isFree || this.isIdle()) await this.sleep();
      else await this.block();
    }
    await this.#runner.close(CLOSE_GRACE_MS);
    this.end(FromThread.CLOSED, null, 0);
  }

  /** Lets promises settle. Returns whether no job is under way. */
  async settles(): Promise<boolean> {
    const runner = this.#runner;
    await null;
    for (let n = 0; n < HOPS && runner.running > 0; n++) await null;
    return runner.running === 0;
  }

  isIdle(): boolean {
    return monotonicMs() - this.#busyMs > BLOCK_MS;
  }

  /** Waits for a message without the event loop. */
  async block(): Promise<void> {
    if (this.#busyMs - this.#passedMs > PASS_MS) {
      await new Promise<void>(macrotask);
      this.#passedMs = monotonicMs();
    }
    this.#wire.block(BLOCK_MS);
  }

  /** Waits for a message, or the end of the last job, in the event loop. */
  async sleep(): Promise<void> {
    await new Promise<void>(macrotask);
    if (!this.isDone()) {
      this.#isAsleep = true;
      await this.#wire.sleep();
      this.#isAsleep = false;
    }
    this.#passedMs = monotonicMs();
  }

  isDone(): boolean {
    return this.#isClosing && this.#runner.running === 0 &&
      !this.#wire.hasMessages;
  }

  // -- Messages --

  readonly #receive = (kind: number, id: number, value: unknown): void => {
    switch (kind) {
      case ToThread.JOB:
        return this.#runner.run(this.jobOf(id, value as JobMessage));
      case ToThread.TASK:
        this.#tasks[id] = value as TaskRef;
        return;
      case ToThread.ABORT:
        return this.#runner.abort(id, unpackError(value as PackedError));
      case ToThread.PING:
        return this.answer();
      case ToThread.CLOSE:
        this.#isClosing = true;
        return;
      case ToThread.NESTED_RETURNED:
        return this.#runner.nested.returned(id, value);
      case ToThread.NESTED_THREW:
        return this.#runner.nested.threw(id, unpackError(value as PackedError));
      case ToThread.NESTED_PROGRESSED:
        return this.#runner.nested.progressed(id, value);
      default:
        throw new RangeError(`Cannot read a message: its kind is ${kind}`);
    }
  };

  answer(): void {
    if (this.#heapLimit() > this.#heapLimitBytes) {
      const why = new RangeError(
        "The heap was full, and the runtime has stopped a function",
      );
      this.die("out-of-memory", why);
    }
    this.#wire.send(FromThread.ANSWERED, 0, usedBytes());
  }

  jobOf(id: number, [number, args, rest]: JobMessage): JobSpec {
    const task = this.#tasks[number]!;
    return {
      id,
      name: rest?.name ?? ("name" in task ? task.name : ""),
      task,
      args,
      transfer: [],
      remainingMs: rest?.remainingMs ?? Infinity,
      locals: rest?.locals ?? null,
    };
  }

  returned(
    id: number,
    value: unknown,
    transfer: readonly Transferable[],
  ): void {
    this.#wire.send(FromThread.RETURNED, id, value, transfer);
    this.wakeUp();
  }

  threw(id: number, error: unknown): void {
    try {
      this.#wire.send(FromThread.THREW, id, packError(error));
    } catch (failure) { // a job without an end would be worse
      this.die("error", failure);
    }
    this.wakeUp();
  }

  submitted(id: number, spec: NestedSpec): void {
    const transfer = [...spec.transfer];
    const args = packHandles(spec.args, transfer);
    const message: NestedSpec = { ...spec, args, transfer };
    try {
      this.#wire.send(FromThread.NESTED, id, message, transfer);
    } catch (error) {
      dropHandles(args);
      throw error;
    }
  }

  withdrew(id: number, number: number, reason: unknown): void {
    const message: WithdrawMessage = [number, packError(reason)];
    this.#wire.send(FromThread.WITHDRAWN, id, message);
  }

  /** A job has ended: the thread may block now, or end. */
  wakeUp(): void {
    if (this.#isAsleep) this.#wire.wakeUp();
  }

  // -- The end --

  die(kind: DeathMessage[0], error: unknown): never {
    this.end(
      FromThread.DIED,
      [kind, packError(error)] satisfies DeathMessage,
      1,
    );
  }

  /** Sends last words, makes sure that they were sent, and ends the thread. */
  end(kind: number, words: unknown, exitCode: number): never {
    try {
      this.#wire.send(kind, 0, words);
      const untilMs = monotonicMs() + LAST_WORDS_MS;
      while (!this.#wire.flush() && monotonicMs() < untilMs) {
        this.#wire.block(1);
      }
    } finally { // a job may have broken what the wire is made of
      exitProcess(exitCode);
    }
  }
}
