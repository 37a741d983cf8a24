/**
 * Board of a watchdog: the memory that it shares with the thread it watches.
 *
 * The thread that is watched may be stuck, so everything that is to be known of it has to be on the board before. It
 * writes the number of what it runs with each step, and the name that belongs to a number once. Positive numbers are ids
 * of tasks, negative ones those of texts, such as names of callbacks; 0 stands for nothing.
 *
 * @module
 */

/** Places of words on the board. */
export const Word = {
  /** Set by the watchdog: it watches. */
  WATCHES: 0,
  /** Set by the thread: the watchdog is to end. */
  CLOSE: 1,
  /** Counted by the thread while it is not blocked. */
  BEAT: 2,
  /** Number of the step that runs; 0 between turns. */
  STEP: 3,
  /** Number of the task that was resumed last, since the loop has waited. */
  RESUMED: 4,
  /** How many reports the watchdog has sent to the thread. */
  REPORTS: 5,
  /** How many messages the thread has sent to the watchdog. */
  MAILS: 6,
  /** How long the process was suspended in all, in milliseconds. */
  SUSPENDED_MS: 7,
  /** Set by the watchdog: tasks that are resumed are to be told apart, whatever that costs. */
  EXACT: 8,
  /** Signals to listen to, as bits: places in {@linkcode WATCHED_SIGNALS}. */
  SIGNALS: 9,
  /** Time from the first signal to the end of the process, in milliseconds; 0 if no shutdown is to be expected. */
  BUDGET_MS: 10,
  /** Set by the thread: the shutdown has begun, and nobody listens to signals soon. */
  BEGUN: 11,
  /** Set by the watchdog: how long ago the first signal has come, in milliseconds and 1 more; 0 if none has. */
  SIGNALLED_MS: 12,
  /** How many tasks besides {@linkcode Word.RESUMED} may be the one that was resumed last. */
  OTHERS: 13,
  /** Set by the watchdog: how often the thread is to count {@linkcode Word.BEAT} up, in milliseconds. */
  EVERY_MS: 14,
  /** Numbers of these, one after the other. */
  OTHERS_AT: 16,
  WORDS: 48,
} as const;

/** The most tasks that may be the one that was resumed last, besides the first of them. */
export const OTHERS_MAX = 31;

/** Signals that a watchdog can listen to; others are left to the thread. */
export const WATCHED_SIGNALS: readonly Deno.Signal[] = [
  "SIGINT",
  "SIGTERM",
  "SIGHUP",
  "SIGQUIT",
  "SIGUSR1",
  "SIGUSR2",
  "SIGALRM",
  "SIGBREAK",
];

/** How something runs: inside of a step of a loop, as a function that was resumed after it, or outside of both. */
export type RunningKind = "step" | "resumed" | "outside";

/** State of a thread: the thing that it runs. */
export interface Running {
  readonly kind: RunningKind;
  /** Number of the task or text; 0 if nothing is known. */
  readonly number: number;
  /** Numbers of other tasks that it may be instead. */
  readonly others: readonly number[];
}

const NONE: readonly number[] = [];
/** The most tasks that are named where one of several is meant. */
const NAMED_MAX = 4;

const SLOT_BYTES = 64;
/** Names of tasks: those of ids that are this far apart take the place of one another. */
const TASK_SLOTS = 1 << 14;
const TEXT_SLOTS = 1 << 10;

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** Names, each in a slot of its own: a byte for the length and up to 63 bytes of UTF-8. */
class NameTable {
  readonly #bytes: Uint8Array<SharedArrayBuffer>;

  constructor(memory: SharedArrayBuffer, offset: number, slots: number) {
    this.#bytes = new Uint8Array(memory, offset, slots * SLOT_BYTES);
  }

  write(slot: number, name: string): void {
    const at = slot * SLOT_BYTES;
    if (name === "") {
      this.#bytes[at] = 0;
      return;
    }
    const place = this.#bytes.subarray(at + 1, at + SLOT_BYTES);
    this.#bytes[at] = encoder.encodeInto(name, place).written;
  }

  read(slot: number): string {
    const at = slot * SLOT_BYTES;
    const length = this.#bytes[at]!;
    // Decoders take no shared memory.
    return decoder.decode(this.#bytes.slice(at + 1, at + 1 + length));
  }
}

const WORDS_BYTES = Word.WORDS * 4;
const TAGS_BYTES = TASK_SLOTS * 4;
const TASKS_AT = WORDS_BYTES + TAGS_BYTES;
const TEXTS_AT = TASKS_AT + TASK_SLOTS * SLOT_BYTES;
const MEMORY_BYTES = TEXTS_AT + TEXT_SLOTS * SLOT_BYTES;

/** Text for everything that has found no slot. */
const OTHERS = "a callback";

/** View of the board, for either thread. */
export class WatchBoard {
  readonly memory: SharedArrayBuffer;
  /** The words; see {@linkcode Word}. */
  readonly words: Int32Array<SharedArrayBuffer>;
  /** Id of the task whose name is in each slot. */
  readonly tags: Int32Array<SharedArrayBuffer>;
  readonly #tasks: NameTable;
  readonly #texts: NameTable;

  /** @param memory Memory of the other thread; made anew without it. */
  constructor(memory: SharedArrayBuffer = new SharedArrayBuffer(MEMORY_BYTES)) {
    this.memory = memory;
    this.words = new Int32Array(memory, 0, Word.WORDS);
    this.tags = new Int32Array(memory, WORDS_BYTES, TASK_SLOTS);
    this.#tasks = new NameTable(memory, TASKS_AT, TASK_SLOTS);
    this.#texts = new NameTable(memory, TEXTS_AT, TEXT_SLOTS);
  }

  /** Puts the name of a task on the board; `""` if it has none but its id. */
  nameTask(id: number, givenName: string): void {
    const slot = id & (TASK_SLOTS - 1);
    this.tags[slot] = 0;
    this.#tasks.write(slot, givenName);
    this.tags[slot] = id;
  }

  /** Puts a text on the board. False if there is no room for it. */
  nameText(number: number, text: string): boolean {
    if (-number >= TEXT_SLOTS) return false;
    this.#texts.write(-number, text);
    return true;
  }

  /** Returns what the thread runs. */
  running(): Running {
    const step = Atomics.load(this.words, Word.STEP);
    if (step !== 0) return { kind: "step", number: step, others: NONE };
    const number = Atomics.load(this.words, Word.RESUMED);
    if (number === 0) return { kind: "outside", number, others: NONE };
    const count = Atomics.load(this.words, Word.OTHERS);
    const others = [
      ...this.words.slice(Word.OTHERS_AT, Word.OTHERS_AT + count),
    ];
    return { kind: "resumed", number, others };
  }

  /** Returns the name behind a number. */
  nameOf(number: number): string {
    if (number === 0) return "";
    if (number < 0) {
      return -number < TEXT_SLOTS ? this.#texts.read(-number) : OTHERS;
    }
    const slot = number & (TASK_SLOTS - 1);
    const name = this.tags[slot] === number ? this.#tasks.read(slot) : "";
    return name === "" ? `Task-${number}` : name;
  }

  /** Returns what runs in words. */
  describe({ kind, number, others }: Running): string {
    if (kind === "outside") return "code outside of the loop's steps";
    if (others.length > 0) return this.#describeAll([number, ...others]);
    const name = this.nameOf(number);
    const subject = number > 0 ? `task "${name}"` : name;
    return kind === "step" ? subject : `${subject}, which was resumed last`;
  }

  #describeAll(numbers: readonly number[]): string {
    const names = numbers.slice(0, NAMED_MAX).map((number) =>
      `"${this.nameOf(number)}"`
    );
    if (numbers.length > NAMED_MAX) names.push("…");
    return `one of ${numbers.length} tasks that were resumed together: ${
      names.join(", ")
    }`;
  }
}
