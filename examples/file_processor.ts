/**
 * From file to file through a processor: three tasks, two bounded queues.
 *
 * Reader, processor and writer run side by side, and the queues keep them in
 * step: however large the file, only a few lines of it are in memory. A stage
 * that is done shuts down the queue behind it, and so the next one ends.
 */

import {
  type Coroutine,
  each,
  getRunningLoop,
  Queue,
  run,
  until,
} from "@rota/rota";
import { assertEquals } from "@std/assert";

const LINES_WAITING_MAX = 16;

function* read(path: string, output: Queue<string>): Coroutine<void> {
  const file = yield* until(Deno.open(path));
  const texts = file.readable.pipeThrough(new TextDecoderStream());
  let rest = "";
  yield* each(texts, function* (text) {
    const lines = (rest + text).split("\n");
    rest = lines.pop()!;
    for (const line of lines) yield* output.put(line);
  }); // this closes the file, also when it fails
  if (rest !== "") yield* output.put(rest);
  output.shutdown();
}

function* number(input: Queue<string>, output: Queue<string>): Coroutine<void> {
  let count = 0;
  yield* each(input, function* (line) {
    yield* output.put(`${++count}: ${line}`);
  });
  output.shutdown();
}

function* write(path: string, input: Queue<string>): Coroutine<void> {
  const file = yield* until(Deno.create(path));
  const writer = file.writable.getWriter();
  const encoder = new TextEncoder();
  try {
    yield* each(input, function* (line) {
      yield* until(writer.write(encoder.encode(`${line}\n`)));
    });
  } finally {
    yield* until(writer.close());
  }
}

const folder = await Deno.makeTempDir();
try {
  const source = `${folder}/source.txt`;
  const target = `${folder}/target.txt`;
  await Deno.writeTextFile(source, "line of text\n".repeat(2_000));
  await run(function* () {
    const loop = getRunningLoop();
    const raw = new Queue<string>(LINES_WAITING_MAX);
    const numbered = new Queue<string>(LINES_WAITING_MAX);
    const tasks = [
      loop.createTask(read(source, raw), { name: "reader" }),
      loop.createTask(number(raw, numbered), { name: "processor" }),
      loop.createTask(write(target, numbered), { name: "writer" }),
    ];
    for (const task of tasks) yield* task;
  });
  const lines = (await Deno.readTextFile(target)).trimEnd().split("\n");
  console.log(`${lines.length} lines, the last: "${lines.at(-1)}"`);
  assertEquals(lines.length, 2_000);
  assertEquals(lines.at(-1), "2000: line of text");
} finally {
  await Deno.remove(folder, { recursive: true });
}
