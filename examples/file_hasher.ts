/**
 * A parallel file hasher with a progress bar: hashes the files of a folder in
 * threads, at most as many at a time as there are threads.
 *
 *     deno run --allow-read examples/file_hasher.ts [FOLDER]
 *
 * The folder is `src/structures` of this repository unless another is named. The
 * bar is drawn on a terminal only.
 */

import { run, taskModule, ThreadPool } from "@rota/rota";

const { hashFile } = taskModule<typeof import("./jobs/hash.ts")>(
  new URL("./jobs/hash.ts", import.meta.url),
);
const WIDTH = 30;

function* filesIn(folder: string): Generator<string> {
  for (const { name, isDirectory, isFile } of Deno.readDirSync(folder)) {
    if (isDirectory) yield* filesIn(`${folder}/${name}`);
    else if (isFile) yield `${folder}/${name}`;
  }
}

function draw(done: number, all: number): void {
  if (!Deno.stderr.isTerminal()) return;
  const filled = Math.round(WIDTH * done / all);
  const bar = "#".repeat(filled).padEnd(WIDTH, ".");
  const end = done === all ? "\r\x1b[K" : ` ${done}/${all}`;
  Deno.stderr.writeSync(new TextEncoder().encode(`\r${bar}${end}`));
}

await run(async () => {
  const folder = Deno.args[0] ??
    new URL("../src/structures", import.meta.url).pathname;
  const files = [...filesIn(folder)].sort();
  await using pool = new ThreadPool();
  let done = 0;
  let bytes = 0;
  // In the order of the files; `ordered: false` would give each as it comes.
  for await (const file of pool.map(hashFile, files)) {
    draw(++done, files.length);
    bytes += file.bytes;
    console.log(`${file.sha256}  ${file.path}`);
  }
  console.log(`${done} files, ${bytes} bytes`);
});
