/**
 * Supervisors: they start children in order, restart those that crash, and stop them
 * in reverse order.
 *
 * @module
 */
import { checkString } from "../loop/checks.ts";
import type { Operation } from "../loop/operation.ts";
import type { ChildRun } from "./child_run.ts";
import type { ChildSpec } from "./child_spec.ts";
import { SupervisorBase } from "./supervisor_base.ts";
import {
  DeleteChildCall,
  RestartChildCall,
  StartChildCall,
  TerminateChildCall,
} from "./supervisor_calls.ts";
import {
  settleChild,
  settleChildren,
  settleSupervisor,
  type SupervisorOptions,
  type SupervisorSettings,
} from "./supervisor_options.ts";

const START = { name: "Supervisor.startChild()" };
const TERMINATE = { name: "Supervisor.terminateChild()" };
const RESTART = { name: "Supervisor.restartChild()" };
const DELETE = { name: "Supervisor.deleteChild()" };

/**
 * Starts children in order, restarts those that end when they should not, and stops
 * them in reverse order. Like OTP's `supervisor`, whose rules it follows.
 *
 * A child is whatever its `start` does: a coroutine, an async function, a periodic
 * task that it returns, another supervisor. `restart` says when it is started again,
 * `strategy` who is restarted with it, and `maxRestarts` within `withinMs` when the
 * supervisor gives up: it stops all children and ends with a
 * {@linkcode RestartLimitError}. To the supervisor above, that is a `"shutdown"`.
 *
 * It does one thing at a time. Calls, and ends of children, that come while it starts
 * or stops a child wait in its mailbox. A child is stopped by a cancellation with the
 * reason `"shutdown"`; one that has not ended after its `shutdown` time is killed:
 * each of its waits is cancelled, with the reason `"killed"`. A generator that will
 * not end even so is closed without running on. An async function that waits for a
 * foreign promise cannot be: it is abandoned, reported, and not started a second time
 * beside itself, unless `allowOverlap` says so.
 *
 * A supervised child costs about 1.5 times what a task in a {@linkcode taskGroup}
 * costs. Calls by id are O(1).
 *
 * @example A crashing child is restarted
 * ```ts
 * import { run, sleep, Supervisor } from "@rota/rota";
 * import { assertEquals } from "@std/assert";
 *
 * const log: string[] = [];
 * let crashes = 0;
 * await run(async () => {
 *   await using supervisor = new Supervisor({
 *     strategy: "rest-for-one",
 *     reportCrashes: false,
 *     children: [
 *       {
 *         id: "database",
 *         start: async (started) => {
 *           await sleep(20); // connecting
 *           log.push("connected");
 *           started();
 *           await sleep(100);
 *           if (crashes++ === 0) throw new Error("connection lost");
 *           await sleep(Infinity);
 *         },
 *       },
 *       {
 *         id: "worker",
 *         *start() {
 *           log.push("working");
 *           yield* sleep(Infinity);
 *         },
 *       },
 *     ],
 *   });
 *   await supervisor.start();
 *   await sleep(1_000);
 * }, { host: "virtual" });
 * assertEquals(log, ["connected", "working", "connected", "working"]);
 * ```
 *
 * @example Longer and longer delays between restarts
 * ```ts
 * import { getRunningLoop, RestartLimitError, run, Supervisor } from "@rota/rota";
 * import { assertEquals, assertRejects } from "@std/assert";
 *
 * const startedAt: number[] = [];
 * const supervisor = new Supervisor({
 *   maxRestarts: 3,
 *   withinMs: 60_000,
 *   backoff: { initialMs: 100, jitter: "none" },
 *   reportCrashes: false,
 *   children: [{
 *     id: "flaky",
 *     start: (started) => {
 *       startedAt.push(getRunningLoop().time());
 *       started();
 *       throw new Error("not today");
 *     },
 *   }],
 * });
 * await assertRejects(
 *   () => run(() => supervisor.run(), { host: "virtual" }),
 *   RestartLimitError,
 * );
 * assertEquals(startedAt, [0, 100, 300, 700]);
 * ```
 */
export class Supervisor extends SupervisorBase {
  readonly #settings: SupervisorSettings;

  /**
   * Makes a supervisor. Nothing runs until {@linkcode start} or {@linkcode run}.
   *
   * @param options The children, strategy, limits and so on.
   * @throws {TypeError} If an option is of the wrong type.
   * @throws {RangeError} If a number is out of range.
   * @throws {ChildSpecError} If two children have the same id, or options contradict
   * each other.
   */
  constructor(options: SupervisorOptions = {}) {
    const what = "make a supervisor";
    const settings = settleSupervisor(options, what);
    super(settings, settleChildren(options, settings, what));
    this.#settings = settings;
  }

  /**
   * Adds a child and starts it, last in start order, in its turn: see
   * {@linkcode whichChildren}. A start that fails keeps nothing. Cancelling the wait while
   * the child starts leaves it: it goes on to start, and runs.
   *
   * @typeParam V Type of the value that the child hands over when it is ready.
   * @param spec The child.
   * @returns An operation of its run; of `undefined` if its start was ignored.
   * @throws {TypeError} If an option is of the wrong type.
   * @throws {RangeError} If a number is out of range.
   * @throws {ChildSpecError} If the child may not be significant.
   * @throws {ChildStateError} If there is a child of this id, or one of this id was deleted
   * and an abandoned run of it goes on.
   * @throws {ChildStartError} If it has failed to start.
   * @throws {SupervisorEndedError} If the supervisor has ended, or ends before.
   */
  startChild<V>(spec: ChildSpec<V>): Operation<ChildRun<V> | undefined> {
    const child = settleChild(spec, this.#settings, "start a child");
    return this.call(
      START,
      (loop, child) => new StartChildCall(loop, child),
      child,
    ) as Operation<ChildRun<V> | undefined>;
  }

  /**
   * Stops a child and waits until it has ended. The child is not restarted, and stays
   * known unless it is temporary. A child that does not run is left as it is; one that waits
   * for its restart waits no longer. Cancelling the wait does not take back a stop that has
   * begun.
   *
   * @param id Id of the child.
   * @returns An operation.
   * @throws {TypeError} If `id` is not a string.
   * @throws {ChildStateError} If there is no child of this id.
   * @throws {SupervisorEndedError} If the supervisor has ended, or ends before.
   */
  terminateChild(id: string): Operation<void> {
    checkString(id, "terminate a child", "id");
    return this.call(
      TERMINATE,
      (loop, id) => new TerminateChildCall(loop, id),
      id,
    );
  }

  /**
   * Starts a child that is stopped. It does not count as a restart; if it fails, the
   * child stays stopped. Cancelling the wait while the child starts leaves it.
   *
   * @param id Id of the child.
   * @returns An operation of its run; of `undefined` if its start was ignored.
   * @throws {TypeError} If `id` is not a string.
   * @throws {ChildStateError} If there is no child of this id, it is not stopped, or an
   * abandoned run of it goes on.
   * @throws {ChildStartError} If it has failed to start.
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
   * Forgets a child that is stopped.
   *
   * @param id Id of the child.
   * @returns An operation.
   * @throws {TypeError} If `id` is not a string.
   * @throws {ChildStateError} If there is no child of this id, or it is not stopped.
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
   * @returns `"Supervisor"`.
   */
  get [Symbol.toStringTag](): string {
    return "Supervisor";
  }
}
