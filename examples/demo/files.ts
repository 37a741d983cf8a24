/**
 * Finds files, and reads them line by line.
 *
 * @module
 */

import { type Coroutine, type Queue, until } from "@rota/rota";
import type { Line } from "./concordance.ts";

/** Something to read. */
export interface Source {
  /** What to call it. */
  readonly name: string;
  /** Where it is; `undefined` is standard input. */
  readonly path: string | undefined;
}

const CHUNK_BYTES = 16_384;

/** The TypeScript files below a folder, as paths from there, ordered by name. */
export function* findSources(folder: URL, prefix = ""): Coroutine<Source[]> {
  const sources: Source[] = [];
  const entries = yield* until(Array.fromAsync(Deno.readDir(folder)));
  entries.sort((a, b) => a.name < b.name ? -1 : 1);
  for (const { name, isDirectory } of entries) {
    if (name.startsWith(".") || name === "node_modules") continue;
    if (isDirectory) {
      const inner = new URL(`${name}/`, folder);
      sources.push(...yield* findSources(inner, `${prefix}${name}/`));
    } else if (name.endsWith(".ts")) {
      const path = decodeURIComponent(new URL(name, folder).pathname);
      sources.push({ name: prefix + name, path });
    }
  }
  return sources;
}

/** How many bytes a source has; 0 if that cannot be told. */
export async function sizeOf({ path }: Source): Promise<number> {
  if (path === undefined) return 0;
  try {
    return (await Deno.stat(path)).size;
  } catch {
    return 0; // whoever reads it will say why
  }
}

/**
 * Puts the lines of a source into a queue, one by one, and waits whenever that
 * is full. `onRead` is told how many bytes were read.
 */
export function* readLines(
  { name, path }: Source,
  lines: Queue<Line>,
  onRead: (bytes: number) => void,
): Coroutine<void> {
  const file = path === undefined ? Deno.stdin : yield* until(Deno.open(path));
  try {
    const decoder = new TextDecoder();
    const buffer = new Uint8Array(CHUNK_BYTES);
    let line = 0;
    let rest = "";
    for (let atEnd = false; !atEnd;) {
      const count = yield* until(file.read(buffer));
      atEnd = count === null;
      const bytes = buffer.subarray(0, count ?? 0);
      const texts = decoder.decode(bytes, { stream: !atEnd }).split("\n");
      texts[0] = rest + texts[0];
      rest = texts.pop()!;
      if (atEnd && rest !== "") texts.push(rest);
      for (const text of texts) {
        const place = { path: name, line: ++line };
        yield* lines.put({ ...place, text: text.replace(/\r$/, "") });
      }
      onRead(bytes.length);
    }
  } finally {
    if (file !== Deno.stdin) file.close();
  }
}
