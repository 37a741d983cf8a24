/**
 * Facts that the operating system knows of another process.
 *
 * @module
 */
import { OS } from "./platform.ts";
import { readGranted } from "./process.ts";

/** Clock ticks in a second, in which the kernel counts towards programs: 100 on every system that Deno runs on. */
const TICK_MS = 10;

/**
 * Returns the CPU time that a process has used, in milliseconds, in steps of ten.
 *
 * @returns `NaN` where that cannot be known: not on Linux, no such process, or files of the system may not be read, which
 * takes `--allow-all`.
 */
export function cpuMsOf(pid: number): number {
  const path = `/proc/${pid}/stat`;
  if (OS !== "linux" || !readGranted(`file://${path}`)) return NaN;
  let text: string;
  try {
    text = Deno.readTextFileSync(path);
  } catch {
    return NaN;
  }
  // The second field is the name of the program, which may have anything in it.
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) * TICK_MS;
}

/** Pages of memory are of this size on all that Deno runs on, but for some ARM systems, where the figure is too small. */
const PAGE_BYTES = 4_096;

/**
 * Returns how much memory a process has in use (its resident set), in bytes.
 *
 * @returns `NaN` where that cannot be known: not on Linux, no such process, or files of the system may not be read, which
 * takes `--allow-all`.
 */
export function residentBytesOf(pid: number): number {
  const path = `/proc/${pid}/statm`;
  if (OS !== "linux" || !readGranted(`file://${path}`)) return NaN;
  try {
    return Number(Deno.readTextFileSync(path).split(" ")[1]) * PAGE_BYTES;
  } catch {
    return NaN;
  }
}

/**
 * Whether facts of other processes can be known. Looks at this one: without `--allow-all` the runtime says that files of the
 * system may be read, and refuses to.
 */
export function canWatchProcesses(): boolean {
  return !Number.isNaN(residentBytesOf(Deno.pid));
}
