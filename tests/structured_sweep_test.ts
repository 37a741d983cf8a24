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
  createTask,
  gather,
  moveOnAfter,
  shield,
  sleep,
  taskGroup,
  TaskGroupError,
  timeout,
  TimeoutError,
  wait,
  waitFor,
} from "../mod.ts";
import { cancelEverywhere, failEverywhere } from "../src/testing/everywhere.ts";
import { SeededRandom } from "../src/structures/random.ts";

class Broken extends Error {}

/** How a program is cancelled. */
const WAYS = ["cancel", "cancel twice", "scope"] as const;

/** Runs `make`'s program once for each point, or for the given ones, and cancels it there. */
function sweep(
  make: (world: World) => () => Coroutine<unknown>,
  by: typeof WAYS[number],
  points?: number[],
): Promise<number> {
  return cancelEverywhere(
    (world) => make(world)(),
    function* (world, { error, reports, point }) {
      world.over = true;
      yield* sleep(500);
      world.check(
        error,
        reports.map(({ exception, message }) => exception ?? message),
        point,
      );
    },
    { setup: () => new World(), by, errors: "check", points },
  );
}

/** What the programs of one run do and must not do. */
class World {
  /** Set when the program has ended: nothing of it may run any more. */
  over = false;
  readonly #thrown: Broken[] = [];

  /** An error has left a body. */
  thrown(error: unknown): void {
    if (error instanceof Broken) this.#thrown.push(error);
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
          group.createTask(worker(world, ms));
        }
        yield* sleep(2);
      });
    },
  "a group of async functions": (world) =>
    function* () {
      return yield* taskGroup(async (group) => {
        for (const ms of [3, 1, 2]) {
          group.createTask(asyncWorker(world, ms));
        }
        await sleep(2);
        await sleep(1);
      });
    },
  "a group with failures": (world) =>
    function* () {
      return yield* taskGroup(function* (group) {
        group.createTask(worker(world, 5, "in clean-up"));
        group.createTask(worker(world, 3, "at work"));
        group.createTask(worker(world, 9));
        yield* sleep(4);
        yield* sleep(4);
      });
    },
  "a group with a limit": (world) =>
    function* () {
      return yield* taskGroup(function* (group) {
        for (const ms of [2, 1, 2, 1]) {
          group.createTask(worker(world, ms));
        }
      }, { limit: 2 });
    },
  "a group in a scope in a timeout": (world) =>
    function* () {
      return yield* timeout(20, function* () {
        return yield* moveOnAfter(6, function* () {
          return yield* taskGroup(function* (group) {
            group.createTask(worker(world, 4));
            group.createTask(worker(world, 10));
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
            group.createTask(asyncWorker(world, 4));
            group.createTask(worker(world, 10));
            await sleep(8);
          });
        });
      });
    },
  "nested groups": (world) =>
    function* () {
      yield* taskGroup(function* (outer) {
        outer.createTask(worker(world, 5));
        yield* taskGroup(function* (inner) {
          inner.createTask(worker(world, 3));
          inner.createTask(function* () {
            yield* taskGroup((third) =>
              void third.createTask(worker(world, 4))
            );
          });
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
        const tasks = [3, 5, 8].map((ms) => createTask(worker(world, ms)));
        yield* waitFor(gather(tasks, { returnExceptions: true }), 6);
      } catch (error) {
        if (!(error instanceof TimeoutError)) throw error;
      }
    },
  "a shield, and the end of what it protects": (world) =>
    function* () {
      const inner = createTask(worker(world, 4));
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
  for (const by of WAYS) {
    Deno.test(`Cancelled at every point: ${name}, by ${by}`, async () => {
      let rejections = 0;
      const unhandled = (event: Event) => {
        event.preventDefault();
        rejections++;
      };
      globalThis.addEventListener("unhandledrejection", unhandled);
      try {
        const points = await sweep(make, by);
        assert(points > 3, `${points} points`);
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
          group.createTask(a);
          group.createTask(b);
          yield* sleep(delay);
        }, { limit: 1 + delay % 3 });
      };
    case 1:
      return function* () {
        yield* taskGroup(async (group) => {
          group.createTask(a);
          group.createTask(b);
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
        yield* taskGroup((group) => void group.createTask(a));
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
    const by = WAYS[random.nextInt(3)]!;
    try {
      await sweep(
        (world) => randomProgram(new SeededRandom(programSeed), world, 3),
        by,
        [at],
      );
    } catch (error) {
      throw new Error(
        `seed ${seed}, program ${n} (${programSeed}), by ${by} at ${at}`,
        { cause: error },
      );
    }
  }
});

for (const [name, make] of Object.entries(PROGRAMS)) {
  if (name === "a group with failures") continue;
  Deno.test(`Whichever wait fails: ${name}`, async () => {
    const points = await failEverywhere(
      (world) => make(world)(),
      function* (world) {
        world.over = true;
        yield* sleep(500);
      },
      { setup: () => new World() },
    );
    assert(points >= 2, `${points} points`);
  });
}
