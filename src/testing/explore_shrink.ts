/**
 * Shrinks a schedule in which a program fails: to fewer switches, and then to fewer
 * steps, as long as the failure stays the same.
 *
 * Two kinds of changes are tried in turn. Choices are set back to "no switch", many
 * of them at once and then fewer (the delta debugging of Zeller and Hildebrandt,
 * 2002). And what a task does later is brought forward to where it runs already. After
 * that the schedules with no preemption are tried, then those with one, and so on, as
 * far as that is fewer: in small programs this finds the fewest there are.
 *
 * @module
 */
import {
  type ExploredProgram,
  Pace,
  type RunFailure,
  runOnce,
  type RunSettings,
} from "./explore_run.ts";
import { type Chooser, Trace } from "./explore_scheduler.ts";
import {
  DfsStrategy,
  ListedChoices,
  WantedKeys,
} from "./explore_strategies.ts";

/** Largest number of runs that are spent on changes. */
const RUNS_MAX = 1_000;
/** Largest number of choices that all these runs have together, which takes a second or so. */
const CHOICES_MAX = 1_000_000;
/** Largest number of runs that are spent on each number of preemptions. */
const SEARCH_RUNS_MAX = 500;
/** In runs of more steps only the first kind of change is tried: the second takes a run for each switch. */
const STEPS_MAX = 2_000;

/** A failing run: what it did, and how it failed. */
export interface FailingRun {
  readonly choices: readonly number[];
  readonly keys: readonly number[];
  readonly failure: RunFailure;
  readonly preemptions: number;
  readonly switches: number;
}

/** Takes what matters out of the trace of a failing run. */
export function failingRun(trace: Trace, failure: RunFailure): FailingRun {
  return {
    choices: trace.choices(),
    keys: Array.from({ length: trace.steps }, (_, step) => trace.chosen(step)),
    failure,
    preemptions: trace.preemptions(),
    switches: trace.switches(),
  };
}

/** Whether two failures count as the same: of one kind, with an error of one class. */
export function isSameFailure(one: RunFailure, other: RunFailure): boolean {
  return one.kind === other.kind &&
    classOf(one.error) === classOf(other.error);
}

function classOf(error: unknown): string {
  return error instanceof Error ? error.name : typeof error;
}

/** Returns a failing run with as few switches as could be found. */
export async function shrink(
  program: ExploredProgram,
  found: FailingRun,
  settings: RunSettings,
): Promise<FailingRun> {
  const shrinker = new Shrinker(program, found, settings);
  await shrinker.shrink();
  return shrinker.best;
}

class Shrinker {
  best: FailingRun;
  readonly #program: ExploredProgram;
  readonly #settings: RunSettings;
  readonly #trace = new Trace();
  readonly #pace = new Pace();
  #runsLeft = RUNS_MAX;
  #choicesLeft = CHOICES_MAX;

  constructor(
    program: ExploredProgram,
    found: FailingRun,
    settings: RunSettings,
  ) {
    this.#program = program;
    this.best = found;
    this.#settings = settings;
  }

  async shrink(): Promise<void> {
    // A standstill takes a second of real time to be noticed, each time.
    if (this.best.failure.kind === "standstill") return;
    let before: FailingRun;
    do {
      before = this.best;
      await this.#dropChoices();
      if (this.best.keys.length <= STEPS_MAX) await this.#joinPieces();
    } while (this.best !== before && this.#runsLeft > 0);
    if (this.best.keys.length <= STEPS_MAX) await this.#searchFewer();
  }

  /** Looks for a failing schedule with fewer preemptions. */
  async #searchFewer(): Promise<void> {
    for (let bound = 0; bound < this.best.preemptions; bound++) {
      const search = new DfsStrategy(bound);
      this.#runsLeft = this.#choicesLeft <= 0 ? 0 : SEARCH_RUNS_MAX;
      while (this.#runsLeft > 0 && search.begin()) {
        if (await this.#try(search)) return;
        search.end();
      }
    }
  }

  /** Runs a schedule, and takes it if it fails in the same way and is better. */
  async #try(chooser: Chooser): Promise<boolean> {
    if (this.#runsLeft <= 0) return false;
    this.#runsLeft--;
    await this.#pace.run();
    const failure = await runOnce(
      this.#program,
      chooser,
      this.#trace,
      this.#settings,
    );
    const { best } = this;
    this.#choicesLeft -= this.#trace.keys.length;
    if (this.#choicesLeft <= 0) this.#runsLeft = 0;
    if (failure === null || !isSameFailure(failure, best.failure)) return false;
    const run = failingRun(this.#trace, failure);
    if (!isBetter(run, best)) return false;
    this.best = run;
    return true;
  }

  /** Sets choices back to 0: half of them, a quarter, and so on down to one. */
  async #dropChoices(): Promise<void> {
    let size = Math.max(switchesIn(this.best).length, 1);
    while (size >= 1 && this.#runsLeft > 0) {
      let dropped = false;
      for (let from = 0; from < switchesIn(this.best).length;) {
        const steps = new Set(switchesIn(this.best).slice(from, from + size));
        const choices = this.best.choices.map((choice, step) =>
          steps.has(step) ? 0 : choice
        );
        if (await this.#try(new ListedChoices(choices))) dropped = true;
        else from += size;
        if (this.#runsLeft <= 0) return;
      }
      if (!dropped || size > 1) size = size === 1 ? 0 : Math.ceil(size / 2);
    }
  }

  /** Brings each piece of a task forward, to the end of the piece of that task before it. */
  async #joinPieces(): Promise<void> {
    for (let at = 1; at < piecesOf(this.best.keys).length;) {
      const pieces = piecesOf(this.best.keys);
      const piece = pieces[at]!;
      const before = pieces.findLastIndex(({ key }, index) =>
        index < at && key === piece.key
      );
      const joined = before < 0
        ? pieces
        : pieces.toSpliced(at, 1).toSpliced(before + 1, 0, piece);
      const taken = before >= 0 && await this.#try(
        new WantedKeys(
          joined.flatMap(({ key, steps }) => new Array(steps).fill(key)),
        ),
      );
      if (!taken) at++;
      if (this.#runsLeft <= 0) return;
    }
  }
}

function isBetter(one: FailingRun, other: FailingRun): boolean {
  const differences = [
    one.preemptions - other.preemptions,
    one.switches - other.switches,
    one.keys.length - other.keys.length,
    switchesIn(one).length - switchesIn(other).length,
  ];
  return (differences.find((difference) => difference !== 0) ?? 0) < 0;
}

/** The steps at which a choice other than 0 was taken. */
function switchesIn({ choices }: FailingRun): number[] {
  return choices.flatMap((choice, step) => choice === 0 ? [] : [step]);
}

/** Steps in a row that one task has taken. */
interface Piece {
  readonly key: number;
  readonly steps: number;
}

function piecesOf(keys: readonly number[]): Piece[] {
  const pieces: Piece[] = [];
  for (const key of keys) {
    const last = pieces.at(-1);
    if (last?.key === key) {
      pieces[pieces.length - 1] = { key, steps: last.steps + 1 };
    } else pieces.push({ key, steps: 1 });
  }
  return pieces;
}
