/**
 * The loop, task and stepper that are running on this thread, the loops that
 * are inside a `run...` call, and task-local values.
 *
 * @module
 */
import { MisuseError } from "../errors.ts";
import { ownerOfContinuation } from "../host/async_context.ts";
import { checkOptions, checkString } from "./checks.ts";
import type { EventLoop } from "./event_loop.ts";
import type { EventLoopOptions } from "./loop_options.ts";
import type { Task } from "./task.ts";
import type { Stepper } from "./stepping.ts";
import type { Strand } from "./strand_tree.ts";

/** Set while a turn runs handles; `loop` and `task` are null between turns. */
export const current: {
  loop: EventLoop | null;
  task: Task<unknown> | null;
  /** Stepper of the running generator; only meaningful inside a generator's step. */
  stepper: Stepper | null;
} = { loop: null, task: null, stepper: null };

/** The loops that are inside a `run...` call, in the order in which they began. */
export const runningLoops: Set<EventLoop> = new Set();

/**
 * Registers which parts of the loop are loaded. A worker of an executor starts a
 * loop when a job first needs one, and may not load it for jobs that need none.
 */
export const loaded: {
  /** Makes a loop; null until the class is loaded. */
  makeLoop: ((options: EventLoopOptions) => EventLoop) | null;
  /** Whether operations are loaded, which need a loop. */
  operations: boolean;
} = { makeLoop: null, operations: false };

/**
 * The task that the running code belongs to, or null.
 *
 * Inside a turn it is the task whose step this is. Between turns, in the
 * continuation of an async function, it is the task that the function runs in,
 * as long as that task has not ended.
 */
export function findTask(): Task<unknown> | null {
  if (current.loop !== null) return current.task;
  const owner = ownerOfContinuation() as Owner | undefined;
  if (owner === undefined) return null;
  const task = owner.runner;
  return task === null || task.done() ? null : task;
}

/**
 * The object that async functions belong to: a strand of a task, a posted
 * function, which becomes a task once it has returned a promise, or a job in a
 * worker, which becomes one when it first needs it.
 *
 * @internal
 */
export interface Owner {
  /** The loop of the function; null if there is none yet. */
  readonly loop: EventLoop | null;
  /** The task that the function runs in; null if there is none yet. */
  readonly runner: Task<unknown> | null;
  /** The strand that it runs in; null if there is none yet, and when its task has ended. */
  readonly strandNow: Strand | null;
  /** Task-local values of an owner that has some without being a task. */
  readonly locals?: LocalValue | null;
}

/** The task-local values of the running code. Unlike {@linkcode findTask} it has no job become a task. */
export function findLocals(): LocalValue | null {
  if (current.loop !== null) {
    return current.task === null ? null : current.task.localValues;
  }
  const owner = ownerOfContinuation() as Owner | undefined;
  if (owner === undefined) return null;
  const { locals } = owner;
  if (locals !== undefined) return locals;
  const task = owner.runner;
  return task === null || task.done() ? null : task.localValues;
}

/** The loop that the running code belongs to, or null. */
export function findLoop(): EventLoop | null {
  if (current.loop !== null) return current.loop;
  const owner = ownerOfContinuation() as Owner | undefined;
  if (owner !== undefined) {
    const { loop } = owner;
    if (loop !== null && runningLoops.has(loop)) return loop;
  }
  if (runningLoops.size !== 1) return null;
  for (const loop of runningLoops) return loop;
  return null;
}

/**
 * Returns the task that the running code belongs to, or `null` outside tasks.
 *
 * Like asyncio's `current_task()`. Generator coroutines and async functions get
 * the task in which they run; plain callbacks of the loop, and code that no
 * task started, get `null`. A helper async function that a generator called
 * directly has no task after its first `await`; start it with
 * `until(() => helper())` to keep it. Costs a few nanoseconds.
 *
 * @example A task that knows its name
 * ```ts
 * import { currentTask, run } from "@rota/rota";
 * import { assertEquals } from "@std/assert";
 *
 * const name = await run(async () => {
 *   await Promise.resolve();
 *   return currentTask()?.name;
 * }, { name: "main" });
 * assertEquals(name, "main");
 * assertEquals(currentTask(), null);
 * ```
 *
 * @returns The task, or `null`.
 */
export function currentTask(): Task<unknown> | null {
  const task = findTask();
  if (task !== null) task.becomeKnown();
  return task;
}

/**
 * Returns the loop that the running code belongs to.
 *
 * Inside a callback, step or task, it returns their loop; elsewhere, the only
 * running loop of this thread. Costs a few nanoseconds.
 *
 * @example A helper that needs no loop argument
 * ```ts
 * import { getRunningLoop, run, sleep } from "@rota/rota";
 * import { assertEquals } from "@std/assert";
 *
 * let rang = false;
 * await run(async () => {
 *   getRunningLoop().callLater(5, () => rang = true);
 *   await sleep(5);
 *   await sleep(0);
 * }, { host: "virtual" });
 * assertEquals(rang, true);
 * ```
 *
 * @returns The loop.
 * @throws {MisuseError} If no loop is running, or several are and the code
 * belongs to none of them.
 */
export function getRunningLoop(): EventLoop {
  const loop = findLoop();
  if (loop !== null) return loop;
  throw new MisuseError(
    runningLoops.size === 0
      ? "Cannot get the running loop: no loop is running, start one with run()"
      : `Cannot get the running loop: ${runningLoops.size} loops are running and this code belongs to none of them`,
  );
}

/**
 * Link in the chain of values that a task shares with its ancestors.
 *
 * @internal
 */
export interface LocalValue {
  readonly local: TaskLocal<unknown>;
  readonly value: unknown;
  readonly next: LocalValue | null;
}

/** Options of a {@linkcode TaskLocal}. */
export interface TaskLocalOptions {
  /**
   * Name under which the value goes along with the jobs that a task gives to
   * threads, processes and other executors. A variable of the same name there
   * has the value in the job. The value has to be one that can be cloned.
   *
   * @default {the value stays on its thread}
   */
  readonly transport?: string | undefined;
}

/** Values that came with a job, by the name under which they were sent. */
export type TransportedValues = Readonly<Record<string, unknown>>;

const transportNames = new Set<string>();

/** Takes a name for transport. Two variables of one name would get each other's values. */
function registerName(name: unknown, what: string): void {
  checkString(name, what, "transport");
  if (name === "") {
    throw new RangeError(
      `Cannot ${what} as transport must be a name: received ""`,
    );
  }
  if (transportNames.has(name as string)) {
    throw new MisuseError(
      `Cannot ${what}: another one is transported as ${
        JSON.stringify(name)
      } already, make it once in a module and import it`,
    );
  }
  transportNames.add(name as string);
}

/**
 * A variable that has a value of its own in each task, inherited by the tasks
 * that it creates.
 *
 * Like asyncio's `ContextVar`. A task starts with the values that its creator
 * had at that moment; later changes in either task are not seen by the other.
 * Works alike in generator coroutines and async functions, and costs a field of
 * each task. Reading takes time in proportion to the values set on the way.
 *
 * @example A request id that the helpers need not be handed
 * ```ts
 * import { getRunningLoop, run, TaskLocal } from "@rota/rota";
 * import { assertEquals } from "@std/assert";
 *
 * const requestId = new TaskLocal("none");
 * const log: string[] = [];
 * await run(function* () {
 *   requestId.set("r1");
 *   const child = getRunningLoop().createTask(async () => {
 *     await Promise.resolve();
 *     log.push(requestId.get());
 *   });
 *   requestId.set("r2");
 *   yield* child;
 *   log.push(requestId.get());
 * });
 * log.push(requestId.get());
 * assertEquals(log, ["r1", "r2", "none"]);
 * ```
 *
 * @typeParam T Type of the value.
 */
export class TaskLocal<T> {
  readonly #initial: T;
  /** Name under which the value goes along with jobs; `null` if it does not. */
  readonly transport: string | null;

  /**
   * Makes a variable that is not set in any task.
   *
   * @param initial Value that {@linkcode get} returns where none was set.
   * @param options Whether the value goes along with jobs of executors.
   * @throws {TypeError} If `transport` is not a string.
   * @throws {RangeError} If `transport` is empty.
   * @throws {MisuseError} If another variable of this thread goes by that name.
   */
  constructor(initial: T, options: TaskLocalOptions = {}) {
    const what = "make a task-local variable";
    checkOptions(options, what);
    const { transport } = options;
    this.#initial = initial;
    this.transport = transport ?? null;
    if (transport !== undefined) registerName(transport, what);
  }

  /**
   * Returns the value in the current task.
   *
   * @returns The value that the task has set or inherited, else the initial
   * value; outside tasks the initial value. In a job of an executor, the value
   * that the submitter had, if the variable was made for transport.
   */
  get(): T {
    const name = this.transport;
    for (let at = findLocals(); at !== null; at = at.next) {
      if (at.local === this) return at.value as T;
      if (name === null || at.local !== transported) continue;
      const values = at.value as TransportedValues;
      if (Object.hasOwn(values, name)) return values[name] as T;
    }
    return this.#initial;
  }

  /**
   * Sets the value of the current task, and of tasks it creates from now on.
   *
   * @example A value for one block only
   * ```ts
   * import { run, TaskLocal } from "@rota/rota";
   * import { assertEquals } from "@std/assert";
   *
   * const depth = new TaskLocal(0);
   * await run(function* () {
   *   {
   *     using _ = depth.set(1);
   *     assertEquals(depth.get(), 1);
   *   }
   *   assertEquals(depth.get(), 0);
   * });
   * ```
   *
   * @param value The value.
   * @returns A disposable that restores the value before, when disposed of in
   * the same task.
   * @throws {MisuseError} If no task is running.
   */
  set(value: T): Disposable {
    const task = findTask();
    if (task === null) {
      throw new MisuseError(
        "Cannot set a task-local value: no task is running",
      );
    }
    const before = this.get();
    task.localValues = {
      local: this as TaskLocal<unknown>,
      value,
      next: without(task.localValues, this),
    };
    let undone = false;
    return {
      [Symbol.dispose]: () => {
        if (undone) return;
        if (findTask() !== task) {
          throw new MisuseError(
            "Cannot set back a task-local value: another task is running",
          );
        }
        undone = true;
        this.set(before);
      },
    };
  }
}

/**
 * Variable whose value in a job is the record of all values that came with it.
 * Variables look into it by their name, so that also one that is made later,
 * when its module is loaded, finds its value.
 */
export const transported: TaskLocal<TransportedValues | null> = new TaskLocal<
  TransportedValues | null
>(null);

/** The chain without the value of `local`, so that setting again and again does not lengthen it. */
function without<T>(
  chain: LocalValue | null,
  local: TaskLocal<T>,
): LocalValue | null {
  for (let at = chain; at !== null; at = at.next) {
    if (at.local !== local) continue;
    // Rebuild what stood before it. The chain is shared and never changed.
    let result = at.next;
    const before: LocalValue[] = [];
    for (let node = chain!; node !== at; node = node.next!) before.push(node);
    for (const node of before.reverse()) result = { ...node, next: result };
    return result;
  }
  return chain;
}
