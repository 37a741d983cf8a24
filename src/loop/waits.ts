/**
 * The waits of a task, the things and tasks behind them, and the tasks that wait
 * for a future. All that asks for this asks here: `Task.waits`, `Future.awaitedBy`,
 * deadlock reports and instruments.
 *
 * A future tells of itself by {@linkcode explain}; a waiter, in whose name it
 * waits by {@linkcode onBehalf}. Nothing is noted while programs run, but the turn
 * in which a wait began.
 *
 * @module
 */
import {
  explain,
  inWords,
  isAwaitedBy,
  listWaiters,
  onBehalf,
} from "./waiters.ts";
import type { LoopCore } from "./core.ts";
import { findTask } from "./current.ts";
import type { Future } from "./future.ts";
import type { Runnable } from "./runnable.ts";
import { type AnyWait, strandsInside } from "./strand_tree.ts";
import type { Task } from "./task.ts";

/** How many loops of this process have an instrument: one number to read for all that need not care. */
export const observed = { count: 0 };

/** A wait of a task: see {@linkcode Task.waits}. */
export interface TaskWait {
  /**
   * Kind of the wait: the method or function that waits, such as
   * `"Lock.acquire"`, `"Queue.get"`, `"sleep"`, `"gather"`, `"until"`; `"task"`
   * and `"future"` for these themselves; `"promise"` for a promise that is not of
   * the loop.
   */
  readonly kind: string;
  /**
   * Object that is waited for: the lock, the queue, the limit, the task, the
   * promise of `until`; `null` for a promise that the loop does not know.
   */
  readonly target: object | null;
  /**
   * Tasks that hold it, or by whose end the wait will be over. Through `gather`,
   * `shield`, `wait`, groups and limits these are the tasks at the end. Of
   * queues, channels, flags and conditions nobody knows: there they are the tasks
   * that have woken a waiter of this line while an instrument was there.
   */
  readonly heldBy: readonly Task<unknown>[];
  /** Turn of the loop in which the wait began. */
  readonly sinceTurn: number;
  /** When it began on the loop's clock, in milliseconds; `null` if no instrument was there. */
  readonly sinceMs: number | null;
}

/**
 * Facts about a wait for a future.
 *
 * @internal
 */
export interface WaitFacts {
  readonly kind: string;
  readonly target: object | null;
  /** Futures and tasks behind it. A task counts as it is, any other future for those behind it. */
  readonly behind: Iterable<Future<unknown>>;
  /** The task, if the future is one. */
  readonly task?: Task<unknown>;
  /** Whether the tasks behind it hold it, and may have ended since. */
  readonly isHeld?: boolean;
  /** Whether the work behind it belongs to the waiting task, whose own waits tell more. */
  readonly isInside?: boolean;
}

/**
 * Facts about the wait of a task that has not begun, and is in line for that.
 *
 * @internal
 */
export interface PlaceFacts extends WaitFacts {
  readonly inWords: string;
}

/** Names of operations end with brackets: "Queue.get()". */
const OPERATION = /^([\w.]+)\(.*\)$/;

/** The kind of a wait for a future with this label. */
export function kindOf(label: string): string {
  return OPERATION.exec(label)?.[1] ?? "future";
}

/** A wait that has begun, and is not over. */
interface Pending {
  /** The task itself, or the wait of its async function. */
  readonly waiter: Runnable & { readonly since: number };
  readonly future: Future<unknown>;
}

/** Whether a task is in the ready queue, runs or has ended: it has no waits. */
export function isReady(task: Task<unknown>): boolean {
  if (task.yields > 0) return true;
  const { blockTree, waitingOn } = task;
  if (waitingOn !== null) {
    if (!waitingOn[isAwaitedBy](task)) return true;
  } else if (!task.promised) return true;
  for (const wait of waitsOfStrands(task)) {
    if (!(wait.waitingOn?.[isAwaitedBy](wait) ?? false)) return true;
  }
  return blockTree !== null &&
    strandsInside(blockTree).some((strand) => strand.yields > 0);
}

function waitsOfStrands(task: Task<unknown>): AnyWait[] {
  const waits = [...task.listWaits()];
  const { blockTree } = task;
  if (blockTree === null) return waits;
  for (const strand of strandsInside(blockTree)) {
    waits.push(...strand.listWaits());
  }
  return waits;
}

/** The waits of a task that are not over, in the order in which they began. */
export function pendingWaits(task: Task<unknown>): Pending[] {
  const pending: Pending[] = [];
  const add = (waiter: Pending["waiter"], future: Future<unknown> | null) => {
    if (future !== null && future[isAwaitedBy](waiter)) {
      pending.push({ waiter, future });
    }
  };
  add(task, task.waitingOn);
  for (const wait of waitsOfStrands(task)) add(wait, wait.waitingOn);
  if (pending.length < 2) return pending;
  // The wait for a function inside tells less than the waits of that function.
  const telling = pending.filter(({ future }) => !future[explain]().isInside);
  return telling.length > 0 ? telling : pending.slice(-1);
}

/** Lists what a task waits for: see {@linkcode Task.waits}. */
export function waitsOf(task: Task<unknown>): TaskWait[] {
  if (task.done()) return [];
  const { kernel } = task;
  const place = task.placeInLine();
  if (place !== null) return [describe(kernel, task, place)];
  const pending = pendingWaits(task);
  if (pending.length > 0) {
    return pending.map(({ waiter, future }) =>
      describe(kernel, waiter, future[explain]())
    );
  }
  const isOutside = task.promised && !isReady(task) && findTask() !== task;
  return isOutside ? [describe(kernel, task, OUTSIDE)] : [];
}

const OUTSIDE: WaitFacts = { kind: "promise", target: null, behind: [] };

function describe(
  kernel: LoopCore,
  waiter: Pending["waiter"],
  { kind, target, behind }: WaitFacts,
): TaskWait {
  const { turns, instruments } = kernel;
  return Object.freeze({
    kind,
    target,
    heldBy: Object.freeze(tasksBehind(behind)),
    sinceTurn: turns - ((turns - waiter.since) >>> 0),
    sinceMs: instruments === null ? null : instruments.sinceMsOf(waiter),
  });
}

/** The tasks at the end of all edges, each once. */
function tasksBehind(behind: Iterable<Future<unknown>>): Task<unknown>[] {
  const tasks = new Set<Task<unknown>>();
  const seen = new Set<Future<unknown>>();
  const open: Future<unknown>[] = [...behind];
  // A list that grows, not a call in a call: chains may be long.
  for (const future of open) {
    if (seen.has(future)) continue;
    seen.add(future);
    const facts = future[explain]();
    if (facts.task !== undefined) tasks.add(facts.task);
    else if (!future.done()) open.push(...facts.behind);
  }
  return [...tasks];
}

/** Lists the tasks that wait for a future: see {@linkcode Future.awaitedBy}. */
export function tasksWaitingFor(future: Future<unknown>): Task<unknown>[] {
  const tasks = new Set<Task<unknown>>();
  const seen = new Set<Future<unknown>>();
  const open: Future<unknown>[] = [future];
  for (const awaited of open) {
    if (seen.has(awaited)) continue;
    seen.add(awaited);
    for (const waiter of awaited[listWaiters]()) {
      const whose = waiter[onBehalf]?.(awaited) ?? null;
      if (whose === null) continue;
      const { task } = whose[explain]();
      if (task === undefined) open.push(whose);
      else tasks.add(task);
    }
  }
  return [...tasks];
}

/** Says in words what a task waits for, and who holds it: for deadlock reports. */
export function waitsInWords(task: Task<unknown>): string {
  const place = task.placeInLine();
  if (place !== null) return place.inWords;
  if (task.waitingOn !== null) return futureInWords(task.waitingOn);
  const waits = task.listWaits().map((wait) =>
    wait.waitingOn === null ? wait[inWords]() : futureInWords(wait.waitingOn)
  );
  if (waits.length > 0) return waits.join(" and ");
  return task.promised ? "a promise outside the loop" : "its turn";
}

/** How many holders a report names. */
const HOLDERS_NAMED_MAX = 3;

function futureInWords(future: Future<unknown>): string {
  const { isHeld, behind } = future[explain]();
  const holders = isHeld ? tasksBehind(behind) : [];
  if (holders.length === 0) return future[inWords]();
  const named = holders.slice(0, HOLDERS_NAMED_MAX).map((task) =>
    task[inWords]()
  );
  const more = holders.length - named.length;
  if (more > 0) named.push(`${more} more`);
  return `${future[inWords]()}, held by ${named.join(" and ")}`;
}
