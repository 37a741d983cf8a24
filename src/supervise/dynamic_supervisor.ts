/**
 * Dynamic supervisors: any number of children of one kind, that come and go.
 *
 * @module
 */
import {
  checkFunction,
  checkOptions,
  checkString,
  inspect,
} from "../loop/checks.ts";
import type { EventLoop } from "../loop/event_loop.ts";
import type { Operation } from "../loop/operation.ts";
import { Child } from "./child.ts";
import { Children } from "./children.ts";
import { type ChildRun, SupervisedRun } from "./child_run.ts";
import type { ChildSettings, ChildStart } from "./child_spec.ts";
import { SupervisorBase } from "./supervisor_base.ts";
import {
  DeleteChildCall,
  RestartChildCall,
  StartDynamicCall,
  TerminateChildCall,
  TerminateRunCall,
} from "./supervisor_calls.ts";
import {
  type DynamicSupervisorOptions,
  settleDynamic,
  settleTemplate,
} from "./supervisor_options.ts";

const START_CHILD = "start a child";
const START = { name: "DynamicSupervisor.startChild()" };
const TERMINATE = { name: "DynamicSupervisor.terminateChild()" };
const RESTART = { name: "DynamicSupervisor.restartChild()" };
const DELETE = { name: "DynamicSupervisor.deleteChild()" };

/** Options of {@linkcode DynamicSupervisor.startChild}. */
export interface DynamicChildOptions {
  /**
   * Name of the child in messages and lists. It need not be unique.
   *
   * @default {its number}
   */
  readonly name?: string | undefined;
}

const NO_OPTIONS: DynamicChildOptions = Object.freeze({});

/** The name that options give to a child, if they do. */
function nameIn(options: DynamicChildOptions): string | undefined {
  checkOptions(options, START_CHILD);
  const { name } = options;
  if (name !== undefined) checkString(name, START_CHILD, "name");
  return name;
}

function makeStart(loop: EventLoop, child: Child): StartDynamicCall {
  return new StartDynamicCall(loop, child);
}

/**
 * Supervises any number of children of one kind, that are started one by one: a
 * session for each connection, a job for each message. Like OTP's
 * `simple_one_for_one` and Elixir's `DynamicSupervisor`.
 *
 * Each child is restarted alone, by the same `start`. A child that has ended and is
 * not restarted is forgotten. At the end all children are stopped in parallel, within
 * one `shutdown` time.
 *
 * @example A session for each client
 * ```ts
 * import { DynamicSupervisor, run, sleep } from "@rota/rota";
 * import { assertEquals } from "@std/assert";
 *
 * const served: string[] = [];
 * await run(async () => {
 *   await using sessions = new DynamicSupervisor({
 *     child: { restart: "temporary" },
 *     maxChildren: 100,
 *   });
 *   await sessions.start();
 *   for (const client of ["ann", "bob"]) {
 *     await sessions.startChild(async () => {
 *       await sleep(10);
 *       served.push(client);
 *     });
 *   }
 *   assertEquals((await sessions.countChildren()).active, 2);
 *   await sleep(20);
 *   assertEquals((await sessions.countChildren()).active, 0);
 * }, { host: "virtual" });
 * assertEquals(served, ["ann", "bob"]);
 * ```
 */
export class DynamicSupervisor extends SupervisorBase {
  readonly #template: ChildSettings;
  #count = 0;

  /**
   * Makes a dynamic supervisor. Nothing runs until {@linkcode start} or
   * {@linkcode run}.
   *
   * @param options Options that its children have in common, limits and so on.
   * @throws {TypeError} If an option is of the wrong type.
   * @throws {RangeError} If a number is out of range.
   * @throws {ChildSpecError} If options contradict each other.
   */
  constructor(options: DynamicSupervisorOptions = {}) {
    const what = "make a dynamic supervisor";
    const settings = settleDynamic(options, what);
    super(settings, new Children(false));
    this.#template = settleTemplate(options, settings, what);
  }

  /**
   * Starts one more child, in its turn: see {@linkcode whichChildren}. A start that fails or
   * is ignored keeps nothing. Cancelling the wait while the child starts leaves it: it goes
   * on to start, and runs.
   *
   * @typeParam V Type of the value that the child hands over when it is ready.
   * @param start Starts the child, also when it is restarted.
   * @param options A name.
   * @returns An operation of its run; of `undefined` if its start was ignored.
   * @throws {TypeError} If an argument is of the wrong type.
   * @throws {ChildStateError} If there are `maxChildren` already.
   * @throws {ChildStartError} If it has failed to start.
   * @throws {SupervisorEndedError} If the supervisor has ended, or ends before.
   */
  startChild<V>(
    start: ChildStart<V>,
    options: DynamicChildOptions = NO_OPTIONS,
  ): Operation<ChildRun<V> | undefined> {
    checkFunction(start, START_CHILD, "start");
    const name = options === NO_OPTIONS ? undefined : nameIn(options);
    const child = new Child(name ?? ++this.#count, start, this.#template);
    return this.call(START, makeStart, child) as Operation<
      ChildRun<V> | undefined
    >;
  }

  /**
   * Stops a child, waits until it has ended, and forgets it. Cancelling the wait does not
   * take back a stop that has begun.
   *
   * A run names its child only as long as there is no later one: if the child has
   * ended, or was restarted since, nothing happens, and the new run lives on, as in
   * OTP. {@linkcode whichChildren} has the runs of now.
   *
   * @param run The run of the child, from {@linkcode startChild},
   * {@linkcode whichChildren} or the second argument of its `start`.
   * @returns An operation.
   * @throws {TypeError} If `run` is no run of a child. A string is refused when the
   * call is served: children of a dynamic supervisor have no ids.
   * @throws {ChildStateError} If it is a child of another supervisor, or a string.
   * @throws {SupervisorEndedError} If the supervisor has ended, or ends before.
   */
  terminateChild(run: ChildRun | string): Operation<void> {
    if (typeof run === "string") {
      return this.call(
        TERMINATE,
        (loop, id) => new TerminateChildCall(loop, id),
        run,
      );
    }
    if (!(run instanceof SupervisedRun)) {
      throw new TypeError(
        `Cannot terminate a child as run must be a ChildRun: received ${
          inspect(run)
        }`,
      );
    }
    return this.call(
      TERMINATE,
      (loop, run) => new TerminateRunCall(loop, run),
      run,
    );
  }

  /**
   * Always refused: a dynamic supervisor forgets children that have ended.
   *
   * @param id Any string.
   * @returns An operation that throws.
   * @throws {ChildStateError} Always, with the problem `"dynamic"`.
   * @throws {SupervisorEndedError} If the supervisor has ended, or ends before.
   */
  restartChild(id: string): Operation<ChildRun | undefined> {
    checkString(id, "restart a child", "id");
    return this.call(
      RESTART,
      (loop, id) => new RestartChildCall(loop, id),
      id,
    );
  }

  /**
   * Always refused: a dynamic supervisor forgets children that have ended.
   *
   * @param id Any string.
   * @returns An operation that throws.
   * @throws {ChildStateError} Always, with the problem `"dynamic"`.
   * @throws {SupervisorEndedError} If the supervisor has ended, or ends before.
   */
  deleteChild(id: string): Operation<void> {
    checkString(id, "delete a child", "id");
    return this.call(
      DELETE,
      (loop, id) => new DeleteChildCall(loop, id),
      id,
    );
  }

  /**
   * Names the class in messages and inspections.
   *
   * @returns `"DynamicSupervisor"`.
   */
  get [Symbol.toStringTag](): string {
    return "DynamicSupervisor";
  }
}
