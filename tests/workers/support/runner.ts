/**
 * A `JobRunner` in this thread, whose replies a test waits for.
 *
 * @module
 */
import {
  JobRunner,
  type JobRunnerOptions,
} from "../../../src/workers/job_runner.ts";
import type { JobSpec, NestedSpec } from "../../../src/workers/link.ts";
import { toTaskRef } from "../../../src/workers/module_task.ts";

/** Outcome of a job. */
export type Outcome =
  | { readonly value: unknown; readonly transfer: readonly Transferable[] }
  | { readonly error: unknown };

/** A job that was given to the runner. */
export interface TestJob {
  readonly id: number;
  readonly outcome: Promise<Outcome>;
  /** What it has reported so far. */
  readonly progress: readonly unknown[];
}

/** Options of a job. */
export type TestJobOptions = Partial<
  Pick<JobSpec, "name" | "remainingMs" | "locals">
>;

/** A runner, and what it replied. Values are cloned, as on a way to another thread. */
export class TestRunner implements AsyncDisposable {
  readonly runner: JobRunner;
  /** How many replies there were that end a job. */
  ends = 0;
  /** Jobs that its jobs have submitted. */
  readonly nested: { readonly id: number; readonly spec: NestedSpec }[] = [];
  /** Those of them that their submitters have cancelled. */
  readonly withdrawn: {
    readonly id: number;
    readonly number: number;
    readonly reason: unknown;
  }[] = [];
  readonly #settle = new Map<number, (outcome: Outcome) => void>();
  readonly #progress = new Map<number, unknown[]>();
  #idLast = 0;

  constructor(options: JobRunnerOptions = {}) {
    this.runner = new JobRunner({
      returned: (id, value, transfer) =>
        this.#end(id, {
          value: structuredClone(value, { transfer: [...transfer] }),
          transfer,
        }),
      threw: (id, error) => this.#end(id, { error }),
      progressed: (id, value) => {
        this.#progress.get(id)!.push(structuredClone(value));
      },
      submitted: (id, spec) => {
        this.nested.push({ id, spec: structuredClone(spec) });
      },
      withdrew: (id, number, reason) => {
        this.withdrawn.push({ id, number, reason });
      },
    }, options);
  }

  #end(id: number, outcome: Outcome): void {
    this.ends++;
    const settle = this.#settle.get(id);
    if (settle === undefined) throw new Error(`Job ${id} has ended twice`);
    this.#settle.delete(id);
    settle(outcome);
  }

  /** Gives a job to the runner. */
  run(
    task: unknown,
    args: readonly unknown[] = [],
    options: TestJobOptions = {},
  ): TestJob {
    const id = ++this.#idLast;
    const { promise, resolve } = Promise.withResolvers<Outcome>();
    const progress: unknown[] = [];
    this.#settle.set(id, resolve);
    this.#progress.set(id, progress);
    this.runner.run({
      name: `job ${id}`,
      remainingMs: Infinity,
      locals: null,
      ...options,
      id,
      task: toTaskRef(task, "run a job"),
      args,
      transfer: [],
    });
    return { id, outcome: promise, progress };
  }

  /** Runs a job and returns its result; throws its error. */
  async call(
    task: unknown,
    args: readonly unknown[] = [],
    options: TestJobOptions = {},
  ): Promise<unknown> {
    const outcome = await this.run(task, args, options).outcome;
    if ("error" in outcome) throw outcome.error;
    return outcome.value;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.runner.close();
  }
}
