/**
 * Looking in: a task tree beside a walk over the tasks, and a switch with a tracer
 * beside one without.
 *
 * @module
 */
import { allTasks, EventLoop, Flag, sleep, type Task } from "../mod.ts";
import { taskTree, Tracer } from "../src/observe/mod.ts";
import { switches, switchOnLoop } from "./generator_switch_bench.ts";
import { register, type Stopwatch, type Suite } from "./support/suite.ts";

/** Has so many tasks wait, and looks at them. */
async function lookAt(
  size: number,
  watch: Stopwatch,
  look: (loop: EventLoop) => number,
): Promise<number> {
  await using loop = new EventLoop({ host: "portable" });
  return await loop.runUntilComplete(function* () {
    const flag = new Flag();
    for (let n = 1; n < size; n++) loop.createTask(() => flag.wait());
    yield* sleep(0);
    yield* sleep(0);
    watch.start();
    const seen = look(loop);
    watch.end();
    const tasks = allTasks(loop);
    flag.set();
    yield* sleep(0);
    yield* sleep(0);
    if (tasks.some((task) => task.waits().length > 0)) {
      throw new Error("Some tasks have not ended");
    }
    return seen;
  });
}

/** Rota: the tree, with its counts, deadlocks and the first thousand tasks. */
export function takeTree(size: number, watch: Stopwatch): Promise<number> {
  return lookAt(size, watch, (loop) => taskTree({ loop }).total);
}

/** A walk over the tasks that asks each for its name, its parent and its waits. */
export function walk(size: number, watch: Stopwatch): Promise<number> {
  return lookAt(size, watch, (loop) => {
    const found: unknown[] = [];
    for (const task of allTasks(loop) as Task<unknown>[]) {
      found.push([task.name, task.parent, task.waits()]);
    }
    return found.length;
  });
}

/** Rota: task switches with a tracer. */
export async function switchTraced(
  size: number,
  watch: Stopwatch,
): Promise<number> {
  const tracer = new Tracer();
  const done = await switches(size, watch, { instruments: [tracer] });
  if (tracer.records < size) throw new Error(`${tracer.records} records`);
  return done;
}

/** What is compared. */
export const suites: readonly Suite[] = [{
  name: "task-tree",
  title: "task tree of waiting tasks",
  things: "tasks",
  size: 10_000,
  tinySize: 20,
  iterations: 10,
  cases: [
    { name: "Rota, taskTree", role: "rota", run: takeTree },
    { name: "a walk over them", role: "limit", run: walk },
  ],
}, {
  name: "trace",
  title: "generator task switch with a tracer",
  things: "switches",
  size: 100_000,
  tinySize: 800,
  iterations: 10,
  cases: [
    { name: "Rota, a tracer", role: "rota", run: switchTraced },
    { name: "without a tracer", role: "limit", run: switchOnLoop },
  ],
}];
suites.forEach(register);
