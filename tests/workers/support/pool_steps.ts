/**
 * Short ways to say what tests of pools say often.
 *
 * @module
 */
import {
  type ExceptionContext,
  type Future,
  getRunningLoop,
  run,
  sleep,
} from "../../../mod.ts";
import { outcomeOf } from "../../support/styles.ts";
import type { SubmitOptions } from "../../../src/workers/executor.ts";
import { checkSubmitOptions } from "../../../src/workers/submit_options.ts";
import { type FakePool, type FakeWorker, TASK } from "./fake_workers.ts";

/** Submits a job with a name. */
export function submit(
  { pool }: FakePool,
  name: string,
  options: SubmitOptions = {},
): Future<unknown> {
  return pool.submit(TASK, [], checkSubmitOptions({ name, ...options }));
}

/** Runs a program of plain code in a turn of a loop; returns what the exception handler was told. */
export async function inLoop(
  steps: () => Generator<unknown, void, unknown>,
): Promise<string[]> {
  const told: ExceptionContext[] = [];
  // A test that fails leaves jobs behind, for whose end the loop waits: it is not waited for then.
  const { promise: failed, reject } = Promise.withResolvers<never>();
  const ended = run(function* () {
    getRunningLoop().setExceptionHandler((_, context) => told.push(context));
    try {
      for (const _ of steps()) {
        yield* sleep(0);
        yield* sleep(0);
      }
    } catch (error) {
      reject(error);
    }
  }, { host: "virtual" });
  await Promise.race([ended, failed]);
  return told.map(({ message }) => message);
}

/** Outcomes of futures, in one line each. */
export function outcomes(...futures: Future<unknown>[]): string[] {
  return futures.map(outcomeOf);
}

/** Moves the clock until the next worker is started, if that has not been; returns it. */
export function nextWorker({ workers, clock }: FakePool): FakeWorker {
  for (;;) {
    const next = workers.left.find(({ state, isKilled }) =>
      state === "starting" && !isKilled
    );
    if (next !== undefined) return next;
    clock.advance(clock.untilNext());
  }
}

/** Ends a pool: all workers do as they are told. */
export function* endOf(fake: FakePool): Generator<undefined, void, unknown> {
  const down = getRunningLoop().createTask(fake.pool.shutdown());
  yield;
  while (!down.done()) {
    fake.clock.advance(Math.min(fake.clock.untilNext(), 1_000));
    fake.workers.obey();
    yield;
  }
  down.result();
}
