/**
 * How long jobs wait in a load balancer over 1,000 members, by strategy:
 * `deno task bench:balancer`.
 *
 * On virtual time, from a seed: the figures are the same on every machine. Jobs
 * come at random (Poisson), nine of ten are short and one is eleven times as long,
 * and half of the members take twice as long for everything. They have 60 % of
 * what all members together can do; that is 90 % of what the slow ones can, where
 * these get as many jobs as the others. `"weighted"` and `"hash"` are told of the
 * two kinds by weights; the others are not. Waiting is the time from `submit`
 * until the job begins. Nobody is ejected.
 *
 * Then the CPU time that a job costs beside 100 and beside 10,000 members.
 *
 * @module
 */
import {
  type EventLoop,
  Future,
  getRunningLoop,
  Operation,
  run,
  sleep,
} from "../../mod.ts";
import { SeededRandom } from "../../src/structures/random.ts";
import { BaseExecutor } from "../../src/workers/base_executor.ts";
import {
  BALANCING_STRATEGIES,
  type BalancingStrategy,
} from "../../src/workers/balancing.ts";
import type { ExecutorStats } from "../../src/workers/executor.ts";
import { LoadBalancer } from "../../src/workers/load_balancer.ts";
import type { ExecutorTask, JobResult } from "../../src/workers/module_task.ts";
import { type Figure, figure, percentile, printFigures } from "./report.ts";

const MEMBERS = 1_000;
const JOBS = 100_000;
/** Part of the jobs that come before the lines have their usual length. */
const WARMUP = 0.2;
const SEED = 12;
const SHORT_MS = 5;
const LONG_MS = 55;
/** What a job takes on average. */
const MEAN_MS = 0.9 * SHORT_MS + 0.1 * LONG_MS;
const SLOWDOWN = 2;
const LOAD = 0.6;
const KEYS = 1_000_000;
const PLACED = 50_000;
/** Strategies that are measured with stealing, too: the others wait as little as the first. */
const THIEVES: readonly BalancingStrategy[] = ["power-of-two", "hash"];

/** An executor whose jobs only take time, one after the other. */
class Server extends BaseExecutor {
  readonly capacity = 1;
  readonly #factor: number;
  readonly #waits: number[];

  constructor(factor: number, waits: number[]) {
    super();
    this.#factor = factor;
    this.#waits = waits;
  }

  submit<A extends readonly unknown[], R>(
    _task: ExecutorTask<A, R>,
    args: A,
  ): Future<JobResult<R>> {
    const [serviceMs, submittedMs] = args as unknown as [number, number];
    const loop = getRunningLoop();
    this.#waits.push(loop.time() - submittedMs);
    const future = new Future<JobResult<R>>(loop);
    loop.callLater(serviceMs * this.#factor, end, future as Future<unknown>);
    return future;
  }

  shutdown(): Operation<void> {
    return new Operation(function* () {});
  }

  stats(): ExecutorStats {
    throw new Error("nobody asks");
  }
}

function end(future: Future<unknown>): void {
  future.setResult(undefined);
}

function job(_serviceMs: number, _submittedMs: number): void {}

/** Whether a strategy goes by weights. */
function usesWeights(strategy: BalancingStrategy): boolean {
  return strategy === "weighted" || strategy === "hash";
}

function makeBalancer(
  strategy: BalancingStrategy,
  stealing: boolean,
  members: number,
  waits: number[],
): LoadBalancer {
  const balancer = new LoadBalancer([], {
    strategy,
    stealing,
    ejection: false,
    seed: SEED,
  });
  for (let n = 0; n < members; n++) {
    const factor = n % 2 === 0 ? 1 : SLOWDOWN;
    const weight = usesWeights(strategy) ? SLOWDOWN / factor : 1;
    balancer.add(new Server(factor, waits), { weight });
  }
  return balancer;
}

/** Plays the jobs, and returns how long each has waited, in the order in which they began. */
async function waitsOf(
  strategy: BalancingStrategy,
  stealing: boolean,
  members: number,
  jobs: number,
): Promise<number[]> {
  const waits: number[] = [];
  await run(function* () {
    const loop: EventLoop = getRunningLoop();
    const random = new SeededRandom(SEED);
    const balancer = makeBalancer(strategy, stealing, members, waits);
    const perMs = members * (1 + 1 / SLOWDOWN) / 2 / MEAN_MS * LOAD;
    let nextMs = 0;
    for (let n = 0; n < jobs; n++) {
      nextMs -= Math.log(1 - random.next()) / perMs;
      const serviceMs = random.next() < 0.9 ? SHORT_MS : LONG_MS;
      const key = random.nextInt(KEYS);
      const delayMs = nextMs - loop.time();
      if (delayMs > 0) yield* sleep(delayMs);
      balancer.submit(job, [serviceMs, loop.time()], { key });
    }
    yield* balancer.shutdown();
  }, { host: "virtual" });
  return waits.slice(Math.floor(jobs * WARMUP));
}

/** CPU time of a job from `submit` to its end, in microseconds, with most members idle. */
async function costUs(
  strategy: BalancingStrategy,
  members: number,
  jobs: number,
): Promise<number> {
  let us = NaN;
  await run(function* () {
    const balancer = makeBalancer(strategy, true, members, []);
    // Once around, so that the ring is made and all code is warm.
    for (let left = Math.min(jobs, 2_000); left > 0; left -= 20) {
      for (let n = 0; n < 20; n++) balancer.submit(job, [1, 0], { key: n });
      yield* sleep(10);
    }
    const startMs = performance.now();
    for (let left = jobs; left > 0; left -= 20) {
      for (let n = 0; n < 20; n++) {
        balancer.submit(job, [1, 0], { key: left + n });
      }
      yield* sleep(10);
    }
    us = (performance.now() - startMs) * 1_000 / jobs;
    yield* balancer.shutdown();
  }, { host: "virtual" });
  return us;
}

/** Measures all strategies. */
export async function measureBalancer(
  members: number = MEMBERS,
  jobs: number = JOBS,
  placed: number = PLACED,
): Promise<Figure[]> {
  const figures: Figure[] = [];
  for (const stealing of [false, true]) {
    const workload = `waiting for ${members.toLocaleString("en")} members` +
      (stealing ? ", stealing" : "");
    const strategies = stealing ? THIEVES : BALANCING_STRATEGIES;
    for (const strategy of strategies) {
      const waits = await waitsOf(strategy, stealing, members, jobs);
      for (const percent of [50, 99, 99.9]) {
        figures.push(figure({
          workload,
          case: strategy,
          role: "rota",
          measure: `p${percent}`,
          unit: "ms",
        }, [percentile(waits, percent)]));
      }
    }
  }
  for (const strategy of BALANCING_STRATEGIES) {
    for (const count of [members / 10, members * 10]) {
      figures.push(figure({
        workload: "placing a job",
        case: strategy,
        role: "rota",
        measure: `${count.toLocaleString("en")} members`,
        unit: "us",
      }, [await costUs(strategy, count, placed)]));
    }
  }
  return figures;
}

if (import.meta.main) printFigures(await measureBalancer());
