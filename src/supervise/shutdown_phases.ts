/**
 * Phases of a shutdown, one after the other on the clock of a loop.
 *
 * All parts of a phase run side by side. A phase is over when all of them have ended, or when its moment in the timetable
 * has come; what has not ended then goes into the report, and the next phase begins.
 *
 * @module
 */
import type { EventLoop } from "../loop/event_loop.ts";
import type { Task } from "../loop/task.ts";
import type { TimerHandle } from "../loop/timer_handle.ts";
import { exitCodeOf } from "./exit_code.ts";
import type { ShutdownHook, ShutdownHooks } from "./shutdown_hooks.ts";
import type { SettledShutdown } from "./shutdown_options.ts";
import {
  CancelPart,
  DelayPart,
  HookPart,
  MainPart,
  type ShutdownMember,
  type ShutdownPart,
  ShutdownRecord,
} from "./shutdown_part.ts";
import {
  makeReport,
  type ShutdownPhaseReport,
  type ShutdownReport,
} from "./shutdown_report.ts";
import { SHUTDOWN_PHASES, type ShutdownPhase } from "./shutdown_timetable.ts";

/** Settings of a sequence. */
export interface SequenceSettings {
  /** Loop on which the phases are counted. */
  readonly loop: EventLoop;
  readonly settled: SettledShutdown;
  readonly reason: unknown;
  /** How long ago the shutdown was asked for, in milliseconds. */
  readonly agoMs: number;
  readonly hooks: ShutdownHooks;
  /** The loops that take part, in the order in which they joined. */
  readonly members: () => readonly ShutdownMember[];
  /** Called once at the end, with the tasks that have not stopped. */
  readonly onEnd: (
    report: ShutdownReport,
    left: readonly Task<unknown>[],
  ) => void;
}

/** Course of a shutdown, from its first phase to its last. */
export class ShutdownSequence {
  readonly #settings: SequenceSettings;
  readonly #record: ShutdownRecord;
  readonly #beganMs: number;
  readonly #done: ShutdownPhaseReport[] = [];
  #phase: ShutdownPhase | null = null;
  #phaseBeganMs = 0;
  #hookCount = 0;
  #parts: ShutdownPart[] = [];
  /** Parts that have not ended. */
  #pending = 0;
  #deadline: TimerHandle | null = null;

  constructor(settings: SequenceSettings) {
    this.#settings = settings;
    this.#record = new ShutdownRecord(settings.reason);
    this.#beganMs = settings.loop.time() - settings.agoMs;
  }

  /** Phase that is under way; null before the first and after the last. */
  get phase(): ShutdownPhase | null {
    return this.#phase;
  }

  /** Has the first phase begin in the next turn. */
  begin(): void {
    this.#settings.loop.callSoon(() => this.#enter(0));
  }

  #enter(index: number): void {
    const phase = SHUTDOWN_PHASES[index];
    if (phase === undefined) return this.#end();
    if (phase === "force" && this.#left().length === 0) return this.#end();
    const { loop, hooks } = this.#settings;
    this.#phase = phase;
    this.#phaseBeganMs = loop.time();
    const limitMs = this.#leftMs(phase);
    const taken = hooks.take(phase);
    this.#hookCount = taken.length;
    this.#parts = taken.map((hook) =>
      new HookPart(hook, this.#loopOf(hook), this.#record, limitMs)
    );
    this.#parts.push(...this.#ownParts(phase, limitMs));
    if (this.#parts.length === 0) return this.#leave();
    this.#deadline = loop.callLater(limitMs, () => this.#expire());
    this.#beginParts();
  }

  /** Time until the moment by which a phase must be over. */
  #leftMs(phase: ShutdownPhase): number {
    const { loop, settled } = this.#settings;
    const untilMs = this.#beganMs + settled.timetable[phase];
    return Math.max(untilMs - loop.time(), 0);
  }

  #beginParts(): void {
    const parts = this.#parts;
    this.#pending = parts.length;
    for (const part of parts) {
      // The end of a part may be on its way when its phase is left.
      part.begin(() => {
        if (this.#parts === parts) this.#partEnded();
      });
    }
  }

  /** A hook runs on the loop on which it was registered, as it may wait for things of that loop. */
  #loopOf({ loop }: ShutdownHook): EventLoop {
    return loop !== null && loop.isRunning() ? loop : this.#settings.loop;
  }

  /** Parts of a phase besides its hooks. */
  #ownParts(phase: ShutdownPhase, limitMs: number): ShutdownPart[] {
    const { loop, settled } = this.#settings;
    if (phase === "pre-stop" && settled.preStopMs > 0) {
      return [new DelayPart(loop, settled.preStopMs)];
    }
    if (phase === "drain" && settled.waitForMain) return this.#mains();
    // Without hooks nothing new is done to what has not stopped.
    if (phase === "cancel" || phase === "force" && this.#hookCount > 0) {
      return this.#settings.members().map((member) =>
        new CancelPart(member, this.#record, phase, limitMs)
      );
    }
    return [];
  }

  #mains(): MainPart[] {
    const parts: MainPart[] = [];
    for (const { main } of this.#settings.members()) {
      if (main !== null && !main.done()) parts.push(new MainPart(main));
    }
    return parts;
  }

  #left(): Task<unknown>[] {
    return this.#settings.members().flatMap(({ loop }) =>
      this.#record.leftOn(loop)
    );
  }

  #partEnded(): void {
    if (--this.#pending > 0) return;
    // Hooks may have left tasks behind.
    if (this.#phase === "cancel" && this.#left().length > 0) {
      this.#parts = this.#ownParts("cancel", this.#leftMs("cancel"));
      return this.#beginParts();
    }
    this.#leave();
  }

  #expire(): void {
    this.#deadline = null;
    for (const part of this.#parts) part.expire();
    this.#leave();
  }

  /** The phase is over: the next one begins in a turn of its own. */
  #leave(): void {
    const { loop } = this.#settings;
    const phase = this.#phase!;
    this.#deadline?.cancel();
    this.#deadline = null;
    this.#parts = [];
    this.#done.push({
      phase,
      durationMs: loop.time() - this.#phaseBeganMs,
      hooks: this.#hookCount,
    });
    const next = SHUTDOWN_PHASES.indexOf(phase) + 1;
    loop.callSoon(() => this.#enter(next));
  }

  /** Ends the shutdown at once, as the budget is spent: whatever has not stopped goes into the report. */
  giveUp(): void {
    const phase = this.#phase;
    if (phase === null) return;
    for (const part of this.#parts) part.expire();
    const { loop, members } = this.#settings;
    const forMs = loop.time() - this.#phaseBeganMs;
    for (const member of members()) {
      for (const task of this.#record.leftOn(member.loop)) {
        const kind = task === member.main ? "main" : "task";
        this.#record.list(task, kind, phase, forMs);
      }
    }
    this.#end();
  }

  #end(): void {
    const { loop, hooks, settled, reason, onEnd } = this.#settings;
    this.#phase = null;
    hooks.end();
    const { stragglers, failures } = this.#record;
    const report = makeReport({
      reason,
      code: exitCodeOf(stragglers.length, failures.length),
      budgetMs: settled.budgetMs,
      durationMs: loop.time() - this.#beganMs,
      phases: this.#done,
      stragglers,
      failures,
    });
    onEnd(report, this.#left());
  }
}
