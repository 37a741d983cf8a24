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
  /** How many blocks are over that the watchdog has seen. */
  BLOCKS: 5,
  /** How long the last one was, in milliseconds. */
  BLOCK_MS: 6,
  /** Number of the thing that ran in it. */
  BLOCK_STEP: 7,
  /** How that ran: see {@linkcode RunningKind}. */
  BLOCK_KIND: 8,
  /** Signals to listen to, as bits: places in {@linkcode WATCHED_SIGNALS}. */
  SIGNALS: 9,
  /** Time from the first signal to the end of the process, in milliseconds; 0 if no shutdown is to be expected. */
  BUDGET_MS: 10,
  /** Set by the thread: the shutdown has begun, and nobody listens to signals soon. */
  BEGUN: 11,
  /** Set by the watchdog: how long ago the first signal has come, in milliseconds and 1 more; 0 if none has. */
  SIGNALLED_MS: 12,
  WORDS: 16,
} as const;

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

/** Kinds by their number on the board. */
const KINDS: readonly RunningKind[] = ["outside", "step", "resumed"];

/** State of a thread: the thing that it runs. */
export interface Running {
  readonly kind: RunningKind;
  /** Number of the task or text; 0 if nothing is known. */
  readonly number: number;
}

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
    if (step !== 0) return { kind: "step", number: step };
    const resumed = Atomics.load(this.words, Word.RESUMED);
    return resumed === 0
      ? { kind: "outside", number: 0 }
      : { kind: "resumed", number: resumed };
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
  describe({ kind, number }: Running): string {
    if (kind === "outside") return "code outside of the loop's steps";
    const name = this.nameOf(number);
    const subject = number > 0 ? `task "${name}"` : name;
    return kind === "step" ? subject : `${subject}, which was resumed last`;
  }

  // -- Blocks that are over --

  /** Notes a block that is over, for the thread that was blocked. */
  noteBlock(running: Running, blockedMs: number): void {
    const { words } = this;
    words[Word.BLOCK_MS] = blockedMs;
    words[Word.BLOCK_STEP] = running.number;
    words[Word.BLOCK_KIND] = KINDS.indexOf(running.kind);
    Atomics.add(words, Word.BLOCKS, 1);
  }

  /** Returns the last block that is over. */
  lastBlock(): { readonly running: Running; readonly blockedMs: number } {
    const { words } = this;
    const kind = KINDS[words[Word.BLOCK_KIND]!] ?? "outside";
    return {
      running: { kind, number: words[Word.BLOCK_STEP]! },
      blockedMs: words[Word.BLOCK_MS]!,
    };
  }
}
