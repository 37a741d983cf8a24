/**
 * TaskLocal: values of a task that those it creates inherit.
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
  type EventLoop,
  getRunningLoop,
  MisuseError,
  Operation,
  run,
  sleep,
  type Task,
  TaskLocal,
  until,
} from "../mod.ts";
import { SeededRandom } from "../src/structures/random.ts";
import { openLoop, runTurns } from "./support/loops.ts";
import { type Awaitable, inStyle, STYLES } from "./support/styles.ts";

const VIRTUAL = { host: "virtual" } as const;

for (const style of STYLES) {
  for (const childStyle of STYLES) {
    Deno.test(`A task in ${childStyle} inherits the values that ${style} had when it was made, and each has its own from then on`, async () => {
      const local = new TaskLocal("initial");
      const log: string[] = [];
      await run(
        inStyle(style, function* () {
          local.set("of the parent");
          const child = getRunningLoop().createTask(
            inStyle(childStyle, function* () {
              log.push(`child starts with ${local.get()}`);
              yield sleep(1);
              local.set("of the child");
              yield sleep(1);
              log.push(`child ends with ${local.get()}`);
            }),
          );
          local.set("changed later");
          yield child;
          log.push(`parent ends with ${local.get()}`);
        }),
        VIRTUAL,
      );
      assertEquals(log, [
        "child starts with of the parent",
        "child ends with of the child",
        "parent ends with changed later",
      ]);
      assertEquals(local.get(), "initial");
    });
  }

  Deno.test(`Values hold over every kind of wait in ${style}`, async () => {
    const local = new TaskLocal(0);
    await run(
      inStyle(style, function* () {
        const loop = getRunningLoop();
        // Somebody else with another value is always in between.
        const other = loop.createTask(function* () {
          local.set(-1);
          for (;;) yield* sleep(0.1);
        });
        const future = loop.createFuture<void>();
        loop.callLater(1, () => future.setResult());
        const waits: (() => Awaitable)[] = [
          () => sleep(0),
          () => sleep(1),
          () => future,
          () => until(Promise.resolve()),
          () =>
            new Operation(function* () {
              assertEquals(local.get(), n);
              yield* sleep(1);
              assertEquals(local.get(), n);
            }),
          () => loop.createTask(() => assertEquals(local.get(), n)),
        ];
        let n = 0;
        for (const wait of waits) {
          local.set(++n);
          yield wait();
          assertEquals(local.get(), n);
        }
        other.cancel();
      }),
      VIRTUAL,
    );
  });

  Deno.test(`using sets a value in ${style} for one block`, async () => {
    const local = new TaskLocal("initial");
    await run(
      inStyle(style, function* () {
        local.set("outer");
        {
          using _ = local.set("inner");
          yield sleep(1);
          {
            using _ = local.set("innermost");
            yield sleep(1);
            assertEquals(local.get(), "innermost");
          }
          assertEquals(local.get(), "inner");
        }
        assertEquals(local.get(), "outer");
      }),
      VIRTUAL,
    );
  });
}

Deno.test("Values hold in async functions at any depth and behind foreign promises", async () => {
  const local = new TaskLocal("initial");
  const deep = async (depth: number): Promise<string> => {
    await Promise.resolve();
    return depth === 0 ? local.get() : await deep(depth - 1);
  };
  await run(async () => {
    local.set("mine");
    assertEquals(await deep(5), "mine");
    assertEquals(await Promise.all([deep(1), deep(2)]), ["mine", "mine"]);
    await new Promise((resolve) => setTimeout(resolve));
    assertEquals(local.get(), "mine");
  }, VIRTUAL);
});

Deno.test("Callbacks have no values, whoever scheduled them", async () => {
  const local = new TaskLocal("initial");
  const seen: string[] = [];
  await run(function* () {
    local.set("of the task");
    const loop = getRunningLoop();
    loop.callSoon(() => seen.push(local.get()));
    loop.callLater(1, () => seen.push(local.get()));
    yield* sleep(2);
  }, VIRTUAL);
  assertEquals(seen, ["initial", "initial"]);
});

Deno.test("Several variables do not get in each other's way", async () => {
  const [a, b, c] = [new TaskLocal(0), new TaskLocal(0), new TaskLocal(0)];
  await run(function* () {
    a.set(1);
    b.set(2);
    c.set(3);
    b.set(4);
    a.set(5);
    assertEquals([a.get(), b.get(), c.get()], [5, 4, 3]);
  }, VIRTUAL);
});

Deno.test("undefined is a value like any other", async () => {
  const local = new TaskLocal<string | undefined>("initial");
  await run(function* () {
    local.set(undefined);
    assertStrictEquals(local.get(), undefined);
  }, VIRTUAL);
});

Deno.test("Outside tasks there is only the initial value, and set() says so", () => {
  const local = new TaskLocal("initial");
  const error = assertThrows(() => local.set("x"), MisuseError);
  assertEquals(
    error.message,
    "Cannot set a task-local value: no task is running",
  );
  assertEquals(local.get(), "initial");
});

Deno.test("Setting back works once, and only in the task that set", async () => {
  const local = new TaskLocal("initial");
  await run(function* () {
    const outer = local.set("outer");
    const inner = local.set("inner");
    inner[Symbol.dispose]();
    assertEquals(local.get(), "outer");
    local.set("later");
    inner[Symbol.dispose]();
    assertEquals(local.get(), "later", "a second time does nothing");
    yield* getRunningLoop().createTask(function* () {
      const error = assertThrows(() => outer[Symbol.dispose](), MisuseError);
      assertEquals(
        error.message,
        "Cannot set back a task-local value: another task is running",
      );
    });
    // The attempt in the wrong place has not used it up.
    outer[Symbol.dispose]();
    assertEquals(local.get(), "initial");
  }, VIRTUAL);
});

Deno.test("Random trees of tasks see what a copied map would hold", async () => {
  const seed = Date.now() >>> 0;
  console.log(`seed ${seed}`);
  const random = new SeededRandom(seed);
  const locals = Array.from({ length: 5 }, (_, n) => new TaskLocal(`i${n}`));
  const { loop } = openLoop();
  let made = 0;
  let checks = 0;
  const body = (model: Map<number, string>) =>
    function* (): Generator<Awaitable, void> {
      const children: Task<void>[] = [];
      for (let step = 0; step < 12; step++) {
        const at = random.nextInt(locals.length);
        const what = random.nextInt(4);
        if (what === 0) {
          model.set(at, `${seed}-${step}`);
          locals[at]!.set(`${seed}-${step}`);
        } else if (what === 1 && made < 200) {
          made++;
          children.push(spawn(loop, new Map(model)));
        } else if (what === 2) yield sleep(random.nextInt(3));
        for (const [n, local] of locals.entries()) {
          assertEquals(local.get(), model.get(n) ?? `i${n}`, `seed ${seed}`);
          checks++;
        }
      }
      for (const child of children) yield child;
    };
  const spawn = (loop: EventLoop, model: Map<number, string>) =>
    loop.createTask(inStyle(STYLES[random.nextInt(2)]!, body(model)));
  await loop.runUntilComplete(spawn(loop, new Map()));
  assert(checks > 50, `${checks}`);
  await runTurns(loop, 1);
  await loop.close();
});

Deno.test("Setting one value 100,000 times does not lengthen what a task carries", async () => {
  const local = new TaskLocal(0);
  const other = new TaskLocal("far away");
  await run(function* () {
    other.set("first");
    for (let n = 0; n < 100_000; n++) local.set(n);
    // A chain of 100,000 would take a second and more to walk so often.
    for (let n = 0; n < 10_000; n++) assert(other.get() === "first");
  }, VIRTUAL);
});
