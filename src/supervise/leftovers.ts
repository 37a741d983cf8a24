/**
 * The abandoned runs of a supervisor's children, by child.
 *
 * @module
 */
import { Future } from "../loop/future.ts";
import type { EventLoop } from "../loop/event_loop.ts";
import type { Child } from "./child.ts";
import type { SupervisedRun } from "./child_run.ts";
import type { Leftover } from "./leftover.ts";
import type { Message } from "./mailbox.ts";
import { Retry } from "./restart_delay.ts";

/** Supervisor, as its leftovers see it. */
export interface LeftoverOwner {
  readonly loop: EventLoop;
  post(message: Message): void;
  report(message: string, exception: unknown): void;
}

/** Runs that go on although they count as ended. */
export class Leftovers {
  readonly #owner: LeftoverOwner;
  readonly #hasIds: boolean;
  /** The abandoned runs of each child that has any, the oldest first. */
  readonly #ofChild: Map<Child | string, Leftover[]> = new Map();
  /** Done when there are none; null if nobody waits for that. */
  #over: Future<void> | null = null;

  /**
   * Makes the list.
   *
   * @param hasIds Whether an id names a child, so that one that was deleted and is added
   * again is the same. In a dynamic supervisor several may have one name.
   */
  constructor(owner: LeftoverOwner, hasIds: boolean) {
    this.#owner = owner;
    this.#hasIds = hasIds;
  }

  #keyOf(child: Child): Child | string {
    return this.#hasIds ? child.id : child;
  }

  /** The abandoned runs of a child, the oldest first; `undefined` if there are none. */
  of(child: Child): readonly Leftover[] | undefined {
    if (this.#ofChild.size === 0) return undefined;
    return this.#ofChild.get(this.#keyOf(child));
  }

  add(run: SupervisedRun, leftover: Leftover): void {
    const { child } = run;
    const { future, waitsFor } = leftover;
    const key = this.#keyOf(child);
    const known = this.#ofChild.get(key);
    if (known === undefined) this.#ofChild.set(key, [leftover]);
    else known.push(leftover);
    future.addDoneCallback(() => {
      // A child has reported its own leftovers.
      if (waitsFor !== undefined && future.failed()) {
        this.#owner.report(
          `Child "${run.path}" failed after it had been abandoned`,
          future.exception(),
        );
      }
      this.#ended(child, leftover);
    });
  }

  #ended(child: Child, leftover: Leftover): void {
    const key = this.#keyOf(child);
    const left = this.#ofChild.get(key)!.filter((other) => other !== leftover);
    if (left.length > 0) {
      this.#ofChild.set(key, left);
      return;
    }
    this.#ofChild.delete(key);
    if (!child.settings.allowOverlap) this.#owner.post(new Retry(child));
    if (this.#ofChild.size === 0 && this.#over?.done() === false) {
      this.#over.setResult();
    }
  }

  /** Done when there are none left; undefined if there are none now. */
  whenOver(): Future<void> | undefined {
    if (this.#ofChild.size === 0) return undefined;
    return this.#over ??= new Future(this.#owner.loop, "abandoned children");
  }
}
