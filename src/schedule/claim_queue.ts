import { LinkedList } from "../structures/linked_list.ts";
import type { Claim } from "./claim.ts";

/** Lines that are empty are kept for the next who comes, but not more than so many lines. */
const LINES_KEPT_MAX = 16;

type AnyClaim = Claim<unknown>;

/** Those of one priority, first come, first served. */
class Line extends LinkedList<AnyClaim> {
  readonly rank: number;

  constructor(rank: number) {
    super();
    this.rank = rank;
  }
}

/**
 * A queue by priority: the higher first, and first come, first served among
 * equals. Whatever is in line, coming and leaving take constant time; a
 * priority that nobody in line has takes time in proportion to the number of
 * different ones.
 */
export class ClaimQueue {
  readonly #lines = new Map<number, Line>();
  /** The same lines, the lowest priority first. */
  readonly #sorted: Line[] = [];
  #length = 0;

  /** How many are in line. */
  get length(): number {
    return this.#length;
  }

  /** Comes in as the last of its priority. */
  add(claim: AnyClaim): void {
    (this.#lines.get(claim.rank) ?? this.#open(claim.rank)).append(claim);
    this.#length++;
  }

  /** Takes out one who is in line. */
  remove(claim: AnyClaim): void {
    claim.list!.remove(claim);
    this.#length--;
  }

  /** Moves one who is in line to the end of the line of another priority. */
  move(claim: AnyClaim, rank: number): void {
    this.remove(claim);
    claim.rank = rank;
    this.add(claim);
  }

  /** The first of the highest priority. */
  peek(): AnyClaim | undefined {
    if (this.#length === 0) return undefined;
    const sorted = this.#sorted;
    for (let index = sorted.length - 1; index >= 0; index--) {
      const { first } = sorted[index]!;
      if (first !== undefined) return first;
      if (sorted.length > LINES_KEPT_MAX) this.#close(index);
    }
    return undefined;
  }

  /** The job that has come first, or last, of those of the lowest priority that any job has. */
  findLowestJob(which: "oldest" | "newest"): AnyClaim | undefined {
    for (const line of this.#sorted) {
      let claim = which === "oldest" ? line.first : line.last;
      while (claim !== undefined && !claim.isJob) {
        claim = which === "oldest" ? claim.nextNode : claim.previousNode;
      }
      if (claim !== undefined) return claim;
    }
    return undefined;
  }

  /** Yields all in the order in which they are served. Those it has yielded may leave meanwhile. */
  *[Symbol.iterator](): Generator<AnyClaim, void, undefined> {
    for (const line of [...this.#sorted].reverse()) yield* line;
  }

  #open(rank: number): Line {
    const sorted = this.#sorted;
    let low = 0;
    let high = sorted.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (sorted[middle]!.rank < rank) low = middle + 1;
      else high = middle;
    }
    const line = new Line(rank);
    sorted.splice(low, 0, line);
    this.#lines.set(rank, line);
    return line;
  }

  #close(index: number): void {
    const [line] = this.#sorted.splice(index, 1);
    this.#lines.delete(line!.rank);
  }
}
