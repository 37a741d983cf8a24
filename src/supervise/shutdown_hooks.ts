/**
 * Hooks of a shutdown: functions that a program wants to have called in one of its phases.
 *
 * @module
 */
import { HookTooLateError } from "../errors.ts";
import {
  checkFunction,
  checkNotNegative,
  checkOneOf,
  checkOptions,
  checkString,
} from "../loop/checks.ts";
import { findLoop } from "../loop/current.ts";
import type { EventLoop } from "../loop/event_loop.ts";
import type { Coroutine } from "../loop/task_body.ts";
import { SHUTDOWN_PHASES, type ShutdownPhase } from "./shutdown_timetable.ts";

/** Argument of a hook. */
export interface ShutdownHookContext {
  /** Phase in which the hook runs. */
  readonly phase: ShutdownPhase;
  /** Reason of the shutdown: the name of the signal, or what `begin` was given. */
  readonly reason: unknown;
  /** Moment at which the time of the hook is over, on the clock of its loop. */
  readonly deadlineMs: number;
  /** Aborts when that moment has come. */
  readonly signal: AbortSignal;
}

/** Function that runs in a phase of a shutdown, as a task: a plain, async or generator function. */
export type ShutdownHookFunction = (
  context: ShutdownHookContext,
) => Coroutine<unknown> | PromiseLike<unknown> | unknown;

/** Options of {@linkcode onShutdown}. */
export interface ShutdownHookOptions {
  /**
   * Name in the report.
   *
   * @default {the name of the function, or "hook"}
   */
  readonly name?: string | undefined;
  /**
   * The most time that the hook gets. It never gets more than its phase.
   *
   * @default {Infinity}
   */
  readonly timeoutMs?: number | undefined;
}

/** Hook that was registered. Disposing of it removes it. */
export class ShutdownHook implements Disposable {
  /** Phase in which it runs. */
  readonly phase: ShutdownPhase;
  /** Name in the report. */
  readonly name: string;
  /** The most time that it gets. */
  readonly timeoutMs: number;
  /** @ignore */
  readonly fn: ShutdownHookFunction;
  /**
   * Loop on which it was registered, and on which it runs if it can.
   *
   * @ignore
   */
  readonly loop: EventLoop | null;
  readonly #remove: (hook: ShutdownHook) => boolean;

  /** @ignore */
  constructor(
    phase: ShutdownPhase,
    fn: ShutdownHookFunction,
    options: ShutdownHookOptions,
    remove: (hook: ShutdownHook) => boolean,
  ) {
    this.phase = phase;
    this.fn = fn;
    this.name = options.name ?? nameOf(fn);
    this.timeoutMs = options.timeoutMs ?? Infinity;
    this.loop = findLoop();
    this.#remove = remove;
  }

  /**
   * Removes the hook, for a part of a program that has ended before. Does nothing
   * once the phase has begun.
   *
   * @returns Whether the hook was there, and does not run now.
   */
  remove(): boolean {
    return this.#remove(this);
  }

  /** The same as {@linkcode remove}. */
  [Symbol.dispose](): void {
    this.remove();
  }
}

/** The name of a function, which a program may have set to anything. */
function nameOf(fn: { readonly name: unknown }): string {
  return typeof fn.name === "string" && fn.name !== "" ? fn.name : "hook";
}

/** The hooks of one shutdown, by phase. */
export class ShutdownHooks {
  readonly #byPhase: Map<ShutdownPhase, Set<ShutdownHook>> = new Map();
  /** How many phases have begun, and take no more hooks. */
  #begun = 0;

  /** Registers a hook. Hooks of a phase begin in the order of their registration. */
  add(
    phase: ShutdownPhase,
    fn: ShutdownHookFunction,
    options: ShutdownHookOptions,
  ): ShutdownHook {
    const what = "register a shutdown hook";
    checkOneOf(phase, SHUTDOWN_PHASES, what, "phase");
    checkFunction(fn, what, "fn");
    checkOptions(options, what);
    const { name, timeoutMs } = options;
    if (name !== undefined) checkString(name, what, "name");
    if (timeoutMs !== undefined) checkNotNegative(timeoutMs, what, "timeoutMs");
    if (SHUTDOWN_PHASES.indexOf(phase) < this.#begun) {
      throw new HookTooLateError(
        `Cannot ${what}: the phase "${phase}" has begun already`,
      );
    }
    const hooks = this.#byPhase.get(phase) ?? new Set();
    this.#byPhase.set(phase, hooks);
    const hook = new ShutdownHook(
      phase,
      fn,
      options,
      (removed) => hooks.delete(removed),
    );
    hooks.add(hook);
    return hook;
  }

  /** Takes the hooks of a phase out. It and those before take no more from now on. */
  take(phase: ShutdownPhase): ShutdownHook[] {
    this.#begun = SHUTDOWN_PHASES.indexOf(phase) + 1;
    const taken = this.#byPhase.get(phase);
    if (taken === undefined) return [];
    const hooks = [...taken];
    taken.clear();
    return hooks;
  }

  /** Takes out all hooks whose phase has not begun; no phase takes any from now on. */
  takeAll(): ShutdownHook[] {
    return SHUTDOWN_PHASES.slice(this.#begun).flatMap((phase) =>
      this.take(phase)
    );
  }

  /** The shutdown is over: no phase takes hooks any more. */
  end(): void {
    this.#begun = SHUTDOWN_PHASES.length;
    this.#byPhase.clear();
  }
}
