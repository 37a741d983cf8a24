/**
 * What an instrument is told of each task is a legal order: made, then steps, blocks
 * and wakes in turn, then its end. Random programs in both styles, and all programs
 * of the conformance suite, whose traces stay what they are.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import {
  createTask,
  EventLoop,
  type EventLoopOptions,
  Flag,
  type Future,
  gather,
  getRunningLoop,
  isCancellation,
  Lock,
  PriorityScheduler,
  Queue,
  shield,
  sleep,
  type Task,
  taskGroup,
  timeout,
  until,
  wait,
  waitFor,
} from "../mod.ts";
import type { Instrument } from "../src/loop/instrument.ts";
import { SeededRandom } from "../src/structures/random.ts";
import { compare, readPrograms } from "./conformance/compare.ts";
import {
  type Awaitable,
  inStyle,
  type Steps,
  STYLES,
} from "./support/styles.ts";

// -- What is legal --

type State = "ready" | "runs" | "blocked" | "blocked outside" | "ended";

/** States from which a hook may be told, and the state that follows; `null` keeps it. */
const LEGAL: Record<string, [from: readonly State[], to: State | null]> = {
  stepBegins: [["ready", "blocked outside"], "runs"],
  stepEnds: [["runs", "ended"], "ready"],
  blocks: [["ready", "blocked outside"], "blocked"],
  blocksOutside: [["ready", "blocked outside"], "blocked outside"],
  wakes: [["blocked"], "ready"],
  ends: [["ready", "runs", "blocked", "blocked outside"], "ended"],
};

/** An instrument that notes each hook that is out of order in `wrong`. */
class OrderCheck implements Instrument {
  readonly wrong: string[] = [];
  readonly states: Map<Task<unknown>, State> = new Map();
  /** Whether it is there before the first task. */
  readonly #sawAll: boolean;

  constructor(sawAll: boolean) {
    this.#sawAll = sawAll;
  }

  taskMade(task: Task<unknown>): void {
    this.#expect(!this.states.has(task), task, "is made twice");
    this.states.set(task, "ready");
  }

  stepBegins(task: Task<unknown>): void {
    this.#go(task, "stepBegins");
  }

  stepEnds(task: Task<unknown>): void {
    this.#go(task, "stepEnds");
  }

  taskBlocks(task: Task<unknown>, on: Future<unknown> | null): void {
    this.#go(task, on === null ? "blocksOutside" : "blocks");
    const waits = task.waits();
    this.#expect(waits.length > 0, task, "blocks, and has no waits");
    if (on === null) return;
    this.#expect(!on.done(), task, "blocks on what is done");
    this.#expect(on.awaitedBy().includes(task), task, "is not in awaitedBy()");
    for (const { kind, sinceMs } of waits) {
      this.#expect(sinceMs !== null, task, `${kind} has no sinceMs`);
    }
  }

  taskWakes(task: Task<unknown>, by: Task<unknown> | null): void {
    this.#go(task, "wakes");
    this.#expect(by !== task, task, "wakes itself");
  }

  taskEnds(task: Task<unknown>): void {
    this.#go(task, "ends");
    this.#expect(task.done(), task, "ends, and is not done");
    this.#expect(task.waits().length === 0, task, "ends, and waits");
  }

  #go(task: Task<unknown>, hook: string): void {
    const state = this.states.get(task);
    const [from, to] = LEGAL[hook]!;
    this.#expect(
      state === undefined ? !this.#sawAll : from.includes(state),
      task,
      `${hook} while it is ${state}`,
    );
    // A step of a task that has ended in it ends after that.
    if (hook !== "stepEnds" || state !== "ended") this.states.set(task, to!);
  }

  #expect(holds: boolean, { name }: Task<unknown>, what: string): void {
    if (!holds) this.wrong.push(`${name} ${what}`);
  }
}

// -- Random programs --

/** Runs `body` and ends what is left. */
async function inLoop(
  options: EventLoopOptions,
  body: () => Promise<void>,
): Promise<string[]> {
  const reports: string[] = [];
  await using loop = new EventLoop({ host: "virtual", ...options });
  loop.setExceptionHandler((_, { message }) => {
    if (message.includes("instrument")) reports.push(message);
  });
  await loop.runUntilComplete(loop.createTask(body, { name: "main" }));
  return reports;
}

/** A program of tasks that wait for each other, for all kinds of things, and for several at once. */
async function program(seed: number, onStep: () => void): Promise<void> {
  const random = new SeededRandom(seed);
  const below = (end: number) => Math.floor(random.next() * end);
  const lock = new Lock();
  const flag = new Flag();
  const queue = new Queue<number>(2);
  const tasks: Task<unknown>[] = [];
  const style = () => STYLES[below(2)]!;
  const hold = async () => {
    using _permit = await lock.acquire();
    await sleep(below(3));
  };
  const several = async () => {
    await Promise.all([sleep(below(3)), hold(), sleep(2)]);
    await Promise.race([sleep(1), sleep(below(3))]);
    await sleep(0);
    await null;
    await sleep(below(2));
  };
  const futures = async () => {
    const loop = getRunningLoop();
    const both = [loop.createFuture<void>(), loop.createFuture<void>()];
    loop.callLater(below(2), () => both.forEach((one) => one.setResult()));
    await Promise.all([...both, sleep(below(2))]);
  };
  const make = (depth: number): Task<unknown> => {
    const child = () => depth < 2 && tasks.length < 20 ? make(depth + 1) : null;
    const own = style();
    const choices: (() => Awaitable | null)[] = [
      () => sleep(0),
      () => sleep(below(5)),
      () => waitFor(queue.put(1), 4),
      () => waitFor(queue.get(), 4),
      () => waitFor(flag.wait(), 3),
      () => until(hold),
      () => until(several),
      () => until(futures),
      () => until(Promise.resolve()),
      () => until(() => new Promise((done) => setTimeout(done, 0))),
      () => child(),
      () => (child() && wait([make(2), make(2)], { timeoutMs: 3 })),
      () => {
        const one = child();
        return one && gather([one, make(2)], { returnExceptions: true });
      },
      () => {
        const one = child();
        return one && shield(one);
      },
      () =>
        timeout(
          below(4),
          inStyle(own, function* () {
            yield sleep(below(5));
            yield until(several);
          }),
        ),
      () =>
        taskGroup((group) => {
          group.spawn(inStyle(style(), function* () {
            yield sleep(below(4));
            if (below(5) === 0) throw new Error("of a child");
          }));
          return inStyle(own, function* () {
            yield until(several);
          })();
        }),
    ];
    const steps: Steps<void> = function* () {
      for (let step = 0; step < 6; step++) {
        onStep();
        try {
          const choice = below(choices.length + 2);
          if (choice === choices.length) tasks[below(tasks.length)]!.cancel();
          else if (choice > choices.length) flag.set(), flag.clear();
          else {
            const waited = choices[choice]!();
            if (waited !== null) yield waited;
          }
        } catch (error) {
          if (isCancellation(error) && below(3) > 0) throw error;
        }
      }
    };
    const task = createTask(inStyle(own, steps), {
      name: `${own} ${tasks.length}`,
      priority: below(3),
    }) as Task<unknown>;
    tasks.push(task);
    return task;
  };
  for (let count = 0; count < 5; count++) make(0);
  const end = () => tasks.forEach((task) => task.cancel());
  getRunningLoop().callLater(60, end);
  for (let all = 0; all < tasks.length;) {
    all = tasks.length;
    await gather(tasks, { returnExceptions: true });
  }
}

for (const scheduler of [null, PriorityScheduler]) {
  const how = scheduler === null ? "in turn" : "by priority";
  Deno.test(`Hooks of each task come in a legal order, ${how}`, async () => {
    for (let seed = 1; seed <= 25; seed++) {
      const check = new OrderCheck(true);
      await inLoop({
        instruments: [check],
        scheduler: scheduler === null ? undefined : new scheduler(),
      }, () => program(seed, () => {}));
      assertEquals(check.wrong, [], `seed ${seed}`);
      for (const [{ name }, state] of check.states) {
        assertEquals(state, "ended", `${name} of seed ${seed}`);
      }
    }
  });
}

Deno.test("Hooks come in a legal order for instruments that come, go and fail meanwhile", async () => {
  for (let seed = 1; seed <= 25; seed++) {
    const random = new SeededRandom(seed + 1_000);
    const checks: OrderCheck[] = [];
    let failed = 0;
    const reports = await inLoop({}, () =>
      program(seed, () => {
        const loop = getRunningLoop();
        const way = random.next();
        if (way < 0.15) {
          const check = new OrderCheck(false);
          checks.push(check);
          loop.addInstrument(check);
        } else if (way < 0.3 && checks.length > 0) {
          loop.removeInstrument(
            checks[Math.floor(random.next() * checks.length)]!,
          );
        } else if (way < 0.35) {
          loop.addInstrument({
            stepEnds() {
              failed++;
              throw new Error("of a hook");
            },
          });
        }
      }));
    assertEquals(checks.flatMap(({ wrong }) => wrong), [], `seed ${seed}`);
    assertEquals(reports.length, failed, `seed ${seed}`);
  }
});

// -- The conformance suite --

Deno.test("Every program does what CPython does also with an instrument, which is told a legal order", async () => {
  const folder = new URL("./conformance/programs/", import.meta.url);
  for await (const { name } of Deno.readDir(folder)) {
    for (const record of await readPrograms(new URL(name, folder))) {
      const check = new OrderCheck(true);
      const difference = await compare(record, { instruments: [check] });
      assertEquals(difference, null);
      assertEquals(check.wrong, [], record.id);
    }
  }
});
