/**
 * Lints: each fires on its mistake, and not on what looks like it.
 *
 * @module
 */
import {
  assert,
  assertEquals,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import {
  Channel,
  createTask,
  EventLoop,
  type EventLoopOptions,
  Flag,
  getRunningLoop,
  Lock,
  moveOnAfter,
  Queue,
  run,
  Semaphore,
  sleep,
  until,
  wait,
} from "../../mod.ts";
import {
  type Finding,
  type Growing,
  Lints,
  type LintsOptions,
} from "../../src/observe/mod.ts";
import { ManualHost } from "../support/manual_host.ts";
import { inStyle, STYLES } from "../support/styles.ts";

/** Runs a body on virtual time with lints, and returns what was found. */
async function lint(
  body: () => Generator<unknown, void, never>,
  options: LintsOptions = {},
  loopOptions: EventLoopOptions = {},
): Promise<Finding[]> {
  const found: Finding[] = [];
  const lints = new Lints({ onFinding: (one) => found.push(one), ...options });
  await run(body as never, {
    host: "virtual",
    outsideWaits: "ignore",
    instruments: [lints],
    ...loopOptions,
  });
  return found;
}

const short = (found: readonly Finding[]) =>
  found.map(({ kind, task }) => `${task?.name ?? "-"}: ${kind}`);

for (const style of STYLES) {
  Deno.test(`Steps of ${style} that take long are found: the first, and later ones`, async () => {
    const host = new ManualHost();
    const found: Finding[] = [];
    const lints = new Lints({ onFinding: (one) => found.push(one) });
    const loop = new EventLoop({ host, instruments: [lints], debug: true });
    const reports: string[] = [];
    loop.setExceptionHandler((_, { message }) => reports.push(message));
    const running = loop.runForever();
    const task = (name: string, first: number, second: number) =>
      loop.createTask(
        inStyle(style, function* () {
          host.nowMs += first;
          yield sleep(1);
          host.nowMs += second;
          yield sleep(1);
          host.nowMs += second;
        }),
        { name },
      );
    task("never", 1_500, 0);
    task("busy", 10, 200);
    task("fine", 50, 50); // and waits between
    // Before its first step, however long that takes to come.
    loop.callLater(1, () => {
      task("late", 1, 1);
      host.nowMs += 5_000;
    });
    // After its end.
    const ended = task("ended", 1, 1);
    loop.callLater(5, () => {
      host.nowMs += 5_000;
      assert(ended.done());
    });
    // Waiting for a person.
    loop.createTask(
      inStyle(style, function* () {
        yield until(new Promise((resolve) => setTimeout(resolve, 1)));
      }),
      { name: "patient" },
    );
    await host.runUntil(60_000);
    loop.callSoon(() => loop.stop());
    await running;
    await loop.close();
    assertEquals(short(found), ["never: never-yields", "busy: busy"]);
    assertStringIncludes(
      found[0]!.message,
      "has run for 1500 ms without a wait",
    );
    assertStringIncludes(found[0]!.message, `(${import.meta.url}:`);
    assertStringIncludes(found[0]!.message, "toThread()");
  });

  Deno.test(`Waits of ${style} that nothing can end are found: rings, and what was not given back`, async () => {
    const found = await lint(function* () {
      const [a, b, kept] = [new Lock(), new Lock(), new Semaphore(1)];
      const task = (name: string, steps: () => Generator) =>
        createTask(inStyle(style, steps as never), { name });
      const made = [
        task("left", function* () {
          yield a.acquire();
          yield sleep(1);
          yield b.acquire();
        }),
        task("right", function* () {
          yield b.acquire();
          yield sleep(1);
          yield a.acquire();
        }),
        task("careless", function* () {
          yield kept.acquire();
        }),
      ];
      yield* sleep(1);
      made.push(task("heir", function* () {
        yield kept.acquire();
      }));
      yield* sleep(10_000);
      for (const one of made) one.cancel();
      yield* wait(made);
    } as never);
    assertEquals(short(found).sort(), [
      "heir: lost-wait",
      "left: lost-wait",
      "right: lost-wait",
    ]);
    const heir = found.find(({ task }) => task?.name === "heir")!;
    assertStringIncludes(heir.message, 'task "careless" has taken');
  });

  Deno.test(`Waits of ${style} for a person, before the first step and after the end, are no lost ones`, async () => {
    const found = await lint(function* () {
      const lock = new Lock();
      const answer = Promise.withResolvers<void>();
      const task = (name: string, steps: () => Generator) =>
        createTask(inStyle(style, steps as never), { name });
      const made = [
        task("asks", function* () {
          const permit = yield lock.acquire();
          yield until(answer.promise);
          (permit as Disposable)[Symbol.dispose]();
        }),
        task("behind", function* () {
          yield sleep(1);
          yield lock.acquire();
        }),
        task("reader", function* () {
          yield new Queue<number>().get();
        }),
        task("signalled", function* () {
          yield new Flag().wait();
        }),
        task("over", function* () {}),
        task("limited", function* () {
          yield moveOnAfter(5_000, () => new Flag().wait());
        }),
      ];
      yield* sleep(4_000);
      made.push(task("new", function* () {}));
      yield* sleep(100_000);
      answer.resolve();
      for (const one of made) one.cancel();
      yield* wait(made);
    } as never);
    assertEquals(short(found), []);
  });
}

/** Puts and takes so many items a second for a minute. */
async function pump(
  queue: Growing,
  rates: (second: number) => { puts: number; gets: number },
): Promise<Finding[]> {
  const put = (n: number) =>
    queue instanceof Channel ? queue.trySend(n) : queue.putNowait(n);
  const get = () =>
    queue instanceof Channel ? queue.tryReceive() : queue.getNowait();
  return await lint(function* () {
    for (let second = 0; second < 60; second++) {
      const { puts, gets } = rates(second);
      for (let n = 0; n < puts; n++) put(n);
      for (let n = 0; n < gets && queue.size > 0; n++) get();
      yield* sleep(1_000);
    }
  } as never, { queues: [queue] });
}

Deno.test("A queue or channel that only grows is found, once", async () => {
  for (
    const queue of [new Queue<unknown>(), new Channel({ capacity: Infinity })]
  ) {
    const found = await pump(queue, () => ({ puts: 20, gets: 5 }));
    assertEquals(short(found), ["-: growing-queue"]);
    assertStringIncludes(found[0]!.message, "give it a ");
  }
});

Deno.test("A queue that is long for a while, short, steady or limited is none that grows", async () => {
  const burst = (second: number) =>
    second < 8 ? { puts: 500, gets: 10 } : { puts: 10, gets: 500 };
  assertEquals(await pump(new Queue<unknown>(), burst), []);
  const slow = (second: number) => ({ puts: second % 2, gets: 0 });
  assertEquals(await pump(new Queue<unknown>(), slow), [], "short");
  const steady = (second: number) => ({
    puts: second === 0 ? 1_000 : 10,
    gets: 10,
  });
  assertEquals(await pump(new Queue<unknown>(), steady), []);
  const limited = () => ({ puts: 20, gets: 5 });
  assertEquals(await pump(new Queue<unknown>(5_000), limited), []);
});

Deno.test("A queue for which a task was seen to wait is looked at; the exception handler is told", async () => {
  const told: string[] = [];
  await run(function* () {
    getRunningLoop().setExceptionHandler((_, { message }) =>
      told.push(message)
    );
    const queue = new Queue<number>();
    const consumer = createTask(function* () {
      for (;;) {
        yield* queue.get();
        yield* sleep(1_000);
      }
    });
    for (let second = 0; second < 30; second++) {
      yield* sleep(1_000);
      for (let n = 0; n < 50; n++) queue.putNowait(n);
    }
    consumer.cancel();
    yield* wait([consumer]);
  }, {
    host: "virtual",
    instruments: [new Lints()],
  });
  assertEquals(told.length, 1);
  assertStringIncludes(told[0]!, "A queue without a limit has grown");
});

Deno.test("Lints refuse wrong options", () => {
  const make = (options: unknown) => () => new Lints(options as LintsOptions);
  assertThrows(make(null), TypeError);
  assertThrows(make({ onFinding: 1 }), TypeError, "onFinding");
  assertThrows(make({ busyMs: -1 }), RangeError, "busyMs");
  assertThrows(make({ lookMs: NaN }), RangeError, "lookMs");
  assertThrows(make({ growingLooks: 0 }), RangeError, "growingLooks");
  assertThrows(make({ queues: [1] }), TypeError, "queues");
});
