/**
 * Supervised tasks: what a child costs beside a task of a group, what a restart costs beside a spawn, and whether many
 * children cost more than so many times one.
 *
 * @module
 */
import {
  DynamicSupervisor,
  run,
  sleep,
  Supervisor,
  taskGroup,
} from "../mod.ts";
import {
  type Case,
  register,
  type Stopwatch,
  type Suite,
} from "./support/suite.ts";

/** How many tasks have run. */
interface Count {
  done: number;
}

/** A child that runs and ends. */
function child(count: Count): () => Generator<undefined, void, unknown> {
  return function* () {
    count.done++;
  };
}

/** A task group. */
async function inGroup(size: number, watch: Stopwatch): Promise<number> {
  const count = { done: 0 };
  const one = child(count);
  await run(function* () {
    watch.start();
    yield* taskGroup((group) => {
      for (let n = 0; n < size; n++) group.createTask(one);
    });
    watch.end();
  }, { host: "portable" });
  return count.done;
}

/** A supervisor with so many temporary children, from its start until the last has ended. */
async function inSupervisor(size: number, watch: Stopwatch): Promise<number> {
  const count = { done: 0 };
  const one = child(count);
  const children = Array.from({ length: size }, (_, n) => ({
    id: `${n}`,
    start: one,
    restart: "temporary" as const,
  }));
  await run(function* () {
    const supervisor = new Supervisor({ children });
    watch.start();
    yield* supervisor.start();
    yield* supervisor.settled();
    watch.end();
    yield* supervisor.stop();
  }, { host: "portable" });
  return count.done;
}

/** A dynamic supervisor, each child started by a call that waits for it. */
async function inDynamic(size: number, watch: Stopwatch): Promise<number> {
  const count = { done: 0 };
  const one = child(count);
  await run(function* () {
    const supervisor = new DynamicSupervisor({
      child: { restart: "temporary" },
    });
    yield* supervisor.start();
    watch.start();
    for (let n = 0; n < size; n++) yield* supervisor.startChild(one);
    yield* supervisor.settled();
    watch.end();
    yield* supervisor.stop();
  }, { host: "portable" });
  return count.done;
}

/** Children that run until they are stopped, `factor` times as many: start and stop of all. */
function startAndStop(
  factor: number,
): (size: number, watch: Stopwatch) => Promise<number> {
  return async (size, watch) => {
    let active = 0;
    const children = Array.from({ length: size * factor }, (_, n) => ({
      id: `${n}`,
      start: () => sleep(Infinity),
    }));
    await run(function* () {
      const supervisor = new Supervisor({ children });
      watch.start();
      yield* supervisor.start();
      active = (yield* supervisor.countChildren()).active;
      yield* supervisor.stop();
      watch.end();
    }, { host: "portable" });
    return active / factor;
  };
}

/** A permanent child that ends at once, and is restarted so often. */
async function restarts(size: number, watch: Stopwatch): Promise<number> {
  const count = { done: 0 };
  const one = child(count);
  await run(function* () {
    const supervisor = new Supervisor({
      maxRestarts: size - 1,
      withinMs: Infinity,
      reportCrashes: false,
      children: [{ id: "one", start: one }],
    });
    watch.start();
    try {
      yield* supervisor.run();
    } catch {
      watch.end();
    }
  }, { host: "portable" });
  return count.done;
}

const group: Case = { name: "taskGroup", role: "rota", run: inGroup };

/** What is compared. */
export const suites: readonly Suite[] = [{
  name: "supervise",
  title: "run and end, supervised",
  things: "tasks",
  size: 10_000,
  tinySize: 20,
  cases: [
    group,
    { name: "Supervisor", role: "rota", run: inSupervisor },
    { name: "DynamicSupervisor, a call each", role: "rota", run: inDynamic },
  ],
}, {
  name: "restart",
  title: "restart beside spawn",
  things: "tasks",
  size: 10_000,
  tinySize: 20,
  cases: [group, { name: "restarts", role: "rota", run: restarts }],
}, {
  name: "supervise-many",
  title: "start and stop children",
  things: "children",
  size: 10_000,
  tinySize: 20,
  iterations: 10,
  cases: [
    { name: "so many", role: "rota", run: startAndStop(1) },
    { name: "twice as many", role: "rota", run: startAndStop(2) },
  ],
}];
suites.forEach(register);
