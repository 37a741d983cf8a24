/**
 * Periodic work on a clock that the test moves, with bodies of all kinds.
 *
 * @module
 */

import {
  every,
  type ExceptionContext,
  newEventLoop,
  type PeriodicBody,
  type PeriodicOptions,
  type PeriodicTask,
  sleep,
  type Tick,
} from "../../mod.ts";
import { collectReports } from "./loops.ts";
import { ManualHost } from "./manual_host.ts";

/** What a body can be. A plain one keeps the thread busy, the others wait. */
export const KINDS = ["plain", "generator", "async"] as const;

/** One of them. */
export type Kind = typeof KINDS[number];

/** What is simulated. */
export interface Scenario {
  readonly kind: Kind;
  /** How long each run takes: a number for all, or by the number of the run, from 0. */
  readonly takesMs?: number | ((run: number) => number);
  /** The thread is busy with something else from the first moment to the second. */
  readonly blocks?: readonly (readonly [number, number])[];
  readonly options?: PeriodicOptions;
  readonly untilMs: number;
  /** Called with the task, before the loop runs. */
  readonly prepare?: (job: PeriodicTask) => void;
}

/** What came of it. */
export interface Course {
  /** "index@moment" for the beginning of each run. */
  readonly began: string[];
  /** The same for each that came to its end. */
  readonly ended: string[];
  readonly ticks: Tick[];
  readonly job: PeriodicTask;
  readonly reports: ExceptionContext[];
  /** The most that ran at once. */
  readonly together: number;
}

/** Runs a job of 10 ms from 0 to `untilMs`, then cancels it. */
export async function simulate(scenario: Scenario): Promise<Course> {
  const { kind, takesMs = 0, blocks = [], options, untilMs } = scenario;
  const host = new ManualHost();
  const loop = newEventLoop({ host });
  const reports = collectReports(loop);
  const began: string[] = [];
  const ended: string[] = [];
  const ticks: Tick[] = [];
  let inside = 0;
  let together = 0;
  const enter = (tick: Tick): number => {
    const run = began.length;
    ticks.push(tick);
    began.push(`${tick.index}@${host.nowMs}`);
    together = Math.max(together, ++inside);
    return typeof takesMs === "number" ? takesMs : takesMs(run);
  };
  const leave = (tick: Tick) => ended.push(`${tick.index}@${host.nowMs}`);
  const bodies: Record<Kind, PeriodicBody> = {
    plain(tick) {
      host.nowMs += enter(tick);
      leave(tick);
      inside--;
    },
    *generator(tick) {
      try {
        const ms = enter(tick);
        if (ms > 0) yield* sleep(ms);
        leave(tick);
      } finally {
        inside--;
      }
    },
    async async(tick) {
      try {
        const ms = enter(tick);
        if (ms > 0) await sleep(ms);
        leave(tick);
      } finally {
        inside--;
      }
    },
  };
  const job = every(10, bodies[kind], { ...options, loop });
  scenario.prepare?.(job);
  for (const [fromMs, toMs] of blocks) {
    loop.callAt(fromMs, () => host.nowMs = Math.max(host.nowMs, toMs));
  }
  const running = loop.runForever();
  loop.callAt(1e9, () => {}); // so that it is always parked with a deadline
  await host.runUntil(untilMs);
  const course = {
    began: [...began],
    ended: [...ended],
    ticks,
    job,
    reports,
    together,
  };
  job.cancel();
  for (let turn = 0; turn < 4; turn++) {
    await host.parked();
    host.advanceTo(host.nowMs);
  }
  await host.parked();
  loop.stop();
  await running;
  await loop.close();
  return course;
}
