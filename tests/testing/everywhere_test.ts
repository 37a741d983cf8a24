/**
 * The sweeps find what they are for, and find nothing where nothing is wrong.
 *
 * @module
 */
import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { FakeTime } from "@std/testing/time";
import { macrotask } from "../../src/host/macrotask.ts";
import {
  BoundedSemaphore,
  CapacityLimiter,
  Channel,
  ConcurrencyLimit,
  Condition,
  type Coroutine,
  createTask,
  type Future,
  getRunningLoop,
  Lock,
  type Operation,
  type Permit,
  Queue,
  RateLimiter,
  Semaphore,
  sleep,
  taskGroup,
} from "../../mod.ts";
import {
  AssertionError,
  cancelEverywhere,
  type CancelEverywhereOptions,
  failEverywhere,
  InjectedFaultError,
} from "../../src/testing/mod.ts";
import { inStyle, type Steps, type Style, STYLES } from "../support/styles.ts";

const WAYS = ["cancel", "cancel twice", "scope", "signal"] as const;

// -- A semaphore as users write it --

/** Hands its permit to a waiter; who is cancelled with it in hand loses it, unless it is `careful`. */
class HandedSemaphore {
  value = 1;
  readonly #waiters: Future<void>[] = [];
  readonly #careful: boolean;

  constructor(careful: boolean) {
    this.#careful = careful;
  }

  *acquire(): ReturnType<Steps<void>> {
    if (this.value > 0) {
      this.value--;
      return;
    }
    const waiter = getRunningLoop().createFuture<void>("HandedSemaphore");
    this.#waiters.push(waiter);
    try {
      yield waiter;
    } catch (error) {
      if (this.#careful) {
        if (waiter.done() && !waiter.cancelled()) this.release();
        else this.#waiters.splice(this.#waiters.indexOf(waiter), 1);
      }
      throw error;
    }
  }

  release(): void {
    for (;;) {
      const waiter = this.#waiters.shift();
      if (waiter === undefined) {
        this.value++;
        return;
      }
      if (waiter.done()) continue;
      waiter.setResult();
      return;
    }
  }
}

function sweepSemaphore(
  style: Style,
  careful: boolean,
  options: CancelEverywhereOptions<HandedSemaphore> = {},
): Promise<number> {
  const use = (semaphore: HandedSemaphore) =>
    inStyle(style, function* () {
      yield* semaphore.acquire();
      try {
        yield sleep(0);
      } finally {
        semaphore.release();
      }
    });
  return cancelEverywhere(
    function* (semaphore, { victim }) {
      const first = createTask(use(semaphore));
      const second = victim(use(semaphore), { name: "second" });
      yield* first;
      try {
        yield* second;
      } catch {
        // It was cancelled.
      }
    },
    (semaphore) => assertEquals(semaphore.value, 1),
    { setup: () => new HandedSemaphore(careful), ...options },
  );
}

for (const style of STYLES) {
  for (const by of WAYS.slice(0, 3)) {
    Deno.test(`a semaphore that leaks is found, in ${style}, by ${by}`, async () => {
      const error = await assertRejects(
        () => sweepSemaphore(style, false, { by }),
        AssertionError,
      );
      assertMatch(error.message, /^Cancelled at point \d+, /);
      assertMatch(
        error.message,
        /while task "second" waits for /,
      );
      // The very point again.
      const point = Number(/\d+/.exec(error.message)![0]);
      await assertRejects(
        () => sweepSemaphore(style, false, { by, points: [point] }),
        AssertionError,
        `point ${point},`,
      );
    });

    Deno.test(`nothing is found once it is repaired, in ${style}, by ${by}`, async () => {
      assert(await sweepSemaphore(style, true, { by }) >= 4);
    });
  }
}

// -- Rota's own --

/** Programs of several tasks that share something, and what must be there afterwards. */
interface Shared {
  readonly use: () => ReturnType<Steps<unknown>>;
  readonly left: () => unknown;
  readonly expected: unknown;
}

function permits(
  acquire: () => Operation<Permit>,
  left: () => unknown,
  expected: unknown,
): Shared {
  return {
    *use() {
      using _permit: Permit = yield acquire();
      yield sleep(1);
    },
    left,
    expected,
  };
}

const PRIMITIVES: Readonly<Record<string, () => Shared>> = {
  Lock() {
    const lock = new Lock();
    return permits(() => lock.acquire(), () => lock.locked(), false);
  },
  Semaphore() {
    const semaphore = new Semaphore(2);
    return permits(() => semaphore.acquire(), () => semaphore.value, 2);
  },
  BoundedSemaphore() {
    const semaphore = new BoundedSemaphore(1);
    return permits(() => semaphore.acquire(), () => semaphore.value, 1);
  },
  CapacityLimiter() {
    const limiter = new CapacityLimiter(2);
    return permits(() => limiter.acquire(), () => limiter.borrowedTokens, 0);
  },
  Condition() {
    const condition = new Condition();
    let turn = 0;
    return {
      *use() {
        using _permit: Permit = yield condition.acquire();
        turn++;
        condition.notifyAll();
        yield condition.waitFor(() => turn >= 2);
      },
      left: () => condition.locked(),
      expected: false,
    };
  },
  Queue() {
    const queue = new Queue<number>(1);
    let balance = 0;
    return {
      *use() {
        yield queue.put(1);
        balance++;
        yield sleep(0);
        yield queue.get();
        balance--;
      },
      left: () => balance - queue.size,
      expected: 0,
    };
  },
  ConcurrencyLimit() {
    const limit = new ConcurrencyLimit(1);
    return {
      *use() {
        yield limit.run(function* () {
          yield* sleep(1);
        });
      },
      left() {
        const { running, pending } = limit.stats();
        return [running, pending];
      },
      expected: [0, 0],
    };
  },
  RateLimiter() {
    const limiter = new RateLimiter({ permits: 1, intervalMs: 10 });
    return {
      *use() {
        yield limiter.acquire();
      },
      *left() {
        // Whoever comes later gets a permit.
        yield* limiter.acquire();
        return true;
      },
      expected: true,
    };
  },
  Channel() {
    const channel = new Channel<number>({ capacity: 1 });
    return {
      *use() {
        yield channel.send(1);
        yield channel.receive();
      },
      left() {
        const { sent, received, size } = channel.stats();
        return sent - received - size;
      },
      expected: 0,
    };
  },
};

/** Three tasks in a group that use the same thing. */
function* inGroup(style: Style, { use }: Shared): ReturnType<Steps<unknown>> {
  return yield taskGroup((group) => {
    for (let n = 0; n < 3; n++) group.createTask(inStyle(style, use));
  });
}

function* checkLeft({ left, expected }: Shared): Coroutine<void> {
  const found = left();
  assertEquals(
    isGenerator(found) ? yield* found as Coroutine<unknown> : found,
    expected,
  );
}

function isGenerator(value: unknown): boolean {
  return typeof value === "object" && value !== null && "next" in value;
}

for (const style of STYLES) {
  for (const [name, setup] of Object.entries(PRIMITIVES)) {
    Deno.test(`${name} loses nothing wherever a group in ${style} is cancelled`, async () => {
      for (const by of ["cancel", "cancel twice", "scope"] as const) {
        const points = await cancelEverywhere(
          (shared) => inStyle(style, () => inGroup(style, shared))(),
          checkLeft,
          { setup, by },
        );
        assert(points >= 5, `${points} points`);
      }
    });

    Deno.test(`${name} loses nothing whichever wait of ${style} fails`, async () => {
      const points = await failEverywhere(
        (shared) => inStyle(style, () => inGroup(style, shared))(),
        checkLeft,
        { setup },
      );
      assert(points >= 1, `${points} points`);
    });
  }
}

// -- What else fails a run --

for (const style of STYLES) {
  const sweep = (steps: Steps<unknown>, options = {}) =>
    cancelEverywhere(() => inStyle(style, steps)(), () => {}, options);

  Deno.test(`tasks, timers, errors and reports fail a run in ${style}`, async () => {
    const bad: [steps: Steps<unknown>, message: RegExp][] = [
      [
        function* () {
          createTask(() => sleep(10), { name: "orphan" });
          yield sleep(1);
        },
        /Left undisturbed: The program has ended, but tasks are left:\n {2}task "orphan" waits for sleep/,
      ],
      [
        function* () {
          const timer = getRunningLoop().callLater(10, () => {});
          yield sleep(1);
          timer.cancel();
        },
        /Cancelled at point 0, .*: A timer is left/,
      ],
      [
        function* () {
          let isOpen = true;
          try {
            yield sleep(1);
            isOpen = false;
          } finally {
            // deno-lint-ignore no-unsafe-finally
            if (isOpen) throw new Error("not closed");
          }
        },
        /Cancelled at point 0, .*: not closed/,
      ],
      [
        function* () {
          try {
            yield sleep(1);
          } catch {
            getRunningLoop().callExceptionHandler({ message: "reported" });
          }
        },
        /Cancelled at point 0, .*: Reported to the exception handler: reported/,
      ],
      [
        function* () {
          try {
            yield sleep(1);
          } catch {
            for (;;) yield sleep(0);
          }
        },
        /Cancelled at point 0, .*: The program has not ended after 500 steps/,
      ],
      [
        function* () {
          try {
            yield sleep(1);
          } catch {
            yield getRunningLoop().createFuture();
          }
        },
        /Cancelled at point 0, .*: Every task waits/,
      ],
    ];
    for (const [steps, message] of bad) {
      const error = await assertRejects(
        () => sweep(steps, { stepsMax: 500 }),
        AssertionError,
      );
      assertMatch(error.message, message);
    }
  });

  Deno.test(`there is a point before each thing that goes on, and while all wait, in ${style}`, async () => {
    const places: string[] = [];
    const points = await cancelEverywhere(
      () =>
        inStyle(style, function* () {
          yield sleep(5);
          yield sleep(0);
        })(),
      (_, { place }) => void places.push(place.split(",")[0]!),
    );
    assertEquals(points, places.length - 1);
    const goesOn = style === "a generator"
      ? 'before task "program" goes on'
      : "before an async function goes on";
    assertEquals(places.slice(0, 4), [
      "",
      "with all tasks waiting",
      goesOn,
      goesOn,
    ]);
  });

  Deno.test(`a check gets errors and reports if it asks for them, in ${style}`, async () => {
    const seen: unknown[] = [];
    const points = await cancelEverywhere(
      () =>
        inStyle(style, function* () {
          try {
            yield sleep(1);
          } finally {
            getRunningLoop().callExceptionHandler({ message: "left" });
          }
          return "value";
        })(),
      (_, run) => {
        const { point, reached, taken, value, reports } = run;
        seen.push([point, reached, taken, value, reports.length]);
      },
      { errors: "check" },
    );
    assertEquals(seen[0], [NaN, false, false, "value", 1]);
    assertEquals(seen[1], [0, true, true, undefined, 1]);
    assertEquals(seen.length, points + 1);
  });

  Deno.test(`failEverywhere() finds a clean-up that is missing, in ${style}`, async () => {
    const program = (isCareful: boolean) => (connections: Set<string>) =>
      inStyle(style, function* () {
        connections.add("a");
        try {
          yield sleep(1);
          yield sleep(1);
        } catch (error) {
          if (isCareful) connections.clear();
          throw error;
        }
        connections.clear();
      })();
    const check = (connections: Set<string>) =>
      assertEquals(connections.size, 0);
    const setup = () => new Set<string>();
    const error = await assertRejects(
      () => failEverywhere(program(false), check, { setup }),
      AssertionError,
    );
    assertMatch(error.message, /^Failed at point 0, /);
    const errors: unknown[] = [];
    const points = await failEverywhere(
      program(true),
      (connections, run) => {
        check(connections);
        if (run.reached) errors.push(run.error);
      },
      { setup, error: (point) => new RangeError(`no. ${point}`) },
    );
    assertEquals(points, 2);
    assertEquals(errors.map(String), [
      "RangeError: no. 0",
      "RangeError: no. 1",
    ]);
    await failEverywhere(program(true), (_, { error }) => {
      assert(error === undefined || error instanceof InjectedFaultError);
    }, { setup });
  });
}

Deno.test("a program that fails by itself is told so first", async () => {
  const error = await assertRejects(
    () =>
      cancelEverywhere(async () => {
        await sleep(1);
        throw new TypeError("its own");
      }, () => {}),
    AssertionError,
    "Left undisturbed: its own",
  );
  assert(error.cause instanceof TypeError);
});

Deno.test("the sweeps refuse wrong arguments", async () => {
  const program = async () => await sleep(1);
  const check = () => {};
  const bad: [args: unknown[], type: typeof Error, message: string][] = [
    [[1, check], TypeError, "program must be a function"],
    [[program, 1], TypeError, "check must be a function"],
    [[program, check, 1], TypeError, "options must be"],
    [[program, check, { setup: 1 }], TypeError, "setup must be"],
    [[program, check, { errors: 1 }], TypeError, "errors must be one of"],
    [[program, check, { stepsMax: 0 }], RangeError, "stepsMax must be"],
    [[program, check, { points: [-1] }], RangeError, "points must be"],
    [
      [program, check, { points: 5 }],
      TypeError,
      "points[Symbol.iterator] must be a function",
    ],
  ];
  for (const [args, type, message] of bad) {
    for (const sweep of [cancelEverywhere, failEverywhere]) {
      await assertRejects(
        () => (sweep as (...args: unknown[]) => Promise<number>)(...args),
        type,
        message,
      );
    }
  }
  await assertRejects(
    () => cancelEverywhere(program, check, { by: "x" as never }),
    TypeError,
    "by must be one of",
  );
  await assertRejects(
    () => failEverywhere(program, check, { error: 1 as never }),
    TypeError,
    "error must be a function",
  );
});

Deno.test("a run that waits for slow work outside is told, and fails nothing", async () => {
  const time = new FakeTime();
  const { error } = console;
  const written: string[] = [];
  console.error = (text: string) => void written.push(text);
  try {
    await cancelEverywhere(
      () =>
        new Promise<void>((resolve) => {
          macrotask(() =>
            macrotask(() => {
              time.tick(1_500);
              resolve();
            })
          );
        }),
      () => {},
      { points: [] },
    );
  } finally {
    console.error = error;
    time.restore();
  }
  assertEquals(written.length, 1);
  assertMatch(written[0]!, /stood still for a second[^]*task "program"/);
});
