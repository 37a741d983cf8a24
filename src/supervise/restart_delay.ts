/**
 * Delays before restarts, and who waits for them.
 *
 * @module
 */
import type { TimerHandle } from "../loop/timer_handle.ts";
import type { Coroutine } from "../loop/task_body.ts";
import type { Child } from "./child.ts";
import type { Message } from "./mailbox.ts";
import type { SupervisorCore } from "./supervisor_core.ts";

/** A delay that runs, or that is over and in the mailbox. */
export class RestartDelay implements Message {
  /** How many children wait for it. */
  waiting = 1;
  timer: TimerHandle | null = null;
  /** The child for which it was begun. */
  readonly child: Child;

  /** Moment of the loop's clock at which it is over. */
  readonly untilMs: number;

  constructor(child: Child, untilMs: number) {
    this.child = child;
    this.untilMs = untilMs;
  }

  serve(core: SupervisorCore): Coroutine<void> | null {
    const first = core.restarts.delays.release(this);
    return first === null ? null : core.restarts.make(first, true);
  }

  refuse(): void {
    // A supervisor that ends restarts nobody.
  }
}

/**
 * The delays of one supervisor. Where children are restarted alone, each has its
 * own. Where they are restarted together there is one at a time, and a child that
 * fails meanwhile waits for that.
 */
export class RestartDelays {
  readonly #core: SupervisorCore;
  /** Whether children are restarted together. */
  readonly together: boolean;
  /** The delay that all failures join; null if none runs. */
  #shared: RestartDelay | null = null;
  /** How many delays run. */
  running = 0;

  constructor(core: SupervisorCore, together: boolean) {
    this.#core = core;
    this.together = together;
  }

  /** Has a child wait for the delay that runs, if there is one for it. */
  join(child: Child): boolean {
    if (this.#shared === null) return false;
    this.#shared.waiting++;
    child.delay = this.#shared;
    return true;
  }

  /** Has a child wait for a delay of its own. */
  begin(child: Child, delayMs: number): void {
    const { loop } = this.#core;
    const delay = new RestartDelay(child, loop.time() + delayMs);
    child.delay = delay;
    if (this.together) this.#shared = delay;
    this.running++;
    delay.timer = loop.callAt(delay.untilMs, () => this.#core.post(delay));
  }

  /** A child waits no longer: it is not to be restarted, or restarted by somebody else. */
  leave(child: Child): void {
    const { delay } = child;
    if (delay === null) return;
    child.delay = null;
    if (--delay.waiting === 0) this.#end(delay);
  }

  #end(delay: RestartDelay): void {
    delay.timer!.cancel();
    if (this.#shared === delay) this.#shared = null;
    this.running--;
  }

  /** Ends a delay; returns the first child in start order that has waited, null if none has. */
  release(delay: RestartDelay): Child | null {
    if (delay.waiting === 0) return null;
    this.#end(delay);
    delay.waiting = 0;
    if (!this.together) {
      delay.child.delay = null;
      return delay.child;
    }
    let first: Child | null = null;
    for (
      let child = this.#core.children.list.first;
      child !== undefined;
      child = child.nextNode
    ) {
      if (child.delay !== delay) continue;
      child.delay = null;
      first ??= child;
    }
    return first;
  }
}

/** A failed restart is tried again, behind everything that is in the mailbox. */
export class Retry implements Message {
  readonly #child: Child;

  constructor(child: Child) {
    this.#child = child;
  }

  serve(core: SupervisorCore): Coroutine<void> | null {
    const child = this.#child;
    // Terminated, restarted by a sibling's failure, or in a delay, meanwhile.
    if (child.status !== "restarting" || child.delay !== null) return null;
    return core.restarts.make(child, false);
  }

  refuse(): void {
    // A supervisor that ends restarts nobody.
  }
}
