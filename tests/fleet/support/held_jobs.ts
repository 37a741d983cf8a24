/**
 * Functions for workers that are killed, or block.
 *
 * @module
 */
import { currentJob, sleep } from "@rota/rota";

/** Says that it has begun, and ends at once if its process was started to finish; else never. */
export async function hold(name: string): Promise<number> {
  const { fencingToken } = currentJob()!.lease!;
  console.log(`began ${name} ${fencingToken}`);
  if (Deno.args[3] === "hold") await sleep(1_000_000);
  return fencingToken;
}

/** Blocks its thread until a file is there. Returns its fencing token. */
export function blockUntil(path: string): number {
  const job = currentJob()!;
  const { fencingToken } = job.lease!;
  console.log(`blocks ${fencingToken}`);
  const cell = new Int32Array(new SharedArrayBuffer(4));
  while (Deno.args[3] !== "finish" && !exists(path)) {
    Atomics.wait(cell, 0, 0, 10);
  }
  console.log(`unblocked ${fencingToken}`);
  return fencingToken;
}

/** Returns what it was given. */
export function echo(value: string): string {
  return value;
}

/** Returns so many characters. */
export function grow(length: number): string {
  return "x".repeat(length);
}

function exists(path: string): boolean {
  try {
    Deno.statSync(path);
    return true;
  } catch {
    return false;
  }
}
