/**
 * The strategy that runs what is most urgent first.
 *
 * @module
 */
import { RingBuffer } from "../structures/queues.ts";
import { checkOptions, inspect } from "./checks.ts";
import type { ReadyItem, Scheduler } from "./scheduler.ts";

/** How to make a {@linkcode PriorityScheduler}. */
export interface PrioritySchedulerOptions {
  /**
   * One item in so many is the oldest of all, whatever its priority. `Infinity`
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

/** From so many levels on, those that have run empty go when one is added. */
const LEVELS_KEPT = 16;

/** How many items of a level are read together. */
const ITEMS_AHEAD = 16;

/** A level with fewer items that were queued anew is not cleared of them. */
const SWEEP_MIN = 1_024;

/** What is ready with one priority, in the order in which it became so. */
class Level {
  readonly priority: number;
  readonly #items = new RingBuffer<ReadyItem>();
  /** How many of them were queued anew elsewhere. */
  #dead = 0;
  /** How many leave until the next ones are looked at. */
  #untilLook = 0;

  constructor(priority: number) {
    this.priority = priority;
  }

  /** Whether there is nothing in it that is to be run. */
  get isEmpty(): boolean {
    return this.#items.length === this.#dead;
  }

  push(item: ReadyItem): void {
    this.#items.push(item);
  }

  /** One of the items was queued anew. A level that nothing ever leaves must not fill with such. */
  forgo(): void {
    if (++this.#dead >= SWEEP_MIN && 2 * this.#dead > this.#items.length) {
      this.#sweep();
    }
  }

  /** Takes out the oldest that is to be run. */
  shift(): ReadyItem | undefined {
    if (this.#items.length === 0) return undefined;
    if (--this.#untilLook <= 0) this.#lookAhead();
    let item = this.#items.shift();
    while (item !== undefined && !item.alive) {
      this.#dead--;
      item = this.#items.shift();
    }
    return item;
  }

  /** The oldest that is to be run; those before it that are not are dropped. */
  peek(): ReadyItem | undefined {
    let item = this.#items.peek();
    while (item !== undefined && !item.alive) {
      this.#dead--;
      this.#items.shift();
      item = this.#items.peek();
    }
    return item;
  }

  /**
   * Reads the next items all at once, and drops them if none is to be run. In
   * memory those of one level lie far apart, among those of all others: where
   * there are a hundred thousand, half of what one costs is waiting for it. The
   * processor waits for several together if nothing is done in between.
   */
  #lookAhead(): void {
    const items = this.#items;
    const count = Math.min(items.length, ITEMS_AHEAD);
    let alive = 0;
    for (let index = 0; index < count; index++) {
      if (items.at(index).alive) alive++;
    }
    this.#untilLook = count;
    if (alive > 0) return;
    for (let left = count; left > 0; left--) items.shift();
    this.#dead -= count;
  }

  #sweep(): void {
    const items = [...this.#items].filter((item) => item.alive);
    this.#items.clear();
    for (const item of items) this.#items.push(item);
    this.#dead = 0;
  }
}

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
 * however many items there are; it grows with the number of different
 * priorities in use, which is meant to be small.
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
  /** The most urgent first. */
  readonly #levels: Level[] = [];
  readonly #levelOf = new Map<number, Level>();
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
  }

  /**
   * Takes an item in. The loop calls this.
   *
   * @param item What has become ready.
   */
  push(item: ReadyItem): void {
    const { priority } = item;
    const level = this.#levelOf.get(priority) ?? this.#addLevel(priority);
    level.push(item);
  }

  /**
   * Gives the item that runs next. The loop calls this.
   *
   * @returns The item; `undefined` if there is none.
   */
  shift(): ReadyItem | undefined {
    if (--this.#untilOldest <= 0) {
      this.#untilOldest = this.#ageEvery;
      const oldest = this.#oldest();
      if (oldest !== undefined) return oldest.shift();
    }
    for (const level of this.#levels) {
      const item = level.shift();
      if (item !== undefined) return item;
    }
    return undefined;
  }

  /**
   * Takes note that an item was queued anew. The loop calls this.
   *
   * @param item What is no longer alive.
   */
  requeued(item: ReadyItem): void {
    this.#levelOf.get(item.priority)?.forgo();
  }

  /** Forgets all items. The loop calls this when it is closed. */
  clear(): void {
    this.#levels.length = 0;
    this.#levelOf.clear();
  }

  /** The level whose first item has been ready longest. */
  #oldest(): Level | undefined {
    let oldest: Level | undefined;
    let sequenceLeast = Infinity;
    for (const level of this.#levels) {
      const first = level.peek();
      if (first !== undefined && first.sequence < sequenceLeast) {
        oldest = level;
        sequenceLeast = first.sequence;
      }
    }
    return oldest;
  }

  #addLevel(priority: number): Level {
    if (this.#levels.length >= LEVELS_KEPT) this.#dropEmptyLevels();
    const level = new Level(priority);
    this.#levelOf.set(priority, level);
    const index = this.#levels.findIndex((other) => other.priority < priority);
    this.#levels.splice(index === -1 ? this.#levels.length : index, 0, level);
    return level;
  }

  #dropEmptyLevels(): void {
    const levels = this.#levels.splice(0);
    for (const level of levels) {
      if (level.isEmpty) this.#levelOf.delete(level.priority);
      else this.#levels.push(level);
    }
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
