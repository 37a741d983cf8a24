/**
 * Ending children: one after the other, or all at once.
 *
 * @module
 */
import type { TimerHandle } from "../loop/timer_handle.ts";
import type { Coroutine } from "../loop/task_body.ts";
import type { Child } from "./child.ts";
import type { SupervisedRun } from "./child_run.ts";
import type { ShutdownType } from "./child_spec.ts";
import type { SupervisorCore } from "./supervisor_core.ts";

/** Children that are asked to end before the loop gets a turn, if it needs one. */
const BATCH = 32;

/**
 * Has a child not run, nor be about to. Returns a coroutine if that takes time. The
 * end of a child that is dead already is dealt with by this.
 */
export function terminate(
  core: SupervisorCore,
  child: Child,
): Coroutine<void> | null {
  if (child.status === "restarting") core.restarts.delays.leave(child);
  if (child.status !== "running") return null;
  const run = child.run!;
  run.isHandled = true;
  if (run.end !== null) return null;
  askToEnd(core, run);
  return core.awaitedEnds === 0
    ? null
    : untilEnded(core, run.child.settings.shutdown, run);
}

/** Something that can be killed. */
interface Killable {
  kill(): void;
}

function killIt(target: Killable): void {
  target.kill();
}

/** Begins to end a run. */
function askToEnd(core: SupervisorCore, run: SupervisedRun): void {
  run.isHandled = true;
  run.isAwaited = true;
  core.awaitedEnds++;
  if (run.child.settings.shutdown === "brutal-kill" || core.isKilled) {
    run.kill();
  } else {
    if (core.feed.isHeard) core.emit("stopping", run);
    run.stop();
  }
}

/** Waits for the ends that were asked for; kills what has not ended in time. */
function* untilEnded(
  core: SupervisorCore,
  shutdown: ShutdownType,
  target: Killable,
): Coroutine<void> {
  const timer: TimerHandle | null =
    shutdown === "brutal-kill" || shutdown === Infinity
      ? null
      : core.loop.callLater(shutdown, killIt, target);
  try {
    while (core.awaitedEnds > 0) {
      yield* core.change(`children of "${core.path}" to end`);
    }
  } finally {
    timer?.cancel();
  }
}

/** Ends all children in reverse start order, each after the one before has ended. */
export function* stopInOrder(core: SupervisorCore): Coroutine<void> {
  let child = core.children.list.last;
  while (child !== undefined) {
    const work = terminate(core, child);
    if (work !== null) yield* work;
    core.children.setStatus(child, "stopped");
    child = child.previousNode;
  }
}

/** Ends all children in parallel, within one shutdown time. */
export function* stopAtOnce(core: SupervisorCore): Coroutine<void> {
  const { children } = core;
  const runs: SupervisedRun[] = [];
  let asked = 0;
  for (
    let child = children.list.first;
    child !== undefined;
    child = child.nextNode
  ) {
    if (child.status === "restarting") core.restarts.delays.leave(child);
    const run = child.run!;
    if (child.status === "running" && run.end === null) {
      runs.push(run);
      askToEnd(core, run);
    }
    run.isHandled = true;
    if (++asked % BATCH === 0 && core.isTimeToYield()) yield;
  }
  if (runs.length > 0) {
    yield* untilEnded(core, runs[0]!.child.settings.shutdown, {
      kill: () => {
        for (const run of runs) run.kill();
      },
    });
  }
  children.clear();
}
