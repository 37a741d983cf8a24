/**
 * Counts words and remembers where they stand: the part of the demo that knows
 * nothing of tasks.
 *
 * @module
 */

/** The place of a line. */
export interface Place {
  readonly path: string;
  /** Counted from 1. */
  readonly line: number;
}

/** One line of a file. */
export interface Line extends Place {
  readonly text: string;
}

/** What is known of a word in one file. */
interface Occurrences extends Place {
  count: number;
}

/** A line that is longer than most. */
interface LongLine extends Place {
  /** In characters. */
  readonly length: number;
}

/** What counts as a word: an identifier of JavaScript. */
const WORD = /[\p{ID_Start}$_][\p{ID_Continue}$]*/gu;
const LONGEST_LINES = 10;
const PLACES_PER_WORD = 6;

/** An index of words, filled line by line, in any order of the files. */
export class Concordance {
  /** For each word, its occurrences in each file that has it, by path. */
  readonly #words = new Map<string, Map<string, Occurrences>>();
  #longest: LongLine[] = [];
  #lines = 0;
  #total = 0;

  /** How many lines were added. */
  get lines(): number {
    return this.#lines;
  }

  /** How many words were added, counting each as often as it stands there. */
  get total(): number {
    return this.#total;
  }

  /** How many of them are different. */
  get different(): number {
    return this.#words.size;
  }

  /** Adds the words of a line. */
  add({ path, line, text }: Line): void {
    this.#lines++;
    for (const [word] of text.matchAll(WORD)) {
      this.#total++;
      let files = this.#words.get(word);
      if (files === undefined) this.#words.set(word, files = new Map());
      const known = files.get(path);
      if (known === undefined) files.set(path, { path, line, count: 1 });
      else known.count++;
    }
    this.#noteLength({ path, line, length: text.length });
  }

  #noteLength(line: LongLine): void {
    const last = this.#longest.at(LONGEST_LINES - 1);
    if (last !== undefined && compareLength(line, last) >= 0) return;
    this.#longest.push(line);
    this.#longest.sort(compareLength);
    this.#longest.length = Math.min(this.#longest.length, LONGEST_LINES);
  }

  /** The words with the most occurrences, and how many these are. */
  mostFrequent(limit: number): [word: string, count: number][] {
    return this.#counts().slice(0, limit);
  }

  #counts(): [word: string, count: number][] {
    const counts = [...this.#words].map(([word, files]): [string, number] => {
      let count = 0;
      for (const occurrences of files.values()) count += occurrences.count;
      return [word, count];
    });
    return counts.sort((a, b) => b[1] - a[1] || compare(a[0], b[0]));
  }

  /** The whole index as text, the most frequent words first. */
  format(heading: string): string {
    const counts = this.#counts();
    const width = String(counts[0]?.[1] ?? 0).length;
    return [
      heading,
      "",
      "The longest lines, in characters:",
      "",
      ...this.#longest.map(({ length, path, line }) =>
        `${String(length).padStart(width)}  ${path}:${line}`
      ),
      "",
      "The words, each with its number and where it comes first in the files",
      "that have the most of it:",
      "",
      ...counts.map(([word, count]) =>
        `${String(count).padStart(width)}  ${word}  ${this.#places(word)}`
      ),
      "",
    ].join("\n");
  }

  #places(word: string): string {
    const files = [...this.#words.get(word)?.values() ?? []];
    files.sort((a, b) => b.count - a.count || compare(a.path, b.path));
    const places = files.slice(0, PLACES_PER_WORD).map((
      { path, line, count },
    ) => `${path}:${line}${count > 1 ? ` (${count})` : ""}`);
    const more = files.length - places.length;
    return places.join(", ") + (more > 0 ? ` and ${more} more` : "");
  }
}

function compareLength(a: LongLine, b: LongLine): number {
  return b.length - a.length || compare(a.path, b.path) || a.line - b.line;
}

/** By code units, so that the result does not depend on the language of the system. */
function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
