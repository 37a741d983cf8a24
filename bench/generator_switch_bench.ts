/**
 * Two hundred generator tasks that take turns: what one switch costs.
 *
 * @module
 */
import {
  type Coroutine,
  EventLoop,
  type EventLoopOptions,
  sleep,
} from "../mod.ts";
import { Effect, Fiber } from "effect";
import { action, run as runEffection, spawn } from "effection";
import {
  Fairness,
  register,
  type Stopwatch,
  type Suite,
} from "./support/suite.ts";

const TASKS = 200;

/** Rota: tasks made from one generator function, `yield* sleep(0)`. */
export function switchOnLoop(size: number, watch: Stopwatch): Promise<number> {
  return switches(size, watch, {});
}

/** Rota with an instrument that has no hooks. */
export function switchWithInstrument(
  size: number,
  watch: Stopwatch,
): Promise<number> {
  return switches(size, watch, { instruments: [{}] });
}

/** Rota with an instrument that counts steps. */
export async function switchCounted(
  size: number,
  watch: Stopwatch,
): Promise<number> {
  let begun = 0;
  let ended = 0;
  const counter = { stepBegins: () => begun++, stepEnds: () => ended++ };
  const done = await switches(size, watch, { instruments: [counter] });
  if (begun < size || ended < begun - 1) throw new Error(`Saw ${begun} steps`);
  return done;
}

/** Rota with these options of the loop. */
export async function switches(
  size: number,
  watch: Stopwatch,
  options: EventLoopOptions,
): Promise<number> {
  const steps = size / TASKS;
  const fairness = new Fairness(TASKS, steps);
  await using loop = new EventLoop({ host: "portable", ...options });
  let started = 0;
  let running = TASKS;
  const body = function* (): Coroutine<void> {
    const task = started++;
    for (let step = 0; step < steps; step++) {
      yield* sleep(0);
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

/** No loop at all: generators in an array, stepped one after the other. */
export function switchInRing(size: number, watch: Stopwatch): number {
  const steps = size / TASKS;
  const fairness = new Fairness(TASKS, steps);
  const body = function* (task: number): Generator<void, void, void> {
    for (let step = 0; step < steps; step++) {
      yield;
      fairness.step(task);
    }
    fairness.ended();
  };
  const ring = Array.from({ length: TASKS }, (_, task) => body(task));
  watch.start();
  for (let running = TASKS; running > 0;) {
    for (const generator of ring) {
      if (generator.next().done === true) running--;
    }
  }
  watch.end();
  return fairness.done(TASKS, steps);
}

/** effection: tasks that wait for an action which is over at once. */
export async function switchInEffection(
  size: number,
  watch: Stopwatch,
): Promise<number> {
  const steps = size / TASKS;
  const fairness = new Fairness(TASKS, steps);
  const over = () =>
    action<void>((resolve) => {
      resolve();
      return () => {};
    });
  watch.start();
  await runEffection(function* () {
    const tasks = [];
    for (let task = 0; task < TASKS; task++) {
      tasks.push(
        yield* spawn(function* () {
          for (let step = 0; step < steps; step++) {
            yield* over();
            fairness.step(task);
          }
          fairness.ended();
        }),
      );
    }
    for (const task of tasks) yield* task;
  });
  watch.end();
  return fairness.done(TASKS, steps);
}

/** Effect: fibers that yield. */
export async function switchInEffect(
  size: number,
  watch: Stopwatch,
): Promise<number> {
  const steps = size / TASKS;
  const fairness = new Fairness(TASKS, steps);
  const body = (task: number) =>
    Effect.gen(function* () {
      for (let step = 0; step < steps; step++) {
        yield* Effect.yieldNow;
        fairness.step(task);
      }
      fairness.ended();
    });
  watch.start();
  await Effect.runPromise(Effect.gen(function* () {
    const fibers = [];
    for (let task = 0; task < TASKS; task++) {
      fibers.push(yield* Effect.forkChild(body(task)));
    }
    for (const fiber of fibers) yield* Fiber.join(fiber);
  }));
  watch.end();
  return fairness.done(TASKS, steps);
}

/** What is compared. */
export const suites: readonly Suite[] = [{
  name: "switch",
  title: "generator task switch, 200 tasks",
  things: "switches",
  size: 100_000,
  tinySize: 800,
  iterations: 10,
  cases: [
    { name: "Rota", role: "rota", run: switchOnLoop },
    {
      name: "Rota, an empty instrument",
      role: "rota",
      run: switchWithInstrument,
    },
    {
      name: "Rota, an instrument that counts steps",
      role: "rota",
      run: switchCounted,
    },
    { name: "generators in a ring", role: "limit", run: switchInRing },
    { name: "effection", role: "rival", run: switchInEffection },
    { name: "Effect", role: "rival", run: switchInEffect },
  ],
}];
suites.forEach(register);
