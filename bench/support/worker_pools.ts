/**
 * Pools of two workers, Rota's and others', behind one interface.
 *
 * @module
 */
import { Piscina } from "piscina";
import { availableParallelism, FixedThreadPool } from "poolifier-web-worker";
import { Tinypool } from "tinypool";
import workerpool from "workerpool";
import { EventLoop } from "../../mod.ts";
import { ThreadPool } from "../../src/workers/thread_pool.ts";
import type * as Jobs from "../children/pool_jobs.ts";
import { taskModule } from "../../src/workers/module_task.ts";

/** Workers of each pool. */
export const WORKERS = 2;
/** Jobs that a worker has at a time, where the pool lets one say so. */
const JOBS_EACH = 32;

const at = (file: string): URL =>
  new URL(`../children/${file}`, import.meta.url);

/** Names of the functions. */
export type JobName = "add" | "echo" | "giveBack" | "fib";

/** A pool that has started. */
export interface Pool {
  /** Has a function called. */
  call(
    name: JobName,
    args: readonly unknown[],
    transfer?: Transferable[],
  ): PromiseLike<unknown>;
}

/** Work with a pool. */
export type Work = (pool: Pool) => Promise<void>;

/** Starts a pool, works with it and ends it. */
export type WithPool = (work: Work) => Promise<void>;

const tasks = taskModule<typeof Jobs>(at("pool_jobs.ts"));

/** Rota, on a loop of its own. */
export function rotaThreads(host: "native" | "portable"): WithPool {
  return async (work) => {
    await using loop = new EventLoop({ host });
    await loop.runUntilComplete(async () => {
      await using pool = new ThreadPool({
        maxWorkers: WORKERS,
        // All at once: a pool starts no second one while the first takes more jobs.
        minWorkers: WORKERS,
        concurrency: JOBS_EACH,
      });
      await work({
        call: (name, args, transfer) =>
          pool.submit(
            tasks[name] as { module: string; name: string },
            args,
            transfer === undefined ? undefined : { transfer },
          ),
      });
    });
  };
}

/** Web Workers, by turns, and a table of calls: the least that a program needs. */
export async function rawWorkers(work: Work): Promise<void> {
  const calls = new Map<number, (value: unknown) => void>();
  let lastId = 0;
  const workers = Array.from({ length: WORKERS }, () => {
    const worker = new Worker(at("pool_raw.ts"), { type: "module" });
    worker.onmessage = ({ data: { id, value } }) => {
      const done = calls.get(id)!;
      calls.delete(id);
      done(value);
    };
    return worker;
  });
  await work({
    call: (name, args, transfer = []) =>
      new Promise((done) => {
        const id = ++lastId;
        calls.set(id, done);
        workers[id % WORKERS]!.postMessage({ id, name, args }, transfer);
      }),
  });
  for (const worker of workers) worker.terminate();
}

/** The program's own thread. */
export function inline(functions: Pick<typeof Jobs, "fib">): WithPool {
  return (work) =>
    work({
      call: (_name, [n]) => Promise.resolve(functions.fib(n as number)),
    });
}

/** The two numbers in the shape of pools that have one argument. */
function pairOf([a, b]: readonly unknown[]): { a: number; b: number } {
  return { a: a as number, b: b as number };
}

/** workerpool. */
export async function workerpoolThreads(work: Work): Promise<void> {
  const pool = workerpool.pool(at("pool_workerpool.ts").pathname, {
    workerType: "thread",
    maxWorkers: WORKERS,
    minWorkers: WORKERS,
  });
  await work({
    call: (name, args) =>
      Promise.resolve(pool.exec(name, [...args] as never[])),
  });
  await pool.terminate();
}

/** poolifier. */
export async function poolifierThreads(work: Work): Promise<void> {
  const pool = new FixedThreadPool<{ a: number; b: number }, number>(
    Math.min(WORKERS, availableParallelism()),
    at("pool_poolifier.ts"),
  );
  await work({ call: (_name, args) => pool.execute(pairOf(args)) });
  await pool.destroy();
}

/** Piscina. */
export async function piscinaThreads(work: Work): Promise<void> {
  const pool = new Piscina({
    filename: at("pool_jobs.ts").href,
    minThreads: WORKERS,
    maxThreads: WORKERS,
    concurrentTasksPerWorker: JOBS_EACH,
    atomics: "disabled",
  });
  await work({ call: (_name, args) => pool.run(pairOf(args)) });
  await pool.destroy();
}

/** tinypool, which hangs on Deno with `useAtomics`. */
export async function tinypoolThreads(work: Work): Promise<void> {
  const pool = new Tinypool({
    filename: at("pool_jobs.ts").href,
    minThreads: WORKERS,
    maxThreads: WORKERS,
    concurrentTasksPerWorker: JOBS_EACH,
    useAtomics: false,
  });
  await work({ call: (_name, args) => pool.run(pairOf(args)) });
  await pool.destroy();
}
