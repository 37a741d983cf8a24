/**
 * Finds the words of a piece of a file: the part of the demo that runs in
 * threads. It imports nothing, so that a thread has little to load.
 *
 * @module
 */

/** Some lines of one file, one after the other. */
export interface Block {
  readonly path: string;
  /** Number of the first line, counted from 1. */
  readonly line: number;
  readonly texts: readonly string[];
}

/** What there is of one word in a block. */
export interface WordCount {
  readonly word: string;
  readonly count: number;
  /** Line in which it comes first. */
  readonly line: number;
}

/** Everything that the concordance has to know of a block. */
export interface Parsed {
  readonly path: string;
  readonly lines: number;
  readonly words: readonly WordCount[];
  /** The longest lines of the block, the longest first. */
  readonly longest: readonly {
    readonly line: number;
    readonly length: number;
  }[];
}

/** How many of the longest lines are kept, of a block and of all. */
export const LONGEST_LINES = 10;

/** What counts as a word: an identifier of JavaScript. */
const WORD = /[\p{ID_Start}$_][\p{ID_Continue}$]*/gu;

/** Counts the words of a block. */
export function parse({ path, line, texts }: Block): Parsed {
  const words = new Map<
    string,
    { word: string; count: number; line: number }
  >();
  for (const [index, text] of texts.entries()) {
    for (const [word] of text.matchAll(WORD)) {
      const known = words.get(word);
      if (known === undefined) {
        words.set(word, { word, count: 1, line: line + index });
      } else known.count++;
    }
  }
  const lengths = texts.map(({ length }, index) => ({
    line: line + index,
    length,
  }));
  lengths.sort((a, b) => b.length - a.length || a.line - b.line);
  return {
    path,
    lines: texts.length,
    words: [...words.values()],
    longest: lengths.slice(0, LONGEST_LINES),
  };
}
