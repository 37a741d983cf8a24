/**
 * Looks at the job now and then. Shows it live if standard error is a terminal,
 * and knows at the end how busy the threads were.
 *
 * @module
 */

import type { SupervisorTree } from "@rota/rota";
import type { Job } from "./job.ts";

const BAR_WIDTH = 30;
/** Goes up so many lines and clears all below. */
const clearUp = (lines: number): string => `\x1b[${lines}F\x1b[J`;

/** The lines that are on the terminal, and what was seen so far. */
export class Status {
  readonly #isLive: boolean = Deno.stderr.isTerminal();
  #linesShown = 0;
  #looks = 0;
  #busyThreads = 0;
  #waitingBlocks = 0;

  /** Notes how things are, and shows them on a terminal. */
  look(job: Job, tree: SupervisorTree): void {
    this.#looks++;
    this.#busyThreads += job.pool?.stats().running ?? 0;
    this.#waitingBlocks += job.blocks.size;
    if (!this.#isLive) return;
    const text = `${tree}\n${bar(job)}\n`;
    this.clear();
    this.#linesShown = text.split("\n").length - 1;
    write(text);
  }

  /** Removes what is shown. */
  clear(): void {
    if (this.#linesShown > 0) write(clearUp(this.#linesShown));
    this.#linesShown = 0;
  }

  /** Writes a line that stays. */
  complain(message: string): void {
    this.clear();
    console.error(message);
  }

  /** Returns the averages of all looks. */
  toString(): string {
    const average = (sum: number): string =>
      (sum / Math.max(this.#looks, 1)).toFixed(1);
    return `Status averages ${average(this.#busyThreads)} busy threads and ` +
      `${average(this.#waitingBlocks)} waiting blocks (${this.#looks} looks)`;
  }
}

function bar({ sources, filesDone, bytes, bytesRead }: Job): string {
  const filled = Math.floor(BAR_WIDTH * Math.min(bytesRead / (bytes || 1), 1));
  return `[${"#".repeat(filled)}${"-".repeat(BAR_WIDTH - filled)}] ` +
    `${filesDone} of ${sources.length} files, ` +
    `${(bytesRead / 1e6).toFixed(1)} MB`;
}

const encoder = new TextEncoder();

function write(text: string): void {
  Deno.stderr.writeSync(encoder.encode(text));
}
