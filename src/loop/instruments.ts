/**
 * The instruments of a loop: tells each of them what the loop does.
 *
 * A loop without an instrument runs the code that it would run if there were no
 * such thing: the first one brings in another ready queue and another way to run
 * a batch, the last one takes them out again.
 *
 * @module
 */
import { MisuseError } from "../errors.ts";
import { microtask } from "../host/microtask.ts";
import { core } from "./core.ts";
import { current, findTask } from "./current.ts";
import type { EventLoop } from "./event_loop.ts";
import type { Future } from "./future.ts";
import { Handle, runnableIn } from "./handle.ts";
import type { HookName, Instrument } from "./instrument.ts";
import { PostedTask } from "./posted_task.ts";
import { Wait } from "./promise_wait.ts";
import type { ReadyQueue, Runnable } from "./runnable.ts";
import { Task } from "./task.ts";
import { explain } from "./waiters.ts";
import { isReady, observed, pendingWaits } from "./waits.ts";

/** The instruments of one loop that has some. */
export class Instruments {
  readonly #loop: EventLoop;
  /** Told that the last instrument is gone. */
  readonly #emptied: () => void;
  #all: readonly Instrument[] = [];
  /** Instruments that were added in a turn, and are told of the next one. */
  #added: readonly Instrument[] = [];
  #by: Record<HookName, readonly Instrument[]> = listeners([]);
  /** Turn whose beginning was told, until its end is. */
  #turn: number | null = null;
  #parked = false;
  /** The task of which a watch is just telling that it has ended. */
  #watched: Task<unknown> | null = null;
  /** Async functions that were resumed, and may wait for something now. */
  readonly #resumed: Set<Task<unknown>> = new Set();
  /** When tasks and the waits of async functions were found to wait; tasks only while they are told to be blocked. */
  readonly #sinceMs: WeakMap<object, number> = new WeakMap();

  constructor(loop: EventLoop, emptied: () => void) {
    this.#loop = loop;
    this.#emptied = emptied;
    observed.count++;
  }

  /** Adds an instrument: at once between two turns, else for the next turn. */
  add(instrument: Instrument): void {
    if (this.#all.includes(instrument) || this.#added.includes(instrument)) {
      throw new MisuseError(
        "Cannot add an instrument: the loop has it already",
      );
    }
    this.#added = [...this.#added, instrument];
    if (this.#turn === null && current.loop !== this.#loop) this.#admit();
  }

  #admit(): void {
    this.#set([...this.#all, ...this.#added]);
    this.#added = [];
  }

  #set(all: readonly Instrument[]): void {
    this.#all = all;
    this.#by = listeners(all);
  }

  /** Removes an instrument; it is told nothing more. Returns whether it was there. */
  remove(instrument: Instrument): boolean {
    const left = this.#all.length + this.#added.length;
    this.#set(this.#all.filter((other) => other !== instrument));
    this.#added = this.#added.filter((other) => other !== instrument);
    const now = this.#all.length + this.#added.length;
    if (now === 0 && left > 0) this.close();
    return now < left;
  }

  /** Ends all of it. */
  close(): void {
    this.#set([]);
    this.#added = [];
    observed.count--;
    this.#emptied();
  }

  /** When `waiter`, a task or the wait of an async function, was found to wait; null if it was not seen. */
  sinceMsOf(waiter: object): number | null {
    return this.#sinceMs.get(waiter) ?? null;
  }

  // -- What the loop does --

  /** A batch is about to run: of a new turn, or the rest of one. */
  batchBegins(turn: number): void {
    if (this.#turn !== null) return;
    if (this.#added.length > 0) this.#admit();
    this.#tellBlocked();
    if (this.#parked) {
      this.#parked = false;
      this.#tell("wakes", this.#loop);
    }
    this.#turn = turn;
    this.#tell("turnBegins", turn, this.#loop);
  }

  turnEnds(): void {
    const turn = this.#turn;
    this.#turn = null;
    if (turn !== null) this.#tell("turnEnds", turn, this.#loop);
    if (this.#added.length > 0) this.#admit();
  }

  parks(untilMs: number): void {
    this.#tellBlocked();
    if (this.#parked) return;
    this.#parked = true;
    this.#tell("parks", untilMs, this.#loop);
  }

  made(task: Task<unknown>): void {
    this.#tell("taskMade", task);
  }

  ended(task: Task<unknown>): void {
    this.#tell("taskEnds", task);
  }

  /** Runs an entry of the ready queue by `run`. */
  run(runnable: Runnable, run: (runnable: Runnable) => void): void {
    const subject = runnable instanceof Task
      ? runnable
      : runnableIn(runnable, this.#loop[core].resume);
    if (subject instanceof Task) {
      if (subject.done()) run(runnable);
      else this.#step(subject as Task<unknown>, runnable, run);
    } else if (
      subject instanceof PostedTask ||
      subject instanceof Handle && !subject.cancelled()
    ) this.#callback(subject, runnable, run);
    else {
      const { watched }: Runnable = subject;
      this.#watched = watched instanceof Task ? watched as Task<unknown> : null;
      try {
        run(runnable);
      } finally {
        this.#watched = null;
      }
      // The operation of an async function may have to wait once more.
      if (subject instanceof Wait && subject.task !== null) {
        const { task, waitingOn: on } = subject;
        if (on === null) return;
        // Another of its waits may be over, or have let it go on.
        if (isReady(task) || this.#resumed.has(task)) this.#resumed.add(task);
        else this.#blocks(task, subject, on);
      }
    }
  }

  #step(
    task: Task<unknown>,
    runnable: Runnable,
    run: (runnable: Runnable) => void,
  ): void {
    if (this.#by.stepBegins.length > 0) this.#stepBegins(task);
    try {
      run(runnable);
    } finally {
      if (this.#by.stepEnds.length > 0) this.#stepEnds(task);
      if (!task.done()) {
        const on = task.waitingOn;
        // An async function that it has called may go on at once.
        const isAlone = task.blockTree === null && task.firstWait === null;
        if (on !== null && (isAlone || !isCall(task, on) && !isReady(task))) {
          this.#blocks(task, task, on);
        } else if (on !== null || task.promised) this.#resumed.add(task);
      }
    }
  }

  // The hooks of steps are called by name: by a key a call costs 30 ns more.

  #stepBegins(task: Task<unknown>): void {
    for (const instrument of this.#by.stepBegins) {
      try {
        instrument.stepBegins!(task);
      } catch (error) {
        this.#failed(instrument, "stepBegins", error);
      }
    }
  }

  #stepEnds(task: Task<unknown>): void {
    for (const instrument of this.#by.stepEnds) {
      try {
        instrument.stepEnds!(task);
      } catch (error) {
        this.#failed(instrument, "stepEnds", error);
      }
    }
  }

  #callback(
    callback: Handle | Future<unknown>,
    runnable: Runnable,
    run: (runnable: Runnable) => void,
  ): void {
    this.#tell("callbackBegins", callback);
    try {
      run(runnable);
    } finally {
      this.#tell("callbackEnds", callback);
    }
  }

  /** Resumes an async function: its code runs in a microtask that `resume` queues. */
  resume(task: Task<unknown>, resume: () => void): void {
    let began = false;
    microtask(() => {
      if (task.done()) return; // since, in the same turn
      began = true;
      // A function that had several waits went on after a foreign promise.
      if (this.#sinceMs.delete(task)) this.#tell("taskWakes", task, null);
      this.#stepBegins(task);
    });
    resume();
    microtask(() => {
      if (began) this.#stepEnds(task);
      this.#resumed.add(task);
    });
  }

  /** Continuations have run: tells which of the async functions wait for something now. */
  #tellBlocked(): void {
    if (this.#resumed.size === 0) return;
    for (const task of this.#resumed) {
      if (task.done() || isReady(task) || this.#sinceMs.has(task)) continue;
      const last = pendingWaits(task).at(-1);
      // A function inside that has no wait of the loop waits outside of it.
      if (last === undefined || isCall(task, last.future)) {
        this.#tell("taskBlocks", task, null);
      } else this.#blocks(task, last.waiter, last.future);
    }
    this.#resumed.clear();
  }

  #blocks(task: Task<unknown>, waiter: object, on: Future<unknown>): void {
    if (on.done()) return; // it is ready already
    const nowMs = this.#loop.time();
    if (waiter !== task || task.blockTree !== null) {
      for (const { waiter } of pendingWaits(task)) {
        if (!this.#sinceMs.has(waiter)) this.#sinceMs.set(waiter, nowMs);
      }
    }
    this.#sinceMs.set(task, nowMs);
    this.#tell("taskBlocks", task, on);
  }

  /** Something has become ready. */
  queued(runnable: Runnable): void {
    const subject = runnableIn(runnable, this.#loop[core].resume);
    if (!(subject instanceof Task || subject instanceof Wait)) return;
    const { task, waitingOn: on } = subject instanceof Task
      ? { task: subject as Task<unknown>, waitingOn: subject.waitingOn }
      : subject;
    if (task === null || task.done()) return;
    if (subject !== task) this.#sinceMs.delete(subject);
    if (!this.#sinceMs.delete(task)) return; // it was not told to be blocked
    let by = on instanceof Task ? on as Task<unknown> : findTask();
    if (by === task) by = null; // a promise of its own has settled
    this.#tell("taskWakes", task, by ?? this.#watched);
  }

  /** Calls a hook of all that have it. */
  #tell<N extends HookName>(
    name: N,
    ...args: Parameters<NonNullable<Instrument[N]>>
  ): void;
  #tell(name: HookName, first: unknown, second?: unknown): void {
    const instruments = this.#by[name];
    for (let index = 0; index < instruments.length; index++) {
      const instrument = instruments[index]!;
      try {
        (instrument as Record<HookName, (a: unknown, b: unknown) => void>)
          [name](first, second);
      } catch (error) {
        this.#failed(instrument, name, error);
      }
    }
  }

  /** A hook has thrown: that ends the instrument. */
  #failed(instrument: Instrument, name: HookName, error: unknown): void {
    if (!this.remove(instrument)) return; // of a call further up the stack
    this.#loop.callExceptionHandler({
      message: `${name}() of an instrument threw: the instrument was removed`,
      exception: error,
    });
  }
}

/** Whether `future` is that of an async function which the task has called: its waits are those of the task. */
function isCall(task: Task<unknown>, future: Future<unknown>): boolean {
  return (task.promised || task.blockTree !== null) &&
    future[explain]().isInside === true;
}

/** The instruments that have a hook, for each of the hooks. */
function listeners(
  all: readonly Instrument[],
): Record<HookName, readonly Instrument[]> {
  const having = (name: HookName) =>
    all.filter((instrument) => instrument[name] !== undefined);
  return {
    turnBegins: having("turnBegins"),
    turnEnds: having("turnEnds"),
    taskMade: having("taskMade"),
    stepBegins: having("stepBegins"),
    stepEnds: having("stepEnds"),
    taskBlocks: having("taskBlocks"),
    taskWakes: having("taskWakes"),
    taskEnds: having("taskEnds"),
    callbackBegins: having("callbackBegins"),
    callbackEnds: having("callbackEnds"),
    parks: having("parks"),
    wakes: having("wakes"),
  };
}

/** Ready queue in front of another one: tells the instruments what becomes ready. */
export class InstrumentedQueue implements ReadyQueue {
  readonly inner: ReadyQueue;
  readonly #instruments: Instruments;

  constructor(inner: ReadyQueue, instruments: Instruments) {
    this.inner = inner;
    this.#instruments = instruments;
  }

  get length(): number {
    return this.inner.length;
  }

  push(runnable: Runnable): void {
    this.#instruments.queued(runnable);
    this.inner.push(runnable);
  }

  shift(): Runnable | undefined {
    return this.inner.shift();
  }

  clear(): void {
    this.inner.clear();
  }
}
