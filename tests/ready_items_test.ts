/**
 * Ready items as a strategy sees them: what they stand for, numbers that are the same
 * in each run, schedules that can be made again, and strategies around others.
 *
 * @module
 */

import { assert, assertEquals, assertThrows } from "@std/assert";
import {
  createTask,
  EventLoop,
  gather,
  getRunningLoop,
  Lock,
  PriorityScheduler,
  Queue,
  type ReadyItem,
  type Scheduler,
  sleep,
  taskGroup,
} from "../mod.ts";
import { SeededRandom } from "../src/structures/random.ts";
import { inStyle, STYLES } from "./support/styles.ts";

type Choose = (items: readonly ReadyItem[]) => ReadyItem;

/** Chooses among all items that are ready, or among those that a strategy inside would take. */
class Chooser implements Scheduler {
  readonly handlesPerTurnMax = 1;
  readonly inner: Scheduler | null;
  readonly #choose: Choose;
  #items: ReadyItem[] = [];

  constructor(choose: Choose, inner: Scheduler | null = null) {
    this.#choose = choose;
    this.inner = inner;
  }

  push(item: ReadyItem): void {
    if (this.inner === null) this.#items.push(item);
    else this.inner.push(item);
  }

  shift(): ReadyItem | undefined {
    const { inner } = this;
    if (inner !== null) {
      const items = inner.candidates!();
      if (items.length === 0) return undefined;
      const item = this.#choose(items);
      inner.take!(item);
      return item;
    }
    this.#items = this.#items.filter((item) => item.alive);
    if (this.#items.length === 0) return undefined;
    const item = this.#choose(this.#items);
    this.#items.splice(this.#items.indexOf(item), 1);
    return item;
  }

  requeued(item: ReadyItem): void {
    this.inner?.requeued?.(item);
  }

  clear(): void {
    this.#items = [];
    this.inner?.clear();
  }
}

const idOf = ({ kind, number }: ReadyItem): string => `${kind} ${number}`;

/** Runs `main`; returns the schedule: for each step the choices, and the one taken. */
async function schedule(
  main: () => unknown,
  choose: Choose,
  inner: Scheduler | null = null,
): Promise<string[]> {
  const steps: string[] = [];
  await using loop = new EventLoop({
    host: "virtual",
    scheduler: new Chooser((items) => {
      const item = choose(items);
      steps.push(`${items.map(idOf).join(", ")} -> ${idOf(item)}`);
      return item;
    }, inner),
  });
  await loop.runUntilComplete(
    loop.createTask(main as () => Promise<unknown>, { name: "main" }),
  );
  return steps;
}

const first: Choose = ([item]) => item!;

/** A program with tasks of both styles, callbacks, timers, a lock, a queue and a group. */
function program(log: string[] = []): () => unknown {
  return function* () {
    const loop = getRunningLoop();
    const queue = new Queue<number>(1);
    const lock = new Lock();
    loop.callSoon(() => log.push("soon"));
    loop.callLater(2, () => log.push("later"));
    const workers = STYLES.flatMap((style) => [
      createTask(inStyle(style, function* () {
        for (let n = 0; n < 2; n++) {
          yield queue.put(n);
          log.push(`${style} put`);
        }
      })),
      createTask(inStyle(style, function* () {
        for (let n = 0; n < 2; n++) {
          yield queue.get();
          const permit = yield lock.acquire();
          yield sleep(1);
          permit.release();
          log.push(`${style} got`);
        }
      })),
    ]);
    yield* taskGroup((group) => {
      group.createTask(inStyle("an async function", function* () {
        yield sleep(0);
        yield gather(workers);
      }));
    });
  };
}

Deno.test("An item says what is ready: a task, a timer or a callback, with its number and name", async () => {
  const seen: [string, number, string][] = [];
  await schedule(function* () {
    const loop = getRunningLoop();
    loop.callSoon(function soon() {});
    loop.callWithPriority("background", function ranked() {});
    loop.callLater(5, function later() {});
    loop.postTask(() => {});
    const tasks = STYLES.map((style) =>
      createTask(
        inStyle(style, function* () {
          yield sleep(0);
          yield sleep(1);
        }),
        { name: style },
      )
    );
    yield* gather(tasks);
    yield* sleep(10);
  }, (items) => {
    const { kind, number, name } = items[0]!;
    seen.push([kind, number, name]);
    return items[0]!;
  });
  const tasks = seen.filter(([kind]) => kind === "task");
  assertEquals(
    [...new Set(tasks.map(([, number, name]) => `${number} ${name}`))],
    ["1 main", "2 a generator", "3 an async function"],
  );
  const names = seen.map(([kind, , name]) => `${kind} ${name}`);
  for (const name of ["callback soon", "timer later"]) {
    assert(names.includes(name), `${name} in ${names}`);
  }
  // Numbers of one kind are counted from 1, and never stand for two things.
  const callbacks = seen.filter(([kind]) => kind === "callback");
  const numbers = callbacks.map(([, number]) => number);
  assertEquals(numbers, numbers.map((_, index) => index + 1));
  const timers = seen.filter(([kind]) => kind === "timer");
  assertEquals(
    timers.map(([, number, name]) => [number, name]),
    [[2, ""], [3, ""], [1, "later"], [4, ""]],
  );
});

Deno.test("Numbers are those of the loop: the same in each run, also beside other loops", async () => {
  const once = await schedule(program(), first);
  assert(once.length > 20, `${once.length}`);
  await using other = new EventLoop({ host: "virtual" });
  for (let n = 0; n < 3; n++) {
    other.createTask(function* () {});
    assertEquals(await schedule(program(), first), once);
  }
  const both = await Promise.all([
    schedule(program(), first),
    schedule(program(), first),
  ]);
  assertEquals(both, [once, once]);
  other.stop();
  await other.runForever();
});

Deno.test("A schedule can be recorded by names and made again, and another seed makes another one", async () => {
  const recorded = new Map<string, string[]>();
  for (let seed = 1; seed <= 20; seed++) {
    const random = new SeededRandom(seed);
    const log: string[] = [];
    const steps = await schedule(
      program(log),
      (items) => items[random.nextInt(items.length)]!,
    );
    const names = steps.map((step) => step.split(" -> ")[1]!);
    const again: string[] = [];
    let at = 0;
    const replayed = await schedule(program(again), (items) => {
      const item = items.find((item) => idOf(item) === names[at]);
      assert(item !== undefined, `step ${at}: ${names[at]} is not ready`);
      at++;
      return item;
    });
    assertEquals([replayed, again], [steps, log], `seed ${seed}`);
    recorded.set(log.join(), steps);
  }
  assert(recorded.size > 5, `only ${recorded.size} outcomes`);
});

Deno.test("A change of priority gives another item, which stands for the same", async () => {
  const items: Omit<ReadyItem, "sequence" | "alive">[] = [];
  await schedule(
    function* () {
      const task = createTask(function* () {}, { name: "child" });
      const handle = getRunningLoop().callWithPriority(1, () => {});
      task.setPriority("background");
      handle.setPriority("background");
      handle.setPriority(5);
      yield* task;
    },
    first,
    new class extends PriorityScheduler {
      override push(item: ReadyItem): void {
        const { kind, number, name, priority } = item;
        items.push({ kind, number, name, priority });
        super.push(item);
      }
    }(),
  );
  const children = items.filter(({ name }) => name === "child");
  assertEquals(children.map(({ number, priority }) => [number, priority]), [
    [2, 0],
    [2, -10],
    [2, 0], // raised by the task that waits for it
  ]);
  const handles = items.filter(({ kind, priority }) =>
    kind === "callback" && priority !== 0
  );
  assertEquals(new Set(handles.map(({ number }) => number)).size, 1);
  assertEquals(handles.map(({ priority }) => priority), [1, -10, 5]);
});

// -- Strategies around others --

Deno.test("PriorityScheduler lists what may be next, and taking any keeps to the priorities", async () => {
  for (let seed = 1; seed <= 10; seed++) {
    const random = new SeededRandom(seed);
    const order: number[] = [];
    const steps = await schedule(
      function* () {
        const tasks = Array.from(
          { length: 12 },
          (_, n) =>
            createTask(function* () {
              order.push(n % 3);
            }, { priority: n % 3 }),
        );
        yield* gather(tasks);
      },
      (items) => {
        const { priority } = items[0]!;
        assert(items.every((item) => item.alive && item.priority === priority));
        return items[random.nextInt(items.length)]!;
      },
      new PriorityScheduler({ ageEvery: Infinity }),
    );
    assertEquals(order, [...order].sort((a, b) => b - a), `seed ${seed}`);
    assert(steps.some((step) => step.split(",").length >= 4));
  }
});

Deno.test("Around a PriorityScheduler the first choice each time is what it does alone", async () => {
  for (const ageEvery of [1, 2, 3, 7, Infinity]) {
    const logs: string[][] = [];
    for (const isAround of [false, true]) {
      const log: string[] = [];
      const inner = new PriorityScheduler({ ageEvery, handlesPerTurnMax: 1 });
      await using loop = new EventLoop({
        host: "virtual",
        scheduler: isAround ? new Chooser(first, inner) : inner,
      });
      const random = new SeededRandom(5);
      await loop.runUntilComplete(async () => {
        const tasks = Array.from(
          { length: 30 },
          (_, n) =>
            createTask(
              inStyle(STYLES[n % 2]!, function* () {
                for (let step = 0; step < 5; step++) {
                  log.push(`${n}.${step}`);
                  yield sleep(random.nextInt(3));
                }
              }),
              { priority: random.nextInt(4) },
            ),
        );
        tasks[3]!.setPriority(9);
        await sleep(1);
        tasks[5]!.setPriority(-9);
        tasks[7]!.cancel();
        await gather(tasks, { returnExceptions: true });
      });
      logs.push(log);
    }
    assertEquals(logs[1], logs[0], `ageEvery ${ageEvery}`);
    assertEquals(logs[0]!.length > 100, true);
  }
});

Deno.test("An explorer around priorities finds other orders of equals", async () => {
  const outcomes = new Set<string>();
  for (let seed = 1; seed <= 10; seed++) {
    const random = new SeededRandom(seed);
    const log: string[] = [];
    await schedule(
      program(log),
      (items) => items[random.nextInt(items.length)]!,
      new PriorityScheduler(),
    );
    outcomes.add(log.join());
  }
  assert(outcomes.size > 1, `${outcomes.size} outcomes`);
});

Deno.test("A strategy with one half of candidates() and take() is refused, and so are members that are no functions", () => {
  const fifo = { push() {}, shift: () => undefined, clear() {} };
  for (const half of [{ candidates: () => [] }, { take: () => {} }]) {
    assertThrows(
      () => new EventLoop({ scheduler: { ...fifo, ...half } as Scheduler }),
      TypeError,
      "Cannot create an event loop as scheduler must have both candidates and take, or neither",
    );
  }
  for (
    const name of ["push", "shift", "clear", "requeued", "candidates", "take"]
  ) {
    assertThrows(
      () =>
        new EventLoop({
          scheduler: { ...fifo, [name]: 1 } as unknown as Scheduler,
        }),
      TypeError,
      `scheduler.${name} must be a function`,
    );
  }
});
