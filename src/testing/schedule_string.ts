/**
 * Schedules as text: `r1` (the version), a letter for what was found, the number of
 * steps, a checksum of the text, and the choices.
 *
 * The choices are digits of one large number, each to the base of how many choices
 * its step had: a step without a choice takes no room, one with three takes 1.6 bits.
 * Digits in between, and one at the end, are checksums of what was ready, by kind,
 * number and name: so a program that does something else is noticed within eight
 * steps. 100 steps take at most 200 characters as long as no more than 1,000 items
 * are ready at a time.
 *
 * @module
 */
import { type ExplorationFailureKind, ScheduleError } from "../errors.ts";
import { inspect } from "../loop/checks.ts";
import type { ReadyItem } from "../loop/scheduler.ts";

const VERSION = "r1";
/** After so many steps there is a checksum of what was ready. */
const STEPS_PER_CHECK = 8;
const CHECK_BASE = 64;
const LAST_CHECK_BASE = 2 ** 24;
const DIGITS =
  "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_";
const LETTERS: Readonly<Record<string, ExplorationFailureKind>> = {
  e: "error",
  u: "unhandled",
  d: "deadlock",
  l: "livelock",
  s: "standstill",
};
const FNV_BASIS = 0x811c9dc5;
const FNV_PRIME = 0x01000193;

/** FNV-1a of the code units of a text, going on from `hash`. */
function hashText(text: string, hash = FNV_BASIS): number {
  for (let index = 0; index < text.length; index++) {
    hash = Math.imul(hash ^ text.charCodeAt(index), FNV_PRIME) >>> 0;
  }
  return hash;
}

/** Checksum of what was ready, step by step. */
export class ReadyHash {
  #hash = FNV_BASIS;
  steps = 0;

  add(ready: readonly ReadyItem[], chosen: ReadyItem): void {
    for (const item of ready) this.#addItem(item);
    this.#addItem(chosen);
    this.steps++;
  }

  #addItem({ kind, number, name }: ReadyItem): void {
    this.#hash = hashText(`${kind} ${number} ${name};`, this.#hash);
  }

  /** Whether a checksum is due after the step that was added last. */
  isDue(): boolean {
    return this.steps % STEPS_PER_CHECK === 0;
  }

  below(base: number): number {
    return ((this.#hash ^ this.#hash >>> 15) >>> 0) % base;
  }
}

/** Writes a schedule while it is run: digits and their bases. */
export class ScheduleWriter {
  readonly #digits: number[] = [];
  readonly #bases: number[] = [];
  readonly #hash = new ReadyHash();

  /** Adds a step. */
  add(choice: number, ready: readonly ReadyItem[]): void {
    this.#push(choice, ready.length);
    this.#hash.add(ready, ready[choice]!);
    if (this.#hash.isDue()) {
      this.#push(this.#hash.below(CHECK_BASE), CHECK_BASE);
    }
  }

  #push(digit: number, base: number): void {
    if (base === 1) return;
    this.#digits.push(digit);
    this.#bases.push(base);
  }

  /** Returns the text. */
  finish(kind: ExplorationFailureKind): string {
    this.#push(this.#hash.below(LAST_CHECK_BASE), LAST_CHECK_BASE);
    let number = 0n;
    for (let index = this.#digits.length - 1; index >= 0; index--) {
      number = number * BigInt(this.#bases[index]!) +
        BigInt(this.#digits[index]!);
    }
    const letter = Object.keys(LETTERS).find((one) => LETTERS[one] === kind);
    const steps = this.#hash.steps.toString(36);
    const payload = toDigits(number);
    const sum = checksum(`${letter}.${steps}.${payload}`);
    return `${VERSION}${letter}.${steps}.${sum}.${payload}`;
  }
}

function checksum(text: string): string {
  return toDigits(BigInt(hashText(text) % 64 ** 4)).padStart(4, "0");
}

/** Writes a number to the base 64, highest digit first. */
function toDigits(number: bigint): string {
  // Through base 8, as that is fast for large numbers: two digits make one.
  const octal = number.toString(8);
  const padded = octal.length % 2 === 0 ? octal : `0${octal}`;
  return padded.replace(
    /../g,
    (pair) => DIGITS[Number.parseInt(pair, 8)]!,
  );
}

function fromDigits(text: string): bigint {
  const octal = text.replace(
    /./g,
    (digit) => DIGITS.indexOf(digit).toString(8).padStart(2, "0"),
  );
  return BigInt(`0o${octal}`);
}

const PATTERN = /^r1([eudls])\.([0-9a-z]+)\.([\w-]{4})\.([\w-]+)$/;

/** Reads a schedule while it is run. */
export class ScheduleReader {
  /** Kind of failure that the schedule ends with. */
  readonly kind: ExplorationFailureKind;
  readonly steps: number;
  readonly #hash = new ReadyHash();
  #rest: bigint;

  /**
   * Reads the text.
   *
   * @throws {TypeError} If it is not a string.
   * @throws {ScheduleError} If it is no schedule, broken, or of another version.
   */
  constructor(text: unknown) {
    const what = "Cannot replay a program as schedule must be";
    if (typeof text !== "string") {
      throw new TypeError(`${what} a string: received ${inspect(text)}`);
    }
    const match = PATTERN.exec(text.trim());
    if (match === null) {
      const version = /^r\d+(?=[a-z]\.)/.exec(text.trim())?.[0];
      throw new ScheduleError(
        version === undefined || version === VERSION
          ? `${what} one that explore() has printed: received ${inspect(text)}`
          : `${what} of version ${VERSION}: received one of version ${version}`,
        null,
      );
    }
    const [, letter, steps, sum, payload] = match as unknown as string[];
    if (checksum(`${letter}.${steps}.${payload}`) !== sum) {
      throw new ScheduleError(
        `${what} complete: its checksum is wrong, a character is missing or has changed`,
        null,
      );
    }
    this.kind = LETTERS[letter!]!;
    this.steps = Number.parseInt(steps!, 36);
    this.#rest = fromDigits(payload!);
  }

  /** Reads the choice of a step with so many. */
  next(count: number): number {
    return this.#digit(count);
  }

  /**
   * Compares what was ready at a step with what is written.
   *
   * @throws {ScheduleError} If that is something else, or the schedule has no more steps.
   */
  check(ready: readonly ReadyItem[], chosen: ReadyItem): void {
    const hash = this.#hash;
    if (hash.steps >= this.steps) {
      throw this.#mismatch("goes on after the last step of the schedule,");
    }
    hash.add(ready, chosen);
    if (hash.isDue() && this.#digit(CHECK_BASE) !== hash.below(CHECK_BASE)) {
      throw this.#mismatch("has other things ready");
    }
    if (hash.steps < this.steps) return;
    if (this.#digit(LAST_CHECK_BASE) !== hash.below(LAST_CHECK_BASE)) {
      throw this.#mismatch("has other things ready");
    }
  }

  /** Returns the failure of the run. Throws unless all steps were made, and it is of the kind that is written. */
  finish<F extends { readonly kind: ExplorationFailureKind }>(
    failure: F | null,
  ): F {
    if (this.#hash.steps < this.steps) {
      throw this.#mismatch(
        `has ended too soon${failure === null ? "" : ` by ${failure.kind}`},`,
      );
    }
    if (failure?.kind !== this.kind) {
      throw this.#mismatch(
        `ends ${
          failure === null ? "well" : `by ${failure.kind}`
        }, and not by ${this.kind},`,
      );
    }
    return failure;
  }

  #digit(base: number): number {
    if (base === 1) return 0;
    const digit = Number(this.#rest % BigInt(base));
    this.#rest /= BigInt(base);
    return digit;
  }

  #mismatch(how: string): ScheduleError {
    const { steps } = this.#hash;
    return new ScheduleError(
      `Cannot replay the schedule: the program ${how} at step ${steps}, so it is not the one that was recorded, ` +
        "or has changed since",
      steps,
    );
  }
}
