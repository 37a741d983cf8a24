/**
 * Functions that an executor calls elsewhere: how they are named, and what goes
 * to the worker instead of them.
 *
 * @module
 */
import { checkString, inspect } from "../loop/checks.ts";
import type { Coroutine } from "../loop/task_body.ts";
import { sourceOf } from "./function_source.ts";

declare const signature: unique symbol;

/**
 * A function by the module that exports it and the name of the export.
 *
 * @typeParam A Type of the arguments.
 * @typeParam R What the function returns.
 */
export interface ModuleTask<A extends readonly unknown[], R> {
  /** URL of the module: `new URL("./jobs.ts", import.meta.url)`. */
  readonly module: string | URL;
  /** Name of the export. */
  readonly name: string;
  /** The type of the function; there is no such property. */
  readonly [signature]?: (...args: A) => R;
}

/**
 * What an executor can call: a function by its module and name, or a function
 * that needs nothing around it, of which the source is sent.
 *
 * @typeParam A Type of the arguments.
 * @typeParam R What the function returns.
 */
export type ExecutorTask<A extends readonly unknown[], R> =
  | ModuleTask<A, R>
  | ((...args: A) => R);

/** The result of a function: what its promise or its generator ends with, or what it returns. */
export type JobResult<R> = R extends Coroutine<infer T> ? T : Awaited<R>;

/** The functions of a module `M`, each as a task: see {@linkcode taskModule}. */
export type TaskModule<M> = {
  readonly [K in keyof M as TaskName<M, K>]: M[K] extends
    (...args: infer A) => infer R ? ModuleTask<A, R> : never;
};

/** Name of an export that is a task: a function, but no async generator function. */
type TaskName<M, K extends keyof M> = M[K] extends (...args: never[]) => infer R
  ? IsMany<R> extends true ? never : K
  : never;

/** Whether it is an async generator; `never` and `any` are none. */
type IsMany<R> = [R] extends [never] ? false
  : unknown extends R ? false
  : R extends AsyncGenerator<unknown, unknown, never> ? true
  : false;

/** What goes to a worker in place of the function. */
export type TaskRef =
  | { readonly module: string; readonly name: string }
  | { readonly source: string };

/** Schemes of modules that a worker can load, wherever it is. */
const SCHEMES = ["file:", "https:", "http:", "data:", "jsr:", "npm:"];

/** Members that every object has, or that are asked for when one is awaited, compared or shown. */
const NO_TASKS = new Set([
  ...Object.getOwnPropertyNames(Object.prototype),
  "then",
  "toJSON",
]);

/** What tasks are sent as, for those that never change. */
const refs = new WeakMap<WeakKey, TaskRef>();

/**
 * Names the functions of a module as tasks for an executor, with the types of
 * their arguments and results. Does not load the module.
 *
 * A member is looked up when it is first read, is frozen, and is the same object
 * each time. Whether the module exports such a function is found out by the
 * worker that runs it: the job fails with a `TypeError` if it does not. Write
 * `{ module, name }` for an export with the name of a member of all objects, such
 * as `toString`, or `then`.
 *
 * @example The functions of a module, by their names
 * ```ts ignore
 * const jobs = taskModule<typeof import("./jobs.ts")>(
 *   new URL("./jobs.ts", import.meta.url),
 * );
 * await using pool = new ThreadPool();
 * const sum = await pool.submit(jobs.add, [1, 2]); // checked, and a number
 * ```
 *
 * @example A task is a module and a name
 * ```ts
 * import { taskModule } from "@rota/rota";
 * import { assertEquals } from "@std/assert";
 *
 * interface Jobs {
 *   add(a: number, b: number): number;
 * }
 * const jobs = taskModule<Jobs>("https://example.com/jobs.ts");
 * assertEquals(jobs.add, {
 *   module: "https://example.com/jobs.ts",
 *   name: "add",
 * });
 * ```
 *
 * @typeParam M Type of the module: `typeof import("./jobs.ts")`.
 * @param module URL of the module.
 * @returns An object with a task for each function that the module exports.
 * @throws {TypeError} If `module` is no URL, or of a scheme that workers cannot load.
 */
export function taskModule<M extends object>(
  module: string | URL,
): TaskModule<M> {
  const href = checkModule(module, "make tasks of a module");
  const tasks = new Map<string, ModuleTask<readonly unknown[], unknown>>();
  const target = Object.preventExtensions(Object.create(null));
  return new Proxy<TaskModule<M>>(target, {
    get(_target, name) {
      if (typeof name !== "string" || NO_TASKS.has(name)) return undefined;
      let task = tasks.get(name);
      if (task === undefined) {
        task = Object.freeze({ module: href, name });
        tasks.set(name, task);
        refs.set(task, task as TaskRef);
      }
      return task;
    },
  });
}

/**
 * Returns what goes to a worker in place of a task: a module and a name, or the
 * source of a function. For a function, and for a member of {@linkcode taskModule},
 * the same object each time.
 *
 * @param task The task, of any type.
 * @param what The refused action in messages.
 * @returns The reference, frozen.
 * @throws {TypeError} If `task` is neither a function nor `{ module, name }`, is
 * a function whose source does not stand by itself, or `module` is no URL that
 * workers can load.
 * @throws {RangeError} If `name` is empty.
 */
export function toTaskRef(task: unknown, what: string): TaskRef {
  if (
    typeof task !== "function" && (typeof task !== "object" || task === null)
  ) refuseTask(task, what);
  const known = refs.get(task);
  if (known !== undefined) return known;
  if (typeof task === "function") {
    const source = sourceOf(task as (...args: never[]) => unknown, what);
    const ref = Object.freeze({ source });
    refs.set(task, ref);
    return ref;
  }
  const { module, name } = task as { module?: unknown; name?: unknown };
  if (module === undefined && name === undefined) refuseTask(task, what);
  const href = checkModule(module, what);
  checkString(name, what, "name of the task");
  if (name === "") {
    throw new RangeError(
      `Cannot ${what} as name of the task must be that of an export: received ""`,
    );
  }
  return Object.freeze({ module: href, name: name as string });
}

function refuseTask(task: unknown, what: string): never {
  throw new TypeError(
    `Cannot ${what} as task must be { module, name }, a member of taskModule() or a function: received ${
      inspect(task)
    }`,
  );
}

/** Returns the URL of a module as a string; throws if it is none that workers can load. */
function checkModule(module: unknown, what: string): string {
  if (typeof module !== "string" && !(module instanceof URL)) {
    throw new TypeError(
      `Cannot ${what} as module must be a URL: received ${inspect(module)}`,
    );
  }
  const url = URL.parse(module);
  if (url === null) {
    const name = JSON.stringify(module);
    throw new TypeError(
      `Cannot ${what} as module must be an absolute URL, such as new URL(${name}, import.meta.url): received ${name}`,
    );
  }
  if (!SCHEMES.includes(url.protocol)) {
    throw new TypeError(
      `Cannot ${what} as module must be a URL of a scheme that workers can load (${
        SCHEMES.join(" ")
      }): received ${JSON.stringify(url.href)}`,
    );
  }
  return url.href;
}
