/**
 * A thread pool under a supervisor, and a child that depends on it.
 *
 * A job kills its thread. The pool fails that job and starts another thread. The
 * child that waited for the job crashes, and its supervisor restarts it: it goes
 * on with what is left.
 */

import {
  run,
  supervisedPool,
  Supervisor,
  taskModule,
  ThreadPool,
} from "@rota/rota";
import { assertEquals } from "@std/assert";

const { square } = taskModule<typeof import("./jobs/fragile.ts")>(
  new URL("./jobs/fragile.ts", import.meta.url),
);
// Counts down over all threads; the job that takes the last one kills its thread.
const shared = new SharedArrayBuffer(4);
new Int32Array(shared)[0] = 5;

// Outside of the children, as it outlives them.
const left = [1, 2, 3, 4, 5, 6, 7, 8];
const results: number[] = [];
let pool: ThreadPool;

const supervisor = new Supervisor({
  strategy: "rest-for-one", // a new pool needs a new feeder
  autoShutdown: "any-significant", // all ends when the feeder is done
  reportCrashes: false, // they would go to standard error
  children: [
    {
      id: "pool", // replaced if it cannot do a job that does nothing
      start: supervisedPool(() => pool = new ThreadPool({ maxWorkers: 2 }), {
        probeMs: 1_000,
      }),
    },
    {
      id: "feeder",
      restart: "transient", // only if it crashes
      significant: true,
      async start() {
        for (let n = left[0]; n !== undefined; n = left[0]) {
          results.push(await pool.submit(square, [n, shared]));
          left.shift(); // not before the result is there
        }
      },
    },
  ],
});
supervisor.subscribe((event) => {
  if (event.type !== "ended") return;
  const { childId, end } = event;
  console.log(`${childId}: ${end?.kind === "crash" ? end.error : end?.kind}`);
});

await run(() => supervisor.run());
console.log(String(supervisor.tree()));
assertEquals(results, [1, 4, 9, 16, 25, 36, 49, 64]);
assertEquals(supervisor.tree().restarts, 1);
