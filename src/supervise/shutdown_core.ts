/**
 * State of a shutdown: the loops that take part, the signals, the one sequence of phases, and the end of the process.
 *
 * @module
 */
import { CancelledError, InterruptedError, MisuseError } from "../errors.ts";
import {
  beforeIdleEnd,
  exitCodeSet,
  exitProcess,
  setExitCode,
  writeError,
} from "../host/process.ts";
import { after } from "../host/timers.ts";
import { isCancellation } from "../loop/cancellation.ts";
import { core } from "../loop/core.ts";
import type { EndListener } from "../loop/endings.ts";
import type { EventLoop } from "../loop/event_loop.ts";
import type { Future } from "../loop/future.ts";
import type { MainRun, RunGuard } from "../loop/main_run.ts";
import type { Task } from "../loop/task.ts";
import { destroy } from "../loop/waiters.ts";
import { expectShutdown, shutdownBegins } from "./active_watchdog.ts";
import { shutdownErrors, shutDownLoops } from "./child_end.ts";
import { ShutdownHooks } from "./shutdown_hooks.ts";
import {
  joinShutdown,
  type RunShutdownOptions,
  type SettledShutdown,
  settleShutdown,
} from "./shutdown_options.ts";
import type { ShutdownMember } from "./shutdown_part.ts";
import { ShutdownSequence } from "./shutdown_phases.ts";
import { inText, type ShutdownReport } from "./shutdown_report.ts";
import { ShutdownSignals } from "./shutdown_signals.ts";
import type { ShutdownPhase } from "./shutdown_timetable.ts";

/** A loop that takes part, from its joining until it is closed. */
class Member implements ShutdownMember, RunGuard, EndListener {
  readonly loop: EventLoop;
  /** The last run; null before the first. */
  #run: MainRun | null;
  #runs: boolean;
  readonly #shutdown: ShutdownCore;
  #cancelled = false;
  #cleansUp = false;
  /** Set at the end of the shutdown, until which a run goes on. */
  #released: Future<void> | null = null;

  constructor(loop: EventLoop, run: MainRun | null, shutdown: ShutdownCore) {
    this.loop = loop;
    this.#run = run;
    this.#runs = run !== null;
    this.#shutdown = shutdown;
    loop[core].endings.add(this);
  }

  get main(): Task<unknown> | null {
    return this.#run === null ? null : this.#run.main;
  }

  get handlesInterrupt(): boolean {
    return this.#shutdown.handlesInterrupt;
  }

  /** Whether main was cancelled, so that its run has no result. */
  get wasCancelled(): boolean {
    return this.#cancelled && this.main?.cancelled() === true;
  }

  /** Whether its loop runs, or a run on it is not over. */
  get isBusy(): boolean {
    return this.#runs || this.loop.isRunning();
  }

  noteCancel(): void {
    this.#cancelled = true;
  }

  attach(run: MainRun): void {
    this.#shutdown.refuseRun();
    this.#run = run;
    this.#runs = true;
  }

  get cleansUp(): boolean {
    return this.#cleansUp;
  }

  cleanUpBegins(): void {
    this.#cleansUp = true;
    this.#shutdown.closing.add(this);
  }

  rest(): Future<void> | null {
    const shutdown = this.#shutdown;
    return shutdown.hasBegun && shutdown.report === null
      ? this.#released ??= this.loop.createFuture("the shutdown")
      : null;
  }

  runIsOver(): void {
    this.#runs = false;
    this.#shutdown.endProcessSoon();
  }

  errorFor(error: unknown): unknown {
    return this.wasCancelled && isCancellation(error)
      ? new InterruptedError(inText(this.#shutdown.reason))
      : error;
  }

  /** The shutdown is over: the run ends, or the loop stops. */
  release(): void {
    if (this.#released !== null) {
      if (!this.#released.done()) this.#released.setResult();
    } else if (this.#run === null || !this.isBusy && !this.#cleansUp) {
      if (this.#run === null) this.loop.stop();
      this.#shutdown.leave(this);
    }
  }

  loopClosed(): void {
    this.#shutdown.leave(this);
  }

  runnerClosed(): Promise<void> | null {
    this.#shutdown.closing.delete(this);
    this.#shutdown.endProcessSoon();
    return this.#shutdown.hasNoResult(this.wasCancelled)
      ? new Promise(() => {}) // the process ends
      : null;
  }
}

/** Shutdown of the process, or of a loop. */
export class ShutdownCore {
  readonly hooks: ShutdownHooks = new ShutdownHooks();
  /** Futures that get the reason when the shutdown begins. */
  readonly waiters: Set<Future<unknown>> = new Set();
  /** Members whose runner is closing, also when they take part no more. */
  readonly closing: Set<unknown> = new Set();
  readonly #controller: AbortController = new AbortController();
  readonly #members: Set<Member> = new Set();
  #signals: ShutdownSignals | null = null;
  #settled: SettledShutdown | null = null;
  #sequence: ShutdownSequence | null = null;
  #begun = false;
  #reason: unknown;
  #report: ShutdownReport | null = null;
  /** Whether a run has no result, as its main was cancelled, and waits for the end of the process. */
  #endsProcess = false;
  #forgetIdleEnd: () => void = () => {};

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  get hasBegun(): boolean {
    return this.#begun;
  }

  get reason(): unknown {
    return this.#reason;
  }

  get report(): ShutdownReport | null {
    return this.#report;
  }

  get phase(): ShutdownPhase | null {
    return this.#sequence === null ? null : this.#sequence.phase;
  }

  /** Whether SIGINT is one of its signals. */
  get handlesInterrupt(): boolean {
    return this.#settled?.signals.includes("SIGINT") === true;
  }

  /** Throws if the shutdown has begun: a run that is told to take part does not start any more. */
  refuseRun(): void {
    if (this.#begun) throw new InterruptedError(inText(this.#reason));
  }

  // -- Members --

  /** Whether a loop takes part. */
  has(loop: EventLoop): boolean {
    return this.#memberOf(loop) !== undefined;
  }

  #memberOf(loop: EventLoop): Member | undefined {
    return [...this.#members].find((member) => member.loop === loop);
  }

  /** Has a loop take part. Throws if the options are wrong; nothing has changed then. */
  join(
    loop: EventLoop,
    run: MainRun | null,
    options: RunShutdownOptions,
  ): RunGuard {
    const virtual = loop[core].virtual;
    const settled = this.#settled === null
      ? settleShutdown(options, virtual)
      : joinShutdown(this.#settled, options);
    const signals = this.#signals ?? new ShutdownSignals(
      (signal) => this.#signalled(signal),
      (error) => this.#tell("Cannot begin the shutdown", error),
    );
    signals.listen(settled.signals);
    this.#signals = signals;
    this.#settled = settled;
    if (settled.exit) expectShutdown(settled);
    const joined = this.#memberOf(loop);
    if (joined !== undefined) {
      if (run !== null) joined.attach(run);
      return joined;
    }
    const member = new Member(loop, run, this);
    this.#members.add(member);
    return member;
  }

  /** A loop takes part no more: it is about to be closed, or the shutdown is over and it has nothing left. */
  leave(member: Member): void {
    if (!this.#members.has(member)) return;
    if (this.#begun && this.#report === null) this.#leaveEarly(member);
    this.#members.delete(member);
    member.loop[core].endings.delete(member);
    this.endProcessSoon();
    if (this.#members.size > 0) return;
    if (this.#report !== null) {
      if (!this.#settled!.exit) this.#signals?.clear();
    } else {
      this.#signals?.clear();
      this.#signals = null;
      if (this.#settled?.exit === true) expectShutdown(null);
      this.#settled = null;
    }
  }

  /** A loop is closed in the middle of the shutdown, which goes on on another one, or is over if there is none. */
  #leaveEarly(member: Member): void {
    const others = [...this.#members].filter((other) => other !== member);
    const next = firstOf(others);
    if (next === undefined) return this.#sequence!.giveUp();
    this.#members.delete(member); // what it has left is not to be cancelled once more
    this.#sequence!.loopCloses(member, next.loop);
  }

  /** Reports an error that nobody gets. */
  #tell(message: string, exception: unknown): void {
    const [member] = this.#members;
    if (member === undefined) writeError(`rota: ${message}: ${exception}`);
    else member.loop.callExceptionHandler({ message, exception });
  }

  // -- Beginning --

  /** A signal has come. False if the program handles it itself. */
  #signalled(signal: Deno.Signal): boolean {
    for (const { loop } of this.#members) {
      if (loop[core].signals.has(signal)) return false;
    }
    this.begin(signal);
    return true;
  }

  /** Begins; false if it has begun before. */
  begin(reason: unknown): boolean {
    if (this.#begun) return false;
    const first = firstOf([...this.#members]);
    const settled = this.#settled;
    if (first === undefined || settled === null) {
      throw new MisuseError(
        "Cannot begin the shutdown: no loop takes part in it, call gracefulShutdown() or use the option of run()",
      );
    }
    this.#begun = true;
    this.#reason = reason;
    const { budgetMs, exit } = settled;
    const agoMs = exit ? shutdownBegins(budgetMs) : 0;
    if (exit) this.#limit(budgetMs - agoMs);
    const cancellation = new CancelledError(reason);
    shutdownErrors.add(cancellation);
    for (const { loop } of this.#members) shutDownLoops.add(loop);
    this.#sequence = new ShutdownSequence({
      loop: first.loop,
      settled,
      reason,
      cancellation,
      agoMs,
      hooks: this.hooks,
      members: () => [...this.#members],
      onEnd: (report, left) => this.#end(report, left),
    });
    this.#sequence.begin();
    this.#controller.abort(cancellation);
    for (const waiter of this.waiters) {
      if (!waiter.done()) waiter.setResult(reason);
    }
    return true;
  }

  /** Ends a process that is still there when the budget is spent. The timer does not keep it alive. */
  #limit(leftMs: number): void {
    // A process that ends before its time, as nothing keeps it alive, has not shut down.
    this.#forgetIdleEnd = beforeIdleEnd(() => {
      this.#sequence?.giveUp(); // ends the process if something is left
      setExitCode(codeWith(1));
    });
    if (leftMs === Infinity) return;
    after(Math.max(leftMs, 0), () => {
      this.#sequence?.giveUp(); // ends the process if something is left
      if (this.#report?.code !== 1) {
        writeError(
          `rota: shutdown (${
            inText(this.#reason)
          }): the process is still there ` +
            "when the budget is spent, something outside of Rota keeps it alive",
        );
      }
      exitProcess(codeWith(1));
    }, false);
  }

  // -- End --

  #end(report: ShutdownReport, left: readonly Task<unknown>[]): void {
    const { exit, onReport = writeReport } = this.#settled!;
    this.#report = report;
    this.#forgetIdleEnd();
    const failed = (error: unknown) =>
      this.#tell("The function onReport of the shutdown threw", error);
    try {
      const result = onReport(report) as unknown;
      if (result instanceof Promise) result.catch(failed);
    } catch (error) {
      failed(error);
    }
    const code = codeWith(report.code);
    if (exit) setExitCode(code);
    if (left.length > 0) {
      if (exit) exitProcess(code);
      for (const task of left) {
        task[destroy](
          new CancelledError("given up at the end of the shutdown"),
        );
      }
    }
    for (const member of [...this.#members]) member.release();
  }

  /** The runner of a member has closed. Returns whether there is nothing that its run could give, and so the process ends. */
  hasNoResult(wasCancelled: boolean): boolean {
    if (!wasCancelled || this.#report === null || !this.#settled!.exit) {
      return false;
    }
    this.#endsProcess = true;
    this.endProcessSoon();
    return true;
  }

  /** Ends the process if a run waits for that, and the runs of all loops are over. */
  endProcessSoon(): void {
    if (!this.#endsProcess) return;
    // A runner closes some microtasks after the end of its last run, if it does.
    after(0, () => {
      const members = [...this.#members];
      if (this.closing.size > 0 || members.some(({ isBusy }) => isBusy)) return;
      exitProcess(codeWith(this.#report!.code));
    }, true);
  }
}

/** The loop on which phases are counted: one that runs, if there is one. */
function firstOf(members: readonly Member[]): Member | undefined {
  return members.find(({ loop }) => loop.isRunning()) ?? members[0];
}

/** The exit code of a process whose shutdown has this code: one that the program has set itself stands, unless that is 0. */
function codeWith(code: number): number {
  const own = exitCodeSet();
  return own === 0 ? code : own;
}

function writeReport(report: ShutdownReport): void {
  if (report.code !== 0) writeError(report.toString());
}
