/**
 * Graceful shutdown: `gracefulShutdown`, `onShutdown`, `shutdownSignal` and `waitForShutdown`.
 *
 * @module
 */
import { LoopClosedError, MisuseError } from "../errors.ts";
import { checkLoop } from "../loop/check_loop.ts";
import { checkOptions, checkWaitOptions } from "../loop/checks.ts";
import { core } from "../loop/core.ts";
import { findLoop, getRunningLoop } from "../loop/current.ts";
import type { EventLoop } from "../loop/event_loop.ts";
import { findMainRun, guardLoop, shutdownSlot } from "../loop/main_run.ts";
import { Operation, type WaitOptions } from "../loop/operation.ts";
import type { Coroutine } from "../loop/task_body.ts";
import { ShutdownCore } from "./shutdown_core.ts";
import type {
  ShutdownHook,
  ShutdownHookFunction,
  ShutdownHookOptions,
} from "./shutdown_hooks.ts";
import {
  type GracefulShutdownOptions,
  type RunShutdownOptions,
  settleShutdown,
  WHAT,
} from "./shutdown_options.ts";
import type { ShutdownReport } from "./shutdown_report.ts";
import type { ShutdownPhase } from "./shutdown_timetable.ts";

const NO_OPTIONS = {};

/**
 * The shutdown of a process, or of one loop. {@linkcode gracefulShutdown} returns
 * it.
 */
export class GracefulShutdown {
  readonly #core: ShutdownCore;

  /** @ignore */
  constructor(core: ShutdownCore) {
    this.#core = core;
  }

  /**
   * Aborts at the beginning of the shutdown, before anything is cancelled. That
   * of the process is {@linkcode shutdownSignal}.
   */
  get signal(): AbortSignal {
    return this.#core.signal;
  }

  /** Phase that is under way; `null` before the first and after the last. */
  get phase(): ShutdownPhase | null {
    return this.#core.phase;
  }

  /** Report of the shutdown, once it is over. */
  get report(): ShutdownReport | null {
    return this.#core.report;
  }

  /**
   * Begins the shutdown, as a signal of the operating system does. The signal
   * aborts inside this call, the first phase begins in the next turn. A signal of the
   * operating system that comes later counts as the first one: only one more forces the end.
   *
   * @param reason Cause, of any type. Tasks are cancelled with it.
   * @returns Whether it had not begun before.
   * @throws {MisuseError} If no loop takes part in it any more.
   */
  begin(reason: unknown = "shutdown"): boolean {
    return this.#core.begin(reason);
  }

  /**
   * Registers a hook: see {@linkcode onShutdown}.
   *
   * @param phase Phase in which it runs.
   * @param fn The function.
   * @param options Its name, and the time that it gets.
   * @returns The hook, which can be removed.
   * @throws {TypeError} If an argument is of the wrong type.
   * @throws {RangeError} If `timeoutMs` is negative or `NaN`.
   * @throws {HookTooLateError} If the phase has begun already.
   */
  onShutdown(
    phase: ShutdownPhase,
    fn: ShutdownHookFunction,
    options: ShutdownHookOptions = NO_OPTIONS,
  ): ShutdownHook {
    return this.#core.hooks.add(phase, fn, options);
  }
}

// -- Which shutdown --

const processCore = new ShutdownCore();

/** The shutdown of each loop that has one of its own. */
const loopCores = new WeakMap<EventLoop, ShutdownCore>();

const facades = new WeakMap<ShutdownCore, GracefulShutdown>();

/** Returns the shutdown that concerns a loop; null stands for code outside of loops. */
function coreOf(loop: EventLoop | null): ShutdownCore {
  if (loop === null) return processCore;
  const own = loopCores.get(loop);
  if (own !== undefined) return own;
  return loop[core].virtual ? ownCoreOf(loop) : processCore;
}

function ownCoreOf(loop: EventLoop): ShutdownCore {
  const own = loopCores.get(loop) ?? new ShutdownCore();
  loopCores.set(loop, own);
  return own;
}

/**
 * Returns the shutdown that options ask for.
 *
 * @throws {MisuseError} If the loop takes part in another one.
 */
function chooseCore(
  loop: EventLoop,
  options: RunShutdownOptions,
): ShutdownCore {
  const { scope } = settleShutdown(options, loop[core].virtual);
  const own = loopCores.get(loop);
  if (own !== undefined) {
    if (scope === "loop" || options.scope === undefined) return own;
    throw new MisuseError(
      `Cannot ${WHAT} with scope "process": the loop has a shutdown of its own`,
    );
  }
  if (scope === "process") return processCore;
  if (!processCore.has(loop)) return ownCoreOf(loop);
  throw new MisuseError(
    `Cannot ${WHAT} with scope "loop": the loop takes part in the shutdown of the process`,
  );
}

function facadeOf(shutdown: ShutdownCore): GracefulShutdown {
  const facade = facades.get(shutdown) ?? new GracefulShutdown(shutdown);
  facades.set(shutdown, facade);
  return facade;
}

shutdownSlot.check = (options, virtual) => {
  settleShutdown(options, virtual);
};
shutdownSlot.join = (run, options) => {
  const { loop } = run;
  const shutdown = chooseCore(loop, options);
  shutdown.refuseRun();
  run.guardBy(shutdown.join(loop, run, options));
};

// -- The interface --

/**
 * Aborts when the shutdown of the process begins, before anything is cancelled.
 * Its reason is a {@linkcode CancelledError}, whose `reason` is the name of the
 * signal.
 *
 * Health checks read it, and loops that take new work give it to what they wait
 * for. A child of a supervisor may do so, too: one that it has cancelled is not restarted,
 * nor is one on a loop that takes part if it has returned after the beginning. A child that
 * crashes is restarted as ever, until its supervisor is stopped. A loop with a shutdown of
 * its own has another one:
 * {@linkcode GracefulShutdown.signal}.
 *
 * @example A health check
 * ```ts
 * import { shutdownSignal } from "@rota/rota";
 * import { assertEquals } from "@std/assert";
 *
 * const health = () =>
 *   new Response(null, { status: shutdownSignal.aborted ? 503 : 200 });
 * assertEquals(health().status, 200);
 * ```
 */
export const shutdownSignal: AbortSignal = processCore.signal;

/**
 * Has a loop take part in the graceful shutdown of the process, and returns that.
 * The option `shutdown` of `run` does the same at the beginning of a run.
 *
 * SIGINT and SIGTERM, and whatever else is named, begin the shutdown; `run` itself
 * does not cancel main any more. {@linkcode shutdownSignal} aborts. Then the phases
 * follow one another: `"not-ready"`, `"pre-stop"`, `"stop-intake"`, `"drain"`,
 * `"cancel"`, `"force"`. In each, the hooks of {@linkcode onShutdown} run side by
 * side. Draining also waits for main to end; cancelling cancels main, with the
 * name of the signal, and all other tasks once it has ended. All phases share one
 * budget: a phase that is over before its time leaves that to those that follow,
 * and what has not ended when its time is over goes into the report, by name and
 * with what it waits for.
 *
 * The exit code is 0 if all has stopped, 1 if something has not stopped in time or
 * a hook threw. A code other than 0 to which the program has set `Deno.exitCode`
 * itself stands. A run whose main was cancelled has no result: it does not settle, and
 * the process ends once the runs of all loops are over. A process that has nothing left
 * to do ends before the budget is spent.
 *
 * A second signal ends the process at once, with 128 and the signal's number. Signals
 * within 200 ms of the first count as one with it, as Ctrl-C reaches a program twice if
 * the one that has started it passes it on. Once the thread has been free after these
 * 200 ms, a second signal works also while it is busy. If it is busy when they are over,
 * a signal that comes before it is free again works then; if it has been busy since the
 * first half of them, it counts as one with the first, and one more is needed. Where other
 * code listens to the signal by `process.on`, it works only while the thread is free; a
 * listener of `Deno.addSignalListener` keeps it from ending the process. A thread
 * that blocks can do none of this: with a {@linkcode Watchdog} such a process ends
 * within the budget, too.
 *
 * There is one shutdown in a process, however many ask for it. A later call joins
 * the first: its signals are added, the shorter budget counts, all else is as the
 * first one has set it. A loop leaves when it is closed, and takes part in all runs
 * until then. If a loop is closed in the middle of the shutdown, what it has left goes
 * into the report, and so do hooks that nobody can call any more; the phases go on on
 * another loop. On the virtual host, or with scope `"loop"`, a loop has a shutdown of its own.
 *
 * In another thread than the main one it is a shutdown of that thread: it takes the
 * signals over as well, and at its end ends the thread, not the process. So call it in
 * the main thread first of all.
 *
 * A loop that was started by `runForever` is stopped at the end.
 *
 * @example Phases on a virtual clock
 * ```ts
 * import { gracefulShutdown, onShutdown, run, sleep, waitForShutdown } from "@rota/rota";
 * import { assertEquals } from "@std/assert";
 *
 * const log: string[] = [];
 * await run(async () => {
 *   const shutdown = gracefulShutdown();
 *   onShutdown("stop-intake", () => log.push("no new work"));
 *   onShutdown("drain", async () => {
 *     await sleep(300);
 *     log.push("work is done");
 *   });
 *   shutdown.begin("upgrade"); // outside of tests a signal does that
 *   log.push(`stop: ${await waitForShutdown()}`);
 * }, { host: "virtual", shutdown: { budgetMs: 5_000 } });
 * assertEquals(log, ["stop: upgrade", "no new work", "work is done"]);
 * ```
 *
 * @param options Signals, budget, delay and so on; the loop that takes part.
 * @returns The shutdown. If it has begun already, nothing else happens.
 * @throws {TypeError} If an option is of the wrong type, or a signal cannot be
 * handled.
 * @throws {RangeError} If a time is negative or `NaN`, or the shares do not fit
 * into the budget.
 * @throws {MisuseError} If no loop is given and none is running, or the loop takes
 * part in a shutdown of the other scope.
 * @throws {LoopClosedError} If the loop is closed.
 */
export function gracefulShutdown(
  options: GracefulShutdownOptions = NO_OPTIONS,
): GracefulShutdown {
  checkOptions(options, WHAT);
  if (options.loop !== undefined) checkLoop(options.loop, WHAT);
  const loop = options.loop ?? getRunningLoop();
  if (loop.isClosed()) {
    throw new LoopClosedError(`Cannot ${WHAT}: the event loop is closed`);
  }
  const shutdown = chooseCore(loop, options);
  if (!shutdown.hasBegun) {
    const run = findMainRun(loop);
    const member = shutdown.join(loop, run ?? null, options);
    if (run === undefined) guardLoop(loop, member);
    else run.guardBy(member);
  }
  return facadeOf(shutdown);
}

/**
 * Registers a function that runs in a phase of the shutdown: that of the running
 * loop if it has one of its own, else that of the process. It may be registered
 * before {@linkcode gracefulShutdown} is called.
 *
 * The function runs as a task, on the loop on which it was registered, or else on
 * one that takes part. The hooks of a phase begin in the order of their
 * registration and run side by side; the next phase waits for them. A hook that
 * throws, or is cancelled, is reported to the exception handler and makes the exit
 * code 1; the others go on. A hook that has not ended when its time is over is
 * cancelled, is in the report, and makes the exit code 1; the next phase does not wait
 * for it. The phase `"cancel"` does, as for all tasks that were cancelled.
 *
 * @example A hook that is not needed any more
 * ```ts
 * import { onShutdown } from "@rota/rota";
 * import { assertEquals } from "@std/assert";
 *
 * const hook = onShutdown("drain", () => console.log("flush"), { name: "cache" });
 * assertEquals(hook.remove(), true);
 * ```
 *
 * @param phase Phase in which it runs.
 * @param fn A plain, async or generator function. Its argument has the reason, and
 * a signal that aborts when its time is over.
 * @param options Its name in the report, and the most time that it gets.
 * @returns The hook, which can be removed.
 * @throws {TypeError} If an argument is of the wrong type.
 * @throws {RangeError} If `timeoutMs` is negative or `NaN`.
 * @throws {HookTooLateError} If the phase has begun already.
 */
export function onShutdown(
  phase: ShutdownPhase,
  fn: ShutdownHookFunction,
  options: ShutdownHookOptions = NO_OPTIONS,
): ShutdownHook {
  return coreOf(findLoop()).hooks.add(phase, fn, options);
}

/**
 * Waits until the shutdown begins: that of the running loop if it has one of its
 * own, else that of the process. For a main that has nothing else to do.
 *
 * @example A main whose work is done elsewhere
 * ```ts
 * import { gracefulShutdown, run, waitForShutdown } from "@rota/rota";
 * import { assertEquals } from "@std/assert";
 *
 * const reason = await run(function* () {
 *   gracefulShutdown().begin("enough");
 *   return yield* waitForShutdown();
 * }, { host: "virtual" });
 * assertEquals(reason, "enough");
 * ```
 *
 * @param options A signal that ends the wait.
 * @returns An operation whose result is the reason: the name of the signal, or
 * what `begin` was given.
 * @throws {TypeError} If `signal` is not an `AbortSignal`.
 */
export function waitForShutdown(options?: WaitOptions): Operation<unknown> {
  const signal = checkWaitOptions(options, "wait for the shutdown");
  return new Operation(waitUntilBegun, { name: "waitForShutdown()", signal });
}

function* waitUntilBegun(): Coroutine<unknown> {
  const loop = getRunningLoop();
  const shutdown = coreOf(loop);
  if (shutdown.hasBegun) return shutdown.reason;
  const begun = loop.createFuture<unknown>("waitForShutdown()");
  shutdown.waiters.add(begun);
  try {
    return yield* begun;
  } finally {
    shutdown.waiters.delete(begun);
  }
}
