/**
 * Ready queue of a loop under exploration: asks a {@linkcode Chooser} at each step,
 * and records what was ready and what was chosen.
 *
 * The choices of a step are numbered. The task that took the last step of a task is
 * choice 0 if it can go on; the others follow, those first that have been ready
 * longest. So 0 is always "no switch", and a schedule of zeros never leaves a task
 * that could go on.
 *
 * @module
 */
import { isTaken, type ReadyItem, type Scheduler } from "../loop/scheduler.ts";

/**
 * How many steps in a row a task may take while others are ready. After that it has
 * to leave one to another, in every strategy: a task that polls, waiting for the
 * others, is no livelock. Guessed: higher finds more, and makes such loops longer.
 */
const STREAK_MAX = 50;

const KINDS: readonly ReadyItem["kind"][] = ["task", "timer", "callback"];

/** Number for what an item stands for: the same in each run of a program. */
function keyOf(item: ReadyItem): number {
  const { kind } = item;
  return item.number * 4 + (kind === "task" ? 0 : kind === "timer" ? 1 : 2);
}

/** Whether a key is that of a task. */
export function isTaskKey(key: number): boolean {
  return (key & 3) === 0;
}

/** Returns a key in words: "task 2". */
export function keyInWords(key: number): string {
  return `${KINDS[key & 3]} ${key >> 2}`;
}

/** Choices at one step, as a chooser sees them. */
export interface Choices {
  /** How many there are: two at least. */
  readonly count: number;
  /** Whether choice 0 is the task that has run last. */
  readonly continues: boolean;
  /** How many steps in a row that task has taken. */
  readonly streak: number;
  /** Key of the task that had to leave this step to another; -1 if there is none. */
  readonly stalled: number;
  /** Number of the step, from 0 on. */
  readonly step: number;
  /** Key of a choice. */
  keyAt(choice: number): number;
}

/** Strategy for one run: chooses at each step at which there is a choice. */
export interface Chooser {
  /** Returns the number of a choice. */
  choose(choices: Choices): number;
}

/** Numbers in a row, in memory that is used again in the next run. */
export class NumberList {
  length = 0;
  #numbers: Int32Array<ArrayBuffer> = new Int32Array(256);

  /** Returns the numbers, with room for `count` more behind the last one. */
  reserve(count: number): Int32Array<ArrayBuffer> {
    if (this.length + count > this.#numbers.length) {
      const larger = new Int32Array((this.length + count) * 2);
      larger.set(this.#numbers);
      this.#numbers = larger;
    }
    return this.#numbers;
  }

  at(index: number): number {
    return this.#numbers[index]!;
  }
}

/** Count of numbers that a trace has for each step. */
const FIELDS = 4;

/** The task that ran last cannot go on. */
const ABSENT = 0;
/** The task that ran last is choice 0. */
const FIRST = 1;
/** The task that ran last has to leave the step to another. */
const LEFT = 2;
type SameTask = typeof ABSENT | typeof FIRST | typeof LEFT;

/** Record of a run. */
export class Trace {
  /** Choice, count, where the same task was, and where the keys begin: one step after the other. */
  readonly #steps = new NumberList();
  /** Keys of the choices of all steps, one after the other. */
  readonly keys: NumberList = new NumberList();

  /** Adds a step; its keys follow. */
  add(choice: number, count: number, same: SameTask, begin: number): void {
    const steps = this.#steps;
    const numbers = steps.reserve(FIELDS);
    const at = steps.length;
    numbers[at] = choice;
    numbers[at + 1] = count;
    numbers[at + 2] = same;
    numbers[at + 3] = begin;
    steps.length = at + FIELDS;
  }

  /** Number of the choice that a step took. */
  choiceAt(step: number): number {
    return this.#steps.at(step * FIELDS);
  }

  /** How many choices it had. */
  countAt(step: number): number {
    return this.#steps.at(step * FIELDS + 1);
  }

  /** Whether the step left a task that could go on. */
  #isPreemption(step: number): boolean {
    const same = this.#steps.at(step * FIELDS + 2);
    return same === LEFT || same === FIRST && this.choiceAt(step) !== 0;
  }

  #beginAt(step: number): number {
    return this.#steps.at(step * FIELDS + 3);
  }

  /** Choices of all steps. */
  choices(): number[] {
    return Array.from({ length: this.steps }, (_, step) => this.choiceAt(step));
  }

  get steps(): number {
    return this.#steps.length / FIELDS;
  }

  clear(): void {
    this.#steps.length = this.keys.length = 0;
  }

  /** Keys of the choices of a step. */
  keysOf(step: number): number[] {
    const begin = this.#beginAt(step);
    return Array.from(
      { length: this.countAt(step) },
      (_, index) => this.keys.at(begin + index),
    );
  }

  /** Key of the choice that a step took. */
  chosen(step: number): number {
    return this.keys.at(this.#beginAt(step) + this.choiceAt(step));
  }

  /** How many steps left a task that could go on. */
  preemptions(): number {
    let count = 0;
    for (let step = 0; step < this.steps; step++) {
      if (this.#isPreemption(step)) count++;
    }
    return count;
  }

  /** How many steps ran something else than the step before. */
  switches(): number {
    let count = 0;
    for (let step = 1; step < this.steps; step++) {
      if (this.chosen(step) !== this.chosen(step - 1)) count++;
    }
    return count;
  }

  /** The first step in which two runs differ; -1 if there is none. */
  differsAt(other: Trace): number {
    const steps = Math.min(this.steps, other.steps);
    for (let step = 0; step < steps; step++) {
      const keys = this.keysOf(step);
      const others = other.keysOf(step);
      if (
        keys.length !== others.length ||
        keys.some((key, index) => key !== others[index]) ||
        this.choiceAt(step) !== other.choiceAt(step)
      ) return step;
    }
    return this.steps === other.steps ? -1 : steps;
  }
}

/** Told of each step before it is taken: the items in the order of the choices, and the one that runs. */
export type StepListener = (
  ready: readonly ReadyItem[],
  chosen: ReadyItem,
) => void;

/** Steps of generators that make a turn at most: turns cost as much as steps. */
const STEPS_PER_TURN_MAX = 64;

/** The strategy of a loop that is explored. */
export class ExploringScheduler implements Scheduler, Choices {
  [isTaken] = false;
  readonly #chooser: Chooser;
  readonly #trace: Trace;
  readonly #stepsMax: number;
  readonly #onStepsMax: () => void;
  /** Priorities, say, that leave some of what is ready out of the choices. */
  readonly #inner: Scheduler | null;
  #items: ReadyItem[] = [];
  /** Keys of the items. */
  #keys: number[] = [];
  /** Key of the task that took the last step of a task. */
  #last = -1;
  /** Told of each step, if somebody has to know names. */
  listener: StepListener | null = null;
  /** Told of the error that ends the run: the loop wraps it. */
  onError: ((error: unknown) => void) | null = null;
  /** Counts of what is under way outside of the loop, once there is a loop. */
  work: { readonly asyncTasks: number; readonly waits: number } | null = null;
  step = 0;
  count = 0;
  continues = false;
  streak = 0;
  stalled = -1;
  /** Where the task of choice 0 is among the items; -1 if it is not. */
  #first = -1;
  /** Where the task is that is left out; -1 if none is. */
  #left = -1;

  constructor(
    chooser: Chooser,
    trace: Trace,
    inner: Scheduler | null,
    stepsMax: number,
    onStepsMax: () => void,
  ) {
    trace.clear();
    this.#chooser = chooser;
    this.#trace = trace;
    this.#inner = inner;
    this.#stepsMax = stepsMax;
    this.#onStepsMax = onStepsMax;
  }

  /**
   * While async functions run, each step is a turn of its own, so that they come to
   * their next operation before the next step.
   */
  get handlesPerTurnMax(): number {
    const { work } = this;
    return work === null || work.asyncTasks > 0 || work.waits > 0
      ? 1
      : STEPS_PER_TURN_MAX;
  }

  push(item: ReadyItem): void {
    if (this.#inner === null) {
      this.#items.push(item);
      this.#keys.push(keyOf(item));
    } else this.#inner.push(item);
  }

  requeued(item: ReadyItem): void {
    if (this.#inner !== null) this.#inner.requeued?.(item);
    else {
      const index = this.#items.indexOf(item);
      if (index >= 0) this.#remove(index);
    }
  }

  clear(): void {
    this.#items = [];
    this.#keys = [];
    this.#inner?.clear();
  }

  shift(): ReadyItem | undefined {
    try {
      return this.#next();
    } catch (error) {
      this.onError?.(error);
      throw error;
    }
  }

  #next(): ReadyItem | undefined {
    const inner = this.#inner;
    if (inner !== null) {
      this.#items = [...inner.candidates!()];
      this.#keys = this.#items.map(keyOf);
    }
    const items = this.#items;
    if (items.length === 0) return undefined;
    if (this.step === this.#stepsMax) this.#onStepsMax();
    this.#survey();
    const choice = this.count === 1 ? 0 : this.#chooser.choose(this);
    const index = this.#indexOf(choice);
    const item = items[index]!;
    this.listener?.(this.#inOrder(), item);
    this.#record(choice, this.#keys[index]!);
    if (inner === null) this.#remove(index);
    else inner.take!(item);
    return item;
  }

  keyAt(choice: number): number {
    return this.#keys[this.#indexOf(choice)]!;
  }

  /** Looks which choices there are. */
  #survey(): void {
    const keys = this.#keys;
    const count = keys.length;
    let at = count - 1;
    while (at >= 0 && keys[at] !== this.#last) at--;
    const stalls = at >= 0 && count > 1 && this.streak >= STREAK_MAX;
    this.#left = stalls ? at : -1;
    this.#first = stalls ? -1 : at;
    this.stalled = stalls ? this.#last : -1;
    this.continues = this.#first >= 0;
    this.count = stalls ? count - 1 : count;
  }

  /** Where the item of a choice is. */
  #indexOf(choice: number): number {
    const first = this.#first;
    if (first >= 0) {
      if (choice === 0) return first;
      return choice <= first ? choice - 1 : choice;
    }
    return this.#left >= 0 && choice >= this.#left ? choice + 1 : choice;
  }

  #inOrder(): ReadyItem[] {
    return Array.from(
      { length: this.count },
      (_, choice) => this.#items[this.#indexOf(choice)]!,
    );
  }

  /** Takes an item out. There are few, mostly: moving them is faster than `splice`. */
  #remove(index: number): void {
    const items = this.#items;
    const keys = this.#keys;
    for (let at = index + 1; at < items.length; at++) {
      items[at - 1] = items[at]!;
      keys[at - 1] = keys[at]!;
    }
    items.pop();
    keys.pop();
  }

  #record(choice: number, key: number): void {
    const { keys } = this.#trace;
    const first = this.#first;
    const same = this.#left >= 0 ? LEFT : first >= 0 ? FIRST : ABSENT;
    this.#trace.add(choice, this.count, same, keys.length);
    const ready = this.#keys;
    const numbers = keys.reserve(ready.length);
    let at = keys.length;
    if (first >= 0) numbers[at++] = ready[first]!;
    for (let index = 0; index < ready.length; index++) {
      if (index !== first && index !== this.#left) {
        numbers[at++] = ready[index]!;
      }
    }
    keys.length = at;
    this.step++;
    if (!isTaskKey(key)) return;
    this.streak = key === this.#last ? this.streak + 1 : 1;
    this.#last = key;
  }
}
