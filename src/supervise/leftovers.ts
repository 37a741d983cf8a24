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
  /** How many there are, by the id of the child. */
  readonly #counts: Map<string, number> = new Map();
  /** Done when there are none; null if nobody waits for that. */
  #over: Future<void> | null = null;

  constructor(owner: LeftoverOwner) {
    this.#owner = owner;
  }

  has(id: string): boolean {
    return this.#counts.size > 0 && this.#counts.has(id);
  }

  add(run: SupervisedRun, { future, waitsFor }: Leftover): void {
    const { child } = run;
    this.#counts.set(child.id, (this.#counts.get(child.id) ?? 0) + 1);
    future.addDoneCallback(() => {
      // A child has reported its own leftovers.
      if (waitsFor !== undefined && future.failed()) {
        this.#owner.report(
          `Child "${run.path}" failed after it had been abandoned`,
          future.exception(),
        );
      }
      this.#ended(child);
    });
  }

  #ended(child: Child): void {
    const left = this.#counts.get(child.id)! - 1;
    if (left > 0) {
      this.#counts.set(child.id, left);
      return;
    }
    this.#counts.delete(child.id);
    this.#owner.post(new Retry(child));
    if (this.#counts.size === 0 && this.#over?.done() === false) {
      this.#over.setResult();
    }
  }

  /** Done when there are none left; undefined if there are none now. */
  whenOver(): Future<void> | undefined {
    if (this.#counts.size === 0) return undefined;
    return this.#over ??= new Future(this.#owner.loop, "abandoned children");
  }
}
