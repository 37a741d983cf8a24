/**
 * Adds up the words of all files and remembers where they are: the part of the
 * demo that knows nothing of tasks and threads.
 *
 * @module
 */

import { LONGEST_LINES, type Parsed } from "./parse.ts";

/** The place of a line. */
export interface Place {
  readonly path: string;
  /** Counted from 1. */
  readonly line: number;
}

/** What is known of a word in one file. */
interface Occurrences {
  readonly path: string;
  /** Line in which it comes first. */
  line: number;
  count: number;
}

/** A line that is longer than most. */
interface LongLine extends Place {
  /** In characters. */
  readonly length: number;
}

const PLACES_PER_WORD = 6;

/** An index of words, filled block by block, in any order. */
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

  /** Adds the words of a block. */
  add({ path, lines, words, longest }: Parsed): void {
    this.#lines += lines;
    for (const { word, count, line } of words) {
      this.#total += count;
      let files = this.#words.get(word);
      if (files === undefined) this.#words.set(word, files = new Map());
      const known = files.get(path);
      if (known === undefined) files.set(path, { path, line, count });
      else {
        known.count += count;
        known.line = Math.min(known.line, line);
      }
    }
    for (const { line, length } of longest) {
      this.#noteLength({ path, line, length });
    }
  }

  #noteLength(line: LongLine): void {
    const last = this.#longest.at(LONGEST_LINES - 1);
    if (last !== undefined && compareLength(line, last) >= 0) return;
    this.#longest.push(line);
    this.#longest.sort(compareLength);
    this.#longest.length = Math.min(this.#longest.length, LONGEST_LINES);
  }

  /** How often a word was found. */
  countOf(word: string): number {
    let count = 0;
    for (const occurrences of this.#words.get(word)?.values() ?? []) {
      count += occurrences.count;
    }
    return count;
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
