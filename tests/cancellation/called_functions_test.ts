/**
 * Functions that the library calls for a task: iterators, disposers, arguments of `until`.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import {
  cancelScope,
  ConcurrencyLimit,
  currentTask,
  each,
  getRunningLoop,
  Queue,
  scoped,
  sleep,
  taskGroup,
  TaskLocal,
  timeout,
  until,
  wait,
} from "../../mod.ts";
import {
  as,
  type Mix,
  outcomeOf,
  type Steps,
  wrong,
} from "../support/mixed_styles.ts";
import { connection, now } from "../support/cancelling.ts";

Deno.test("What a task calls for its waits does not stop virtual time", async () => {
  const helper = async (ms = 100) => {
    await sleep(ms);
    return 1;
  };
  const calls: Record<string, { make: (mix: Mix) => Steps; wanted: string }> = {
    "until of a function": {
      make: function* () {
        return yield until(() => helper());
      },
      wanted: "1",
    },
    "until in until": {
      make: function* () {
        return yield until(async () => await until(() => helper()));
      },
      wanted: "1",
    },
    "until of a function that waits for another task": {
      make: function* () {
        return yield until(async () =>
          await getRunningLoop().createTask(() => helper())
        );
      },
      wanted: "1",
    },
    "until in a timeout": {
      make: function* (mix) {
        return yield timeout(
          200,
          as(mix.inner, function* () {
            return yield until(() => helper());
          }),
        );
      },
      wanted: "1",
    },
    "until that takes too long": {
      make: function* (mix) {
        return yield timeout(
          50,
          as(mix.inner, function* () {
            return yield until(() => helper());
          }),
        );
      },
      wanted: "TimeoutError",
    },
    "until of a function that opens a group": {
      make: function* () {
        return yield until(async () =>
          await taskGroup(async (group) => {
            group.createTask(() => helper(20));
            return await group.createTask(() => helper());
          })
        );
      },
      wanted: "1",
    },
    "a disposal that waits": {
      make: function* (mix) {
        yield scoped(
          connection(),
          as(mix.inner, function* () {
            yield sleep(1);
          }),
        );
        return now();
      },
      wanted: "51",
    },
    "an async generator that waits": {
      make: function* (mix) {
        const got: number[] = [];
        yield each(numbers(), (n) =>
          as(mix.inner, function* () {
            yield sleep(1);
            got.push(n);
          })() as never);
        return got;
      },
      wanted: "[0,1,2]",
    },
    "a map of an async generator that waits": {
      make: function* () {
        return yield new ConcurrencyLimit(2).map(numbers(), (n) => n) as never;
      },
      wanted: "[0,1,2]",
    },
  };
  const differences = await wrong(
    calls,
    ({ make }, mix) => outcomeOf(as(mix.outer, () => make(mix))),
  );
  assertEquals(differences, []);
});

async function* numbers(): AsyncGenerator<number> {
  for (let n = 0; n < 3; n++) {
    await sleep(5);
    yield n;
  }
}

Deno.test("What a task calls for its waits runs as that task, with its locals", async () => {
  const local = new TaskLocal("nowhere");
  const log: string[] = [];
  const note = () => {
    const task = currentTask();
    log.push(`${task?.name} ${task === null ? "" : local.get()}`);
  };
  async function* noted(): AsyncGenerator<number> {
    try {
      note();
      await sleep(5);
      note();
      yield 1;
      yield 2;
    } finally {
      note();
      await sleep(5);
      note();
    }
  }
  const disposed = {
    async [Symbol.asyncDispose]() {
      note();
      await sleep(5);
      note();
    },
  };
  const calls: Record<string, { make: (mix: Mix) => Steps; count: number }> = {
    "a disposal": {
      make: function* (mix) {
        yield scoped(
          disposed,
          as(mix.inner, function* () {
            yield sleep(1);
          }),
        );
      },
      count: 2,
    },
    "a disposal after a failure": {
      make: function* (mix) {
        try {
          yield scoped(
            disposed,
            as(mix.inner, function* () {
              throw new Error("body");
            }),
          );
        } catch { /* the body's */ }
      },
      count: 2,
    },
    "an async generator that is left early": {
      make: function* (mix) {
        yield each(noted(), (_, stop) => {
          stop();
          return as(mix.inner, function* () {
            yield sleep(1);
          })() as never;
        });
      },
      count: 4,
    },
    "a function given to until": {
      make: function* () {
        yield until(async () => {
          note();
          await sleep(1);
          await foreignHop();
          note();
        });
      },
      count: 2,
    },
    "a disposal in a group": {
      make: function* (mix) {
        yield taskGroup(as(mix.inner, function* () {
          yield scoped(disposed, () => sleep(1));
        }));
      },
      count: 2,
    },
  };
  const cases = Object.fromEntries(
    Object.entries(calls).map((
      [key, { make, count }],
    ) => [key, { make, wanted: Array(count).fill("worker here") }]),
  );
  const differences = await wrong(cases, async ({ make }, mix) => {
    log.length = 0;
    const outcome = await outcomeOf(as(mix.outer, function* () {
      yield getRunningLoop().createTask(
        as(mix.outer, function* () {
          local.set("here");
          yield* make(mix);
        }),
        { name: "worker" },
      );
    }));
    return outcome === "undefined" ? [...log] : outcome;
  });
  assertEquals(differences, []);
});

async function foreignHop(): Promise<void> {
  await null;
}

Deno.test("A reader that was cancelled takes no further item", async () => {
  const readers: Record<string, (queue: Queue<number>, mix: Mix) => Steps> = {
    "each of an async generator": function* (queue) {
      yield each(fromQueue(queue), () => {});
    },
    "until": function* (queue) {
      yield until(async () => {
        await queue.get();
      });
    },
    "each in a group": function* (queue, mix) {
      yield taskGroup(as(mix.inner, function* () {
        yield each(fromQueue(queue), () => {});
      }));
    },
    "each in a scope": function* (queue, mix) {
      yield cancelScope(as(mix.inner, function* () {
        yield each(fromQueue(queue), () => {});
      }));
    },
    "a map": function* (queue) {
      yield new ConcurrencyLimit(2).map(fromQueue(queue), () => {}) as never;
    },
    "each of the queue itself": function* (queue) {
      yield each(queue, () => {});
    },
  };
  const cases = Object.fromEntries(
    Object.entries(readers).map((
      [key, reader],
    ) => [key, { reader, wanted: `["cancelled",1]` }]),
  );
  const differences = await wrong(
    cases,
    ({ reader }, mix) =>
      outcomeOf(as(mix.outer, function* () {
        const queue = new Queue<number>();
        const task = getRunningLoop().createTask(
          as(mix.outer, () => reader(queue, mix)),
        );
        yield sleep(5);
        task.cancel();
        yield wait([task]);
        queue.putNowait(1);
        yield sleep(5);
        return [task.cancelled() ? "cancelled" : "ended", queue.size];
      })),
  );
  assertEquals(differences, []);
});

async function* fromQueue(queue: Queue<number>): AsyncGenerator<number> {
  for (;;) yield await queue.get();
}
