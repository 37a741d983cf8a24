/**
 * Functions of jobs for the tests of fleets. Those that wait do so at gates, which
 * the test opens; they run on its loop.
 *
 * @module
 */
import {
  type Coroutine,
  type CurrentJob,
  currentJob,
  ExecutorShutDownError,
  Future,
  getRunningLoop,
} from "@rota/rota";
import type { JobLease } from "@rota/rota/workers";

/** What has happened, in order. */
export const log: string[] = [];

/** Leases of the runs that have begun, in order. */
export const leases: JobLease[] = [];

/** Why the signal of a job aborted, by the name of the gate at which it waited. */
export const reasons = new Map<string, unknown>();

const gates = new Map<string, Future<unknown>[]>();
const arrivals = new Map<string, Future<void>[]>();

/** Forgets what other tests have left. */
export function clear(): void {
  for (const list of [log, leases]) list.length = 0;
  for (const map of [reasons, gates, arrivals]) map.clear();
}

/** The job that runs. */
function job(): CurrentJob {
  return currentJob()!;
}

/** Waits until so many runs of {@linkcode wait} have arrived at a gate. */
export function* arrived(gate: string, count = 1): Coroutine<void> {
  while ((gates.get(gate)?.length ?? 0) < count) {
    const future = new Future<void>(getRunningLoop(), `arrival at ${gate}`);
    arrivals.set(gate, [...arrivals.get(gate) ?? [], future]);
    yield* future;
  }
}

/** Opens a gate for a run that waits there, by its number; the run ends with the value. */
export function open(gate: string, value: unknown, run = 0): void {
  const waiting = gates.get(gate)?.[run];
  if (waiting !== undefined && !waiting.done()) waiting.setResult(value);
}

/** Opens all gates, for runs that do not give up. */
export function openAll(): void {
  for (const [gate, runs] of gates) {
    for (const run of runs.keys()) open(gate, undefined, run);
  }
}

/** Waits at a gate. */
export function* wait(gate: string): Coroutine<unknown> {
  const { signal, lease } = job();
  leases.push(lease!);
  const future = new Future<unknown>(getRunningLoop(), `gate ${gate}`);
  gates.set(gate, [...gates.get(gate) ?? [], future]);
  for (const waiter of arrivals.get(gate) ?? []) {
    if (!waiter.done()) waiter.setResult();
  }
  arrivals.delete(gate);
  signal.addEventListener("abort", () => reasons.set(gate, signal.reason));
  return yield* future;
}

/** Waits at a gate, and does not give up when it is cancelled. */
export function* insist(gate: string): Coroutine<unknown> {
  const { signal, lease } = job();
  leases.push(lease!);
  const future = new Future<unknown>(getRunningLoop(), `gate ${gate}`);
  gates.set(gate, [...gates.get(gate) ?? [], future]);
  for (const waiter of arrivals.get(gate) ?? []) {
    if (!waiter.done()) waiter.setResult();
  }
  arrivals.delete(gate);
  signal.addEventListener("abort", () => reasons.set(gate, signal.reason));
  const values: unknown[] = [];
  future.addDoneCallback(() => values.push(future.result()));
  while (values.length === 0) {
    try {
      yield* shielded(future);
    } catch {
      // Goes on.
    }
  }
  return values[0];
}

function* shielded(future: Future<unknown>): Coroutine<void> {
  const other = new Future<void>(getRunningLoop(), "a wait");
  const settle = () => {
    if (!other.done()) other.setResult();
  };
  future.addDoneCallback(settle);
  yield* other;
}

/** Returns what it was given. */
export function echo(value: unknown): unknown {
  return value;
}

/** Notes its name. */
export function note(name: string): string {
  log.push(name);
  return name;
}

/** Throws. */
export function fail(message: string): never {
  throw new RangeError(message, { cause: { why: new Date(0) } });
}

/** Fails in its first attempts. */
export function failUntil(attempt: number): number {
  const { lease } = job();
  leases.push(lease!);
  if (lease!.attempt < attempt) throw new Error(`attempt ${lease!.attempt}`);
  return lease!.attempt;
}

/** Tells its progress. */
export function count(to: number): number {
  for (let n = 1; n <= to; n++) job().progress({ n });
  return to;
}

/** Fails as an executor does that was shut down. */
export function failAsShutDown(): never {
  leases.push(job().lease!);
  throw new ExecutorShutDownError("of the function's own");
}
