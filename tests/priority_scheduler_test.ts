/**
 * Loops that go by priority: the order, ageing, the length of turns, and
 * strategies of one's own, good and bad.
 *
 * @module
 */

import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertRejects,
  assertStrictEquals,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import {
  EventLoop,
  gather,
  getRunningLoop,
  Lock,
  MisuseError,
  type Priority,
  PriorityScheduler,
  type PrioritySchedulerOptions,
  Queue,
  type ReadyItem,
  run,
  type Scheduler,
  Semaphore,
  sleep,
  yieldNow,
} from "../mod.ts";
import { SeededRandom } from "../src/structures/random.ts";
import { collectReports, openLoop, runTurns } from "./support/loops.ts";
import { ManualHost } from "./support/manual_host.ts";
import { inStyle, STYLES } from "./support/styles.ts";

function openRanked(options: PrioritySchedulerOptions = {}): EventLoop {
  return openLoop({ scheduler: new PriorityScheduler(options) }).loop;
}

/** Without ageing, for tests of the order alone. */
function openStrict(): EventLoop {
  return openRanked({ ageEvery: Infinity });
}

/** Runs until nothing is ready. Time does not pass. */
async function runDry(loop: EventLoop): Promise<void> {
  while (loop.stats().ready > 0) await runTurns(loop);
}

// -- The order --

Deno.test("What is most urgent runs first, and equals in the order in which they came", async () => {
  await using loop = openStrict();
  const log: string[] = [];
  const priorities: Priority[] = [
    "background",
    0,
    "user-blocking",
    -10.5,
    10,
    "user-visible",
    Infinity,
    -10,
    -Infinity,
    -0,
  ];
  for (const priority of priorities) {
    loop.postTask(() => log.push(String(priority)), { priority });
  }
  await runDry(loop);
  assertEquals(log, [
    "Infinity",
    "user-blocking",
    "10",
    "0",
    "user-visible",
    "0",
    "background",
    "-10",
    "-10.5",
    "-Infinity",
  ]);
});

Deno.test("A loop without a scheduler goes by no priority", async () => {
  const { loop } = openLoop();
  const log: number[] = [];
  for (const priority of [-10, 10, 0]) {
    loop.postTask(() => log.push(priority), { priority });
    loop.createTask(function* () {
      log.push(priority);
    }, { priority });
  }
  await runTurns(loop);
  assertEquals(log, [-10, -10, 10, 10, 0, 0]);
  await loop.close();
});

for (const style of STYLES) {
  Deno.test(`Tasks run by their priority, at each step (${style})`, async () => {
    const log: string[] = [];
    await run(function* () {
      const loop = getRunningLoop();
      const tasks = (["background", "user-visible", "user-blocking"] as const)
        .map((priority) =>
          loop.createTask(
            inStyle(style, function* () {
              log.push(`${priority} 1`);
              yield sleep(0);
              log.push(`${priority} 2`);
              yield sleep(10);
              log.push(`${priority} 3`);
            }),
            { priority },
          )
        );
      // Waiting for them would raise them all to what waits.
      yield* sleep(20);
      assertEquals(tasks.every((task) => task.done()), true);
    }, {
      host: "virtual",
      scheduler: new PriorityScheduler({ ageEvery: Infinity }),
    });
    const steps = (n: number) =>
      ["user-blocking", "user-visible", "background"].map((p) => `${p} ${n}`);
    // A generator is back in the queue at once; an async function after the turn.
    assertEquals(log.slice(6), steps(3));
    assertEquals(
      log.slice(0, 6),
      style === "a generator"
        ? [
          "user-blocking 1",
          "user-blocking 2",
          "user-visible 1",
          "user-visible 2",
          "background 1",
          "background 2",
        ]
        : [...steps(1), ...steps(2)],
    );
  });
}

Deno.test("setPriority() moves a queued task behind what is ready with that priority", async () => {
  await using loop = openStrict();
  const log: string[] = [];
  const add = (name: string, priority: number) =>
    loop.createTask(function* () {
      log.push(name);
    }, { priority });
  const a = add("a", 0);
  add("b", 0);
  add("c", 5);
  const d = add("d", 5);
  a.setPriority(5);
  d.setPriority(-5);
  d.setPriority(0);
  assertEquals(loop.stats().ready, 4);
  assertEquals([a.priority, d.priority], [5, 0]);
  await runDry(loop);
  assertEquals(log, ["c", "a", "b", "d"]);
});

Deno.test("setPriority() with the same priority keeps the place", async () => {
  await using loop = openStrict();
  const log: string[] = [];
  const add = (name: string) => loop.postTask(() => log.push(name));
  const first = add("first");
  add("second");
  first.setPriority("user-visible");
  await runDry(loop);
  assertEquals(log, ["first", "second"]);
});

Deno.test("setPriority() moves a sleeper whose time has come", async () => {
  await using loop = openStrict();
  const log: string[] = [];
  for (const style of STYLES) {
    const slow = loop.createTask(
      inStyle(style, function* () {
        yield sleep(10);
        log.push(`slow, ${style}`);
      }),
      { priority: "background" },
    );
    loop.createTask(function* () {
      yield* sleep(10);
      // The sleep of the other is in the queue now, at its old priority.
      for (let n = 0; n < 50; n++) loop.callSoon(() => log.push("flood"));
      slow.setPriority("user-blocking");
    });
    await loop.runUntilComplete(slow);
    assert(log.indexOf(`slow, ${style}`) < log.lastIndexOf("flood"));
    log.length = 0;
  }
});

Deno.test("Children inherit the priority that was set, be they tasks or posted", async () => {
  await using loop = openRanked();
  const log: unknown[] = [];
  const parent = loop.createTask(function* () {
    const child = loop.createTask(function* () {
      log.push(loop.createTask(function* () {}).priority);
    });
    const posted = loop.postTask(() => {});
    log.push(child.priority, posted.priority);
    parent.setPriority(3);
    log.push(loop.createTask(() => {}).priority, child.priority);
    log.push(loop.postTask(() => {}).priority);
    log.push(loop.postTask(() => {}, { priority: -1 }).priority);
  }, { priority: 7 });
  await runDry(loop);
  assertEquals(log, [7, 7, 3, 7, 3, -1, 7]);
});

Deno.test("What a task is raised to is not what its children inherit", async () => {
  await using loop = openRanked();
  const log: unknown[] = [];
  const low = loop.createTask(function* () {
    yield* sleep(1);
    log.push(low.effectivePriority);
    log.push(loop.createTask(function* () {}).priority);
    log.push(loop.postTask(() => {}).priority);
  }, { priority: "background" });
  await loop.runUntilComplete(loop.createTask(function* () {
    yield* low;
  }, { priority: "user-blocking" }));
  assertEquals(log, [10, -10, -10]);
});

Deno.test("A callback has the priority of the code that schedules it, a timer too", async () => {
  await using loop = openStrict();
  const log: string[] = [];
  const both = (name: string) => {
    loop.callSoon(() => log.push(`${name} soon`));
    loop.callLater(5, () => log.push(`${name} later`));
  };
  for (const style of STYLES) {
    for (const priority of [-10, 0, 10]) {
      loop.createTask(
        inStyle(style, function* () {
          yield sleep(1);
          both(`${priority}`);
        }),
        { priority },
      );
    }
    both("outside");
    loop.callLater(20, () => loop.stop());
    await loop.runForever();
    const places = log.filter((line) => line.endsWith("later"));
    assertEquals(places, [
      "outside later",
      "10 later",
      "0 later",
      "-10 later",
    ], style);
    assertEquals(log.indexOf("10 soon") < log.indexOf("-10 soon"), true, style);
    log.length = 0;
  }
});

Deno.test("A callback that follows setPriority() in the same step has the new priority", async () => {
  await using loop = openStrict();
  const log: string[] = [];
  const task = loop.createTask(function* () {
    task.setPriority(-5);
    loop.callSoon(() => log.push("callback"));
    loop.postTask(() => log.push("urgent"), { priority: 0 });
  }, { priority: 10 });
  await runDry(loop);
  assertEquals(log, ["urgent", "callback"]);
});

Deno.test("The end of an async function is told with its priority", async () => {
  await using loop = openStrict();
  const log: string[] = [];
  const urgent = loop.createTask(async () => {
    await sleep(1);
  }, { priority: "user-blocking" });
  urgent.addDoneCallback(() => {
    log.push("done");
    loop.stop();
  });
  let left = 500;
  const flood = () => {
    log.push("flood");
    if (left-- > 0) loop.postTask(flood, { priority: 5 });
  };
  loop.callLater(1, flood);
  await loop.runForever();
  assert(log.indexOf("done") <= 66, `after ${log.indexOf("done")}`);
});

Deno.test("A scheduler works with debug mode and with loops that see all scheduling", async () => {
  class Watching extends EventLoop {
    seen = 0;
    override callSoon<A extends unknown[]>(
      callback: (...args: A) => unknown,
      ...args: A
    ) {
      this.seen++;
      return super.callSoon(callback, ...args);
    }
  }
  for (const debug of [false, true]) {
    for (const Class of [EventLoop, Watching]) {
      await using loop = new Class({
        host: "virtual",
        debug,
        scheduler: new PriorityScheduler({ ageEvery: Infinity }),
      });
      const reports = collectReports(loop);
      const log: string[] = [];
      const add = (name: string, priority: number) =>
        loop.createTask(function* () {
          yield* sleep(5);
          log.push(name);
        }, { priority });
      const low = add("low", -10);
      const middle = add("middle", 0);
      const high = add("high", 10);
      const posted = loop.postTask(() => log.push("posted"), { priority: -20 });
      posted.setPriority(20);
      const waiter = loop.createTask(function* () {
        yield* low;
        log.push("waiter");
      }, { priority: 30 });
      await loop.runUntilComplete(gather([waiter, middle, high], { loop }));
      assertEquals(log, ["posted", "low", "waiter", "high", "middle"]);
      assertEquals([low.effectivePriority, reports], [-10, []]);
      if (loop instanceof Watching) assert(loop.seen > 0);
    }
  }
});

// -- Ageing --

/** Runs chains that post themselves for ever, and counts until so many have run. */
async function countShares(
  loop: EventLoop,
  priorities: readonly Priority[],
  total: number,
): Promise<Map<Priority, number>> {
  const counts = new Map<Priority, number>();
  let ran = 0;
  const chain = (priority: Priority) => {
    if (ran === total) return;
    counts.set(priority, (counts.get(priority) ?? 0) + 1);
    if (++ran === total) loop.stop();
    else loop.postTask(() => chain(priority), { priority });
  };
  for (const priority of priorities) {
    loop.postTask(() => chain(priority), { priority });
  }
  await loop.runForever();
  return counts;
}

const THREE_FLOODS: readonly Priority[] = [
  "background",
  "user-blocking",
  "user-blocking",
  "user-blocking",
];

Deno.test("Of 3,200 handles exactly 100 are the background's, however long the flood", async () => {
  await using loop = openRanked();
  for (let n = 0; n < 3; n++) {
    const counts = await countShares(loop, THREE_FLOODS, 3_200);
    assertEquals(counts.get("background"), 100);
    assertEquals(counts.get("user-blocking"), 3_100);
    await runDry(loop);
  }
});

Deno.test("The share of what waits is one in ageEvery", async () => {
  for (const [ageEvery, share] of [[1, 800], [8, 400], [64, 50]]) {
    await using loop = openRanked({ ageEvery: ageEvery! });
    const counts = await countShares(loop, THREE_FLOODS, 3_200);
    // With 1 nothing but age counts: each of the four gets the same.
    assertEquals(counts.get("background"), share, `ageEvery ${ageEvery}`);
  }
});

Deno.test("With ageEvery: Infinity the background waits as long as anything else is there", async () => {
  await using loop = openStrict();
  const counts = await countShares(loop, THREE_FLOODS, 3_200);
  assertEquals(counts.get("background"), undefined);
  assertEquals(counts.get("user-blocking"), 3_200);
});

Deno.test("Several classes below a flood share what ageing gives, the oldest first", async () => {
  await using loop = openRanked();
  const counts = await countShares(
    loop,
    ["background", "user-visible", 10, 10],
    3_200,
  );
  assertEquals([...counts.values()].reduce((sum, count) => sum + count), 3_200);
  assertEquals(counts.get("background"), 50);
  assertEquals(counts.get("user-visible"), 50);
});

Deno.test("A task of the lowest class gets its 100 of 3,200 steps under a flood of tasks", async () => {
  await using loop = openRanked();
  const counts = { low: 0, high: 0 };
  let ran = 0;
  const spin = (kind: "low" | "high", priority: Priority) =>
    loop.createTask(function* () {
      while (ran < 3_200) {
        counts[kind]++;
        if (++ran === 3_200) loop.stop();
        yield* yieldNow();
      }
    }, { priority });
  spin("low", "background");
  for (let n = 0; n < 4; n++) spin("high", "user-blocking");
  await loop.runForever();
  assertEquals(counts, { low: 100, high: 3_100 });
});

// -- The length of turns --

Deno.test("Something urgent that arrives behind 100,000 handles runs next", async () => {
  await using loop = openStrict();
  const log: number[] = [];
  let ran = 0;
  for (let n = 0; n < 100_000; n++) {
    loop.postTask(() => {
      if (++ran !== 1_000) return;
      loop.postTask(() => log.push(ran), { priority: "user-blocking" });
      loop.createTask(function* () {
        log.push(ran);
        yield* yieldNow();
        log.push(ran);
      }, { priority: "user-blocking" });
    }, { priority: "background" });
  }
  await runDry(loop);
  assertEquals([log, ran], [[1_000, 1_000, 1_000], 100_000]);
});

for (const ready of [10, 100_000]) {
  Deno.test(`An urgent timer that falls due runs within 64 handles, with ${ready} ready`, async () => {
    const host = new ManualHost();
    await using loop = new EventLoop({
      host,
      scheduler: new PriorityScheduler(),
    });
    const late: number[] = [];
    const ran = { handles: 0, atDue: 0 };
    const due = () => late.push(ran.handles - ran.atDue);
    const ends = [
      loop.postTask(due, { priority: "user-blocking", delayMs: 10 }),
      ...STYLES.map((style) =>
        loop.createTask(
          inStyle(style, function* () {
            yield sleep(10);
            due();
          }),
          { priority: "user-blocking" },
        )
      ),
    ];
    const step = () => {
      if (late.length === 3) return;
      if (++ran.handles === 5_000) {
        ran.atDue = ran.handles;
        host.nowMs = 10;
      }
      if (ready === 10 || ran.handles < 100) loop.postTask(step);
    };
    for (let n = 0; n < ready; n++) {
      loop.postTask(step, { priority: "background" });
    }
    await loop.runUntilComplete(gather(ends, { loop }));
    assertEquals(late.length, 3);
    // The sleeps are a handle of their own, and the async function goes on after the turn.
    assert(late.every((handles) => handles <= 128), `after ${late}`);
    assert(Math.min(...late) <= 64, `after ${late}`);
  });
}

Deno.test("A turn runs at most handlesPerTurnMax items, 64 if nothing is said", async () => {
  const fifo = (): Scheduler => {
    const items: ReadyItem[] = [];
    return {
      push: (item) => items.push(item),
      shift: () => items.shift(),
      clear: () => items.length = 0,
    };
  };
  const cases: [Scheduler, number][] = [
    [new PriorityScheduler(), 64],
    [new PriorityScheduler({ handlesPerTurnMax: 5 }), 5],
    [new PriorityScheduler({ handlesPerTurnMax: Infinity }), 1_000],
    [fifo(), 64],
    [Object.assign(fifo(), { handlesPerTurnMax: 7 }), 7],
  ];
  for (const [scheduler, most] of cases) {
    const { loop } = openLoop({ scheduler });
    let ran = 0;
    for (let n = 0; n < 1_000; n++) loop.callSoon(() => ran++);
    await runTurns(loop);
    assertEquals(ran, most);
    await runDry(loop);
    assertEquals(ran, 1_000);
    await loop.close();
  }
});

// -- Many levels, many changes --

Deno.test("Any number of priorities may be in use", async () => {
  await using loop = openStrict();
  const log: number[] = [];
  const random = new SeededRandom(1);
  const priorities = random.shuffle(Array.from({ length: 500 }, (_, n) => n));
  for (const priority of [...priorities, ...priorities]) {
    loop.postTask(() => log.push(priority), { priority });
  }
  await runDry(loop);
  const expected = priorities.toSorted((a, b) => b - a);
  assertEquals(log, expected.flatMap((priority) => [priority, priority]));
});

/** Counts the items that a scheduler still refers to, once all that can be collected is. */
class Census implements Scheduler {
  readonly #inner = new PriorityScheduler({ ageEvery: Infinity });
  readonly #collect: () => void;
  #references: WeakRef<ReadyItem>[] = [];
  constructor() {
    setFlagsFromString("--expose-gc");
    this.#collect = runInNewContext("gc");
  }
  push(item: ReadyItem): void {
    this.#references.push(new WeakRef(item));
    this.#inner.push(item);
  }
  shift(): ReadyItem | undefined {
    return this.#inner.shift();
  }
  requeued(item: ReadyItem): void {
    this.#inner.requeued(item);
  }
  clear(): void {
    this.#inner.clear();
  }
  /** How many there are. Only between jobs of the runtime are they let go. */
  async kept(): Promise<number> {
    await new Promise<void>((resolve) => setImmediate(resolve));
    this.#collect();
    this.#references = this.#references.filter((item) => item.deref());
    return this.#references.length;
  }
}

for (
  const [name, priorityAt] of [
    ["two levels", (n: number) => -(n % 2)],
    ["a level of its own each time", (n: number) => -n],
  ] as const
) {
  Deno.test(`A queued task that is raised and lowered 100,000 times fills nothing, on ${name}`, async () => {
    // A class that is never reached, and whose dead items nobody would ever drop.
    const scheduler = new Census();
    const { loop } = openLoop({ scheduler });
    let ran = 0;
    const task = loop.createTask(function* () {
      ran++;
    }, { priority: -1 });
    const posted = loop.postTask(() => ran++, { priority: -1 });
    for (let n = 0; n < 100_000; n++) {
      task.setPriority(priorityAt(n));
      posted.setPriority(priorityAt(n));
    }
    const kept = await scheduler.kept();
    assert(kept <= 6_000, `${kept} items are kept`);
    assertEquals(loop.stats().ready, 2);
    await runDry(loop);
    assertEquals(ran, 2);
    await loop.close();
  });
}

Deno.test("Sweeping a level keeps the order of the others", async () => {
  await using loop = openStrict();
  const log: number[] = [];
  const posted = Array.from(
    { length: 5_000 },
    (_, n) => loop.postTask(() => log.push(n)),
  );
  for (const [n, task] of posted.entries()) if (n % 5 > 0) task.setPriority(-1);
  await runDry(loop);
  const numbers = posted.map((_, n) => n);
  assertEquals(log, [
    ...numbers.filter((n) => n % 5 === 0),
    ...numbers.filter((n) => n % 5 > 0),
  ]);
});

Deno.test("What is cancelled or put off leaves its place and takes no turn for it", async () => {
  await using loop = openRanked({ handlesPerTurnMax: 10 });
  const posted = Array.from({ length: 1_000 }, () => loop.postTask(() => {}));
  for (const task of posted.slice(0, 500)) task.cancel();
  for (const task of posted.slice(500)) task.reschedule(5);
  assertEquals([loop.stats().ready, loop.stats().timers], [0, 500]);
  let ran = false;
  loop.callSoon(() => ran = true);
  await runTurns(loop);
  assertEquals(ran, true);
});

Deno.test("A handle that is withdrawn in the turn before its own does not end the turn early", async () => {
  await using loop = openStrict();
  const log: string[] = [];
  const later = [1, 2, 3].map((n) =>
    loop.postTask(() => log.push(`late ${n}`))
  );
  loop.postTask(() => {
    for (const task of later) task.cancel();
    log.push("first");
  }, { priority: 1 });
  loop.postTask(() => log.push("last"), { priority: -1 });
  await runTurns(loop);
  assertEquals([log, loop.stats().ready], [["first", "last"], 0]);
});

// -- Timers --

Deno.test("A timer that is moved while it is queued gives its place up", async () => {
  await using loop = openStrict();
  const log: string[] = [];
  const moved = loop.callLater(5, () => log.push("moved"));
  loop.callLater(5, () => log.push("other"));
  const cancelled = loop.callLater(5, () => log.push("cancelled"));
  loop.postTask(() => {
    // Due and queued by now, behind this.
    moved.reschedule(5);
    cancelled.cancel();
    assertEquals(loop.stats().ready, 1);
  }, { priority: 1, delayMs: 5 });
  loop.callLater(6, () => loop.stop());
  await loop.runForever();
  assertEquals(log, ["other", "moved"]);
});

// -- Strategies of one's own --

Deno.test("A strategy is given items that keep its contract", async () => {
  const items: ReadyItem[] = [];
  const said: string[] = [];
  let sequenceLast = -1;
  const seen = new Map<ReadyItem, number>();
  const { loop } = openLoop({
    scheduler: {
      push(item) {
        assert(item.alive && !seen.has(item));
        assert(item.sequence > sequenceLast);
        sequenceLast = item.sequence;
        seen.set(item, item.priority);
        items.push(item);
      },
      shift: () => items.shift(),
      requeued(item) {
        assertEquals(item.alive, false);
        said.push(`requeued ${item.priority}`);
      },
      clear: () => said.push("cleared"),
    },
  });
  const task = loop.createTask(function* () {}, { priority: 1 });
  const posted = loop.postTask(() => {}, { priority: 2 });
  task.setPriority(3);
  posted.setPriority(4);
  posted.setPriority(5);
  loop.postTask(() => {}, { priority: 6 }).cancel();
  assertEquals(said, ["requeued 1", "requeued 2", "requeued 4", "requeued 6"]);
  assertEquals(items.filter(({ alive }) => alive).length, 2);
  await runDry(loop);
  for (const [item, priority] of seen) {
    assertEquals([item.priority, item.alive], [priority, false]);
  }
  await loop.close();
  assertEquals(said.at(-1), "cleared");
});

/** Gives any of the items. */
class AnyOrder implements Scheduler {
  readonly handlesPerTurnMax: number;
  readonly #items: ReadyItem[] = [];
  readonly #random: SeededRandom;
  constructor(random: SeededRandom) {
    this.#random = random;
    this.handlesPerTurnMax = 1 + random.nextInt(10);
  }
  push(item: ReadyItem): void {
    this.#items.push(item);
  }
  shift(): ReadyItem | undefined {
    if (this.#items.length === 0) return undefined;
    const [item] = this.#items.splice(
      this.#random.nextInt(this.#items.length),
      1,
    );
    return item;
  }
  clear(): void {
    this.#items.length = 0;
  }
}

Deno.test("Whatever the order, nothing is lost and nothing runs twice", async () => {
  const base = Date.now() >>> 0;
  console.log(`seeds ${base} to ${base + 299}`);
  for (let seed = base; seed < base + 300; seed++) {
    const random = new SeededRandom(seed);
    let inside = 0;
    const got: number[] = [];
    await run(function* () {
      const loop = getRunningLoop();
      const lock = new Lock();
      const semaphore = new Semaphore(2);
      const queue = new Queue<number>(3);
      const visits = Array.from({ length: 12 }, (_, n) =>
        loop.createTask(
          inStyle(STYLES[n % 2]!, function* () {
            const locks = n % 3 > 0;
            {
              using _permit: Disposable = yield (locks ? lock : semaphore)
                .acquire();
              if (locks) assertEquals(++inside, 1, `seed ${seed}`);
              try {
                yield sleep(random.nextInt(2));
              } finally {
                if (locks) inside--;
              }
            }
            yield queue.put(n);
          }),
          { priority: n },
        ));
      const victim = visits[random.nextInt(12)]!;
      loop.postTask(() => victim.cancel(), { delayMs: random.nextInt(4) });
      loop.createTask(function* () {
        for (;;) got.push(yield* queue.get());
      });
      yield* gather(visits, { returnExceptions: true });
      yield* sleep(10);
      const ended = visits.flatMap((visit, n) => visit.cancelled() ? [] : [n]);
      assert(ended.length >= 11, `seed ${seed}`);
      assertEquals(got.toSorted((a, b) => a - b), ended, `seed ${seed}`);
    }, { host: "virtual", scheduler: new AnyOrder(random) });
  }
});

Deno.test("A scheduler belongs to one loop", async () => {
  const scheduler = new PriorityScheduler();
  const loop = new EventLoop({ host: "virtual", scheduler });
  const take = () => new EventLoop({ host: "virtual", scheduler });
  const message =
    "Cannot create an event loop: the scheduler belongs to another loop";
  assertThrows(take, MisuseError, message);
  await loop.close();
  assertThrows(take, MisuseError, message);
});

Deno.test("A loop that cannot be made does not take the scheduler", async () => {
  const host = new ManualHost();
  host.open = () => {
    throw new Error("in use");
  };
  const scheduler = new PriorityScheduler();
  assertThrows(() => new EventLoop({ host, scheduler }), Error, "in use");
  await new EventLoop({ host: "virtual", scheduler }).close();
});

/** One that does as it should, to begin with. */
class Fifo implements Scheduler {
  readonly items: ReadyItem[] = [];
  push(item: ReadyItem): void {
    this.items.push(item);
  }
  shift(): ReadyItem | undefined {
    return this.items.shift();
  }
  clear(): void {
    this.items.length = 0;
  }
}

/** Gives an item of a loop that never runs. */
function foreignItem(): ReadyItem {
  const scheduler = new Fifo();
  new EventLoop({ host: "virtual", scheduler }).callSoon(() => {});
  return scheduler.items[0]!;
}

/** Each does wrong in its own way, from its third item on. */
const BAD: Record<string, [make: () => Scheduler, message: string]> = {
  "gives nothing while items are there": [
    () =>
      new class extends Fifo {
        #left = 2;
        override shift() {
          return this.#left-- > 0 ? super.shift() : undefined;
        }
      }(),
    "the scheduler has lost ",
  ],
  "throws in shift()": [
    () =>
      new class extends Fifo {
        #left = 2;
        override shift() {
          if (this.#left-- > 0) return super.shift();
          throw new Error("broken");
        }
      }(),
    "scheduler.shift() threw",
  ],
  "throws in push()": [
    () =>
      new class extends Fifo {
        #left = 2;
        override push(item: ReadyItem) {
          if (this.#left-- <= 0) throw new Error("broken");
          super.push(item);
        }
      }(),
    "scheduler.push() threw",
  ],
  "gives an item twice": [
    () =>
      new class extends Fifo {
        #first: ReadyItem | undefined;
        override shift() {
          return this.#first ??= super.shift();
        }
      }(),
    "the scheduler gave an item twice",
  ],
  "gives an item of its own": [
    () =>
      new class extends Fifo {
        override shift() {
          return {
            kind: "callback" as const,
            number: 1,
            name: "",
            priority: 1,
            sequence: 1,
            alive: true,
          };
        }
      }(),
    "the scheduler gave something that it was not given: ",
  ],
  "gives an item of another loop": [
    () =>
      new class extends Fifo {
        override shift() {
          return foreignItem();
        }
      }(),
    "the scheduler gave something that it was not given: ",
  ],
  "gives null": [
    () =>
      new class extends Fifo {
        override shift() {
          return null as never;
        }
      }(),
    "the scheduler gave something that it was not given: null",
  ],
};

for (const [name, [make, message]] of Object.entries(BAD)) {
  Deno.test(`A strategy that ${name} ends the run, and tasks are not lost in silence`, async () => {
    for (const debug of [false, true]) {
      const { loop, reports } = openLoop({ scheduler: make(), debug });
      const tasks = Array.from(
        { length: 5 },
        (_, n) =>
          loop.createTask(function* () {
            for (;;) yield* yieldNow();
          }, { name: `spinner ${n}` }),
      );
      const error = await assertRejects(() => loop.runForever(), MisuseError);
      assertStringIncludes(error.message, `Cannot go on: ${message}`);
      if (message.endsWith("threw")) {
        assertInstanceOf(error.cause, Error);
        assertEquals(error.cause.message, "broken");
      }
      assertEquals([loop.isRunning(), reports], [false, []]);
      // It has not become better, whatever is asked of it.
      tasks[0]!.cancel();
      tasks[1]!.setPriority(5);
      assertStrictEquals(await loop.runForever().catch((e) => e), error);
      await loop.close();
      assertEquals(reports.map(({ name }) => name), tasks.map((t) => t.name));
      assertEquals(tasks.every((task) => task.cancelled()), true);
    }
  });

  for (const style of STYLES) {
    Deno.test(`A strategy that ${name} rejects run() (${style})`, async () => {
      const reports: string[] = [];
      const error = await assertRejects(() =>
        run(
          inStyle(style, function* () {
            const loop = getRunningLoop();
            for (let n = 0; n < 5; n++) loop.createTask(() => sleep(1));
            yield sleep(1);
            yield sleep(1);
            yield sleep(1);
          }),
          {
            host: "virtual",
            scheduler: make(),
            name: "main",
            loopFactory(options) {
              const loop = new EventLoop(options);
              loop.setExceptionHandler((_, { message }) => {
                reports.push(message);
              });
              return loop;
            },
          },
        ), MisuseError);
      assertStringIncludes(error.message, `Cannot go on: ${message}`);
      assertStringIncludes(reports[0]!, 'Task "main" was destroyed');
    });
  }
}

Deno.test("A strategy that throws in requeued() ends the run", async () => {
  const scheduler: Scheduler = Object.assign(new Fifo(), {
    requeued() {
      throw new Error("broken");
    },
  });
  const { loop } = openLoop({ scheduler });
  const task = loop.createTask(function* () {});
  task.setPriority(5);
  await assertRejects(
    () => loop.runForever(),
    MisuseError,
    "Cannot go on: scheduler.requeued() threw",
  );
  loop.setExceptionHandler(() => {});
  await loop.close();
  assertEquals(task.cancelled(), true);
});

Deno.test("A strategy that throws in push() from outside of a waiting loop ends the run", async () => {
  const scheduler = new Fifo();
  const { loop } = openLoop({ scheduler });
  const end = loop.runForever();
  await new Promise((resolve) => setTimeout(resolve, 0));
  scheduler.push = () => {
    throw new Error("broken");
  };
  loop.callSoon(() => {});
  await assertRejects(() => end, MisuseError, "scheduler.push() threw");
  await loop.close();
});

Deno.test("What scheduler.clear() throws is reported, and the loop is closed", async () => {
  const scheduler = new Fifo();
  scheduler.clear = () => {
    throw new Error("broken");
  };
  const { loop, reports } = openLoop({ scheduler });
  await loop.close();
  assertEquals(loop.isClosed(), true);
  assertEquals(
    new Set(reports.map(({ message }) => message)),
    new Set(["scheduler.clear() threw"]),
  );
});

Deno.test("callWithPriority() goes by priority, and a handle can be moved and withdrawn", async () => {
  await using loop = new EventLoop({
    host: "virtual",
    scheduler: new PriorityScheduler(),
  });
  const log: string[] = [];
  const add = (...names: string[]) => log.push(names.join("+"));
  const late = loop.callWithPriority("background", add, "late");
  const early = loop.callWithPriority("background", add, "early", "2");
  const gone = loop.callWithPriority("user-blocking", add, "gone");
  loop.callWithPriority(5, add, "middle");
  assertEquals([late.priority, early.priority], [-10, -10]);
  early.setPriority(7);
  early.setPriority(-3);
  early.setPriority(8);
  assertEquals(early.priority, 8);
  gone.cancel();
  assertEquals(loop.stats().ready, 4);
  loop.callWithPriority(-100, () => loop.stop());
  await loop.runForever();
  assertEquals(log, ["early+2", "middle", "late"]);
  assertEquals(loop.stats().ready, 0);
  late.setPriority(50); // when it has run, that moves nothing
  assertEquals(loop.stats().ready, 0);
});

Deno.test("Callbacks that are moved in runs keep the order of a sorted list", async () => {
  const base = Date.now() >>> 0;
  console.log(`seeds ${base} to ${base + 199}`);
  for (let seed = base; seed < base + 200; seed++) {
    const random = new SeededRandom(seed);
    const loop = openStrict();
    let sequence = 0;
    const queued: { n: number; priority: number; sequence: number }[] = [];
    const moveSome = (): void => {
      const first = random.nextInt(handles.length);
      const end = first + random.nextInt(60);
      const priority = random.nextInt(3);
      for (const [index, handle] of handles.slice(first, end).entries()) {
        handle.setPriority(priority);
        const place = queued.find(({ n }) => n === first + index);
        if (place === undefined) continue; // it has run
        place.priority = priority;
        place.sequence = sequence++;
      }
    };
    const step = (n: number): void => {
      queued.sort((a, b) => b.priority - a.priority || a.sequence - b.sequence);
      assertEquals(n, queued.shift()?.n, `seed ${seed}`);
      if (random.nextInt(20) === 0) moveSome();
    };
    const handles = Array.from({ length: 200 }, (_, n) => {
      const priority = random.nextInt(3);
      queued.push({ n, priority, sequence: sequence++ });
      return loop.callWithPriority(priority, step, n);
    });
    for (let moves = random.nextInt(8); moves > 0; moves--) moveSome();
    await runDry(loop);
    assertEquals(queued, [], `seed ${seed}`);
    await loop.close();
  }
});

Deno.test("callWithPriority() is callSoon() on a loop without a scheduler", async () => {
  await using loop = new EventLoop({ host: "virtual" });
  const log: number[] = [];
  const last = loop.callWithPriority(9, () => log.push(1));
  loop.callWithPriority(10, () => log.push(2));
  last.setPriority(-1);
  assertEquals(last.priority, -1);
  loop.callSoon(() => loop.stop());
  await loop.runForever();
  assertEquals(log, [1, 2]);
});

Deno.test("callWithPriority() is seen by a loop that overrides callSoon()", async () => {
  let seen = 0;
  class WatchingLoop extends EventLoop {
    override callSoon<A extends unknown[]>(
      callback: (...args: A) => unknown,
      ...args: A
    ) {
      seen++;
      return super.callSoon(callback, ...args);
    }
  }
  await using loop = new WatchingLoop({
    host: "virtual",
    scheduler: new PriorityScheduler(),
  });
  const log: number[] = [];
  loop.callWithPriority(1, () => log.push(1));
  loop.callWithPriority(2, () => log.push(2));
  loop.callWithPriority(-9, () => loop.stop());
  assertEquals(seen, 3);
  await loop.runForever();
  assertEquals(log, [2, 1]);
});
