/**
 * Acts: the cancellations of a program, from its own code and from outside.
 *
 * @module
 */
import { Boom, type Place } from "./places.ts";
import type { Program } from "./program.ts";
import type { Act, TimedAct } from "./tree.ts";

/** Does something some turns and microtasks later. */
export function performLater(
  program: Program,
  act: TimedAct,
  turns = act.turns,
): void {
  if (turns > 0) {
    program.loop.callSoon(() => performLater(program, act, turns - 1));
    return;
  }
  if (act.hops === 0) return perform(program, act);
  let chain = Promise.resolve();
  for (let hop = 1; hop < act.hops; hop++) chain = chain.then(() => {});
  chain.then(() => perform(program, act));
}

/** Cancels a task or block, or aborts its signal. */
export function perform(program: Program, { target, how }: Act): void {
  const place = program.places.get(target);
  if (place === undefined || program.shared.over) return;
  if (how === "abort") return abort(program, place);
  if (place.kind === "task") {
    const { task } = place.task;
    if (task?.cancel(target)) {
      program.judge.request(place, program.loop.time(), true);
    }
  } else if (!place.open) return;
  else if (place.scope !== null) {
    place.scope.cancel(target);
    program.judge.scopeCancelled(place);
  } else if (program.groups.has(place)) {
    program.judge.groupCancelled(place);
    program.groups.get(place)!.cancel(target);
  }
}

function abort(program: Program, place: Place): void {
  if (place.controller === null || place.aborted || !place.open) return;
  const now = program.loop.time();
  if (place.kind === "group") {
    if (!program.groups.has(place)) return; // not entered yet
    // One that is ending already does not say that it was the signal.
    place.aborted = true;
    program.judge.groupCancelled(place);
  } else if (place.scope !== null) {
    place.aborted = !place.scope.cancelCalled;
    program.judge.scopeCancelled(place);
  } else {
    // A timeout whose time is over hears no signal. That of waitFor() is not to be
    // seen: at its very moment it may be either.
    if (place.timeout?.expired() || now > place.deadlineMs) return;
    place.aborted = true;
    program.judge.request(place, now, true, now === place.deadlineMs);
  }
  place.controller.abort(new Boom(`signal of ${place.name}`));
}
