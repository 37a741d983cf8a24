/**
 * The kernel of a loop: one turn after another, and the wait in between.
 *
 * A turn, as `docs/design.md` promises it; see *The turn* below for the code:
 *
 * 1. **Look**, if it is due or nothing is ready: read the clock; if the loop has
 *    had the thread for a millisecond, let the runtime's own I/O through first
 *    (the gate, `io_gate.ts`). A virtual loop looks every turn.
 * 2. Queue the callbacks of ready descriptors. In an early look (nothing is ready,
 *    but no look is due) this step comes before step 1, and may save it.
 * 3. Queue the timers whose deadline has come. If still nothing is ready,
 *    **park** (`parking.ts`): the host waits, and wakes the loop. On a precise
 *    loop a deadline that is very close is waited for on the thread instead.
 * 4. **Run** what was ready when the turn began, first come first served; what
 *    that adds runs in the next turn. In a long turn the gate may open in between.
 * 5. Stop, if that was asked for; else begin the next turn one microtask later, or
 *    four if a promise was resumed.
 *
 * Two unions hold the state of a kernel. `RunState` (`loop_run.ts`): stopped, running, stopping or closed. `WaitState`
 * (`parking.ts`): awake, parking or parked. A kernel that is not awake is woken by everything that is queued.
 *
 * Three more states of a run are in no union: *gate open*, *spinning* (or waiting for a pass of the runtime) before a
 * deadline, and *hopping* from turn to turn. In all of them the wait state is `AWAKE`. So awake means that a turn runs
 * or a continuation is on its way, and nobody has to wake the loop.
 *
 * Words of this file:
 *
 * - *handle*: an entry of the ready queue, of type `Runnable`: a callback with its arguments, a task, or a wait.
 * - *batch*: the handles that a turn runs; *chunk*: the part of a batch that runs until the next reading of the clock.
 * - *tick*: one run of a periodic job; a timer that is due may run several, and each counts as a handle.
 * - *ranking*: the ready queue of a loop with a scheduler; *overridden*: a subclass wants to see all scheduling.
 * - *thrifty*: a loop that waits without spinning before deadlines; *virtual*: a loop whose time is made up.
 * - *checkpoint*: a place where a task that computes may yield; *age* of a failure: turns without anybody looking at it.
 *
 * @module
 */
import { CLOSED, STOPPING } from "./loop_run.ts";
import { isInterrupted } from "./strand.ts";
import { detached, microtask } from "../host/microtask.ts";
import { prepareOwners } from "../host/async_context.ts";
import type { RingBuffer } from "../structures/ring_buffer.ts";
import type { LoopCore, RunMode } from "./core.ts";
import { current } from "./current.ts";
import { DeadlockWatch } from "./deadlock.ts";
import type { EventLoop } from "./event_loop.ts";
import {
  GATE_MS,
  HANDLES_PER_LOOK_MAX,
  IoGate,
  LOOK_MS,
  SOON_MS,
  TURNS_PER_LOOK,
  TURNS_PER_LOOK_SOON,
} from "./io_gate.ts";
import type { SettledOptions } from "./loop_options.ts";
import { LoopTimers, type TimerListener } from "./loop_timers.ts";
import { type OutsideListener, OutsideWork } from "./outside_work.ts";
import { AWAKE, PARKED, Parking, type Sleeper } from "./parking.ts";
import { LoopParts } from "./parts.ts";
import { POSTED_RUN, type PostedTask, runPosted } from "./posted_task.ts";
import { isImminent, Precision } from "./precision.ts";
import type { PriorityHandle } from "./priority_handle.ts";
import type { PriorityReadyQueue } from "./priority_ready_queue.ts";
import type { Runnable } from "./runnable.ts";
import { runWatched } from "./step_watch.ts";
import { runRunnable, TASK_RUN } from "./run_runnable.ts";
import { stepTask } from "./task_step.ts";
import type { Task } from "./task.ts";
import { destroyTasks } from "./task_list.ts";
import { TICK_RUN, type TickTimer } from "./tick_timer.ts";
import type { TimerHandle } from "./timer_handle.ts";
import { debugChanged } from "./unstarted_operations.ts";

/** Microtask hops after a turn that resumed a promise; see `docs/design.md`. */
const HOPS_AFTER_RESUMPTION = 4;
/**
 * How many operations async functions may start between two turns. Beyond that
 * they take their first step in the next turn, so that a function that finds
 * everything ready for ever does not keep the loop from its timers. High enough
 * that it costs nothing, low enough that 2,048 such operations, which go into
 * the 16 turns between two looks, take less than a millisecond.
 */
const STARTS_AT_ONCE_MAX = 128;
/** On a virtual host a checkpoint yields by count. */
const CHECKPOINTS_VIRTUAL = 128;
/** Kernel of one event loop. */
export class Kernel extends LoopParts
  implements LoopCore, OutsideListener, Sleeper, TimerListener {
  readonly outside: OutsideWork = new OutsideWork(this);
  readonly #deadlock: DeadlockWatch;
  readonly #ignoresOutside: boolean;

  readonly timers: LoopTimers;

  // Looking.
  readonly #gate: IoGate;
  /** Null on a thrifty loop. */
  readonly #precision: Precision | null;
  #turnsToLook = 0;
  #handlesToLook = 0;
  #polledAtTurn = 0;
  #polledAtMs = 0;
  #turnsSinceYield = 0;
  #handlesSinceYield = 0;

  // Running, and the wait in between.
  readonly #parking: Parking;
  /** Turns so far. */
  turns = 0;
  /** Handles of this turn that have not had their chunk yet. */
  #batch = 0;
  /** Handles of a ranking that have run since it last forced a look. */
  #handlesSinceForcedLook = 0;
  /** Timer that has not run all its ticks, and goes on before all others. */
  #unfinished: TimerHandle | null = null;
  /**
   * Whether a promise reaction was resumed in this turn: set by `promise_wait.ts`,
   * `body.ts` and `sleep.ts`, taken back at the end of the turn, after which more
   * microtasks than one pass.
   */
  promiseResumed = false;
  /** Microtasks before the next turn, without the one that is on its way. */
  #hops = 0;
  /** Operations that async functions have started since the last turn. */
  #startedAtOnce = 0;
  #checkpoints = 0;
  /**
   * Whether an async function was resumed, or has ended, since the host last woke
   * the loop: promise reactions may be under way, and a virtual clock waits for
   * them. Unlike `promiseResumed` it outlives the turn.
   */
  #promisesTouched = false;

  constructor(loop: EventLoop, settled: SettledOptions, overridden: boolean) {
    super(loop, settled, overridden);
    this.#ignoresOutside = settled.ignoresOutside;
    this.#gate = new IoGate(this.host);
    this.#precision = settled.precise ? new Precision() : null;
    this.#deadlock = new DeadlockWatch(loop, settled.deadlock);
    this.timers = new LoopTimers(loop, this);
    this.#parking = new Parking(
      this,
      this.host,
      this.timers,
      this.#gate,
      this.#precision,
      this.#deadlock,
    );
  }

  /** Takes the host and the scheduler, once the loop can be used. */
  open(): void {
    if (this.debugging) {
      debugChanged(true);
      this.debug.watchLoop();
    }
    this.host.open(this.#parking);
    this.ranking?.open();
  }

  // -- The ready queue --

  /** Queues a handle; a parked loop wakes up. For `callSoon`, as it never goes back through an overridden `callSoon`. */
  enqueue(runnable: Runnable): void {
    this.ready.push(runnable);
    if (this.#parking.state !== AWAKE) this.#unpark();
  }

  /** Queues a callback with a priority of its own. */
  enqueueByPriority(handle: PriorityHandle): void {
    if (this.ranking === null || this.overridden) this.schedule(handle);
    else {
      this.ranking.pushHandle(handle);
      if (this.#parking.state !== AWAKE) this.#unpark();
    }
  }

  /** Queues like {@linkcode enqueue}, but on an overridden loop through its `callSoon`. */
  schedule(runnable: Runnable): void {
    if (this.overridden) {
      this.ranking?.noteWake(runnable);
      if (this.run.state !== CLOSED) this.loop.callSoon(this.resume, runnable);
      return;
    }
    this.enqueue(runnable);
  }

  // -- Begin and end of a run --

  drive(mode: RunMode, isAsync = false): Promise<void> {
    try {
      this.checkMayRun();
    } catch (error) {
      return Promise.reject(error);
    }
    const ended = this.run.begin(mode);
    this.adoptWatch();
    this.#deadlock.reset();
    this.updateKeepAlive();
    const begin = () => {
      this.#gate.noteYield();
      this.#turnsToLook = 0;
      this.#turn();
    };
    // Turns run in the empty async context, not in that of the caller.
    const preparation = prepareOwners(isAsync);
    if (preparation === null) detached(begin);
    else preparation.then(() => detached(begin));
    return ended;
  }

  /** Ends the run after this turn; if none is under way, the next one after one turn. */
  stop(): void {
    if (!this.run.requestStop()) return;
    if (this.#parking.state !== AWAKE) this.#unpark();
  }

  takeStopBack(): boolean {
    return this.run.takeStopBack();
  }

  failRun(error: Error): void {
    this.run.fail(error);
    this.#parking.fail();
  }

  /** Updates the host: whether the run keeps the process alive by itself. */
  updateKeepAlive(): void {
    if (!this.run.isRunning()) return;
    this.host.keepAlive(
      this.run.isForever() || this.signals.size > 0 ||
        this.outside.waits > 0,
    );
  }

  /** Ends and reports everything that the loop still holds; it must not be running. */
  close(): void {
    this.endings.close();
    this.signals.clear();
    this.descriptors.clear();
    this.ready.clear();
    this.timers.clear();
    destroyTasks(this.loop);
    this.run.close();
    this.ready.clear(); // again: the ends of tasks have queued their waiters
    this.strays.close();
    this.failures.reportAll();
    this.unstarted.reportAll();
    this.failures.reportAll(); // what the exception handler has let fail
    this.ranking?.close();
    this.instruments?.close();
    if (this.debugging) debugChanged(false);
    this.debug.loopClosed();
  }

  // -- The turn --

  /** Begins the next turn, after some more microtasks if promises were resumed. */
  readonly nextTurn = (): void => {
    if (this.#hops > 0) {
      this.#hops--;
      microtask(this.nextTurn);
    } else this.#turn();
  };

  /** Runs a turn, or waits if there is nothing to run. */
  #turn(): void {
    if (
      --this.#turnsToLook <= 0 || this.#handlesToLook <= 0 ||
      this.ready.length === 0 || this.virtual
    ) {
      if (!this.#look()) return;
    }
    this.turns++;
    const { ready, ranking } = this;
    this.#batch = ranking === null
      ? ready.length
      : Math.min(ready.length, ranking.handlesPerTurnMax);
    this.#runBatch();
  }

  /** Steps 1 to 3; false if the turn begins later: gate open, parked or spinning. */
  #look(): boolean {
    // Nothing is ready, but a full look is not due: a ready descriptor saves
    // reading the clock, which costs as much as half a look.
    const early = this.#turnsToLook > 0 && this.#handlesToLook > 0 &&
      this.descriptors.size > 0;
    if (early && this.#poll()) return true;
    const nowMs = this.host.now();
    if (this.#gateIsDue(nowMs)) {
      this.#openGate(this.nextTurn);
      return false;
    }
    if (!early && this.#isPollDue(nowMs)) this.#poll();
    this.#queueDueTimers(nowMs);
    this.#turnsToLook = this.#gate.turnsPerLook(
      this.timers.firstMs() - nowMs,
    );
    if (this.ready.length > 0 || this.run.state === STOPPING) return true;
    this.#parking.checkDeadlock(nowMs);
    if (this.ready.length > 0 || this.#isStopping()) return true;
    if (
      this.#precision !== null && this.#precision.approach(
        this.timers.firstMs() - nowMs,
        this.#afterThreadWasFree,
        this.#spin,
      )
    ) return false;
    if (this.failures.arePending) this.failures.ageFully(); // it may be a long wait
    this.instruments?.parks(this.timers.firstMs());
    if (this.ready.length > 0 || this.#isStopping()) return true; // by a hook
    this.#parking.park();
    return false;
  }

  /** Reads the state again, for the compiler, as the calls before may have changed it. */
  #isStopping(): boolean {
    return this.run.state === STOPPING;
  }

  /** Step 1: whether the gate has to open; also sets how much runs until the next look. */
  #gateIsDue(nowMs: number): boolean {
    const due = this.#gate.isDue(
      nowMs,
      this.#turnsSinceYield,
      this.#handlesSinceYield,
      this.#handlesToLook,
    );
    this.#handlesToLook = this.#gate.handlesPerLook;
    return due;
  }

  /**
   * Whether this look is to ask for descriptors, which costs as much as several
   * turns: not if it only finds that turns are quick still, and no timer is due.
   */
  #isPollDue(nowMs: number): boolean {
    return this.descriptors.size > 0 &&
      (this.ready.length === 0 || this.virtual ||
        nowMs - this.#polledAtMs > LOOK_MS ||
        this.turns - this.#polledAtTurn >= TURNS_PER_LOOK ||
        this.timers.firstMs() <= nowMs);
  }

  /** Step 2: queues the callbacks of ready descriptors; true if anything is ready then. */
  #poll(): boolean {
    this.#polledAtTurn = this.turns;
    // In an early look the clock was not read: with the older time of the gate
    // the next poll is due a little sooner, which does no harm.
    this.#polledAtMs = this.#gate.lookedAtMs;
    this.descriptors.poll();
    return this.ready.length > 0;
  }

  /** Step 3: queues the timers whose deadline has come. */
  #queueDueTimers(nowMs: number): void {
    const { timers } = this;
    if (timers.size === 0) return;
    for (
      let timer = timers.popDue(nowMs);
      timer !== undefined;
      timer = timers.popDue(nowMs)
    ) this.ready.push(timer);
  }

  /** Step 4: runs what is left of the batch, unless the gate has to open first. */
  readonly #runBatch = (): void => {
    current.loop = this.loop;
    for (;;) {
      const chunk = Math.min(this.#batch, Math.max(this.#handlesToLook, 1));
      this.#batch -= chunk;
      this.#handlesToLook -= chunk;
      this.#handlesSinceYield += chunk;
      if (this.ranking !== null) this.#runRanked(this.ranking, chunk);
      else if (this.stepwise) this.runChunkStepwise(this.turns, chunk);
      else if (this.watch !== null) runWatched(this.watch, this, chunk);
      else this.runFifo(chunk);
      if (this.#batch <= 0) break;
      // The gate may open between two handles of a long turn. Their order stays
      // the same. Not so on a virtual host, whose turns depend on no clock.
      if (this.virtual) this.#handlesToLook = HANDLES_PER_LOOK_MAX;
      else if (this.#gateIsDue(this.host.now())) {
        current.loop = current.stepper = null;
        this.#openGate(this.#runBatch);
        return;
      }
    }
    current.loop = current.stepper = null;
    this.#endTurn();
  };

  /** Runs so many handles from the head of the queue. */
  runFifo(count: number): void {
    const ready = this.ready;
    // Time after the last handle, if that was a tick, which had to read it.
    let readMs = NaN;
    for (; count > 0; count--) {
      const runnable = ready.shift()!;
      try {
        // Not as a method: an error that a step throws would keep the receiver.
        if (runnable.run === TASK_RUN) {
          readMs = NaN;
          stepTask(runnable as Task<unknown>);
        } else if (runnable.run === POSTED_RUN) {
          readMs = NaN;
          runPosted(runnable as PostedTask<unknown>);
        } else if (runnable.run === TICK_RUN) {
          readMs = (runnable as TickTimer<unknown>).runAt(readMs);
          if (this.#unfinished !== null) {
            this.#batch += count;
            (ready as RingBuffer<Runnable>).unshift(this.#unfinished);
            this.#unfinished = null;
            return;
          }
        } else {
          readMs = NaN;
          runnable.run();
        }
      } catch (error) {
        readMs = NaN;
        this.runnableFailed(runnable, error);
      }
    }
  }

  /** Runs so many handles in the order of a scheduler, fewer if some are withdrawn meanwhile. */
  #runRanked(ranking: PriorityReadyQueue, count: number): void {
    this.instruments?.batchBegins(this.turns);
    for (let left = count; left > 0; left--) {
      let runnable: Runnable | undefined;
      try {
        runnable = ranking.shift();
      } catch (error) {
        // The rest of the batch stays queued: the ranking throws this error from
        // now on, so later chunks run nothing, and the run ends after the turn.
        this.failRun(error as Error);
        return;
      }
      if (runnable === undefined) break;
      this.watch?.entering(runnable);
      try {
        if (this.stepwise) this.runObserved(runnable);
        else runRunnable(runnable);
      } catch (error) {
        this.runnableFailed(runnable, error);
      }
    }
    // A timer that falls due waits for so many at most.
    const { handlesPerTurnMax } = ranking;
    this.#handlesSinceForcedLook += count;
    if (
      this.#handlesSinceForcedLook +
          Math.min(ranking.length, handlesPerTurnMax) >
        handlesPerTurnMax
    ) {
      this.#handlesSinceForcedLook = 0;
      this.#turnsToLook = 0;
    }
  }

  tickBudget(): number {
    return this.stepwise || this.virtual
      ? Infinity
      : Math.max(this.#handlesToLook, 1);
  }

  tickedFor(ticks: number, unfinished: TimerHandle | null): void {
    this.#handlesSinceYield += ticks;
    this.#handlesToLook -= ticks;
    this.#unfinished = unfinished;
    unfinished?.fallDue();
  }

  /** Step 5: stops, or has the next turn begin. */
  #endTurn(): void {
    if (this.watch !== null) this.watch.leaving();
    this.#turnsSinceYield++;
    this.#startedAtOnce = 0;
    if (this.failures.arePending) this.failures.passTurn();
    if (this.stepwise) this.endObservedTurn();
    if (this.run.state === STOPPING) {
      this.#leave();
      return;
    }
    if (this.promiseResumed) {
      this.promiseResumed = false;
      this.#promisesTouched = true;
      this.#hops = HOPS_AFTER_RESUMPTION - 1;
    }
    microtask(this.nextTurn);
  }

  /** Ends the run. */
  #leave(): void {
    const tell = this.run.end();
    this.#parking.rest();
    tell();
    if (this.failures.arePending) detached(this.#ageIfStopped);
  }

  /** A loop that stays stopped does not hold on to what has failed. */
  readonly #ageIfStopped = (): void => {
    if (!this.run.isRunning()) this.failures.ageFully();
  };

  // -- The gate --

  /** How often the gate was opened. */
  get ioGates(): number {
    return this.#gate.openings;
  }

  /** Lets the runtime's own I/O through, and goes on after that. */
  #openGate(then: () => void): void {
    this.#gate.open(() => {
      this.#yielded();
      then();
    });
  }

  /** The runtime has had the thread. */
  #yielded(): void {
    this.#gate.noteYield();
    this.#countAnew();
  }

  /** Counts anew what runs until the loop yields; looks soon, as in {@linkcode #unpark}. */
  #countAnew(): void {
    this.#turnsToLook = Math.min(this.#turnsToLook, 2);
    this.#turnsSinceYield = 0;
    this.#handlesSinceYield = 0;
    this.#hops = 0;
  }

  // -- The wait --

  /** Ends the wait of the host, as code outside the loop has queued something. */
  #unpark(): void {
    // The first turn runs what was queued without a look. The second one looks:
    // the wait may have been long, so timers may be due.
    this.#turnsToLook = Math.min(this.#turnsToLook, 2);
    this.#parking.unpark();
  }

  /** Has the host wait anew, if it waits. */
  parkAnewIfParked(): void {
    if (this.#parking.state !== AWAKE) this.#parking.parkAnew();
  }

  woken(): void {
    this.#promisesTouched = false;
    this.#countAnew();
    this.#turn();
  }

  timerStarted(whenMs: number): void {
    if (this.#parking.state !== AWAKE) this.#parking.timerStarted(whenMs);
    else if (whenMs < this.#gate.lookedAtMs + SOON_MS) {
      this.#turnsToLook = Math.min(this.#turnsToLook, TURNS_PER_LOOK_SOON);
    }
  }

  timersChanged(): void {
    if (this.#parking.state !== AWAKE) this.#parking.timersChanged();
  }

  hasOutsideWaits(): boolean {
    return !this.#ignoresOutside && this.outside.isPending;
  }

  hasPromiseWork(): boolean {
    return this.#promisesTouched || this.outside.asyncTasks > 0 ||
      this.outside.waits > 0 || this.strays.size > 0;
  }

  /**
   * Waits for a deadline on the thread. It asks for what is due all the time, and
   * not for the time alone: so the processor has all of that at hand when it is.
   */
  readonly #spin = (): void => {
    let leftMs: number;
    do {
      const nowMs = this.host.now();
      this.#queueDueTimers(nowMs);
      leftMs = this.timers.firstMs() - nowMs;
    } while (
      this.ready.length === 0 && this.run.state !== STOPPING &&
      isImminent(leftMs)
    );
    this.#turn();
  };

  /** The runtime has had the thread for a pass, shortly before a deadline. */
  readonly #afterThreadWasFree = (): void => {
    this.#yielded();
    this.#turn();
  };

  // -- What waits outside, and async functions --

  outsideWaitsChanged(): void {
    this.updateKeepAlive();
  }

  /** A virtual host that stood still for the sake of something outside decides anew. */
  outsideWorkEnded(): void {
    if (this.#parking.state === PARKED) this.#parking.parkAnew();
  }

  promisesWereTouched(): void {
    this.#promisesTouched = true;
  }

  mayStartAtOnce(): boolean {
    return ++this.#startedAtOnce <= STARTS_AT_ONCE_MAX;
  }

  isTimeToYield(): boolean {
    if (isInterrupted()) return true;
    if (this.virtual) return ++this.#checkpoints % CHECKPOINTS_VIRTUAL === 0;
    return this.host.now() - this.#gate.lookedAtMs >= GATE_MS;
  }
}
