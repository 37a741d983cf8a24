/**
 * A concordance: which identifiers there are, how often and where, and which
 * lines are the longest.
 *
 *     deno task demo             # of the sources of this repository
 *     deno task demo FILE…       # of these files; "-" is standard input
 *     deno task demo --ask-for=0 # without questions to its server
 *
 * A small program under a supervisor, whose children are, in start order:
 *
 * - threads, a pool that finds the words;
 * - counters, which give blocks of lines to the threads and add the words up.
 *   The first one to do so crashes, and is restarted;
 * - readers, which put the blocks into a bounded queue. A file that cannot be
 *   read is named, and the others are read all the same;
 * - server, which tells over HTTP how often a word was found until now;
 * - clients, which ask it for two seconds;
 * - status, a periodic job. On a terminal it shows the children and how far they
 *   are.
 *
 * Ctrl-C ends the reading; what was read by then is counted and written. A second
 * Ctrl-C ends the program at once.
 *
 * The exit code is 0, or 1 if a file could not be read, or 130 after Ctrl-C or
 * SIGTERM.
 *
 * @module
 */

import { resolve } from "node:path";
import { type Coroutine, run, shutdownSignal, until } from "@rota/rota";
import { findSources, sizeOf, type Source } from "./demo/files.ts";
import { Job } from "./demo/job.ts";
import { amount, reportOf, writeResult } from "./demo/report.ts";
import { superviseJob } from "./demo/supervise.ts";

const ROOT = new URL("../", import.meta.url);
/** The most time that it takes from Ctrl-C to the end. */
const BUDGET_MS = 5_000;
const INTERRUPTED = 130;
/** How long the clients ask the server, unless told otherwise. */
const ASK_MS = 2_000;

function* main(names: readonly string[], askMs: number): Coroutine<Job> {
  const sources = names.length === 0
    ? yield* findSources(ROOT)
    : names.map(sourceOf);
  const job = new Job(sources, askMs);
  for (const source of sources) job.bytes += yield* until(sizeOf(source));
  console.log(`Reading ${amount(sources.length, "file")}`);
  try {
    yield* superviseJob(job).run();
  } finally {
    job.status.clear();
    yield* until(writeResult(job));
  }
  return job;
}

function sourceOf(name: string): Source {
  if (name === "-") return { name: "(standard input)", path: undefined };
  // Tasks of Deno run in the folder of deno.json, wherever they were called.
  return { name, path: resolve(Deno.env.get("INIT_CWD") ?? "", name) };
}

async function demo(args: readonly string[]): Promise<number> {
  const names = args.filter((arg) => !arg.startsWith("--ask-for="));
  const askFor = args.find((arg) => !names.includes(arg));
  const askMs = Number(askFor?.slice("--ask-for=".length) ?? ASK_MS);
  const job = await run(main(names, askMs), {
    shutdown: { budgetMs: BUDGET_MS },
  });
  if (!job.isComplete) console.error("Interrupted, the result is incomplete");
  console.log(reportOf(job));
  if (shutdownSignal.aborted) return INTERRUPTED;
  return job.unreadable === 0 ? 0 : 1;
}

// Not just the exit code: a read of standard input that was broken off is still
// under way, and would keep the process.
if (import.meta.main) Deno.exit(await demo(Deno.args));
