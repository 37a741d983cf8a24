import {
  becomeKnown,
  describeWait,
  destroy,
  drop,
  inWords,
  isHandingOn,
  locals,
  mayBeAsync,
  pressureOf,
  urgencyOfEnd,
  urgencyOfTask,
} from "./waiters.ts";
import { CancelledError, MisuseError } from "../errors.ts";
import { ownerOfContinuation, runOwned } from "../host/async_context.ts";
import { Block, type BlockOptions, findPlace } from "./block.ts";
import {
  cancellation,
  cancellationIn,
  type Due,
  hold,
  levelAt,
  Request,
  requestCancel,
  takeBack,
  toThrow,
} from "./cancellation.ts";
import { core } from "./core.ts";
import {
  checkOneOf,
  checkOptions,
  checkString,
  inspect,
  isGeneratorFunction,
  isSteppable,
  isThenable,
} from "./checks.ts";
import { current, findTask, type LocalValue } from "./current.ts";
import type { EventLoop } from "./event_loop.ts";
import { Future, lastYielded, type Suspension } from "./future.ts";
import type { TimerHandle } from "./timer_handle.ts";
import { checkTaskOptions, NO_OPTIONS } from "./loop_options.ts";
import { claim, Operation } from "./operation.ts";
import { type Stepper, suspend } from "./stepping.ts";
import { dropWaits, findStrand, InnerStrand } from "./strand.ts";
import {
  type AnyWait,
  type DueYields,
  listWaits,
  type Strand,
} from "./strand_tree.ts";
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
  /** The block of the whole task, around all others: the root of its strands. */
  root: Block | null = null;
  /** The innermost block that the task's own generator has open. */
  block: Block | null = null;
  /** The requests that were made and may not have been thrown yet. */
  requests: Request[] = [];
  /** Given to the last call of `cancel`, for a signal that is asked for later. */
  lastReason: unknown = undefined;
  /** How many of the requests that count were made by open blocks. */
  requestsOfBlocks = 0;
  /** The `sleep(0)` in the ready queue that have to throw. */
  dueYields: DueYields | null = null;
  /** How many blocks its async function has opened by itself, and is in. */
  openedInside = 0;
  /** Cancels the task when its signal aborts. */
  subscription: TaskListener | null = null;
  /** Set while a request is handed on to whatever the task waits for. */
  handingOn = false;
  /** Runs when a request has found no wait to be thrown into, for too long. */
  warning: TimerHandle | null = null;
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
export class Task<T> extends Future<T> implements Stepper, Strand {
  /** A number that no other task of this process has. */
  readonly id: number = ++idLast;
  /** What is to be run, until the first step; then null, or PROMISED for good. */
  private body: TaskBody<T> | typeof PROMISED | null;
  /** The generator, if it is one, from the first step to the end. */
  private coroutine: Iterator<Suspension, T, unknown> | null = null;
  private parentTask: Task<unknown> | null;
  private requests = 0;
  /** How many `sleep(0)` of its async function are in the ready queue. @ignore */
  yields = 0;
  /** The first of the waits of its async function; its `previousWait` is the last. @ignore */
  waits: AnyWait | null = null;
  /** The future that its generator waits for. @ignore */
  waitingOn: Future<unknown> | null = null;
  /** The requests that are thrown next. @ignore */
  due: Due | null = null;
  /**
   * The reason of the last request that was not thrown at once, also after the
   * end: `gather` asks for it, as CPython does.
   *
   * @ignore
   */
  heldReason: unknown = undefined;
  /** @ignore */
  [locals]: LocalValue | null;
  private extras: Extras | null = null;
  /** Null where nothing was said of priorities, on a loop that does not go by them. */
  /** @ignore */
  [urgencyOfTask]: Urgency | null = null;
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
    if (parent === null) this[locals] = null;
    else {
      this[locals] = parent[locals];
      parent[becomeKnown]();
    }
    if (
      loop[core].ranking !== null || options.priority !== undefined ||
      parent !== null && parent[urgencyOfTask] !== null
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
    const inherited = this.parentTask?.[urgencyOfTask]?.base ??
      DEFAULT_PRIORITY;
    this[urgencyOfTask] = new Urgency(
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
    return this[urgencyOfTask] === null
      ? DEFAULT_PRIORITY
      : this[urgencyOfTask].base;
  }

  /**
   * How urgent the task is at this moment, on a loop with a scheduler: its
   * {@linkcode priority}, or that of the most urgent among those who wait for it
   * or for what it holds, if that is higher.
   */
  get effectivePriority(): number {
    return this[urgencyOfTask] === null
      ? DEFAULT_PRIORITY
      : this[urgencyOfTask].effective;
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
    if (this[urgencyOfTask] === null) this.rank(base);
    else this[urgencyOfTask].setBase(base);
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
      ? findStrand()!.place
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
    // An async function, which has no stepper, opens it in the strand it runs in.
    const openedIn = opener === this as Stepper && this.coroutine === null
      ? findTask() === task ? findStrand()! : this.innermostStrand
      : null;
    const strand = openedIn ?? opener.innermostStrand;
    const around = strand instanceof InnerStrand ? strand : this.rootBlock();
    return new Block(task, around, opener, options, openedIn);
  }

  /** The block of the task as a whole, made on first use. @ignore */
  rootBlock(): Block {
    const extras = this.extra();
    if (extras.root === null) {
      const task = this as Task<unknown>;
      extras.root = new Block(task, null, this, NO_BLOCK_OPTIONS, null);
      if (this.requests > 0) {
        extras.root.abort(cancellation(extras.lastReason));
      }
    }
    return extras.root;
  }

  /** The root of the blocks of the task; null if it never had one. @ignore */
  get blockTree(): Block | null {
    return this.extras === null ? null : this.extras.root;
  }

  /** @ignore */
  get block(): Block | null {
    return this.extras === null ? null : this.extras.block;
  }

  /** @ignore */
  set block(block: Block | null) {
    if (this.extras !== null || block !== null) this.extra().block = block;
  }

  /** @ignore */
  get innermostBlock(): Block | null {
    return this.extras === null ? null : this.extras.block;
  }

  /** @ignore */
  get innermostStrand(): Strand {
    return this.block ?? this;
  }

  /** As in CPython. @ignore */
  get replacesFailures(): boolean {
    return true;
  }

  /** Code of the user's may hold this task: it was handed out, or has made a task. */
  [becomeKnown](): void {}

  /** Whether nothing is left in the task of what it has done so far. */
  protected isUntouched(): boolean {
    if (
      this.requests > 0 || this.yields > 0 || this.due !== null ||
      this.waits !== null || this.hasOtherWaiters()
    ) return false;
    const { extras } = this;
    return extras === null ||
      extras.root === null && extras.warning === null &&
        extras.subscription === null && extras.dueYields === null;
  }

  /** Whether somebody else than the task itself waits for its end. */
  private hasOtherWaiters(): boolean {
    const { waiters } = this as unknown as { waiters: unknown };
    return waiters !== null && waiters !== this;
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
    return requestCancel(this as Task<unknown>, null, reason);
  }

  /** A request was taken: it counts from now on. @ignore */
  noteRequest(request: Request): void {
    const extras = this.extra();
    this.requests++;
    extras.lastReason = request.reason;
    extras.requests = extras.requests.filter(isDue);
    extras.requests.push(request);
    if (request.block === null) return;
    extras.requestsOfBlocks++;
    request.block.noteRequest(request);
  }

  /** A block with so many outstanding requests is closed, or has taken one back. @ignore */
  forgetRequestsOfBlock(count: number): void {
    if (this.extras !== null) this.extras.requestsOfBlocks -= count;
  }

  /** The requests that concern a block: all but those of blocks beside it and inside. @ignore */
  requestsAt(block: Block): number {
    const { extras } = this;
    if (this.requests === 0 || extras === null) return this.requests;
    let requests = this.requests - extras.requestsOfBlocks;
    for (let at: Block | null = block; at !== null; at = at.outer) {
      requests += at.ownRequests;
    }
    return Math.max(requests, 0);
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
    if (this.requests > 0) return this.requests;
    const { extras } = this;
    if (extras !== null) {
      takeBack(extras.requests);
      extras.requests = [];
      extras.lastReason = undefined;
      extras.root?.renewInside();
    }
    return 0;
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
      `Cannot set the result of ${this[inWords]()}: its body decides it`,
    );
  }

  /**
   * Not for tasks: a task fails with what its body throws.
   *
   * @throws {MisuseError} Always.
   */
  override setException(_error: unknown): never {
    throw new MisuseError(
      `Cannot set the exception of ${this[inWords]()}: its body decides it`,
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

  /** Whether it is an async function, which has begun. @ignore */
  get promised(): boolean {
    return this.body === PROMISED;
  }

  /** Waits for the promise of an async function, which has begun. */
  private startPromise(promise: PromiseLike<T>): void {
    this.body = PROMISED;
    this.loop[core].outside.asyncTaskStarted();
    if (this.isOutside()) this.loop[core].outside.wentOutside();
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
    if (this.isOutside()) this.loop[core].outside.cameInside();
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
    const request = this.dueRequest();
    this.end();
    // Cancelled too late to be thrown, but not too late to count.
    if (request !== null) super.cancel(request.reason);
    else this.succeed(value);
  }

  /** The newest request to the task as a whole that has not been thrown. @ignore */
  dueRequest(): Request | null {
    if (this.extras === null) return null;
    return this.extras.requests.findLast(isDueAtTask) ?? null;
  }

  /** Ends the future with a value. */
  private succeed(value: T): void {
    super.setResult(value);
  }

  /** The body has thrown. */
  private endWithError(error: unknown): void {
    this.end();
    const cancelled = cancellationIn(error);
    if (cancelled !== null) this.finishCancelled(cancelled);
    else this.fail(error);
  }

  /** Lets go of the body and of all that the task needs no more. */
  private end(): void {
    this.coroutine = null;
    if (this.body !== PROMISED) this.body = null;
    this.waitingOn = null;
    this.parentTask = null;
    this[locals] = null;
    this.loop[core].tasks.remove(this as Task<unknown>);
    if (this[urgencyOfTask] !== null) this[urgencyOfTask].end();
    this.due = null;
    const { extras } = this;
    if (extras !== null) {
      this.extras = null;
      extras.subscription?.unsubscribe();
      extras.warning?.cancel();
      extras.root?.endTask();
    }
    for (const wait of dropWaits(this)) wait.abandon();
  }

  /** The loop closes while the task is unfinished: whoever waits outside is told. */
  [destroy](reason: CancelledError): void {
    if (this.promised) {
      if (this.isOutside()) this.loop[core].outside.cameInside();
      this.loop[core].outside.asyncTaskEnded();
    }
    this.end();
    super.cancel(reason);
  }

  /** Has the loop report the task if it does not react to its cancellation. @ignore */
  warnIfStuck(): void {
    const extras = this.extra();
    if (extras.warning !== null) return;
    extras.warning = this.loop[core].warnOfStuckTask(this as Task<unknown>);
  }

  /** It has reacted: an async function waits in an operation. @ignore */
  calmDown(): void {
    const { extras } = this;
    if (extras === null || extras.warning === null) return;
    extras.warning.cancel();
    extras.warning = null;
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
    // In a cancelled scope each wait throws anyway, and none outside of it.
    if (this.done() || levelAt(findPlace())?.reason === error) return;
    const isStepping = current.loop !== null &&
      current.task === this as unknown;
    this.rearm(isStepping ? current.stepper! : this, error);
  }

  /**
   * Makes a request due again that was thrown, without counting it once more: it
   * arrives at the next wait of `stepper`.
   *
   * @ignore
   */
  rearm(stepper: Stepper, reason: unknown): void {
    const request = new Request(null, reason, false);
    this.extra().requests.push(request);
    hold(stepper, request);
  }

  /**
   * Tells whether every wait at this place of the task throws, as a scope around
   * it was cancelled.
   *
   * @returns Whether a level cancellation applies here.
   */
  isLevelCancelled(): boolean {
    return levelAt(findPlace()) !== null;
  }

  // -- Its body as a strand --

  /** @ignore */
  get inner(): Iterable<Strand> | null {
    return null; // those inside are in the tree of blocks
  }

  /** @ignore */
  get level(): Request | null {
    return null;
  }

  /** @ignore */
  get place(): Block | null {
    return this.block;
  }

  /** @ignore */
  get dueYields(): DueYields | null {
    return this.extras === null ? null : this.extras.dueYields;
  }

  /** @ignore */
  set dueYields(due: DueYields | null) {
    this.extra().dueYields = due;
  }

  /** @ignore */
  isOutside(): boolean {
    return this.promised && this.waits === null &&
      (this.extras === null || this.extras.openedInside === 0);
  }

  /** @ignore */
  listWaits(): readonly AnyWait[] {
    return this.waits === null ? NO_WAITS : listWaits(this.waits);
  }

  /** @ignore */
  interruptYields(request: Request): void {
    this.dueYields = { left: this.yields, request };
  }

  /** @ignore */
  step(into: boolean): void {
    const { loop } = this;
    const wasOutside = this.isOutside();
    this.extra().openedInside += into ? 1 : -1;
    const isOutside = this.isOutside();
    if (wasOutside && !isOutside) loop[core].outside.cameInside();
    if (!wasOutside && isOutside) loop[core].outside.wentOutside();
  }

  /** @ignore */
  inheritLevel(): void {}

  /** @ignore */
  abort(): void {}

  /** @ignore */
  levelCame(): void {}

  /** Whether it will begin by calling what may be an async function. */
  [mayBeAsync](): boolean {
    if (typeof this.body !== "function") return false;
    try {
      return !isGeneratorFunction(this.body);
    } catch {
      return true; // a proxy, of which the first step will tell
    }
  }

  /** What the task waits for, in words. */
  [describeWait](): string {
    if (this.waitingOn !== null) return this.waitingOn[inWords]();
    const waits = this.listWaits().map((wait) => wait.describe());
    if (waits.length > 0) return waits.join(" and ");
    return this.promised ? "a promise outside the loop" : "its turn";
  }

  /** How urgent it is that its end is dealt with, where the task does that itself: an `Urgency`. */
  [urgencyOfEnd](): object | null {
    return this[urgencyOfTask];
  }

  /** What those share who wait for the end of the task. */
  override [pressureOf](): object | null {
    return this[urgencyOfTask] === null ? null : this[urgencyOfTask].pressure;
  }

  /** Whether a cancellation that the task hands on to others is on its way through them. */
  override [isHandingOn](): boolean {
    return this.extras !== null && this.extras.handingOn;
  }

  /** @ignore */
  setHandingOn(isOn: boolean): void {
    if (this.extras !== null) this.extras.handingOn = isOn;
  }

  /** What to call the task in messages. */
  override [inWords](): string {
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
    const thrown = task.due === null ? undefined : toThrow(task);
    task.waitingOn = null;
    step = thrown === undefined
      ? nextOfGenerator.call(coroutine)
      : coroutine.throw!(thrown.error);
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
}

/** The first step: finds out what the body is. */
function startTask(task: Task<unknown>): void {
  const body = task["body"];
  if (body === PROMISED) return; // queued once more by a cancellation; its waits deal with that
  task["body"] = null;
  if (task.due !== null && mayRefuse(body)) {
    const thrown = toThrow(task);
    if (thrown !== undefined) {
      // Cancelled before it began: the body never runs.
      if (typeof body !== "function" && body instanceof Operation) {
        body[drop]();
      }
      task["endWithError"](thrown.error);
      return;
    }
  }
  current.task = task;
  current.stepper = task;
  let product: unknown;
  let promise: PromiseLike<unknown> | null = null;
  try {
    // A generator function only makes its generator here. Anything else may be
    // an async function, whose continuations have to find their task again.
    product = typeof body !== "function"
      ? body
      : isGeneratorFunction(body)
      ? body()
      : startOwned(task, body as () => unknown);
    if (!task.promised) {
      task["coroutine"] = coroutineOf(product);
      if (task["coroutine"] === null && isThenable(product)) promise = product;
    }
  } catch (error) {
    current.task = null;
    task["endWithError"](error);
    return;
  }
  current.task = null;
  if (task.promised) return;
  if (task["coroutine"] !== null) stepTask(task);
  else if (promise !== null) task["startPromise"](promise);
  else task["endWithValue"](product);
}

/** The generator to step for what a body has returned; null if it is to be waited for otherwise. */
function coroutineOf(
  product: unknown,
): Iterator<Suspension, unknown, unknown> | null {
  if (product instanceof Operation || product instanceof Future) {
    // `() => sleep(5)` returns one: waited for like in a generator. It does not
    // begin if the function has cancelled the task.
    if (product instanceof Operation) claim(product);
    return asGenerator(product);
  }
  if (!isGenerator(product)) return null;
  const coroutine = product as Iterator<Suspension, unknown, unknown>;
  return coroutine.next === nextOfGenerator
    ? coroutine
    : asGenerator({ [Symbol.iterator]: () => coroutine });
}

/**
 * Whether a task that is cancelled before its first step need not begin: all but
 * one that was made of an operation that owns something, such as `scoped()`.
 */
function mayRefuse(body: TaskBody<unknown> | null): boolean {
  return typeof body === "function" || !(body instanceof Operation) ||
    !body.ownsResource;
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

function isDue(request: Request): boolean {
  return request.state === "due";
}

function isDueAtTask(request: Request): boolean {
  return request.state === "due" && request.block === null;
}

const NO_WAITS: readonly AnyWait[] = [];

function isGenerator(value: unknown): boolean {
  return isSteppable(value) && !(value instanceof Future);
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
