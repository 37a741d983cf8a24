/**
 * Looking at the threads of this process from outside.
 *
 * @module
 */
import { assert } from "@std/assert";

/** Whether the system shows the threads of a process. */
export const canCountThreads: boolean = Deno.build.os === "linux";

/** How many threads the runtime has started for workers. */
export function countThreads(): number {
  let count = 0;
  for (const { name } of Deno.readDirSync("/proc/self/task")) {
    try {
      const comm = Deno.readTextFileSync(`/proc/self/task/${name}/comm`);
      if (comm.startsWith("worker-")) count++;
    } catch (error) { // it has just ended
      if (!isGone(error)) throw error;
    }
  }
  return count;
}

function isGone(error: unknown): boolean {
  return error instanceof Deno.errors.NotFound ||
    error instanceof Error && error.message.includes("os error 3");
}

/** Clock ticks of CPU time that this process has used: a hundred a second. */
export function cpuTicks(): number {
  const stat = Deno.readTextFileSync("/proc/self/stat");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return Number(fields[11]) + Number(fields[12]);
}

/** Waits for an outside fact, and fails if it does not come about. */
export async function eventually(
  what: string,
  isSo: () => boolean,
  boundMs = 20_000,
): Promise<void> {
  const untilMs = performance.now() + boundMs;
  while (!isSo()) {
    assert(performance.now() < untilMs, `not in time: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
