/**
 * Task groups, like asyncio's: tasks that belong to a block of their task, and do not
 * outlive it.
 *
 * @module
 */
import { MisuseError, TaskGroupClosedError } from "../errors.ts";
import {
  checkFunction,
  checkOneOf,
  checkString,
  checkWaitOptions,
  inspect,
} from "../loop/checks.ts";
import { checkTaskOptions, NO_OPTIONS } from "../loop/loop_options.ts";
import { Operation, type WaitOptions } from "../loop/operation.ts";
import { checkBody, type Coroutine, type TaskBody } from "../loop/task_body.ts";
import type { Task, TaskOptions } from "../loop/task.ts";
import { type BlockBody, taskFor } from "./block_body.ts";
import {
  describeGroup,
  GroupRun,
  type GroupSettings,
  refuseTask,
} from "./group_run.ts";
import { type StartOptions, startTask } from "./group_start.ts";

/** Options of a {@linkcode TaskGroup}. */
export interface TaskGroupOptions extends WaitOptions {
  /** The name of the group in messages. */
  readonly name?: string | undefined;
  /**
   * The number of its tasks that run at once. The others wait in line, and begin by
   * priority, equals in the order in which they were created.
   *
   * A task that waits for tasks of its own does not count meanwhile: for the end of
   * a group that it opened, for a task of that group, or for one that it made in this
   * group, by `gather`, `wait` or otherwise. When the wait is over it gets in line to
   * go on, before the tasks that have not begun; a cancelled one goes on at once. So
   * tasks that make tasks and wait for them do not block each other. A task that waits
   * for a task of somebody else counts, and waits for ever if that needs its slot.
   *
   * Tasks of groups inside do not count: they have their own limits. With a limit
   * the group makes its tasks itself, without the loop's task factory, and none
   * is eager.
   *
   * @default {Infinity}
   */
  readonly limit?: number | undefined;
  /**
   * Whether the results of the tasks are dropped, for groups that run for long:
   * waiting for such a task returns `undefined`.
   *
   * @default {false}
   */
  readonly discard?: boolean | undefined;
}

/** A group that was not entered. */
interface NotEntered {
  readonly phase: "created";
  cancelled: { readonly reason: unknown } | null;
}

/**
 * A group of tasks that belongs to a block of the task that opened it: none of its
 * tasks outlives the block. {@linkcode taskGroup} makes and runs one.
 *
 * A group that was made by itself may be handed out, and cancelled, before it
 * runs.
 */
export class TaskGroup {
  readonly #settings: GroupSettings;
  /** The cancellation before it was entered, if there was one; then the group that was entered. */
  #state: NotEntered | GroupRun = { phase: "created", cancelled: null };

  /**
   * Makes a group.
   *
   * @param options A name, a limit, whether to drop results; a signal that ends
   * the group: its reason is then thrown.
   * @throws {TypeError} If an option is of the wrong type.
   * @throws {RangeError} If `limit` is not a whole number > 0 or `Infinity`.
   */
  constructor(options: TaskGroupOptions = {}) {
    const what = "make a task group";
    const signal = checkWaitOptions(options, what);
    const { name, limit = Infinity, discard = false } = options;
    if (typeof limit !== "number") {
      throw new TypeError(
        `Cannot ${what} as limit must be a number: received ${inspect(limit)}`,
      );
    }
    if (!(limit > 0) || (limit !== Infinity && !Number.isInteger(limit))) {
      throw new RangeError(
        `Cannot ${what} as limit must be a whole number > 0 or Infinity: received ${limit}`,
      );
    }
    if (name !== undefined) checkString(name, what, "name");
    checkOneOf(discard, [true, false], what, "discard");
    this.#settings = { name, limit, discard, signal };
  }

  /** The name of the group; `undefined` if none was given. */
  get name(): string | undefined {
    return this.#settings.name;
  }

  /** How many of its tasks have not ended. */
  get size(): number {
    return this.#state.phase === "created" ? 0 : this.#state.size;
  }

  /** Tasks of the group that have not ended, in the order of their creation, in a new array. */
  get tasks(): Task<unknown>[] {
    return this.#state.phase === "created" ? [] : this.#state.tasks;
  }

  /**
   * A signal that aborts when the group is cancelled: because a task failed, by
   * {@linkcode cancel}, or with the task that it runs in.
   *
   * @throws {TaskGroupClosedError} If the group was not entered yet.
   */
  get signal(): AbortSignal {
    if (this.#state.phase === "created") {
      throw new TaskGroupClosedError(
        `Cannot get the signal of ${
          describeGroup(this.#settings)
        }: it has not been entered`,
      );
    }
    return this.#state.signal;
  }

  /**
   * Makes a task of the group and queues its first step.
   *
   * The body may call it, the group's tasks, and any other code that has the group,
   * as long as it has not ended. The first task that fails, other than by
   * cancellation, cancels the others and the body; its error is then thrown by the
   * group, so nobody has to wait for the task. A failure counts when its done
   * callback runs, in the turn after.
   *
   * @example A task that creates tasks
   * ```ts
   * import { type Coroutine, run, sleep, taskGroup } from "@rota/rota";
   * import { assertEquals } from "@std/assert";
   *
   * const seen: number[] = [];
   * await run(function* () {
   *   yield* taskGroup(function* (group) {
   *     const visit = function* (node: number): Coroutine<void> {
   *       yield* sleep(1);
   *       seen.push(node);
   *       if (node < 4) {
   *         group.createTask(() => visit(node * 2));
   *         group.createTask(() => visit(node * 2 + 1));
   *       }
   *     };
   *     group.createTask(() => visit(1));
   *   });
   * }, { host: "virtual" });
   * assertEquals(seen, [1, 2, 3, 4, 5, 6, 7]);
   * ```
   *
   * @typeParam T The type of the task's result.
   * @param body Anything that {@linkcode EventLoop.createTask} takes.
   * @param options A name, a signal that cancels the task, a priority for a group
   * with a limit.
   * @returns The task.
   * @throws {TypeError} If `body` cannot be run as a task, or an option is of the
   * wrong type.
   * @throws {TaskGroupClosedError} If the group has not been entered, is being
   * cancelled, or is over. A coroutine is then closed without having begun.
   */
  createTask<T>(body: TaskBody<T>, options: TaskOptions = NO_OPTIONS): Task<T> {
    if (typeof body !== "function") checkBody(body, "create a task");
    if (options !== NO_OPTIONS) checkTaskOptions(options);
    return this.#entered(body, options.name).createTask(body, options);
  }

  /**
   * The same as {@linkcode createTask}.
   *
   * @typeParam T The type of the task's result.
   * @param body Anything that {@linkcode EventLoop.createTask} takes.
   * @param options A name, a signal that cancels the task.
   * @returns The task.
   */
  spawn<T>(body: TaskBody<T>, options: TaskOptions = NO_OPTIONS): Task<T> {
    return this.createTask(body, options);
  }

  #entered(body: TaskBody<unknown>, name: string | undefined): GroupRun {
    const state = this.#state;
    if (state.phase !== "created") return state;
    return refuseTask(this.#settings, body, name, "has not been entered");
  }

  /**
   * Creates a task, and waits until it says that it has started.
   *
   * `body` is called with a function, `started(value)`; the wait returns that value
   * as soon as it is called, and the task goes on in the group like any other. If the
   * task fails before, that is no failure of the group: its error is thrown here.
   * Cancelling the wait cancels that task, and takes until it has ended.
   *
   * @example A server that is up when the client starts
   * ```ts
   * import { run, sleep, taskGroup } from "@rota/rota";
   * import { assertEquals } from "@std/assert";
   *
   * const log: string[] = [];
   * await run(async () => {
   *   await taskGroup(async (group) => {
   *     const port = await group.start<number>(async (started) => {
   *       await sleep(50); // binding
   *       started(8080);
   *       log.push("serving");
   *       await sleep(Infinity);
   *     });
   *     log.push(`connecting to ${port}`);
   *     group.cancel("done");
   *   });
   * }, { host: "virtual" });
   * assertEquals(log, ["serving", "connecting to 8080"]);
   * ```
   *
   * @typeParam V The type of the value that the task hands over.
   * @param body A generator function or async function, called with `started`.
   * @param options A name; a signal that ends the wait, and with it the task.
   * @returns An operation of the value that was handed over.
   * @throws {TypeError} If `body` is not a function, or an option is of the wrong
   * type.
   * @throws {TaskGroupClosedError} If the group takes no tasks now.
   * @throws {MisuseError} If the task ends without having called `started`.
   */
  start<V>(
    body: (
      started: (value: V) => void,
    ) => Coroutine<unknown> | PromiseLike<unknown> | unknown,
    options: StartOptions = {},
  ): Operation<V> {
    checkFunction(body, "start a task", "body");
    checkTaskOptions(options);
    return new Operation(() => {
      const run = this.#entered(NO_BODY, options.name);
      return startTask(run, body, options);
    }, { name: "TaskGroup.start()" });
  }

  /**
   * Ends the group early, and without an error: the tasks that have not ended
   * are cancelled, and so is the body at the point where it waits. The group
   * takes no new tasks.
   *
   * Before the group is entered, it takes effect then. After it is over, and the
   * second time, nothing happens. Errors of the tasks and the body are thrown as
   * usual, and so is a cancellation of the task that the group runs in.
   *
   * @example First come, first served
   * ```ts
   * import { run, sleep, taskGroup } from "@rota/rota";
   * import { assertEquals } from "@std/assert";
   *
   * const answers: number[] = [];
   * await run(async () => {
   *   await taskGroup(async (group) => {
   *     for (const ms of [300, 100, 200]) {
   *       group.createTask(async () => {
   *         await sleep(ms);
   *         answers.push(ms);
   *         group.cancel("have an answer");
   *       });
   *     }
   *   });
   * }, { host: "virtual" });
   * assertEquals(answers, [100]);
   * ```
   *
   * @param reason The cause: the `reason` of the {@linkcode CancelledError}.
   */
  cancel(reason?: unknown): void {
    const state = this.#state;
    if (state.phase !== "created") state.end("cancel()", reason);
    else state.cancelled ??= { reason };
  }

  /**
   * Runs `body` with the group open, and waits for its tasks, as
   * {@linkcode taskGroup} does.
   *
   * @typeParam T The type of the body's result.
   * @param body A generator function or async function.
   * @returns An operation of the body's result.
   * @throws {TypeError} If `body` is not a function.
   * @throws {MisuseError} If the group was run before.
   */
  run<T>(body: BlockBody<this, T>): Operation<T> {
    checkFunction(body, "run a task group", "body");
    return new Operation(() => this.#run(body), {
      name: describeGroup(this.#settings),
      whenCancelled: "enter",
    });
  }

  *#run<T>(body: BlockBody<this, T>): Coroutine<T> {
    const state = this.#state;
    const settings = this.#settings;
    if (state.phase !== "created") {
      throw new MisuseError(
        `Cannot enter ${describeGroup(settings)}: it has been entered before`,
      );
    }
    const task = taskFor(`enter ${describeGroup(settings)}`);
    settings.signal?.throwIfAborted();
    const run = this.#state = new GroupRun(task, settings, this);
    if (state.cancelled !== null) run.end("cancel()", state.cancelled.reason);
    return yield* run.through(body, this);
  }

  /**
   * Names the class in messages and inspections.
   *
   * @returns `"TaskGroup"`.
   */
  get [Symbol.toStringTag](): string {
    return "TaskGroup";
  }
}

/**
 * Runs `body` with a group of tasks, and waits until all of them have ended.
 *
 * Like asyncio's `TaskGroup`. The body, running inside the current task, and
 * whatever it hands the group to, make tasks with {@linkcode TaskGroup.createTask}.
 * The block is left when the body and all tasks have ended, and not before, however
 * it ends.
 *
 * The first task that fails cancels the others, in the order of their creation,
 * and the body; a body that fails cancels the tasks. All that failed is thrown
 * as one {@linkcode TaskGroupError}: the tasks' errors in the order in which the
 * group learnt of them, then the body's. A task that was cancelled has not
 * failed, and stops nobody.
 *
 * Cancelling the task that the group runs in cancels the body or the wait for the
 * tasks, then the tasks, waits for them, and goes on as a {@linkcode CancelledError}.
 * A cancellation that comes while the group is ending already, for whatever reason,
 * does not shorten the wait for the tasks: it is thrown when the group is left. If
 * something failed, the failures are thrown instead, and the cancellation is thrown
 * at the next wait after the group. A {@linkcode cancelScope} around that is cancelled
 * cancels the tasks once, also if the body of the group is in a scope with `shield`.
 *
 * {@linkcode TaskGroup.cancel} ends the group without an error. If it cuts the
 * body short, the result is `undefined`.
 *
 * Costs about 300 ns for each task beyond what the task itself costs. A task that
 * has ended leaves nothing behind but its error, if it failed.
 *
 * @example In both styles
 * ```ts
 * import { run, sleep, taskGroup } from "@rota/rota";
 * import { assertEquals } from "@std/assert";
 *
 * const log: string[] = [];
 * const work = async (name: string, ms: number) => {
 *   await sleep(ms);
 *   log.push(name);
 * };
 * await run(async () => {
 *   await taskGroup(async (group) => {
 *     group.createTask(() => work("slow", 20));
 *     group.createTask(() => work("fast", 10));
 *   });
 *   log.push("both are done");
 * }, { host: "virtual" });
 * const total = await run(function* () {
 *   return yield* taskGroup(function* (group) {
 *     const two = group.createTask(() => sleep(5, { value: 2 }));
 *     const three = group.createTask(() => sleep(5, { value: 3 }));
 *     return (yield* two) + (yield* three);
 *   });
 * }, { host: "virtual" });
 * assertEquals(log, ["fast", "slow", "both are done"]);
 * assertEquals(total, 5);
 * ```
 *
 * @example A failure ends all
 * ```ts
 * import { run, sleep, taskGroup, TaskGroupError } from "@rota/rota";
 * import { assertEquals, assertRejects } from "@std/assert";
 *
 * const error = await assertRejects(() =>
 *   run(function* () {
 *     yield* taskGroup(function* (group) {
 *       group.createTask(() => sleep(1_000_000));
 *       group.createTask(function* () {
 *         throw new Error("disk full");
 *       }, { name: "save" });
 *     }, { name: "backup" });
 *   }, { host: "virtual" }), TaskGroupError);
 * assertEquals(error.message, '1 of 2 tasks failed in task group "backup"');
 * assertEquals(error.errors.map(String), ["Error: disk full"]);
 * ```
 *
 * @typeParam T The type of the body's result.
 * @param body A generator function or async function, called with the group.
 * @param options A name, a limit, whether to drop results; a signal that ends
 * the group: its reason is then thrown.
 * @returns An operation of the body's result.
 * @throws {TypeError} If an argument is of the wrong type.
 * @throws {RangeError} If `limit` is not a whole number > 0 or `Infinity`.
 * @throws {TaskGroupError} If something failed.
 */
export function taskGroup<T>(
  body: BlockBody<TaskGroup, T>,
  options: TaskGroupOptions = {},
): Operation<T> {
  checkFunction(body, "run a task group", "body");
  return new TaskGroup(options).run(body);
}

const NO_BODY = () => {};
