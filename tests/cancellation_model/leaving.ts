/**
 * The rules of leaving a block: which cancellation ends there, and which goes on.
 *
 * @module
 */
import { TaskGroupError, TimeoutError } from "../../mod.ts";
import type { Judge } from "./judge.ts";
import {
  type End,
  isCancellation,
  levelAt,
  mayCome,
  type Place,
  requestsAt,
  text,
} from "./places.ts";

/** A block was left: judges what came of it. */
export function judgeLeft(judge: Judge, block: Place, outcome: End): void {
  const entry = block.entry!;
  judge.poll(block);
  block.open = false;
  block.task.joining.delete(block);
  const around = block.outer!;
  const fresh = [...requestsAt(around)].filter(({ order, state }) =>
    order >= entry.requests && state !== "void"
  );
  // What comes between the end of the body and that of the block may be either.
  const certain = fresh.some(({ order, exact, atMs, state, sure }) =>
    sure && state !== "vague" && order < block.endOrder &&
    (exact || atMs < block.endMs)
  );
  const possible = fresh.length > 0 || entry.before.length > 0;
  const outside: Outside = { certain, possible, level: block.endLevel };
  for (const request of block.requests) request.state = "void";
  const { end } = block;
  if (end === null) neverBegan(judge, block, outcome);
  else if (block.kind === "group") {
    leftGroup(judge, block, end, outcome, outside);
  } else leftBlock(judge, block, end, outcome, outside);
  if (outcome.failed && isCancellation(outcome.error)) {
    for (const request of requestsAt(around)) {
      if (!mayCome(request)) continue;
      request.state = "done";
      request.again = true; // it may have come while the block was left
    }
  }
}

function neverBegan(judge: Judge, block: Place, outcome: End): void {
  if (!outcome.failed) {
    return judge.say(`${block.name} ended without its body`);
  }
  if (!isCancellation(outcome.error)) return;
  judge.delivered(block.name, block.outer!);
}

function leftBlock(
  judge: Judge,
  block: Place,
  end: End,
  outcome: End,
  outside: Outside,
): void {
  const { name } = block;
  const cancelled = outcome.failed && isCancellation(outcome.error);
  const mayBeCancelled = outside.possible || levelAt(block.outer!) !== null;
  if (!end.failed) {
    if (outcome.failed ? !(cancelled && mayBeCancelled) : false) {
      judge.say(`the body of ${name} returned, and it threw ${text(outcome)}`);
    }
    return;
  }
  if (!isCancellation(end.error)) {
    if (!outcome.failed || outcome.error !== end.error) {
      judge.say(
        `the body of ${name} threw ${end.error}, and it came out as ${
          text(outcome)
        }`,
      );
    }
    return;
  }
  const own = isOwn(block, outcome);
  if (own) {
    const asked = block.scope !== null
      ? block.scope.cancelCalled
      : block.expired || block.aborted || block.timeout === null;
    if (!asked) judge.say(`${name} took a cancellation that is not its own`);
    if (outside.certain || outside.level !== null) {
      judge.say(`${name} took a cancellation that goes further out`);
    }
    return;
  }
  if (!cancelled) {
    return judge.say(
      `the body of ${name} was cancelled, and it came out as ${text(outcome)}`,
    );
  }
  const asked = block.scope?.cancelCalled || block.timeout?.expired();
  if (asked && !outside.possible && levelAt(block.outer!) === null) {
    judge.say(`${name} let its own cancellation out`);
  }
}

/** Whether a block has dealt with the cancellation of its body. */
function isOwn(block: Place, outcome: End): boolean {
  if (!outcome.failed) {
    return block.kind === "scope" &&
      (outcome.value as { cancelledCaught?: boolean })?.cancelledCaught ===
        true;
  }
  if (block.aborted && outcome.error === block.controller!.signal.reason) {
    return true;
  }
  return block.kind !== "scope" && outcome.error instanceof TimeoutError;
}

function leftGroup(
  judge: Judge,
  group: Place,
  end: End,
  outcome: End,
  outside: Outside,
): void {
  const { name } = group;
  for (const { task, name } of group.children) {
    if (!task!.done()) judge.say(`${name} outlives its group`);
  }
  const errors = group.children.filter(({ task }) => task!.failed())
    .map(({ task }) => task!.exception());
  if (end.failed && !isCancellation(end.error)) errors.push(end.error);
  if (errors.length > 0) {
    failedGroup(judge, group, errors, outcome);
    return;
  }
  if (outcome.failed) {
    const aborted = group.aborted &&
      outcome.error === group.controller!.signal.reason;
    if (aborted) return;
    if (!isCancellation(outcome.error)) {
      return judge.say(
        `nothing failed in ${name}, and it threw ${text(outcome)}`,
      );
    }
    const excused = outside.possible || levelAt(group.outer!) !== null ||
      (end.failed && !group.bodyCancelled);
    if (!excused) judge.say(`${name} let its own cancellation out`);
    return;
  }
  if (end.failed) {
    if (!group.bodyCancelled && !group.bodyCancelledPerhaps) {
      judge.say(`${name} took a cancellation that is not its own`);
    }
    if (outside.certain || outside.level !== null) {
      judge.say(`${name} took a cancellation that goes further out`);
    }
  }
  // Children that end at the moment in which an async body does may be over when the
  // group learns of its end: then it does not wait.
  const waited = group.joined && (!group.isAsync ||
    group.children.some(({ doneMs }) => doneMs > group.endMs));
  if (waited) judge.late(name, group.outer!, group.endMs);
}

/** The errors arrive together, and a cancellation from outside stays for the next wait. */
function failedGroup(
  judge: Judge,
  group: Place,
  errors: unknown[],
  outcome: End,
): void {
  const got = outcome.failed && outcome.error instanceof TaskGroupError
    ? [...outcome.error.errors]
    : null;
  if (got === null) {
    return judge.say(
      `${errors.length} failed in ${group.name}, and it came out as ${
        text(outcome)
      }`,
    );
  }
  const missing = errors.filter((error) => !got.includes(error));
  if (missing.length > 0 || got.length !== errors.length) {
    judge.say(
      `${group.name} has thrown ${got.length} of ${errors.length} errors`,
    );
  }
  for (const request of requestsAt(group.outer!)) {
    if (request.state === "done" && !request.takenBack) {
      request.state = request.exact ? "open" : "vague";
    }
  }
}

/** What came from outside of a block while it was open. */
interface Outside {
  /** A request is there for sure; perhaps. */
  readonly certain: boolean;
  readonly possible: boolean;
  /** A cancelled scope around, with no shield between. */
  readonly level: Place | null;
}
