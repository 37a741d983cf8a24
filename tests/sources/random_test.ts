/**
 * Random programs from printed seeds: sources with every policy, consumers of both styles that
 * leave in every way, and what may be lost then, what is dropped, and what is left behind.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { EventEmitter } from "node:events";
import {
  type Coroutine,
  each,
  type EventLoop,
  getRunningLoop,
  run,
  sleep,
  type Task,
} from "../../mod.ts";
import { SourceOverflowError } from "../../src/errors.ts";
import { fromEvent, merge, type Source } from "../../src/sources/mod.ts";
import { SeededRandom } from "../../src/structures/random.ts";
import { countingSignal, CountingTarget } from "./support.ts";

type Tick = CustomEvent<number>;
type Policy = "drop-oldest" | "drop-newest" | "error";

const VIRTUAL = { host: "virtual" } as const;
const POLICIES: readonly Policy[] = ["drop-oldest", "drop-newest", "error"];
const GOING = ["each", "for await", "take", "take in async"] as const;
const LEAVING = ["stays", "break", "throw"] as const;
const ENDING = [
  "cancel",
  "abort",
  "close",
  "dispose",
  "the end of the loop",
] as const;

/** Runs rounds, and names the seed of one that fails. */
async function rounds(
  count: number,
  round: (random: SeededRandom) => Promise<void>,
): Promise<void> {
  const first = Math.floor(Math.random() * 1e9);
  for (let seed = first; seed < first + count; seed++) {
    try {
      await round(new SeededRandom(seed));
    } catch (error) {
      throw new Error(`seed ${seed}`, { cause: error });
    }
  }
}

function pick<T>(random: SeededRandom, list: readonly T[]): T {
  return list[random.nextInt(list.length)]!;
}

/** How a consumer goes through a source, and leaves it. */
interface Plan {
  readonly going: typeof GOING[number];
  readonly leaving: typeof LEAVING[number];
  /** Number of the item with which it leaves. */
  readonly leavesAt: number;
  /** Time that each item takes: a turn, a millisecond, or none. */
  readonly pauses: readonly (number | null)[];
}

function planOf(random: SeededRandom): Plan {
  return {
    going: pick(random, GOING),
    leaving: pick(random, LEAVING),
    leavesAt: random.nextInt(8),
    pauses: Array.from(
      { length: 5 },
      () => pick(random, [null, null, 0, 0, 1]),
    ),
  };
}

/** Makes the body of a consumer, which hands what it sees to `see`. */
function consumer<T>(
  source: Source<T>,
  { going, leaving, leavesAt, pauses }: Plan,
  see: (item: T) => void,
): () => Coroutine<void> | Promise<void> {
  let seen = 0;
  /** Whether it is to leave by `break`. */
  const took = (item: T): boolean => {
    see(item);
    if (seen++ !== leavesAt || leaving === "stays") return false;
    if (leaving === "throw") throw new Error("body");
    return true;
  };
  const pause = () => pauses[seen % pauses.length] ?? null;
  switch (going) {
    case "each":
      return function* () {
        yield* each(source, function* (item, stop) {
          const ms = pause();
          if (took(item)) stop();
          else if (ms !== null) yield* sleep(ms);
        });
      };
    case "for await":
      return async () => {
        for await (const item of source) {
          const ms = pause();
          if (took(item)) break;
          if (ms !== null) await sleep(ms);
        }
      };
    case "take":
      return function* () {
        while (!took(yield* source.take())) {
          const ms = pause();
          if (ms !== null) yield* sleep(ms);
        }
      };
    case "take in async":
      return async () => {
        while (!took(await source.take() as T)) {
          const ms = pause();
          if (ms !== null) await sleep(ms);
        }
      };
  }
}

/** What should be in a source, told by what is dispatched and taken. */
class Model {
  /** Items that wait, or are on their way to the consumer, in their order. */
  readonly kept: number[] = [];
  dropped = 0;
  overflowed = false;

  readonly source: Source<Tick>;
  readonly target: CountingTarget;
  readonly capacity: number;
  readonly policy: Policy;

  constructor(
    source: Source<Tick>,
    target: CountingTarget,
    capacity: number,
    policy: Policy,
  ) {
    this.source = source;
    this.target = target;
    this.capacity = capacity;
    this.policy = policy;
  }

  emit(number: number): void {
    const { source, kept } = this;
    const { size, closed } = source;
    this.target.emit(number);
    if (closed) {
      assertEquals(source.size, size);
      return;
    }
    if (size < this.capacity) {
      kept.push(number);
      assertEquals(source.size, size + 1);
      return;
    }
    this.dropped++;
    if (this.policy === "drop-oldest") {
      kept.splice(kept.length - size, 1);
      kept.push(number);
    } else if (this.policy === "error") {
      this.overflowed = true;
      assert(source.closed);
    }
    assertEquals(source.size, size);
  }

  readonly see = ({ detail }: Tick): void =>
    assertEquals(detail, this.kept.shift());
}

/** The error of a task, which counts as seen then. */
function failureOf(task: Task<unknown>): unknown {
  return task.done() && !task.cancelled() ? task.exception() : undefined;
}

/** How a task has ended, in a few words. */
function endOf(task: Task<unknown>): string {
  if (!task.done()) return "pending";
  if (task.cancelled()) return "cancelled";
  const error = failureOf(task) as Error | undefined;
  return error === undefined ? "returned" : error.message;
}

async function oneSource(random: SeededRandom): Promise<void> {
  const target = new CountingTarget();
  const { controller, signal, count } = countingSignal();
  const capacity = pick(random, [1, 2, 3, 8, Infinity]);
  const overflow = pick(random, POLICIES);
  const plan = planOf(random);
  const ending = pick(random, ENDING);
  const reports: unknown[] = [];
  let overflows = 0;
  let model!: Model;
  let task!: Task<void>;
  await run(async () => {
    const loop: EventLoop = getRunningLoop();
    loop.setExceptionHandler((_loop, { exception }) => {
      reports.push(exception);
    });
    const source = fromEvent<Tick>(target, "tick", {
      buffer: capacity,
      overflow,
      signal,
    });
    model = new Model(source, target, capacity, overflow);
    task = loop.createTask(consumer(source, plan, model.see));
    let number = 0;
    for (let steps = random.nextInt(25); steps > 0; steps--) {
      for (let n = random.nextInt(4); n > 0; n--) model.emit(number++);
      await sleep(pick(random, [0, 0, 0, 1]));
    }
    const wasOpen = !source.closed;
    if (ending === "the end of the loop") return;
    // A consumer that never begins leaves nothing.
    await sleep(0);
    if (ending === "cancel") task.cancel();
    else if (ending === "abort") controller.abort(new Error("aborted"));
    else if (ending === "dispose") source[Symbol.dispose]();
    else source.close();
    // An item that was taken before is on its way still; one that waited is not.
    if (ending === "abort" && wasOpen || ending === "dispose") {
      assertEquals(source.size, 0);
    }
    if (random.nextInt(2) === 0) model.emit(number++);
    await sleep(30);
    const end = endOf(task);
    if (failureOf(task) instanceof SourceOverflowError) overflows++;
    assert(end !== "pending", `it waits after ${ending}`);
    if (plan.going.startsWith("take")) {
      // Nothing is lost: the rest is there, unless it was dropped on purpose.
      if (ending === "cancel" || ending === "close") {
        source.close();
        overflows += await drain(source, model.see);
        assertEquals(model.kept, []);
      } else source[Symbol.dispose]();
    } else if (end === "returned" && plan.leaving !== "break") {
      if (ending === "close") assertEquals(model.kept, []);
    }
    assertEquals([source.closed, source.size], [true, 0]);
    assertEquals([target.listeners, count()], [0, 0]);
    assertEquals(source.dropped, model.dropped);
  }, VIRTUAL);
  assertEquals([target.listeners, count()], [0, 0]);
  assertEquals(model.source.dropped, model.dropped);
  const all = overflows +
    reports.filter((one) => one instanceof SourceOverflowError).length;
  assertEquals(all, model.overflowed ? 1 : 0, "errors are delivered once");
}

/** Takes the rest; returns how many overflows it was told of. */
async function drain(
  source: Source<Tick>,
  see: (tick: Tick) => void,
): Promise<number> {
  try {
    for await (const tick of source) see(tick);
    return 0;
  } catch (error) {
    assert(error instanceof SourceOverflowError);
    return 1;
  }
}

Deno.test("random programs with one source: nothing is lost but by its policy", async () => {
  await rounds(400, oneSource);
});

// -- Merged sources --

/** An item of a merged source: which source, and its number there. */
type Item = readonly [source: number, number: number];

/** An item, or the event that has one as its detail. */
type Carried = Item | CustomEvent<Item>;

/** One of several sources, what is done to it, and what is left of it. */
interface Part {
  readonly source: AsyncIterable<Carried>;
  step(): void;
  left(): unknown;
  /** The error that it had, if any. */
  error: Error | null;
}

function targetPart(index: number): Part {
  const target = new CountingTarget();
  let number = 0;
  return {
    source: fromEvent<CustomEvent<Item>>(target, "item", { buffer: Infinity }),
    step() {
      const detail: Item = [index, number++];
      target.dispatchEvent(new CustomEvent("item", { detail }));
    },
    left: () => target.listeners,
    error: null,
  };
}

/** An emitter whose failure, at some step, ends its source. */
function emitterPart(index: number, failsAt: number): Part {
  const emitter = new EventEmitter();
  let number = 0;
  let steps = 0;
  const part: Part = {
    source: fromEvent<[number, number]>(emitter, "item", { buffer: Infinity }),
    step() {
      if (emitter.listenerCount("item") === 0) return;
      if (steps++ === failsAt) {
        part.error = new Error("broken");
        emitter.emit("error", part.error);
      } else emitter.emit("item", index, number++);
    },
    left: () => emitter.eventNames().length,
    error: null,
  };
  return part;
}

/** A foreign iterable: for ever, or for some items, after which it ends or fails. */
function generatorPart(index: number, end: number, fails: boolean): Part {
  let open = 0;
  async function* generate(): AsyncGenerator<Item> {
    open++;
    try {
      for (let number = 0; number < end; number++) {
        yield [index, number];
        await sleep(1);
      }
      if (fails) throw part.error = new Error("broken");
    } finally {
      open--;
    }
  }
  const part: Part = {
    source: generate(),
    step() {},
    left: () => open,
    error: null,
  };
  return part;
}

function partOf(random: SeededRandom, index: number): Part {
  switch (random.nextInt(4)) {
    case 0:
      return emitterPart(index, random.nextInt(30));
    case 1:
      return generatorPart(
        index,
        pick(random, [0, 1, 5, Infinity]),
        random.nextInt(2) === 0,
      );
    default:
      return targetPart(index);
  }
}

async function mergedSources(random: SeededRandom): Promise<void> {
  const plan = planOf(random);
  const ending = pick(random, ["cancel", "close", "dispose", "the end"]);
  const reports: unknown[] = [];
  const next = new Map<number, number>();
  let parts: Part[] = [];
  await run(async () => {
    const loop = getRunningLoop();
    loop.setExceptionHandler((_loop, { exception }) => {
      reports.push(exception);
    });
    parts = Array.from(
      { length: random.nextInt(4) },
      (_, index) => partOf(random, index),
    );
    const merged = merge(...parts.map(({ source }) => source));
    const see = (item: Carried): void => {
      const [index, number] = item instanceof CustomEvent ? item.detail : item;
      assertEquals(number, next.get(index) ?? 0, `of source ${index}`);
      next.set(index, number + 1);
    };
    const task = loop.createTask(consumer(merged, plan, see));
    for (let steps = random.nextInt(20); steps > 0; steps--) {
      for (const part of parts) if (random.nextInt(2) === 0) part.step();
      await sleep(pick(random, [0, 0, 1]));
    }
    if (ending === "the end") return;
    await sleep(0); // it has begun
    if (ending === "cancel") task.cancel();
    else if (ending === "dispose") await merged[Symbol.asyncDispose]();
    else merged.close();
    await sleep(50);
    assert(task.done(), `it waits after ${ending}`);
    reports.push(failureOf(task));
    await merged[Symbol.asyncDispose]();
    assertEquals(parts.map((part) => part.left()), parts.map(() => 0));
  }, VIRTUAL);
  assertEquals(parts.map((part) => part.left()), parts.map(() => 0));
  for (const { error } of parts) {
    if (error === null) continue;
    const times = reports.filter((report) => report === error).length;
    assertEquals(times, 1, "an error is delivered once");
  }
}

Deno.test("random merges: each source in its order, and none left behind", async () => {
  await rounds(200, mergedSources);
});
