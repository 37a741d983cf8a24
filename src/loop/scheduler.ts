/**
 * Interface of a strategy that decides in which order a loop runs ready items,
 * if not first come first served.
 *
 * @module
 */
import { MisuseError } from "../errors.ts";
import { checkFunction, inspect } from "./checks.ts";

/** Something that is ready to run, as a {@linkcode Scheduler} sees it. */
export interface ReadyItem {
  /**
   * Kind of the item: the next step of a task, a timer that is due (also that
   * of a sleep), or a callback, of the program or of the library.
   */
  readonly kind: "task" | "timer" | "callback";
  /**
   * Number among all tasks, timers or callbacks of the loop: tasks count as they
   * are made, timers as they are started, callbacks as they become ready. A
   * program that does the same gets the same numbers in each run and each
   * process, so a strategy can name its choices and make them again. All items
   * of one task have the number of the task.
   */
  readonly number: number;
  /** Name that was given to the task, or that of the callback's function; `""` if there is none. */
  readonly name: string;
  /** Priority, higher first. Constant: after a change of priority another item comes. */
  readonly priority: number;
  /** Grows from item to item of a loop: the lower, the longer it has been ready. */
  readonly sequence: number;
  /**
   * Whether the item is still to be run. An item that was queued anew or
   * withdrawn never is again, and may be dropped at any time.
   */
  readonly alive: boolean;
}

/**
 * Strategy for the order in which a loop runs ready items: see the option
 * `scheduler` of {@linkcode EventLoop}, and {@linkcode PriorityScheduler}.
 * Without one, items run in the order in which they became ready.
 *
 * A strategy keeps the items it is given and chooses among them, nothing more.
 * It belongs to one loop. It need not know of changes of priority: an item whose
 * priority changes is no longer {@linkcode ReadyItem.alive}, and another comes
 * for it.
 *
 * A strategy that errs ends the run: if it throws, returns nothing while items
 * are left, returns an item twice or one that it was not given, the run rejects
 * with a {@linkcode MisuseError} that says so, as does every later one. Tasks
 * that are unfinished then are reported when the loop is closed, and end as
 * cancelled.
 *
 * @example Earliest deadline first: the priority is minus the deadline
 * ```ts
 * import { EventLoop, type ReadyItem, type Scheduler } from "@rota/rota";
 * import { assertEquals } from "@std/assert";
 *
 * class EarliestDeadlineFirst implements Scheduler {
 *   readonly #items: ReadyItem[] = [];
 *   push(item: ReadyItem) {
 *     this.#items.push(item);
 *   }
 *   shift() {
 *     let best = 0;
 *     for (const [index, item] of this.#items.entries()) {
 *       if (item.priority > this.#items[best]!.priority) best = index;
 *     }
 *     return this.#items.splice(best, 1)[0];
 *   }
 *   clear() {
 *     this.#items.length = 0;
 *   }
 * }
 *
 * await using loop = new EventLoop({
 *   host: "virtual",
 *   scheduler: new EarliestDeadlineFirst(),
 * });
 * const log: string[] = [];
 * const by = (deadlineMs: number, name: string) =>
 *   loop.postTask(() => log.push(name), { priority: -deadlineMs });
 * by(300, "relaxed");
 * by(50, "urgent");
 * await loop.runUntilComplete(by(1_000, "last"));
 * assertEquals(log, ["urgent", "relaxed", "last"]);
 * ```
 */
export interface Scheduler {
  /**
   * How many items one turn runs at most; without it 64. Async functions go on
   * between two turns. Read at the beginning of each turn.
   */
  readonly handlesPerTurnMax?: number;
  /** Takes an item in. */
  push(item: ReadyItem): void;
  /**
   * Returns the item that runs next, and removes it; `undefined` if there is
   * none. An item that is not {@linkcode ReadyItem.alive} may be returned,
   * once, or dropped.
   */
  shift(): ReadyItem | undefined;
  /** Told that an item is no longer {@linkcode ReadyItem.alive}, for a strategy that would keep many such. */
  requeued?(item: ReadyItem): void;
  /** Forgets all items. */
  clear(): void;
  /**
   * Lists the items of which any may be the next one, for a strategy around this
   * one that chooses among them: it hands on `push`, `requeued` and `clear`, and
   * calls {@linkcode Scheduler.take} in place of `shift`. Empty if there is no
   * item that is alive. A strategy without this method always has one choice.
   */
  candidates?(): readonly ReadyItem[];
  /** Removes an item that {@linkcode Scheduler.candidates} has just listed, as it runs next. */
  take?(item: ReadyItem): void;
}

/** Reads the members of a strategy once: they may be on its prototype. */
function hooksOf(scheduler: Scheduler) {
  const { push, shift, clear, requeued, candidates, take, handlesPerTurnMax } =
    scheduler;
  return { push, shift, clear, requeued, candidates, take, handlesPerTurnMax };
}

/** Strategies that have a loop, and do not note that themselves. */
const taken = new WeakSet<Scheduler>();

/**
 * Member by which a strategy of the library notes that it has a loop. Where loops
 * are made by the thousands, weak sets are half the work of the garbage collector.
 *
 * @internal
 */
export const isTaken: unique symbol = Symbol("isTaken");

interface NotingScheduler extends Scheduler {
  [isTaken]?: boolean;
}

function hasLoop(scheduler: NotingScheduler): boolean {
  return scheduler[isTaken] ?? taken.has(scheduler);
}

/** Throws unless `scheduler` is one, and free. */
export function checkScheduler(scheduler: unknown, what: string): void {
  if (typeof scheduler !== "object" || scheduler === null) {
    throw new TypeError(
      `Cannot ${what} as scheduler must be a Scheduler: received ${
        inspect(scheduler)
      }`,
    );
  }
  const { push, shift, clear, handlesPerTurnMax = 1, ...rest } = hooksOf(
    scheduler as Scheduler,
  );
  checkFunction(push, what, "scheduler.push");
  checkFunction(shift, what, "scheduler.shift");
  checkFunction(clear, what, "scheduler.clear");
  const { requeued, candidates, take } = rest;
  if (requeued !== undefined) {
    checkFunction(requeued, what, "scheduler.requeued");
  }
  if (candidates !== undefined) {
    checkFunction(candidates, what, "scheduler.candidates");
  }
  if (take !== undefined) checkFunction(take, what, "scheduler.take");
  if ((rest.candidates === undefined) !== (rest.take === undefined)) {
    throw new TypeError(
      `Cannot ${what} as scheduler must have both candidates and take, or neither`,
    );
  }
  if (!(typeof handlesPerTurnMax === "number" && handlesPerTurnMax >= 1)) {
    throw new RangeError(
      `Cannot ${what} as scheduler.handlesPerTurnMax must be a number >= 1: received ${
        inspect(handlesPerTurnMax)
      }`,
    );
  }
  if (hasLoop(scheduler as Scheduler)) {
    throw new MisuseError(
      `Cannot ${what}: the scheduler belongs to another loop`,
    );
  }
}

/** A loop takes a strategy for its own. */
export function takeScheduler(scheduler: NotingScheduler): void {
  if (scheduler[isTaken] === undefined) taken.add(scheduler);
  else scheduler[isTaken] = true;
}
