import { drop } from "../loop/waiters.ts";
import {
  MisuseError,
  TaskGroupClosedError,
  TaskGroupError,
} from "../errors.ts";
import type { Block } from "../loop/block.ts";
import {
  countAsThrown,
  dueAgain,
  endsAt,
  isCancellation,
  prune,
  type Request,
  requestsBefore,
  type RequestsGo,
  take,
} from "../loop/cancellation.ts";
import {
  checkFunction,
  checkOneOf,
  checkString,
  inspect,
  isGeneratorFunction,
} from "../loop/checks.ts";
import { getRunningLoop } from "../loop/current.ts";
import type { EventLoop } from "../loop/event_loop.ts";
import { Future, type Suspension } from "../loop/future.ts";
import { checkTaskOptions, NO_OPTIONS } from "../loop/loop_options.ts";
import { Operation, type WaitOptions } from "../loop/operation.ts";
import { subscribe, type Subscription } from "../loop/signal_hub.ts";
import {
  checkBody,
  type Coroutine,
  takeBody,
  type Task,
  type TaskBody,
  type TaskOptions,
} from "../loop/task.ts";
import { LinkedList } from "../structures/linked_list.ts";
import {
  type Child,
  type ChildOwner,
  ChildTask,
  ForeignChild,
  lenderFor,
  lending,
  LendingTask,
  LimitedTask,
  Limiter,
  returning,
} from "./limit.ts";
import type { BlockBody } from "./cancel_scope.ts";
import {
  checkOptions,
  isCoroutine,
  JointFuture,
  release,
  taskFor,
} from "./wait.ts";

/** How to make a {@linkcode TaskGroup}. */
export interface TaskGroupOptions extends WaitOptions {
  /** What to call the group in messages. */
  readonly name?: string | undefined;
  /**
   * How many of its tasks run at once. The others wait in line, and begin by
   * priority, equals in the order in which they were created.
   *
   * A task that waits for its own does not count meanwhile: for the end of a
   * group that it opened, for a task of that group, or for one that it made in
   * this group, be it by `gather`, `wait` or another. When that is over it gets
   * in line to go on, before those that have not begun; one that was cancelled
   * goes on at once. So tasks that make tasks and wait for them do not block each
   * other. One that waits for somebody else's task counts, and waits for ever if
   * that one needs its slot.
   *
   * Tasks of groups inside do not count: they have their own limits. With a limit
   * the group makes its tasks itself, without the loop's task factory, and none
   * is eager.
   *
   * @default {Infinity}
   */
  readonly limit?: number | undefined;
  /**
   * Whether what the tasks produce is dropped, as a server does that never ends:
   * waiting for such a task gives `undefined`.
   *
   * @default {false}
   */
  readonly discard?: boolean | undefined;
}

/** How to {@linkcode TaskGroup.start} a task. */
export interface StartOptions extends TaskOptions, WaitOptions {}

/**
 * Tasks that belong together, and to a block of the task that opened it: none
 * of them outlives the block. {@linkcode taskGroup} makes and runs one.
 *
 * A group that was made by itself may be handed out, and cancelled, before it
 * runs.
 */
export class TaskGroup {
  readonly #name: string | undefined;
  readonly #limiter: Limiter | null;
  readonly #discard: boolean;
  readonly #signal: AbortSignal | undefined;
  #state: "created" | "open" | "closing" | "finished" = "created";
  #aborting = false;
  /** Set by a cancellation before the group was entered. */
  #cancelled: { readonly reason: unknown } | null = null;
  #signalled = false;
  #block: Block | null = null;
  /** What its tasks know of it; null until it is entered. */
  #owner: ChildOwner | null = null;
  /** Whether the body was cancelled by the group itself. */
  #bodyCancelled = false;
  /** Those that have not ended, in the order of their creation. */
  readonly #children: LinkedList<Child> = new LinkedList();
  #created = 0;
  readonly #errors: unknown[] = [];
  /** What `start` waits for, by the task it has created. */
  #starting: Map<Task<unknown>, Future<unknown>> | null = null;
  /** What the exit waits for: the end of the last child. */
  #idle: ChildrenFuture | null = null;

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
    checkOptions(options, what);
    const { name, limit = Infinity, discard = false, signal } = options;
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
    this.#name = name;
    this.#limiter = limit === Infinity ? null : new Limiter(limit);
    this.#discard = discard;
    this.#signal = signal;
  }

  /** What the group was called; `undefined` if nothing was given. */
  get name(): string | undefined {
    return this.#name;
  }

  /** How many of its tasks have not ended. */
  get size(): number {
    return this.#children.length;
  }

  /**
   * A signal that aborts when the group is cancelled: because a task failed, by
   * {@linkcode cancel}, or with the task that it runs in.
   *
   * @throws {TaskGroupClosedError} If the group was not entered yet.
   */
  get signal(): AbortSignal {
    if (this.#block === null) {
      throw new TaskGroupClosedError(
        `Cannot get the signal of ${this.#describe()}: it has not been entered`,
      );
    }
    return this.#block.signal;
  }

  /**
   * Makes a task of the group and queues its first step.
   *
   * The body may do it, so may the group's tasks, and anybody the group was
   * handed to, as long as it has not ended. The first task that fails, other
   * than by cancellation, cancels the others and the body; its error is then
   * thrown by the group, so nobody has to wait for the task. A failure counts
   * when its done callback runs, in the turn after.
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
   * @typeParam T What the task produces.
   * @param body What {@linkcode EventLoop.createTask} takes.
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
    if (
      this.#state === "created" || this.#aborting ||
      (this.#state !== "open" && this.#children.length === 0)
    ) this.#refuse(body, options.name);
    const { loop } = this.#block!.task;
    const what = this.#discard ? discarding(body, loop) : body;
    let task: Task<T>;
    let child: Child;
    const owner = this.#owner!;
    if (this.#limiter !== null && !loop.isClosed()) {
      task = child = new LimitedTask<T>(
        owner,
        loop,
        what,
        options.eager ? { ...options, eager: false } : options,
      );
    } else if (loop.getTaskFactory() === null && !loop.isClosed()) {
      task = child = owner.task instanceof LimitedTask
        ? new LendingTask<T>(owner, loop, what, options)
        : new ChildTask<T>(owner, loop, what, options);
    } else {
      task = loop.createTask<T>(what, options);
      child = new ForeignChild(owner, task as Task<unknown>);
    }
    this.#created++;
    this.#children.append(child);
    this.#idle?.add(child.task);
    if (task.done()) this.#childDone(child);
    // It may have cancelled the group in an eager first step, before it was in the list.
    else if (this.#aborting) task.cancel();
    return task;
  }

  /**
   * The same as {@linkcode createTask}.
   *
   * @typeParam T What the task produces.
   * @param body What the task runs.
   * @param options A name, a signal that cancels the task.
   * @returns The task.
   */
  spawn<T>(body: TaskBody<T>, options: TaskOptions = NO_OPTIONS): Task<T> {
    return this.createTask(body, options);
  }

  #refuse(body: TaskBody<unknown>, name: string | undefined): never {
    if (isCoroutine(body)) body.return(undefined);
    // An operation that can no longer be waited for must not be missed either.
    else if (body instanceof Operation) body[drop]();
    const state = this.#state === "created"
      ? "has not been entered"
      : this.#state === "finished" || this.#children.length === 0 &&
          !this.#aborting
      ? "is over"
      : "is shutting down";
    throw new TaskGroupClosedError(
      `Cannot create ${
        name === undefined ? "a task" : `task "${name}"`
      } in ${this.#describe()}: it ${state}`,
    );
  }

  /**
   * Creates a task, and waits until that says it has started.
   *
   * `body` is called with a function, `started(value)`; the wait gives that
   * value as soon as it is called, and the task goes on in the group like any
   * other. A task that fails before is not the group's failure: its error is
   * thrown here. Cancelling the wait cancels that task, and takes until it has
   * ended.
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
   * @typeParam V What the task hands over when it has started.
   * @param body A generator function or async function.
   * @param options A name; a signal that ends the wait, and with it the task.
   * @returns An operation that gives what was handed over.
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
    return new Operation(() => this.#start(body, options), {
      name: "TaskGroup.start()",
    });
  }

  *#start<V>(
    body: (started: (value: V) => void) => unknown,
    options: StartOptions,
  ): Coroutine<V> {
    const { signal, ...taskOptions } = options;
    signal?.throwIfAborted();
    let handedOver = false;
    const future = new Future<V>(getRunningLoop(), "a task to have started");
    const started = (value: V) => {
      if (handedOver) {
        throw new MisuseError(
          "Cannot say that a task has started: it has said so before",
        );
      }
      handedOver = true;
      if (!future.done()) future.setResult(value);
    };
    const task = this.createTask(
      () => body(started) as Coroutine<unknown>,
      taskOptions,
    ) as Task<unknown>;
    if (task.done() && !task.failed() && !future.done()) {
      this.#endedBeforeStart(task, future); // an eager one
    }
    (this.#starting ??= new Map()).set(task, future as Future<unknown>);
    const subscription = signal === undefined
      ? null
      : subscribe(signal, () => task.cancel(signal.reason));
    try {
      const lender = lenderFor([task]);
      return yield* lender === null
        ? this.#untilStarted(task, future)
        : lending(lender, this.#untilStarted(task, future));
    } catch (error) {
      if (signal?.aborted && isCancellation(error)) {
        throw signal.reason;
      }
      throw error;
    } finally {
      subscription?.unsubscribe();
      this.#starting.delete(task);
    }
  }

  /** Waits; takes the task along if that is cancelled. */
  *#untilStarted<V>(task: Task<unknown>, future: Future<V>): Coroutine<V> {
    try {
      return yield* future;
    } catch (error) {
      if (future.done() && !future.cancelled()) throw error;
      this.#starting!.delete(task); // what it fails with now is the group's
      task.cancel();
      yield* untilEnded(task);
      throw error;
    }
  }

  /**
   * Ends the group early, and without an error: the tasks that have not ended
   * are cancelled, and so is the body at the point where it waits. The group
   * takes no new tasks.
   *
   * Before the group is entered, it takes effect then. After it is over, and the
   * second time, nothing happens. Errors that come of the cancellation are
   * thrown as usual.
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
   * @param reason What to say about the cause.
   */
  cancel(reason?: unknown): void {
    if (this.#state === "created") {
      this.#cancelled ??= { reason };
      return;
    }
    if (this.#state === "finished" || this.#aborting) return;
    this.#abort(reason);
    this.#cancelBody(reason);
  }

  #abort(reason?: unknown): void {
    this.#aborting = true;
    for (const { task } of this.#children) {
      if (!task.done()) task.cancel(reason);
    }
  }

  #cancelBody(reason?: unknown): void {
    this.#bodyCancelled = true;
    this.#block!.cancel(reason);
  }

  #childDone(child: Child): void {
    if (!this.#children.remove(child)) return;
    const ended = child.task;
    this.#lookAt(ended);
    // Not before, as a failure cancels those in line.
    if (this.#limiter !== null && ended instanceof LimitedTask) {
      ended.giveBack();
    }
  }

  /** Draws the consequences of how a child has ended. */
  #lookAt(ended: Task<unknown>): void {
    if (this.#idle !== null && this.#children.length === 0) release(this.#idle);
    if (this.#starting !== null) {
      const starting = this.#starting.get(ended);
      if (starting !== undefined && !starting.done()) {
        this.#endedBeforeStart(ended, starting);
        return;
      }
    }
    if (!ended.failed()) return;
    const error = ended.exception();
    const { task } = this.#block!;
    if (task.done()) {
      task.loop.callExceptionHandler({
        message:
          `Task "${ended.name}" failed, and the task that owns its group has ended`,
        exception: error,
        task: ended,
        name: ended.name,
      });
      return;
    }
    this.#errors.push(error);
    if (this.#aborting || this.#bodyCancelled) return;
    this.#abort();
    this.#cancelBody();
  }

  #endedBeforeStart(child: Task<unknown>, starting: Future<unknown>): void {
    if (child.cancelled()) starting.cancel(child.cancelReason());
    else if (child.failed()) starting.setException(child.exception());
    else {
      starting.setException(
        new MisuseError(
          `Cannot start task "${child.name}": it ended without calling started()`,
        ),
      );
    }
  }

  /**
   * Runs `body` with the group open, and waits for its tasks: what
   * {@linkcode taskGroup} does.
   *
   * @typeParam T What the body gives.
   * @param body A generator function or async function.
   * @returns An operation that gives what the body gives.
   * @throws {TypeError} If `body` is not a function.
   * @throws {MisuseError} If the group was run before.
   */
  run<T>(body: BlockBody<this, T>): Operation<T> {
    checkFunction(body, "run a task group", "body");
    return new Operation(() => this.#run(body), {
      name: this.#describe(),
      whenCancelled: "enter",
    });
  }

  *#run<T>(body: BlockBody<this, T>): Coroutine<T> {
    if (this.#state !== "created") {
      throw new MisuseError(
        `Cannot enter ${this.#describe()}: it has been entered before`,
      );
    }
    const task = taskFor(`enter ${this.#describe()}`);
    this.#signal?.throwIfAborted();
    const block = this.#block = task.openBlock();
    this.#owner = {
      task,
      limiter: this.#limiter,
      childDone: (child) => this.#childDone(child),
      joined: () => this.#idle?.relayed() ?? null,
    };
    this.#state = "open";
    const before = requestsBefore(block);
    // A scope around that is cancelled cancels the children, also behind a shield of the body.
    block.onLevel(() => this.#scopeCancelled());
    const subscription = this.#subscribe();
    if (this.#cancelled !== null) this.cancel(this.#cancelled.reason);
    let value: T | undefined;
    let failure: Thrown | null = null;
    try {
      value = yield* block.run(body, this);
    } catch (error) {
      failure = { error };
    }
    this.#state = "closing";
    // Whether it is the group's own cancellation, and nobody else's, that has ended the body.
    const isOwn = failure !== null && this.#bodyCancelled &&
      endsAt(
        block,
        failure.error,
        block.cancelling() - block.ownRequests,
        before,
      );
    if (failure !== null && !this.#aborting) this.#abort();
    const interruption = yield* this.#joinChildren(task);
    this.#state = "finished";
    subscription?.unsubscribe();
    const outcome = this.#outcome(failure, isOwn, interruption);
    if (outcome !== null) throw outcome.error;
    return value as T;
  }

  #scopeCancelled(): void {
    if (this.#aborting || this.#state === "finished") return;
    this.#abort(this.#block!.level!.reason);
  }

  /** Waits for the children; the task's own slot, if it has one, is lent meanwhile. */
  *#joinChildren(task: Task<unknown>): Coroutine<Thrown | null> {
    if (this.#children.length === 0) return null;
    const lender = task instanceof LimitedTask ? task : null;
    lender?.lend();
    const interruption = yield* this.#join(task);
    if (lender === null) return interruption;
    const late = yield* returning(lender);
    return interruption ?? late;
  }

  /**
   * Closes the block, and decides what the group throws; null if nothing.
   *
   * Failures go first: a cancellation from outside is then due again. Else the
   * cancellation that the body or the wait for the children has thrown goes on,
   * unless it was the group's own, and one that has come meanwhile is thrown here.
   */
  #outcome(
    failure: Thrown | null,
    isOwn: boolean,
    interruption: Thrown | null,
  ): Thrown | null {
    const block = this.#block!;
    const { opener, task } = block;
    const cancelled = failure !== null && isCancellation(failure.error);
    const thrown = interruption ?? (cancelled && !isOwn ? failure : null);
    if (this.#bodyCancelled) block.uncancel();
    const requests = block.cancelling();
    const level = block.outerLevel;
    block.close();
    const errors = this.#errors;
    const failed = errors.length;
    if (failure !== null && !cancelled) errors.push(failure.error);
    if (errors.length > 0) {
      // It arrives at the next wait, and counts once, as before.
      if (requests > 0) dueAgain(task, opener);
      return { error: this.#error(failed, errors.splice(0)) };
    }
    if (thrown !== null) {
      countAsThrown(opener);
      return thrown;
    }
    if (level !== null || this.#bodyCancelled) {
      const due = prune(opener, level);
      if (due !== null) return { error: take(opener, due, null) };
      if (level !== null) return { error: level.reason };
    }
    return this.#signalled ? { error: this.#signal!.reason } : null;
  }

  /**
   * Waits for the children, whatever happens; returns the first interruption.
   *
   * A request that comes when the children are being cancelled already does not
   * shorten the wait: it stays due until the group is left.
   */
  *#join(task: Task<unknown>): Coroutine<Thrown | null> {
    let interruption: Thrown | null = null;
    while (this.#children.length > 0) {
      this.#idle = new ChildrenFuture(
        task.loop,
        `the tasks of ${this.#describe()}`,
        tasksOf(this.#children),
        () => this.#aborting,
      );
      try {
        yield* this.#idle;
      } catch (error) {
        // A request that came when the children were being cancelled is due later.
        if (!this.#idle.isWoken()) interruption ??= { error };
        if (!this.#aborting) this.#abort();
      }
    }
    this.#idle = null;
    return interruption;
  }

  #subscribe(): Subscription | null {
    const signal = this.#signal;
    if (signal === undefined) return null;
    return subscribe(signal, () => {
      if (this.#aborting) return;
      this.#signalled = true;
      this.cancel(signal.reason);
    });
  }

  #error(failed: number, errors: unknown[]): TaskGroupError {
    const who = failed === errors.length
      ? `${failed} of ${this.#created} tasks`
      : failed === 0
      ? "The body"
      : `The body and ${failed} of ${this.#created} tasks`;
    return new TaskGroupError(errors, `${who} failed in ${this.#describe()}`);
  }

  #describe(): string {
    return this.#name === undefined
      ? "a task group"
      : `task group "${this.#name}"`;
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

/** An error that was thrown, which may be any value. */
interface Thrown {
  readonly error: unknown;
}

/** The end of all children of a group. A cancellation ends the wait for it once. */
class ChildrenFuture extends JointFuture {
  /** Whether a request has ended the wait that is due later. */
  #isWoken = false;
  readonly #isAborting: () => boolean;

  constructor(
    loop: EventLoop,
    label: string,
    children: Iterable<Future<unknown>>,
    isAborting: () => boolean,
  ) {
    super(loop, label, children);
    this.#isAborting = isAborting;
  }

  override requestsGo(_request: Request): RequestsGo {
    return this.#isAborting() ? "after" : "here";
  }

  override cancel(reason?: unknown): boolean {
    if (!this.done()) this.#isWoken = this.#isAborting();
    return super.cancel(reason);
  }

  /** Whether a request has ended the wait that is due later. */
  isWoken(): boolean {
    return this.#isWoken;
  }
}

/** Waits for the end of a task, whatever happens meanwhile. */
function* untilEnded(task: Task<unknown>): Coroutine<void> {
  if (task.done()) return;
  const future = new EndFuture(task.loop, `the end of "${task.name}"`);
  task.addDoneCallback(() => release(future));
  yield* future;
}

/** The end of a task that is being cancelled already: further requests stay due until then. */
class EndFuture extends Future<void> {
  override requestsGo(_request: Request): RequestsGo {
    return "after";
  }

  override cancel(): boolean {
    return false;
  }
}

/** The same body, without what it produces. */
function discarding<T>(body: TaskBody<T>, loop: EventLoop): TaskBody<T> {
  if (typeof body !== "function") {
    takeBody(body, loop);
    return dropped(body) as Coroutine<T>;
  }
  if (isGeneratorFunction(body)) {
    return function* () {
      yield* body() as Coroutine<T>;
      return undefined as T;
    };
  }
  return () => {
    const product = body();
    if (
      isCoroutine(product) || product instanceof Operation ||
      product instanceof Future
    ) return dropped(product) as Coroutine<T>;
    if (typeof (product as PromiseLike<T> | null)?.then !== "function") {
      return undefined as T;
    }
    return (product as PromiseLike<T>).then(() => undefined as T);
  };
}

function* dropped(
  waiting: Iterable<Suspension, unknown, unknown>,
): Coroutine<undefined> {
  yield* waiting;
  return undefined;
}

/**
 * Runs `body` with a group of tasks, and waits until all of them have ended.
 *
 * It is asyncio's `TaskGroup`. The body, running inside the current task, and
 * whoever it hands the group to, make tasks with
 * {@linkcode TaskGroup.createTask}. The block is left when the body and all tasks
 * have ended, and not before, however it ends.
 *
 * The first task that fails cancels the others, in the order of their creation,
 * and the body; a body that fails cancels the tasks. All that failed is thrown
 * as one {@linkcode TaskGroupError}: the tasks' errors in the order in which the
 * group learnt of them, then the body's. A task that was cancelled has not
 * failed, and stops nobody.
 *
 * Cancelling the task that the group runs in cancels the group's tasks, waits
 * for them, and goes on as a {@linkcode CancelledError}. If tasks failed, that
 * is thrown instead, and the cancellation arrives at the next wait. Further
 * cancellations do not shorten the wait.
 *
 * {@linkcode TaskGroup.cancel} ends the group without an error. If it cuts the
 * body short, there is no value: `undefined` is given.
 *
 * Costs about 300 ns for each task beyond what the task itself costs. What a
 * task leaves behind when it ends is its error, if it failed.
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
 * @typeParam T What the body gives.
 * @param body A generator function or async function; it is given the group.
 * @param options A name, a limit, whether to drop results; a signal that ends
 * the group: its reason is then thrown.
 * @returns An operation that gives what the body gives.
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

function* tasksOf(children: Iterable<Child>): Generator<Task<unknown>> {
  for (const { task } of children) yield task;
}
