/**
 * Finds files, and reads them in blocks of whole lines.
 *
 * @module
 */

import { type Coroutine, type Queue, until } from "@rota/rota";
import type { Block } from "./parse.ts";

/** Something to read. */
export interface Source {
  /** What to call it. */
  readonly name: string;
  /** Where it is; `undefined` is standard input. */
  readonly path: string | undefined;
}

const CHUNK_BYTES = 65_536;

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
 * Puts the lines of a source into a queue, in blocks, and waits whenever that is
 * full. `onRead` is told how many bytes were read.
 */
export function* readBlocks(
  { name, path }: Source,
  blocks: Queue<Block>,
  onRead: (bytes: number) => void,
): Coroutine<void> {
  const file = path === undefined ? Deno.stdin : yield* until(Deno.open(path));
  try {
    const decoder = new TextDecoder();
    const buffer = new Uint8Array(CHUNK_BYTES);
    let line = 1;
    let rest = "";
    for (let atEnd = false; !atEnd;) {
      const count = yield* until(file.read(buffer));
      atEnd = count === null;
      const bytes = buffer.subarray(0, count ?? 0);
      const texts = decoder.decode(bytes, { stream: !atEnd }).split("\n");
      texts[0] = rest + texts[0];
      rest = texts.pop()!;
      if (atEnd && rest !== "") texts.push(rest);
      if (texts.length > 0) {
        const clean = texts.map((text) => text.replace(/\r$/, ""));
        yield* blocks.put({ path: name, line, texts: clean });
        line += texts.length;
      }
      onRead(bytes.length);
    }
  } finally {
    if (file !== Deno.stdin) file.close();
  }
}
