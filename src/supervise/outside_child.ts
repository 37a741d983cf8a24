/**
 * Life of a child that does its work outside of the loop, in a thread or a process: what
 * pools, worker loops and child processes have in common towards their supervisor.
 *
 * @module
 */
import { core } from "../loop/core.ts";
import type { EndListener } from "../loop/endings.ts";
import type { Future } from "../loop/future.ts";
import {
  type ChildEnd,
  KILLED_END,
  NORMAL_END,
  SHUTDOWN_END,
} from "./child_end.ts";
import type { ChildControl, ChildHost } from "./supervised.ts";

/**
 * A child outside. Until it has ended it is work outside of the loop, so that a wait for
 * it is no deadlock and the process lives on. Killed if the loop is closed before that.
 */
export abstract class OutsideChild implements ChildControl, EndListener {
  protected readonly host: ChildHost;
  /** Request of the supervisor. */
  protected request: "nothing" | "stop" | "kill" = "nothing";
  #isOver = false;
  #isLoopClosed = false;

  constructor(host: ChildHost) {
    this.host = host;
    host.loop[core].outside.outsideBegan();
    host.loop[core].endings.add(this);
  }

  /** Whether the supervisor has been told of its end. */
  protected get isOver(): boolean {
    return this.#isOver;
  }

  /** Asks it to end. */
  protected abstract beginStop(): void;
  /** Ends it at once. `over` follows, whatever happens. */
  protected abstract beginKill(): void;

  stop(): void {
    if (this.#isOver || this.request !== "nothing") return;
    this.request = "stop";
    this.beginStop();
  }

  kill(): void {
    if (this.#isOver || this.request === "kill") return;
    this.request = "kill";
    this.beginKill();
  }

  /** A loop that is closed has nobody left who could be told. */
  loopClosed(): void {
    this.kill();
    this.#isLoopClosed = true;
  }

  /** Has something done in a turn of the loop; the caller may be outside of it. */
  protected inTurn(fn: () => void): void {
    if (this.#isLoopClosed) return;
    this.host.loop.callSoon(fn);
  }

  /** Says to the supervisor that it is ready. */
  protected ready(value: unknown): void {
    this.inTurn(() => this.host.started(value));
  }

  /** Says to the supervisor that it has ended, once. */
  protected over(end: ChildEnd, leftover?: Future<unknown>): void {
    if (this.#isOver) return;
    this.#isOver = true;
    if (this.#isLoopClosed) return;
    const { loop } = this.host;
    loop[core].endings.delete(this);
    this.inTurn(() => {
      loop[core].outside.outsideEnded();
      this.host.ended(end, leftover);
    });
  }

  /** The end of a child that has ended without a failure. */
  protected quietEnd(): ChildEnd {
    if (this.request === "kill") return KILLED_END;
    return this.request === "stop" ? SHUTDOWN_END : NORMAL_END;
  }
}
