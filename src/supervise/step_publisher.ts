/**
 * Publisher of steps: writes to the board of a watchdog what the loops of this thread run.
 *
 * @module
 */
import { microtask } from "../host/microtask.ts";
import { callbackNameOf, Handle } from "../loop/handle.ts";
import { Future } from "../loop/future.ts";
import { TASK_RUN } from "../loop/run_runnable.ts";
import type { Runnable } from "../loop/runnable.ts";
import type { StepWatch } from "../loop/step_watch.ts";
import { YIELD_RUN } from "../loop/sleep.ts";
import { Task } from "../loop/task.ts";
import { inWords } from "../loop/waiters.ts";
import { OTHERS_MAX, type WatchBoard, Word } from "./watch_board.ts";

/** Number of the text that stands for everything that has found no place. */
const NO_ROOM = -0x7fff_ffff;
/** How many tasks that are resumed at once are told apart: a microtask of ours costs 20 to 60 ns. */
const EXACT = 4;
/** Tasks after these are told apart by groups of so many. */
const GROUP = 1 + OTHERS_MAX; // a power of two

/** Watch over the steps of a thread that writes to a board. */
export class StepPublisher implements StepWatch {
  readonly #board: WatchBoard;
  readonly step: Int32Array;
  readonly known: Int32Array;
  readonly #words: Int32Array;
  readonly #tags: Int32Array;
  readonly #mask: number;
  readonly #texts: Map<string, number> = new Map();
  /**
   * Numbers of the tasks that go on in the microtasks to come, in order. A negative one has a microtask of ours right
   * before it, and stands for those after it up to the next negative one, too.
   */
  #queue: Int32Array = new Int32Array(256);
  /** How many tasks are in it, and how many of them have gone on. */
  #resumed = 0;
  #gone = 0;
  /** Place of the next one that gets a microtask. */
  #nextMarked = 0;
  #isExact = false;

  constructor(board: WatchBoard) {
    this.#board = board;
    this.#words = board.words;
    this.#tags = this.known = board.tags;
    this.step = board.words.subarray(Word.STEP, Word.STEP + 1);
    this.#mask = board.tags.length - 1;
  }

  entering(runnable: Runnable): void {
    if (runnable.run !== TASK_RUN) {
      // The task that a `sleep(0)` resumes goes on later.
      const isYield = runnable.run === YIELD_RUN;
      this.#words[Word.STEP] = isYield ? 0 : this.#numberOf(runnable);
      return;
    }
    this.#words[Word.STEP] = this.#numberOfTask(runnable as Task<unknown>);
  }

  leaving(): void {
    this.#words[Word.STEP] = 0;
  }

  parking(): void {
    this.#words[Word.STEP] = 0;
    this.#words[Word.RESUMED] = 0;
    this.#words[Word.OTHERS] = 0;
  }

  resuming(task: Task<unknown>): void {
    const { id } = task;
    if (this.#tags[id & this.#mask] !== id) this.#nameTask(task);
    const place = this.#resumed++;
    if (place === this.#nextMarked) this.#mark(place, id);
    else this.#queue[place] = id;
  }

  /** Has a microtask of ours run before the task. */
  #mark(place: number, id: number): void {
    // The length is a multiple of GROUP, so there is room for the group.
    if (place === this.#queue.length) this.#makeRoom();
    this.#queue[place] = -id;
    this.#nextMarked = this.#isExact || place + 1 < EXACT
      ? place + 1
      : (place | (GROUP - 1)) + 1;
    microtask(this.#goesOn);
  }

  /** From now on each task that is resumed has a microtask of its own. */
  beExact(): void {
    this.#isExact = true;
  }

  /** Runs right before a task goes on, or the first of a group. */
  readonly #goesOn = (): void => {
    const words = this.#words;
    const queue = this.#queue;
    const resumed = this.#resumed;
    let place = this.#gone;
    let others = 0;
    words[Word.RESUMED] = -queue[place++]!;
    while (place < resumed && queue[place]! > 0) {
      words[Word.OTHERS_AT + others++] = queue[place++]!;
    }
    words[Word.OTHERS] = others;
    if (place === resumed) place = this.#resumed = this.#nextMarked = 0;
    this.#gone = place;
  };

  #makeRoom(): void {
    const wider = new Int32Array(2 * this.#queue.length);
    wider.set(this.#queue);
    this.#queue = wider;
  }

  /** Number of a task whose name is on the board, or is put there. */
  #numberOfTask(task: Task<unknown>): number {
    const { id } = task;
    if (this.#tags[id & this.#mask] !== id) this.#nameTask(task);
    return id;
  }

  #nameTask(task: Task<unknown>): void {
    this.#board.nameTask(task.id, task.givenName);
  }

  /** Number of a runnable that is no plain task: a callback, a wait, an internal future. */
  #numberOf(runnable: Runnable): number {
    if (runnable instanceof Handle) {
      const name = callbackNameOf(runnable);
      return this.#numberOfText(name === "" ? "(anonymous)" : name, true);
    }
    const { task } = runnable as { readonly task?: unknown };
    if (task instanceof Task) return this.#numberOfTask(task);
    return runnable instanceof Future
      ? this.#numberOfText((runnable as Future<unknown>)[inWords](), false)
      : this.#numberOfText("a wait", false);
  }

  #numberOfText(text: string, isCallback: boolean): number {
    const known = this.#texts.get(text);
    if (known !== undefined) return known;
    const number = -this.#texts.size - 1;
    const words = isCallback ? `callback "${text}"` : text;
    if (!this.#board.nameText(number, words)) return NO_ROOM;
    this.#texts.set(text, number);
    return number;
  }
}
