/**
 * Phases of a shutdown, one after the other on the clock of a loop.
 *
 * All parts of a phase run side by side. A phase is over when all of them have ended, or when its moment in the timetable
 * has come; what has not ended then goes into the report, and the next phase begins.
 *
 * @module
 */
import type { CancelledError } from "../errors.ts";
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
import {
  shareOf,
  SHUTDOWN_PHASES,
  type ShutdownPhase,
} from "./shutdown_timetable.ts";

/** Settings of a sequence. */
export interface SequenceSettings {
  /** Loop on which the phases are counted. */
  readonly loop: EventLoop;
  readonly settled: SettledShutdown;
  readonly reason: unknown;
  /** The error with which tasks are cancelled. */
  readonly cancellation: CancelledError;
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
  /** Loop on which the phases are counted. */
  #loop: EventLoop;
  #phase: ShutdownPhase | null = null;
  #phaseBeganMs = 0;
  #hookCount = 0;
  /** Parts of the phase that have not ended. */
  #parts: Set<ShutdownPart> = new Set();
  #deadline: TimerHandle | null = null;
  /** Number of the phase that begins in the next turn; null while one is under way. */
  #next: number | null = null;
  #over = false;

  constructor(settings: SequenceSettings) {
    const { loop, reason, cancellation, agoMs } = settings;
    this.#settings = settings;
    this.#loop = loop;
    this.#record = new ShutdownRecord(reason, cancellation);
    this.#beganMs = loop.time() - agoMs;
    this.#phaseBeganMs = this.#beganMs;
  }

  /** Phase that is under way; null before the first and after the last. */
  get phase(): ShutdownPhase | null {
    return this.#phase;
  }

  /** Has the first phase begin in the next turn. */
  begin(): void {
    this.#enterSoon(0);
  }

  #enterSoon(index: number): void {
    const loop = this.#loop;
    this.#next = index;
    loop.callSoon(() => {
      if (this.#next === index && this.#loop === loop) this.#enter(index);
    });
  }

  #enter(index: number): void {
    this.#next = null;
    const phase = SHUTDOWN_PHASES[index];
    if (phase === undefined) return this.#end();
    if (phase === "force" && this.#left().length === 0) return this.#end();
    this.#phase = phase;
    this.#phaseBeganMs = this.#loop.time();
    const limitMs = this.#leftMs(phase);
    const taken = this.#settings.hooks.take(phase);
    this.#hookCount = taken.length;
    const parts: ShutdownPart[] = taken.map((hook) =>
      new HookPart(hook, this.#loopOf(hook), this.#record, limitMs)
    );
    parts.push(...this.#ownParts(phase, limitMs));
    if (parts.length === 0) return this.#leave();
    this.#setDeadline(phase);
    this.#beginParts(parts);
  }

  #setDeadline(phase: ShutdownPhase): void {
    this.#deadline = this.#loop.callLater(
      this.#leftMs(phase),
      () => this.#expire(),
    );
  }

  /** Time until the moment by which the phase that is under way must be over. */
  #leftMs(phase: ShutdownPhase): number {
    const { settled } = this.#settings;
    const untilMs = settled.budgetMs === Infinity
      ? this.#phaseBeganMs + shareOf(phase, settled)
      : this.#beganMs + settled.timetable[phase];
    return Math.max(untilMs - this.#loop.time(), 0);
  }

  #beginParts(parts: readonly ShutdownPart[]): void {
    this.#parts = new Set(parts);
    // The end of a part may be on its way when its phase is left.
    for (const part of parts) part.begin(() => this.#partEnded(part));
  }

  /** A hook runs on the loop on which it was registered, as it may wait for things of that loop. */
  #loopOf({ loop }: ShutdownHook): EventLoop {
    return loop !== null && loop.isRunning() ? loop : this.#loop;
  }

  /** Parts of a phase besides its hooks. */
  #ownParts(phase: ShutdownPhase, limitMs: number): ShutdownPart[] {
    const { settled } = this.#settings;
    if (phase === "pre-stop" && settled.preStopMs > 0) {
      return [new DelayPart(this.#loop, settled.preStopMs)];
    }
    if (phase === "drain" && settled.waitForMain) return this.#mains();
    if (phase === "cancel" || phase === "force" && this.#mayStillStop()) {
      return this.#membersToCancel().map((member) =>
        new CancelPart(member, this.#record, phase, limitMs)
      );
    }
    return [];
  }

  /** The members without those that do not run and have nothing that could be cancelled. */
  #membersToCancel(): ShutdownMember[] {
    return this.#settings.members().filter(({ loop }) =>
      loop.isRunning() || this.#record.leftOn(loop).length > 0
    );
  }

  /** Whether something happens in the phase `"force"` that may end what is left: hooks, or the cancellation of new tasks. */
  #mayStillStop(): boolean {
    const { cancelled } = this.#record;
    return this.#hookCount > 0 ||
      this.#left().some((task) => !cancelled.has(task));
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

  #partEnded(part: ShutdownPart): void {
    if (!this.#parts.delete(part) || this.#parts.size > 0) return;
    // Hooks may have left tasks behind.
    if (this.#phase === "cancel" && this.#left().length > 0) {
      const parts = this.#ownParts("cancel", this.#leftMs("cancel"));
      return this.#beginParts(parts);
    }
    this.#leave();
  }

  #expire(): void {
    this.#deadline = null;
    this.#expireParts();
    this.#leave();
  }

  #expireParts(): void {
    const parts = this.#parts;
    this.#parts = new Set();
    for (const part of parts) part.expire();
  }

  /** The phase is over: the next one begins in a turn of its own. */
  #leave(): void {
    const phase = this.#phase!;
    this.#endPhase(phase);
    this.#enterSoon(SHUTDOWN_PHASES.indexOf(phase) + 1);
  }

  #endPhase(phase: ShutdownPhase): void {
    this.#deadline?.cancel();
    this.#deadline = null;
    this.#done.push({
      phase,
      durationMs: this.#loop.time() - this.#phaseBeganMs,
      hooks: this.#hookCount,
    });
  }

  /**
   * A loop that takes part is about to be closed: what it still has goes into the report, as it does not stop any more.
   * The phases go on on another loop.
   */
  loopCloses(member: ShutdownMember, next: EventLoop): void {
    const { loop } = member;
    const stays = this.#loop !== loop;
    if (!stays) this.#loop = next;
    for (const part of [...this.#parts]) {
      if (part.loop !== loop) continue;
      if (part.moveTo !== undefined) part.moveTo(next);
      else {
        part.expire();
        this.#partEnded(part);
      }
    }
    this.#listLeft(member);
    if (stays) return;
    if (this.#next !== null) this.#enterSoon(this.#next);
    else if (this.#phase !== null) {
      this.#deadline?.cancel();
      this.#setDeadline(this.#phase);
    }
  }

  /** Ends the shutdown at once, as its time or its loops are over: whatever has not stopped goes into the report. */
  giveUp(): void {
    if (this.#over) return;
    this.#expireParts();
    const phase = this.#phase;
    if (phase !== null && this.#next === null) this.#endPhase(phase);
    for (const hook of this.#settings.hooks.takeAll()) {
      if (hook.phase !== "force" || this.#left().length > 0) {
        this.#record.listUnreached(hook);
      }
    }
    this.#end();
  }

  #listLeft(member: ShutdownMember): void {
    const forMs = this.#loop.time() - this.#phaseBeganMs;
    const phase = this.#phase ?? SHUTDOWN_PHASES[0]!;
    this.#record.listLeft(member, phase, () => forMs);
  }

  #end(): void {
    const { hooks, settled, reason, onEnd, members } = this.#settings;
    // Also tasks that were made when the others had been asked to stop, or had stopped.
    for (const member of members()) this.#listLeft(member);
    this.#over = true;
    this.#next = null;
    this.#phase = null;
    hooks.end();
    const { stragglers, failures } = this.#record;
    const report = makeReport({
      reason,
      code: exitCodeOf(stragglers.length, failures.length),
      budgetMs: settled.budgetMs,
      durationMs: this.#loop.time() - this.#beganMs,
      phases: this.#done,
      stragglers,
      failures,
    });
    onEnd(report, this.#left());
  }
}
