/**
 * Common base of supervisors and dynamic supervisors.
 *
 * @module
 */
import { MisuseError } from "../errors.ts";
import { checkFunction, checkInteger, checkOptions } from "../loop/checks.ts";
import { getRunningLoop } from "../loop/current.ts";
import type { EventLoop } from "../loop/event_loop.ts";
import { Operation, type OperationOptions } from "../loop/operation.ts";
import type { Coroutine } from "../loop/task_body.ts";
import { shield } from "../structured/shield.ts";
import type { Children } from "./children.ts";
import {
  type ChildControl,
  type ChildHost,
  type Supervisable,
  supervised,
} from "./supervised.ts";
import { CallOperation } from "./call_operation.ts";
import {
  type Call,
  type ChildCounts,
  type ChildInfo,
  CountChildrenCall,
  WhichChildrenCall,
} from "./supervisor_calls.ts";
import type { SupervisorCore } from "./supervisor_core.ts";
import {
  EventFeed,
  type SupervisorEvents,
  type SupervisorEventsOptions,
  type SupervisorListener,
} from "./supervisor_events.ts";
import type { SupervisorSettings } from "./supervisor_options.ts";
import { SupervisorTask } from "./supervisor_task.ts";
import { SupervisorTree, treeOf, type TreeState } from "./supervisor_tree.ts";

const WHICH = { name: "Supervisor.whichChildren()" };
const COUNT = { name: "Supervisor.countChildren()" };

/** Events that an iteration keeps by default. */
const EVENTS_KEPT = 1_024;

/** A supervisor of any kind: its life, and the calls that all have. */
export abstract class SupervisorBase implements Supervisable, AsyncDisposable {
  readonly #settings: SupervisorSettings;
  /** The children, in start order: the core has them from the start on. */
  readonly #children: Children;
  readonly #feed: EventFeed = new EventFeed();
  #task: SupervisorTask | null = null;
  readonly #find = (): SupervisorCore => this.#started("call").core;

  /**
   * Made by the classes that are derived from it.
   *
   * @ignore
   */
  constructor(settings: SupervisorSettings, children: Children) {
    this.#settings = settings;
    this.#children = children;
  }

  /** The name that was given; under another supervisor the path of the child that it is. */
  get name(): string {
    return this.#core?.path ?? this.#settings.name;
  }

  /** `"new"` until it is started, `"stopping"` from the moment it ends its children for good. */
  get state(): TreeState {
    return this.#core?.state ?? "new";
  }

  /** @ignore */
  get isSupervisor(): boolean {
    return true;
  }

  // -- Its life --

  /**
   * Starts the children in order, each when the one before is ready, and waits until
   * all are. All or nothing: if one fails to start, those that run are stopped in
   * reverse order.
   *
   * From then on the supervisor does its work in a task of its own, until
   * {@linkcode stop}, the end of the run, or an end of its own accord. Cancelling the
   * wait stops it, and ends with the stop.
   *
   * @returns An operation that ends when all children are ready.
   * @throws {MisuseError} If it was started before.
   * @throws {ChildStartError} If a child has failed to start.
   */
  start(): Operation<void> {
    return new Operation(() => this.#start(), { name: "Supervisor.start()" });
  }

  *#start(): Coroutine<void> {
    const task = this.#launch(getRunningLoop(), null);
    yield* task.ready;
  }

  #launch(loop: EventLoop, host: ChildHost | null): SupervisorTask {
    if (this.#task !== null) {
      throw new MisuseError(
        `Cannot start supervisor "${this.name}": it has been started before, make a new one`,
      );
    }
    return this.#task = new SupervisorTask(
      loop,
      this.#settings,
      this.#children,
      this.#feed,
      host,
      this,
    );
  }

  get #core(): SupervisorCore | null {
    return this.#task === null ? null : this.#task.core;
  }

  /**
   * Starts it, and waits until it has ended. For a supervisor that is all that a
   * program or a task does: cancelling the wait stops it.
   *
   * @returns An operation that ends when the supervisor and all its children have.
   * @throws {MisuseError} If it was started before.
   * @throws {ChildStartError} If a child has failed to start.
   * @throws {RestartLimitError} If it has given up.
   */
  run(): Operation<void> {
    return new Operation(() => this.#run(), { name: "Supervisor.run()" });
  }

  *#run(): Coroutine<void> {
    yield* this.#launch(getRunningLoop(), null);
  }

  /**
   * Waits until it has ended, with all its children, and leaves it alone if the wait is
   * cancelled.
   *
   * @returns An operation that ends when the supervisor and all its children have.
   * @throws {MisuseError} If it was not started.
   * @throws {ChildStartError} If it has ended as a child has failed to start.
   * @throws {RestartLimitError} If it has given up. If nobody waits for it at that
   * moment, the error is reported to the exception handler of the loop as well.
   * @throws {CancelledError} If its end was a cancellation, whose reason it does not have.
   */
  join(): Operation<void> {
    return new Operation(() => this.#join(), { name: "Supervisor.join()" });
  }

  *#join(): Coroutine<void> {
    yield* shield(this.#started("wait for"));
  }

  #started(what: string): SupervisorTask {
    const task = this.#task;
    if (task !== null) return task;
    throw new MisuseError(
      `Cannot ${what} supervisor "${this.name}": it has not been started`,
    );
  }

  /**
   * Stops the children in reverse start order, each when the one before has ended, and
   * ends. Messages in the mailbox are served before.
   *
   * A start that goes on is waited for, but for no longer than the child may take to
   * end. A supervisor that is itself starting goes on to start all its children first, as
   * in OTP. Does nothing if the supervisor was not started, and waits with the others if
   * it is ending already. Cancelling the wait does not take it back.
   *
   * @returns An operation that ends when all children have ended. How the supervisor
   * has ended is told by {@linkcode join}.
   */
  stop(): Operation<void> {
    return new Operation(() => this.#stop(), { name: "Supervisor.stop()" });
  }

  *#stop(): Coroutine<void> {
    const core = this.#core;
    if (core === null || core.state === "ended") return;
    core.stop();
    yield* core.whenEnded();
  }

  /**
   * The same as {@linkcode stop}.
   *
   * @returns An operation that ends when all children have ended.
   */
  close(): Operation<void> {
    return this.stop();
  }

  /**
   * The same as {@linkcode stop}.
   *
   * @returns A promise that resolves when all children have ended.
   */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  /**
   * Waits until it has nothing to do: no child is being started or stopped, no delay of a
   * restart runs, and no call waits. For tests. Restarts that wait for the end of an
   * abandoned run are not waited for, and supervisors under it are not looked into.
   *
   * @returns An operation.
   * @throws {MisuseError} If it was not started.
   */
  settled(): Operation<void> {
    return new Operation(() => this.#settle(), {
      name: "Supervisor.settled()",
    });
  }

  *#settle(): Coroutine<void> {
    const { core } = this.#started("wait for");
    while (!core.isSettled) yield* shield(core.whenSettled());
  }

  // -- Calls --

  /**
   * Makes the operation of a call.
   *
   * @ignore
   */
  protected call<T, A>(
    options: OperationOptions,
    make: (loop: EventLoop, argument: A) => Call<T>,
    argument: A,
  ): Operation<T> {
    return new CallOperation(options, this.#find, make, argument);
  }

  /**
   * Lists the children, the newest first.
   *
   * Served in its turn, like all calls: while the supervisor starts or stops a child,
   * calls wait, first in, first out. Cancelling the wait withdraws a call that has not
   * been reached; one that is being served goes on, and its answer is dropped. Takes time
   * in proportion to the number of children.
   *
   * @returns An operation of the list.
   * @throws {SupervisorEndedError} If the supervisor has ended, or ends before.
   */
  whichChildren(): Operation<ChildInfo[]> {
    return this.call(WHICH, (loop) => new WhichChildrenCall(loop), null);
  }

  /**
   * Counts the children. Served in its turn, in time in proportion to their number.
   *
   * @returns An operation of the counts.
   * @throws {SupervisorEndedError} If the supervisor has ended, or ends before.
   */
  countChildren(): Operation<ChildCounts> {
    return this.call(COUNT, (loop) => new CountChildrenCall(loop), null);
  }

  // -- Watching it --

  /**
   * Begins to collect events: of starts, ends and restarts, from now on. It may be
   * called before the start.
   *
   * @param options How many events are kept for a slow consumer.
   * @returns An iteration, for `for await` and {@linkcode each}, that ends with the
   * supervisor.
   * @throws {TypeError} If an option is of the wrong type.
   * @throws {RangeError} If `capacity` is not a whole number > 0.
   */
  events(options: SupervisorEventsOptions = {}): SupervisorEvents {
    const what = "listen to a supervisor";
    checkOptions(options, what);
    const { capacity = EVENTS_KEPT } = options;
    checkInteger(capacity, 1, what, "capacity");
    return this.#feed.iterate(capacity);
  }

  /**
   * Has a function called with each event, at the moment of the event. An error that it
   * throws is reported to the exception handler of the loop, and changes nothing.
   *
   * @param listener Function to call. It must not wait.
   * @returns A disposable that ends it.
   * @throws {TypeError} If `listener` is not a function.
   */
  subscribe(listener: SupervisorListener): Disposable {
    checkFunction(listener, "listen to a supervisor", "listener");
    return this.#feed.subscribe(listener);
  }

  /**
   * Returns the supervisor and its children as they are now, with all supervisors
   * under it. `String(tree)` shows it in lines.
   *
   * @returns A snapshot.
   */
  tree(): SupervisorTree {
    if (this.#core !== null) return treeOf(this.#core, insideOf);
    const { name, strategy } = this.#settings;
    return new SupervisorTree(name, strategy, "new", 0, []);
  }

  /**
   * Starts it under another supervisor, which calls this.
   *
   * @param host The supervisor above.
   * @returns The means to end it.
   */
  [supervised](host: ChildHost): ChildControl {
    const task = this.#launch(host.loop, host);
    const { core } = task;
    // The supervisor above is told of the end otherwise.
    task.addDoneCallback(() => task.look());
    return {
      stop: () => core.stop(),
      kill: () => core.kill(),
      hurry: () => core.hurry(),
    };
  }
}

/** The tree under a child that is a supervisor. */
function insideOf(value: unknown): SupervisorTree | null {
  return value instanceof SupervisorBase ? value.tree() : null;
}
