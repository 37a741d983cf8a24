import { CancelledError, MisuseError } from "../errors.ts";
import { ownerOfContinuation, runOwned } from "../host/runtime.ts";
import { Block, type BlockOptions } from "./block.ts";
import { core } from "./core.ts";
import {
  checkOneOf,
  checkOptions,
  checkString,
  inspect,
  isGeneratorFunction,
} from "./checks.ts";
import { current, findPlace, findTask, type LocalValue } from "./current.ts";
import type { EventLoop } from "./event_loop.ts";
import { Future, lastYielded, type Suspension } from "./future.ts";
import type { TimerHandle } from "./timer_handle.ts";
import { checkTaskOptions, NO_OPTIONS } from "./loop_options.ts";
import { claim, Operation } from "./operation.ts";
import {
  CANCEL,
  interrupt,
  NOT_INTERRUPTED,
  rescind,
  type Stepper,
  suspend,
  takeInterruption,
  type Wait,
} from "./waiting.ts";
import { cancellationBy, listen, SignalListener } from "./signal_hub.ts";
import {
  checkPriority,
  DEFAULT_PRIORITY,
  type Priority,
  requirePriority,
} from "./priority.ts";
import { Urgency } from "./priority_inheritance.ts";

/**
 * A generator that runs as a task, or as a part of one by `yield*`.
 *
 * @typeParam T What it returns.
 */
export type Coroutine<T> = Generator<Suspension, T, unknown>;

/**
 * What a task can run: a generator function or async function without
 * parameters, a generator that has not started, or an operation.
 *
 * @typeParam T What it produces.
 */
export type TaskBody<T> =
  | (() => Coroutine<T> | PromiseLike<T> | T)
  | Coroutine<T>
  | Operation<T>;

/** How to make a task. */
export interface TaskOptions {
  /** What to call it in messages. Without one it is `"Task-"` and its id. */
  readonly name?: string | undefined;
  /** Cancels the task, with the signal's reason, when it aborts. */
  readonly signal?: AbortSignal | undefined;
  /**
   * Runs the first step inside `createTask` if the loop is running, instead of
   * in the next turn.
   *
   * @default {false}
   */
  readonly eager?: boolean | undefined;
  /**
   * How urgent the task is. It counts on a loop with a
   * {@linkcode PriorityScheduler}, and among those who wait for a place in a
   * group with a limit.
   *
   * @default {that of the task that creates it, else "user-visible"}
   */
  readonly priority?: Priority | undefined;
}

type AnyWait = Wait<unknown, unknown, unknown>;

const NO_BLOCK_OPTIONS: BlockOptions = {};

/**
 * The `next` of every generator. Generators of different functions have
 * different hidden classes, so that looking it up in each would be a megamorphic
 * load of 5 ns in each step.
 */
const nextOfGenerator: (
  this: Iterator<Suspension, unknown, unknown>,
) => IteratorResult<Suspension, unknown> =
  Object.getPrototypeOf(function* () {}).prototype.next;

/** Makes a generator of whatever can be gone through; that begins with its first step. */
function* asGenerator(
  iterable: Iterable<Suspension, unknown, unknown>,
): Coroutine<unknown> {
  return yield* iterable;
}

let idLast = 0;

/** Cancels a task when a signal aborts. */
class TaskListener extends SignalListener {
  declare private readonly task: Task<unknown>;

  constructor(task: Task<unknown>) {
    super();
    this.task = task;
  }

  protected override aborted(signal: AbortSignal): void {
    this.task.cancel(cancellationBy(signal));
  }
}

/** Stands for the body of a task that waits, or has waited, for a promise. */
const PROMISED = Symbol("promised");

/** Fields that most tasks never need. */
class Extras {
  /** The block of the whole task, around all others. */
  root: Block | null = null;
  /** The innermost block that the task's own generator has open. */
  block: Block | null = null;
  openBlocks = 0;
  /** How many of them have a cancellation for their next wait. */
  pendingBlocks = 0;
  /** The cancellation that those `sleep(0)` end with which are in the ready queue. */
  yieldInterruption: { readonly reason: unknown } | null = null;
  /** Cancels the task when its signal aborts. */
  subscription: TaskListener | null = null;
  /** Why the task was last cancelled, for a signal that is asked for later. */
  cancelReason: unknown = undefined;
  /** Set while a cancellation is handed on to what the task waits for. */
  handingOn = false;
  /** Runs when a cancellation has found no wait to be thrown into, for too long. */
  warning: TimerHandle | null = null;
  /** How many open blocks have been cancelled so that every wait inside throws. */
  levels = 0;
  /** How many async functions run inside of blocks; how many of them are waited for by one of `waits`. */
  bodies = 0;
  nestedBodies = 0;
  /** Whether the innermost of them waits outside the loop. */
  bodyOutside = false;
  /** The cancellation that its next wait throws. */
  bodyInterruption: { readonly reason: unknown } | null = null;
  /** Enters the async context of the task's creator. */
  enter: (<R>(fn: () => R) => R) | null = null;
}

/**
 * A coroutine or async function that a loop runs, and the future of its result.
 *
 * It is asyncio's `Task`. {@linkcode EventLoop.createTask} makes one and queues
 * its first step. Wait for it like for any future. The loop keeps it until it
 * has ended; a failure that nobody looks at is reported to the loop's exception
 * handler.
 *
 * @typeParam T What the task produces.
 */
export class Task<T> extends Future<T> {
  /** A number that no other task of this process has. */
  readonly id: number = ++idLast;
  /** What is to be run, until the first step; then null, or PROMISED for good. */
  private body: TaskBody<T> | typeof PROMISED | null;
  /** The generator, if it is one, from the first step to the end. */
  private coroutine: Iterator<Suspension, T, unknown> | null = null;
  private parentTask: Task<unknown> | null;
  private requests = 0;
  /** How many `sleep(0)` of async functions of this task are in the ready queue. */
  private yields = 0;
  /**
   * What async functions of this task wait for: the first of a list, whose
   * `previousWait` is the last.
   */
  private waits: AnyWait | null = null;
  /** @ignore */
  waitingOn: Future<unknown> | null = null;
  /** @ignore */
  interruption: number = NOT_INTERRUPTED;
  /** @ignore */
  interruptReason: unknown = undefined;
  private locals: LocalValue | null;
  private extras: Extras | null = null;
  /** Null where nothing was said of priorities, on a loop that does not go by them. */
  private urgency: Urgency | null = null;
  /** Neighbours in the loop's list of unfinished tasks. */
  private nextTask: Task<unknown> | null = null;
  private previousTask: Task<unknown> | null = null;

  /**
   * Tasks are made by {@linkcode EventLoop.createTask}.
   *
   * @ignore
   */
  constructor(
    loop: EventLoop,
    body: TaskBody<T>,
    options: TaskOptions,
    queued: boolean = true,
  ) {
    if (typeof body !== "function") checkBody(body, "create a task");
    if (options !== NO_OPTIONS) checkTaskOptions(options);
    if (typeof body !== "function") takeBody(body, loop);
    super(loop, options.name ?? "");
    this.body = body;
    const parent = findTask();
    this.parentTask = parent;
    if (parent === null) this.locals = null;
    else {
      this.locals = parent.locals;
      parent.becomeKnown();
    }
    if (
      loop[core].ranking !== null || options.priority !== undefined ||
      parent !== null && parent.urgency !== null
    ) this.rank(options.priority);
    loop[core].tasks.add(this as Task<unknown>);
    if (options.signal !== undefined) this.follow(options.signal);
    if (loop[core].inheritsContext) {
      this.extra().enter = loop[core].captureContext();
    }
    if (!queued) return; // whoever makes it queues it later
    if (options.eager === true && loop.isRunning()) this.startEagerly();
    else loop[core].schedule(this);
  }

  /** Gives the task a priority: what was asked for, else that of its parent. */
  private rank(priority: Priority | undefined): void {
    const inherited = this.parentTask?.urgency?.base ?? DEFAULT_PRIORITY;
    this.urgency = new Urgency(
      checkPriority(priority, "create a task", inherited),
      this.loop[core].ranking,
    );
  }

  /** Has `signal` cancel the task. */
  private follow(signal: AbortSignal): void {
    const listener = new TaskListener(this as Task<unknown>);
    this.extra().subscription = listener;
    listen(signal, listener);
  }

  /** Runs the first step now, inside of whatever is running. */
  private startEagerly(): void {
    const { loop, task, stepper } = current;
    current.loop = this.loop;
    try {
      this.run();
    } finally {
      current.loop = loop;
      current.task = task;
      current.stepper = stepper;
    }
  }

  /** The task's name: what was given, or `"Task-"` and its id. */
  get name(): string {
    return this.label === "" ? `Task-${this.id}` : this.label;
  }

  set name(name: string) {
    checkString(name, "rename a task", "name");
    this.label = name;
  }

  /**
   * How urgent the task is: what was set, else what its creator had, as a number.
   * See {@linkcode Priority}.
   */
  get priority(): number {
    return this.urgency === null ? DEFAULT_PRIORITY : this.urgency.base;
  }

  /**
   * How urgent the task is at this moment, on a loop with a scheduler: its
   * {@linkcode priority}, or that of the most urgent among those who wait for it
   * or for what it holds, if that is higher.
   */
  get effectivePriority(): number {
    return this.urgency === null ? DEFAULT_PRIORITY : this.urgency.effective;
  }

  /**
   * Makes the task more or less urgent, also while it is queued. Takes effect at
   * once: it goes behind what is ready with that priority. Tasks that it creates
   * from now on inherit it. On a loop without a scheduler it changes no order.
   *
   * @param priority How urgent it is.
   * @throws {TypeError} If `priority` is no priority.
   */
  setPriority(priority: Priority): void {
    const base = requirePriority(priority, "set the priority of a task");
    if (this.urgency === null) this.rank(base);
    else this.urgency.setBase(base);
  }

  /** The task that created this one; `null` if none did, and once this one has ended. */
  get parent(): Task<unknown> | null {
    return this.parentTask;
  }

  /**
   * A signal to hand to `fetch` and its like: it aborts, with a
   * {@linkcode CancelledError}, when the task is cancelled.
   *
   * It is that of the innermost open block (timeout, task group, scope) at the
   * moment it is read, so read it anew for each call. After an
   * {@linkcode uncancel} back to zero it is a fresh one. Made on first use.
   */
  get signal(): AbortSignal {
    const place = findTask() === this as Task<unknown>
      ? findPlace(this as Task<unknown>)
      : this.block;
    return (place ?? this.rootBlock()).signal;
  }

  /**
   * Opens a block inside the task: see {@linkcode Block}. This is what timeouts
   * and groups are built from; programs rarely need it.
   *
   * @param options How the block is cancelled.
   * @returns The block, which the caller has to close.
   * @throws {TypeError} If an option is of the wrong type.
   */
  openBlock(options: BlockOptions = NO_BLOCK_OPTIONS): Block {
    if (options !== NO_BLOCK_OPTIONS) checkBlockOptions(options);
    const task = this as Task<unknown>;
    const opener: Stepper = current.loop !== null && current.task === task
      ? current.stepper!
      : this;
    const outer = opener.block ?? findPlace(task) ?? this.rootBlock();
    const block = new Block(task, outer, opener, options);
    (outer["inner"] ??= new Set()).add(block);
    opener.block = block;
    this.extra().openBlocks++;
    const level = this.levelCancellation(block);
    if (level !== null) block["abort"](level);
    return block;
  }

  /** Gives the block of the task as a whole, made on first use. */
  private rootBlock(): Block {
    const extras = this.extra();
    if (extras.root === null) {
      extras.root = new Block(this as Task<unknown>, null, this, {});
      if (this.requests > 0) {
        extras.root["abort"](cancellation(extras.cancelReason));
      }
    }
    return extras.root;
  }

  /** @ignore */
  get block(): Block | null {
    return this.extras === null ? null : this.extras.block;
  }

  /** @ignore */
  set block(block: Block | null) {
    if (this.extras !== null || block !== null) this.extra().block = block;
  }

  /** Code of the user's may hold this task: it was handed out, or has made a task. */
  protected becomeKnown(): void {}

  /** Whether nothing is left in the task of what it has done so far. */
  protected isUntouched(): boolean {
    if (
      this.requests > 0 || this.yields > 0 ||
      this.interruption !== NOT_INTERRUPTED || this.waits !== null ||
      this.hasOtherWaiters()
    ) return false;
    const { extras } = this;
    return extras === null ||
      extras.root === null && extras.bodies === 0 && extras.levels === 0 &&
        extras.warning === null && extras.subscription === null &&
        extras.yieldInterruption === null &&
        extras.bodyInterruption === null;
  }

  /** Whether somebody else than the task itself waits for its end. */
  private hasOtherWaiters(): boolean {
    const { waiters } = this as unknown as { waiters: unknown };
    return waiters !== null && waiters !== this;
  }

  /** Whether a wait has to know in which block it is. */
  private hasBlocks(): boolean {
    return this.extras !== null && this.extras.openBlocks > 0;
  }

  /** Ends a block of this task, so that it is cancelled no more. */
  private closeBlock(block: Block): void {
    const { opener, outer } = block as unknown as {
      readonly opener: Stepper;
      readonly outer: Block | null;
    };
    if (outer === null || block["closed"] || opener.block !== block) {
      throw new MisuseError(
        "Cannot close a block: it is not the innermost open one of its opener",
      );
    }
    block["closed"] = true;
    outer["inner"]!.delete(block);
    opener.block = outer.outer === null ? null : outer;
    const extras = this.extras;
    if (extras === null || extras.openBlocks === 0) return; // after the end of the task
    extras.openBlocks--;
    if (block["levelError"] !== null) extras.levels--;
    if (block["pending"] !== null) extras.pendingBlocks--;
  }

  /** Cancels a block whose every wait throws from now on. */
  private cancelLevel(block: Block, reason: unknown): boolean {
    if (this.done()) return false;
    if (block["levelError"] !== null) return true;
    const error = block["levelError"] = cancellation(reason);
    this.extra().levels++;
    block["visit"]((inside) => {
      if (inside !== block && inside.shielded) return false;
      inside["abort"](error);
      return true;
    });
    this.levelChanged(block);
    return true;
  }

  /** Throws a level cancellation that applies now into whatever waits inside `block`. */
  private levelChanged(block: Block): void {
    if (this.extras === null) return;
    const running = current.task === this as Task<unknown>
      ? current.stepper
      : null;
    for (const wait of this.listWaits()) {
      const place = wait.innermost();
      // What runs right now finds it at its next wait.
      if (place === null || wait as unknown === running) continue;
      if (!place["isIn"](block)) continue;
      const error = this.levelCancellation(place);
      if (error !== null) wait.interrupt(error);
    }
    if (this.coroutine === null || running !== null) return;
    if (this.block === null || !this.block["isIn"](block)) return;
    this.throwLevel(this);
  }

  /** The level cancellation that applies at a place in the task, if any. */
  private levelCancellation(
    place: Block | null = findPlace(this as Task<unknown>),
  ): CancelledError | null {
    if (this.extras === null || this.extras.levels === 0) return null;
    for (let block = place; block !== null; block = block.outer) {
      if (block["levelError"] !== null) return block["levelError"];
      if (block.shielded) return null;
    }
    return null;
  }

  /** The task of async functions that were called by the body. @ignore */
  get runner(): Task<unknown> {
    return this as Task<unknown>;
  }

  /** Gives what few tasks need, made on first use. */
  private extra(): Extras {
    return this.extras ??= new Extras();
  }

  /**
   * Asks the task to end: a {@linkcode CancelledError} is thrown at the point
   * where it waits, in the next turn.
   *
   * It is asyncio's: once per request, and each request counts. What the task
   * waits for is cancelled along, so that a task waiting for another takes that
   * one with it. A task that has not started never does. An async function that
   * waits for several operations gets the error from each. One that waits for a
   * foreign promise gets it from its next operation; its {@linkcode signal}
   * aborts at once, and the exception handler is told if it has not reacted
   * after `cancelWarnMs`. The task may clean up, and wait while it does.
   *
   * An async helper that is still in an operation when its task has ended, such
   * as the loser of a `Promise.race`, is left there: the operation is cancelled
   * and gives back what it had, but the helper never runs on, nor does its
   * `finally`. Await what you start, or start it in a task group.
   *
   * @example Cleaning up
   * ```ts
   * import { getRunningLoop, run, sleep } from "@rota/rota";
   * import { assertEquals } from "@std/assert";
   *
   * const log: string[] = [];
   * await run(function* () {
   *   const task = getRunningLoop().createTask(async () => {
   *     try {
   *       await sleep(1_000);
   *     } finally {
   *       log.push("cleaned up");
   *     }
   *   });
   *   yield* sleep(10);
   *   task.cancel("not needed");
   *   yield* sleep(0);
   *   yield* sleep(0);
   *   log.push(task.cancelled() ? "cancelled" : "still there");
   * }, { host: "virtual" });
   * assertEquals(log, ["cleaned up", "cancelled"]);
   * ```
   *
   * @param reason What to say about the cause. A `CancelledError` is thrown as it is.
   * @returns Whether the task had not ended.
   */
  override cancel(reason?: unknown): boolean {
    return this.cancelFrom(null, reason);
  }

  /** Cancels; only signals of `block` and of the blocks inside it abort. */
  private cancelFrom(block: Block | null, reason: unknown): boolean {
    if (this.done()) return false;
    const extras = this.extra();
    // Tasks that wait for each other in a ring: it has come back to the first.
    if (extras.handingOn) return false;
    this.requests++;
    if (extras.root === null) extras.cancelReason = reason;
    else {
      const error = cancellation(reason);
      (block ?? extras.root)["visit"]((inside) => {
        inside["abort"](error);
        return true;
      });
    }
    extras.handingOn = true;
    if (block !== null) block["requests"]++;
    try {
      if (block === null || block["opener"] === this && this.promised) {
        this.interruptAll(reason);
      } else this.interruptInside(block, reason);
    } finally {
      extras.handingOn = false;
    }
    return true;
  }

  /** The requests that concern a block: all but those of blocks beside it. */
  private requestsAt(block: Block): number {
    let requests = this.requests;
    const extras = this.extras;
    if (requests === 0 || extras === null || extras.root === null) {
      return requests;
    }
    extras.root["visit"]((other) => {
      if (!block["isIn"](other)) requests -= other["requests"];
      return true;
    });
    return Math.max(requests, 0);
  }

  /** Tells how many requests are left once one was taken back, and tidies up after it. */
  private afterUncancel(block: Block): number {
    const requests = this.requestsAt(block);
    // What concerns others keeps the task's count up, but this is dealt with.
    if (requests === 0 && this.requests > 0 && this.extras !== null) {
      rescind(block["opener"]);
      if (block["pending"] !== null) this.takePending(this.extras, block);
    }
    return requests;
  }

  /** Throws a cancellation into whatever the task waits for inside a block. */
  private interruptInside(block: Block, reason: unknown): void {
    for (const wait of this.listWaits()) {
      if (wait.place !== null && wait.place["isIn"](block)) {
        wait.interrupt(reason);
      }
    }
    interrupt(block["opener"], reason);
  }

  /** Throws a cancellation into whatever the task waits for, or else into its next wait. */
  private interruptAll(reason: unknown): void {
    let waiting = this.yields > 0;
    if (waiting) this.extra().yieldInterruption = { reason };
    if (this.waits !== null) {
      waiting = true;
      for (const wait of this.listWaits()) wait.interrupt(reason);
    }
    // The waits of an async function are all there is to throw into.
    if (waiting && this.promised) return;
    interrupt(this, reason);
    if (this.promised) this.warnIfStuck();
  }

  /**
   * Takes back one request for cancellation, for code that has dealt with one
   * on its own. At zero, a cancellation that was not delivered yet is dropped,
   * and {@linkcode signal} is a fresh one.
   *
   * @returns How many requests remain.
   */
  uncancel(): number {
    if (this.requests > 0) this.requests--;
    if (this.requests === 0) {
      if (this.interruption === CANCEL) this.interruption = NOT_INTERRUPTED;
      const extras = this.extras;
      if (extras !== null) {
        extras.cancelReason = undefined;
        extras.yieldInterruption = null;
        extras.bodyInterruption = null;
        if (extras.pendingBlocks > 0) this.dropPending(extras);
        if (extras.levels > 0) return 0;
      }
      for (const wait of this.listWaits()) wait.rescind();
      extras?.root?.["visit"]((block) => {
        block["renew"]();
        return true;
      });
    }
    return this.requests;
  }

  /**
   * Tells how many requests for cancellation are outstanding.
   *
   * @returns Calls of {@linkcode cancel} less those of {@linkcode uncancel}.
   */
  cancelling(): number {
    return this.requests;
  }

  /**
   * Not for tasks: the result of a task is what its body returns.
   *
   * @throws {MisuseError} Always.
   */
  override setResult(_value: T): never {
    throw new MisuseError(
      `Cannot set the result of ${this.describe()}: its body decides it`,
    );
  }

  /**
   * Not for tasks: a task fails with what its body throws.
   *
   * @throws {MisuseError} Always.
   */
  override setException(_error: unknown): never {
    throw new MisuseError(
      `Cannot set the exception of ${this.describe()}: its body decides it`,
    );
  }

  /**
   * Where the task was made, if its loop was in debug mode then.
   *
   * @returns A stack trace, or `undefined`.
   */
  creationStack(): string | undefined {
    return this.loop[core].debug.creationStackOf(this);
  }

  /**
   * Runs one step. The loop calls this.
   *
   * @ignore
   */
  run(): void {
    stepTask(this as Task<unknown>);
  }

  /**
   * Called when the task's turn has come while it has no generator: before its
   * first step and after its end. True if it is not to start now.
   */
  protected intercept(): boolean {
    return false;
  }

  /** Throws a level cancellation that applies now into the wait of `stepper`. */
  private throwLevel(stepper: Stepper): void {
    const level = this.levelCancellation(stepper.block);
    if (level !== null) interrupt(stepper, level);
  }

  /** Whether it is an async function, which has begun. */
  private get promised(): boolean {
    return this.body === PROMISED;
  }

  /** Waits for the promise of an async function, which has begun. */
  private startPromise(promise: PromiseLike<T>): void {
    this.body = PROMISED;
    this.loop[core].outside.asyncTaskStarted();
    if (this.waits === null) this.loop[core].outside.wentOutside();
    try {
      if (isNative(promise)) promise.then(bodyFulfilled, bodyRejected);
      else {
        promise.then(
          (value) => this.promiseSettled(false, value),
          (error) => this.promiseSettled(true, error),
        );
      }
    } catch (error) {
      this.promiseSettled(true, error); // nobody will call back
    }
  }

  /** The promise of the async function is settled, which ends the task. */
  private promiseSettled(failed: boolean, outcome: unknown): void {
    if (this.done()) return; // the loop was closed under it
    if (this.waits === null) this.loop[core].outside.cameInside();
    this.loop[core].outside.asyncTaskEnded();
    // Whoever waits for this is to go on with the priority that it had.
    const ranking = this.loop[core].ranking;
    if (ranking === null) this.endWith(failed, outcome);
    else {
      ranking.runAs(
        this.effectivePriority,
        () => this.endWith(failed, outcome),
      );
    }
  }

  /** The body has thrown or returned. */
  private endWith(failed: boolean, outcome: unknown): void {
    if (failed) this.endWithError(outcome);
    else this.endWithValue(outcome as T);
  }

  /** The body has returned. */
  private endWithValue(value: T): void {
    const pending = this.extras?.bodyInterruption;
    if (pending !== null && pending !== undefined) {
      this.end();
      super.cancel(pending.reason);
      return;
    }
    if (this.interruption === CANCEL) {
      // Cancelled too late to be thrown, but not too late to count.
      this.end();
      super.cancel(this.interruptReason);
      return;
    }
    this.end();
    this.succeed(value);
  }

  /** Ends the future with a value. */
  private succeed(value: T): void {
    super.setResult(value);
  }

  /** The body has thrown. */
  private endWithError(error: unknown): void {
    this.end();
    if (error instanceof CancelledError) this["finishCancelled"](error);
    else this["fail"](error);
  }

  /** Lets go of the body and of all that the task needs no more. */
  private end(): void {
    this.coroutine = null;
    if (this.body !== PROMISED) this.body = null;
    this.waitingOn = null;
    this.parentTask = null;
    this.locals = null;
    this.loop[core].tasks.remove(this as Task<unknown>);
    if (this.urgency !== null) this.urgency.end();
    const extras = this.extras;
    if (extras !== null) {
      this.extras = null;
      extras.subscription?.unsubscribe();
      extras.warning?.cancel();
      if (extras.bodyOutside) this.loop[core].outside.cameInside();
      for (; extras.bodies > 0; extras.bodies--) {
        this.loop[core].outside.asyncTaskEnded();
      }
    }
    if (this.waits !== null) this.dropWaits();
  }

  /** Lets go of what its async functions still wait for. */
  private dropWaits(): void {
    const waits = this.listWaits();
    this.waits = null;
    for (const wait of waits) wait["nextWait"] = wait["previousWait"] = null;
    for (const wait of waits) {
      // What a block is waited for with just leaves. What is inside of it is told,
      // so that it cleans up: the block is still there.
      if (wait.place === null || wait.place["closed"]) wait.abandon();
      else wait.interrupt(undefined);
    }
  }

  /** The loop closes while the task is unfinished: whoever waits outside is told. */
  protected destroy(reason: CancelledError): void {
    if (this.promised) this.loop[core].outside.asyncTaskEnded();
    this.end();
    super.cancel(reason);
  }

  /** Has the loop report the task if it does not react to its cancellation. */
  private warnIfStuck(): void {
    const extras = this.extra();
    if (extras.warning !== null) return;
    extras.warning = this.loop[core].warnOfStuckTask(this as Task<unknown>);
  }

  /** A cancellation that came while no operation was waited for, to be thrown now. */
  private takePendingCancellation(
    place: Block | null,
  ): { reason: unknown } | undefined {
    const extras = this.extras;
    if (extras !== null) {
      const level = this.levelCancellation(place);
      if (level !== null) return { reason: level };
      const pending = this.takePending(extras, place);
      if (pending !== null) return pending;
    }
    if (this.interruption !== CANCEL || this.coroutine !== null) {
      return undefined;
    }
    const reason = this.interruptReason;
    this.interruption = NOT_INTERRUPTED;
    this.interruptReason = undefined;
    return { reason };
  }

  /** Whether a wait needs more than to be queued. */
  private isSpecial(): boolean {
    return this.interruption === CANCEL ||
      (this.extras !== null && (this.isInterrupted() || this.hasBlocks()));
  }

  /** Whether the next wait has to throw. */
  private isInterrupted(): boolean {
    return this.interruption === CANCEL ||
      (this.extras !== null &&
        (this.extras.levels > 0 || this.extras.pendingBlocks > 0 ||
          this.extras.bodyInterruption !== null));
  }

  /**
   * Puts a cancellation off to the next wait. For operations whose work was done
   * when it came: they must not throw, as that would say it was not done.
   *
   * Call it from the operation that got the error, in its step.
   *
   * @param error What the operation got.
   * @throws {TypeError} If `error` is not a `CancelledError`.
   */
  postponeCancel(error: CancelledError): void {
    if (!(error instanceof CancelledError)) {
      throw new TypeError(
        `Cannot postpone a cancellation as error must be a CancelledError: received ${
          inspect(error)
        }`,
      );
    }
    const place = findPlace(this as Task<unknown>);
    // In a cancelled scope each wait throws anyway, and none outside of it.
    if (this.done() || this.levelCancellation(place) === error) return;
    if (current.stepper === this as unknown) {
      this.interruption = CANCEL;
      this.interruptReason = error;
    } else this.keepCancellation(place, error);
  }

  /** An async function was told too late: its next wait throws, unless another one has. */
  private keepCancellation(place: Block | null, reason: unknown): void {
    if (this.done() || this.hasOtherWaits()) return;
    if (place !== null) this.pendAt(place, reason);
    else if (this.promised) {
      this.interruption = CANCEL;
      this.interruptReason = reason;
    }
  }

  /** Whether async functions of this task wait for more than one thing, so that one tells of a cancellation. */
  private hasOtherWaits(): boolean {
    return this.waits !== null && this.waits["nextWait"] !== null;
  }

  /**
   * Tells whether every wait at this place of the task throws, as a scope around
   * it was cancelled.
   *
   * @returns Whether a level cancellation applies here.
   */
  isLevelCancelled(): boolean {
    return this.levelCancellation() !== null;
  }

  // -- Async functions inside of blocks --

  /** An async function has begun inside a block of this task. */
  private bodyBegan(nested: boolean): void {
    const extras = this.extra();
    extras.bodies++;
    if (nested) extras.nestedBodies++;
    this.loop[core].outside.asyncTaskStarted();
    this.bodyMoved(extras);
  }

  /** An async function inside a block of this task has ended. */
  private bodyEnded(
    place: Block | null,
    nested: boolean,
    cancelled: boolean,
  ): void {
    const extras = this.extras;
    if (extras === null || extras.bodies === 0) return; // after the end of the task
    extras.bodies--;
    if (nested) extras.nestedBodies--;
    // What it waited for has told it, such as a fetch with the signal.
    if (cancelled) this.takePending(extras, place);
    this.loop[core].outside.asyncTaskEnded();
    this.bodyMoved(extras);
  }

  /** Keeps a cancellation for the next wait at a place. */
  private pendAt(place: Block | null, reason: unknown): void {
    // One of a level is found by each wait anew.
    const extras = this.extras;
    if (extras === null || reason === this.levelCancellation(place)) return;
    if (place === null) extras.bodyInterruption = { reason };
    else {
      if (place["pending"] === null) extras.pendingBlocks++;
      place["pending"] = { reason };
    }
  }

  /** Takes a cancellation that was kept for a place, or for what is around it. */
  private takePending(
    extras: Extras,
    place: Block | null,
  ): { readonly reason: unknown } | null {
    if (extras.pendingBlocks > 0) {
      for (let block = place; block !== null; block = block.outer) {
        const pending = block["pending"];
        if (pending === null) continue;
        block["pending"] = null;
        extras.pendingBlocks--;
        return pending;
      }
    }
    const pending = extras.bodyInterruption;
    extras.bodyInterruption = null;
    return pending;
  }

  /** Forgets the cancellations that its blocks have not been told of yet. */
  private dropPending(extras: Extras): void {
    extras.root!["visit"]((block) => {
      block["pending"] = null;
      return true;
    });
    extras.pendingBlocks = 0;
  }

  /** A generator goes on after an async function that waited for nothing more. The next wait is its own. */
  private bodyLeft(place: Block | null): void {
    const extras = this.extras;
    if (extras === null) return;
    const pending = this.takePending(extras, place);
    if (pending === null) return;
    if (current.stepper === this as Stepper && this.coroutine !== null) {
      this.interruption = CANCEL;
      this.interruptReason = pending.reason;
    } else {
      const outer = place === null ? null : place.outer;
      this.pendAt(
        outer === null || outer.outer === null ? null : outer,
        pending.reason,
      );
    }
  }

  /** Whether the innermost async function inside a block waits for nothing of the loop. */
  private isBodyOutside(extras: Extras): boolean {
    if (extras.bodies === 0) return false;
    let count = 0;
    for (let wait = this.waits; wait !== null; wait = wait["nextWait"]) {
      if (++count > extras.nestedBodies) return false;
    }
    return true;
  }

  /** Tells the loop if the async function inside a block has gone outside or come back. */
  private bodyMoved(extras: Extras): void {
    const outside = this.isBodyOutside(extras);
    if (outside === extras.bodyOutside) return;
    extras.bodyOutside = outside;
    if (outside) this.loop[core].outside.wentOutside();
    else {
      this.loop[core].outside.cameInside();
      extras.warning?.cancel();
      extras.warning = null;
    }
  }

  /** A cancellation has come to the wait for an async function inside a block. */
  private cancelBody(place: Block | null, reason: unknown): void {
    const extras = this.extra();
    // Otherwise it goes to those waits themselves.
    if (place === null) {
      if (!this.isBodyOutside(extras) || this.yields > 0) return;
    } else {
      for (const wait of this.listWaits()) {
        if (wait.place !== null && wait.place["isIn"](place)) return;
      }
    }
    this.pendAt(place, reason);
    this.warnIfStuck();
  }

  /** A `sleep(0)` is over: with a cancellation, if one came while it was queued. */
  private endYield(): { readonly reason: unknown } | null {
    this.yields--;
    const extras = this.extras;
    if (extras === null || extras.yieldInterruption === null) return null;
    const interruption = extras.yieldInterruption;
    if (this.yields === 0) extras.yieldInterruption = null;
    return interruption;
  }

  /** The async function waits in an operation of the loop. */
  private enterWait(wait: AnyWait): void {
    const { extras, waits: first } = this;
    if (first === null) {
      this.waits = wait["previousWait"] = wait;
      if (this.promised) this.loop[core].outside.cameInside();
      if (extras !== null && extras.warning !== null) {
        extras.warning.cancel();
        extras.warning = null;
      }
    } else {
      const last = first["previousWait"]!;
      last["nextWait"] = wait;
      wait["previousWait"] = last;
      first["previousWait"] = wait;
    }
    if (extras !== null && extras.bodies > 0) this.bodyMoved(extras);
  }

  /** Takes a wait out of the list. */
  private unlink(wait: AnyWait, previous: AnyWait): void {
    const first = this.waits!;
    const next = wait["nextWait"];
    if (wait === first) this.waits = next;
    else previous["nextWait"] = next;
    if (next !== null) next["previousWait"] = previous;
    else if (wait !== first) first["previousWait"] = previous;
    wait["nextWait"] = wait["previousWait"] = null;
  }

  /** The async function waits in that operation no longer. */
  private leaveWait(wait: AnyWait): void {
    const { extras } = this;
    const previous = wait["previousWait"];
    if (previous !== null) { // else the task has ended, and dropped them all
      this.unlink(wait, previous);
      if (this.waits === null && this.promised) {
        this.loop[core].outside.wentOutside();
      }
    }
    if (extras !== null && extras.bodies > 0) this.bodyMoved(extras);
  }

  /** A list of its own of what async functions wait for, as that changes when one is told something. */
  private listWaits(): AnyWait[] {
    const waits: AnyWait[] = [];
    for (let wait = this.waits; wait !== null; wait = wait["nextWait"]) {
      waits.push(wait);
    }
    return waits;
  }

  /** Whether it will begin by calling what may be an async function. */
  private mayBeAsync(): boolean {
    if (typeof this.body !== "function") return false;
    try {
      return !isGeneratorFunction(this.body);
    } catch {
      return true; // a proxy, of which the first step will tell
    }
  }

  /** What the task waits for, in words. */
  private describeWait(): string {
    if (this.waitingOn !== null) return this.waitingOn["describe"]();
    const waits = this.listWaits().map((wait) => wait.describe());
    if (waits.length > 0) return waits.join(" and ");
    return this.promised ? "a promise outside the loop" : "its turn";
  }

  /** How urgent it is that its end is dealt with, where the task does that itself: an `Urgency`. */
  protected urgencyOfEnd(): object | null {
    return this.urgency;
  }

  /** What those share who wait for the end of the task. */
  protected override pressure(): object | null {
    return this.urgency === null ? null : this.urgency.pressure;
  }

  /** Whether a cancellation that the task hands on to others is on its way through them. */
  protected override isHandingOn(): boolean {
    return this.extras !== null && this.extras.handingOn;
  }

  /** What to call the task in messages. */
  protected override describe(): string {
    return `task "${this.name}"`;
  }

  /**
   * Names the class in messages and inspections.
   *
   * @returns `"Task"`.
   */
  override get [Symbol.toStringTag](): string {
    return "Task";
  }
}

/**
 * Runs one step of a task.
 *
 * This and what it calls are functions and not methods: an error keeps the
 * receivers of the frames on the stack where it was made, and a task that is kept
 * by its own error is never collected, nor its failure reported.
 */
export function stepTask(task: Task<unknown>): void {
  const coroutine = task["coroutine"];
  if (coroutine === null) {
    if (!task["intercept"]()) startTask(task);
    return;
  }
  const { extras } = task as unknown as { extras: Extras | null };
  if (extras !== null && extras.enter !== null) {
    extras.enter(() => stepCoroutine(task, coroutine));
  } else stepCoroutine(task, coroutine);
}

function stepCoroutine(
  task: Task<unknown>,
  coroutine: Iterator<Suspension, unknown, unknown>,
): void {
  current.task = task;
  current.stepper = task;
  let step: IteratorResult<Suspension, unknown>;
  try {
    if (task.interruption === NOT_INTERRUPTED) {
      task.waitingOn = null;
      step = nextOfGenerator.call(coroutine);
    } else {
      const error = takeInterruption(task);
      task.waitingOn = null;
      step = coroutine.throw!(error);
    }
  } catch (error) {
    current.task = null;
    task["endWithError"](error);
    return;
  }
  current.task = null;
  if (step.done === true) {
    task["endWithValue"](step.value);
    return;
  }
  suspend(task, step.value, lastYielded);
  if (task["extras"] !== null && task["extras"].levels > 0) {
    task["throwLevel"](task);
  }
}

/** The first step: finds out what the body is. */
function startTask(task: Task<unknown>): void {
  const body = task["body"];
  if (body === PROMISED) return; // queued once more by a cancellation; its waits deal with that
  task["body"] = null;
  if (task.interruption !== NOT_INTERRUPTED) {
    // Cancelled before it began: the body never runs.
    if (typeof body !== "function" && body instanceof Operation) body["drop"]();
    task["endWithError"](takeInterruption(task));
    return;
  }
  current.task = task;
  current.stepper = task;
  let product: unknown;
  try {
    // A generator function only makes its generator here. Anything else may be
    // an async function, whose continuations have to find their task again.
    product = typeof body !== "function"
      ? body
      : isGeneratorFunction(body)
      ? body()
      : startOwned(task, body as () => unknown);
    if (task["promised"]) {
      current.task = null;
      return;
    }
    if (product instanceof Operation || product instanceof Future) {
      // What `() => sleep(5)` gives: waited for like in a generator. It does not
      // begin if the function has cancelled the task.
      if (product instanceof Operation) product["claim"]();
      task["coroutine"] = asGenerator(product);
    } else if (isGenerator(product)) {
      const coroutine = product as Iterator<Suspension, unknown, unknown>;
      task["coroutine"] = coroutine.next === nextOfGenerator
        ? coroutine
        : asGenerator({ [Symbol.iterator]: () => coroutine });
    }
  } catch (error) {
    current.task = null;
    task["endWithError"](error);
    return;
  }
  current.task = null;
  if (task["coroutine"] !== null) stepTask(task);
  else if (isThenable(product)) {
    task["startPromise"](product as PromiseLike<unknown>);
  } else task["endWithValue"](product as unknown);
}

/** Calls a function that may be an async one in the async context of the task. */
function startOwned(task: Task<unknown>, body: () => unknown): unknown {
  const enter = task["extras"]?.enter;
  return enter
    ? enter(() => runOwned(task, beginBody, task, body))
    : runOwned(task, beginBody, task, body);
}

function beginBody(task: Task<unknown>, body: () => unknown): unknown {
  const product = body();
  if (isNative(product)) task["startPromise"](product);
  return product;
}

const thenOfPromise = Promise.prototype.then;

/** Whether `value` is a promise that calls back in the async context in which it was asked to. */
function isNative(value: unknown): value is Promise<unknown> {
  return value instanceof Promise && value.then === thenOfPromise;
}

// What is called back is found by the async context, so that all tasks share
// two functions, instead of each having two, and a scope for them.

function bodyFulfilled(value: unknown): void {
  (ownerOfContinuation() as Task<unknown>)["promiseSettled"](false, value);
}

function bodyRejected(error: unknown): void {
  (ownerOfContinuation() as Task<unknown>)["promiseSettled"](true, error);
}

/** The error for a reason, which may be one already. */
function cancellation(reason: unknown): CancelledError {
  return reason instanceof CancelledError ? reason : new CancelledError(reason);
}

function isGenerator(value: unknown): boolean {
  return typeof value === "object" && value !== null &&
    typeof (value as { next?: unknown }).next === "function" &&
    typeof (value as { throw?: unknown }).throw === "function" &&
    !(value instanceof Future);
}

function isThenable(value: unknown): boolean {
  return (typeof value === "object" || typeof value === "function") &&
    value !== null &&
    typeof (value as { then?: unknown }).then === "function";
}

function checkBlockOptions(options: BlockOptions): void {
  const what = "open a block";
  checkOptions(options, what);
  const { cancels = "once", shielded = false } = options;
  checkOneOf(cancels, ["once", "level"], what, "cancels");
  checkOneOf(shielded, [true, false], what, "shielded");
}

/** Throws unless `body` is something a task can run. */
export function checkBody(body: unknown, what: string): void {
  if (
    typeof body === "function" || body instanceof Operation || isGenerator(body)
  ) return;
  const hint = isThenable(body) ? ", pass () => work() instead of work()" : "";
  throw new TypeError(
    `Cannot ${what} as its body must be a generator function, an async function, a coroutine or an operation: received ${
      inspect(body)
    }${hint}`,
  );
}

/** The coroutines that tasks of loops in debug mode were made of. */
const takenCoroutines = new WeakSet<WeakKey>();

/**
 * Says that a task is going to run `body`, which has been checked and is no
 * function. In debug mode it throws if another task was made of the same
 * coroutine: to know that costs more than making the task.
 */
export function takeBody(body: TaskBody<unknown>, loop: EventLoop): void {
  if (body instanceof Operation) claim(body);
  else if (loop?.[core].debugging === true) {
    if (takenCoroutines.has(body)) {
      throw new MisuseError(
        "Cannot create a task: another task was made of the same coroutine, call the generator function again",
      );
    }
    takenCoroutines.add(body);
  }
}
