/**
 * Endings in a load balancer: the shutdown of the whole, and of members that are
 * removed.
 *
 * @module
 */
import type { CancelledError } from "../errors.ts";
import { cancellationIn } from "../loop/cancellation.ts";
import { getRunningLoop } from "../loop/current.ts";
import type { EventLoop } from "../loop/event_loop.ts";
import type { Coroutine } from "../loop/task_body.ts";
import type { Task } from "../loop/task.ts";
import type { TimerHandle } from "../loop/timer_handle.ts";
import { shield } from "../structured/shield.ts";
import type { WaitQueue } from "../sync/wait_queue.ts";
import type { BalancerCore } from "./balancer_core.ts";
import type { Member } from "./balancer_member.ts";
import type { Executor } from "./executor.ts";
import type { ShutdownSettings } from "./pool_shutdown.ts";

/**
 * Shutdowns, in tasks of their own: whoever waits for one may be cancelled, and
 * it goes on.
 */
export class BalancerClosing {
  readonly #core: BalancerCore;
  #task: Task<void> | null = null;
  /** Tasks that end removed members. */
  readonly #removals = new Map<Member, Task<void>>();
  /** Moment at which the jobs that are left are cancelled. */
  #dueMs = Infinity;
  #timer: TimerHandle | null = null;
  #cancelPending = false;

  constructor(core: BalancerCore) {
    this.#core = core;
  }

  /** Shuts the balancer down, or joins the shutdown. */
  *shutDown(settings: ShutdownSettings): Coroutine<void> {
    const loop = getRunningLoop();
    this.#core.bind(loop);
    if (settings.cancelPending) this.#cancelPending = true;
    this.#core.leave(settings.cancelPending ? "pending" : "none");
    this.#limit(loop, settings.graceMs);
    if (this.#task === null || this.#task.loop.isClosed()) {
      const name = `shutdown of ${this.#core.inWords}`;
      this.#task = loop.createTask(() => this.#close(), { name });
    }
    yield* shield(this.#task);
  }

  /**
   * Removes a member and waits for its last jobs and, if it is to be, for its
   * shutdown; joins the removal if there is one.
   */
  *remove(member: Member, isShutDown: boolean): Coroutine<void> {
    const core = this.#core;
    const loop = getRunningLoop();
    core.bind(loop);
    if (member.standing !== "removed") {
      core.remove(member);
      const task = loop.createTask(() => this.#end(member, isShutDown), {
        name: `end of ${member.name}`,
      });
      this.#removals.set(member, task);
      task.addDoneCallback(() => this.#removals.delete(member));
    }
    const task = this.#removals.get(member);
    if (task !== undefined) yield* shield(task);
  }

  /** Has the jobs that are left cancelled after a time, unless they are to be sooner. */
  #limit(loop: EventLoop, graceMs: number): void {
    const dueMs = loop.time() + graceMs;
    if (dueMs >= this.#dueMs) return;
    this.#dueMs = dueMs;
    this.#timer?.cancel();
    this.#timer = null;
    if (this.#core.isIdle) return;
    this.#timer = loop.callAt(dueMs, () => this.#core.leave("all"));
  }

  *#close(): Coroutine<void> {
    const core = this.#core;
    const errors: unknown[] = [];
    const isOver = () => core.isIdle;
    const cancelled = yield* waitUntil(isOver, core.idle, () => {
      core.leave("all");
    });
    this.#timer?.cancel();
    this.#timer = null;
    const tasks = [...this.#removals.values()];
    if (core.settings.ownsMembers) {
      for (const { executor, name } of core.members.values()) {
        tasks.push(this.#shutDownMember(executor, name, cancelled !== null));
      }
    }
    for (const task of tasks) yield* collect(task, errors);
    if (cancelled !== null) errors.unshift(cancelled);
    throwAll(errors, core.inWords);
  }

  *#end(member: Member, isShutDown: boolean): Coroutine<void> {
    const errors: unknown[] = [];
    const isOver = () => member.running === 0;
    const cancelled = yield* waitUntil(isOver, member.idleLine, () => {});
    if (isShutDown) {
      const { executor, name } = member;
      const task = this.#shutDownMember(executor, name, cancelled !== null);
      yield* collect(task, errors);
    }
    if (cancelled !== null) errors.unshift(cancelled);
    throwAll(errors, member.name);
  }

  /** Begins the shutdown of a member, which has no more jobs of this balancer. */
  #shutDownMember(
    executor: Executor,
    name: string,
    isHasty: boolean,
  ): Task<void> {
    const loop = getRunningLoop();
    const graceMs = isHasty ? 0 : Math.max(0, this.#dueMs - loop.time());
    const cancelPending = isHasty || this.#cancelPending;
    return loop.createTask(function* () {
      yield* executor.shutdown({ graceMs, cancelPending });
    }, { name: `shutdown of ${name}` });
  }
}

/**
 * Waits until something is over, whatever comes: a cancellation calls
 * `onCancel`, and is returned in the end.
 */
function* waitUntil(
  isOver: () => boolean,
  line: WaitQueue,
  onCancel: () => void,
): Coroutine<CancelledError | null> {
  let cancelled: CancelledError | null = null;
  while (!isOver()) {
    const waiter = line.enter(undefined);
    try {
      yield* waiter;
    } catch (error) {
      const cancellation = cancellationIn(error);
      if (cancellation === null) throw error;
      cancelled ??= cancellation;
      onCancel();
    } finally {
      line.leave(waiter);
    }
  }
  return cancelled;
}

/** Waits for a task, and adds its error to others. */
function* collect(task: Task<void>, errors: unknown[]): Coroutine<void> {
  try {
    yield* task;
  } catch (error) {
    errors.push(error);
  }
}

/** Throws the failures among errors; if there are only cancellations, the first. */
function throwAll(errors: readonly unknown[], what: string): void {
  const failures = errors.filter((error) => cancellationIn(error) === null);
  if (failures.length > 1) {
    throw new AggregateError(
      failures,
      `Cannot end ${what}: ${failures.length} shutdowns failed`,
    );
  }
  if (errors.length > 0) throw failures.length > 0 ? failures[0] : errors[0];
}
