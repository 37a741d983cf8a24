/**
 * Task trees: who waits for whom, deadlocks, places, cuts, text.
 *
 * @module
 */
import {
  assert,
  assertEquals,
  assertMatch,
  assertStrictEquals,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import {
  allTasks,
  Channel,
  Condition,
  type Coroutine,
  createTask,
  Flag,
  gather,
  getRunningLoop,
  Lock,
  PriorityQueue,
  Queue,
  run,
  Semaphore,
  sleep,
  type Task,
  taskGroup,
  timeout,
  until,
  wait,
} from "../../mod.ts";
import {
  dumpTasks,
  locateTasks,
  printTaskTree,
  type TaskTree,
  taskTree,
} from "../../src/observe/mod.ts";
import { inStyle, STYLES } from "../support/styles.ts";

const VIRTUAL = { host: "virtual", name: "main" } as const;

/** Tasks of a tree in lines: name, state, waits. */
function short({ tasks }: TaskTree): string[] {
  return tasks.map(({ name, depth, state, waits }) =>
    "  ".repeat(depth) + [
      name,
      state,
      ...waits.map(({ kind, heldBy }) =>
        [kind, ...heldBy.map((holder) => holder.name)].join(" < ")
      ),
    ].join(": ")
  );
}

function cancelAll(tasks: readonly Task<unknown>[]): void {
  for (const task of tasks) task.cancel();
}

for (const style of STYLES) {
  Deno.test(`taskTree() of ${style} tells parents, states, waits and holders`, async () => {
    await run(function* () {
      const lock = new Lock();
      const queue = new Queue<number>();
      const made: Task<unknown>[] = [];
      const task = (name: string, steps: () => Generator) =>
        made.push(createTask(inStyle(style, steps as never), { name }));
      task("holder", function* () {
        yield lock.acquire();
        task("child", function* () {
          yield queue.get();
        });
        yield sleep(100);
      });
      task("waiter", function* () {
        yield lock.acquire();
      });
      task("joiner", function* () {
        yield gather([made[0]!, made[1]!]);
      });
      yield* sleep(10);
      task("fresh", function* () {});
      const tree = taskTree();
      assertEquals(short(tree), [
        "main: running",
        "  holder: waiting: sleep",
        "    child: waiting: Queue.get",
        "  waiter: waiting: Lock.acquire < holder",
        "  joiner: waiting: gather < holder < waiter",
        "  fresh: new",
      ]);
      assertEquals(tree.byState, { new: 1, ready: 0, running: 1, waiting: 4 });
      assertEquals(tree.waitingFor, {
        sleep: 1,
        "Lock.acquire": 1,
        gather: 1,
        "Queue.get": 1,
      });
      assertEquals([tree.total, tree.hidden, tree.rings], [6, null, []]);
      const { target } = tree.tasks[3]!.waits[0]!;
      assertMatch(target!, /^Lock #\d+$/);
      assertEquals(tree.things[target!], {
        waiters: 1,
        statistics: {
          locked: true,
          holder: { id: made[0]!.id, name: "holder" },
          tasksWaiting: 1,
          tasksWaitingPeak: 1,
        },
      });
      const again = JSON.parse(JSON.stringify(tree));
      assertEquals(again.tasks.length, 6, "it is plain data");
      made[0]!.cancel();
      assertEquals(taskTree().tasks[1]!.cancelling, 1);
      cancelAll(made);
      yield* wait(made);
    }, VIRTUAL);
  });

  Deno.test(`Rings of tasks of ${style} are deadlocks, and whoever may still be woken is in none`, async () => {
    await run(function* () {
      const locks = Array.from({ length: 3 }, () => new Lock());
      const semaphore = new Semaphore(2);
      const made: Task<unknown>[] = [];
      const task = (name: string, steps: () => Generator) =>
        made.push(createTask(inStyle(style, steps as never), { name }));
      for (const [n, lock] of locks.entries()) {
        task(`ring ${n}`, function* () {
          yield lock.acquire();
          yield sleep(1);
          yield locks[(n + 1) % 3]!.acquire();
        });
      }
      task("behind the ring", function* () {
        yield sleep(2);
        yield locks[0]!.acquire();
      });
      task("sleeper", function* () {
        yield semaphore.acquire();
        yield sleep(1_000);
      });
      const other = new Lock();
      task("blocked holder", function* () {
        yield semaphore.acquire();
        yield sleep(1);
        yield other.acquire();
      });
      task("waits for either", function* () {
        yield other.acquire();
        yield sleep(2);
        yield semaphore.acquire();
      });
      yield* sleep(10);
      const tree = taskTree({ tasksMax: 0 });
      assertEquals(tree.rings.map((ring) => ring.map(({ name }) => name)), [
        ["ring 0", "ring 1", "ring 2"],
      ]);
      assertEquals(tree.rings[0]![0]!.kind, "Lock.acquire");
      // Listed whatever the limit, with the tasks above them.
      assertEquals(tree.tasks.map(({ ring }) => ring), [null, 0, 0, 0]);
      assertEquals(tree.tasks[0]!.hidden, {
        tasks: 4,
        waitingFor: { "Lock.acquire": 2, sleep: 1, "Semaphore.acquire": 1 },
      });
      assertStringIncludes(
        String(tree),
        "Deadlock: 3 tasks wait for one another:\n  ring 0 (",
      );
      made[4]!.cancel(); // the sleeper, whose permit would have freed the rest
      yield* sleep(1);
      assertEquals(taskTree().rings.length, 1, "it was given a permit");
      cancelAll(made);
      yield* wait(made);
    }, VIRTUAL);
  });
}

Deno.test("A permit that both need and both hold is a ring as well; queues and flags are none", async () => {
  await run(function* () {
    const semaphore = new Semaphore(2);
    const queue = new Queue<number>();
    const twice = function* () {
      yield* semaphore.acquire();
      yield* sleep(1);
      yield* semaphore.acquire();
    };
    const made = [createTask(twice), createTask(twice)];
    // Each has served the other while an instrument was there, and waits for it.
    const loop = getRunningLoop();
    const instrument = {};
    loop.addInstrument(instrument);
    const replies = new Queue<number>();
    const partner = (from: Queue<number>, to: Queue<number>) =>
      createTask(function* () {
        for (;;) {
          yield* to.put(1);
          yield* from.get();
          yield* from.get();
        }
      });
    made.push(partner(queue, replies), partner(replies, queue));
    yield* sleep(10);
    assertEquals(taskTree().rings.map((ring) => ring.map(({ id }) => id)), [
      [made[0]!.id],
    ]);
    loop.removeInstrument(instrument);
    cancelAll(made);
    yield* wait(made);
  }, VIRTUAL);
});

Deno.test("taskTree() of 100,000 tasks is cut, and counts them all", async () => {
  await run(function* () {
    const flag = new Flag();
    const made: Task<unknown>[] = [];
    yield* taskGroup(function* (group) {
      for (let n = 0; n < 1_000; n++) {
        made.push(group.createTask(function* () {
          for (let k = 0; k < 99; k++) {
            made.push(createTask(() => flag.wait()));
          }
          yield* sleep(1_000);
        }));
      }
      yield* sleep(1);
      const tree = taskTree();
      assertEquals(tree.total, 100_001);
      assertEquals(tree.waitingFor, { "Flag.wait": 99_000, sleep: 1_000 });
      assertEquals(tree.tasks.length, 1_000);
      assertEquals(tree.tasks.at(-1)!.depth, 1);
      assertEquals(tree.tasks[0]!.hidden!.tasks, 100);
      assertEquals(tree.tasks[1]!.hidden, {
        tasks: 99,
        waitingFor: { "Flag.wait": 99 },
      });
      const text = String(tree);
      assert(text.length < 200_000, `${text.length}`);
      assertStringIncludes(text, "… 99 more: 99 wait for Flag.wait");
      flag.set();
      cancelAll(group.tasks);
    });
  }, VIRTUAL);
});

Deno.test("Chains of 20,000 tasks are shown without an end of the stack", async () => {
  await run(function* () {
    let innermost: Task<unknown> | null = null;
    const nest = (depth: number): Task<unknown> =>
      createTask(function* () {
        if (depth === 0) yield* sleep(100);
        else yield* nest(depth - 1);
      });
    innermost = nest(20_000);
    yield* sleep(1);
    const tree = taskTree();
    assertEquals(tree.tasks.at(-1)!.depth, 999);
    assertEquals(tree.tasks.at(-1)!.hidden!.tasks, 19_002);
    assertEquals(taskTree({ tasksMax: Infinity }).tasks.length, 20_002);
    assert(String(tree).length > 0);
    innermost.cancel();
    yield* wait([innermost]);
  }, VIRTUAL);
});

Deno.test("The text of a tree escapes names, and names a hundredth holder as a number", async () => {
  await run(function* () {
    const semaphore = new Semaphore(100);
    const made = Array.from({ length: 101 }, (_, n) =>
      createTask(function* () {
        yield* semaphore.acquire();
        yield* sleep(100);
      }, { name: n === 0 ? "\x1b[31m<b>\nred" : `user ${n}` }));
    yield* sleep(10);
    const text = String(taskTree());
    assertStringIncludes(
      text,
      "by \\u001b[31m<b>\\u000ared, user 1, user 2, 97 more",
    );
    assert(!text.includes("\x1b"));
    cancelAll(made);
    yield* wait(made);
  }, VIRTUAL);
});

Deno.test("locateTasks() finds the line of the source at which a generator stands", async () => {
  await run(async () => {
    const queue = new Queue<number>();
    // Texts that must not count: `yield ${"yield"}`, /yield['"]/, yield.
    interface Typed {
      yield: number;
    }
    const typed: Typed = { yield: `${/['"`yield]/g} yield`.length };
    const begin = Number(/:(\d+):\d+\)?$/m.exec(new Error().stack!)![1]);
    const reader = createTask(function* readItems(): Coroutine<void> {
      if (typed.yield > 1e9) yield* sleep(1);
      for (;;) {
        const item: number = yield* queue.get();
        if (item > 0) yield* timeout(5, () => sleep(1));
      }
    });
    const plain = createTask(async () => {
      await queue.join();
      await sleep(1_000);
    });
    await sleep(1);
    const tree = await locateTasks();
    const placeOf = (task: Task<unknown>) =>
      tree.tasks.find(({ id }) => id === task.id)!.place;
    const place = placeOf(reader)!;
    assertEquals(tree.placesMissing, null);
    assertEquals(
      [place.function, place.file, place.line - begin, place.isExact],
      ["readItems", import.meta.url, 4, true],
    );
    assertEquals(placeOf(plain), null);
    reader.cancel();
    plain.cancel();
  }, { name: "main" });
});

Deno.test("locateTasks() may be called several times at once, and tasks may go on and end meanwhile", async () => {
  await run(async () => {
    const queue = new Queue<number>();
    const made = Array.from({ length: 100 }, (_, n) =>
      createTask(function* () {
        if (n % 2 === 0) { for (;;) yield* sleep(1); }
        yield* queue.get();
      }));
    await sleep(5);
    // A snapshot is that of its end: of the tasks that are there then.
    const loop = getRunningLoop();
    const locate = async () => {
      const tree = await locateTasks();
      return { ...tree, thereThen: allTasks(loop).length };
    };
    const trees = [locate(), locate(), locate()];
    made.slice(90).forEach((task) => task.cancel());
    const early = await Promise.all(trees);
    const late = await locate();
    assertEquals(late.tasks.length, 91);
    for (const { tasks, thereThen } of [...early, late]) {
      assertEquals(tasks.length, thereThen);
      for (const { place, waits } of tasks) {
        if (place === null) continue;
        assertEquals(place.file, import.meta.url);
        const isQueue = waits[0]?.kind === "Queue.get";
        if (isQueue) assertEquals(place.column, 9, "that of its own wait");
      }
      assert(tasks.filter(({ place }) => place !== null).length >= 45);
    }
    cancelAll(made);
  });
});

for (const style of STYLES) {
  Deno.test(`In debug mode the tree has the place of a wait of ${style}, without the engine`, async () => {
    await run(async () => {
      const queue = new Queue<number>();
      const task = style === "a generator"
        ? createTask(function* () {
          yield* queue.get();
        })
        : createTask(async () => {
          await queue.get();
        });
      await sleep(1);
      const { place, madeAt } = taskTree().tasks[1]!;
      assertStrictEquals(place?.file, import.meta.url);
      assertStrictEquals(madeAt?.file, import.meta.url);
      assertEquals(place!.line - madeAt!.line, 1);
      task.cancel();
    }, { ...VIRTUAL, debug: true });
  });
}

Deno.test("printTaskTree() and dumpTasks() write text, and a wrong option is refused", async () => {
  await run(function* () {
    const lines: string[] = [];
    const write = (text: string) => void lines.push(text);
    const text = yield* until(printTaskTree({ write }));
    assertEquals(text, undefined);
    assertStringIncludes(lines[0]!, "1 task at turn ");
    for (const make of [taskTree, printTaskTree, dumpTasks, locateTasks]) {
      assertThrows(() => make({ tasksMax: -1 }), RangeError, "tasksMax");
      assertThrows(() => make({ tasksMax: "1" as never }), TypeError);
      assertThrows(() => make({ loop: {} as never }), TypeError, "loop");
      assertThrows(() => make(null as never), TypeError);
    }
    assertThrows(() => dumpTasks({ on: "SIGKILL" }), TypeError);
    assertThrows(() => dumpTasks({ write: 1 as never }), TypeError);
  }, { name: "main" });
});

Deno.test("statistics() of what tasks wait for: holders, waiters, peaks", async () => {
  await run(function* () {
    const lock = new Lock();
    const semaphore = new Semaphore(1);
    const condition = new Condition();
    const flag = new Flag();
    const queue = new PriorityQueue<number>(2);
    const channel = new Channel<number>();
    const holder = createTask(function* () {
      yield* lock.acquire();
      yield* semaphore.acquire();
      for (const n of [1, 2, 3]) yield* queue.put(n);
    });
    const waiters = [1, 2].flatMap(() => [
      createTask(() => lock.acquire()),
      createTask(() => semaphore.acquire()),
      createTask(() => flag.wait()),
      createTask(() => channel.receive()),
      createTask(() => queue.join()),
      createTask(function* () {
        using _permit = yield* condition.acquire();
        yield* condition.wait();
      }),
    ]);
    yield* sleep(1);
    waiters.splice(0, 6).forEach((task) => task.cancel());
    yield* sleep(1);
    const waiting = { tasksWaiting: 1, tasksWaitingPeak: 2 };
    assertEquals(lock.statistics(), { locked: true, holder, ...waiting });
    assertEquals(semaphore.statistics(), {
      value: 0,
      permitsHeld: 1,
      holders: [holder],
      ...waiting,
    });
    assertEquals(flag.statistics(), { isSet: false, ...waiting });
    assertEquals(condition.statistics(), {
      tasksWaiting: 0, // one that leaves with an error wakes the next
      tasksWaitingPeak: 2,
      lock: {
        locked: false,
        holder: null,
        tasksWaiting: 0,
        tasksWaitingPeak: 0,
      },
    });
    assertEquals(queue.statistics(), {
      size: 2,
      sizePeak: 2,
      maxSize: 2,
      unfinished: 2,
      gettersWaiting: 0,
      puttersWaiting: 1,
      joinersWaiting: 1,
    });
    assertEquals(channel.statistics().receiversWaiting, 1);
    assert(Object.isFrozen(lock.statistics()));
    const all = [holder, ...waiters];
    cancelAll(all);
    yield* wait(all);
    assertEquals(lock.statistics().tasksWaiting, 0);
    yield* taskGroup(function* (group) {
      assertEquals(group.tasks, []);
      const task = group.createTask(() => sleep(1));
      assertEquals(group.tasks, [task]);
    });
  }, VIRTUAL);
});
