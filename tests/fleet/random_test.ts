import { assert, assertEquals } from "@std/assert";
import {
  type Future,
  getRunningLoop,
  run,
  sleep,
  taskModule,
} from "@rota/rota";
import {
  memoryExecutor,
  MemoryStore,
  RemoteExecutor,
  RemoteStoreError,
} from "@rota/rota/fleet";
import { LoopExecutor } from "@rota/rota/workers";
import { SeededRandom } from "../../src/structures/random.ts";
import { inStyle, STYLES } from "../support/styles.ts";
import { type Faults, HostileEngine } from "./support/hostile_engine.ts";
import { begun } from "./support/random_jobs.ts";

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

for (const style of STYLES) {
  Deno.test(`random jobs keep the model although the store lies, in ${style}`, async () => {
    const first = Math.floor(Date.now() % 1_000_000);
    for (let seed = first; seed < first + SEEDS; seed++) {
      try {
        await lie(seed, style);
      } catch (error) {
        throw new Error(`Seed ${seed} fails`, { cause: error });
      }
    }
  });
}

/** Faults of one call or event in five. */
function randomFaults(random: SeededRandom, isOver: () => boolean): Faults {
  const late = () => ({ lateMs: random.nextInt(300) });
  return {
    call: (call) => {
      if (isOver()) return null;
      const what = random.nextInt(12);
      if (what === 0) return "fails";
      // The engine joins the store once.
      if (what === 1 && call !== "open") return "answer lost";
      return what === 2 ? late() : null;
    },
    event: () => {
      if (isOver()) return null;
      const what = random.nextInt(12);
      if (what === 0) return "lost";
      if (what === 1) return "twice";
      return what === 2 ? late() : null;
    },
  };
}

/**
 * Submits jobs through a store whose answers and events are lost, late, doubled and
 * out of order, while leases are lost. The model: each submission has one outcome;
 * a job that was not cancelled ends with its result; tokens of a job grow; and its
 * result is that of its last lease.
 */
async function lie(seed: number, style: typeof STYLES[number]): Promise<void> {
  const random = new SeededRandom(seed);
  const store = new MemoryStore();
  begun.clear();
  await run(
    inStyle(style, function* () {
      getRunningLoop().setExceptionHandler((_loop, { exception }) => {
        assert(exception instanceof RemoteStoreError, String(exception));
      });
      let isOver = false;
      const make = (role: "submit" | "work") =>
        new RemoteExecutor(
          new HostileEngine(store, randomFaults(random, () => isOver)),
          {
            ...{ role, seed, leaseMs: 300, checkMs: 100 },
            ...{ storeTimeoutMs: Infinity, maxLostLeases: Infinity },
            cancelGraceMs: random.nextInt(2) * 5_000,
            ...(role === "work" &&
              { executor: new LoopExecutor({ concurrency: 3 }) }),
          },
        );
      const fleets = [make("submit"), make("submit")];
      const workers = [make("work"), make("work")];
      const outcomes = new Map<number, number>();
      const cancelled = new Set<number>();
      const futures: Future<number>[] = [];
      for (let n = 0; n < JOBS; n++) {
        const fleet = fleets[random.nextInt(2)]!;
        const future = fleet.submit(jobs.tokenOf, [n, random.nextInt(300)], {
          priority: random.nextInt(5) - 2,
        });
        future.addDoneCallback(() => {
          outcomes.set(n, (outcomes.get(n) ?? 0) + 1);
        });
        futures.push(future);
        yield sleep(random.nextInt(40));
        const what = random.nextInt(8);
        if (what === 0) store.loseLeases();
        else if (what === 1) {
          const which = random.nextInt(n + 1);
          if (futures[which]!.cancel("random")) cancelled.add(which);
        } else if (what === 2) store.isAway = !store.isAway;
      }
      store.isAway = false;
      for (const [n, future] of futures.entries()) {
        try {
          assertEquals(yield future, begun.get(n)!.at(-1));
        } catch (error) {
          assert(future.cancelled() && cancelled.has(n), String(error));
        }
      }
      isOver = true;
      for (const it of [...fleets, ...workers]) yield it.shutdown();
      assertEquals([...outcomes.values()], futures.map(() => 1));
      for (const tokens of begun.values()) {
        assertEquals(tokens, tokens.toSorted((a, b) => a - b));
        assertEquals(new Set(tokens).size, tokens.length);
      }
    }),
    { host: "virtual" },
  );
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
