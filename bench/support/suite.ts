/**
 * Suites and their cases, and how `deno bench` gets them.
 *
 * A suite is one workload and everybody who can do it. Its cases run in the
 * same process, and each checks its own result: a workload returns how much of
 * it was done, and anything but all of it is an error.
 *
 * @module
 */
import type { Program } from "./child.ts";

/** Marks the part of a workload that is timed. A `Deno.BenchContext` is one. */
export interface Stopwatch {
  /** The timed part begins. Called once. */
  start(): void;
  /** The timed part is over. Called once. */
  end(): void;
}

/** Whether a case is ours, the least that JavaScript could need, or a rival. */
export type Role = "rota" | "limit" | "rival";

/** One way to do the workload of a suite. */
export interface Case {
  /** Who does it, and how. */
  readonly name: string;
  readonly role: Role;
  /**
   * Does the workload.
   *
   * @param size How many callbacks, switches or timers.
   * @param watch Told when the timed part begins and ends.
   * @returns How many were done.
   */
  readonly run: (size: number, watch: Stopwatch) => number | Promise<number>;
}

/** A rival that is another program, which times itself. */
export interface ForeignCase {
  readonly name: string;
  /** The program that runs the script. */
  readonly program: Program;
  readonly script: string;
  /** Arguments of the script after the size and the number of rounds. */
  readonly args?: readonly string[];
  /** Which of the figures it prints. */
  readonly figure: string;
}

/** A workload and everybody who does it. */
export interface Suite {
  readonly name: string;
  /** What is measured, for readers. */
  readonly title: string;
  /** What `size` counts. */
  readonly things: string;
  readonly size: number;
  /** A size at which the workload is still itself, for the smoke test. */
  readonly tinySize: number;
  /** How long one figure takes at least, in as many runs as that needs; 200 unless said. */
  readonly roundMs?: number;
  /** How long each case is warmed up, where most of that is not what is timed; 1,000 unless said. */
  readonly warmupMs?: number;
  /** How many figures are taken, of which the best counts; five unless said. */
  readonly rounds?: number;
  /** Called once in a process that measures, before anything runs. */
  readonly prepare?: () => void;
  /** Iterations of `deno bench`, where its own choice would take too long. */
  readonly iterations?: number;
  readonly cases: readonly Case[];
  readonly foreign?: readonly ForeignCase[];
}

/** Runs a case once and throws unless all of it was done. */
export async function runCase(
  suite: Suite,
  { name, run }: Case,
  size: number,
  watch: Stopwatch,
): Promise<void> {
  const done = await run(size, watch);
  if (done !== size) {
    throw new Error(
      `${suite.name}, ${name}: did ${done} of ${size} ${suite.things}`,
    );
  }
}

/** Gives the cases of a suite to `deno bench`, as one group. Does nothing elsewhere. */
export function register(suite: Suite): void {
  const { title, things, size, cases, iterations, prepare } = suite;
  let prepared = false;
  cases.forEach((one, index) => {
    Deno.bench({
      group: `${title}, ${size.toLocaleString("en")} ${things}`,
      name: one.name,
      baseline: index === 0,
      ...(iterations !== undefined && { n: iterations, warmup: 1 }),
      // Must be an async function: `deno bench` waits for no other.
      fn: async (context) => {
        if (!prepared) prepare?.();
        prepared = true;
        await runCase(suite, one, size, context);
      },
    });
  });
}

/** Keeps score of tasks that should take turns: none may run far ahead of the others. */
export class Fairness {
  readonly #left: number[];
  #checked = false;

  constructor(tasks: number, steps: number) {
    this.#left = new Array(tasks).fill(steps);
  }

  /** A task has made a step. */
  step(task: number): void {
    this.#left[task]!--;
  }

  /** A task has ended: the first that does must find the others almost done. */
  ended(): void {
    if (this.#checked) return;
    this.#checked = true;
    const behind = Math.max(...this.#left);
    if (behind > 2) {
      throw new Error(`A task ended while another had ${behind} steps to go`);
    }
  }

  /** How many steps were made in all, of as many as there are. */
  done(tasks: number, steps: number): number {
    return tasks * steps - this.#left.reduce((sum, left) => sum + left, 0);
  }
}
