/**
 * The barrier: asyncio's rules one by one.
 *
 * @module
 */

import {
  assert,
  assertEquals,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import {
  Barrier,
  BrokenBarrierError,
  type CancelScope,
  cancelScope,
  currentTask,
  getRunningLoop,
  MisuseError,
  run,
  sleep,
  type Task,
  type Timeout,
  timeout,
} from "../mod.ts";
import { SeededRandom } from "../src/structures/random.ts";
import { inStyle, type Steps, STYLES } from "./support/styles.ts";

const VIRTUAL = { host: "virtual" } as const;

type Script = ReturnType<Steps<unknown>>;
type Spawn = (steps: Steps<unknown>) => Task<unknown>;

/** A test that runs in both styles; `spawn` makes tasks of the same style. */
function testBoth(name: string, script: (spawn: Spawn) => Script): void {
  for (const style of STYLES) {
    const spawn: Spawn = (steps) =>
      getRunningLoop().createTask(inStyle(style, steps));
    Deno.test(`${name} (${style})`, async () => {
      await run(inStyle(style, () => script(spawn)), VIRTUAL);
    });
  }
}

/** Tasks that wait at the barrier, and give their index or what they failed with. */
function arrive(spawn: Spawn, barrier: Barrier, count = 1): Task<unknown>[] {
  return Array.from({ length: count }, () =>
    spawn(function* () {
      try {
        return yield barrier.wait();
      } catch (error) {
        if (error instanceof BrokenBarrierError) return "broken";
        throw error;
      }
    }));
}

function* results(tasks: Task<unknown>[]): Script {
  const all: unknown[] = [];
  for (const task of tasks) all.push(yield task);
  return all;
}

testBoth(
  "Barrier.wait() goes on when all have come, and gives the order of arrival",
  function* (spawn) {
    const barrier = new Barrier(3);
    assertEquals([barrier.parties, barrier.nWaiting, barrier.broken], [
      3,
      0,
      false,
    ]);
    const early = arrive(spawn, barrier, 2);
    yield sleep(5);
    assertEquals(barrier.nWaiting, 2);
    assertEquals(yield barrier.wait(), 2);
    assertEquals(barrier.nWaiting, 0);
    assertEquals(yield* results(early), [0, 1]);
    assertEquals(getRunningLoop().time(), 5);
  },
);

testBoth("A barrier of one lets everybody through", function* () {
  const barrier = new Barrier(1);
  const { turns } = getRunningLoop().stats();
  for (let n = 0; n < 3; n++) assertEquals(yield barrier.wait(), 0);
  assertEquals(getRunningLoop().stats().turns, turns);
});

testBoth(
  "A barrier serves again, and newcomers wait until the last lot is out",
  function* (spawn) {
    const barrier = new Barrier(2);
    const tasks = arrive(spawn, barrier, 6);
    const indices = (yield* results(tasks)) as number[];
    assertEquals(indices.toSorted(), [0, 0, 0, 1, 1, 1]);
    assertEquals([barrier.nWaiting, barrier.broken], [0, false]);
  },
);

testBoth(
  "A cancelled waiter leaves, and the barrier waits for one more",
  function* (spawn) {
    const barrier = new Barrier(3);
    const tasks = arrive(spawn, barrier, 2);
    yield sleep(1);
    tasks[0]!.cancel();
    yield sleep(1);
    assertEquals([barrier.nWaiting, barrier.broken], [1, false]);
    tasks.push(...arrive(spawn, barrier));
    yield sleep(1);
    assertEquals(barrier.nWaiting, 2);
    tasks.push(...arrive(spawn, barrier));
    // Not 1, 1, 2 as in CPython (python/cpython#155233): each place is given once.
    assertEquals(yield* results(tasks.slice(1)), [0, 1, 2]);
  },
);

/** Ways in which the wait of a task at a barrier can end early. */
const WAYS_TO_LEAVE: Readonly<
  Record<string, (barrier: Barrier) => { wait: Steps<unknown>; leave(): void }>
> = {
  "a cancellation"(barrier) {
    let task: Task<unknown> | null = null;
    return {
      *wait() {
        task = currentTask();
        return yield barrier.wait();
      },
      leave: () => void task!.cancel(),
    };
  },
  "an abort"(barrier) {
    const controller = new AbortController();
    return {
      *wait() {
        return yield barrier.wait({ signal: controller.signal });
      },
      leave: () => controller.abort(),
    };
  },
  "the cancellation of a scope"(barrier) {
    let scope: CancelScope | null = null;
    return {
      *wait() {
        const { value } = yield cancelScope(function* (own) {
          scope = own;
          return yield* barrier.wait();
        });
        return value;
      },
      leave: () => scope!.cancel(),
    };
  },
  "a timeout"(barrier) {
    let limit: Timeout | null = null;
    return {
      *wait() {
        return yield timeout(null, function* (own) {
          limit = own;
          return yield* barrier.wait();
        });
      },
      leave: () => limit!.reschedule(0),
    };
  },
};

for (const [name, make] of Object.entries(WAYS_TO_LEAVE)) {
  testBoth(
    `Each place is given once, in the order of arrival, after ${name}`,
    function* (spawn) {
      // Which of the first three leave, several in a row.
      for (let mask = 0; mask < 8; mask++) {
        const barrier = new Barrier(4);
        const leavers = [0, 1, 2].map(() => make(barrier));
        const first = leavers.map(({ wait }) => spawn(wait));
        yield sleep(1);
        const stay = first.filter((_, n) => (mask & (1 << n)) === 0);
        leavers.forEach(({ leave }, n) => {
          if ((mask & (1 << n)) !== 0) leave();
        });
        yield sleep(1);
        assertEquals(barrier.nWaiting, stay.length);
        const tasks = [...stay, ...arrive(spawn, barrier, 4 - stay.length)];
        assertEquals(yield* results(tasks), [0, 1, 2, 3]);
        for (const task of first) {
          if (!stay.includes(task) && !task.cancelled()) task.exception();
        }
        // The next round is as good as the first.
        assertEquals(yield* results(arrive(spawn, barrier, 4)), [0, 1, 2, 3]);
      }
    },
  );
}

testBoth(
  "A task that is cancelled in the turn in which all have come keeps its place to itself",
  function* (spawn) {
    for (const victim of [0, 1]) {
      const barrier = new Barrier(3);
      const tasks = arrive(spawn, barrier, 2);
      yield sleep(1);
      const last = spawn(function* () {
        const place: number = yield barrier.wait();
        tasks[victim]!.cancel();
        return place;
      });
      assertEquals(yield last, 2);
      assertEquals(yield tasks[1 - victim]!, 1 - victim);
      yield sleep(1);
      assertEquals([tasks[victim]!.cancelled(), barrier.nWaiting], [true, 0]);
      assertEquals(yield* results(arrive(spawn, barrier, 3)), [0, 1, 2]);
    }
  },
);

for (const style of STYLES) {
  Deno.test(`No place of a round is given twice in random programs (${style})`, async () => {
    const base = Date.now();
    console.log(`seeds ${base} to ${base + 199}`);
    for (let seed = base; seed < base + 200; seed++) {
      const random = new SeededRandom(seed);
      const parties = 2 + random.nextInt(4);
      const places: number[] = [];
      await run(function* () {
        const barrier = new Barrier(parties);
        const tasks: Task<unknown>[] = [];
        for (let step = 0; step < 40; step++) {
          if (random.nextInt(3) > 0) {
            tasks.push(
              getRunningLoop().createTask(inStyle(style, function* () {
                places.push(yield barrier.wait());
              })),
            );
          } else if (tasks.length > 0) {
            tasks[Math.max(tasks.length - 1 - random.nextInt(5), 0)]!.cancel();
          }
          for (let n = random.nextInt(3); n > 0; n--) yield* sleep(0);
        }
        yield* sleep(1);
        assert(barrier.nWaiting < parties, `seed ${seed}`);
        for (const task of tasks) task.cancel();
      }, VIRTUAL);
      // The last to come goes on first, and opens the list of its round.
      const rounds: number[][] = [];
      for (const place of places) {
        if (place === parties - 1) rounds.push([]);
        rounds.at(-1)!.push(place);
      }
      for (const round of rounds) {
        assertEquals(new Set(round).size, round.length, `seed ${seed}`);
        assert(round.every((place) => place >= 0 && place < parties));
      }
    }
  });
}

testBoth(
  "Barrier.reset() sends those away who wait, and the barrier serves again",
  function* (spawn) {
    const barrier = new Barrier(3);
    const tasks = arrive(spawn, barrier, 2);
    yield sleep(1);
    yield barrier.reset();
    const next = arrive(spawn, barrier, 3);
    assertEquals(yield* results(tasks), ["broken", "broken"]);
    assertEquals(yield* results(next), [0, 1, 2]);
    yield barrier.reset();
    assertEquals([barrier.nWaiting, barrier.broken], [0, false]);
  },
);

testBoth(
  "Barrier.abort() sends everybody away until reset()",
  function* (spawn) {
    const barrier = new Barrier(3);
    const tasks = arrive(spawn, barrier, 2);
    yield sleep(1);
    yield barrier.abort();
    assertEquals([barrier.broken, barrier.nWaiting], [true, 0]);
    assertEquals(yield* results(tasks), ["broken", "broken"]);
    assertEquals(yield* results(arrive(spawn, barrier)), ["broken"]);
    yield barrier.reset();
    assertEquals(barrier.broken, false);
    assertEquals(yield* results(arrive(spawn, barrier, 3)), [0, 1, 2]);
  },
);

testBoth(
  "An abort of its signal ends Barrier.wait() like a cancellation",
  function* (spawn) {
    const barrier = new Barrier(2);
    const controller = new AbortController();
    const reason = new Error("enough");
    const task = spawn(function* () {
      yield barrier.wait({ signal: controller.signal });
    });
    yield sleep(1);
    assertEquals(barrier.nWaiting, 1);
    controller.abort(reason);
    yield sleep(1);
    assertStrictEquals(task.exception(), reason);
    assertEquals([barrier.nWaiting, barrier.broken], [0, false]);
    assertEquals(yield* results(arrive(spawn, barrier, 2)), [0, 1]);
  },
);

Deno.test("BrokenBarrierError is a MisuseError", () => {
  const error = new BrokenBarrierError("x");
  assert(error instanceof MisuseError);
  assertEquals(error.name, "BrokenBarrierError");
});

Deno.test("Barrier checks its arguments", () => {
  for (const parties of [0, -1, 1.5, NaN, Infinity]) {
    const error = assertThrows(() => new Barrier(parties), RangeError);
    assertEquals(
      error.message,
      `Cannot create a barrier as parties must be an integer >= 1: received ${parties}`,
    );
  }
  // @ts-expect-error -- not a number
  assertThrows(() => new Barrier("2"), TypeError, "must be a number");
  // @ts-expect-error -- not a signal
  assertThrows(() => new Barrier(2).wait({ signal: 1 }), TypeError);
});
