/**
 * The tree of strands of a task, as cancellation sees it: {@linkcode Strand} is
 * the interface, `strand.ts` has the classes.
 *
 * @module
 */
import type { CancelledError } from "../errors.ts";
import type { Block } from "./block.ts";
import type { CancelRequest, Holder } from "./cancellation.ts";
import type { Task } from "./task.ts";
import type { Wait } from "./promise_wait.ts";

/** Wait of an async function, of any type. */
export type AnyWait = Wait<unknown, unknown, unknown>;

/**
 * A line of async code. {@linkcode Task}, {@linkcode Block} and {@linkcode Call} are strands.
 *
 * @internal
 */
export interface Strand extends Holder {
  /** The task it is a part of; null for what may become a task later. */
  readonly runner: Task<unknown> | null;
  /** The strands right inside. */
  readonly inner: Iterable<Strand> | null;
  /** The level request that applies here. */
  readonly level: CancelRequest | null;
  /** The innermost open block around code that runs here; null if there is none. */
  readonly place: Block | null;
  /** The first of the waits that were started here; its `previousWait` is the last. */
  waits: AnyWait | null;
  /** How many `sleep(0)` of it are in the ready queue, which are no waits in the list. */
  yields: number;
  /** The ones that have to throw; null if none has. */
  dueYields: DueYields | null;
  /** Whether an async function runs that waits for nothing of the loop. */
  isOutside(): boolean;
  /** Returns the waits in a new list, as interrupting a wait changes the original. */
  listWaits(): readonly AnyWait[];
  /** Has the `sleep(0)` that are in the ready queue throw. */
  interruptYields(request: CancelRequest): void;
  /** Takes over the level request of the strand around it. */
  inheritLevel(): void;
  /** Aborts the signal. */
  abort(error: CancelledError): void;
  /** A level request applies that did not before. */
  levelCame(): void;
  /** An async function enters a block that it has opened here by itself, or leaves it. */
  step(into: boolean): void;
}

/**
 * The `sleep(0)` of a strand that a request came to: so many at the head of the queue.
 *
 * @internal
 */
export interface DueYields {
  left: number;
  readonly request: CancelRequest;
}

/** The request that a `sleep(0)` whose turn has come has to throw; null if there is none. */
export function takeDueYield(strand: Strand): CancelRequest | null {
  const due = strand.dueYields;
  if (due === null) return null;
  if (--due.left <= 0) strand.dueYields = null;
  const { request } = due;
  if (request.state === "taken back") return null;
  if (!request.isLevel) request.state = "thrown";
  return request;
}

/** The waits of a strand, in the order in which they were started. */
export function listWaits(first: AnyWait | null): AnyWait[] {
  const waits: AnyWait[] = [];
  for (let wait = first; wait !== null; wait = wait.nextWait) waits.push(wait);
  return waits;
}

/** A strand and all inside of it, outermost first. */
export function strandsInside(root: Strand): Strand[] {
  const found: Strand[] = [root];
  for (const strand of found) {
    if (strand.inner === null) continue;
    for (const inner of strand.inner) found.push(inner);
  }
  return found;
}
