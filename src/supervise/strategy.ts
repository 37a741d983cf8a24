/**
 * Strategies: who is restarted with a child, and how.
 *
 * @module
 */
import type { Coroutine } from "../loop/task_body.ts";
import type { Child } from "./child.ts";
import type { SupervisedRun } from "./child_run.ts";
import { beginStart, startErrorOf, untilStarted } from "./starting.ts";
import { terminate } from "./stopping.ts";
import type { SupervisorCore } from "./supervisor_core.ts";

/** Children that are started before the loop gets a turn, if it needs one. */
const BATCH = 32;

/** Starts the children in order; returns the error of the one that has failed, null if none has or all are being ended. */
export function* startAll(core: SupervisorCore): Coroutine<Error | null> {
  let started = 0;
  let child = core.children.list.first;
  while (child !== undefined) {
    if (core.endsWithTree || core.isKilled) return null;
    const next: Child | undefined = child.nextNode;
    const run = beginStart(core, child);
    if (run.outcome === null) yield* untilStarted(core, run);
    if (run.outcome === "failed") {
      return core.endsWithTree ? null : startErrorOf(run);
    }
    settleStart(core, run);
    if (++started % BATCH === 0 && core.isTimeToYield()) yield;
    child = next;
  }
  return null;
}

/** Notes a start that has not failed. */
export function settleStart(core: SupervisorCore, run: SupervisedRun): void {
  const { child } = run;
  if (run.outcome === "started") {
    child.lastStarted = run;
    core.children.setStatus(child, "running");
  } else core.children.settle(child);
}

/** Restarts a child alone. Returns a coroutine if that takes time. */
export function restartOne(
  core: SupervisorCore,
  child: Child,
): Coroutine<void> | null {
  const run = beginStart(core, child);
  if (run.outcome === null) return restartSlowly(core, run);
  settleRestart(core, run);
  return null;
}

function* restartSlowly(
  core: SupervisorCore,
  run: SupervisedRun,
): Coroutine<void> {
  yield* untilStarted(core, run);
  settleRestart(core, run);
}

function settleRestart(core: SupervisorCore, run: SupervisedRun): void {
  if (run.outcome === "failed") core.restartFailed(run);
  else settleStart(core, run);
}

/**
 * Restarts a child and its siblings: ends those that run in reverse order, and starts
 * all in order, also those that did not run. Temporary siblings are dropped. The
 * first that cannot be started is tried again later, with its own group.
 *
 * @param first The first child of the group; it reaches to the last one.
 */
export function* restartGroup(
  core: SupervisorCore,
  child: Child,
  first: Child,
): Coroutine<void> {
  yield* endGroup(core, child, first);
  let next: Child | undefined = core.settings.strategy === "one-for-all"
    ? core.children.list.first
    : child;
  let started = 0;
  while (next !== undefined) {
    if (core.endsWithTree || core.isKilled) return;
    const run = beginStart(core, next);
    if (run.outcome === null) yield* untilStarted(core, run);
    settleRestart(core, run);
    if (run.outcome === "failed") return;
    if (++started % BATCH === 0 && core.isTimeToYield()) yield;
    next = next.nextNode;
  }
}

function* endGroup(
  core: SupervisorCore,
  child: Child,
  first: Child,
): Coroutine<void> {
  const { children } = core;
  let sibling = children.list.last;
  while (sibling !== undefined) {
    const previous: Child | undefined = sibling.previousNode;
    if (sibling.run !== null && !sibling.isTemporary) {
      sibling.run.endsWithGroup = true;
    }
    // The child itself has ended, which is being dealt with.
    const work = terminate(core, sibling);
    if (work !== null) yield* work;
    if (sibling === child) children.setStatus(child, "stopped");
    else children.settle(sibling);
    if (sibling === first) return;
    sibling = previous;
  }
}
