/**
 * The task in which a supervisor does its work.
 *
 * @module
 */
import type { EventLoop } from "../loop/event_loop.ts";
import { Future } from "../loop/future.ts";
import { Task } from "../loop/task.ts";
import type { Coroutine } from "../loop/task_body.ts";
import type { Children } from "./children.ts";
import type { ChildHost } from "./supervised.ts";
import { SupervisorCore } from "./supervisor_core.ts";
import type { EventFeed } from "./supervisor_events.ts";
import type { SupervisorSettings } from "./supervisor_options.ts";

/** Task of a supervisor. Cancelling it has the supervisor end in order, at once. */
export class SupervisorTask extends Task<void> {
  readonly core: SupervisorCore;
  /** Told when all children are ready, or that they are not going to be. */
  readonly ready: StartWait;
  /** Whether no supervisor is above it. */
  readonly isTop: boolean;
  /** The supervisor, as its users have it. */
  readonly facade: unknown;

  /**
   * Makes the task, and the inside of the supervisor.
   *
   * @param host The supervisor above; null if there is none.
   * @param facade Object that the supervisor above is handed.
   */
  constructor(
    loop: EventLoop,
    settings: SupervisorSettings,
    children: Children,
    feed: EventFeed,
    host: ChildHost | null,
    facade: unknown,
  ) {
    const self: { task: SupervisorTask | null } = { task: null };
    super(loop, () => self.task!.work(), {
      name: `supervisor ${host === null ? settings.name : host.path}`,
    });
    self.task = this;
    this.core = new SupervisorCore(
      this,
      settings,
      children,
      feed,
      host,
      facade,
    );
    this.ready = new StartWait(this.core);
    this.isTop = host === null;
    this.facade = facade;
  }

  /** Body of the task. */
  private work(): Coroutine<void> {
    return this.core.main(() => this.ready.opened());
  }

  override cancel(reason?: unknown): boolean {
    if (this.done()) return false;
    // At the end of a run the supervisor above ends it in its turn.
    if (!this.core.isEndedByHost) this.core.cancel(reason);
    return true;
  }

  override endWithValue(value: unknown): void {
    super.endWithValue(value);
    this.ready.missed();
  }

  override endWithError(error: unknown): void {
    const isAwaited = this.hasWaiter();
    super.endWithError(error);
    if (this.failed() && !isAwaited) this.#deliver(error);
    this.ready.missed(error);
  }

  /** Hands over an error that no wait for the end gets: to the code that waits for the start, else to the exception handler. */
  #deliver(error: unknown): void {
    this.exception();
    if (this.ready.isAwaited) return;
    const { path } = this.core;
    this.core.report(`Supervisor "${path}" has ended by an error`, error);
  }

  /** Notes that the error goes to the supervisor above. */
  look(): void {
    if (this.failed()) this.exception();
  }
}

/** Wait for the start of a supervisor. Cancelling it ends the supervisor, which takes its time. */
export class StartWait extends Future<void> {
  readonly #core: SupervisorCore;
  #cancelled: { readonly reason: unknown } | null = null;

  constructor(core: SupervisorCore) {
    super(core.loop, `supervisor "${core.path}" to start`);
    this.#core = core;
  }

  /** Whether somebody waits for it. */
  get isAwaited(): boolean {
    return this.hasWaiter();
  }

  /** All children are ready. */
  opened(): void {
    if (!this.done()) this.setResult();
  }

  /** The supervisor has ended; if it was not ready yet, that is how its start went. */
  missed(error: unknown = this.#core.endedError()): void {
    if (this.done()) return;
    if (this.#cancelled !== null) {
      super.cancel(this.#cancelled.reason);
      return;
    }
    const isAwaited = this.hasWaiter();
    this.setException(error);
    if (!isAwaited) this.exception(); // the task has it
  }

  override cancel(reason?: unknown): boolean {
    if (this.done()) return false;
    this.#cancelled ??= { reason };
    this.#core.cancel(reason);
    return true;
  }
}
