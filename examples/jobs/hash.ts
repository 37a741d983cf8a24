/**
 * Hashes files in a thread.
 *
 * @module
 */
import { createHash } from "node:crypto";

/** What is known of a file. */
export interface HashedFile {
  readonly path: string;
  readonly bytes: number;
  readonly sha256: string;
}

/** Reads a file and returns its SHA-256. Blocks its thread, which is what the thread is for. */
export function hashFile(path: string): HashedFile {
  const content = Deno.readFileSync(path);
  const sha256 = createHash("sha256").update(content).digest("hex");
  return { path, bytes: content.length, sha256 };
}
