/**
 * `testLoop`: a test on a virtual loop that fails if it leaves anything behind.
 *
 * Tasks are looked at when the body has ended. Then they are cancelled, as at the
 * end of every run, and everything else is looked at when the loop is closed: so a
 * timer or a permit that belongs to a task which is left is not told twice.
 *
 * @module
 */
import {
  AssertionError,
  type Leftover,
  LeftoverError,
  type LeftoverKind,
} from "../errors.ts";
import { registerTest } from "../host/test_runner.ts";
import {
  checkFunction,
  checkOneOf,
  checkOptions,
  checkString,
} from "../loop/checks.ts";
import { core } from "../loop/core.ts";
import { findLoop } from "../loop/current.ts";
import { CreationStack } from "../loop/creation_stack.ts";
import { STOOD_STILL } from "../loop/deadlock.ts";
import type { EndListener } from "../loop/endings.ts";
import { EventLoop } from "../loop/event_loop.ts";
import type { ExceptionContext } from "../loop/exceptions.ts";
import { describeHandle, Handle } from "../loop/handle.ts";
import type { EventLoopOptions } from "../loop/loop_options.ts";
import {
  type ResourceKind,
  type ResourceWatch,
  resourceWatch,
} from "../loop/resource_watch.ts";
import { Runner } from "../loop/runner.ts";
import type { Coroutine, TaskBody } from "../loop/task_body.ts";
import { describeWait } from "../loop/waiters.ts";
import {
  jumpAtEnd,
  VirtualClock,
  type VirtualClockOptions,
} from "./virtual_clock.ts";

/** Argument of the body of a {@linkcode testLoop}. */
export interface TestLoopContext {
  /** The clock of the loop. */
  readonly clock: VirtualClock;
  /** The loop. */
  readonly loop: EventLoop;
}

/** Body of a {@linkcode testLoop}: an async function or generator function. */
export type TestLoopBody<T> = (
  context: TestLoopContext,
) => Coroutine<T> | PromiseLike<T> | T;

const KINDS: readonly LeftoverKind[] = [
  "task",
  "timer",
  "descriptor",
  "listener",
  "permit",
  "worker",
  "operation",
];

/** Virtual time that tasks which are left have for cleaning up: one that ignores its cancellation must not hang the test. */
const CLEANUP_MS = 60_000;

/** Options of {@linkcode runTestLoop}: those of the clock and the loop, and what may be left. */
export interface RunTestLoopOptions
  extends VirtualClockOptions, Omit<EventLoopOptions, "host" | "debug"> {
  /**
   * Kinds of things that the test may leave behind.
   *
   * @default {none}
   */
  readonly allow?: readonly LeftoverKind[] | undefined;
}

/** Options of {@linkcode testLoop}: those of {@linkcode runTestLoop}, and some of `Deno.test`. */
export interface TestLoopOptions extends
  RunTestLoopOptions,
  Partial<
    Pick<
      Deno.TestDefinition,
      | "ignore"
      | "only"
      | "permissions"
      | "sanitizeExit"
      | "sanitizeOps"
      | "sanitizeResources"
    >
  > {}

/**
 * Registers a `Deno.test` whose body runs on a fresh virtual loop, and which fails
 * if it leaves anything behind: see {@linkcode runTestLoop}.
 *
 * The runner names the file of this function as the place of the test, as it knows
 * only who called `Deno.test`. Where that matters, write
 * `Deno.test("name", () => runTestLoop(body))`: see {@linkcode runTestLoop}.
 *
 * @example A timeout, at once
 * ```ts ignore
 * import { sleep, timeout, TimeoutError } from "@rota/rota";
 * import { testLoop } from "@rota/rota/testing";
 * import { assertEquals, assertRejects } from "@std/assert";
 *
 * testLoop("a timeout after an hour", async ({ clock }) => {
 *   await assertRejects(
 *     async () => await timeout(3_600_000, () => sleep(Infinity)),
 *     TimeoutError,
 *   );
 *   assertEquals(clock.nowMs, 3_600_000);
 * });
 * ```
 *
 * @param name Name of the test.
 * @param body The test: an async function or generator function.
 * @param options Clock, loop, what may be left, and options of `Deno.test`.
 * @throws {TypeError} If an argument or option is of the wrong type.
 */
export function testLoop(
  name: string,
  body: TestLoopBody<unknown>,
  options: TestLoopOptions = {},
): void {
  const what = "register a test";
  checkString(name, what, "name");
  checkFunction(body, what, "body");
  checkOptions(options, what);
  const {
    ignore,
    only,
    permissions,
    sanitizeExit,
    sanitizeOps,
    sanitizeResources,
    ...rest
  } = options;
  checkAllow(rest.allow, what);
  const definition = {
    ignore,
    only,
    permissions,
    sanitizeExit,
    sanitizeOps,
    sanitizeResources,
  };
  registerTest({
    name,
    ...withoutUndefined(definition),
    fn: async () => {
      await runTestLoop(body, rest);
    },
  });
}

function withoutUndefined(object: object): Partial<Deno.TestDefinition> {
  return Object.fromEntries(
    Object.entries(object).filter(([, value]) => value !== undefined),
  );
}

function checkAllow(allow: unknown, what: string): void {
  if (allow === undefined) return;
  if (!Array.isArray(allow)) {
    throw new TypeError(
      `Cannot ${what} as allow must be an array: received ${String(allow)}`,
    );
  }
  for (const kind of allow) checkOneOf(kind, KINDS, what, "allow");
}

/**
 * Runs a test on a fresh virtual loop in debug mode, and fails if it leaves anything
 * behind: {@linkcode testLoop} for other ways to register tests.
 *
 * Left behind are, by name and with the place where they were made:
 *
 * | Kind | |
 * |---|---|
 * | `"task"` | tasks that have not ended |
 * | `"timer"` | callbacks of `callLater` and `callAt` that are pending |
 * | `"descriptor"` | readers and writers |
 * | `"listener"` | handlers of signals of the operating system, and sources of events that were not closed |
 * | `"permit"` | permits and tokens of locks, semaphores and limiters that nobody has released |
 * | `"worker"` | threads and processes of pools that were not shut down |
 * | `"operation"` | operations that were never awaited |
 *
 * The test also fails if anything was reported to the loop's exception handler,
 * unless it has set its own. If the body fails, its error is thrown, and
 * leftovers, which may come from that, are not told. Tasks that are left are
 * cancelled and clean up before the loop is closed; for that they have a minute of
 * virtual time, in which the clock jumps by itself.
 *
 * Of several permits of one semaphore the last one taken counts as the first one
 * given back: so the place that is named for one that is left may be that of another.
 *
 * @example A task that was forgotten
 * ```ts
 * import { createTask, sleep } from "@rota/rota";
 * import { LeftoverError, runTestLoop } from "@rota/rota/testing";
 * import { assertEquals, assertRejects } from "@std/assert";
 *
 * const error = await assertRejects(
 *   () =>
 *     runTestLoop(async () => {
 *       createTask(() => sleep(10), { name: "refresh" });
 *       await sleep(1);
 *     }),
 *   LeftoverError,
 * );
 * assertEquals(error.leftovers.map(({ name }) => name), ["refresh"]);
 * ```
 *
 * @typeParam T Type of the result.
 * @param body The test: an async function or generator function.
 * @param options Clock, loop, and what may be left.
 * @returns A promise for the result of `body`.
 * @throws {TypeError} If an argument or option is of the wrong type.
 * @throws {RangeError} If a number is out of range.
 * @throws {LeftoverError} If something was left.
 * @throws {AssertionError} If an error was reported to the exception handler; several
 * of all these are thrown as one `AggregateError`.
 */
export async function runTestLoop<T>(
  body: TestLoopBody<T>,
  options: RunTestLoopOptions = {},
): Promise<T> {
  const what = "run a test";
  checkFunction(body, what, "body");
  checkOptions(options, what);
  const { startMs, autojump, allow = [], ...loopOptions } = options;
  checkAllow(allow, what);
  const clock = new VirtualClock({ startMs, autojump });
  const loop = new EventLoop({
    slowCallbackMs: Infinity, // a slow machine is no mistake of the test
    ...loopOptions,
    host: clock.host,
    debug: true,
  });
  jumpAtEnd(clock, loop);
  const inspection = new Inspection(loop);
  const loopFactory = () => loop;
  const runner = new Runner({
    loopFactory,
    cancelGraceMs: CLEANUP_MS,
    handleInterrupt: false,
    name: "test",
  });
  const errors: unknown[] = [];
  let value: T;
  try {
    const main = (() => body({ clock, loop })) as TaskBody<T>;
    value = await runner.run<T>(main);
  } catch (error) {
    errors.push(error);
  }
  inspection.bodyEnded();
  try {
    await runner.close();
  } catch (error) {
    if (errors.length === 0) errors.push(error);
  }
  inspection.end();
  inspection.judge(errors, allow);
  return value!;
}

/** Resources that one owner has given out and not got back. */
interface Account {
  readonly kind: ResourceKind;
  readonly name: string;
  readonly stacks: CreationStack[];
  /** How many were given back that nobody had taken: a semaphore may begin with none. */
  debt: number;
}

/** Inspections of the tests that run at the moment. */
const inspections = new Set<ResourceWatch>();

/** Watch that forwards each call to all of them. */
const dispatcher: ResourceWatch = {
  taken(kind, owner, name) {
    for (const one of inspections) one.taken(kind, owner, name);
  },
  returned(owner) {
    for (const one of inspections) one.returned(owner);
  },
};

/** Looks what a test leaves on its loop. */
class Inspection implements EndListener, ResourceWatch {
  readonly #loop: EventLoop;
  readonly #leftovers: Leftover[] = [];
  readonly #reports: ExceptionContext[] = [];
  readonly #accounts = new Map<object, Account>();
  /** Waits of the tasks that are left, in words. */
  readonly #waits = new Map<Leftover, string>();

  constructor(loop: EventLoop) {
    this.#loop = loop;
    loop[core].endings.add(this);
    loop.setExceptionHandler((_, context) => this.#reported(context));
    inspections.add(this);
    resourceWatch.current = dispatcher;
  }

  #reported(context: ExceptionContext): void {
    const { name, message } = context;
    // Collected before the end of the loop.
    if (
      name !== undefined && message.startsWith(`${name} was never waited for`)
    ) this.#add("operation", name, context.creationStack);
    else if (message.startsWith(STOOD_STILL)) {
      // Told at once: the test may never end, or end well once a slow worker is there.
      this.#loop.defaultExceptionHandler(context);
    } else this.#reports.push(context);
  }

  #add(
    kind: LeftoverKind,
    name: string,
    stack: string | undefined,
  ): Leftover {
    const creationStack = stack === undefined ? {} : { creationStack: stack };
    const leftover = { kind, name, ...creationStack };
    this.#leftovers.push(leftover);
    return leftover;
  }

  taken(kind: ResourceKind, owner: object, name: string): void {
    if (!this.#isOurs()) return;
    let account = this.#accounts.get(owner);
    if (account === undefined) {
      account = { kind, name, stacks: [], debt: 0 };
      this.#accounts.set(owner, account);
    }
    if (account.debt > 0) account.debt--;
    else account.stacks.push(new CreationStack());
  }

  returned(owner: object): void {
    const account = this.#accounts.get(owner);
    if (account === undefined) {
      if (!this.#isOurs()) return;
      this.#accounts.set(owner, {
        kind: "permit",
        name: "Semaphore",
        stacks: [],
        debt: 1,
      });
    } else if (account.stacks.pop() === undefined) account.debt++;
  }

  /** Whether the running code belongs to this test, and not to one beside it. */
  #isOurs(): boolean {
    const loop = findLoop();
    return loop === null || loop === this.#loop;
  }

  /** The body has ended: tasks that are left are about to be cancelled. */
  bodyEnded(): void {
    const kernel = this.#loop[core];
    for (const task of kernel.tasks.toArray()) {
      const leftover = this.#add("task", task.name, task.creationStack());
      this.#waits.set(leftover, task[describeWait]());
    }
  }

  /** The loop is being closed, and still has everything but its tasks. */
  loopClosed(): void {
    const { timers, descriptors, signals, unstarted, debug } = this.#loop[core];
    for (const timer of timers.list()) {
      if (!(timer instanceof Handle) || timer.whenMs === Infinity) continue;
      const name = `${describeHandle(timer)} at ${timer.whenMs} ms`;
      this.#add("timer", name, debug.creationStackOf(timer));
    }
    for (const [name, handle] of descriptors.list()) {
      this.#add("descriptor", name, debug.creationStackOf(handle));
    }
    for (const [signal, owner] of signals.list()) {
      this.#add("listener", signal, debug.creationStackOf(owner));
    }
    for (const { kind, name, stacks } of this.#accounts.values()) {
      for (const stack of stacks) this.#add(kind, name, stack.text());
    }
    for (const { name, stack } of unstarted.takeAll()) {
      this.#add("operation", name, stack?.text());
    }
  }

  /** The loop is closed. */
  end(): void {
    inspections.delete(this);
    if (inspections.size === 0) resourceWatch.current = null;
  }

  /** Throws if there is anything that must not be. */
  judge(errors: unknown[], allow: readonly LeftoverKind[]): void {
    const hasFailed = errors.length > 0;
    for (const { message, exception } of this.#reports) {
      errors.push(
        new AssertionError(`Reported to the exception handler: ${message}`, {
          cause: exception,
        }),
      );
    }
    const left = this.#leftovers.filter(({ kind }) => !allow.includes(kind));
    if (left.length > 0 && !hasFailed) {
      errors.push(new LeftoverError(this.#describe(left), left));
    }
    if (errors.length === 1) throw errors[0];
    if (errors.length > 1) {
      throw new AggregateError(errors, errors.map(messageOf).join("\n"));
    }
  }

  #describe(left: readonly Leftover[]): string {
    const lines = left.map((leftover) => {
      const { kind, name, creationStack } = leftover;
      const wait = this.#waits.get(leftover);
      const waits = wait === undefined ? "" : `, which waits for ${wait}`;
      const frame = placeIn(creationStack);
      return `\n  ${kind} "${name}"${waits}${frame && `, made ${frame}`}`;
    });
    return `The test has left behind:${lines.join("")}`;
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

const LIBRARY = new URL("../", import.meta.url).href;

/** The first frame of a stack that is not the library's own; `""` if there is none. */
function placeIn(stack: string | undefined): string {
  const frame = stack?.split("\n").find((line) =>
    !line.includes(LIBRARY) && /\bfile:|https?:/.test(line)
  );
  return frame === undefined ? "" : frame.trim();
}
