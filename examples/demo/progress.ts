/**
 * Shows how far the demo is, on standard error.
 *
 * @module
 */

import { type Coroutine, sleep } from "@rota/rota";

/** How far the work is. */
export interface Progress {
  files: number;
  filesDone: number;
  /** The size of all files together; those of unknown size count as 0. */
  bytes: number;
  bytesRead: number;
}

const EVERY_MS = 50;
const WIDTH = 30;
const CLEAR_LINE = "\r\x1b[K";

/** Draws a bar every now and then, until cancelled; wipes it away at the end. */
export function* showProgress(progress: Progress): Coroutine<never> {
  try {
    for (;;) {
      write(CLEAR_LINE + bar(progress));
      yield* sleep(EVERY_MS);
    }
  } finally {
    write(CLEAR_LINE);
  }
}

function bar({ files, filesDone, bytes, bytesRead }: Progress): string {
  const filled = Math.floor(WIDTH * Math.min(bytesRead / (bytes || 1), 1));
  return `[${"#".repeat(filled)}${"-".repeat(WIDTH - filled)}] ` +
    `${filesDone} of ${files} files, ${(bytesRead / 1e6).toFixed(1)} MB`;
}

const encoder = new TextEncoder();

function write(text: string): void {
  Deno.stderr.writeSync(encoder.encode(text));
}
