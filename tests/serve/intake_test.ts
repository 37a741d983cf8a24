/**
 * The intake of servers, on virtual time: slots, the line, deadlines, the end.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import {
  allTasks,
  ConcurrencyLimit,
  createTask,
  currentTask,
  type EventLoop,
  type ExceptionContext,
  getRunningLoop,
  PriorityScheduler,
  run,
  sleep,
  TaskLocal,
} from "../../mod.ts";
import { Intake, type IntakeSettings } from "../../src/serve/intake.ts";
import { type Refusal, RequestRun } from "../../src/serve/request_run.ts";
import { SeededRandom as Random } from "../../src/structures/random.ts";
import { inStyle, type Steps, type Style, STYLES } from "../support/styles.ts";

/** A request that notes what becomes of it. */
class Visit extends RequestRun {
  readonly #body: () => unknown;
  readonly #log: (text: string) => void;
  readonly #name: string;
  watched = 0;
  outcomes = 0;

  constructor(
    intake: Intake,
    name: string,
    body: () => unknown,
    log: (text: string) => void,
    rank = 0,
  ) {
    super(intake, rank);
    this.#name = name;
    this.#body = body;
    this.#log = log;
  }

  get name(): string {
    return this.#name;
  }

  get isCoroutine(): boolean {
    return Object.prototype.toString.call(this.#body).includes("Generator");
  }

  call(): unknown {
    return this.#body();
  }

  returned(value: unknown): void {
    this.#ended(`returned ${value}`);
  }

  threw(error: unknown): void {
    this.#ended(`threw ${(error as Error).message}`);
  }

  refused(why: Refusal): void {
    this.#ended(`refused ${why}`);
  }

  #ended(text: string): void {
    this.outcomes++;
    this.#log(`${this.#name} ${text}`);
  }

  expired(): void {
    this.#log(`${this.#name} expired`);
  }

  protected override watchClient(): void {
    this.watched++;
  }

  protected override unwatchClient(): void {
    this.watched = 0;
  }
}

interface Scene {
  readonly loop: EventLoop;
  readonly intake: Intake;
  readonly log: string[];
  /** Takes a request in. */
  visit(name: string, steps: Steps<unknown>, rank?: number): Visit;
}

const SETTINGS: IntakeSettings = {
  maxConcurrent: Infinity,
  maxWaiting: Infinity,
  requestTimeoutMs: Infinity,
};

/** Runs a scene on virtual time and returns what was logged, each line with its time. */
async function play(
  style: Style,
  settings: Partial<IntakeSettings>,
  scene: (scene: Scene) => Promise<void>,
): Promise<string[]> {
  const log: string[] = [];
  await run(async () => {
    const loop = getRunningLoop();
    const intake = new Intake(loop, { ...SETTINGS, ...settings });
    const say = (text: string) => log.push(`${loop.time()} ${text}`);
    const visit = (name: string, steps: Steps<unknown>, rank = 0) => {
      const one = new Visit(intake, name, inStyle(style, steps), say, rank);
      intake.take(one);
      return one;
    };
    await scene({ loop, intake, log, visit });
    intake.cancel("the scene is over");
    await intake.untilIdle();
    intake.close();
    await sleep(0);
    const others = allTasks(loop).filter((task) => task !== currentTask());
    assertEquals(others.map(({ name }) => name), [], "tasks are left");
  }, { host: "virtual" });
  return log;
}

const wait = (delayMs: number, value: unknown): Steps<unknown> =>
  function* () {
    yield sleep(delayMs);
    return value;
  };

const LIMITS = {
  "slots of its own": () => 2,
  "a shared limit": () => new ConcurrencyLimit(2),
} as const;

for (const style of STYLES) {
  for (const [kind, makeLimit] of Object.entries(LIMITS)) {
    Deno.test(`in ${style}, ${kind}: beyond the limit requests wait, beyond the line they are refused`, async () => {
      const log = await play(
        style,
        { maxConcurrent: makeLimit(), maxWaiting: 2 },
        async ({ visit, intake }) => {
          visit("a", wait(10, 1));
          visit("b", wait(20, 2));
          visit("c", wait(10, 3));
          visit("d", wait(10, 4), 5);
          visit("e", wait(10, 5));
          assertEquals(intake.counts().waiting, 2);
          await sleep(100);
          assertEquals(intake.counts().served, 4);
          assertEquals(intake.counts().refused, 1);
        },
      );
      assertEquals(log, [
        "0 e refused overloaded",
        "10 a returned 1",
        "20 b returned 2",
        "20 d returned 4",
        "30 c returned 3",
      ]);
    });

    Deno.test(`in ${style}, ${kind}: a request that is cancelled in line leaves it`, async () => {
      const log = await play(
        style,
        { maxConcurrent: makeLimit(), maxWaiting: 1 },
        async ({ visit }) => {
          visit("a", wait(100, 1));
          visit("b", wait(100, 2));
          const c = visit("c", wait(10, 3));
          await sleep(24);
          assertEquals(c.watched, 0);
          await sleep(36);
          assertEquals(c.watched, 1);
          c.cancel("gone", "bye");
          assertEquals(c.watched, 0);
          visit("d", wait(10, 4));
          await sleep(100);
        },
      );
      assertEquals(log, [
        "60 c refused gone",
        "100 a returned 1",
        "100 b returned 2",
        "110 d returned 4",
      ]);
    });

    Deno.test(`in ${style}, ${kind}: the slot of a request that ignores its cancellation stays taken`, async () => {
      const log = await play(
        style,
        { maxConcurrent: makeLimit(), maxWaiting: 5, requestTimeoutMs: 20 },
        async ({ visit, intake }) => {
          const stubborn: Steps<unknown> = function* () {
            try {
              yield sleep(100);
            } catch {
              yield sleep(30);
            }
            return "late";
          };
          visit("a", stubborn);
          visit("b", stubborn);
          await sleep(10);
          visit("c", wait(5, 3));
          await sleep(100);
          assertEquals(intake.counts().timedOut, 3);
        },
      );
      assertEquals(log, [
        "20 a expired",
        "20 b expired",
        "30 c refused timeout",
        "50 a returned late",
        "50 b returned late",
      ]);
    });
  }

  Deno.test(`in ${style}: a request is a task of its own, with the values of the server`, async () => {
    const local = new TaskLocal("none");
    await run(async () => {
      local.set("server");
      const loop = getRunningLoop();
      const intake = new Intake(loop, SETTINGS);
      const seen: unknown[] = [];
      const body = inStyle(style, function* () {
        const before = currentTask();
        seen.push(local.get(), before?.name);
        yield sleep(5);
        seen.push(local.get(), currentTask() === before);
        local.set("request");
        yield createTask(inStyle(style, function* () {
          yield sleep(0);
          seen.push(local.get());
        }));
      });
      intake.take(new Visit(intake, "GET /", body, () => {}));
      await intake.untilIdle();
      assertEquals(seen, ["server", "GET /", "server", true, "request"]);
      assertEquals(local.get(), "server");
      intake.close();
    }, { host: "virtual" });
  });

  Deno.test(`in ${style}: background functions are waited for, cancelled at the end, and their errors reported`, async () => {
    const reports: ExceptionContext[] = [];
    const log = await play(style, {}, async ({ loop, intake, visit, log }) => {
      loop.setExceptionHandler((_loop, context) => reports.push(context));
      visit("a", function* () {
        intake.background(
          inStyle(style, function* () {
            yield sleep(10);
            log.push(`${loop.time()} written`);
          }),
          "log",
        );
        intake.background(
          inStyle(style, function* () {
            yield sleep(5);
            throw new Error("full");
          }),
          "disk",
        );
        intake.background(inStyle(style, wait(1_000, 1)), "long");
        yield sleep(1);
      });
      await sleep(2);
      intake.drain();
      visit("b", wait(1, 1));
      await intake.until(() => intake.counts().background === 1);
    });
    assertEquals(log, [
      "1 a returned undefined",
      "2 b refused closing",
      "10 written",
    ]);
    assertEquals(reports.map(({ name }) => name), ["disk"]);
  });

  Deno.test(`in ${style}: on a loop with priorities the task has the rank of its request`, async () => {
    await run(async () => {
      const intake = new Intake(getRunningLoop(), SETTINGS);
      let priority: number | undefined;
      const body = inStyle(style, function* () {
        priority = currentTask()?.priority;
        yield sleep(0);
      });
      intake.take(new Visit(intake, "a", body, () => {}, 7));
      await intake.untilIdle();
      assertEquals(priority, 7);
      intake.close();
    }, { host: "virtual", scheduler: new PriorityScheduler() });
  });

  Deno.test(`in ${style}: random requests, clients and ends leave nothing behind`, async () => {
    const seed = Math.floor(performance.now() * 1_000) % 2 ** 31;
    console.log(`seed ${seed}`);
    const random = new Random(seed);
    for (let round = 0; round < 30; round++) {
      const visits: Visit[] = [];
      const maxConcurrent = random.nextInt(2) === 0
        ? 1 + random.nextInt(4)
        : new ConcurrencyLimit(1 + random.nextInt(4));
      await play(
        style,
        {
          maxConcurrent,
          maxWaiting: random.nextInt(6),
          requestTimeoutMs: random.nextInt(2) === 0 ? Infinity : 15,
        },
        async ({ intake, visit }) => {
          for (let n = 0; n < 30; n++) {
            const one = visit(`r${n}`, randomBody(random, intake));
            visits.push(one);
            if (random.nextInt(3) === 0) {
              createTask(async () => {
                await sleep(random.nextInt(20));
                one.cancel("gone", "bye");
              });
            }
            if (random.nextInt(2) === 0) await sleep(random.nextInt(8));
            if (n === 20 && random.nextInt(2) === 0) intake.drain();
          }
          await sleep(random.nextInt(40));
          intake.cancel("enough");
          await intake.untilIdle();
          await sleep(40);
          const { running, waiting, background, attached } = intake.counts();
          assertEquals([running, waiting, background, attached], [0, 0, 0, 0]);
          if (maxConcurrent instanceof ConcurrencyLimit) {
            assertEquals(maxConcurrent.stats().used, 0);
          }
        },
      );
      for (const one of visits) {
        assertEquals([one.outcomes, one.watched], [1, 0], one.name);
      }
    }
  });
}

function randomBody(random: Random, intake: Intake): Steps<unknown> {
  const delays = Array.from(
    { length: random.nextInt(4) },
    () => random.nextInt(20),
  );
  const kind = random.nextInt(6);
  return function* () {
    for (const delayMs of delays) {
      try {
        yield sleep(delayMs);
      } finally {
        if (kind === 1) yield sleep(3);
      }
    }
    if (kind === 2) throw new Error("broken");
    if (kind === 3) intake.background(() => sleep(random.nextInt(30)), "later");
    return "ok";
  };
}

Deno.test("a plain function that answers at once makes no task", async () => {
  const log = await play("a generator", {}, async ({ intake, loop, log }) => {
    const before = allTasks(loop).length;
    const say = (text: string) => log.push(text);
    const one = new Visit(intake, "a", () => allTasks(loop).length, say);
    intake.take(one);
    assertEquals(log, [`a returned ${before}`]);
    await sleep(0);
  });
  assertEquals(log.length, 1);
});

Deno.test("a long line of requests that answer at once does not grow the stack", async () => {
  await play("a generator", { maxConcurrent: 1 }, async ({ intake, visit }) => {
    visit("first", wait(1, 1));
    let answered = 0;
    for (let n = 0; n < 20_000; n++) {
      intake.take(new Visit(intake, "x", () => answered++, () => {}));
    }
    await sleep(2);
    assertEquals(answered, 20_000);
  });
});

Deno.test("what a request has left open is drained, waited for and cut", async () => {
  await play("a generator", {}, async ({ intake }) => {
    const log: string[] = [];
    const thing = {
      drain: () => log.push("drain"),
      cut: () => {
        log.push("cut");
        intake.detach(thing);
      },
    };
    intake.attach(thing);
    intake.drain();
    assert(!intake.isIdle);
    const second = {
      drain: () => {
        log.push("second drains");
        intake.detach(second);
      },
      cut: () => log.push("never"),
    };
    intake.attach(second);
    intake.cancel("end");
    await intake.untilIdle();
    assertEquals(log, ["drain", "second drains", "cut"]);
  });
});
