/**
 * Run of a program under exploration: a fresh loop on virtual time, ended by its
 * first failure.
 *
 * @module
 */
import {
  DeadlockError,
  type ExplorationFailureKind,
  MisuseError,
} from "../errors.ts";
import type { HostClient } from "../host/host.ts";
import { macrotask } from "../host/macrotask.ts";
import { VirtualHost } from "../host/virtual.ts";
import { inspect } from "../loop/checks.ts";
import { core } from "../loop/core.ts";
import { EventLoop } from "../loop/event_loop.ts";
import type { Instrument } from "../loop/instrument.ts";
import type { EventLoopOptions } from "../loop/loop_options.ts";
import type { Scheduler } from "../loop/scheduler.ts";
import type { Coroutine } from "../loop/task_body.ts";
import {
  type Chooser,
  ExploringScheduler,
  type StepListener,
  type Trace,
} from "./explore_scheduler.ts";

/**
 * Program that is explored: an async function or generator function without
 * parameters, called once for each run. All of its state has to be made inside.
 */
export type ExploredProgram = () =>
  | Coroutine<unknown>
  | PromiseLike<unknown>
  | unknown;

/** Failure of a run. */
export interface RunFailure {
  readonly kind: ExplorationFailureKind;
  readonly error: unknown;
}

/** Options that all runs of an exploration have in common. */
export interface RunSettings {
  readonly stepsMax: number;
  readonly makeScheduler: (() => Scheduler) | null;
  readonly loopFactory: ((options: EventLoopOptions) => EventLoop) | null;
}

/** Options of one run. */
export interface RunExtras {
  /** Told of each step; may throw, which ends the run with that error. */
  readonly onStep?: (loop: EventLoop) => StepListener;
  readonly instrument?: Instrument;
}

/** After so many runs the runtime gets the thread. */
const RUNS_PER_MACROTASK = 64;

/** Lets the runtime have the thread now and then: most runs are microtasks alone. */
export class Pace {
  #runs = 0;

  /** Called before each run. */
  run(): Promise<void> | void {
    if (++this.#runs % RUNS_PER_MACROTASK !== 0) return;
    return new Promise((resolve) => macrotask(resolve));
  }
}

/** Virtual host that tells when its clock stands still for something outside the loop. */
class ExploredHost extends VirtualHost {
  readonly #onStandstill: () => void;

  constructor(onStandstill: () => void) {
    super();
    this.#onStandstill = onStandstill;
  }

  override open(client: HostClient): void {
    super.open({
      wake: () => client.wake(),
      starved: () => client.starved(),
      stoodStill: () => this.#onStandstill(),
      hasOutsideWaits: () => client.hasOutsideWaits(),
      hasPromiseWork: () => client.hasPromiseWork(),
    });
  }
}

/**
 * Runs a program once, and records the steps in `trace`.
 *
 * @returns The failure; `null` if there is none.
 * @throws {unknown} The error of the chooser or the listener.
 */
export async function runOnce(
  program: ExploredProgram,
  chooser: Chooser,
  trace: Trace,
  settings: RunSettings,
  extras: RunExtras = {},
): Promise<RunFailure | null> {
  const run = new ExploredRun(chooser, trace, settings, extras);
  await run.execute(program);
  return run.failure;
}

class ExploredRun {
  failure: RunFailure | null = null;
  readonly #loop: EventLoop;
  readonly #trace: Trace;
  /** Instrument that is not to see how the loop ends what a failure has left. */
  readonly #instrument: Instrument | null;
  /** Error of the chooser or the listener. */
  #fatal: { readonly error: unknown } | null = null;

  constructor(
    chooser: Chooser,
    trace: Trace,
    settings: RunSettings,
    { onStep, instrument }: RunExtras,
  ) {
    this.#trace = trace;
    this.#instrument = instrument ?? null;
    const { stepsMax, makeScheduler, loopFactory } = settings;
    const inner = makeScheduler === null ? null : checkedInner(makeScheduler());
    const scheduler = new ExploringScheduler(
      chooser,
      trace,
      inner,
      stepsMax,
      () => this.#livelocked(stepsMax),
    );
    const options = {
      host: new ExploredHost(() => this.#stoodStill()),
      scheduler,
      debug: false,
      ...(instrument && { instruments: [instrument] }),
    };
    this.#loop = loopFactory === null
      ? new EventLoop(options)
      : checkedLoop(loopFactory(options));
    scheduler.listener = onStep?.(this.#loop) ?? null;
    scheduler.work = this.#loop[core].outside;
    scheduler.onError = (error) => {
      this.#fatal ??= { error };
    };
    this.#loop.setExceptionHandler((_, { message, exception }) => {
      this.#fail("unhandled", exception ?? new Error(message));
    });
  }

  async execute(program: ExploredProgram): Promise<void> {
    const loop = this.#loop;
    try {
      this.#checkLoop();
      const main = loop.createTask(program as () => Promise<unknown>, {
        name: "main",
      });
      await loop.runUntilComplete(main);
      if (loop[core].tasks.size > 0) await this.#cancelLeft();
    } catch (error) {
      this.failure ??= {
        kind: error instanceof DeadlockError ? "deadlock" : "error",
        error,
      };
    }
    if (this.#instrument !== null) loop.removeInstrument(this.#instrument);
    await loop.close();
    if (this.#fatal !== null) throw this.#fatal.error;
    if (this.#trace.steps === 0) {
      throw new MisuseError(
        "Cannot explore a program: loopFactory has to hand the options on to the loop, but it has another scheduler",
      );
    }
  }

  /** Throws if the loop is none that can be explored. */
  #checkLoop(): void {
    if (this.#loop[core].virtual) return;
    this.#fatal = {
      error: new MisuseError(
        "Cannot explore a program: loopFactory has to hand the options on to the loop, but its host is " +
          `"${this.#loop.stats().host}", and on a real clock no schedule can be made again`,
      ),
    };
    throw this.#fatal.error;
  }

  /** Ends the tasks that are left, as `run` does. */
  async #cancelLeft(): Promise<void> {
    const loop = this.#loop;
    const tasks = loop[core].tasks.toArray();
    let left = tasks.length;
    for (const task of tasks) {
      task.addDoneCallback(() => {
        const error = task.cancelled() ? undefined : task.exception();
        if (error !== undefined) this.#fail("unhandled", error);
        if (--left === 0) loop.stop();
      });
      task.cancel("The program has ended");
    }
    await loop[core].drive("until-complete");
  }

  /** Takes a failure, the first one, and ends the run. */
  #fail(kind: ExplorationFailureKind, error: unknown): void {
    if (this.failure !== null || this.#fatal !== null) return;
    this.failure = { kind, error };
    if (this.#loop.isRunning()) {
      this.#loop[core].failRun(new MisuseError("The exploration has ended"));
    }
  }

  #livelocked(stepsMax: number): void {
    this.#fail(
      "livelock",
      new Error(`The program had not ended after ${stepsMax} steps`),
    );
  }

  #stoodStill(): void {
    const names = this.#loop[core].tasks.toArray().map(({ name }) => name);
    this.#fail(
      "standstill",
      new Error(
        `The program has waited for a second for something outside the loop, which no schedule controls; unfinished tasks: ${
          names.join(", ")
        }`,
      ),
    );
  }
}

function checkedInner(scheduler: Scheduler): Scheduler {
  if (scheduler?.candidates === undefined || scheduler.take === undefined) {
    throw new TypeError(
      `Cannot explore a program as scheduler must return a Scheduler with candidates and take: received ${
        inspect(scheduler)
      }`,
    );
  }
  return scheduler;
}

function checkedLoop(loop: EventLoop): EventLoop {
  if (loop instanceof EventLoop) return loop;
  throw new TypeError(
    `Cannot explore a program as loopFactory must return an EventLoop: received ${
      inspect(loop)
    }`,
  );
}
