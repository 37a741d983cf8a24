/**
 * A concordance: which identifiers there are, how often and where, and which
 * lines are the longest.
 *
 *     deno task demo             # of the sources of this repository
 *     deno task demo FILE…       # of these files; "-" is standard input
 *
 * Readers put blocks of lines into a bounded queue. Counters take them out, have
 * a pool of threads find the words, and add these up. Another task shows how far
 * they are if standard error is a terminal. A file that cannot be read is named,
 * and the others are read all the same. Ctrl-C ends the reading; what was read by
 * then is counted and written.
 *
 * The exit code is 0, or 1 if a file could not be read, or 130 after Ctrl-C.
 *
 * @module
 */

import { resolve } from "node:path";
import {
  CancelledError,
  type Coroutine,
  each,
  getRunningLoop,
  InterruptedError,
  Queue,
  run,
  type Task,
  taskModule,
  ThreadPool,
  until,
} from "@rota/rota";
import { Concordance } from "./demo/concordance.ts";
import { findSources, readBlocks, sizeOf, type Source } from "./demo/files.ts";
import type { Block } from "./demo/parse.ts";
import { type Progress, showProgress } from "./demo/progress.ts";

const ROOT = new URL("../", import.meta.url);
const RESULT_FOLDER = resolve(Deno.cwd(), ".report");
const RESULT = resolve(RESULT_FOLDER, "concordance.txt");
const READERS = 4;
const THREADS = 2;
/** More than threads, so that each finds its next block in line. */
const COUNTERS = 2 * THREADS;
const BLOCKS_WAITING_MAX = 8;

const { parse } = taskModule<typeof import("./demo/parse.ts")>(
  new URL("./demo/parse.ts", import.meta.url),
);

/** What the tasks share. Nobody else runs between two waits, so it needs no lock. */
interface Job {
  readonly concordance: Concordance;
  readonly progress: Progress;
  unreadable: number;
  written: boolean;
}

function* main(names: readonly string[], job: Job): Coroutine<void> {
  const loop = getRunningLoop();
  const { concordance, progress } = job;
  const sources = names.length === 0
    ? yield* findSources(ROOT)
    : names.map(sourceOf);
  progress.files = sources.length;
  for (const source of sources) progress.bytes += yield* until(sizeOf(source));
  console.log(`Reading ${amount(sources.length, "file")}`);

  const pool = new ThreadPool({ maxWorkers: THREADS });
  const blocks = new Queue<Block>(BLOCKS_WAITING_MAX);
  const unread = sources.values(); // whichever reader is free takes the next one
  const readers = Array.from(
    { length: READERS },
    () => loop.createTask(read(unread, blocks, job), { name: "reader" }),
  );
  const counters = Array.from(
    { length: COUNTERS },
    () =>
      loop.createTask(count(blocks, pool, concordance), { name: "counter" }),
  );
  const display = Deno.stderr.isTerminal()
    ? [loop.createTask(showProgress(progress), { name: "display" })]
    : [];
  try {
    for (const reader of readers) yield* reader;
  } finally {
    // What is left takes milliseconds: from here on Ctrl-C changes nothing.
    loop.addSignalHandler("SIGINT", () => {});
    yield* cancelAll([...readers, ...display]);
    blocks.shutdown(); // the counters take what is in there, and end
    for (const counter of counters) yield* counter;
    yield* pool.shutdown();
    yield* until(writeResult(job));
  }
}

function sourceOf(name: string): Source {
  if (name === "-") return { name: "(standard input)", path: undefined };
  // Tasks of Deno run in the folder of deno.json, wherever they were called.
  return { name, path: resolve(Deno.env.get("INIT_CWD") ?? "", name) };
}

function* read(
  unread: Iterable<Source>,
  blocks: Queue<Block>,
  job: Job,
): Coroutine<void> {
  for (const source of unread) {
    try {
      yield* readBlocks(source, blocks, (bytes) => {
        job.progress.bytesRead += bytes;
      });
      job.progress.filesDone++;
    } catch (error) {
      if (error instanceof CancelledError) throw error;
      job.unreadable++;
      console.error(`Cannot read ${source.name}: ${reasonOf(error)}`);
    }
  }
}

function* count(
  blocks: Queue<Block>,
  pool: ThreadPool,
  concordance: Concordance,
): Coroutine<void> {
  yield* each(blocks, function* (block): Coroutine<void> {
    concordance.add(yield* pool.submit(parse, [block]));
  });
}

/** Cancels tasks and waits until each of them has cleaned up. */
function* cancelAll(tasks: readonly Task<unknown>[]): Coroutine<void> {
  for (const task of tasks) task.cancel();
  for (const task of tasks) {
    try {
      yield* task;
    } catch (error) {
      if (!(error instanceof CancelledError)) throw error;
    }
  }
}

async function writeResult(job: Job): Promise<void> {
  const { concordance, progress: { files, filesDone }, unreadable } = job;
  const broken = filesDone + unreadable < files;
  const heading = `Concordance of ${filesDone} of ${amount(files, "file")}` +
    (broken ? ", and of others as far as they were read" : "");
  await Deno.mkdir(RESULT_FOLDER, { recursive: true });
  await Deno.writeTextFile(RESULT, concordance.format(heading));
  job.written = true;
}

function summarize({ concordance, progress, written }: Job): void {
  const { lines, total, different } = concordance;
  console.log(
    `${progress.filesDone} of ${amount(progress.files, "file")}, ` +
      `${amount(lines, "line")}, ${
        amount(total, "word")
      }, ${different} different`,
  );
  const frequent = concordance.mostFrequent(5)
    .map(([word, occurrences]) => `${word} (${occurrences})`);
  if (frequent.length > 0) console.log(`Most frequent: ${frequent.join(", ")}`);
  if (written) console.log(`Result: ${RESULT}`);
}

function amount(number: number, noun: string): string {
  return `${number} ${noun}${number === 1 ? "" : "s"}`;
}

function reasonOf(error: unknown): string {
  if (error instanceof Deno.errors.NotFound) return "there is no such file";
  return error instanceof Error ? error.message : String(error);
}

async function demo(names: readonly string[]): Promise<number> {
  const job: Job = {
    concordance: new Concordance(),
    progress: { files: 0, filesDone: 0, bytes: 0, bytesRead: 0 },
    unreadable: 0,
    written: false,
  };
  let interrupted = false;
  try {
    await run(main(names, job));
  } catch (error) {
    if (!(error instanceof InterruptedError)) throw error;
    interrupted = true;
    console.error("Interrupted, the result is incomplete");
  }
  summarize(job);
  if (interrupted) return 130;
  return job.unreadable === 0 ? 0 : 1;
}

// Not just the exit code: a read of standard input that was broken off is still
// under way, and would keep the process.
if (import.meta.main) Deno.exit(await demo(Deno.args));
