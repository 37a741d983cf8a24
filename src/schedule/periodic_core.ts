/**
 * Ticks of a periodic task: when the next one comes, and what it meets then.
 *
 * @module
 */
import { core } from "../loop/core.ts";
import { InvalidStateError } from "../errors.ts";
import type { TimerHandle } from "../loop/timer_handle.ts";
import type { Beat } from "./beat.ts";
import type { Grid } from "./grid.ts";
import { IntervalTicks } from "./interval_ticks.ts";
import { type Metronome, metronomeOf, type Start } from "./metronome.ts";
import type { JobEnd } from "./periodic_ends.ts";
import type { PeriodicBody, PeriodicSettings } from "./periodic_options.ts";
import { PeriodicRuns } from "./periodic_runs.ts";
import { FINISHED, isEnding, isPaused } from "./periodic_state.ts";
import type { PeriodicStats } from "./periodic_stats.ts";
import type { PeriodicTask } from "./periodic_task.ts";
import type { Schedule } from "./schedule_ticks.ts";
import { Tick } from "./tick.ts";
import { TickFeed } from "./tick_feed.ts";
import { checkInterval, type TickPlanner } from "./tick_planner.ts";
import type { Ticks } from "./ticks.ts";

/** Turns from the end of a sleep to the end of the task that sleeps. */
const ENDING_TURNS = 2;

/**
 * Job of a periodic task: its plan, its timer, its runs. With company, jobs that
 * are due together share the timer of a {@linkcode Beat}; alone, a job has a
 * timer of its own.
 */
export class PeriodicCore extends PeriodicRuns {
  // The first fields belong to those at the end of the base class: most ticks
  // need no others.

  /** Grid that it ticks by together with others; null if it has a timer of its own. */
  #grid: Grid | null = null;
  /** Beat that it is armed for, and its place there; written by the beat alone. */
  beat: Beat | null = null;
  slot = 0;
  /** Number of the planned tick, as long as it ticks with others. */
  #index = 0;

  readonly #end: JobEnd;
  /** Made when it is needed, which it is not in company. */
  #timer: TimerHandle | null = null;
  readonly #planner: TickPlanner;
  readonly #metronome: Metronome;
  /** Moment from which its intervals count, shared with other jobs. */
  #start: Start;
  /** Plan; behind in company: see {@linkcode PeriodicCore.#catchUp}. */
  #ticks: Ticks;
  /** Consumer of the ticks; null if there is a function to run. */
  readonly feed: TickFeed | null;
  /** How often the tick that is due has looked whether the last run ends in time. */
  #looks = 0;

  constructor(
    task: PeriodicTask,
    end: JobEnd,
    ticks: Ticks,
    fn: PeriodicBody | null,
    settings: PeriodicSettings,
    planner: TickPlanner,
  ) {
    super(task, fn, settings);
    this.#end = end;
    this.#planner = planner;
    this.#ticks = ticks;
    this.#metronome = metronomeOf(this.loop);
    this.#start = this.#metronome.enter();
    this.feed = fn === null ? new TickFeed(this) : null;
    // The timer belongs to this async context, and in debug mode to this place.
    if (this.loop[core].instrumented) this.#ownTimer();
  }

  /** Starts the ticks: the task has had its first step. */
  start(): void {
    const { state } = this;
    if (state !== "unstarted" && state !== "unstarted-paused") return;
    this.state = state === "unstarted" ? "ticking" : "paused";
    const startMs = this.#start.settle();
    this.#ticks.start(startMs);
    if (this.#mayHaveCompany()) {
      const { index, intervalMs } = this.#ticks as IntervalTicks;
      this.#grid = this.#start.gridOf(intervalMs);
      this.#index = index;
    }
    if (this.#ticks.exhausted) this.#finish();
    else if (this.settings.immediate && this.fn !== null) this.#fire(NaN);
    else this.#arm(this.#grid !== null ? startMs : this.loop.time());
  }

  // -- In company --

  /**
   * Whether a shared timer does for it. Not if somebody wants to see all timers
   * or handles, nor if it may have to be run in another order than the others.
   */
  #mayHaveCompany(): boolean {
    const { loop } = this;
    return this.fn !== null && this.#timer === null &&
      this.#ticks instanceof IntervalTicks && this.#ticks.isShareable &&
      this.settings.missedTicks !== "delay" && this.isOrdinary() &&
      loop[core].ranking === null && !loop[core].overridden && !loop.debug;
  }

  /**
   * Runs a tick in company. Does what {@linkcode PeriodicCore.#fire} does, if
   * nothing stands in the way of a run, and touches as little as it can. Takes
   * the time. Returns it if it was read after all that was done, else `NaN`.
   */
  beatCame(beat: Beat, nowMs: number): number {
    const { index, dueMs, nextDueMs } = beat;
    if (
      nowMs < dueMs || nowMs > nextDueMs || dueMs < this.busyUntilMs ||
      this.running.size > 0 || this.waiting.length > 0 ||
      this.mode !== "direct" || !this.isOrdinary()
    ) {
      this.#catchUp();
      return this.#fire(nowMs);
    }
    this.#index = index + 1;
    const tick = new Tick(this.task, index, dueMs, null, this.skipped);
    this.count(tick, nowMs);
    this.call(this.fn!, tick);
    const endMs = this.loop.time();
    if (endMs > nextDueMs || this.mode !== "direct") {
      this.busyFromMs = nowMs;
      if (this.waitsForEnd()) this.busyUntilMs = endMs;
    }
    if (this.state === "ticking") {
      if (this.#grid !== null && this.beat === null) {
        this.#grid.join(this, index + 1);
      }
    } else if (isEnding(this.state)) this.endIfIdle();
    return endMs;
  }

  /** Reads what {@linkcode PeriodicCore.beatCame} is going to read. The sum means nothing. */
  readAhead(): number {
    return this.runs + this.busyUntilMs + this.maxLateMs + this.task.priority +
      this.#index;
  }

  /** Brings the plan to where the job is, after it has ticked in company. */
  #catchUp(): void {
    if (this.#grid !== null) {
      (this.#ticks as IntervalTicks).moveTo(this.#index);
    }
  }

  // -- Ticks --

  /** Callback of all timers: no job needs a function of its own. */
  static readonly #tick = (job: PeriodicCore, readMs: number): number =>
    job.#fire(readMs);

  /** The timer has come. Takes and returns what a {@linkcode TickCallback} does. */
  #fire(readMs: number): number {
    if (this.state !== "ticking") return readMs;
    const nowMs = Number.isNaN(readMs) ? this.loop.time() : readMs;
    if (this.running.size > 0) {
      this.reap(nowMs);
      if (this.state !== "ticking") return NaN;
    }
    const ticks = this.#ticks;
    let tick: Tick | null = null;
    try {
      const lateMs = ticks.lateMs(nowMs);
      if (lateMs < 0) {
        this.#arm(nowMs);
        return NaN;
      }
      if (this.running.size > 0 && this.#looksAgain()) return NaN;
      tick = this.#takeTick(ticks, nowMs, nowMs - lateMs);
    } catch (error) {
      this.fail(error); // the schedule has
    }
    // The schedule may have cancelled or paused the job when it was asked.
    if (this.state !== "ticking") return NaN;
    const endMs = tick !== null ? this.#come(tick, nowMs) : NaN;
    // The run may have given the job other ticks, which it has armed.
    if (isEnding(this.state) || this.#ticks !== ticks) return NaN;
    if (ticks.exhausted) this.#finish();
    else this.#arm(nowMs);
    return endMs;
  }

  /** Waits some turns for a run that ends at this very moment; false if they are over. */
  #looksAgain(): boolean {
    if (
      this.settings.overrun === "concurrent" || this.#looks === ENDING_TURNS
    ) return false;
    this.#looks++;
    this.loop.callSoon(() => void this.#fire(NaN));
    return true;
  }

  /** Takes the tick that is due, and plans the next one. Null if it came during a run and is dropped. */
  #takeTick(ticks: Ticks, nowMs: number, cameMs: number): Tick | null {
    const { overrun, missedTicks } = this.settings;
    const during = this.cameDuringRun(cameMs);
    if (during && overrun === "skip") {
      this.skipped += 1 + ticks.advance(nowMs, "burst") +
        ticks.skipTo(this.busyUntilMs);
      this.#index = ticks.index;
      return null;
    }
    const { index } = ticks;
    const dueMs = ticks.dueMs(nowMs);
    const momentMs = ticks.momentMs();
    const tick = new Tick(this.task, index, dueMs, momentMs, this.skipped);
    // A tick that came during a run and is in line for its end was not missed.
    const inLine = during && overrun === "queue";
    this.skipped += ticks.advance(nowMs, inLine ? "burst" : missedTicks);
    this.#index = ticks.index;
    return tick;
  }

  /** Sets the timer to the next tick, if anybody wants it. */
  #arm(nowMs: number): void {
    if (this.state !== "ticking") return;
    if (this.feed !== null && !this.feed.isAwaited) return;
    this.#looks = 0;
    if (this.#grid !== null) {
      this.#index = this.#ticks.index;
      this.beat?.remove(this);
      this.#grid.join(this, this.#index);
      return;
    }
    let wakeMs: number;
    try {
      wakeMs = this.#ticks.wakeMs(nowMs);
    } catch (error) {
      this.fail(error); // the wall clock has
      return;
    }
    this.#ownTimer().reschedule(wakeMs);
    this.#metronome.armedAlone(wakeMs);
  }

  #ownTimer(): TimerHandle {
    return this.#timer ??= this.loop[core].timers.createTickTimer(
      PeriodicCore.#tick,
      this,
    );
  }

  /** Lets no tick come until it is armed again. */
  #disarm(): void {
    this.#catchUp();
    this.beat?.remove(this);
    this.#timer?.reschedule(Infinity);
  }

  /**
   * Runs a tick, hands it over, puts it in line or drops it. Returns what
   * {@linkcode PeriodicRuns.begin} does.
   */
  #come(tick: Tick, nowMs: number): number {
    if (this.fn === null) {
      this.#deliver(tick, nowMs);
      return NaN;
    }
    if (this.running.size === 0 && this.waiting.length === 0) {
      return this.begin(this.fn, tick, nowMs);
    }
    switch (this.settings.overrun) {
      case "skip":
        this.skipped++;
        return NaN;
      case "queue":
        this.line(tick);
        return NaN;
      case "concurrent":
        return this.begin(this.fn, tick, nowMs);
      case "cancel-previous":
        if (this.waiting.length > 0) {
          this.waiting.clear();
          this.skipped++;
        } else {
          for (const task of [...this.running.keys()]) {
            task.cancel("the next tick has come");
          }
        }
        this.line(tick);
        return NaN;
    }
  }

  // -- Iterating --

  /** Delivers a tick to the consumer, or queues it if the consumer does not wait yet. */
  #deliver(tick: Tick, nowMs: number): void {
    if (!this.feed!.isAwaited) {
      this.line(tick);
      return;
    }
    this.feed!.deliver(tick);
    this.count(tick, nowMs);
    if (isEnding(this.state)) this.endIfIdle();
  }

  /** @ignore */
  hasTicks(): boolean {
    return !isEnding(this.state) || this.waiting.length > 0;
  }

  /** @ignore */
  ask(): void {
    const nowMs = this.loop.time();
    const triggered = this.waiting.shift();
    if (triggered === undefined) this.#arm(nowMs);
    else this.#deliver(triggered, nowMs);
  }

  /** @ignore */
  stopAsking(): void {
    if (!isEnding(this.state)) this.#timer?.reschedule(Infinity);
  }

  // -- The end --

  /** Enters an ending, unless the job is in one: no tick comes any more. */
  #endTicks(): void {
    if (!isEnding(this.state)) this.state = FINISHED;
    this.beat?.remove(this);
    this.#timer?.cancel();
    this.feed?.end();
  }

  halt(): void {
    this.waiting.clear();
    this.#endTicks();
  }

  /** Ends the ticks; those in line still run. */
  #finish(): void {
    this.#endTicks();
    this.endIfIdle();
  }

  protected fail(error: unknown): void {
    const { state } = this;
    if ((isEnding(state) && state.kind === "failed") || this.#end.done()) {
      const { name } = this.task;
      this.report(`Task "${name}" failed once more while it ended`, error);
      return;
    }
    this.state = { kind: "failed", error };
    this.halt();
    if (!isEnding(state) || state.kind === "finished") this.cancelRunning();
    this.endIfIdle();
  }

  /** @ignore */
  cancelRuns(reason: unknown): void {
    const { state } = this;
    if (!isEnding(state) || state.kind === "finished") {
      this.state = { kind: "cancelled", reason };
    }
    this.halt();
    this.cancelRunning(reason);
    this.endIfIdle();
  }

  protected endIfIdle(): void {
    const { state } = this;
    const end = this.#end;
    if (!isEnding(state) || !this.isIdle() || end.done()) return;
    if (state.kind === "finished") end.setResult();
    else if (state.kind === "failed") end.setException(state.error);
    else end.endCancelled(state.reason);
  }

  // -- What its user asks for --

  pause(): void {
    if (!this.#goesOn("pause")) return;
    this.state = this.state === "unstarted" || this.state === "unstarted-paused"
      ? "unstarted-paused"
      : "paused";
    this.#disarm();
  }

  resume(): void {
    if (!this.#goesOn("resume") || !isPaused(this.state)) return;
    const nowMs = this.loop.time();
    this.#catchUp();
    try {
      this.#ticks.resume(nowMs, this.settings.missedTicks);
    } catch (error) {
      this.fail(error); // the schedule has
      return;
    }
    if (isEnding(this.state)) return; // the schedule has cancelled the job
    this.state = this.state === "unstarted-paused" ? "unstarted" : "ticking";
    if (this.waiting.length > 0) this.loop.callSoon(() => this.beginNext());
    if (this.#ticks.exhausted) this.#finish();
    else this.#arm(nowMs);
  }

  reschedule(interval: number | Schedule): void {
    checkInterval(interval, "reschedule a periodic task");
    this.#catchUp();
    const ticks = this.#planner.plan(interval, this.#ticks.index, false);
    if (!this.#goesOn("reschedule")) return;
    this.#disarm();
    this.#grid = null;
    this.#ticks = ticks;
    this.#start = this.#metronome.enter();
    if (ticks.exhausted) this.#finish();
    else this.#arm(this.loop.time());
  }

  trigger(): void {
    if (!this.#goesOn("trigger")) return;
    const dueMs = this.loop.time();
    this.loop.callSoon(() => {
      if (isEnding(this.state)) return;
      const nowMs = this.loop.time();
      this.reap(nowMs);
      if (isEnding(this.state)) return;
      this.#come(new Tick(this.task, -1, dueMs, null, this.skipped), nowMs);
    });
  }

  ref(): void {
    this.#timer?.ref();
  }

  unref(): void {
    if (isEnding(this.state) || this.loop.isClosed()) return;
    this.#catchUp();
    this.beat?.remove(this);
    this.#grid = null;
    // Also if it had a timer of its own, as in debug mode: the order of jobs that
    // are due together is the same then.
    this.#arm(this.loop.time());
    this.#ownTimer().unref();
  }

  stats(): PeriodicStats {
    const isPlanned = !isEnding(this.state) && !isPaused(this.state);
    this.#catchUp();
    return this.countRuns(
      isPlanned ? this.#ticks.dueMs(this.loop.time()) : null,
    );
  }

  /**
   * Whether a request of the user has a meaning. Not in the last run that the job
   * may have, which need not know that it is the last. Throws if no tick will
   * come any more.
   */
  #goesOn(what: string): boolean {
    if (!isEnding(this.state)) return true;
    if (this.isInLastRun() && !this.#end.done()) return false;
    throw new InvalidStateError(
      `Cannot ${what} a periodic task: no tick of "${this.task.name}" will come any more`,
    );
  }
}
