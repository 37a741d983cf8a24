/**
 * Starting a child, and waiting until it is ready.
 *
 * @module
 */
import { ChildStartError, ChildStateError } from "../errors.ts";
import type { TimerHandle } from "../loop/timer_handle.ts";
import type { Coroutine } from "../loop/task_body.ts";
import type { Child } from "./child.ts";
import { SupervisedRun } from "./child_run.ts";
import type { SupervisorCore } from "./supervisor_core.ts";

/**
 * Starts a child. If `outcome` of the run is null, its start goes on:
 * {@linkcode untilStarted} waits for it.
 */
export function beginStart(core: SupervisorCore, child: Child): SupervisedRun {
  const run = new SupervisedRun(child, core);
  if (core.isHeldUp(child)) {
    run.refuseStart(overlap(run.path, child.id));
    return run;
  }
  child.run = run;
  if (core.feed.isHeard) core.emit("starting", run);
  run.begin();
  return run;
}

/** The error of a start beside a run that was abandoned. */
export function overlap(path: string, id: string): ChildStateError {
  return new ChildStateError(
    `Cannot start child "${path}": an earlier run of it was abandoned and goes on, set allowOverlap to start it all the same`,
    "abandoned",
    id,
  );
}

/** Waits until it is known how a start went. */
export function* untilStarted(
  core: SupervisorCore,
  run: SupervisedRun,
): Coroutine<void> {
  let timer: TimerHandle | null = null;
  core.starting = run;
  try {
    while (run.outcome === null) {
      if (core.hurries && timer === null) timer = limitStart(core, run);
      if (run.outcome === null) {
        yield* core.change(`child "${run.path}" to start`);
      }
    }
  } finally {
    core.starting = null;
    timer?.cancel();
  }
}

/** Time that the start of a child has which takes none to end. */
const START_MS = 5_000;

/** A stop waits for the start: it may go on for as long as the child may take to end. */
function limitStart(core: SupervisorCore, run: SupervisedRun): TimerHandle {
  const { shutdown } = run.child.settings;
  run.hurry();
  return core.loop.callLater(
    shutdown === "brutal-kill" ? START_MS : shutdown,
    () => run.kill(),
  );
}

/** The error of a start that has failed, for the caller who asked for it. */
export function startErrorOf(run: SupervisedRun): Error {
  const { startError } = run;
  if (
    startError instanceof ChildStateError && startError.problem === "abandoned"
  ) return startError;
  return new ChildStartError(`Cannot start child "${run.path}"`, run.id, {
    cause: startError,
  });
}
