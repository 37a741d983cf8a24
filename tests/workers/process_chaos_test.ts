/**
 * Many jobs in processes that are killed at random: each job ends exactly once, and nothing is left.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { run } from "../../mod.ts";
import { WorkerCrashError } from "../../src/errors.ts";
import { SeededRandom } from "../../src/structures/random.ts";
import { ProcessPool } from "../../src/workers/process_pool.ts";
import { childrenOf } from "./support/processes.ts";

const JOBS = 5_000;
/** Jobs between two kills, about. */
const BETWEEN = 150;

/** Notes in a file that it runs, says where, and computes a little. */
const work = (file: string, n: number): number => {
  Deno.writeTextFileSync(file, `${n}\n`, { append: true });
  let sum = 0;
  for (let i = 0; i < 10_000; i++) sum += i;
  return Deno.pid + 0 * sum;
};

for (const idempotent of [false, true]) {
  const how = idempotent ? "are begun again" : "fail";
  Deno.test(`jobs of killed processes ${how}, each ends once, and nothing is left`, async () => {
    const seed = Math.floor(Math.random() * 2 ** 31);
    console.log(`seed ${seed}`);
    const random = new SeededRandom(seed);
    const before = childrenOf(Deno.pid);
    const file = await Deno.makeTempFile();
    try {
      const ends = new Map<number, string>();
      const { stats, kills } = await run(async () => {
        await using pool = new ProcessPool({
          maxWorkers: 2,
          permissions: { read: true, write: [file] },
          onCrash: idempotent ? "retry" : "reject",
          retriesMax: 100,
          backoff: { minMs: 1, maxMs: 1 },
        });
        let kills = 0;
        const settled = (n: number, end: string): void => {
          assert(!ends.has(n), `job ${n} ended twice`);
          ends.set(n, end);
        };
        const follow = async (n: number): Promise<void> => {
          try {
            const pid = await pool.submit(work, [file, n], { idempotent });
            settled(n, "returned");
            if (random.next() * BETWEEN >= 1) return;
            kills++;
            try {
              Deno.kill(pid, "SIGKILL");
            } catch {
              // Another one was faster.
            }
          } catch (error) {
            assert(error instanceof WorkerCrashError, String(error));
            settled(n, error.kind);
          }
        };
        await Promise.all(Array.from({ length: JOBS }, (_, n) => follow(n)));
        return { stats: pool.stats(), kills };
      });
      assertEquals(ends.size, JOBS);
      const crashed = [...ends.values()].filter((end) => end !== "returned");
      assertEquals(stats.crashed, crashed.length);
      assertEquals(stats.done, JOBS - crashed.length);
      assertEquals([stats.failed, stats.cancelled, stats.queued], [0, 0, 0]);
      assert(kills > 0);
      if (idempotent) assertEquals(crashed, []);
      else assertEquals(crashed.every((kind) => kind === "killed"), true);

      const runs = new Map<number, number>();
      for (const line of (await Deno.readTextFile(file)).trim().split("\n")) {
        const n = Number(line);
        runs.set(n, (runs.get(n) ?? 0) + 1);
      }
      for (const [n, end] of ends) {
        const count = runs.get(n) ?? 0;
        if (end === "returned") assert(count >= 1, `job ${n} never ran`);
        if (!idempotent) assert(count <= 1, `job ${n} ran ${count} times`);
      }
      const left = childrenOf(Deno.pid).filter((pid) => !before.includes(pid));
      assertEquals(left, []);
    } finally {
      await Deno.remove(file);
    }
  });
}
