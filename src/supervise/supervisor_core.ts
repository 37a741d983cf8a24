/**
 * The inside of a supervisor: its mailbox, its state, and what it does when a child
 * has ended.
 *
 * A supervisor is a task that does one thing at a time. Calls, ends of children and
 * restarts that are due wait in its mailbox while it starts or stops a child, and are
 * served first in, first out: that is what makes OTP's rules unambiguous.
 *
 * @module
 */
import {
  CancelledError,
  RestartLimitError,
  SupervisorEndedError,
} from "../errors.ts";
import { cancellation } from "../loop/cancellation.ts";
import { core as coreKey } from "../loop/core.ts";
import type { EventLoop } from "../loop/event_loop.ts";
import { Future } from "../loop/future.ts";
import type { Coroutine } from "../loop/task_body.ts";
import type { Task } from "../loop/task.ts";
import { RingBuffer } from "../structures/ring_buffer.ts";
import type { Child } from "./child.ts";
import {
  isAbnormal,
  isByShutdown,
  KILLED_END,
  SHUTDOWN_END,
  SHUTDOWN_REASON,
} from "./child_end.ts";
import type { RunOwner, SupervisedRun } from "./child_run.ts";
import type { Children } from "./children.ts";
import type { Leftover } from "./leftover.ts";
import { Leftovers } from "./leftovers.ts";
import type { Message } from "./mailbox.ts";
import { Restarts } from "./restarts.ts";
import { startAll } from "./strategy.ts";
import { stopAtOnce, stopInOrder } from "./stopping.ts";
import type { ChildHost } from "./supervised.ts";
import type {
  ChildEvent,
  EventFeed,
  SupervisorEvent,
} from "./supervisor_events.ts";
import type { SupervisorSettings } from "./supervisor_options.ts";

/** Messages that are served before the loop gets a turn, if it needs one. */
const BATCH = 32;

/** State of a supervisor. */
export type SupervisorState = "starting" | "running" | "stopping" | "ended";

/** Waits of a supervisor for something to happen to its children or in its mailbox. */
class Change extends Future<void> {}

/** Message that ends the supervisor. */
class Stop implements Message {
  serve(core: SupervisorCore): null {
    core.endNow();
    return null;
  }

  refuse(): void {
    // Nothing to do.
  }
}

/** A supervisor that was started. */
export class SupervisorCore implements RunOwner {
  readonly loop: EventLoop;
  readonly path: string;
  /** The task in which it does its work. */
  readonly task: Task<unknown>;
  readonly settings: SupervisorSettings;
  readonly children: Children;
  readonly restarts: Restarts;
  readonly feed: EventFeed;
  /** The supervisor above; null if there is none. */
  readonly #host: ChildHost | null;
  /** Object that the supervisor above is handed. */
  readonly #facade: unknown;
  readonly #mailbox: RingBuffer<Message> = new RingBuffer();
  readonly #leftovers: Leftovers;

  state: SupervisorState = "starting";
  /** The error by which it ends; null if there is none. */
  failure: Error | null = null;
  /** Whether all children are to be killed. */
  isKilled = false;
  /** Whether a stop waits for a start. */
  hurries = false;
  /** The run whose start is being waited for. */
  starting: SupervisedRun | null = null;
  /** Ends that were asked for and have not come. */
  awaitedEnds = 0;
  #cancelled: { readonly reason: unknown } | null = null;
  /** The last wait for a message. */
  #idle: Change | null = null;
  /** Whether it waits for a message, or is about to find one. */
  #isParked = false;
  /** Whether a call is being served in the step of its caller. */
  #isServing = false;
  /** The rest of such a call. */
  #rest: Coroutine<void> | null = null;
  /** The wait for something else, while a message is being served. */
  #change: Change | null = null;
  /** Done when there is nothing to do and nothing is planned; null if nobody waits for that. */
  #settled: Future<void> | null = null;
  #stopError: CancelledError | null = null;
  /** Done when it has ended; null if nobody waits for that. */
  #enders: Future<void>[] | null = null;

  constructor(
    task: Task<unknown>,
    settings: SupervisorSettings,
    children: Children,
    feed: EventFeed,
    host: ChildHost | null,
    facade: unknown,
  ) {
    this.task = task;
    this.loop = task.loop;
    this.settings = settings;
    this.path = host === null ? settings.name : host.path;
    this.feed = feed;
    this.#host = host;
    this.#facade = facade;
    this.children = children;
    this.restarts = new Restarts(this);
    this.#leftovers = new Leftovers(this, settings.strategy !== "dynamic");
  }

  // -- Its life --

  /** Body of its task. Calls `ready` when all children are. */
  *main(ready: () => void): Coroutine<void> {
    const failure = yield* startAll(this);
    if (failure !== null) this.failure = failure;
    else if (!this.endsWithTree && !this.isKilled) {
      this.state = "running";
      this.#tell("supervisor-started");
      ready();
      this.#host?.started(this.#facade);
      yield* this.#serve();
    }
    this.state = "stopping";
    yield* this.settings.strategy === "dynamic"
      ? stopAtOnce(this)
      : stopInOrder(this);
    this.#end();
    if (this.#cancelled !== null && this.failure === null) {
      throw cancellation(this.#cancelled.reason);
    }
    if (this.failure !== null) throw this.failure;
  }

  /** Serves messages until it is to end. */
  *#serve(): Coroutine<void> {
    let served = 0;
    while (this.state === "running") {
      const rest = this.#rest;
      if (rest !== null) {
        this.#rest = null;
        yield* rest;
        continue;
      }
      const message = this.#mailbox.shift();
      if (message === undefined) {
        yield* this.#untilPosted();
        served = 0;
        continue;
      }
      const work = message.serve(this);
      if (work !== null) yield* work;
      if (++served % BATCH === 0 && this.isTimeToYield()) yield;
    }
  }

  *#untilPosted(): Coroutine<void> {
    const idle = this.#idle = new Change(this.loop, "a message");
    this.#isParked = true;
    this.#checkSettled();
    yield* idle;
    this.#isParked = false;
  }

  /** All children have ended: refuses what is left in the mailbox. */
  #end(): void {
    this.state = "ended";
    for (;;) {
      const message = this.#mailbox.shift();
      if (message === undefined) break;
      message.refuse(this);
    }
    if (this.#settled?.done() === false) this.#settled.setResult();
    this.#tell("supervisor-ended", this.failure ?? undefined);
    this.feed.end();
    this.#tellHost();
    for (const ender of this.#enders ?? []) {
      if (!ender.done()) ender.setResult();
    }
  }

  #tellHost(): void {
    const host = this.#host;
    if (host === null) return;
    const leftover = this.#leftovers.whenOver();
    const { failure } = this;
    if (this.isKilled) host.ended(KILLED_END, leftover);
    else if (failure instanceof RestartLimitError) {
      if (this.settings.reportCrashes) this.report(failure.message, failure);
      host.ended({ kind: "shutdown", reason: failure }, leftover);
    } else if (failure !== null) {
      host.ended({ kind: "crash", error: failure }, leftover);
    } else if (this.#cancelled !== null) {
      host.ended(
        { kind: "cancelled", reason: this.#cancelled.reason },
        leftover,
      );
    } else host.ended(SHUTDOWN_END, leftover);
  }

  /** Ends it after the message that is being served. */
  endNow(): void {
    if (this.state === "running") this.state = "stopping";
  }

  /** Asks it to end, in its turn. */
  stop(): void {
    if (this.endsWithTree && this.starting?.request === "nothing") {
      this.starting.stop();
    }
    this.post(new Stop());
    this.hurry();
  }

  get endsWithTree(): boolean {
    return this.#cancelled !== null || this.#host?.endsWithTree === true;
  }

  get isRestarting(): boolean {
    return this.#host?.isRestarting === true;
  }

  /** Whether it has a supervisor that ends it in its turn. */
  get isEndedByHost(): boolean {
    return this.#host?.endsWithTree === true;
  }

  /** Ends it as soon as possible, in order: its task is cancelled. */
  cancel(reason: unknown): void {
    if (this.#cancelled !== null) return;
    this.#cancelled = { reason };
    this.stop();
  }

  /** Kills all children, and ends. */
  kill(): void {
    if (this.isKilled) return;
    this.isKilled = true;
    for (
      let child = this.children.list.first;
      child !== undefined;
      child = child.nextNode
    ) {
      if (child.run !== null && child.run.end === null) child.run.kill();
    }
    this.post(new Stop());
    this.hurry();
  }

  /** A stop waits for a start that goes on, which is given its shutdown time. */
  hurry(): void {
    this.hurries = true;
    this.#notify();
  }

  // -- Its mailbox and its waits --

  /** Adds a message. */
  post(message: Message): void {
    if (this.state === "ended") {
      message.refuse(this);
      return;
    }
    this.#mailbox.push(message);
    if (!this.#isServing) this.#wake();
  }

  /**
   * Adds a call. If nothing else is being done, serves it now, in the step of the
   * caller, with the messages before it.
   */
  serveOrPost(call: Message): void {
    if (!this.#isParked || this.#isServing || this.state === "ended") {
      this.post(call);
      return;
    }
    this.#mailbox.push(call);
    this.#isServing = true; // what comes meanwhile joins the mailbox
    try {
      for (let left = BATCH; left > 0 && this.#mayServe; left--) {
        this.#rest = this.#mailbox.shift()!.serve(this);
      }
    } finally {
      this.#isServing = false;
      if (this.#hasWork) this.#wake();
      this.#checkSettled();
    }
  }

  /** Whether its task has something to do, other than to wait for a message. */
  get #hasWork(): boolean {
    return this.#rest !== null || this.#mailbox.length > 0 ||
      this.state !== "running";
  }

  /** Whether a message can be served in the step of a caller. */
  get #mayServe(): boolean {
    return this.#rest === null && this.state === "running" &&
      this.#mailbox.length > 0;
  }

  #wake(): void {
    if (this.#idle?.done() === false) this.#idle.setResult();
  }

  /** Wait for the next change of a child that is being started or stopped. */
  change(label: string): Future<void> {
    return this.#change = new Change(this.loop, label);
  }

  #notify(): void {
    if (this.#change?.done() === false) this.#change.setResult();
  }

  /** Whether nothing is being done, waits to be done, or is planned. */
  get isSettled(): boolean {
    if (this.state === "ended") return true;
    return this.#isParked && !this.#isServing && this.#mailbox.length === 0 &&
      this.#rest === null && this.state === "running" &&
      this.restarts.delays.running === 0;
  }

  #checkSettled(): void {
    if (this.#settled?.done() === false && this.isSettled) {
      this.#settled.setResult();
    }
  }

  /** Future that is done as soon as it is settled. */
  whenSettled(): Future<void> {
    if (this.#settled === null || this.#settled.done()) {
      this.#settled = new Future(
        this.loop,
        `supervisor "${this.path}" to be settled`,
      );
    }
    return this.#settled;
  }

  /** Future that is done as soon as it has ended. */
  whenEnded(): Future<void> {
    const future = new Future<void>(
      this.loop,
      `supervisor "${this.path}" to end`,
    );
    (this.#enders ??= []).push(future);
    return future;
  }

  isTimeToYield(): boolean {
    return this.loop[coreKey].isTimeToYield();
  }

  /** The error of a call that is not served. */
  endedError(): SupervisorEndedError {
    return new SupervisorEndedError(
      `Cannot call supervisor "${this.path}": it has ended`,
    );
  }

  // -- Its children --

  /** Error by which it asks children to end: the same for all, as making one is most of the cost of a cancellation. */
  stopError(): CancelledError {
    return this.#stopError ??= new CancelledError(SHUTDOWN_REASON);
  }

  runStarted(run: SupervisedRun): void {
    if (this.feed.isHeard) this.emit("started", run);
    this.#notify();
  }

  runEnded(run: SupervisedRun): void {
    const end = run.end!;
    run.child.lastEnd = end;
    if (this.feed.isHeard) this.#emitEnd(run);
    if (run.outcome !== "started") {
      this.#notify();
      return;
    }
    if (end.kind === "crash") this.#reportCrash(run, end.error);
    if (!run.isAwaited) this.post(run);
    else if (--this.awaitedEnds === 0) this.#notify();
  }

  #emitEnd(run: SupervisedRun): void {
    if (run.outcome === "started") this.emit("ended", run, { end: run.end! });
    else if (run.outcome === "ignored") this.emit("ignored", run);
    else this.emit("start-failed", run, { error: run.startError });
  }

  #reportCrash(run: SupervisedRun, error: unknown): void {
    if (!this.settings.reportCrashes) return;
    this.report(`Child "${run.path}" has crashed`, error);
  }

  #reportSilentExit(run: SupervisedRun): void {
    if (!this.settings.reportCrashes) return;
    this.report(`Child "${run.path}" has ended, and is to run for ever`);
  }

  runLeft(run: SupervisedRun, leftover: Leftover): void {
    this.#leftovers.add(run, leftover);
    const { waitsFor } = leftover;
    if (waitsFor === undefined) return;
    if (this.feed.isHeard) this.emit("abandoned", run, { waitsFor });
    this.report(
      `Child "${run.path}" was abandoned: it was asked to end and still waits for ${waitsFor}`,
    );
  }

  /** Abandoned runs of a child that go on, the oldest first; `undefined` if there are none. */
  leftoversOf(child: Child): readonly Leftover[] | undefined {
    return this.#leftovers.of(child);
  }

  /** Whether a child must not be started, as an abandoned run of it goes on. */
  isHeldUp(child: Child): boolean {
    return this.#leftovers.of(child) !== undefined &&
      !child.settings.allowOverlap;
  }

  serveEnd(run: SupervisedRun): Coroutine<void> | null {
    if (run.isHandled) return null;
    run.isHandled = true;
    const { child } = run;
    const { restart } = child.settings;
    if (
      restart === "permanent" && !isByShutdown(run.end!, this.loop) ||
      restart === "transient" && isAbnormal(run.end!)
    ) {
      if (run.end!.kind === "normal") this.#reportSilentExit(run);
      return this.restarts.handleFailure(run);
    }
    this.children.settle(child);
    this.#shutDownWith(child);
    return null;
  }

  /** A child has ended and is not restarted: ends the supervisor, if that is a reason to. */
  #shutDownWith(child: Child): void {
    if (!child.settings.significant) return;
    const { autoShutdown } = this.settings;
    if (autoShutdown === "never") return;
    if (autoShutdown === "all-significant" && this.children.significant > 0) {
      return;
    }
    this.#tell("auto-shutdown");
    this.endNow();
  }

  /** A restart has failed at a child. */
  restartFailed(run: SupervisedRun): void {
    const { child, startError } = run;
    if (this.endsWithTree || isByShutdown(run.end!, this.loop)) {
      this.children.settle(child);
      return;
    }
    if (this.settings.reportCrashes && !this.isHeldUp(child)) {
      this.report(`Child "${run.path}" could not be restarted`, startError);
    }
    this.restarts.tryAgain(run);
  }

  /** A child needed one restart too many. */
  giveUp(child: Child, error: RestartLimitError): void {
    this.children.settle(child);
    this.failure = error;
    this.#tell("restart-limit", error);
    this.endNow();
  }

  // -- Telling --

  /** Calls the listeners with an event of a child. To be called only if there are any. */
  emit(
    type: ChildEvent["type"],
    run: SupervisedRun,
    more: Partial<ChildEvent> = {},
  ): void {
    this.feed.emit(this.loop, {
      type,
      supervisor: this.path,
      childId: run.id,
      run,
      atMs: this.loop.time(),
      ...more,
    });
  }

  #tell(
    type: Exclude<SupervisorEvent["type"], ChildEvent["type"]>,
    error?: unknown,
  ): void {
    if (!this.feed.isHeard) return;
    this.feed.emit(this.loop, {
      type,
      supervisor: this.path,
      atMs: this.loop.time(),
      ...(error === undefined ? {} : { error }),
    });
  }

  /** Calls the exception handler of the loop. */
  report(message: string, ...rest: [exception: unknown] | []): void {
    this.loop.callExceptionHandler({
      message,
      name: this.path,
      ...(rest.length === 0 ? {} : { exception: rest[0] }),
    });
  }
}
