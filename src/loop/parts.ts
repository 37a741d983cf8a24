/**
 * Parts of a loop that have a file of their own, as its kernel and the rest of
 * the library find them.
 *
 * @module
 */
import type { Host } from "../host/host.ts";
import { captureContext } from "../host/async_context.ts";
import { checkInstrument, type Instrument } from "./instrument.ts";
import { InstrumentedQueue, Instruments } from "./instruments.ts";
import { current } from "./current.ts";
import { describeHandle, Handle } from "./handle.ts";
import { CLOSED, LoopRun } from "./loop_run.ts";
import { DebugMode } from "./debug_mode.ts";
import { DefaultExecutor } from "./default_executor.ts";
import { Descriptors } from "./descriptors.ts";
import { Endings } from "./endings.ts";
import type { EventLoop } from "./event_loop.ts";
import type { SettledOptions } from "./loop_options.ts";
import { PriorityReadyQueue } from "./priority_ready_queue.ts";
import type { ReadyQueue, Runnable } from "./runnable.ts";
import { runRunnable } from "./run_runnable.ts";
import { SignalHandlers } from "./signal_handlers.ts";
import { runStepwise, type StepWatch, stepWatch } from "./step_watch.ts";
import { RingBuffer } from "../structures/ring_buffer.ts";
import { StrayWaits } from "./stray_waits.ts";
import { warnOfStuckTask } from "./stuck_task.ts";
import type { Task } from "./task.ts";
import { TaskList } from "./task_list.ts";
import type { TimerHandle } from "./timer_handle.ts";
import { UnseenFailures } from "./unseen_failures.ts";
import { debugChanged, UnstartedOperations } from "./unstarted_operations.ts";

/** Parts of one event loop, and what it was made with. */
export abstract class LoopParts {
  readonly loop: EventLoop;
  readonly host: Host;
  readonly virtual: boolean;
  readonly overridden: boolean;
  readonly inheritsContext: boolean;
  readonly ranking: PriorityReadyQueue | null;
  readonly descriptors: Descriptors;
  readonly signals: SignalHandlers = new SignalHandlers();
  readonly tasks: TaskList = new TaskList();
  readonly failures: UnseenFailures;
  readonly unstarted: UnstartedOperations;
  readonly strays: StrayWaits = new StrayWaits();
  readonly debug: DebugMode;
  readonly endings: Endings = new Endings();
  readonly executor: DefaultExecutor;
  /** State of the run: stopped, running, stopping or closed. */
  readonly run: LoopRun;
  /** Ready queue: a ring, or the ranking of a loop that goes by priority. */
  ready: ReadyQueue;
  /** Watch over the steps; null without a watchdog. */
  watch: StepWatch | null;
  /** Instruments; null if there is none. */
  instruments: Instruments | null = null;
  instrumented: boolean;
  debugging: boolean;
  observing: boolean;
  /** Whether steps and callbacks are watched one by one, by debug mode or by an instrument. */
  stepwise: boolean;
  readonly #cancelWarnMs: number;

  constructor(loop: EventLoop, settled: SettledOptions, overridden: boolean) {
    this.loop = loop;
    this.run = new LoopRun(loop);
    this.host = settled.host;
    this.virtual = settled.host.virtual;
    this.overridden = overridden;
    this.inheritsContext = settled.inheritsContext;
    this.debugging = settled.debug;
    this.instrumented = settled.debug || settled.inheritsContext;
    this.watch = stepWatch.current;
    this.observing = settled.debug || this.watch !== null;
    this.stepwise = settled.debug;
    this.failures = new UnseenFailures(loop);
    this.unstarted = new UnstartedOperations(loop);
    this.debug = new DebugMode(loop, settled.slowCallbackMs);
    this.ranking = settled.scheduler === undefined
      ? null
      : new PriorityReadyQueue(loop, settled.scheduler);
    this.ready = this.ranking ?? new RingBuffer<Runnable>();
    this.descriptors = new Descriptors(
      this.host,
      (runnable) => this.ready.push(runnable),
    );
    this.executor = new DefaultExecutor(loop);
    this.endings.add(this.executor);
    this.#cancelWarnMs = settled.cancelWarnMs;
  }

  captureContext(): <R>(fn: () => R) => R {
    return captureContext();
  }

  warnOfStuckTask(task: Task<unknown>): TimerHandle {
    return warnOfStuckTask(this.loop, task, this.#cancelWarnMs);
  }

  isRunning(): boolean {
    return this.run.isRunning();
  }

  isClosed(): boolean {
    return this.run.state === CLOSED;
  }

  /** Returns its state in a word, for inspection. */
  stateName(): "stopped" | "running" | "closed" {
    return this.run.name();
  }

  runsForever(): boolean {
    return this.run.isForever();
  }

  /** Throws if the loop is closed or running already. */
  checkMayRun(): void {
    this.run.checkMayBegin();
  }

  /** Throws if the loop is closed. */
  checkMayStart(what: string): void {
    if (this.isClosed()) this.refuseClosed(what);
  }

  refuseClosed(what: string): never {
    this.run.refuseClosed(what);
  }

  runnableFailed(runnable: Runnable, error: unknown): void {
    current.task = null;
    const handle = runnable instanceof Handle ? runnable : undefined;
    this.loop.callExceptionHandler({
      message: `Exception in ${
        handle === undefined ? "the event loop" : describeHandle(handle)
      }`,
      exception: error,
      ...(handle && { handle }),
      ...this.debug.creationOf(runnable),
    });
  }

  /** Enters or leaves debug mode. */
  setDebugging(debugging: boolean): void {
    if (debugging !== this.debugging && !this.isClosed()) {
      debugChanged(debugging);
    }
    this.debugging = debugging;
    this.instrumented = debugging || this.inheritsContext;
    this.noteObservers();
  }

  /** Notes who wants to see steps and resumptions. */
  private noteObservers(): void {
    this.stepwise = this.debugging || this.instruments !== null;
    this.observing = this.stepwise || this.watch !== null;
  }

  /** Adds an instrument; with the first one comes a ready queue that tells of what becomes ready. */
  addInstrument(instrument: Instrument): void {
    checkInstrument(instrument, "add an instrument");
    this.checkMayStart("add an instrument");
    if (this.instruments === null) {
      this.instruments = new Instruments(this.loop, this.noInstruments);
      this.ready = new InstrumentedQueue(this.ready, this.instruments);
      this.noteObservers();
    }
    this.instruments.add(instrument);
  }

  removeInstrument(instrument: Instrument): boolean {
    return this.instruments !== null && this.instruments.remove(instrument);
  }

  /** Forgets all instruments. */
  private readonly noInstruments = (): void => {
    this.instruments = null;
    this.ready = plainQueue(this.ready);
    this.noteObservers();
  };

  readonly resume = (runnable: Runnable): void => {
    try {
      runnable.run();
    } catch (error) {
      this.runnableFailed(runnable, error);
    }
  };

  abstract runFifo(count: number): void;

  /** Runs so many handles in debug mode, or with instruments. */
  protected runChunkStepwise(turn: number, count: number): void {
    this.instruments?.batchBegins(turn);
    runStepwise(this.watch, this, count);
  }

  protected endObservedTurn(): void {
    if (this.debugging) this.unstarted.passTurn();
    this.instruments?.turnEnds();
  }

  /** Runs an entry of the ready queue for debug mode and instruments. */
  runObserved(runnable: Runnable): void {
    const run = this.debugging ? this.runTimed : runRunnable;
    if (this.instruments === null) run(runnable);
    else this.instruments.run(runnable, run);
  }

  private readonly runTimed = (runnable: Runnable): void =>
    this.debug.runTimed(runnable);

  resumeObserved(task: Task<unknown>, resume: () => void): void {
    const timed = this.debugging
      ? () => this.debug.resumeTimed(task, resume)
      : resume;
    if (this.instruments === null) timed();
    else this.instruments.resume(task, timed);
  }

  /** Takes over the watch of this thread, or lets go of it. Not inside of a turn, which holds the ready queue. */
  adoptWatch(): void {
    const { current: watch } = stepWatch;
    if (watch === this.watch) return;
    this.watch = watch;
    this.noteObservers();
  }

  readyCount(): number {
    return this.ready.length;
  }

  noteResume(task: Task<unknown>): boolean {
    this.watch?.resuming(task);
    return this.stepwise;
  }
}

/** The ready queue without what tells the instruments. */
function plainQueue(queue: ReadyQueue): ReadyQueue {
  return queue instanceof InstrumentedQueue ? queue.inner : queue;
}
