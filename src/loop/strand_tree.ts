/**
 * The tree of strands of a task, as cancellation sees it: {@linkcode Strand} is
 * the interface, `strand.ts` has the classes.
 *
 * @module
 */
import type { CancelledError } from "../errors.ts";
import type { Block } from "./block.ts";
import type { CancelRequest, DueYields, Holder } from "./cancellation.ts";
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
  firstWait: AnyWait | null;
  /** How many `sleep(0)` of it are in the ready queue, which are no waits in the list. */
  yields: number;
  /** The requests they have to throw; null if there are none. */
  dueYields: DueYields | null;
  /** Whether an async function runs that waits for nothing of the loop. */
  isOutside(): boolean;
  /** Returns the waits in a new list, as interrupting a wait changes the original. */
  listWaits(): readonly AnyWait[];
  /** Takes over the level request of the strand around it. */
  inheritLevel(): void;
  /** Aborts the signal. */
  abort(error: CancelledError): void;
  /** A level request applies that did not before. */
  levelCame(): void;
  /** An async function enters a block that it has opened here by itself, or leaves it. */
  step(into: boolean): void;
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
