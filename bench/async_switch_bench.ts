/**
 * Two hundred async functions that take turns: what one `await` costs.
 *
 * @module
 */
import { EventLoop, sleep } from "../mod.ts";
import {
  Fairness,
  register,
  type Stopwatch,
  type Suite,
} from "./support/suite.ts";

const TASKS = 200;

/** Rota: tasks made from one async function, `await sleep(0)`. */
export async function asyncSwitchOnLoop(
  size: number,
  watch: Stopwatch,
): Promise<number> {
  const steps = size / TASKS;
  const fairness = new Fairness(TASKS, steps);
  await using loop = new EventLoop({ host: "portable" });
  let started = 0;
  let running = TASKS;
  const body = async (): Promise<void> => {
    const task = started++;
    for (let step = 0; step < steps; step++) {
      await sleep(0);
      fairness.step(task);
    }
    fairness.ended();
    if (--running === 0) loop.stop();
  };
  for (let task = 0; task < TASKS; task++) loop.createTask(body);
  watch.start();
  await loop.runForever();
  watch.end();
  return fairness.done(TASKS, steps);
}

/** The same with another thing to wait for. */
export function asyncSwitchBy(
  turn: () => Promise<unknown> | null,
): (size: number, watch: Stopwatch) => Promise<number> {
  return async (size, watch) => {
    const steps = size / TASKS;
    const fairness = new Fairness(TASKS, steps);
    const body = async (_: unknown, task: number): Promise<void> => {
      for (let step = 0; step < steps; step++) {
        await turn();
        fairness.step(task);
      }
      fairness.ended();
    };
    watch.start();
    await Promise.all(Array.from({ length: TASKS }, body));
    watch.end();
    return fairness.done(TASKS, steps);
  };
}

/** What is compared. */
export const suites: readonly Suite[] = [{
  name: "async-switch",
  title: "async task switch, 200 tasks",
  things: "switches",
  size: 200_000,
  tinySize: 800,
  cases: [
    { name: "Rota", role: "rota", run: asyncSwitchOnLoop },
    { name: "await null", role: "limit", run: asyncSwitchBy(() => null) },
    {
      name: "await setImmediate",
      role: "rival",
      run: asyncSwitchBy(() =>
        new Promise<void>((resolve) => setImmediate(resolve))
      ),
    },
  ],
}];
suites.forEach(register);
