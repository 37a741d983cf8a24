/**
 * `explore` and `replay`: run a program under many schedules, and run one of them again.
 *
 * @module
 */
import {
  ExplorationError,
  type ExplorationFailure,
  NondeterminismError,
} from "../errors.ts";
import { ChanceWatch } from "../host/chance_watch.ts";
import { KeepAlive } from "../host/timers.ts";
import {
  checkFunction,
  checkInteger,
  checkNumber,
  checkOneOf,
  checkOptions,
  checkSignal,
} from "../loop/checks.ts";
import type { EventLoop } from "../loop/event_loop.ts";
import type { EventLoopOptions } from "../loop/loop_options.ts";
import type { ReadyItem, Scheduler } from "../loop/scheduler.ts";
import {
  type ExploredProgram,
  Pace,
  type RunFailure,
  runOnce,
  type RunSettings,
} from "./explore_run.ts";
import {
  type Chooser,
  keyInWords,
  type StepListener,
  Trace,
} from "./explore_scheduler.ts";
import {
  type FailingRun,
  failingRun,
  isSameFailure,
  shrink,
} from "./explore_shrink.ts";
import {
  type ExploreStrategy,
  ListedChoices,
  makeStrategy,
  type Strategy,
} from "./explore_strategies.ts";
import { TableWriter } from "./explore_table.ts";
import { ScheduleReader, ScheduleWriter } from "./schedule_string.ts";

/** Options of {@linkcode replay} that have to be those of {@linkcode explore}, too. */
export interface ReplayOptions {
  /**
   * Makes the strategy of each loop, such as a {@linkcode PriorityScheduler}: the
   * exploration then chooses only among what that would run next. It needs the
   * methods `candidates` and `take`.
   *
   * @default {none: all that is ready may be next}
   */
  readonly scheduler?: (() => Scheduler) | undefined;
  /**
   * Makes the loop of each run, for a class of your own. It has to hand the options
   * on: they have the virtual host and the scheduler.
   *
   * @default {new EventLoop(options)}
   */
  readonly loopFactory?: ((options: EventLoopOptions) => EventLoop) | undefined;
}

/** Options of {@linkcode explore}. */
export interface ExploreOptions extends ReplayOptions {
  /**
   * How the next step is chosen. `"random"`: each with the same probability.
   * `"pct"`: random priorities that change at `depth - 1` random moments, after
   * Burckhardt et al. (2010). `"dfs"`: every schedule, each once. `"round-robin"`:
   * in turn by number, one step each in the first run, two in the second, and so on.
   *
   * @default {"random"}
   */
  readonly strategy?: ExploreStrategy | undefined;
  /**
   * Seed of the random choices. The same seed gives the same schedules.
   *
   * @default {1}
   */
  readonly seed?: number | undefined;
  /**
   * How many runs there are at most.
   *
   * @default {1_000}
   */
  readonly iterations?: number | undefined;
  /**
   * For `"pct"`: how many moments have to be in the right order for the bug that
   * is looked for. For `"dfs"`: how many preemptions a schedule may have, which are
   * switches away from a task that could go on. The other strategies ignore it.
   *
   * @default {3 for "pct", no limit for "dfs"}
   */
  readonly depth?: number | undefined;
  /**
   * How many steps a run may take: more count as a livelock.
   *
   * @default {10_000}
   */
  readonly stepsMax?: number | undefined;
  /** Ends the exploration between two runs: it rejects with the reason. */
  readonly signal?: AbortSignal | undefined;
}

/** Result of an exploration that has found nothing. */
export interface ExploreReport {
  /** Strategy that was used. */
  readonly strategy: ExploreStrategy;
  /** Seed that was used. */
  readonly seed: number;
  /** How many schedules were run. */
  readonly runs: number;
  /** How many steps they had together. */
  readonly steps: number;
  /**
   * Whether there is nothing left to try. For `"dfs"`: every schedule was run, or
   * with a `depth` every one with at most so many preemptions. Always `false` for
   * `"random"` and `"pct"`.
   */
  readonly complete: boolean;
  /** Real timers, clocks and random numbers that the first run was seen to use, and where. */
  readonly uncontrolled: readonly string[];
}

const STRATEGIES = ["random", "pct", "dfs", "round-robin"] as const;
const STEPS_MAX = 10_000;

/**
 * Runs a program under many schedules, each on a fresh loop with virtual time, until
 * one makes it fail.
 *
 * A schedule says which task, timer or callback takes the next step, whenever several
 * are ready. A failure is: an error of the program, such as a failed assertion; an
 * error that is reported to the exception handler, as no caller gets it; a deadlock,
 * as after a lost wakeup; more than `stepsMax` steps; a second of real time in which
 * the program waits for something outside the loop. Tasks that the program leaves
 * behind are cancelled at the end, as by `run`, and clean up under the schedule.
 *
 * The failing schedule is run again, and what was ready at each step compared. Then it
 * is shrunk to fewest switches, in at most 1,000 runs, and the error has the schedule
 * as text, for {@linkcode replay}, and a table of the steps.
 *
 * The program is called for each run, and has to make all of its state itself. It must
 * not use real timers, clocks, I/O or random numbers: use those of the loop, and a
 * seeded generator. The first run is made twice, as is one that fails, and the uses
 * that are seen in the second time are named. For that time the globals `Math.random`,
 * `Date`, `performance.now`, `setTimeout`, `setInterval`, `setImmediate`, `fetch` and
 * those of `crypto` are replaced by functions that take note and do the same.
 *
 * Generators can be interrupted at each `yield*` that waits. Async functions can be at
 * each operation of the loop; two tasks whose async functions wait for plain promises
 * go on in the order that JavaScript gives them, which is not explored. Nor is code
 * that runs between two waits: it cannot be interrupted in production either. A loop
 * without any wait cannot be ended. A task that has taken 50 steps in a row while
 * others were ready lets another one run, so that polling is no livelock.
 *
 * @example A read and a write with a wait in between
 * ```ts
 * import { gather, sleep } from "@rota/rota";
 * import { ExplorationError, explore, replay } from "@rota/rota/testing";
 * import { assertEquals, assertRejects } from "@std/assert";
 *
 * const program = function* () {
 *   let balance = 0;
 *   const deposit = function* () {
 *     const before = balance;
 *     yield* sleep(0);
 *     balance = before + 1;
 *   };
 *   yield* gather([deposit, deposit]);
 *   assertEquals(balance, 2);
 * };
 * const { failure } = await assertRejects(
 *   () => explore(program, { strategy: "random", seed: 7 }),
 *   ExplorationError,
 * );
 * assertEquals(failure.kind, "error");
 * await assertRejects(() => replay(program, failure.schedule), ExplorationError);
 * ```
 *
 * @param program Async function or generator function.
 * @param options The strategy, and how long it tries.
 * @returns A promise for the counts, if nothing was found.
 * @throws {ExplorationError} If a schedule makes the program fail.
 * @throws {NondeterminismError} If the program does something else when it is run
 * again with the same schedule.
 * @throws {TypeError} If an argument is of the wrong type.
 * @throws {RangeError} If `iterations`, `depth` or `stepsMax` is no integer of at least
 * 1, or `seed` is no safe integer.
 * @throws {MisuseError} If `loopFactory` makes a loop with another host or scheduler.
 */
export async function explore(
  program: ExploredProgram,
  options: ExploreOptions = {},
): Promise<ExploreReport> {
  const what = "explore a program";
  checkFunction(program, what, "program");
  checkExploreOptions(options, what);
  const exploration = new Exploration(program, options);
  return await keptAlive(() => exploration.run());
}

function checkExploreOptions(options: ExploreOptions, what: string): void {
  checkReplayOptions(options, what);
  const { strategy, seed, iterations, depth, stepsMax, signal } = options;
  checkOneOf(strategy, [undefined, ...STRATEGIES], what, "strategy");
  if (seed !== undefined) checkSeed(seed, what);
  if (iterations !== undefined) checkInteger(iterations, 1, what, "iterations");
  if (depth !== undefined) checkInteger(depth, 1, what, "depth");
  if (stepsMax !== undefined) checkInteger(stepsMax, 1, what, "stepsMax");
  checkSignal(signal, what);
}

function checkSeed(seed: unknown, what: string): void {
  checkNumber(seed, what, "seed", "");
  if (!Number.isSafeInteger(seed)) {
    throw new RangeError(
      `Cannot ${what} as seed must be a safe integer: received ${seed}`,
    );
  }
}

function checkReplayOptions(options: ReplayOptions, what: string): void {
  checkOptions(options, what);
  const { scheduler, loopFactory } = options;
  if (scheduler !== undefined) checkFunction(scheduler, what, "scheduler");
  if (loopFactory !== undefined) {
    checkFunction(loopFactory, what, "loopFactory");
  }
}

/** Keeps the process alive while an exploration waits for the program. */
async function keptAlive<T>(run: () => Promise<T>): Promise<T> {
  const keepAlive = new KeepAlive();
  keepAlive.set(true);
  try {
    return await run();
  } finally {
    keepAlive.set(false);
  }
}

/** Exploration of one program. */
class Exploration {
  readonly #program: ExploredProgram;
  readonly #settings: RunSettings;
  readonly #strategyName: ExploreStrategy;
  readonly #strategy: Strategy;
  readonly #seed: number;
  readonly #iterations: number;
  readonly #signal: AbortSignal | undefined;
  readonly #trace = new Trace();
  readonly #pace = new Pace();
  #runs = 0;
  #steps = 0;
  #uncontrolled: readonly string[] = [];

  constructor(program: ExploredProgram, options: ExploreOptions) {
    const {
      strategy = "random",
      seed = 1,
      iterations = 1_000,
      depth,
      stepsMax = STEPS_MAX,
      signal,
    } = options;
    this.#program = program;
    this.#settings = settingsOf(options, stepsMax);
    this.#strategyName = strategy;
    this.#strategy = makeStrategy(strategy, seed, depth);
    this.#seed = seed;
    this.#iterations = iterations;
    this.#signal = signal;
  }

  async run(): Promise<ExploreReport> {
    const strategy = this.#strategy;
    const trace = this.#trace;
    let complete = false;
    while (this.#runs < this.#iterations) {
      this.#signal?.throwIfAborted();
      if (!strategy.begin()) {
        complete = true;
        break;
      }
      await this.#pace.run();
      const failure = await runOnce(
        this.#program,
        strategy,
        trace,
        this.#settings,
      );
      strategy.end(trace);
      this.#runs++;
      this.#steps += trace.steps;
      if (failure !== null) await this.#found(failure);
      if (this.#runs === 1) await this.#confirm(null);
    }
    // The last run may have been the last one there is.
    if (!complete && this.#strategyName === "dfs") complete = !strategy.begin();
    return {
      strategy: this.#strategyName,
      seed: this.#seed,
      runs: this.#runs,
      steps: this.#steps,
      complete,
      uncontrolled: this.#uncontrolled,
    };
  }

  async #found(failure: RunFailure): Promise<never> {
    // A standstill takes a second to be noticed; its report is watched anyway.
    if (failure.kind !== "standstill") await this.#confirm(failure);
    const found = failingRun(this.#trace, failure);
    const best = await shrink(this.#program, found, this.#settings);
    throw await this.#report(best);
  }

  /** Runs the last schedule again, and throws unless all is as before. */
  async #confirm(failure: RunFailure | null): Promise<void> {
    const before = this.#trace;
    const trace = new Trace();
    const ready: string[] = [];
    const onStep = (): StepListener => (items) => {
      const step = trace.steps;
      if (isOtherStep(before, step, items)) ready[step] = namesOf(items);
    };
    const chooser = new ListedChoices(before.choices());
    const again = await this.#watched(() =>
      runOnce(this.#program, chooser, trace, this.#settings, { onStep })
    );
    const step = before.differsAt(trace);
    if (step >= 0) {
      throw this.#nondeterminism(step, before, ready[step], failure);
    }
    const same = failure === null || again === null
      ? failure === again
      : isSameFailure(failure, again);
    if (!same) {
      throw this.#nondeterminism(before.steps, before, undefined, failure);
    }
  }

  /** Runs the program while its use of clocks and chance is watched. */
  async #watched<T>(run: () => Promise<T>): Promise<T> {
    const watch = new ChanceWatch();
    try {
      return await run();
    } finally {
      watch[Symbol.dispose]();
      this.#uncontrolled = watch.list();
    }
  }

  #nondeterminism(
    step: number,
    before: Trace,
    now: string | undefined,
    failure: RunFailure | null,
  ): NondeterminismError {
    const atFirst = step < before.steps
      ? before.keysOf(step).map(keyInWords).join(", ")
      : "nothing, as it had ended";
    const how = step === before.steps && now === undefined
      ? "but it ended in another way"
      : `but at step ${
        step + 1
      } it differs; ready at first: ${atFirst}; then: ${
        now ?? "nothing, as it had ended"
      }`;
    return new NondeterminismError(
      `Cannot explore the program as it must do the same when it is run again with the same schedule, ${how}. ` +
        (this.#uncontrolled.length === 0
          ? "It may keep state from one run to the next, or wait for something outside the loop."
          : `It uses ${this.#uncontrolled.join(", ")}.`),
      step + 1,
      this.#uncontrolled,
      failure === null ? undefined : { cause: failure.error },
    );
  }

  /** Runs the best schedule once more, and writes it down. */
  async #report(best: FailingRun): Promise<Error> {
    const chooser = new ListedChoices(best.choices);
    const { failure, text, table } = await this.#watched(() =>
      writeDown(this.#program, chooser, this.#settings)
    );
    if (failure === null || !isSameFailure(failure, best.failure)) {
      return new NondeterminismError(
        "Cannot explore the program as it must do the same when it is run again with the same schedule, " +
          "but it did not fail again",
        best.keys.length,
        this.#uncontrolled,
        { cause: best.failure.error },
      );
    }
    return errorOf(failure, {
      kind: failure.kind,
      strategy: this.#strategyName,
      seed: this.#seed,
      runs: this.#runs,
      schedule: text,
      steps: best.keys.length,
      preemptions: best.preemptions,
      table,
      uncontrolled: this.#uncontrolled,
    });
  }
}

function settingsOf(options: ReplayOptions, stepsMax: number): RunSettings {
  const { scheduler = null, loopFactory = null } = options;
  return { stepsMax, makeScheduler: scheduler, loopFactory };
}

function isOtherStep(
  before: Trace,
  step: number,
  items: readonly ReadyItem[],
): boolean {
  if (step >= before.steps) return true;
  const keys = before.keysOf(step).map(keyInWords);
  return keys.length !== items.length ||
    items.some(({ kind, number }, index) =>
      keys[index] !== `${kind} ${number}`
    );
}

function namesOf(items: readonly ReadyItem[]): string {
  return items.map(({ kind, number, name }) =>
    name === "" ? `${kind} ${number}` : `${kind} ${number} "${name}"`
  ).join(", ");
}

/** Runs a schedule; returns it as text, and its table. */
async function writeDown(
  program: ExploredProgram,
  chooser: Chooser,
  settings: RunSettings,
): Promise<{ failure: RunFailure | null; text: string; table: string }> {
  const trace = new Trace();
  const writer = new ScheduleWriter();
  const table = new TableWriter();
  const failure = await runOnce(program, chooser, trace, settings, {
    instrument: table,
    onStep: (loop) => {
      const draw = table.listen(loop);
      return (ready, chosen) => {
        writer.add(ready.indexOf(chosen), ready);
        draw(ready, chosen);
      };
    },
  });
  const text = failure === null ? "" : writer.finish(failure.kind);
  return { failure, text, table: table.draw() };
}

function counted(count: number, what: string): string {
  return count === 1 ? `1 ${what}` : `${count} ${what}s`;
}

/** Makes the error of a failure: all that is to be printed is in its message. */
function errorOf(
  { error }: RunFailure,
  failure: ExplorationFailure,
): ExplorationError {
  const { kind, strategy, seed, runs, schedule, steps, preemptions, table } =
    failure;
  const found = seed === null
    ? "Replayed"
    : `Found by strategy "${strategy}" with seed ${seed} in run ${runs}`;
  const said = error instanceof Error
    ? `${error.name}: ${error.message}`
    : String(error);
  const lines = [
    `${found}: ${kind}: ${said}`,
    `schedule: ${schedule} (${counted(steps, "step")}, ${
      counted(preemptions, "preemption")
    })`,
    table,
  ];
  if (failure.uncontrolled.length > 0) {
    lines.push(`not controlled: ${failure.uncontrolled.join(", ")}`);
  }
  return new ExplorationError(lines.join("\n"), failure, { cause: error });
}

/**
 * Runs a program once, with a schedule that {@linkcode explore} has printed, in the
 * same process or in another one.
 *
 * The schedule has checksums of what was ready, so that a program that does something
 * else is refused within eight steps of that. Schedules are valid for one version of Rota.
 *
 * @example
 * ```ts
 * import { sleep } from "@rota/rota";
 * import { replay, ScheduleError } from "@rota/rota/testing";
 * import { assertRejects } from "@std/assert";
 *
 * await assertRejects(
 *   () => replay(() => sleep(1), "r1e.2.0000.1"),
 *   ScheduleError,
 *   "its checksum is wrong",
 * );
 * ```
 *
 * @param program The program that was explored.
 * @param schedule The schedule, as printed.
 * @param options The same `scheduler` and `loopFactory` as in the exploration.
 * @returns A promise that never resolves: a schedule always ends in a failure.
 * @throws {ExplorationError} When the program has failed as it did before. `cause` is
 * its error.
 * @throws {ScheduleError} If the text is broken or of another version, or the program
 * is another one, or has changed. Nothing has run if `step` is `null`.
 * @throws {TypeError} If an argument is of the wrong type.
 * @throws {MisuseError} If `loopFactory` makes a loop with another host or scheduler.
 */
export async function replay(
  program: ExploredProgram,
  schedule: string,
  options: ReplayOptions = {},
): Promise<never> {
  const what = "replay a program";
  checkFunction(program, what, "program");
  checkReplayOptions(options, what);
  const reader = new ScheduleReader(schedule);
  const isLivelock = reader.kind === "livelock";
  const settings = settingsOf(
    options,
    isLivelock ? Math.max(reader.steps - 1, 0) : Infinity,
  );
  return await keptAlive(() => replayOnce(program, schedule, reader, settings));
}

async function replayOnce(
  program: ExploredProgram,
  schedule: string,
  reader: ScheduleReader,
  settings: RunSettings,
): Promise<never> {
  const trace = new Trace();
  const table = new TableWriter();
  const chooser = {
    choose: ({ count }: { count: number }) => reader.next(count),
  };
  const outcome = await runOnce(program, chooser, trace, settings, {
    instrument: table,
    onStep: (loop) => {
      const draw = table.listen(loop);
      return (ready, chosen) => {
        reader.check(ready, chosen);
        draw(ready, chosen);
      };
    },
  });
  const failure = reader.finish(outcome);
  throw errorOf(failure, {
    kind: failure.kind,
    strategy: "replay",
    seed: null,
    runs: 1,
    schedule,
    steps: trace.steps,
    preemptions: trace.preemptions(),
    table: table.draw(),
    uncontrolled: [],
  });
}
