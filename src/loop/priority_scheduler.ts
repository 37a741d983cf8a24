/**
 * The strategy that runs what is most urgent first.
 *
 * @module
 */
import { PriorityLine } from "../structures/priority_line.ts";
import { checkOptions, inspect } from "./checks.ts";
import type { ReadyItem, Scheduler } from "./scheduler.ts";

/** Options of a {@linkcode PriorityScheduler}. */
export interface PrioritySchedulerOptions {
  /**
   * Ageing: one item in so many is the oldest of all, whatever its priority. `Infinity`
   * turns ageing off: what is less urgent then waits as long as anything else is
   * there.
   *
   * @default {32}
   */
  readonly ageEvery?: number | undefined;
  /**
   * How many items one turn runs at most. A timer that falls due, and a
   * descriptor that becomes ready, is not kept waiting by more than that.
   *
   * @default {64}
   */
  readonly handlesPerTurnMax?: number | undefined;
}

const isAlive = (item: ReadyItem): boolean => item.alive;

const ageOf = (item: ReadyItem): number => item.sequence;

/**
 * Runs what is most urgent first, and among equals what has been ready longest.
 *
 * Give it to a loop, `new EventLoop({ scheduler: new PriorityScheduler() })` or
 * `run(main, { scheduler: new PriorityScheduler() })`, and say with the option
 * `priority` of {@linkcode EventLoop.createTask} and
 * {@linkcode EventLoop.postTask} how urgent something is. A callback has the
 * priority of the code that schedules it.
 *
 * Nothing starves: one item in `ageEvery` is the oldest of all. So however much
 * urgent work there is, the rest gets that share of the turns, in the order in
 * which it became ready.
 *
 * Nor does something urgent wait for what is not, beyond what that needs to get
 * out of the way: a task that waits for another one, or for a lock or semaphore
 * that others hold, lends them its priority meanwhile, and they to those they
 * wait for. (Whatever took a lock outside of tasks is not raised.)
 *
 * A turn runs at most `handlesPerTurnMax` items; what becomes ready meanwhile
 * takes part in it. Queueing costs some 100 ns more than without a strategy,
 * however many items there are, and grows with the logarithm of the number of
 * different priorities in use.
 *
 * @example
 * ```ts
 * import { getRunningLoop, PriorityScheduler, run, sleep } from "@rota/rota";
 * import { assertEquals } from "@std/assert";
 *
 * const log: string[] = [];
 * await run(function* () {
 *   const loop = getRunningLoop();
 *   for (const priority of ["background", "user-visible", "user-blocking"] as const) {
 *     loop.createTask(function* () {
 *       for (let step = 1; step <= 2; step++) {
 *         log.push(`${priority} ${step}`);
 *         yield* sleep(0);
 *       }
 *     }, { priority });
 *   }
 *   yield* sleep(10);
 * }, { host: "virtual", scheduler: new PriorityScheduler() });
 * assertEquals(log, [
 *   "user-blocking 1",
 *   "user-blocking 2",
 *   "user-visible 1",
 *   "user-visible 2",
 *   "background 1",
 *   "background 2",
 * ]);
 * ```
 */
export class PriorityScheduler implements Scheduler {
  /** How many items one turn runs at most. */
  readonly handlesPerTurnMax: number;
  readonly #ageEvery: number;
  readonly #items: PriorityLine<ReadyItem>;
  /** How many items leave until one does for its age. */
  #untilOldest: number;

  /**
   * Makes a strategy for one loop.
   *
   * @param options How fast what waits rises, and how long turns are.
   * @throws {TypeError} If an option is not a number.
   * @throws {RangeError} If `ageEvery` or `handlesPerTurnMax` is less than 1.
   */
  constructor(options: PrioritySchedulerOptions = {}) {
    const what = "create a priority scheduler";
    checkOptions(options, what);
    const { ageEvery = 32, handlesPerTurnMax = 64 } = options;
    checkAtLeastOne(ageEvery, what, "ageEvery");
    checkAtLeastOne(handlesPerTurnMax, what, "handlesPerTurnMax");
    this.#ageEvery = this.#untilOldest = ageEvery;
    this.handlesPerTurnMax = handlesPerTurnMax;
    this.#items = new PriorityLine(ageEvery === Infinity ? null : ageOf);
  }

  /**
   * Takes an item in. The loop calls this.
   *
   * @param item An item that has become ready.
   */
  push(item: ReadyItem): void {
    this.#items.push(item, item.priority);
  }

  /**
   * Returns the item that runs next. The loop calls this.
   *
   * @returns The item; `undefined` if there is none.
   */
  shift(): ReadyItem | undefined {
    if (--this.#untilOldest <= 0) {
      this.#untilOldest = this.#ageEvery;
      return this.#items.shiftOldest(isAlive);
    }
    return this.#items.shift(isAlive);
  }

  /**
   * Lists the items of the highest priority that is there, or the oldest item
   * when its turn has come. For a strategy around this one.
   *
   * @returns The items, those first that have been ready longest.
   */
  candidates(): readonly ReadyItem[] {
    if (this.#untilOldest > 1) return this.#items.front(isAlive);
    const oldest = this.#items.oldest(isAlive);
    return oldest === undefined ? [] : [oldest];
  }

  /**
   * Removes an item that was listed by {@linkcode candidates}. Takes time in
   * proportion to how many have its priority.
   *
   * @param item The item that runs next.
   */
  take(item: ReadyItem): void {
    if (--this.#untilOldest <= 0) this.#untilOldest = this.#ageEvery;
    this.#items.remove(item, item.priority);
  }

  /**
   * Takes note that an item was queued anew. The loop calls this.
   *
   * @param item An item that is no longer alive.
   */
  requeued(item: ReadyItem): void {
    this.#items.forgo(item.priority, isAlive);
  }

  /** Forgets all items. The loop calls this when it is closed. */
  clear(): void {
    this.#items.clear();
  }
}

function checkAtLeastOne(value: unknown, what: string, name: string): void {
  if (typeof value !== "number") {
    throw new TypeError(
      `Cannot ${what} as ${name} must be a number: received ${inspect(value)}`,
    );
  }
  if (!(value >= 1)) {
    throw new RangeError(
      `Cannot ${what} as ${name} must be >= 1: received ${value}`,
    );
  }
}
