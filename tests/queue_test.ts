/**
 * The queues: asyncio's rules one by one.
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
  type BaseQueue,
  each,
  getRunningLoop,
  LifoQueue,
  PriorityQueue,
  Queue,
  QueueEmptyError,
  QueueFullError,
  QueueShutDownError,
  run,
  sleep,
  type Task,
} from "../mod.ts";
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

const ENOUGH = new Error("enough");
const QUEUES = [Queue, PriorityQueue, LifoQueue] as const;

function* caught(steps: () => Script): Script {
  try {
    return yield* steps();
  } catch (error) {
    return error;
  }
}

// -- Order --

Deno.test("Queues differ in which item comes out next", () => {
  const orders: [BaseQueue<number>, number[]][] = [
    [new Queue<number>(), [2, 1, 3, 1]],
    [new LifoQueue<number>(), [1, 3, 1, 2]],
    [new PriorityQueue<number>(), [1, 1, 2, 3]],
    [new PriorityQueue<number>(Infinity, (a, b) => b - a), [3, 2, 1, 1]],
  ];
  for (const [queue, expected] of orders) {
    for (const item of [2, 1, 3, 1]) queue.putNowait(item);
    assertEquals(queue.size, 4);
    assertEquals(expected.map(() => queue.getNowait()), expected);
    assert(queue.empty());
  }
});

Deno.test("PriorityQueue gives equal items in the order in which they were put", () => {
  const queue = new PriorityQueue<[number, string]>(
    0,
    (a, b) => a[0] - b[0],
  );
  for (const name of ["a", "b", "c", "d", "e"]) queue.putNowait([1, name]);
  queue.putNowait([0, "first"]);
  const names = Array.from({ length: 6 }, () => queue.getNowait()[1]);
  assertEquals(names, ["first", "a", "b", "c", "d", "e"]);
});

Deno.test("PriorityQueue sorts all that has a natural order", () => {
  class Version {
    readonly number: number;
    constructor(number: number) {
      this.number = number;
    }
    valueOf(): number {
      return this.number;
    }
  }
  class Labelled {
    readonly number: number;
    constructor(number: number) {
      this.number = number;
    }
    [Symbol.toPrimitive](hint: string): number | string {
      return hint === "number" ? this.number : "a label";
    }
  }
  const sorted: readonly (readonly unknown[])[] = [
    [-Infinity, -1, -0, 0, 1, Infinity],
    [1n, 2, 3n, 3, 4n],
    ["", "10", "9", "a"],
    [false, false, true],
    [1, 2, 3].map((ms) => new Date(ms)),
    [1, 2, 3].map((n) => new Version(n)),
    [1, new Version(2), new Date(3), new Labelled(4), 5n],
  ];
  for (const items of sorted) {
    const queue = new PriorityQueue<unknown>();
    for (const item of items.toReversed()) queue.putNowait(item);
    const taken = items.map(() => queue.getNowait());
    assertEquals(taken.map(String), items.map(String));
  }
});

Deno.test("PriorityQueue without compare refuses a second item that has no order", () => {
  const unordered: readonly [first: unknown, second: unknown, text: string][] =
    [
      [{ at: 2 }, { at: 1 }, "received an object"],
      [[1, "a"], [0, "b"], "received an array"],
      [1, { at: 1 }, "received an object"],
      [null, 1, "received null"],
      [1, undefined, "received undefined"],
      [1, Symbol("x"), "received Symbol(x)"],
      [1, NaN, "received NaN"],
      [1, new Date(NaN), "received an object of class Date"],
      [1, () => 1, "received "],
      [1, Object.create(null), "received an object"],
      [1, "2", 'of one kind: received "2" and 1'],
      [true, 1, "of one kind: received 1 and true"],
    ];
  for (const [first, second, text] of unordered) {
    const queue = new PriorityQueue<unknown>();
    queue.putNowait(first); // there is nothing to compare it with
    assertThrows(
      () => queue.putNowait(second),
      TypeError,
      "Cannot compare the items of a priority queue as without compare they must be",
    );
    assertThrows(() => queue.putNowait(second), TypeError, text);
    assertEquals(queue.size, 1);
    assertEquals(queue.getNowait(), first);
    queue.putNowait(second);
    assertEquals(queue.getNowait(), second);
  }
});

Deno.test("PriorityQueue refuses a compare that does not return a number", () => {
  for (const result of [NaN, undefined, true, false, 1n, "-1", {}]) {
    const queue = new PriorityQueue<number>(
      Infinity,
      () => result as unknown as number,
    );
    queue.putNowait(1);
    assertThrows(
      () => queue.putNowait(2),
      TypeError,
      "as compare must return a number: received ",
    );
    assertEquals(queue.size, 1);
  }
});

testBoth(
  "An item without an order is refused at the task that puts it, and nobody else",
  function* (spawn) {
    const queue = new PriorityQueue<unknown>(2);
    queue.putNowait({ n: 1 });
    const refused: unknown = yield spawn(() =>
      caught(function* () {
        yield queue.put({ n: 2 });
      })
    );
    assert(refused instanceof TypeError);
    // The same for one that has waited for room; the next in line gets it.
    const single = new PriorityQueue<unknown>(1);
    single.putNowait(1);
    const blocked = spawn(() =>
      caught(function* () {
        yield single.put({ n: 3 });
      })
    );
    const next = spawn(function* () {
      yield single.put(4);
    });
    yield sleep(1);
    assertEquals(single.getNowait(), 1);
    assertEquals(yield blocked, undefined);
    assertEquals(single.getNowait(), { n: 3 });
    yield next;
    assertEquals([single.size, single.getNowait(), queue.size], [1, 4, 1]);
  },
);

Deno.test("PriorityQueue survives a comparison that throws", () => {
  let broken = false;
  const queue = new PriorityQueue<number>(0, (a, b) => {
    if (broken) throw ENOUGH;
    return a - b;
  });
  for (const item of [3, 1, 2, 5, 4]) queue.putNowait(item);
  broken = true;
  assertStrictEquals(assertThrows(() => queue.putNowait(0)), ENOUGH);
  assertStrictEquals(assertThrows(() => queue.getNowait()), ENOUGH);
  broken = false;
  const items = Array.from({ length: 5 }, () => queue.getNowait());
  assertEquals(items, [1, 2, 3, 4, 5]);
});

// -- Putting and getting --

for (const Class of QUEUES) {
  testBoth(
    `${Class.name}.get() and put() take no turn if they need not wait`,
    function* () {
      const queue = new Class<number>(1);
      const { turns } = getRunningLoop().stats();
      yield queue.put(7);
      assertEquals([queue.size, queue.full(), queue.empty()], [1, true, false]);
      assertEquals(yield queue.get(), 7);
      assertEquals(getRunningLoop().stats().turns, turns);
    },
  );

  testBoth(
    `${Class.name} wakes those who wait in the order in which they came`,
    function* (spawn) {
      const queue = new Class<number>(1);
      const log: string[] = [];
      const getters = ["a", "b", "c"].map((name) =>
        spawn(function* () {
          log.push(`${name} ${yield queue.get()}`);
        })
      );
      yield sleep(1);
      const putters = [1, 2, 3].map((n) =>
        spawn(function* () {
          yield queue.put(n);
        })
      );
      for (const task of [...putters, ...getters]) yield task;
      assertEquals(log, ["a 1", "b 2", "c 3"]);
    },
  );

  testBoth(
    `${Class.name} keeps the item of a getter that is cancelled in the same turn for the next`,
    function* (spawn) {
      const queue = new Class<number>();
      const get = () =>
        spawn(function* () {
          return yield queue.get();
        });
      const first = get();
      const second = get();
      yield sleep(1);
      queue.putNowait(7);
      first.cancel();
      assertEquals(yield second, 7);
      const third = get();
      yield sleep(1);
      queue.putNowait(8);
      third.cancel();
      yield sleep(1);
      assertEquals([third.cancelled(), queue.size], [true, 1]);
    },
  );

  testBoth(
    `${Class.name} keeps the room of a putter that is cancelled in the same turn for the next`,
    function* (spawn) {
      const queue = new Class<number>(1);
      queue.putNowait(0);
      const put = (n: number) =>
        spawn(function* () {
          yield queue.put(n);
        });
      const first = put(1);
      const second = put(2);
      yield sleep(1);
      assertEquals(queue.getNowait(), 0);
      first.cancel();
      yield second;
      assertEquals([queue.size, queue.getNowait()], [1, 2]);
    },
  );
}

testBoth(
  "A woken getter that is overtaken waits again, at the end",
  function* (spawn) {
    const queue = new Queue<number>();
    const log: string[] = [];
    const get = (name: string) =>
      spawn(function* () {
        log.push(`${name} ${yield queue.get()}`);
      });
    get("a");
    get("b");
    yield sleep(1);
    queue.putNowait(1);
    assertEquals(queue.getNowait(), 1);
    yield sleep(1);
    queue.putNowait(2);
    queue.putNowait(3);
    yield sleep(1);
    assertEquals(log, ["b 2", "a 3"]);
  },
);

testBoth(
  "An abort ends the wait for an item or for room, and takes or adds nothing",
  function* (spawn) {
    const controller = new AbortController();
    const { signal } = controller;
    const empty = new Queue<number>();
    const full = new Queue<number>(1);
    full.putNowait(1);
    const tasks = [
      empty.get({ signal }),
      full.put(2, { signal }),
      full.join({ signal }),
    ]
      .map((operation) =>
        spawn(() =>
          caught(function* () {
            yield operation;
          })
        )
      );
    yield sleep(1);
    controller.abort(ENOUGH);
    for (const task of tasks) assertStrictEquals(yield task, ENOUGH);
    empty.putNowait(5);
    assertEquals([empty.size, full.size], [1, 1]);
  },
);

testBoth(
  "A comparison that throws at a woken getter does not keep the others waiting",
  function* (spawn) {
    let broken = true;
    const queue = new PriorityQueue<number>(0, (a, b) => {
      if (broken && a + b === 6) throw ENOUGH;
      return a - b;
    });
    const get = () =>
      spawn(() =>
        caught(function* () {
          const item: number = yield queue.get();
          return item;
        })
      );
    const [first, second] = [get(), get()];
    yield sleep(1);
    queue.putNowait(0);
    broken = false;
    for (const item of [2, 4, 9]) queue.putNowait(item);
    broken = true;
    assertStrictEquals(yield first, ENOUGH);
    assertStrictEquals(yield second, ENOUGH);
    assertEquals(queue.size, 4);
  },
);

// -- Without waiting --

Deno.test("getNowait() and putNowait() throw where get() and put() wait", () => {
  const queue = new Queue<number>(1);
  assertEquals(
    assertThrows(() => queue.getNowait(), QueueEmptyError).message,
    "Cannot get an item: the queue is empty",
  );
  queue.putNowait(1);
  assertEquals(
    assertThrows(() => queue.putNowait(2), QueueFullError).message,
    "Cannot put an item: the queue is full, its maxSize is 1",
  );
});

Deno.test("A maxSize of 0 or less is no limit", () => {
  for (const maxSize of [0, -1, Infinity]) {
    assertEquals(new Queue(maxSize).maxSize, Infinity);
  }
  assertThrows(
    () => new Queue(1.5),
    RangeError,
    "must be an integer or Infinity: received 1.5",
  );
  assertThrows(() => new Queue(NaN), RangeError, "received NaN");
  assertThrows(
    // @ts-expect-error -- not a number
    () => new Queue("1"),
    TypeError,
    'must be a number: received "1"',
  );
  assertThrows(
    // @ts-expect-error -- not a function
    () => new PriorityQueue(0, 1),
    TypeError,
    "Cannot create a queue as compare must be a function: received 1",
  );
});

// -- Finishing --

testBoth("Queue.join() waits until every item is done", function* (spawn) {
  const queue = new Queue<number>();
  yield queue.join();
  const log: string[] = [];
  for (const n of [1, 2]) queue.putNowait(n);
  const joiners = [1, 2].map((n) =>
    spawn(function* () {
      yield queue.join();
      log.push(`joined ${n}`);
    })
  );
  for (const n of [1, 2]) {
    yield sleep(1);
    yield queue.get();
    queue.taskDone();
    log.push(`done ${n}`);
  }
  for (const task of joiners) yield task;
  assertEquals(log, ["done 1", "done 2", "joined 1", "joined 2"]);
  const error = assertThrows(() => queue.taskDone(), RangeError);
  assertEquals(
    error.message,
    "Cannot finish an item: taskDone() was called more often than put()",
  );
});

testBoth(
  "Queue.join() is over although an item comes before it has its turn",
  function* (spawn) {
    const queue = new Queue<number>();
    queue.putNowait(1);
    const joiner = spawn(function* () {
      yield queue.join();
    });
    yield sleep(1);
    queue.taskDone();
    queue.putNowait(2);
    yield joiner;
    assertEquals(queue.size, 2);
  },
);

testBoth(
  "Queue.shutdown() ends puts at once, and gets when no item is left",
  function* (spawn) {
    const queue = new Queue<number>(1);
    queue.putNowait(1);
    const putter = spawn(() =>
      caught(function* () {
        yield queue.put(2);
      })
    );
    yield sleep(1);
    queue.shutdown();
    assert((yield putter) instanceof QueueShutDownError);
    assertThrows(
      () => queue.putNowait(3),
      QueueShutDownError,
      "Cannot put an item: the queue is shut down",
    );
    assertEquals(yield queue.get(), 1);
    assertThrows(
      () => queue.getNowait(),
      QueueShutDownError,
      "Cannot get an item: the queue is shut down",
    );
    const getter = spawn(() =>
      caught(function* () {
        yield queue.get();
      })
    );
    assert((yield getter) instanceof QueueShutDownError);
    queue.shutdown();
  },
);

testBoth(
  "Queue.shutdown() wakes those who wait, and with immediate drops the items",
  function* (spawn) {
    const empty = new Queue<number>();
    const getters = [1, 2].map(() =>
      spawn(() =>
        caught(function* () {
          yield empty.get();
        })
      )
    );
    const queue = new Queue<number>();
    for (const n of [1, 2, 3]) queue.putNowait(n);
    queue.getNowait();
    const joiner = spawn(function* () {
      yield queue.join();
    });
    yield sleep(1);
    empty.shutdown();
    for (const task of getters) {
      assert((yield task) instanceof QueueShutDownError);
    }
    queue.shutdown({ immediate: true });
    assertEquals(queue.size, 0);
    yield sleep(1);
    assertEquals(joiner.done(), false, "one item is still being worked on");
    queue.taskDone();
    yield joiner;
  },
);

// -- Iterating --

Deno.test("for await and each() take item after item until the queue is shut down", async () => {
  await run(async () => {
    const queue = new Queue<number>(2);
    const received: number[] = [];
    const tasks = [
      getRunningLoop().createTask(function* () {
        for (let n = 0; n < 10; n++) yield* queue.put(n);
        queue.shutdown();
      }),
      getRunningLoop().createTask(async () => {
        for await (const n of queue) received.push(n);
      }),
      getRunningLoop().createTask(() =>
        each(queue, function* (n) {
          received.push(n);
          yield* sleep(1);
        })
      ),
    ];
    for (const task of tasks) await task;
    assertEquals(received.toSorted((a, b) => a - b), [
      0,
      1,
      2,
      3,
      4,
      5,
      6,
      7,
      8,
      9,
    ]);
  }, VIRTUAL);
});

testBoth(
  "each() over a queue that is cancelled takes no item",
  function* (spawn) {
    const queue = new Queue<number>();
    const received: number[] = [];
    const task = spawn(function* () {
      yield each(queue, (n) => {
        received.push(n);
      });
    });
    yield sleep(1);
    queue.putNowait(1);
    yield sleep(1);
    queue.putNowait(2);
    task.cancel();
    yield sleep(1);
    assertEquals([received, queue.size, task.cancelled()], [[1], 1, true]);
  },
);
