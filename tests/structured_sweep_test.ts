/**
 * Cancels programs made of groups, timeouts, scopes, gather and shield at every
 * suspension point, one run for each, and looks that nothing is left: no task,
 * no timer, no request, no error that nobody was told of or somebody twice.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import {
  CancelledError,
  cancelScope,
  type Coroutine,
  EventLoop,
  gather,
  type Handle,
  moveOnAfter,
  shield,
  sleep,
  type Task,
  taskGroup,
  TaskGroupError,
  timeout,
  TimeoutError,
  wait,
  waitFor,
} from "../mod.ts";
import { SeededRandom } from "../src/structures/random.ts";

class Broken extends Error {}

/** How a program is cancelled: by its task, once or twice, or by a scope around it. */
type Canceller = "task" | "task twice" | "scope";

/** A loop that does something each time when something is queued. */
class SweepLoop extends EventLoop {
  /** How often something was queued while the program ran. */
  count = 0;
  onQueued: ((count: number) => void) | null = null;

  override callSoon<A extends unknown[]>(
    callback: (...args: A) => unknown,
    ...args: A
  ): Handle {
    const before = this.onQueued;
    if (before !== null) {
      this.onQueued = null; // what it queues itself does not count
      before(this.count++);
      this.onQueued ??= before;
    }
    return super.callSoon(callback, ...args);
  }
}

/** Runs `make`'s program, and cancels it when something is queued for time `at`; false if it was over before. */
async function runCancelled(
  make: (world: World) => () => Coroutine<unknown>,
  at: number,
  canceller: Canceller,
): Promise<boolean> {
  const loop = new SweepLoop({ host: "virtual" });
  const world = new World(loop);
  const reported: unknown[] = [];
  loop.setExceptionHandler((_, { exception, message }) => {
    reported.push(exception ?? message);
  });
  let caught: unknown;
  let reached = false;
  const main = loop.createTask<void>(function* () {
    let cancel: () => void;
    const body = make(world);
    const program = loop.createTask<unknown>(
      canceller === "scope"
        ? () =>
          cancelScope(function* (scope) {
            cancel = () => scope.cancel("sweep");
            yield* body();
          })
        : body,
      { name: "program" },
    );
    cancel = () => program.cancel("sweep");
    loop.onQueued = (count) => {
      assert(count < 5_000, "the program does not end");
      if (count !== at && !(count === at + 3 && canceller === "task twice")) {
        return;
      }
      reached = true;
      loop.callSoon(() => cancel());
    };
    try {
      yield* program;
    } catch (error) {
      caught = error;
    }
    loop.onQueued = null;
    assertEquals(world.left(), [], `cancelled at ${at}`);
    world.over = true;
    yield* sleep(500);
  });
  await loop.runUntilComplete(main);
  assertEquals(loop.stats().timers, 0, "no timer is left");
  assertEquals(loop.stats().tasks, 0, "no task is left");
  await loop.close();
  world.check(caught, reported, at);
  return reached;
}

/** What the programs of one run do and must not do. */
class World {
  readonly loop: EventLoop;
  /** Set when the program has ended: nothing of it may run any more. */
  over = false;
  readonly #thrown: Broken[] = [];
  readonly #tasks: Task<unknown>[] = [];

  constructor(loop: EventLoop) {
    this.loop = loop;
  }

  /** An error has left a body. */
  thrown(error: unknown): void {
    if (error instanceof Broken) this.#thrown.push(error);
  }

  watch<T>(task: Task<T>): Task<T> {
    this.#tasks.push(task as Task<unknown>);
    return task;
  }

  left(): string[] {
    return this.#tasks.filter((task) => !task.done()).map((task) => task.name);
  }

  ran(): void {
    assert(!this.over, "something ran on after the end");
  }

  /** Every error has been delivered exactly once: to the caller or to the handler. */
  check(caught: unknown, reported: readonly unknown[], at: number): void {
    const seen: unknown[] = [...reported];
    const collect = (error: unknown) => {
      if (error instanceof TaskGroupError) error.errors.forEach(collect);
      else if (error instanceof Broken) seen.push(error);
      else {
        assert(
          error === undefined || error instanceof CancelledError ||
            error instanceof TimeoutError,
          String(error),
        );
      }
    };
    collect(caught);
    const names = (errors: readonly unknown[]) =>
      errors.map((error) => String(error)).sort();
    assertEquals(names(seen), names(this.#thrown), `cancelled at ${at}`);
  }
}

/** A worker that sleeps, cleans up while waiting, and may fail in between. */
function worker(world: World, ms: number, fails = ""): () => Coroutine<number> {
  const work = function* (): Coroutine<number> {
    try {
      yield* sleep(ms);
      world.ran();
      if (fails === "at work") throw new Broken(`at work ${ms}`);
      return ms;
    } finally {
      yield* sleep(1); // a cancellation here takes the place of the error
      world.ran();
      // deno-lint-ignore no-unsafe-finally
      if (fails === "in clean-up") throw new Broken(`in clean-up ${ms}`);
    }
  };
  return function* () {
    try {
      return yield* work();
    } catch (error) {
      world.thrown(error);
      throw error;
    }
  };
}

function asyncWorker(world: World, ms: number): () => Promise<number> {
  return async () => {
    try {
      await sleep(ms);
      world.ran();
      return ms;
    } finally {
      await sleep(1);
      world.ran();
    }
  };
}

const PROGRAMS: Record<string, (world: World) => () => Coroutine<unknown>> = {
  "a group": (world) =>
    function* () {
      return yield* taskGroup(function* (group) {
        for (const ms of [3, 1, 2]) {
          world.watch(group.createTask(worker(world, ms)));
        }
        yield* sleep(2);
      });
    },
  "a group of async functions": (world) =>
    function* () {
      return yield* taskGroup(async (group) => {
        for (const ms of [3, 1, 2]) {
          world.watch(group.createTask(asyncWorker(world, ms)));
        }
        await sleep(2);
        await sleep(1);
      });
    },
  "a group with failures": (world) =>
    function* () {
      return yield* taskGroup(function* (group) {
        world.watch(group.createTask(worker(world, 5, "in clean-up")));
        world.watch(group.createTask(worker(world, 3, "at work")));
        world.watch(group.createTask(worker(world, 9)));
        yield* sleep(4);
        yield* sleep(4);
      });
    },
  "a group with a limit": (world) =>
    function* () {
      return yield* taskGroup(function* (group) {
        for (const ms of [2, 1, 2, 1]) {
          world.watch(group.createTask(worker(world, ms)));
        }
      }, { limit: 2 });
    },
  "a group in a scope in a timeout": (world) =>
    function* () {
      return yield* timeout(20, function* () {
        return yield* moveOnAfter(6, function* () {
          return yield* taskGroup(function* (group) {
            world.watch(group.createTask(worker(world, 4)));
            world.watch(group.createTask(worker(world, 10)));
            yield* sleep(8);
          });
        });
      });
    },
  "the same with async functions": (world) =>
    function* () {
      return yield* timeout(20, async () => {
        return await moveOnAfter(6, async () => {
          return await taskGroup(async (group) => {
            world.watch(group.createTask(asyncWorker(world, 4)));
            world.watch(group.createTask(worker(world, 10)));
            await sleep(8);
          });
        });
      });
    },
  "nested groups": (world) =>
    function* () {
      yield* taskGroup(function* (outer) {
        world.watch(outer.createTask(worker(world, 5)));
        yield* taskGroup(function* (inner) {
          world.watch(inner.createTask(worker(world, 3)));
          world.watch(inner.createTask(function* () {
            yield* taskGroup((third) =>
              void world.watch(third.createTask(worker(world, 4)))
            );
          }));
        });
      });
    },
  "start()": (world) =>
    function* () {
      yield* taskGroup(function* (group) {
        const value = yield* group.start<number>(function* (started) {
          try {
            yield* sleep(2);
            started(5);
            yield* sleep(2);
          } finally {
            yield* sleep(1);
            world.ran();
          }
        });
        assertEquals(value, 5);
        yield* sleep(1);
      });
    },
  "timeouts with equal deadlines": (world) =>
    function* () {
      try {
        yield* timeout(4, function* () {
          yield* timeout(4, function* () {
            yield* timeout(4, worker(world, 10));
          });
        });
      } catch (error) {
        if (!(error instanceof TimeoutError)) throw error;
      }
      yield* sleep(1);
    },
  "waitFor() and gather()": (world) =>
    function* () {
      try {
        const tasks = [3, 5, 8].map((ms) =>
          world.watch(world.loop.createTask(worker(world, ms)))
        );
        yield* waitFor(gather(tasks, { returnExceptions: true }), 6);
      } catch (error) {
        if (!(error instanceof TimeoutError)) throw error;
      }
    },
  "a shield, and the end of what it protects": (world) =>
    function* () {
      const inner = world.watch(world.loop.createTask(worker(world, 4)));
      try {
        return yield* shield(inner);
      } finally {
        // Cancelled again, it waits again.
        while (!inner.done()) {
          try {
            yield* cancelScope(() => wait([inner]), { shield: true });
          } catch (error) {
            assert(error instanceof CancelledError);
          }
        }
      }
    },
  "clean-up in a shielded scope": (world) =>
    function* () {
      try {
        yield* sleep(3);
      } finally {
        yield* cancelScope(function* () {
          yield* sleep(2);
          world.ran();
        }, { shield: true, delayMs: 10 });
      }
    },
};

for (const [name, make] of Object.entries(PROGRAMS)) {
  for (const canceller of ["task", "task twice", "scope"] as const) {
    Deno.test(`Cancelled at every point: ${name}, by the ${canceller}`, async () => {
      let rejections = 0;
      const unhandled = (event: Event) => {
        event.preventDefault();
        rejections++;
      };
      globalThis.addEventListener("unhandledrejection", unhandled);
      try {
        for (let at = 0;; at++) {
          if (!await runCancelled(make, at, canceller)) break;
        }
      } finally {
        globalThis.removeEventListener("unhandledrejection", unhandled);
      }
      assertEquals(rejections, 0);
    });
  }
}

/** A program of a random shape. */
function randomProgram(
  random: SeededRandom,
  world: World,
  depth: number,
): () => Coroutine<unknown> {
  const ms = () => random.nextInt(8);
  const next = () => randomProgram(random, world, depth - 1);
  if (depth === 0) {
    return worker(
      world,
      ms(),
      ["", "", "", "at work", "in clean-up"][random.nextInt(5)],
    );
  }
  const kind = random.nextInt(6);
  const [a, b, delay] = [next(), next(), ms()];
  switch (kind) {
    case 0:
      return function* () {
        yield* taskGroup(function* (group) {
          world.watch(group.createTask(a));
          world.watch(group.createTask(b));
          yield* sleep(delay);
        }, { limit: 1 + delay % 3 });
      };
    case 1:
      return function* () {
        yield* taskGroup(async (group) => {
          world.watch(group.createTask(a));
          world.watch(group.createTask(b));
          await sleep(delay);
          if (delay > 5) group.cancel();
        });
      };
    case 2:
      return function* () {
        yield* moveOnAfter(delay, a);
      };
    case 3:
      return function* () {
        try {
          yield* timeout(delay, a);
        } catch (error) {
          if (!(error instanceof TimeoutError)) throw error;
        }
      };
    case 4:
      return function* () {
        yield* cancelScope(a, { shield: true });
      };
    default:
      return function* () {
        yield* taskGroup((group) => void world.watch(group.createTask(a)));
        yield* sleep(0);
      };
  }
}

Deno.test("Random programs, cancelled at random points, leave nothing behind", async () => {
  const seed = Number(
    Deno.env.get("ROTA_TEST_SEED") ??
      crypto.getRandomValues(new Uint32Array(1))[0],
  );
  console.log(`seed ${seed}`);
  const random = new SeededRandom(seed);
  for (let n = 0; n < 400; n++) {
    const at = random.nextInt(120);
    const programSeed = random.nextInt(2 ** 30);
    const canceller =
      (["task", "task twice", "scope"] as const)[random.nextInt(3)]!;
    try {
      await runCancelled(
        (world) => randomProgram(new SeededRandom(programSeed), world, 3),
        at,
        canceller,
      );
    } catch (error) {
      throw new Error(
        `seed ${seed}, program ${n} (${programSeed}), by the ${canceller} at ${at}`,
        { cause: error },
      );
    }
  }
});
