/**
 * The order in which a loop runs what is ready, when that is not simply the
 * order in which it became so: priorities, what a strategy has to keep to, the
 * one that goes by priority, and how priorities are handed on.
 *
 * Whoever waits for something raises those who hold it, they raise those they
 * wait for in turn, and all of it is given back ({@linkcode Urgency}). Nothing of
 * that is made on a loop that does not order by priority.
 *
 * @module
 */
import { MisuseError } from "../errors.ts";
import { RingBuffer } from "../structures/ring_buffer.ts";
import { checkFunction, checkOptions, inspect } from "./checks.ts";
import type { EventLoop } from "./event_loop.ts";
import type { Future } from "./future.ts";

/**
 * How urgent a task or callback is: one of the web's three words, or a number,
 * higher first.
 *
 * `"user-blocking"` stands for 10, `"user-visible"` for 0, `"background"` for
 * -10. Whatever says nothing is `"user-visible"`.
 */
export type Priority =
  | "user-blocking"
  | "user-visible"
  | "background"
  | number;

/** What has no priority of its own. */
export const DEFAULT_PRIORITY = 0;

const NUMBERS: ReadonlyMap<unknown, number> = new Map([
  ["user-blocking", 10],
  ["user-visible", DEFAULT_PRIORITY],
  ["background", -10],
]);

/** The same as `requirePriority`, but `undefined` gives `otherwise`. */
export function checkPriority(
  priority: unknown,
  what: string,
  otherwise: number = DEFAULT_PRIORITY,
): number {
  return priority === undefined ? otherwise : requirePriority(priority, what);
}

/**
 * The number a priority stands for. Throws unless it is a number other than
 * `NaN`, or one of the words.
 */
export function requirePriority(priority: unknown, what: string): number {
  if (typeof priority === "number" && !Number.isNaN(priority)) return priority;
  const number = NUMBERS.get(priority);
  if (number !== undefined) return number;
  throw new TypeError(
    `Cannot ${what} as priority must be "user-blocking", "user-visible", "background" ` +
      `or a number: received ${inspect(priority)}`,
  );
}

/** Something that is ready to run, as a {@linkcode Scheduler} sees it. */
export interface ReadyItem {
  /** How urgent it is, higher first. It stays as it is: what changes its priority comes as another item. */
  readonly priority: number;
  /** Grows from item to item of a loop: the lower, the longer it has been ready. */
  readonly sequence: number;
  /**
   * Whether it is to be run still. One that was queued anew or withdrawn is not,
   * never will be, and may be dropped at any time.
   */
  readonly alive: boolean;
}

/**
 * A strategy for the order in which a loop runs what is ready: see the option
 * `scheduler` of {@linkcode EventLoop}. {@linkcode PriorityScheduler} is one;
 * without any, a loop goes by the order in which things became ready.
 *
 * A strategy keeps the items it is given and chooses among them, nothing more.
 * It belongs to one loop. It need not know of changes of priority: an item whose
 * priority changes is no longer {@linkcode ReadyItem.alive}, and another comes
 * for it.
 *
 * One that errs ends the run: if it throws, gives nothing while items are left,
 * gives one twice or one that it was not given, the run rejects with a
 * {@linkcode MisuseError} that says so, as does every later one. Tasks that are
 * unfinished then are reported when the loop is closed, and end as cancelled.
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
  /** How many items one turn runs at most; without it 64. */
  readonly handlesPerTurnMax?: number;
  /** Takes an item in. */
  push(item: ReadyItem): void;
  /**
   * Gives the item that runs next, and forgets it; `undefined` if there is none.
   * One that is not {@linkcode ReadyItem.alive} may be given, once, or dropped.
   */
  shift(): ReadyItem | undefined;
  /** Told that an item is no longer {@linkcode ReadyItem.alive}, for a strategy that would keep many such. */
  requeued?(item: ReadyItem): void;
  /** Forgets all items. */
  clear(): void;
}

/** Those that have a loop. */
const taken = new WeakSet<Scheduler>();

/** Throws unless `scheduler` is one, and free. */
export function checkScheduler(scheduler: unknown, what: string): void {
  if (typeof scheduler !== "object" || scheduler === null) {
    throw new TypeError(
      `Cannot ${what} as scheduler must be a Scheduler: received ${
        inspect(scheduler)
      }`,
    );
  }
  const { push, shift, clear, requeued, handlesPerTurnMax = 1 } =
    scheduler as Scheduler;
  checkFunction(push, what, "scheduler.push");
  checkFunction(shift, what, "scheduler.shift");
  checkFunction(clear, what, "scheduler.clear");
  if (requeued !== undefined) {
    checkFunction(requeued, what, "scheduler.requeued");
  }
  if (!(typeof handlesPerTurnMax === "number" && handlesPerTurnMax >= 1)) {
    throw new RangeError(
      `Cannot ${what} as scheduler.handlesPerTurnMax must be a number >= 1: received ${
        inspect(handlesPerTurnMax)
      }`,
    );
  }
  if (taken.has(scheduler as Scheduler)) {
    throw new MisuseError(
      `Cannot ${what}: the scheduler belongs to another loop`,
    );
  }
}

/** A loop takes a strategy for its own. */
export function takeScheduler(scheduler: Scheduler): void {
  taken.add(scheduler);
}

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

/** How many open loops of this process order by priority: one number to read for all that need not care. */
export const ranked = { loops: 0 };

/** A place in the ready queue that can be changed for one of another priority. */
export interface Requeue<Item extends ReadyItem = ReadyItem> {
  requeue(item: Item, priority: number): Item;
}

/** The priority of a task: its own, and what it is raised to by those who wait for what it holds. */
export class Urgency {
  /** What was set. */
  base: number;
  /** What counts: the highest of `base` and of what those have who wait. */
  effective: number;
  /** Its places in the ready queue; most often there is one. */
  private items: Set<ReadyItem> | ReadyItem | null = null;
  /** What it holds and others wait for, with how often it holds it. */
  private holdings: Map<Pressure, number> | null = null;
  /** What it waits for, by the part of it that does. */
  private waits: Map<object, Pressure> | null = null;
  private ownPressure: Pressure | null = null;
  private readonly queue: Requeue | null;

  /** With no `queue` it belongs to a loop that goes by no priority. */
  constructor(base: number, queue: Requeue | null) {
    this.base = this.effective = base;
    this.queue = queue;
  }

  /** The priority of its places in the ready queue. */
  get rank(): number {
    return this.effective;
  }

  /** Sets the priority of its own. */
  setBase(base: number): void {
    this.base = base;
    lower([this]);
  }

  /** What those share who wait for the very end of this. */
  get pressure(): Pressure {
    if (this.ownPressure === null) {
      this.ownPressure = new Pressure();
      this.ownPressure.grantTo(this);
    }
    return this.ownPressure;
  }

  /** It has been queued. */
  entered(item: ReadyItem): void {
    const { items } = this;
    if (items === null) this.items = item;
    else if (items instanceof Set) items.add(item);
    else this.items = new Set([items, item]);
  }

  /** It has left the queue. */
  left(item: ReadyItem): void {
    if (this.items === item) this.items = null;
    else if (this.items instanceof Set) this.items.delete(item);
  }

  /** A part of it begins to wait. */
  waitAt(waiter: object, pressure: Pressure): void {
    this.leaveWait(waiter);
    (this.waits ??= new Map()).set(waiter, pressure);
    pressure.add(this.effective);
    raise(pressure.holders.keys());
  }

  /** That part of it waits no longer. */
  leaveWait(waiter: object): void {
    const pressure = this.waits?.get(waiter);
    if (pressure === undefined) return;
    this.waits!.delete(waiter);
    pressure.remove(this.effective);
    lower(pressure.holders.keys());
  }

  /** It is over: it neither waits nor holds anything any more. */
  end(): void {
    if (this.waits !== null) {
      for (const waiter of [...this.waits.keys()]) {
        this.leaveWait(waiter);
      }
    }
    if (this.holdings === null) return;
    for (const pressure of this.holdings.keys()) pressure.holders.delete(this);
    this.holdings = null;
    this.update();
  }

  /** It holds that, once more. */
  private hold(pressure: Pressure): void {
    const { holdings } = this;
    if (holdings === null) this.holdings = new Map([[pressure, 1]]);
    else holdings.set(pressure, (holdings.get(pressure) ?? 0) + 1);
  }

  /** It holds that once less. */
  private letGo(pressure: Pressure): void {
    const count = this.holdings!.get(pressure)! - 1;
    if (count === 0) this.holdings!.delete(pressure);
    else this.holdings!.set(pressure, count);
  }

  /** Works out what counts now. True if that has changed. */
  private update(): boolean {
    let effective = this.base;
    if (this.holdings !== null) {
      for (const { highest } of this.holdings.keys()) {
        if (highest > effective) effective = highest;
      }
    }
    if (effective === this.effective) return false;
    this.become(effective);
    return true;
  }

  /** Takes on a priority, with all that this means to the queue and to what it waits for. */
  private become(effective: number): void {
    const before = this.effective;
    this.effective = effective;
    if (this.waits !== null) {
      for (const pressure of this.waits.values()) {
        pressure.remove(before);
        pressure.add(effective);
      }
    }
    if (this.items instanceof Set) {
      const items = this.items;
      this.items = new Set(
        Array.from(items, (item) => this.queue!.requeue(item, this.rank)),
      );
    } else if (this.items !== null) {
      this.items = this.queue!.requeue(this.items, this.rank);
    }
  }

  /**
   * Whether it may owe its priority to itself alone: who waits in a ring has
   * raised all of it, and would keep it raised for ever.
   */
  private isInRing(): boolean {
    const { effective } = this;
    if (this.waits === null || effective === this.base) return false;
    const seen = new Set<Urgency>();
    const open = [...this.holdersWaitedFor()];
    for (let next = open.pop(); next !== undefined; next = open.pop()) {
      if (next === this) return true;
      if (
        next.effective !== effective || next.base === effective ||
        seen.has(next)
      ) continue;
      seen.add(next);
      open.push(...next.holdersWaitedFor());
    }
    return false;
  }

  /** Who may have to change because this has. */
  private *holdersWaitedFor(): Generator<Urgency> {
    if (this.waits === null) return;
    for (const pressure of this.waits.values()) yield* pressure.holders.keys();
  }
}

/** Brings these up to date, who may have to rise, and all that depend on them. A list, as a chain of waits may be long. */
function raise(urgencies: Iterable<Urgency>): void {
  const open = [...urgencies];
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    if (next["update"]()) open.push(...next["holdersWaitedFor"]());
  }
}

/** The same for those who may have to sink. */
function lower(urgencies: Iterable<Urgency>): void {
  const open = [...urgencies];
  const ring: Urgency[] = [];
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    if (next["update"]()) open.push(...next["holdersWaitedFor"]());
    else if (next["isInRing"]()) ring.push(next);
  }
  if (ring.length > 0) raiseAnew(ring);
}

/** Works out without any history what counts for these, and for all that depend on them. */
function raiseAnew(urgencies: Urgency[]): void {
  const raised = new Set<Urgency>();
  for (let next = urgencies.pop(); next !== undefined; next = urgencies.pop()) {
    if (next.effective === next.base || raised.has(next)) continue;
    raised.add(next);
    urgencies.push(...next["holdersWaitedFor"]());
  }
  for (const urgency of raised) urgency["become"](urgency.base);
  raise(raised);
}

/**
 * What stands between those who wait for several things together and those
 * things: it hands on the priority, and has none of its own.
 */
export class Relay extends Urgency {
  /** The priority of its places in the ready queue if nobody who waits has a higher one. */
  floor = -Infinity;

  constructor(loop: EventLoop) {
    super(-Infinity, loop["ranking"]);
  }

  override get rank(): number {
    return Math.max(this.effective, this.floor);
  }

  /** Those who wait for this wait for `future`, too. */
  dependOn(future: Future<unknown>): void {
    const pressure = future.done()
      ? null
      : future["pressure"]() as Pressure | null;
    if (pressure !== null) this.waitAt(future, pressure);
  }
}

/** Something that tasks wait for and others hold: a lock, a task's end. */
export class Pressure {
  /** The highest priority among those who wait. */
  highest = -Infinity;
  /** How many wait with which priority. */
  readonly #counts = new Map<number, number>();
  /** Who holds it, with how often. */
  readonly holders: Map<Urgency, number> = new Map();

  /** Somebody of that priority waits. */
  add(priority: number): void {
    this.#counts.set(priority, (this.#counts.get(priority) ?? 0) + 1);
    if (priority > this.highest) this.highest = priority;
  }

  /** Somebody of that priority waits no longer. */
  remove(priority: number): void {
    const count = this.#counts.get(priority)! - 1;
    if (count > 0) {
      this.#counts.set(priority, count);
      return;
    }
    this.#counts.delete(priority);
    if (priority !== this.highest) return;
    this.highest = -Infinity;
    for (const other of this.#counts.keys()) {
      if (other > this.highest) this.highest = other;
    }
  }

  /** `urgency` holds it from now on. */
  grantTo(urgency: Urgency): void {
    this.holders.set(urgency, (this.holders.get(urgency) ?? 0) + 1);
    urgency["hold"](this);
    raise([urgency]);
  }

  /** `urgency` has given it back. */
  takeFrom(urgency: Urgency): void {
    const count = this.holders.get(urgency);
    if (count === undefined) return;
    if (count === 1) this.holders.delete(urgency);
    else this.holders.set(urgency, count - 1);
    urgency["letGo"](this);
    lower([urgency]);
  }
}
