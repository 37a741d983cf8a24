/**
 * What a watchdog adds to a task switch: `deno run -A bench/support/watchdog.ts`.
 *
 * The same workload with and without the trace of steps, turn and turn about in one process, so that a slow moment of the
 * machine hits both alike. The thread of the watchdog itself is left out: it looks every 50 ms.
 *
 * @module
 */
import { stepWatch } from "../../src/loop/step_watch.ts";
import { StepPublisher } from "../../src/supervise/step_publisher.ts";
import { WatchBoard } from "../../src/supervise/watch_board.ts";
import { asyncSwitchOnLoop } from "../async_switch_bench.ts";
import { switchOnLoop } from "../generator_switch_bench.ts";

const SIZE = 100_000;
const ROUNDS = 120;
const WARMUP_ROUNDS = 40;

type Workload = typeof asyncSwitchOnLoop;

async function nanosecondsOf(
  workload: Workload,
  watch: StepPublisher | null,
): Promise<number> {
  let startMs = 0;
  let tookMs = 0;
  stepWatch.current = watch;
  await workload(SIZE, {
    start: () => startMs = performance.now(),
    end: () => tookMs = performance.now() - startMs,
  });
  stepWatch.current = null;
  return tookMs * 1e6 / SIZE;
}

function median(numbers: readonly number[]): number {
  return numbers.toSorted((a, b) => a - b)[numbers.length >> 1]!;
}

async function compare(name: string, workload: Workload): Promise<void> {
  const publisher = new StepPublisher(new WatchBoard());
  const ratios: number[] = [];
  const best = { without: Infinity, with: Infinity };
  for (let round = -WARMUP_ROUNDS; round < ROUNDS; round++) {
    const order = round % 2 === 0 ? [null, publisher] : [publisher, null];
    const first = await nanosecondsOf(workload, order[0]!);
    const second = await nanosecondsOf(workload, order[1]!);
    if (round < 0) continue;
    const [off, on] = order[0] === null ? [first, second] : [second, first];
    ratios.push(on / off);
    best.without = Math.min(best.without, off);
    best.with = Math.min(best.with, on);
  }
  console.log(
    `${name}: ${best.without.toFixed(1)} ns a switch, ${
      best.with.toFixed(1)
    } with a watchdog (${
      (best.with / best.without).toFixed(2)
    } x), median of the ratios ${median(ratios).toFixed(2)}`,
  );
}

await compare("generators", switchOnLoop);
await compare("async functions", asyncSwitchOnLoop);
