/**
 * Functions that an executor calls elsewhere: how they are named, and what goes
 * to the worker instead of them.
 *
 * @module
 */
import type { Coroutine } from "../loop/task_body.ts";

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
  readonly [
    K in keyof M as M[K] extends (...args: never[]) => unknown ? K : never
  ]: M[K] extends (...args: infer A) => infer R ? ModuleTask<A, R> : never;
};

/** What goes to a worker in place of the function. */
export type TaskRef =
  | { readonly module: string; readonly name: string }
  | { readonly source: string };
