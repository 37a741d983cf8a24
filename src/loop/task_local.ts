import { MisuseError } from "../errors.ts";
import { findTask } from "./current.ts";

/** One value in the chain that a task shares with those it was inherited from. */
export interface LocalValue {
  readonly local: TaskLocal<unknown>;
  readonly value: unknown;
  readonly next: LocalValue | null;
}

/**
 * A value that each task has its own of, handed down to the tasks it creates.
 *
 * It is asyncio's `ContextVar`. A task starts with the values its creator had at
 * that moment; what it sets afterwards neither of them sees from the other. It
 * works alike in generator coroutines and async functions, and costs a field of
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
 * @typeParam T What the value is.
 */
export class TaskLocal<T> {
  readonly #initial: T;

  /**
   * Makes a variable that no task has a value of yet.
   *
   * @param initial What {@linkcode get} gives where nothing was set.
   */
  constructor(initial: T) {
    this.#initial = initial;
  }

  /**
   * Gives the value of the current task.
   *
   * @returns What the task set or inherited, else the initial value; outside
   * tasks the initial value.
   */
  get(): T {
    for (let at = findTask()?.["locals"] ?? null; at !== null; at = at.next) {
      if (at.local === this) return at.value as T;
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
   * @returns Something that sets back what was there before, when disposed of
   * in the same task.
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
    task["locals"] = {
      local: this as TaskLocal<unknown>,
      value,
      next: without(task["locals"], this),
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
