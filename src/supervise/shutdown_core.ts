/**
 * State of a shutdown: the loops that take part, the signals, the one sequence of phases, and the end of the process.
 *
 * @module
 */
import { CancelledError, InterruptedError, MisuseError } from "../errors.ts";
import { exitProcess, setExitCode, writeError } from "../host/process.ts";
import { after } from "../host/timers.ts";
import { isCancellation } from "../loop/cancellation.ts";
import { core } from "../loop/core.ts";
import type { EventLoop } from "../loop/event_loop.ts";
import type { Future } from "../loop/future.ts";
import type { MainRun, RunGuard } from "../loop/main_run.ts";
import type { Subscription } from "../loop/signal_hub.ts";
import type { Task } from "../loop/task.ts";
import { destroy } from "../loop/waiters.ts";
import { expectShutdown, shutdownBegins } from "./active_watchdog.ts";
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
class Member implements ShutdownMember, RunGuard, Subscription {
  readonly loop: EventLoop;
  #run: MainRun | null;
  readonly #shutdown: ShutdownCore;
  #cancelled = false;
  #cleansUp = false;
  /** Set at the end of the shutdown, until which a run goes on. */
  #released: Future<void> | null = null;

  constructor(loop: EventLoop, run: MainRun | null, shutdown: ShutdownCore) {
    this.loop = loop;
    this.#run = run;
    this.#shutdown = shutdown;
    if (run === null) loop[core].strays.subscriptions.add(this);
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

  noteCancel(): void {
    this.#cancelled = true;
  }

  /** A run takes the place of the one before, or of none. */
  attach(run: MainRun | null): void {
    if (run === null) return;
    this.#run = run;
    this.loop[core].strays.subscriptions.delete(this);
  }

  get cleansUp(): boolean {
    return this.#cleansUp;
  }

  cleanUpBegins(): void {
    this.#cleansUp = true;
  }

  rest(): Future<void> | null {
    const shutdown = this.#shutdown;
    return shutdown.hasBegun && shutdown.report === null
      ? this.#released ??= this.loop.createFuture("the shutdown")
      : null;
  }

  errorFor(error: unknown): unknown {
    return this.wasCancelled && isCancellation(error)
      ? new InterruptedError(inText(this.#shutdown.reason))
      : error;
  }

  /** The shutdown is over: the run ends, or the loop stops. */
  release(): void {
    if (this.#run === null) {
      this.loop[core].strays.subscriptions.delete(this);
      this.loop.stop();
      this.#shutdown.leave(this);
    } else if (this.#released?.done() === false) this.#released.setResult();
  }

  loopClosed(): void {
    this.#shutdown.leave(this);
  }

  /** A loop without a run is closed. */
  unsubscribe(): void {
    this.#shutdown.leave(this);
  }
}

/** Shutdown of the process, or of a loop. */
export class ShutdownCore {
  readonly hooks: ShutdownHooks = new ShutdownHooks();
  /** Futures that get the reason when the shutdown begins. */
  readonly waiters: Set<Future<unknown>> = new Set();
  readonly #controller: AbortController = new AbortController();
  readonly #members: Set<Member> = new Set();
  #signals: ShutdownSignals | null = null;
  #settled: SettledShutdown | null = null;
  #sequence: ShutdownSequence | null = null;
  #begun = false;
  #reason: unknown;
  #report: ShutdownReport | null = null;
  /** Whether the run of a member has no result, as its main was cancelled. */
  #cancelledMain = false;

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
    for (const member of this.#members) {
      if (member.loop !== loop) continue;
      member.attach(run);
      return member;
    }
    const member = new Member(loop, run, this);
    this.#members.add(member);
    return member;
  }

  /** A loop takes part no more. */
  leave(member: Member): void {
    if (!this.#members.delete(member)) return;
    if (this.#begun && member.wasCancelled) this.#cancelledMain = true;
    if (this.#members.size > 0) return;
    if (this.#report !== null) this.#conclude(this.#report);
    else if (!this.#begun) {
      this.#signals?.clear();
      this.#signals = null;
      if (this.#settled?.exit === true) expectShutdown(null);
      this.#settled = null;
    }
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
    const members = [...this.#members];
    const first = members.find(({ loop }) => loop.isRunning()) ?? members[0];
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
    this.#sequence = new ShutdownSequence({
      loop: first.loop,
      settled,
      reason,
      agoMs,
      hooks: this.hooks,
      members: () => [...this.#members],
      onEnd: (report, left) => this.#end(report, left),
    });
    this.#sequence.begin();
    this.#controller.abort(new CancelledError(reason));
    for (const waiter of this.waiters) {
      if (!waiter.done()) waiter.setResult(reason);
    }
    return true;
  }

  /** Ends a process that is still there when the budget is spent. The timer does not keep it alive. */
  #limit(leftMs: number): void {
    // A process that ends before its time, as nothing keeps it alive, has not shut down.
    setExitCode(1);
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
      exitProcess(1);
    }, false);
  }

  // -- End --

  #end(report: ShutdownReport, left: readonly Task<unknown>[]): void {
    const { exit, onReport = writeReport } = this.#settled!;
    this.#report = report;
    try {
      onReport(report);
    } catch (error) {
      this.#tell("The function onReport of the shutdown threw", error);
    }
    if (left.length > 0) {
      if (exit) exitProcess(report.code);
      for (const task of left) {
        task[destroy](
          new CancelledError("given up at the end of the shutdown"),
        );
      }
    }
    for (const member of [...this.#members]) member.release();
  }

  /** All loops are closed. */
  #conclude(report: ShutdownReport): void {
    if (!this.#settled!.exit) {
      this.#signals?.clear();
      return;
    }
    setExitCode(report.code);
    // There is no result with which `run` could return.
    if (this.#cancelledMain) exitProcess(report.code);
  }
}

function writeReport(report: ShutdownReport): void {
  if (report.code !== 0) writeError(report.toString());
}
