/**
 * Functions of jobs, in the worker: finds the export of a module, which is
 * imported once, and evaluates functions that were sent by their source.
 *
 * @module
 */
import { inspect } from "../loop/checks.ts";
import { isAsyncGeneratorFunction } from "./function_source.ts";
import type { TaskRef } from "./module_task.ts";

/** A function of a job. */
export type JobFunction = (...args: readonly unknown[]) => unknown;

/** A module that has been loaded. */
type Namespace = Readonly<Record<string, unknown>>;

/**
 * The modules that jobs of this thread have asked for, by URL or by source. They
 * stay for as long as the thread does, as the runtime keeps modules as well.
 */
export class ModuleLoader {
  readonly #loaded = new Map<string, Namespace>();
  readonly #loading = new Map<string, Promise<Namespace>>();

  /**
   * Returns the function of a task whose module has been loaded.
   *
   * @param ref The task.
   * @returns The function; null if the module has to be loaded first.
   * @throws {TypeError} If the module exports no such function.
   */
  find(ref: TaskRef): JobFunction | null {
    const namespace = this.#loaded.get(keyOf(ref));
    return namespace === undefined ? null : pick(namespace, ref);
  }

  /**
   * Loads the module of a task. Several calls share the import; after a failure
   * the next call tries again.
   *
   * @param ref The task.
   * @returns A promise of the function.
   * @throws {TypeError} If the module exports no such function.
   */
  async load(ref: TaskRef): Promise<JobFunction> {
    const key = keyOf(ref);
    let loading = this.#loading.get(key);
    if (loading === undefined) {
      loading = importOnce(ref);
      this.#loading.set(key, loading);
    }
    try {
      const namespace = await loading;
      this.#loaded.set(key, namespace);
      return pick(namespace, ref);
    } finally {
      this.#loading.delete(key);
    }
  }
}

/** The key of a module. Sources begin with no scheme: the first token of a function is no name with a colon. */
function keyOf(ref: TaskRef): string {
  return "source" in ref ? ref.source : ref.module;
}

/** Imports a module; fails with an error that names it. */
async function importOnce(ref: TaskRef): Promise<Namespace> {
  const url = "source" in ref ? dataUrlOf(ref.source) : ref.module;
  try {
    return await import(url) as Namespace;
  } catch (cause) {
    const message = "source" in ref
      ? `Cannot evaluate a function that was sent by its source: ${
        messageOf(cause)
      }`
      : `Cannot load the module ${nameOf(ref.module)}: ${messageOf(cause)}`;
    throw new Error(message, { cause });
  }
}

/** A module whose default export is the function. */
function dataUrlOf(source: string): string {
  const code = encodeURIComponent(`export default (${source}\n);`);
  return `data:text/javascript;charset=utf-8,${code}`;
}

/** Returns the function of a task in its module, as it is now: exports may be assigned to. */
function pick(namespace: Namespace, ref: TaskRef): JobFunction {
  const name = "source" in ref ? "default" : ref.name;
  const fn = namespace[name];
  if (typeof fn !== "function") refuse(namespace, ref, name, fn);
  if (isAsyncGeneratorFunction(fn)) {
    throw new TypeError(
      `Cannot run ${describeTask(ref)}: an async generator function gives ` +
        "many values, not one; return an array, or call progress() of currentJob() for each value",
    );
  }
  return fn as JobFunction;
}

function refuse(
  namespace: Namespace,
  ref: TaskRef,
  name: string,
  found: unknown,
): never {
  const names = Object.keys(namespace);
  const exports = names.length === 0
    ? "it exports nothing"
    : `its exports are ${names.join(", ")}`;
  const problem = names.includes(name)
    ? `it is no function but ${inspect(found)}`
    : "there is no such export";
  throw new TypeError(
    `Cannot run ${describeTask(ref)}: ${problem}, ${exports}`,
  );
}

/** Describes a task in messages. */
export function describeTask(ref: TaskRef): string {
  return "source" in ref
    ? "a function that was sent by its source"
    : `export "${ref.name}" of ${nameOf(ref.module)}`;
}

const NAME_LENGTH_MAX = 200;

/** Name of a module in messages; `data:` URLs may be long. */
function nameOf(module: string): string {
  return module.length <= NAME_LENGTH_MAX
    ? module
    : `${module.slice(0, NAME_LENGTH_MAX)}…`;
}

function messageOf(error: unknown): string {
  try {
    return error instanceof Error ? error.message : String(error);
  } catch {
    return "an error that has no text"; // such as an object without a prototype
  }
}
