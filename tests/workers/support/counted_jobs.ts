/**
 * Jobs that note each of their runs where the pool cannot know of it.
 *
 * @module
 */

/** Notes a run of job `index` in memory that is shared by all threads; computes for a while. */
export function countInMemory(
  index: number,
  shared: SharedArrayBuffer,
): number {
  Atomics.add(new Int32Array(shared), index, 1);
  compute();
  return index;
}

/** The same as an async function. */
export async function countInMemoryLater(
  index: number,
  shared: SharedArrayBuffer,
): Promise<number> {
  Atomics.add(new Int32Array(shared), index, 1);
  await null;
  compute();
  return index;
}

/** Notes a run of job `index` by appending a line to a file, which is one write. */
export function countInFile(index: number, path: string): number {
  Deno.writeTextFileSync(path, `${index}\n`, { append: true });
  return index;
}

function compute(): void {
  let sum = 0;
  for (let n = 0; n < 20_000; n++) sum += n % 7;
  if (sum < 0) throw new Error("Cannot be");
}
