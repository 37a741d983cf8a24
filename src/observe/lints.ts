/**
 * Lints: mistakes that show while a program runs, found by looking on.
 *
 * @module
 */
import {
  checkFunction,
  checkInteger,
  checkNotNegative,
  checkOptions,
  inspect,
} from "../loop/checks.ts";
import { core } from "../loop/core.ts";
import type { EventLoop } from "../loop/event_loop.ts";
import type { Future } from "../loop/future.ts";
import type { Instrument } from "../loop/instrument.ts";
import type { Task } from "../loop/task.ts";
import { explain } from "../loop/waiters.ts";
import { BaseQueue } from "../sync/queue.ts";
import { Channel } from "../sync/channel.ts";
import { placeInStack, type TaskPlace } from "./task_places.ts";
import { findRings } from "./task_rings.ts";
import { nameText, placeText } from "./task_text.ts";
import type { TaskRef } from "./task_tree.ts";

/** A mistake that {@linkcode Lints} has found. */
export interface Finding {
  /**
   * `"never-yields"`: the first step of a task took very long, without a wait.
   * `"busy"`: a later step took long. `"lost-wait"`: a task waits for something that
   * nothing can give it. `"growing-queue"`: a queue without a limit grows and grows.
   */
  readonly kind: "never-yields" | "busy" | "lost-wait" | "growing-queue";
  /** The task; `null` for a queue. */
  readonly task: TaskRef | null;
  /** Where the task was made; `null` unless its loop was in debug mode then. */
  readonly madeAt: TaskPlace | null;
  /** Text for people: the mistake, its place, its remedy. */
  readonly message: string;
}

/** Something that may grow: a queue or a channel. */
export type Growing = BaseQueue<unknown> | Channel<unknown>;

/** Options of {@linkcode Lints}. */
export interface LintsOptions {
  /**
   * Called with each finding.
   *
   * @default {the exception handler of the loop is called}
   */
  readonly onFinding?: ((finding: Finding) => void) | undefined;
  /**
   * Duration of a first step from which a task counts as never yielding.
   *
   * @default {1_000}
   */
  readonly neverYieldsMs?: number | undefined;
  /**
   * Duration of a step from which a task counts as busy for too long.
   *
   * @default {100}
   */
  readonly busyMs?: number | undefined;
  /**
   * Time between two looks at waits and queues.
   *
   * @default {1_000}
   */
  readonly lookMs?: number | undefined;
  /**
   * In how many looks, one after the other, a queue has to be longer than ever before.
   *
   * @default {10}
   */
  readonly growingLooks?: number | undefined;
  /** Queues and channels to look at, beside those for whose items a task was seen to wait. */
  readonly queues?: readonly Growing[] | undefined;
}

const WHAT = "make lints";
/** Turns of a loop that never parks between two looks at the clock. */
const TURNS = 256;
/** A queue that is shorter is not worth a word. */
const LENGTH_MIN = 100;

/** A queue that is looked at. */
interface Watched {
  readonly queue: WeakRef<Growing>;
  /** Greatest length in a look. */
  longest: number;
  /** How many looks in a row have found it longer than ever before. */
  looks: number;
}

/**
 * An {@linkcode Instrument} that looks for mistakes, after the lints of tokio-console:
 * tasks that never yield or are busy for too long, waits that nothing can end, queues
 * that only grow. Each task and queue is told of once for each mistake.
 *
 * A task that waits for a person, a socket or a promise, that has not begun or has
 * ended is no finding, however long it takes: a lost wait is one of a ring of tasks
 * that wait for one another, or one for a lock or permit whose holders have all ended.
 * A task that spins for good tells nothing here; see {@linkcode Watchdog}.
 *
 * Costs two looks at the clock for each step, and a look at all tasks when the loop
 * parks, every second at most.
 *
 * @example A lock that was not given back
 * ```ts
 * import { createTask, type Finding, Lints, Lock, run, sleep } from "@rota/rota";
 * import { assertEquals } from "@std/assert";
 *
 * const found: Finding[] = [];
 * const lints = new Lints({ onFinding: (finding) => found.push(finding) });
 * await run(function* () {
 *   const lock = new Lock();
 *   createTask(function* () {
 *     yield* lock.acquire(); // and never released
 *   }, { name: "careless" });
 *   yield* sleep(1);
 *   const waiter = createTask(() => lock.acquire(), { name: "waiter" });
 *   yield* sleep(5_000);
 *   waiter.cancel();
 * }, { host: "virtual", instruments: [lints] });
 * assertEquals(found.map(({ kind, task }) => `${task?.name}: ${kind}`), [
 *   "waiter: lost-wait",
 * ]);
 * ```
 */
export class Lints implements Instrument {
  readonly #onFinding: ((finding: Finding) => void) | null;
  readonly #neverYieldsMs: number;
  readonly #busyMs: number;
  readonly #lookMs: number;
  readonly #growingLooks: number;
  #watched: Watched[] = [];
  readonly #known: WeakSet<Growing> = new WeakSet();
  /** Kinds of the findings of each task. */
  readonly #told: WeakMap<object, Set<Finding["kind"]>> = new WeakMap();
  /** Tasks that have waited. */
  readonly #begun: WeakSet<Task<unknown>> = new WeakSet();
  #stepBeganMs = NaN;
  #lookedAtMs = -Infinity;

  /**
   * Makes the instrument. Add it to a loop.
   *
   * @param options Limits of mistakes, and who is told.
   * @throws {TypeError} If an option is of the wrong type.
   * @throws {RangeError} If a number is out of range.
   */
  constructor(options: LintsOptions = {}) {
    checkOptions(options, WHAT);
    const {
      onFinding,
      neverYieldsMs = 1_000,
      busyMs = 100,
      lookMs = 1_000,
      growingLooks = 10,
      queues = [],
    } = options;
    if (onFinding !== undefined) checkFunction(onFinding, WHAT, "onFinding");
    checkNotNegative(neverYieldsMs, WHAT, "neverYieldsMs");
    checkNotNegative(busyMs, WHAT, "busyMs");
    checkNotNegative(lookMs, WHAT, "lookMs");
    checkInteger(growingLooks, 1, WHAT, "growingLooks");
    this.#onFinding = onFinding ?? null;
    this.#neverYieldsMs = neverYieldsMs;
    this.#busyMs = busyMs;
    this.#lookMs = lookMs;
    this.#growingLooks = growingLooks;
    for (const queue of queues) {
      if (!isGrowing(queue)) {
        throw new TypeError(
          `Cannot ${WHAT} as queues must be queues and channels: received ${
            inspect(queue)
          }`,
        );
      }
      this.#watch(queue);
    }
  }

  // -- Steps --

  /** @ignore */
  stepBegins(task: Task<unknown>): void {
    this.#stepBeganMs = task.loop.time();
  }

  /** @ignore */
  stepEnds(task: Task<unknown>): void {
    const tookMs = task.loop.time() - this.#stepBeganMs;
    const isFirst = !this.#begun.has(task);
    if (isFirst) this.#begun.add(task);
    const ms = Math.round(tookMs);
    if (isFirst && tookMs >= this.#neverYieldsMs) {
      this.#tell(
        "never-yields",
        task,
        `has run for ${ms} ms without a wait: have it yield by checkpoint(), or run in a thread by toThread()`,
      );
    } else if (tookMs >= this.#busyMs) {
      this.#tell(
        "busy",
        task,
        `was busy for ${ms} ms between two waits: have it yield by checkpoint(), or move the work to a thread by toThread()`,
      );
    }
  }

  /** @ignore */
  taskBlocks(_task: Task<unknown>, on: Future<unknown> | null): void {
    const target = on?.[explain]().target;
    if (isGrowing(target)) this.#watch(target);
  }

  // -- Looks --

  /** @ignore */
  parks(untilMs: number, loop: EventLoop): void {
    const nowMs = loop.time();
    // Before a long rest there is time, and it may be the last opportunity.
    const isLong = untilMs - nowMs >= this.#lookMs;
    if (isLong || nowMs - this.#lookedAtMs >= this.#lookMs) this.#look(loop);
  }

  /** @ignore */
  turnEnds(turn: number, loop: EventLoop): void {
    if (turn % TURNS !== 0) return;
    if (loop.time() - this.#lookedAtMs >= this.#lookMs) this.#look(loop);
  }

  #look(loop: EventLoop): void {
    const isDue = loop.time() - this.#lookedAtMs >= this.#lookMs;
    if (isDue) {
      this.#lookedAtMs = loop.time();
      this.#lookAtQueues(loop);
    }
    const waiting = loop[core].tasks.toArray()
      .map((task) => ({ task, waits: task.waits() }))
      .filter(({ waits }) => waits.length > 0);
    for (const ring of findRings(waiting)) {
      for (const [index, { task, waits }] of ring.entries()) {
        const next = ring[(index + 1) % ring.length]!.task;
        this.#tell(
          "lost-wait",
          task,
          `waits for ${waits[0]!.kind}, by task "${
            nameText(next.name)
          }", in a ring of ${ring.length} tasks that wait for one another: ` +
            "take locks in the same order everywhere, or wait with a timeout()",
        );
      }
    }
    for (const { task, waits } of waiting) {
      for (const { kind, heldBy } of waits) {
        if (heldBy.length === 0 || !heldBy.every((held) => held.done())) {
          continue;
        }
        this.#tell(
          "lost-wait",
          task,
          `waits for ${kind}, which task "${
            nameText(heldBy[0]!.name)
          }" has taken and not given back, and that has ended: hold it by "using"`,
        );
      }
    }
  }

  #watch(queue: Growing): void {
    if (this.#known.has(queue)) return;
    this.#known.add(queue);
    const room = queue instanceof BaseQueue ? queue.maxSize : queue.capacity;
    if (room !== Infinity) return;
    this.#watched.push({ queue: new WeakRef(queue), longest: 0, looks: 0 });
  }

  #lookAtQueues(loop: EventLoop): void {
    this.#watched = this.#watched.filter((watched) => {
      const queue = watched.queue.deref();
      if (queue === undefined) return false;
      const { size } = queue;
      const grows = size > watched.longest;
      watched.looks = grows ? watched.looks + 1 : 0;
      watched.longest = Math.max(watched.longest, size);
      if (watched.looks < this.#growingLooks || size < LENGTH_MIN) return true;
      const kind = queue instanceof BaseQueue ? "queue" : "channel";
      const limit = kind === "queue" ? "maxSize" : "capacity";
      this.#report(loop, {
        kind: "growing-queue",
        task: null,
        madeAt: null,
        message:
          `A ${kind} without a limit has grown in each of ${watched.looks} looks, to ${size} items: give it a ${limit}, so that producers wait, or more consumers`,
      });
      return false;
    });
  }

  // -- Findings --

  #tell(kind: Finding["kind"], task: Task<unknown>, what: string): void {
    let told = this.#told.get(task);
    if (told === undefined) this.#told.set(task, told = new Set());
    if (told.has(kind)) return;
    told.add(kind);
    const { id, name } = task;
    const madeAt = placeInStack(task.creationStack());
    const origin = madeAt === null ? "" : `, made at ${placeText(madeAt)},`;
    this.#report(task.loop, {
      kind,
      task: { id, name },
      madeAt,
      message: `Task "${nameText(name)}"${origin} ${what}`,
    });
  }

  #report(loop: EventLoop, finding: Finding): void {
    Object.freeze(finding);
    if (this.#onFinding !== null) this.#onFinding(finding);
    else loop.callExceptionHandler({ message: finding.message });
  }
}

function isGrowing(value: unknown): value is Growing {
  return value instanceof BaseQueue || value instanceof Channel;
}
