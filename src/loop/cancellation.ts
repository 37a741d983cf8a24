/**
 * Cancellation: where a request lives, which request applies at a wait, and how
 * it gets there. The rules are here; a part has a say only where this file asks
 * for it. A future says where requests go (`requestsGo`), a block which level
 * applies in it (`inheritLevel`), and a group what becomes of its children's
 * errors.
 *
 * A *request* asks a task, or a block of a task, to give up. `task.cancel()`, a
 * deadline, the failure of a sibling and Ctrl-C make one each. There are two
 * kinds: a *once* request, like asyncio's, is thrown at one wait, or in branches
 * that run beside each other once in each; a *level* request, like trio's, is
 * thrown at every wait inside a scope until the scope is left.
 *
 * Invariants:
 *
 * 1. *Nothing is lost.* A once request that was taken is in exactly one state:
 *    `"due"`, `"thrown"` or `"taken back"`. It leaves `"due"` in one of three
 *    ways: it is thrown at a wait of its place; the task ends (as cancelled if
 *    the body returned, with the body's own error if it threw); or it is taken
 *    back, by `uncancel()` or by the block that made it.
 * 2. *A due request has holders.* A holder throws it next: a stepper, at its next step; a wait, when its turn comes; a
 *    strand (a line of async code), at the next operation it awaits. When a holder ends without having thrown the
 *    request, it passes to the waiter for that holder: from a wait to its strand or the other waits there, from a
 *    strand to the stepper that waits for it, from the outermost strand to the end of the task.
 *    Its task lists a request as well, to take it back by `uncancel()`, and so
 *    does the block that made it.
 * 3. *At the next wait, and never later.* Generators follow CPython: a wait that
 *    finds everything ready does not throw. In async functions every operation
 *    throws. Level requests are thrown by every operation, in both styles.
 * 4. *An error does not use a request up.* If what an async function waits for
 *    has failed, the failure is delivered and the request stays due.
 * 5. *The outermost decides where a cancellation ends.* A block that is left ends
 *    it only if no request from further out applies there: see {@linkcode endsAt}.
 * 6. *A throw serves all.* Several requests that are due at one holder are
 *    thrown together: with the error by which the awaited future was cancelled,
 *    if it was, else with the reason of the newest, as in CPython.
 * 7. *Some waits are not given up.* A request goes *inside* a wait for the body of
 *    a block, to whatever the body waits for; and it comes *after* the wait for
 *    the children of a group that is ending: see {@linkcode RequestsGo}.
 *
 * The cost of a request is in proportion to the waits and blocks inside its
 * place. Tasks that wait for each other in a chain are walked through with a
 * stack of our own, however long the chain is.
 *
 * @module
 */
import { isHandingOn, peekError, takeCancellation } from "./waiters.ts";
import { CancelledError } from "../errors.ts";
import type { Block } from "./block.ts";
import type { Future } from "./future.ts";
import { type Strand, strandsInside } from "./strand_tree.ts";
import type { Task } from "./task.ts";
import type { Stepper } from "./stepping.ts";

// -- Errors that count as a cancellation --

/**
 * Returns whether an error is a cancellation and not a failure.
 *
 * Cancellations are: a {@linkcode CancelledError}; an `AbortError` (of the web
 * or of Node) whose `cause` or `reason` is a cancellation, as `fetch` and
 * Node's APIs throw for an aborted `task.signal`; and a `SuppressedError` that
 * is made of nothing but cancellations, as when body and disposal of an
 * `await using` were both cancelled. A task that ends with one counts as
 * cancelled. Use it in a `catch` that has to let cancellations through.
 *
 * @example A retry that does not swallow cancellations
 * ```ts
 * import { isCancellation, run, sleep, timeout, TimeoutError } from "@rota/rota";
 * import { assertEquals, assertRejects } from "@std/assert";
 *
 * let tries = 0;
 * const flaky = async () => {
 *   for (;;) {
 *     try {
 *       tries++;
 *       await sleep(40);
 *       throw new Error("not yet");
 *     } catch (error) {
 *       if (isCancellation(error)) throw error;
 *     }
 *   }
 * };
 * await run(async () => {
 *   await assertRejects(async () => await timeout(100, flaky), TimeoutError);
 * }, { host: "virtual" });
 * assertEquals(tries, 3);
 * ```
 *
 * @param error The error that was thrown, of any type.
 * @returns Whether it is a cancellation.
 */
export function isCancellation(error: unknown): boolean {
  return cancellationIn(error) !== null;
}

/** How many errors deep a cancellation is looked for: causes may form a ring. */
const CAUSES_MAX = 8;

/** The `CancelledError` that makes `error` a cancellation; null if it is none. */
export function cancellationIn(
  error: unknown,
  depth: number = CAUSES_MAX,
): CancelledError | null {
  try {
    if (error instanceof CancelledError) return error;
    if (!(error instanceof Error) || depth === 0) return null;
    if (error instanceof SuppressedError) {
      return cancellationIn(error.error, depth - 1) === null
        ? null
        : cancellationIn(error.suppressed, depth - 1);
    }
    if (error.name !== "AbortError") return null;
    const { cause, reason } = error as { cause?: unknown; reason?: unknown };
    return cancellationIn(cause, depth - 1) ??
      cancellationIn(reason, depth - 1);
  } catch {
    return null; // a proxy or a getter that throws is no cancellation
  }
}

/** The error for a reason, which may be one already. */
export function cancellation(reason: unknown): CancelledError {
  return reason instanceof CancelledError ? reason : new CancelledError(reason);
}

// -- Requests --

/**
 * A request for cancellation that was taken.
 *
 * @internal
 */
export class CancelRequest {
  /** The block that is to give up; null for the task as a whole. */
  readonly block: Block | null;
  /** Given to `cancel(reason)`. */
  readonly reason: unknown;
  /** Whether every wait inside throws, instead of one. */
  readonly isLevel: boolean;
  state: "due" | "thrown" | "taken back" = "due";
  /** The error with which it has aborted the signals of its place; null if there were none. */
  abortedWith: CancelledError | null = null;

  constructor(block: Block | null, reason: unknown, isLevel: boolean) {
    this.block = block;
    this.reason = reason;
    this.isLevel = isLevel;
  }
}

/**
 * Error that a holder is to throw: that of a request, or another one, such as that of a signal.
 *
 * @internal
 */
export class Due {
  /** Null if `error` is thrown as it is. */
  readonly request: CancelRequest | null;
  readonly error: unknown;
  /** The previous error, of several. */
  readonly next: Due | null;
  /** Whether it has ended a wait that a request comes after. */
  hasWoken = false;

  constructor(request: CancelRequest | null, error: unknown, next: Due | null) {
    this.request = request;
    this.error = error;
    this.next = next;
  }
}

/** A request has been thrown. That does not change a level request, which is thrown at every wait. */
export function markThrown(request: CancelRequest): void {
  if (!request.isLevel) request.state = "thrown";
}

/**
 * Object that throws a due request next: a stepper, a wait or a strand.
 *
 * @internal
 */
export interface Holder {
  /** Errors that it is to throw, the newest first. */
  due: Due | null;
}

/** Adds a request to what a holder is to throw, unless it is there already. */
export function hold(holder: Holder, request: CancelRequest): Due {
  for (let at = holder.due; at !== null; at = at.next) {
    if (at.request === request) return at;
  }
  return holder.due = new Due(request, undefined, holder.due);
}

/** Has a stepper throw an error that is no request: of a signal, or a complaint. */
export function holdError(stepper: Stepper, error: unknown): void {
  stepper.due = new Due(null, error, null);
}

/** Whether a due error still applies at a place whose level request is `level`. */
function applies({ request }: Due, level: CancelRequest | null): boolean {
  if (request === null) return true;
  if (request.state === "taken back") return false;
  return !request.isLevel || level !== null;
}

/** Drops requests that were taken back, and those of scopes that are left; returns the rest. */
export function prune(holder: Holder, level: CancelRequest | null): Due | null {
  const kept: Due[] = [];
  let all = true;
  for (let at = holder.due; at !== null; at = at.next) {
    if (applies(at, level)) kept.push(at);
    else all = false;
  }
  if (all) return holder.due;
  let pruned: Due | null = null;
  for (const { request, error, hasWoken } of kept.reverse()) {
    pruned = new Due(request, error, pruned);
    pruned.hasWoken = hasWoken;
  }
  return holder.due = pruned;
}

/**
 * Takes the error that a holder is to throw now, for all that is due at it.
 *
 * @param awaited Future for which the holder has waited. Its own cancellation
 * goes first, with its reason. Any other failure of it does not count as seen.
 */
export function take(
  holder: Holder,
  due: Due,
  awaited: Future<unknown> | null,
): unknown {
  holder.due = null;
  for (let at: Due | null = due; at !== null; at = at.next) {
    if (at.request !== null) markThrown(at.request);
  }
  if (due.request === null) return due.error;
  if (awaited !== null && awaited.done()) {
    if (awaited.cancelled()) return awaited[takeCancellation]();
    const error = awaited.failed()
      ? cancellationIn(awaited[peekError]())
      : null;
    if (error !== null) {
      awaited.exception(); // it is seen now
      return error;
    }
  }
  return cancellation(due.request.reason);
}

/**
 * Request that the `sleep(0)` of a strand have to throw which were in the ready
 * queue when it came. They are too short-lived to be holders of their own.
 *
 * @internal
 */
export interface DueYields {
  readonly request: CancelRequest;
  /** How many of them have not had their turn. */
  left: number;
  /** The previous request, of several. */
  readonly next: DueYields | null;
}

/** Has the `sleep(0)` of a strand throw a request, if there are any. */
function holdAtYields(strand: Strand, request: CancelRequest): void {
  const left = strand.yields;
  if (left === 0) return;
  strand.dueYields = { request, left, next: strand.dueYields };
}

/**
 * The newest request that a `sleep(0)` whose turn has come has to throw, for all
 * that are due at it; null if there is none.
 */
export function takeAtYield(strand: Strand): CancelRequest | null {
  let newest: CancelRequest | null = null;
  for (let at = strand.dueYields; at !== null; at = at.next) {
    // An earlier request reaches less far into the queue: the rest is over as well.
    if (at.left === 0) break;
    at.left--;
    if (at.request.state === "taken back") continue;
    markThrown(at.request);
    newest ??= at.request;
  }
  if (strand.dueYields !== null && strand.dueYields.left === 0) {
    strand.dueYields = null;
  }
  return newest;
}

/**
 * Moves what is due from a holder to the next one: from a strand to the wait that
 * begins in it, and from a strand that has ended to the stepper that waits for it.
 */
export function passOn(from: Holder, to: Holder): void {
  move(from, to, (request) => request.state !== "taken back");
}

/**
 * Moves requests from a wait that is over to its strand. A request that was
 * thrown at another wait of the strand, in a branch beside this one, has
 * arrived there.
 */
function passBack(from: Holder, to: Holder): void {
  move(from, to, (request) => request.state === "due");
}

/**
 * Moves requests from a wait to its strand. Branches of the strand that have
 * begun to wait since the request came, and so do not know of it, throw it now.
 */
export function passBackToStrand(wait: Holder, strand: Strand): void {
  passBack(wait, strand);
  if (strand.firstWait === null) return;
  const due: CancelRequest[] = [];
  for (let at = strand.due; at !== null; at = at.next) due.push(at.request!);
  strand.due = null;
  for (const request of due.reverse()) interruptInside(strand, request);
}

function move(
  from: Holder,
  to: Holder,
  isWanted: (request: CancelRequest) => boolean,
): void {
  const { due } = from;
  if (due === null) return;
  from.due = null;
  const moved: CancelRequest[] = [];
  for (let at: Due | null = due; at !== null; at = at.next) {
    const { request } = at;
    // A level request is found by each wait anew.
    if (request !== null && !request.isLevel && isWanted(request)) {
      moved.push(request);
    }
  }
  for (const request of moved.reverse()) hold(to, request);
}

/**
 * A strand has ended by a cancellation. If that is the error with which a due request has
 * aborted a signal, as a `fetch` throws it, the request was thrown, and those due beside it
 * with it. An earlier cancellation that comes out only now has used none of them up.
 *
 * @param to The stepper that waits for the strand; null if it waits no longer.
 */
export function endedByCancellation(
  strand: Holder,
  error: unknown,
  to: Holder | null,
): void {
  const thrown = cancellationIn(error);
  for (let at = strand.due; at !== null; at = at.next) {
    if (at.request?.abortedWith === thrown) return countAsThrown(strand);
  }
  // A request that was thrown in a branch beside this strand may be what ended it.
  if (to !== null) passBack(strand, to);
}

/** All that is due at a holder goes on with a cancellation that is thrown there. */
export function countAsThrown(holder: Holder): void {
  for (let at = holder.due; at !== null; at = at.next) {
    if (at.request !== null) markThrown(at.request);
  }
  holder.due = null;
}

/**
 * Makes the requests to a task due again at a stepper, for a block that ends with
 * another error: together they count as before, and are thrown once. As in
 * CPython, where a group does this by `uncancel()` and `cancel()`, the reason is
 * lost.
 */
export function dueAgain(task: Task<unknown>, stepper: Stepper): void {
  countAsThrown(stepper);
  task.rearm(stepper, undefined);
}

/**
 * Where a request goes that comes to a wait for a future. `"here"`: the wait
 * throws it. `"inside"`: the future is a strand of the same task, which throws or
 * holds it. `"after"`: it stays due until the wait is over.
 *
 * @internal
 */
export type RequestsGo = "here" | "inside" | "after";

// -- Which request applies at a wait --

/** Number of scopes of this thread that are cancelled and not left. While it is 0, no wait looks for one. */
export const levels: { open: number } = { open: 0 };

/** The level request that applies where a stepper is; null if none does. */
export function levelOf(stepper: Stepper | null): CancelRequest | null {
  return stepper === null ? null : levelAt(stepper.innermostBlock);
}

/** The level request that applies at a place in a task; null if none does. */
export function levelAt(block: Block | null): CancelRequest | null {
  return block === null ? null : block.level;
}

/**
 * Whether a stepper whose wait is over throws what is due, or goes on with the
 * outcome of the wait and throws later.
 */
function throwsNow(stepper: Stepper, due: Due): boolean {
  const awaited = stepper.waitingOn;
  if (due.request === null || awaited === null || !awaited.done()) return true;
  if (awaited.requestsGo(due.request) !== "here") return false;
  // CPython's tasks let the cancellation replace a failure; async functions get
  // the failure, as no other code would.
  return stepper.replacesFailures || !isFailure(awaited);
}

/** Whether a future failed otherwise than by a cancellation. */
export function isFailure(future: Future<unknown>): boolean {
  return future.failed() && !isCancellation(future[peekError]());
}

/** Returns the error that a stepper throws at its next step; undefined if it goes on. */
export function toThrow(
  stepper: Stepper,
): { readonly error: unknown } | undefined {
  const due = prune(stepper, levelAt(stepper.innermostBlock));
  if (due === null || !throwsNow(stepper, due)) return undefined;
  return { error: take(stepper, due, stepper.waitingOn) };
}

/**
 * A stepper begins to wait for `target`.
 *
 * | Requests to `target` go | and one is due                      | and only a level applies        |
 * | ----------------------- | ----------------------------------- | ------------------------------- |
 * | `"here"`                | `target` is cancelled, else it      | as if it came now: `handTo`     |
 * |                         | stays due until the next step       |                                 |
 * | `"inside"`              | it stays due until the next step    | as if it came now: `handTo`     |
 * | `"after"`               | `target` is woken once, and it      | nothing: it is found afterwards |
 * |                         | stays due                           |                                 |
 */
export function suspended(stepper: Stepper, target: Future<unknown>): void {
  const level = levelAt(stepper.innermostBlock);
  const due = prune(stepper, level);
  const request = due === null ? level : due.request;
  if (request === null) return;
  const goes = target.requestsGo(request);
  if (goes === "after") {
    if (due !== null) wakeOnce(due, target);
  } else if (due === null) handTo(stepper, request);
  else if (goes === "here" && target.cancel(request.reason)) {
    take(stepper, due, null);
  }
}

/** Ends a wait that a request comes after, once: CPython wakes it for each request, too. */
function wakeOnce(due: Due, target: Future<unknown>): void {
  if (due.hasWoken || due.request === null || due.request.isLevel) return;
  due.hasWoken = true;
  target.cancel(due.request.reason);
}

/** A stepper waits for its next turn only: in a cancelled scope that wait throws, too. */
export function holdLevel(stepper: Stepper): void {
  const level = levelAt(stepper.innermostBlock);
  if (level !== null && prune(stepper, level) === null) hold(stepper, level);
}

// -- Delivery --

/**
 * Makes a once request: counts it, aborts the signals of its place, and throws
 * it into the waits there.
 *
 * @returns Whether it was taken: not by a task that has ended, nor by one through
 * which the same request is on its way.
 */
export function requestCancel(
  task: Task<unknown>,
  block: Block | null,
  reason: unknown,
): boolean {
  if (task.done() || task[isHandingOn]()) return false;
  const request = new CancelRequest(block, reason, false);
  task.noteRequest(request);
  submit({ task, request });
  return true;
}

/** A request on its way to a task. */
interface Delivery {
  readonly task: Task<unknown>;
  readonly request: CancelRequest;
}

// Cancelling a task cancels the task that it waits for, and so on. To walk
// through a chain of any length these run in a loop, depth first as recursion
// would: a delivery that is made while another one is carried out waits in
// `fresh`, and goes before those that were there.

/** Deliveries to be carried out, and tasks whose own delivery is over; the next one is last. */
const stack: (Delivery | Task<unknown>)[] = [];
const fresh: Delivery[] = [];
let delivering = false;

function submit(delivery: Delivery): void {
  fresh.push(delivery);
  if (delivering) return;
  delivering = true;
  let failure: { readonly error: unknown } | null = null;
  try {
    while (fresh.length > 0 || stack.length > 0) {
      while (fresh.length > 0) stack.push(fresh.pop()!);
      const next = stack.pop()!;
      if (!("request" in next)) {
        next.setHandingOn(false);
        continue;
      }
      next.task.setHandingOn(true);
      stack.push(next.task);
      try {
        carryOut(next);
        // Reason of a request that is not thrown into a wait at once, whose
        // message CPython keeps.
        if (next.request.state === "due") {
          next.task.heldReason = next.request.reason;
        }
      } catch (error) {
        failure ??= { error }; // of a future whose class overrides cancel()
      }
    }
  } finally {
    delivering = false;
  }
  if (failure !== null) throw failure.error;
}

function carryOut({ task, request }: Delivery): void {
  const { block } = request;
  const tree = task.blockTree;
  if (tree !== null) {
    request.abortedWith = cancellation(request.reason);
    abortInside(block ?? tree, request.abortedWith);
  }
  if (block === null) {
    interruptStrand(task, request);
    if (tree !== null) interruptInside(tree, request);
    if (!task.promised) handTo(task, request);
  } else {
    interruptInside(block, request);
    if (!block.isOpenedByAsyncFunction) handTo(block.opener, request);
  }
}

/** Aborts the signals of a block and of all inside. */
function abortInside(block: Strand, error: CancelledError): void {
  for (const strand of strandsInside(block)) strand.abort(error);
}

function interruptInside(root: Strand, request: CancelRequest): void {
  for (const strand of strandsInside(root)) interruptStrand(strand, request);
}

/** Throws a request into the waits of one strand; if it waits for nothing of the loop, into its next operation. */
function interruptStrand(strand: Strand, request: CancelRequest): void {
  holdAtYields(strand, request);
  for (const wait of strand.listWaits()) wait.interrupt(request);
  if (!strand.isOutside() || strand.yields > 0) return;
  hold(strand, request);
  strand.runner!.warnIfStuck();
}

/** Throws a request into the wait of a stepper, or else at its next step. */
export function handTo(stepper: Stepper, request: CancelRequest): void {
  const awaited = stepper.waitingOn;
  if (awaited !== null) {
    const goes = awaited.requestsGo(request);
    if (goes === "inside" && !awaited.done()) {
      awaited.askToEnd(request);
      return;
    }
    if (awaited.cancel(request.reason)) {
      if (goes === "after") {
        hold(stepper, request).hasWoken = true;
      } else markThrown(request);
      return;
    }
    if (awaited[isHandingOn]()) {
      // The last in a ring of tasks that wait for each other: no other task
      // wakes it.
      awaited.removeWaiter(stepper);
      stepper.waitingOn = null;
      stepper.kernel.schedule(stepper);
    }
  }
  hold(stepper, request);
}

// -- Level requests --

/** Makes the level request of a scope: from now on every wait inside throws. */
export function requestLevel(block: Block, reason: unknown): boolean {
  if (block.task.done()) return false;
  if (block.ownLevel !== null) return true;
  block.ownLevel = new CancelRequest(block, cancellation(reason), true);
  levels.open++;
  applyLevels(block);
  return true;
}

/** A scope that was cancelled is left, or its task has ended. */
export function endLevel(level: CancelRequest): void {
  if (level.state === "taken back") return;
  level.state = "taken back";
  levels.open--;
}

/** Passes a change of the levels around a block, or of its shield, to the waits inside. */
export function applyLevels(block: Block): void {
  const changed = new Set<Strand>();
  for (const strand of strandsInside(block)) {
    const before = strand.level;
    strand.inheritLevel();
    if (strand.level !== null && strand.level !== before) changed.add(strand);
  }
  for (const strand of changed) {
    strand.abort(strand.level!.reason as CancelledError);
  }
  for (const strand of changed) {
    const level = strand.level!;
    holdAtYields(strand, level);
    for (const wait of strand.listWaits()) wait.interrupt(level);
    strand.levelCame();
  }
  // Steppers inside that are no waits of a strand: that of the block, and the task's own.
  const { opener, task } = block;
  if (!block.isOpenedByAsyncFunction) handLevelTo(opener, changed);
  if (!task.promised && opener !== task) handLevelTo(task, changed);
}

function handLevelTo(stepper: Stepper, changed: ReadonlySet<Strand>): void {
  const { innermostBlock } = stepper;
  if (innermostBlock === null || !changed.has(innermostBlock)) return;
  handTo(stepper, innermostBlock.level!);
}

// -- Taking back --

/** Takes back every request in `requests` that has not been thrown. */
export function takeBack(requests: readonly CancelRequest[]): void {
  for (const request of requests) {
    if (request.state === "due") request.state = "taken back";
  }
}

// -- Leaving a block --

/**
 * Number of once requests that were thrown before a block was opened, and do
 * not concern it: all but those that are due where it is opened.
 */
export function requestsBefore(block: Block): number {
  let due = 0;
  for (let at = block.openedBy.due; at !== null; at = at.next) {
    const { request } = at;
    if (request === null || request.isLevel) continue;
    if (request.state !== "taken back") due++;
  }
  return Math.max(block.cancelling() - due, 0);
}

/** The same for a timeout: in generators CPython counts also those that are due. */
export function requestsBeforeTimeout(block: Block): number {
  return block.opener.replacesFailures
    ? block.cancelling()
    : requestsBefore(block);
}

/**
 * Whether a cancellation that a block's body has thrown ends at the block: it
 * does unless a request from further out applies there.
 *
 * @param error Error that the body threw.
 * @param block The block, which has made a request.
 * @param requestsLeft The once requests that are outstanding without its own.
 * @param before Given by {@linkcode requestsBefore} when it was opened.
 */
export function endsAt(
  block: Block,
  error: unknown,
  requestsLeft: number,
  before: number,
): boolean {
  return isCancellation(error) && requestsLeft <= before &&
    block.outerLevel === null;
}
