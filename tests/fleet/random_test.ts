import { assert, assertEquals } from "@std/assert";
import {
  type Future,
  getRunningLoop,
  run,
  sleep,
  taskModule,
} from "@rota/rota";
import { memoryExecutor, MemoryStore } from "@rota/rota/fleet";
import { LoopExecutor } from "@rota/rota/workers";
import { SeededRandom } from "../../src/structures/random.ts";
import { inStyle, STYLES } from "../support/styles.ts";

const jobs = taskModule<typeof import("./support/random_jobs.ts")>(
  new URL("./support/random_jobs.ts", import.meta.url),
);

const SEEDS = 40;
const JOBS = 30;

for (const style of STYLES) {
  Deno.test(`random jobs of a fleet all end, whatever happens to it, in ${style}`, async () => {
    const first = Math.floor(Date.now() % 1_000_000);
    for (let seed = first; seed < first + SEEDS; seed++) {
      try {
        await play(seed, style);
      } catch (error) {
        throw new Error(`Seed ${seed} fails`, { cause: error });
      }
    }
  });
}

/** Submits jobs that fail, wait and are cancelled, while leases are lost, workers come and go, and the store is away. */
async function play(seed: number, style: typeof STYLES[number]): Promise<void> {
  const random = new SeededRandom(seed);
  const store = new MemoryStore();
  await run(
    inStyle(style, function* () {
      getRunningLoop().setExceptionHandler(() => {}); // told of the outages
      const fleet = memoryExecutor({
        ...{ store, role: "submit", seed },
        ...{ leaseMs: 300, checkMs: 500, storeTimeoutMs: 60_000 },
        backoff: { initialMs: 20 },
      });
      const worker = () =>
        memoryExecutor({
          ...{ store, role: "work", leaseMs: 300, seed },
          maxLostLeases: Infinity,
          executor: new LoopExecutor({ concurrency: 3 }),
        });
      let workers = [worker(), worker()];
      const expected = new Map<Future<number>, number>();
      for (let n = 0; n < JOBS; n++) {
        const failures = random.nextInt(3);
        const future = fleet.submit(jobs.work, [
          n,
          random.nextInt(200),
          failures,
        ], {
          attempts: 3,
          priority: random.nextInt(5) - 2,
          delayMs: random.nextInt(3) * 50,
        });
        expected.set(future, n);
        yield sleep(random.nextInt(20));
        const what = random.nextInt(12);
        if (what === 0) store.loseLeases();
        else if (what === 1) store.isAway = !store.isAway;
        else if (what === 2) future.cancel("random");
        else if (what === 3) {
          const [gone, ...left] = workers;
          workers = [...left, worker()];
          store.isAway = false;
          yield gone!.shutdown({ graceMs: random.nextInt(50) });
        }
      }
      store.isAway = false;
      for (const [future, n] of expected) {
        try {
          assertEquals(yield future, n);
        } catch (error) {
          assert(future.cancelled(), String(error));
        }
      }
      for (const it of [fleet, ...workers]) yield it.shutdown();
      const { done, cancelled, queued, running } = fleet.stats();
      assertEquals([done + cancelled, queued, running], [JOBS, 0, 0]);
      assertEquals(store.size, 0);
    }),
    { host: "virtual" },
  );
}
