/**
 * Line for the slots of a limit: by priority, first come, first served.
 *
 * @module
 */
import { LinkedList } from "../structures/linked_list.ts";
import type { AnyClaim } from "./claim.ts";

/** How many lines of different priorities there may be before empty ones are given up. */
const LINES_KEPT_MAX = 16;

/** Claims of one priority, first come, first served. */
class Line extends LinkedList<AnyClaim> {
  readonly rank: number;

  constructor(rank: number) {
    super();
    this.rank = rank;
  }
}

/**
 * Queue by priority: higher first, and first come, first served among equals.
 * Joining and leaving take constant time, whatever is in line; a priority that
 * nobody in line has takes time in proportion to the number of different ones.
 */
export class ClaimQueue {
  readonly #lines = new Map<number, Line>();
  /** The same lines, the lowest priority first. */
  readonly #sorted: Line[] = [];
  /** Line that was joined last: most claims have the same priority. */
  #latest: Line | null = null;
  #length = 0;

  /** How many claims are in line. */
  get length(): number {
    return this.#length;
  }

  /** Adds a claim as the last of its priority. */
  add(claim: AnyClaim): void {
    const { rank } = claim;
    const latest = this.#latest;
    if (latest !== null && latest.rank === rank) latest.append(claim);
    else {
      const line = this.#latest = this.#lines.get(rank) ?? this.#open(rank);
      line.append(claim);
    }
    this.#length++;
  }

  /** Adds a claim as the first of its priority: it has been in line before. */
  addFirst(claim: AnyClaim): void {
    const { rank } = claim;
    const line = this.#lines.get(rank) ?? this.#open(rank);
    line.prepend(claim);
    this.#length++;
  }

  /** Takes out a claim that is in line. */
  remove(claim: AnyClaim): void {
    claim.list!.remove(claim);
    this.#length--;
  }

  /** Moves a claim that is in line to the end of the line of another priority. */
  move(claim: AnyClaim, rank: number): void {
    this.remove(claim);
    claim.rank = rank;
    this.add(claim);
  }

  /** Returns the first claim of the highest priority. */
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

  /** Returns the oldest or newest job of the lowest priority that any job has. */
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

  /** Yields all claims in the order in which they are served. Claims that were yielded may leave meanwhile. */
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
    if (this.#latest === line) this.#latest = null;
  }
}
