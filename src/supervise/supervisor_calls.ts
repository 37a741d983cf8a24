/**
 * Calls of a supervisor: messages with an answer.
 *
 * @module
 */
import { ChildStateError, type ChildStateProblem } from "../errors.ts";
import { Future } from "../loop/future.ts";
import type { EventLoop } from "../loop/event_loop.ts";
import type { Coroutine } from "../loop/task_body.ts";
import { Child } from "./child.ts";
import type { ChildRun, SupervisedRun } from "./child_run.ts";
import { checkSignificance, type ChildType } from "./child_spec.ts";
import type { Message } from "./mailbox.ts";
import { beginStart, startErrorOf, untilStarted } from "./starting.ts";
import { terminate } from "./stopping.ts";
import { settleStart } from "./strategy.ts";
import type { SupervisorCore } from "./supervisor_core.ts";

/** Description of a child, from {@linkcode Supervisor.whichChildren}. */
export interface ChildInfo {
  /** Id of the child. */
  readonly id: string;
  /** `"stopped"` if it does not run and is not about to: it ended, was terminated, or its start was ignored. */
  readonly status: "running" | "restarting" | "stopped";
  /** Whether it is a supervisor. */
  readonly type: ChildType;
  /** Run of the child; that before, while it waits for its restart; `null` if it is stopped. */
  readonly run: ChildRun | null;
}

/** Counts of children, from {@linkcode Supervisor.countChildren}. */
export interface ChildCounts {
  /** Children that are known; for a dynamic supervisor always 1. */
  readonly specs: number;
  /** Children that run. */
  readonly active: number;
  /** Children that are supervisors, whether they run or not. */
  readonly supervisors: number;
  /** All other children, whether they run or not. */
  readonly workers: number;
}

/** Call that waits for its answer. A caller that is cancelled withdraws it, unless it is being served. */
export abstract class Call<T> extends Future<T> implements Message {
  constructor(loop: EventLoop, name: string) {
    super(loop, name);
  }

  serve(core: SupervisorCore): Coroutine<void> | null {
    return this.done() ? null : this.perform(core);
  }

  /** Does it; returns a coroutine if that takes time. */
  protected abstract perform(core: SupervisorCore): Coroutine<void> | null;

  refuse(core: SupervisorCore): void {
    this.deny(core.endedError());
  }

  protected reply(value: T): void {
    if (!this.done()) this.setResult(value);
  }

  protected deny(error: unknown): void {
    if (!this.done()) this.setException(error);
  }
}

/** The error of a call that the state of a child does not allow. */
export function refusal(
  core: SupervisorCore,
  what: string,
  id: string,
  problem: ChildStateProblem,
): ChildStateError {
  return new ChildStateError(
    `Cannot ${what} child "${core.path}/${id}": ${STATES[problem]}`,
    problem,
    id,
  );
}

const STATES: Readonly<Record<ChildStateProblem, string>> = {
  "not-found": "there is none of this id",
  "running": "it is running",
  "restarting": "it is restarting",
  "already-started": "there is one of this id, which runs",
  "already-present": "there is one of this id, which does not run",
  "dynamic":
    "the children of a dynamic supervisor are named by their runs, and forgotten when they have ended",
  "max-children": "there are as many as there may be",
  "abandoned": "an earlier run of it was abandoned and goes on",
};

/** Call that starts a child, new or not. */
abstract class StartCall extends Call<ChildRun | undefined> {
  /** Starts a child that does not run. */
  protected start(core: SupervisorCore, child: Child): Coroutine<void> | null {
    const run = beginStart(core, child);
    if (run.outcome === null) return this.startSlowly(core, run);
    this.answer(core, run);
    return null;
  }

  // No `#` methods: they would cost each call a brand.

  private *startSlowly(
    core: SupervisorCore,
    run: SupervisedRun,
  ): Coroutine<void> {
    yield* untilStarted(core, run);
    this.answer(core, run);
  }

  private answer(core: SupervisorCore, run: SupervisedRun): void {
    if (run.outcome === "failed") {
      this.forget(core, run.child);
      this.deny(startErrorOf(run));
      return;
    }
    settleStart(core, run);
    this.reply(run.outcome === "started" ? run : undefined);
  }

  /** Called when the start has failed. */
  protected abstract forget(core: SupervisorCore, child: Child): void;
}

/** `startChild` of a supervisor. */
export class StartChildCall extends StartCall {
  readonly #child: Child;

  constructor(loop: EventLoop, child: Child) {
    super(loop, "Supervisor.startChild()");
    this.#child = child;
  }

  protected override perform(core: SupervisorCore): Coroutine<void> | null {
    const child = this.#child;
    const { id } = child;
    try {
      checkSignificance(
        child.settings,
        id,
        core.settings.autoShutdown,
        "start a child",
      );
    } catch (error) {
      this.deny(error);
      return null;
    }
    const known = core.children.find(id);
    if (known !== undefined) {
      const problem = known.status === "running"
        ? "already-started"
        : "already-present";
      this.deny(refusal(core, "start", id, problem));
      return null;
    }
    core.children.add(child);
    return this.start(core, child);
  }

  protected override forget(core: SupervisorCore, child: Child): void {
    core.children.drop(child);
  }
}

/** `startChild` of a dynamic supervisor. */
export class StartDynamicCall extends StartCall {
  // Declared here and assigned in the constructor: a super() call that defines fields
  // costs 10 ns more.
  declare private readonly child: Child;

  constructor(loop: EventLoop, child: Child) {
    super(loop, "DynamicSupervisor.startChild()");
    this.child = child;
  }

  protected override perform(core: SupervisorCore): Coroutine<void> | null {
    const { child } = this;
    if (core.children.size >= core.settings.maxChildren) {
      this.deny(refusal(core, "start", child.id, "max-children"));
      return null;
    }
    core.children.add(child);
    return this.start(core, child);
  }

  protected override forget(core: SupervisorCore, child: Child): void {
    core.children.drop(child);
  }
}

/** `restartChild`. */
export class RestartChildCall extends StartCall {
  readonly #id: string;

  constructor(loop: EventLoop, id: string) {
    super(loop, "Supervisor.restartChild()");
    this.#id = id;
  }

  protected override perform(core: SupervisorCore): Coroutine<void> | null {
    const child = findStopped(core, "restart", this.#id);
    if (child instanceof Child) return this.start(core, child);
    this.deny(child);
    return null;
  }

  protected override forget(): void {
    // The child stays as it was.
  }
}

/** `deleteChild`. */
export class DeleteChildCall extends Call<void> {
  readonly #id: string;

  constructor(loop: EventLoop, id: string) {
    super(loop, "Supervisor.deleteChild()");
    this.#id = id;
  }

  protected override perform(core: SupervisorCore): null {
    const child = findStopped(core, "delete", this.#id);
    if (child instanceof Child) {
      core.children.drop(child);
      this.reply();
    } else this.deny(child);
    return null;
  }
}

/** The child of an id, which has to be stopped; else the error. */
function findStopped(
  core: SupervisorCore,
  what: string,
  id: string,
): Child | ChildStateError {
  if (core.settings.strategy === "dynamic") {
    return refusal(core, what, id, "dynamic");
  }
  const child = core.children.find(id);
  if (child === undefined) return refusal(core, what, id, "not-found");
  return child.status === "stopped"
    ? child
    : refusal(core, what, id, child.status);
}

/** Call that ends a child. */
abstract class EndCall extends Call<void> {
  protected end(core: SupervisorCore, child: Child): Coroutine<void> | null {
    const wasDue = child.status === "restarting" && child.delay === null;
    const work = terminate(core, child);
    if (work !== null) return this.#wait(core, child, work);
    this.#settle(core, child);
    if (wasDue) core.restarts.passOn();
    return null;
  }

  *#wait(
    core: SupervisorCore,
    child: Child,
    work: Coroutine<void>,
  ): Coroutine<void> {
    yield* work;
    this.#settle(core, child);
  }

  #settle(core: SupervisorCore, child: Child): void {
    core.children.settle(child);
    this.reply();
  }
}

/** `terminateChild` of a supervisor. */
export class TerminateChildCall extends EndCall {
  readonly #id: string;

  constructor(loop: EventLoop, id: string) {
    super(loop, "Supervisor.terminateChild()");
    this.#id = id;
  }

  protected override perform(core: SupervisorCore): Coroutine<void> | null {
    const isDynamic = core.settings.strategy === "dynamic";
    const child = core.children.find(this.#id);
    if (child !== undefined) return this.end(core, child);
    const problem = isDynamic ? "dynamic" : "not-found";
    this.deny(refusal(core, "terminate", this.#id, problem));
    return null;
  }
}

/** `terminateChild` of a dynamic supervisor. */
export class TerminateRunCall extends EndCall {
  readonly #run: SupervisedRun;

  constructor(loop: EventLoop, run: SupervisedRun) {
    super(loop, "DynamicSupervisor.terminateChild()");
    this.#run = run;
  }

  protected override perform(core: SupervisorCore): Coroutine<void> | null {
    const run = this.#run;
    const { child } = run;
    if (run.owner !== core) {
      this.deny(refusal(core, "terminate", run.id, "not-found"));
    } // A child that is gone, or was restarted since, is left alone.
    else if (child.list === undefined || !isLastRun(run)) this.reply();
    else return this.end(core, child);
    return null;
  }
}

/** Whether no later run of its child was started, or those that were have failed. */
function isLastRun(run: SupervisedRun): boolean {
  return run.child.lastStarted === run;
}

/** `whichChildren`: the newest child first. */
export class WhichChildrenCall extends Call<ChildInfo[]> {
  constructor(loop: EventLoop) {
    super(loop, "Supervisor.whichChildren()");
  }

  protected override perform(core: SupervisorCore): null {
    const infos: ChildInfo[] = [];
    for (
      let child = core.children.list.last;
      child !== undefined;
      child = child.previousNode
    ) {
      const { id, status, settings: { type } } = child;
      const run = status === "stopped" ? null : child.lastStarted;
      infos.push({ id, status, type, run });
    }
    this.reply(infos);
    return null;
  }
}

/** `countChildren`. */
export class CountChildrenCall extends Call<ChildCounts> {
  constructor(loop: EventLoop) {
    super(loop, "Supervisor.countChildren()");
  }

  protected override perform(core: SupervisorCore): null {
    const { children } = core;
    const isDynamic = core.settings.strategy === "dynamic";
    let active = 0;
    let supervisors = 0;
    for (
      let child = children.list.first;
      child !== undefined;
      child = child.nextNode
    ) {
      // In a static supervisor a child that has died does not count, though its end
      // was not handled yet; in a dynamic one, as in OTP, it does.
      if (
        child.status === "running" && (isDynamic || child.run!.end === null)
      ) active++;
      if (child.settings.type === "supervisor") supervisors++;
    }
    this.reply({
      specs: isDynamic ? 1 : children.size,
      active,
      supervisors,
      workers: children.size - supervisors,
    });
    return null;
  }
}
