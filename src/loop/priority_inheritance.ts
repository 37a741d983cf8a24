/**
 * Priority inheritance: a task that waits for another one, or for what others
 * hold, lends them its priority, they lend it on to those they wait for, and all
 * of it is given back. Nothing of that is made on a loop that does not order by
 * priority.
 *
 * {@linkcode Urgency} is the priority of one task; {@linkcode Pressure} is what
 * all those together exert who wait for one thing; a {@linkcode Relay} hands
 * priority on between several things and those who wait for them together.
 *
 * @module
 */
import { pressureOf } from "./waiters.ts";
import { core } from "./core.ts";
import type { EventLoop } from "./event_loop.ts";
import type { Future } from "./future.ts";
import type { ReadyItem } from "./scheduler.ts";

/** How many open loops of this process order by priority: one number to read for all that need not care. */
export const priorityLoops = { count: 0 };

/** A place in the ready queue that can be changed for one of another priority. */
export interface Requeue<Item extends ReadyItem = ReadyItem> {
  requeue(item: Item, priority: number): Item;
}

/**
 * The priority of a task: its own, and what it is raised to by those who wait for what it holds.
 *
 * @internal
 */
export class Urgency {
  /** Priority that was set. */
  base: number;
  /** Number of the task among those of its loop; 0 for anything else. */
  number = 0;
  /** Priority that counts: the highest of `base` and of what those have who wait. */
  effective: number;
  /** Places in the ready queue; most often there is one. */
  private items: Set<ReadyItem> | ReadyItem | null = null;
  /** Pressures on what it holds and others wait for, with how often it holds each. */
  private holdings: Map<Pressure, number> | null = null;
  /** Pressures to which it adds by waiting, by the part of it that waits. */
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

  /** Pressure of all who wait for the very end of this. */
  get pressure(): Pressure {
    if (this.ownPressure === null) {
      this.ownPressure = new Pressure();
      this.ownPressure.grantTo(this);
    }
    return this.ownPressure;
  }

  /** Notes a place in the ready queue. */
  entered(item: ReadyItem): void {
    const { items } = this;
    if (items === null) this.items = item;
    else if (items instanceof Set) items.add(item);
    else this.items = new Set([items, item]);
  }

  /** Forgets a place in the ready queue. */
  left(item: ReadyItem): void {
    if (this.items === item) this.items = null;
    else if (this.items instanceof Set) this.items.delete(item);
  }

  /** Notes that a part of it begins to wait. */
  waitAt(waiter: object, pressure: Pressure): void {
    this.leaveWait(waiter);
    (this.waits ??= new Map()).set(waiter, pressure);
    pressure.add(this.effective);
    raise(pressure.holders.keys());
  }

  /** Notes that a part of it has ceased to wait. */
  leaveWait(waiter: object): void {
    const pressure = this.waits?.get(waiter);
    if (pressure === undefined) return;
    this.waits!.delete(waiter);
    pressure.remove(this.effective);
    lower(pressure.holders.keys());
  }

  /** Ends it: it neither waits nor holds anything any more. */
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

  /** Counts that it holds a pressure once more. */
  hold(pressure: Pressure): void {
    const { holdings } = this;
    if (holdings === null) this.holdings = new Map([[pressure, 1]]);
    else holdings.set(pressure, (holdings.get(pressure) ?? 0) + 1);
  }

  /** Counts that it holds a pressure once less. */
  letGo(pressure: Pressure): void {
    const count = this.holdings!.get(pressure)! - 1;
    if (count === 0) this.holdings!.delete(pressure);
    else this.holdings!.set(pressure, count);
  }

  /** Works out what counts now. True if that has changed. */
  update(): boolean {
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
  become(effective: number): void {
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
  isInRing(): boolean {
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

  /** Holders that may have to change because this has. */
  *holdersWaitedFor(): Generator<Urgency> {
    if (this.waits === null) return;
    for (const pressure of this.waits.values()) yield* pressure.holders.keys();
  }
}

/** Brings these up to date, who may have to rise, and all that depend on them. A list, as a chain of waits may be long. */
function raise(urgencies: Iterable<Urgency>): void {
  const open = [...urgencies];
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    if (next.update()) open.push(...next.holdersWaitedFor());
  }
}

/** Brings these up to date, who may have to sink, and all that depend on them. */
function lower(urgencies: Iterable<Urgency>): void {
  const open = [...urgencies];
  const ring: Urgency[] = [];
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    if (next.update()) open.push(...next.holdersWaitedFor());
    else if (next.isInRing()) ring.push(next);
  }
  if (ring.length > 0) raiseAnew(ring);
}

/** Works out without any history what counts for these, and for all that depend on them. */
function raiseAnew(urgencies: Urgency[]): void {
  const raised = new Set<Urgency>();
  for (let next = urgencies.pop(); next !== undefined; next = urgencies.pop()) {
    if (next.effective === next.base || raised.has(next)) continue;
    raised.add(next);
    urgencies.push(...next.holdersWaitedFor());
  }
  for (const urgency of raised) urgency.become(urgency.base);
  raise(raised);
}

/**
 * Node between tasks that wait for several things together and those things: it
 * hands on the priority, and has none of its own.
 */
export class Relay extends Urgency {
  /** The priority of its places in the ready queue if nobody who waits has a higher one. */
  floor = -Infinity;

  constructor(loop: EventLoop) {
    super(-Infinity, loop[core].ranking);
  }

  override get rank(): number {
    return Math.max(this.effective, this.floor);
  }

  /** Makes the waiters wait for `future`, too. */
  dependOn(future: Future<unknown>): void {
    const pressure = future.done()
      ? null
      : future[pressureOf]() as Pressure | null;
    if (pressure !== null) this.waitAt(future, pressure);
  }
}

/** Something that tasks wait for and others hold: a lock, a task's end. */
export class Pressure {
  /** The highest priority among those who wait. */
  highest = -Infinity;
  /** Number of waiters by priority. */
  readonly #counts = new Map<number, number>();
  /** Holders, with how often each holds it. */
  readonly holders: Map<Urgency, number> = new Map();

  /** Adds a waiter of a priority. */
  add(priority: number): void {
    this.#counts.set(priority, (this.#counts.get(priority) ?? 0) + 1);
    if (priority > this.highest) this.highest = priority;
  }

  /** Removes a waiter of a priority. */
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
    urgency.hold(this);
    raise([urgency]);
  }

  /** `urgency` has given it back. */
  takeFrom(urgency: Urgency): void {
    const count = this.holders.get(urgency);
    if (count === undefined) return;
    if (count === 1) this.holders.delete(urgency);
    else this.holders.set(urgency, count - 1);
    urgency.letGo(this);
    lower([urgency]);
  }
}
