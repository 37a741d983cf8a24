/**
 * Virtual clock: the handle of a virtual host, by which a test moves the time of a
 * loop. Also `runVirtual`, which runs a program on one.
 *
 * The host asks the clock where to move when every task is blocked, all promise
 * continuations have run, and nothing is under way outside (`nextMoment`). So the
 * time never moves while anything goes on, whoever moves it.
 *
 * @module
 */
import { MisuseError } from "../errors.ts";
import type { Host, ReadyListener } from "../host/host.ts";
import { type ClockControl, VirtualHost } from "../host/virtual.ts";
import {
  checkFunction,
  checkInteger,
  checkNotNegative,
  checkNumber,
  checkOneOf,
  checkOptions,
  inspect,
  isThenable,
} from "../loop/checks.ts";
import { core } from "../loop/core.ts";
import { current, getRunningLoop } from "../loop/current.ts";
import type { EventLoop } from "../loop/event_loop.ts";
import { Future } from "../loop/future.ts";
import { Operation } from "../loop/operation.ts";
import { run } from "../loop/run.ts";
import type { RunOptions } from "../loop/runner.ts";
import type { Coroutine, TaskBody } from "../loop/task_body.ts";
import {
  type FakeDescriptor,
  type FakeDescriptorOptions,
  FakeDescriptors,
} from "./fake_descriptor.ts";

/** Options of a {@linkcode VirtualClock}. */
export interface VirtualClockOptions {
  /**
   * The first time on the clock, in milliseconds.
   *
   * @default {0}
   */
  readonly startMs?: number | undefined;
  /**
   * Whether the clock jumps to the next deadline by itself when every task is
   * blocked.
   *
   * @default {true}
   */
  readonly autojump?: boolean | undefined;
}

/** Options of {@linkcode VirtualClock.runAll}. */
export interface RunAllOptions {
  /**
   * How many deadlines it goes to at most: a periodic timer has no last one.
   *
   * @default {10_000}
   */
  readonly momentsMax?: number | undefined;
}

/** Host whose clock is in the hands of a test, and which has the descriptors of that test. */
class ControlledHost extends VirtualHost {
  readonly descriptors: FakeDescriptors = new FakeDescriptors(() =>
    this.endWait()
  );

  override watch(fd: number, events: number): boolean {
    return this.descriptors.watch(fd, events);
  }

  override poll(ready: ReadyListener): void {
    this.descriptors.poll(ready);
  }
}

/** Where a clock that is being advanced goes. */
abstract class Goal<T> {
  readonly reached: Future<T>;

  constructor(loop: EventLoop, label: string) {
    this.reached = new Future<T>(loop, label);
  }

  /** Returns the next moment on the way; `null` once the goal is reached. */
  abstract nextMoment(deadlineMs: number, nowMs: number): number | null;
}

/** A moment: everything that is due until then runs on the way. */
class MomentGoal extends Goal<void> {
  readonly #targetMs: number;

  constructor(loop: EventLoop, label: string, targetMs: number) {
    super(loop, label);
    this.#targetMs = targetMs;
  }

  nextMoment(deadlineMs: number, nowMs: number): number | null {
    if (deadlineMs <= this.#targetMs) return deadlineMs;
    if (nowMs < this.#targetMs) return this.#targetMs;
    this.reached.setResult();
    return null;
  }
}

/** The next deadline, whenever that is. */
class NextGoal extends Goal<boolean> {
  #targetMs = NaN;

  nextMoment(deadlineMs: number): number | null {
    if (Number.isNaN(this.#targetMs)) this.#targetMs = deadlineMs;
    if (deadlineMs <= this.#targetMs && deadlineMs !== Infinity) {
      return deadlineMs;
    }
    this.reached.setResult(this.#targetMs !== Infinity);
    return null;
  }
}

/** All deadlines, those included that come up on the way. */
class AllGoal extends Goal<void> {
  #moments = 0;
  readonly #momentsMax: number;

  constructor(loop: EventLoop, label: string, momentsMax: number) {
    super(loop, label);
    this.#momentsMax = momentsMax;
  }

  nextMoment(deadlineMs: number, nowMs: number): number | null {
    if (deadlineMs === Infinity) this.reached.setResult();
    else if (deadlineMs <= nowMs || ++this.#moments <= this.#momentsMax) {
      return deadlineMs;
    } else {
      this.reached.setException(
        new MisuseError(
          `Cannot run all timers: after ${this.#momentsMax} moments there are more, as those of a periodic job. ` +
            "Use advance(), or raise momentsMax",
        ),
      );
    }
    return null;
  }
}

/**
 * Has a clock jump by itself once the run of `loop` has ended: tasks that are left clean
 * up then, and nobody is there to advance it.
 */
export let jumpAtEnd: (clock: VirtualClock, loop: EventLoop) => void;

/**
 * The clock of one loop in a test: it jumps from deadline to deadline by itself, or
 * stands still until the test advances it.
 *
 * Give its {@linkcode host} to `run` or an `EventLoop`, or use
 * {@linkcode runVirtual}. Like trio's `MockClock` and the timers of `FakeTime`, but
 * for one loop only: nothing global is replaced.
 *
 * The time moves only when every task is blocked and nothing is under way outside:
 * no job of an executor, no `until`, no async function that waits for a foreign
 * promise, no promise given to {@linkcode track}. Between two deadlines all promise
 * continuations run, and a timer that one of them makes counts from that moment.
 * Timers with equal deadlines run in the same turn, as on every loop.
 *
 * Everything that moves the clock is an operation: `yield*` or `await` it, in a
 * task of the clock's loop, or from outside while only that loop runs. It ends
 * when the clock has arrived and all tasks are blocked again. Cancelling it leaves
 * the clock where it is. A clock that is being advanced cannot be advanced by
 * another task, such as one that it wakes on its way.
 *
 * @example A retry after a minute, step by step
 * ```ts
 * import { getRunningLoop, sleep } from "@rota/rota";
 * import { runVirtual } from "@rota/rota/testing";
 * import { assertEquals } from "@std/assert";
 *
 * const log: string[] = [];
 * await runVirtual(function* (clock) {
 *   getRunningLoop().createTask(async () => {
 *     log.push("first try");
 *     await sleep(60_000);
 *     log.push("second try");
 *   });
 *   yield* clock.advance(59_999);
 *   assertEquals(log, ["first try"]);
 *   yield* clock.advance(1);
 *   assertEquals(log, ["first try", "second try"]);
 * }, { autojump: false });
 * ```
 */
export class VirtualClock {
  /** The host to give to the loop: `run(main, { host: clock.host })`. */
  readonly host: Host;
  readonly #host: ControlledHost;
  #autojump: boolean;
  /** How many scopes hold the clock still. */
  #holds = 0;
  #goal: Goal<unknown> | null = null;
  /** Whether the program has ended, and only clean-up is left. */
  #isEnding = false;

  /**
   * Makes a clock.
   *
   * @param options The first time, and whether the clock jumps by itself.
   * @throws {TypeError} If an option is of the wrong type.
   * @throws {RangeError} If `startMs` is not finite.
   */
  constructor(options: VirtualClockOptions = {}) {
    const what = "make a virtual clock";
    checkOptions(options, what);
    const { startMs = 0, autojump = true } = options;
    checkOneOf(autojump, [true, false], what, "autojump");
    const control: ClockControl = {
      nextMoment: (deadlineMs) => this.#nextMoment(deadlineMs),
      drains: true,
    };
    this.host = this.#host = new ControlledHost(startMs, control);
    this.#autojump = autojump;
  }

  /** The time in milliseconds: the same as `loop.time()`. */
  get nowMs(): number {
    return this.#host.now();
  }

  /**
   * Whether the clock jumps to the next deadline by itself when every task is
   * blocked. May be changed at any time.
   *
   * While it does not, and nobody advances it, tasks that wait for a timer wait
   * for ever; after a second of real time the loop's exception handler is told, once
   * a run, who waits.
   */
  get autojump(): boolean {
    return this.#isEnding || this.#autojump && this.#holds === 0;
  }

  set autojump(autojump: boolean) {
    checkOneOf(autojump, [true, false], "set autojump", "autojump");
    this.#autojump = autojump;
    this.#host.decideAnew();
  }

  /**
   * Turns `autojump` off until the returned object is disposed of. Scopes may
   * overlap: the clock jumps again when the last one is left.
   *
   * @example A part of a test in which time stands still
   * ```ts
   * import { getRunningLoop, sleep } from "@rota/rota";
   * import { runVirtual } from "@rota/rota/testing";
   * import { assertEquals } from "@std/assert";
   *
   * await runVirtual(async (clock) => {
   *   await sleep(100);
   *   {
   *     using _held = clock.hold();
   *     let rang = false;
   *     getRunningLoop().callLater(50, () => rang = true);
   *     await clock.advance(49);
   *     assertEquals(rang, false);
   *   }
   *   await sleep(100);
   *   assertEquals(clock.nowMs, 249);
   * });
   * ```
   *
   * @returns A disposable that lets the clock jump again.
   */
  hold(): Disposable {
    this.#holds++;
    let held = true;
    return {
      [Symbol.dispose]: () => {
        if (!held) return;
        held = false;
        this.#holds--;
        this.#host.decideAnew();
      },
    };
  }

  /**
   * Moves the clock by `delayMs`, from deadline to deadline: everything that is due
   * until then runs, each at its own moment.
   *
   * @param delayMs How far, in milliseconds. 0 runs what is due now.
   * @returns An operation: nothing happens until it is awaited.
   * @throws {TypeError} If `delayMs` is not a number.
   * @throws {RangeError} If `delayMs` is negative, as time never goes back, or
   * not finite.
   * @throws {MisuseError} In a callback of the loop; when awaited, if the clock is
   * being advanced already, or the running loop is not that of the clock.
   */
  advance(delayMs: number): Operation<void> {
    const what = "advance a virtual clock";
    checkNotNegative(delayMs, what, "delayMs");
    checkFinite(delayMs, what, "delayMs");
    return this.#goTo((nowMs) => nowMs + delayMs);
  }

  /**
   * Moves the clock to the moment `whenMs`, as {@linkcode advance} does.
   *
   * @param whenMs The moment, in milliseconds on this clock.
   * @returns An operation: nothing happens until it is awaited.
   * @throws {TypeError} If `whenMs` is not a number.
   * @throws {RangeError} If `whenMs` is in the past or not finite; when awaited, if
   * it has passed since.
   * @throws {MisuseError} As {@linkcode advance}.
   */
  advanceTo(whenMs: number): Operation<void> {
    const what = "advance a virtual clock";
    checkNumber(whenMs, what, "whenMs");
    checkFinite(whenMs, what, "whenMs");
    const check = (nowMs: number) => {
      if (whenMs >= nowMs) return whenMs;
      throw new RangeError(
        `Cannot ${what} as whenMs must be >= ${nowMs}, the time now: received ${whenMs}`,
      );
    };
    check(this.nowMs);
    return this.#goTo(check);
  }

  #goTo(target: (nowMs: number) => number): Operation<void> {
    const label = "VirtualClock.advance()";
    return this.#advance(
      label,
      (loop) => new MomentGoal(loop, label, target(this.nowMs)),
    );
  }

  /**
   * Moves the clock to the next deadline and runs what is due then.
   *
   * @returns An operation that says whether there was one; otherwise the clock
   * stays where it is.
   * @throws {MisuseError} As {@linkcode advance}.
   */
  next(): Operation<boolean> {
    const label = "VirtualClock.next()";
    return this.#advance(label, (loop) => new NextGoal(loop, label));
  }

  /**
   * Moves the clock from deadline to deadline until none is left, those included
   * that come up on the way.
   *
   * @param options How many moments there may be.
   * @returns An operation: nothing happens until it is awaited. It fails with a
   * {@linkcode MisuseError} if there are more deadlines than `momentsMax`, as a
   * periodic job always has another one.
   * @throws {TypeError} If an option is of the wrong type.
   * @throws {RangeError} If `momentsMax` is not an integer >= 1.
   * @throws {MisuseError} As {@linkcode advance}.
   */
  runAll(options: RunAllOptions = {}): Operation<void> {
    const what = "run all timers";
    checkOptions(options, what);
    const { momentsMax = 10_000 } = options;
    checkInteger(momentsMax, 1, what, "momentsMax", "or Infinity");
    const label = "VirtualClock.runAll()";
    return this.#advance(label, (loop) => new AllGoal(loop, label, momentsMax));
  }

  /**
   * Keeps the clock still until a promise has settled, for work outside of the
   * loop that no task awaits yet. `until` and `await` in a task do that by
   * themselves.
   *
   * @example A request that is under way
   * ```ts
   * import { sleep } from "@rota/rota";
   * import { runVirtual } from "@rota/rota/testing";
   * import { assertEquals } from "@std/assert";
   *
   * await runVirtual(async (clock) => {
   *   let body = "";
   *   const response = new Response("hello").text().then((text) => body = text);
   *   clock.track(response);
   *   await sleep(60_000); // the clock moves once the text is there
   *   assertEquals(body, "hello");
   * });
   * ```
   *
   * @typeParam T Type of the result.
   * @param promise A promise that is not of the loop. Its failure stays that of
   * whoever awaits it.
   * @returns The same promise.
   * @throws {TypeError} If `promise` is none.
   * @throws {MisuseError} If the running loop is not that of the clock.
   */
  track<T>(promise: Promise<T>): Promise<T> {
    if (!isThenable(promise)) {
      throw new TypeError(
        `Cannot track a promise as promise must be one: received ${
          inspect(promise)
        }`,
      );
    }
    const { outside } = this.#loop("track a promise")[core];
    outside.outsideBegan();
    const settled = () => outside.outsideEnded();
    promise.then(settled, settled);
    return promise;
  }

  /**
   * Opens a descriptor that exists only on this clock's loop: see
   * {@linkcode FakeDescriptor}.
   *
   * @param options How much it holds.
   * @returns The descriptor.
   * @throws {TypeError} If an option is of the wrong type.
   * @throws {RangeError} If `capacity` is not an integer >= 0.
   */
  openDescriptor(options: FakeDescriptorOptions = {}): FakeDescriptor {
    return this.#host.descriptors.make(options);
  }

  /** The running loop; throws if it is not that of this clock. */
  #loop(what: string): EventLoop {
    const loop = getRunningLoop();
    if (loop[core].host === this.#host) return loop;
    throw new MisuseError(
      `Cannot ${what}: the running event loop is not the one of this clock`,
    );
  }

  #advance<T>(
    label: string,
    makeGoal: (loop: EventLoop) => Goal<T>,
  ): Operation<T> {
    if (current.loop !== null && current.task === null) {
      throw new MisuseError(
        "Cannot advance a virtual clock: a callback of the event loop is running, advance it in a task",
      );
    }
    return new Operation<T>(() => this.#reach(makeGoal), { name: label });
  }

  *#reach<T>(makeGoal: (loop: EventLoop) => Goal<T>): Coroutine<T> {
    const loop = this.#loop("advance a virtual clock");
    if (this.#goal !== null) {
      throw new MisuseError(
        "Cannot advance a virtual clock: it is being advanced already, and one task at a time moves it",
      );
    }
    const goal = makeGoal(loop);
    this.#goal = goal;
    try {
      return yield* goal.reached;
    } finally {
      this.#goal = null;
    }
  }

  static {
    jumpAtEnd = (clock, loop) => {
      loop[core].endings.add({
        loopEnds: () => {
          clock.#isEnding = true;
        },
        loopClosed() {},
      });
    };
  }

  /** The host asks: every task is blocked, and nothing is under way outside. */
  #nextMoment(deadlineMs: number): number | null {
    if (this.#goal !== null) {
      // Reached, it stays until its task has had a turn.
      return this.#goal.nextMoment(deadlineMs, this.nowMs);
    }
    // Without any deadline no clock helps: the loop looks whether that is a deadlock.
    return this.autojump || deadlineMs === Infinity ? deadlineMs : null;
  }
}

function checkFinite(value: number, what: string, name: string): void {
  if (Number.isFinite(value)) return;
  throw new RangeError(
    `Cannot ${what} as ${name} must be finite: received ${value}`,
  );
}

/** Options of {@linkcode runVirtual}: those of the clock, and those of `run` except the host. */
export interface RunVirtualOptions
  extends VirtualClockOptions, Omit<RunOptions, "host"> {}

/**
 * Runs `main` on a fresh loop with a virtual clock, cleans up, and returns the
 * result: `run` with a {@linkcode VirtualClock}, which `main` gets as its argument.
 * Once `main` has ended, the clock jumps by itself, also with `autojump: false`, so
 * that tasks which are left can clean up.
 *
 * @example An hour that takes no time
 * ```ts
 * import { sleep } from "@rota/rota";
 * import { runVirtual } from "@rota/rota/testing";
 * import { assertEquals } from "@std/assert";
 *
 * const endMs = await runVirtual(async (clock) => {
 *   await sleep(3_600_000);
 *   return clock.nowMs;
 * });
 * assertEquals(endMs, 3_600_000);
 * ```
 *
 * @typeParam T Type of the result.
 * @param main An async function or generator function.
 * @param options The first time, whether the clock jumps by itself, and the options
 * of `run`. SIGINT is left alone unless `handleInterrupt` is true.
 * @returns A promise for the result of `main`; rejects as that of `run` does.
 * @throws {TypeError} If `main` is not a function, or an option is of the wrong type.
 * @throws {RangeError} If `startMs` is not finite.
 */
export async function runVirtual<T>(
  main: (clock: VirtualClock) => Coroutine<T> | PromiseLike<T> | T,
  options: RunVirtualOptions = {},
): Promise<T> {
  const what = "run on a virtual clock";
  checkFunction(main, what, "main");
  checkOptions(options, what);
  const { startMs, autojump, handleInterrupt = false, ...rest } = options;
  const clock = new VirtualClock({ startMs, autojump });
  const body = () => {
    jumpAtEnd(clock, getRunningLoop());
    return main(clock);
  };
  return await run<T>(body as TaskBody<T>, {
    ...rest,
    handleInterrupt,
    host: clock.host,
  });
}
