/**
 * The slots of a limited group: so many of its tasks run at once, the others wait
 * in line.
 *
 * @module
 */
import { PriorityLine } from "../structures/priority_line.ts";
import { RingBuffer } from "../structures/ring_buffer.ts";
import type { LimitedTask } from "./limited_task.ts";

/** A line is cleared of the places that were left once there are so many of them. */
const SWEEP_MIN = 1_024;

/** The place in line of a task that has got in line more than once: only the last one counts. */
export class Place {
  readonly task: LimitedTask<unknown>;

  constructor(task: LimitedTask<unknown>) {
    this.task = task;
  }
}

/** An entry of the line: the task itself as long as it has not moved. */
type InLine = LimitedTask<unknown> | Place;

/** A wait for a slot by a task that has begun already, and had lent its own. */
export interface SlotWait {
  /** Whether no slot is needed any more. */
  isOver(): boolean;
  /** There is a slot. */
  grant(): void;
}

/**
 * The slots of one group. A task takes one before it begins and gives it back when
 * it has ended; a task that finds none waits in line without having begun. A task
 * that has lent its slot, and wants it back, goes before these.
 */
export class GroupSlots {
  readonly #limit: number;
  /** More than the limit if a task could not be made to wait. */
  #taken = 0;
  readonly #line = new PriorityLine<InLine>();
  /** Places that were left: their tasks were cancelled, or have another place. */
  #gone = 0;
  readonly #returning = new RingBuffer<SlotWait>();

  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Takes a slot if there is one. There are no waiters then. */
  take(): boolean {
    if (this.#taken >= this.#limit) return false;
    this.#taken++;
    return true;
  }

  /** Takes a slot even if there is none. */
  insist(): void {
    this.#taken++;
  }

  /** Puts a task in line that begins when there is a slot. */
  enterLine(task: LimitedTask<unknown>): void {
    this.#line.push(task, task.priority);
  }

  /** Puts a task in line that was in it before; returns its new place. */
  enterLineAgain(task: LimitedTask<unknown>): Place {
    const place = new Place(task);
    this.#line.push(place, task.priority);
    return place;
  }

  /** A task has left its place. Slots may be taken for ever, so the line is cleared of such places. */
  leaveLine(): void {
    if (++this.#gone < SWEEP_MIN || 2 * this.#gone < this.#line.length) return;
    this.#line.sweep(isInLine);
    this.#gone = 0;
  }

  /** Puts a task in line that goes on when there is a slot. */
  enterReturning(wait: SlotWait): void {
    this.#returning.push(wait);
  }

  /** Releases a slot, which goes to the next in line. */
  release(): void {
    this.#taken--;
    while (this.#taken < this.#limit) {
      const returning = this.#returning.shift();
      if (returning !== undefined) {
        if (returning.isOver()) continue;
        this.#taken++;
        returning.grant();
        continue;
      }
      const next = this.#takeFirst();
      if (next === null) return;
      this.#taken++;
      next.begin();
    }
  }

  /** Takes the first task out of the line. */
  #takeFirst(): LimitedTask<unknown> | null {
    const before = this.#line.length;
    const next = this.#line.shift(isInLine);
    const dropped = before - this.#line.length;
    this.#gone -= next === undefined ? dropped : dropped - 1;
    if (next === undefined) return null;
    return next instanceof Place ? next.task : next;
  }
}

/** Whether a task still waits at this place: it may have been cancelled, or have moved. */
function isInLine(entry: InLine): boolean {
  return entry instanceof Place
    ? entry.task.waitsAt(entry)
    : entry.waitsAt("in line");
}
