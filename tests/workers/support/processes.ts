/**
 * What the tests of processes know of processes.
 *
 * @module
 */

/** Whether a process is there, and is no zombie. */
export function isAlive(pid: number): boolean {
  try {
    const stat = Deno.readTextFileSync(`/proc/${pid}/stat`);
    return stat.slice(stat.lastIndexOf(")") + 2, stat.lastIndexOf(")") + 3) !==
      "Z";
  } catch {
    return false;
  }
}

/** Processes that this one has started, threads of them not among them. */
export function childrenOf(pid: number): number[] {
  const children: number[] = [];
  for (const { name } of Deno.readDirSync("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    try {
      const stat = Deno.readTextFileSync(`/proc/${name}/stat`);
      const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
      if (Number(fields[1]) === pid) children.push(Number(name));
    } catch {
      // It has ended meanwhile.
    }
  }
  return children;
}

/** Waits until something is so, for 20 seconds at most. */
export async function until(
  what: string,
  isSo: () => boolean | Promise<boolean>,
): Promise<void> {
  const limit = performance.now() + 20_000;
  while (!await isSo()) {
    if (performance.now() > limit) throw new Error(`It was not so: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
