/**
 * The life of a task group, from the moment it is entered until it is left: its
 * tasks, why it ends early, and what it throws.
 *
 * @module
 */
import { drop, explain } from "../loop/waiters.ts";
import {
  MisuseError,
  TaskGroupClosedError,
  TaskGroupError,
} from "../errors.ts";
import type { Block } from "../loop/block.ts";
import {
  type CancelRequest,
  countAsThrown,
  dueAgain,
  endsAt,
  isCancellation,
  prune,
  requestsBefore,
  type RequestsGo,
  take,
} from "../loop/cancellation.ts";
import type { Future } from "../loop/future.ts";
import { Operation } from "../loop/operation.ts";
import type { Relay } from "../loop/priority_inheritance.ts";
import { subscribe, type Subscription } from "../loop/signal_hub.ts";
import type { Coroutine, TaskBody } from "../loop/task_body.ts";
import type { Task, TaskOptions } from "../loop/task.ts";
import type { WaitFacts } from "../loop/waits.ts";
import { LinkedList } from "../structures/linked_list.ts";
import type { BlockBody } from "./block_body.ts";
import { discarding } from "./discarding.ts";
import { GroupSlots } from "./group_slots.ts";
import {
  type Child,
  type ChildOwner,
  ChildTask,
  ForeignChild,
} from "./group_tasks.ts";
import { JointFuture } from "./joint_future.ts";
import { lenderOf, returning } from "./lending.ts";
import { LendingTask } from "./lending_futures.ts";
import { LimitedTask } from "./limited_task.ts";
import { relayOutcome, release } from "./watch.ts";
import { isCoroutine } from "./waitable.ts";

/** The options of a group, checked. */
export interface GroupSettings {
  readonly name: string | undefined;
  readonly limit: number;
  readonly discard: boolean;
  readonly signal: AbortSignal | undefined;
}

/** The group in messages. */
export function describeGroup({ name }: GroupSettings): string {
  return name === undefined ? "a task group" : `task group "${name}"`;
}

/**
 * Why a group ends early, and cancels its tasks. The first three cancel the body,
 * too; in the others it has ended, or is cancelled by whoever cancels the group.
 */
type EndCause =
  | "cancel()"
  | "signal"
  | "task failed"
  | "body threw"
  | "wait cancelled"
  | "scope cancelled";

/** An error that was thrown, which may be any value. */
interface Thrown {
  readonly error: unknown;
}

/** A group that was entered. */
export class GroupRun implements ChildOwner {
  readonly task: Task<unknown>;
  readonly group: object;
  readonly slots: GroupSlots | null;
  /** Open while its body runs, closing while it waits for its tasks. */
  #phase: "open" | "closing" | "finished" = "open";
  /** Why it ends early; null as long as it does not. */
  #cause: EndCause | null = null;
  readonly #settings: GroupSettings;
  readonly #block: Block;
  /** The requests to its task when it was entered. */
  readonly #requestsBefore: number;
  /** The tasks that have not ended, in the order of their creation. */
  readonly #children: LinkedList<Child> = new LinkedList();
  #created = 0;
  readonly #errors: unknown[] = [];
  /** The futures for which `start` waits, by the task that it has created. */
  #starting: Map<Task<unknown>, Future<unknown>> | null = null;
  /** The future for which the end of the group waits: the end of the last child. */
  #childrenEnd: ChildrenEnd | null = null;

  constructor(task: Task<unknown>, settings: GroupSettings, group: object) {
    this.task = task;
    this.group = group;
    this.#settings = settings;
    const { limit } = settings;
    this.slots = limit === Infinity ? null : new GroupSlots(limit);
    this.#block = task.openBlock();
    this.#requestsBefore = requestsBefore(this.#block);
    // A scope around that is cancelled cancels the children, also behind a shield of the body.
    this.#block.onLevel(() => {
      this.end("scope cancelled", this.#block.level!.reason);
    });
  }

  get phase(): "open" | "closing" | "finished" {
    return this.#phase;
  }

  get size(): number {
    return this.#children.length;
  }

  /** Tasks that have not ended, in the order of their creation. */
  get tasks(): Task<unknown>[] {
    return [...this.#children].map(({ task }) => task);
  }

  get signal(): AbortSignal {
    return this.#block.signal;
  }

  joined(): Relay | null {
    return this.#childrenEnd?.relayed() ?? null;
  }

  joining(): Future<unknown> | null {
    return this.#childrenEnd;
  }

  slotHolders(): Future<unknown>[] {
    const holders: Future<unknown>[] = [];
    for (const { task } of this.#children) {
      if (task instanceof LimitedTask && task.holdsSlot()) holders.push(task);
    }
    return holders;
  }

  // -- Its tasks --

  createTask<T>(body: TaskBody<T>, options: TaskOptions): Task<T> {
    if (
      this.#cause !== null ||
      (this.#phase !== "open" && this.#children.length === 0)
    ) this.#refuse(body, options.name);
    const { loop } = this.task;
    const what = this.#settings.discard ? discarding(body, loop) : body;
    let task: Task<T>;
    let child: Child;
    if (this.slots !== null && !loop.isClosed()) {
      task = child = new LimitedTask<T>(
        this,
        loop,
        what,
        options.eager ? { ...options, eager: false } : options,
      );
    } else if (loop.getTaskFactory() === null && !loop.isClosed()) {
      task = child = this.task instanceof LimitedTask
        ? new LendingTask<T>(this, loop, what, options)
        : new ChildTask<T>(this, loop, what, options);
    } else {
      task = loop.createTask<T>(what, options);
      child = new ForeignChild(this, task as Task<unknown>);
    }
    this.#add(child);
    return task;
  }

  #add(child: Child): void {
    this.#created++;
    this.#children.append(child);
    this.#childrenEnd?.dependOn(child.task);
    if (child.task.done()) this.childDone(child);
    // The task may have cancelled the group in an eager first step, before it
    // was in the list.
    else if (this.#cause !== null) child.task.cancel();
    else this.#cancelInScope(child);
  }

  /**
   * A group that is entered in a cancelled scope takes tasks until its body waits, but
   * they do not wait for the end of a body that is in a shield.
   */
  #cancelInScope(child: Child): void {
    const level = this.#block.outerLevel;
    if (level !== null) child.task.cancel(level.reason);
  }

  #refuse(body: TaskBody<unknown>, name: string | undefined): never {
    const isOver = this.#phase === "finished" ||
      this.#children.length === 0 && this.#cause === null;
    refuseTask(
      this.#settings,
      body,
      name,
      isOver ? "is over" : "is shutting down",
    );
  }

  childDone(child: Child): void {
    if (!this.#children.remove(child)) return;
    const ended = child.task;
    this.#lookAt(ended);
    // Not before, as a failure cancels the tasks in line.
    if (this.slots !== null && ended instanceof ChildTask) ended.giveBack();
  }

  /** Draws the consequences of how a child has ended. */
  #lookAt(ended: Task<unknown>): void {
    if (this.#childrenEnd !== null && this.#children.length === 0) {
      release(this.#childrenEnd);
    }
    const starting = this.#starting?.get(ended);
    if (starting !== undefined && !starting.done()) {
      this.#endedBeforeStart(ended, starting);
      return;
    }
    if (!ended.failed()) return;
    const error = ended.exception();
    if (this.task.done() || this.#phase === "finished") {
      this.#reportLate(ended, error);
    } else {
      this.#errors.push(error);
      this.end("task failed");
    }
  }

  #reportLate(ended: Task<unknown>, exception: unknown): void {
    const { name } = ended;
    this.task.loop.callExceptionHandler({
      message: `Task "${name}" failed, and ${
        this.task.done()
          ? "the task that owns its group has ended"
          : "its group is over"
      }`,
      exception,
      task: ended,
      name,
    });
  }

  // -- Tasks that say when they have started --

  /** `start` waits for `future`: how `task` ends before that is no failure of the group. */
  enterStarting(task: Task<unknown>, future: Future<unknown>): void {
    // An eager task has ended before it was noted.
    if (task.done() && !task.failed() && !future.done()) {
      this.#endedBeforeStart(task, future);
    }
    (this.#starting ??= new Map()).set(task, future);
  }

  /** From now on a failure of `task` is one of the group. */
  leaveStarting(task: Task<unknown>): void {
    this.#starting!.delete(task);
  }

  #endedBeforeStart(child: Task<unknown>, starting: Future<unknown>): void {
    if (child.cancelled() || child.failed()) {
      relayOutcome(child as Future<unknown>, starting);
      return;
    }
    starting.setException(
      new MisuseError(
        `Cannot start task "${child.name}": it ended without calling started()`,
      ),
    );
  }

  // -- Its end --

  /**
   * Ends the group early: cancels its tasks, and the body where the cause is the
   * group's own. Only the first cause counts.
   */
  end(cause: EndCause, reason?: unknown): void {
    if (this.#cause !== null || this.#phase === "finished") return;
    this.#cause = cause;
    for (const { task } of this.#children) {
      if (!task.done()) task.cancel(reason);
    }
    if (this.#cancelsBody()) this.#block.cancel(reason);
  }

  /** Whether the group has made a request to its own task. */
  #cancelsBody(): boolean {
    const cause = this.#cause;
    return cause === "cancel()" || cause === "signal" ||
      cause === "task failed";
  }

  /** Runs the body, waits for the tasks, and ends as the group ends. */
  *through<G, T>(body: BlockBody<G, T>, group: G): Coroutine<T> {
    const subscription = this.#subscribe();
    let value: T | undefined;
    let failure: Thrown | null = null;
    try {
      value = yield* this.#block.run(body, group);
    } catch (error) {
      failure = { error };
    }
    this.#phase = "closing";
    const isOwn = failure !== null && this.#isOwn(failure.error);
    if (failure !== null) this.end("body threw");
    const interruption = yield* this.#joinChildren();
    this.#phase = "finished";
    subscription?.unsubscribe();
    const outcome = this.#outcome(failure, isOwn, interruption);
    if (outcome !== null) throw outcome.error;
    return value as T;
  }

  #subscribe(): Subscription | null {
    const { signal } = this.#settings;
    return signal === undefined
      ? null
      : subscribe(signal, () => this.end("signal", signal.reason));
  }

  /** Waits for the children; the task's own slot, if it has one, is lent meanwhile. */
  *#joinChildren(): Coroutine<Thrown | null> {
    if (this.#children.length === 0) return null;
    const lender = lenderOf(this.task);
    lender?.lend();
    const interruption = yield* this.#join();
    if (lender === null) return interruption;
    const late = yield* returning(lender);
    if (interruption !== null || late === null) return interruption;
    // The group's own request may have ended the wait for the slot.
    return this.#isOwn(late.error) ? null : late;
  }

  /**
   * Waits for the children, whatever happens; returns the first interruption.
   *
   * A request that comes when the children are being cancelled already does not
   * shorten the wait: it stays due until the group is left.
   */
  *#join(): Coroutine<Thrown | null> {
    let interruption: Thrown | null = null;
    while (this.#children.length > 0) {
      this.#childrenEnd = new ChildrenEnd(
        this,
        this.#children,
        `the tasks of ${describeGroup(this.#settings)}`,
        () => this.#cause !== null,
      );
      try {
        yield* this.#childrenEnd;
      } catch (error) {
        // A request that came when the children were being cancelled is due later.
        if (!this.#childrenEnd.isWoken()) interruption ??= { error };
        this.end("wait cancelled");
        // No task goes through this, but `[...taskGroup()]`: it would for ever.
        if (error instanceof MisuseError) break;
      }
    }
    this.#childrenEnd = null;
    return interruption;
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
    const block = this.#block;
    const { opener } = block;
    const cancelled = failure !== null && isCancellation(failure.error);
    const thrown = interruption ?? (cancelled && !isOwn ? failure : null);
    if (this.#cancelsBody()) block.uncancel();
    const requests = block.cancelling();
    const level = block.outerLevel;
    block.close();
    const error = this.#failures(cancelled ? null : failure);
    if (error !== null) {
      // The cancellation arrives at the next wait, and counts once, as before.
      if (requests > 0) dueAgain(this.task, opener);
      return { error };
    }
    if (thrown !== null) {
      countAsThrown(opener);
      return thrown;
    }
    if (level !== null || this.#cancelsBody()) {
      const due = prune(opener, level);
      if (due !== null) return { error: take(opener, due, null) };
      if (level !== null) return { error: level.reason };
    }
    return this.#cause === "signal"
      ? { error: this.#settings.signal!.reason }
      : null;
  }

  /** Whether it is the group's own cancellation, and nobody else's, that has ended the body. */
  #isOwn(error: unknown): boolean {
    if (!this.#cancelsBody()) return false;
    const block = this.#block;
    const requestsLeft = block.cancelling() - block.ownRequests;
    return endsAt(block, error, requestsLeft, this.#requestsBefore);
  }

  /** All failures as one error: of the tasks, then of the body; null if nothing failed. */
  #failures(ofBody: Thrown | null): TaskGroupError | null {
    const failed = this.#errors.length;
    const errors = this.#errors.splice(0);
    if (ofBody !== null) errors.push(ofBody.error);
    if (errors.length === 0) return null;
    const who = ofBody === null
      ? `${failed} of ${this.#created} tasks`
      : failed === 0
      ? "The body"
      : `The body and ${failed} of ${this.#created} tasks`;
    return new TaskGroupError(
      errors,
      `${who} failed in ${describeGroup(this.#settings)}`,
    );
  }
}

/** Throws at whoever asks a group for a task that it does not take. A coroutine is closed without having begun. */
export function refuseTask(
  settings: GroupSettings,
  body: TaskBody<unknown>,
  name: string | undefined,
  state: string,
): never {
  if (isCoroutine(body)) body.return(undefined);
  // An operation that can no longer be waited for must not be missed either.
  else if (body instanceof Operation) body[drop]();
  throw new TaskGroupClosedError(
    `Cannot create ${name === undefined ? "a task" : `task "${name}"`} in ${
      describeGroup(settings)
    }: it ${state}`,
  );
}

/** The end of all children of a group. A cancellation ends the wait for it once. */
class ChildrenEnd extends JointFuture<void> {
  readonly #owner: ChildOwner;
  readonly #children: LinkedList<Child>;
  readonly #isEnding: () => boolean;
  #isWoken = false;

  constructor(
    owner: ChildOwner,
    children: LinkedList<Child>,
    label: string,
    isEnding: () => boolean,
  ) {
    super(owner.task.loop, label);
    this.#owner = owner;
    this.#children = children;
    this.#isEnding = isEnding;
  }

  protected override *awaited(): Iterable<Future<unknown>> {
    for (const { task } of this.#children) yield task;
  }

  override [explain](): WaitFacts {
    const { behind } = super[explain]();
    return { kind: "taskGroup", target: this.#owner.group, behind };
  }

  override requestsGo(_request: CancelRequest): RequestsGo {
    return this.#isEnding() ? "after" : "here";
  }

  override cancel(reason?: unknown): boolean {
    if (!this.done()) this.#isWoken = this.#isEnding();
    return super.cancel(reason);
  }

  /** Whether the request that has ended the wait is due later. */
  isWoken(): boolean {
    return this.#isWoken;
  }
}
