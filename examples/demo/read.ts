/**
 * The child that reads: several readers, which put blocks of lines into the
 * bounded queue.
 *
 * @module
 */

import {
  type Coroutine,
  isCancellation,
  shutdownSignal,
  taskGroup,
} from "@rota/rota";
import { readBlocks } from "./files.ts";
import type { Job } from "./job.ts";

const READERS = 4;

/** Reads all files, or until the shutdown begins; what was read by then is counted. */
export function* readAll(job: Job): Coroutine<void> {
  try {
    yield* taskGroup((group) => {
      for (let n = 1; n <= READERS; n++) {
        group.createTask(() => read(job), { name: `reader ${n}` });
      }
    }, { signal: shutdownSignal });
  } catch (error) {
    if (error !== shutdownSignal.reason) throw error;
  }
  job.blocks.shutdown(); // the counters take what is in there, and end
}

function* read(job: Job): Coroutine<void> {
  for (const source of job.unread) {
    try {
      yield* readBlocks(source, job.blocks, (bytes) => job.bytesRead += bytes);
      job.filesDone++;
    } catch (error) {
      if (isCancellation(error)) throw error;
      job.unreadable++;
      job.status.complain(`Cannot read ${source.name}: ${reasonOf(error)}`);
    }
  }
}

function reasonOf(error: unknown): string {
  if (error instanceof Deno.errors.NotFound) return "there is no such file";
  return error instanceof Error ? error.message : String(error);
}
