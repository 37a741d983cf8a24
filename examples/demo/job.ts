/**
 * What the children of the demo share. It outlives each of them: one that is
 * restarted goes on where the last one was. Nobody else runs between two waits,
 * so it needs no lock.
 *
 * @module
 */

import { Queue, type ThreadPool } from "@rota/rota";
import { Concordance } from "./concordance.ts";
import type { Source } from "./files.ts";
import type { Block } from "./parse.ts";
import { Status } from "./status.ts";

const BLOCKS_WAITING_MAX = 8;

/** The state of one run of the demo. */
export class Job {
  readonly sources: readonly Source[];
  /** Sources that no reader has taken: whichever is free takes the next one. */
  readonly unread: IterableIterator<Source>;
  /** Blocks of lines on their way from the readers to the counters. */
  readonly blocks: Queue<Block> = new Queue(BLOCKS_WAITING_MAX);
  readonly concordance: Concordance = new Concordance();
  readonly status: Status = new Status();
  /** The threads that parse, while they run. */
  pool: ThreadPool | null = null;
  filesDone = 0;
  unreadable = 0;
  /** Size of all files together; those of unknown size count as 0. */
  bytes = 0;
  bytesRead = 0;
  blocksTaken = 0;
  /** How long the server is asked, in milliseconds. */
  readonly askMs: number;
  /** Questions that the server has answered. */
  answers = 0;
  /** Questions that it has refused. */
  refusals = 0;
  /** A line for each restart. */
  readonly restarts: string[] = [];

  constructor(sources: readonly Source[], askMs: number) {
    this.sources = sources;
    this.askMs = askMs;
    this.unread = sources.values();
  }

  /** Whether every file was read, or could not be. */
  get isComplete(): boolean {
    return this.filesDone + this.unreadable === this.sources.length;
  }
}
