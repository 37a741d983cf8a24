/**
 * The supervisor of the demo, and its children.
 *
 * @module
 */

import {
  type ChildOptions,
  every,
  supervisedPool,
  Supervisor,
  ThreadPool,
} from "@rota/rota";
import { countBlocks } from "./count.ts";
import type { Job } from "./job.ts";
import { readAll } from "./read.ts";
import { askForWords, SERVER, serveWords } from "./server.ts";

const THREADS = 2;
/** More than threads, so that each finds its next block in line. */
const COUNTERS = 2 * THREADS;
const STATUS_EVERY_MS = 100;

/**
 * Children with something to do: restarted only if they crash. When the last of
 * them has ended, the supervisor stops the others and ends.
 */
const WORK: ChildOptions = { restart: "transient", significant: true };

/** Makes the supervisor. Children are started in this order, and stopped in reverse. */
export function superviseJob(job: Job): Supervisor {
  const supervisor: Supervisor = new Supervisor({
    name: "demo",
    autoShutdown: "all-significant",
    backoff: { initialMs: 500, jitter: "none" },
    reportCrashes: false, // the report at the end has them
    children: [
      {
        id: "threads",
        start: supervisedPool(() =>
          job.pool = new ThreadPool({ maxWorkers: THREADS })
        ),
      },
      ...Array.from({ length: COUNTERS }, (_, n) => ({
        ...WORK,
        id: `counter ${n + 1}`,
        start: () => countBlocks(job),
      })),
      { ...WORK, id: "readers", start: () => readAll(job) },
      { id: SERVER, restart: "transient", start: serveWords(job) },
      { ...WORK, id: "clients", start: () => askForWords(job, supervisor) },
      {
        id: "status",
        start: () =>
          every(STATUS_EVERY_MS, () => {
            job.status.look(job, supervisor.tree());
          }),
      },
    ],
  });
  supervisor.subscribe((event) => {
    if (event.type !== "restarting") return;
    const { childId, run: { end } } = event;
    const why = end?.kind === "crash" ? String(end.error) : end?.kind;
    job.restarts.push(`${childId} (${why})`);
  });
  return supervisor;
}
