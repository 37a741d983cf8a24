/**
 * Operations that call a supervisor.
 *
 * @module
 */
import type { EventLoop } from "../loop/event_loop.ts";
import type { Suspension } from "../loop/future.ts";
import { Operation, type OperationOptions } from "../loop/operation.ts";
import type { Call } from "./supervisor_calls.ts";
import type { SupervisorCore } from "./supervisor_core.ts";

/**
 * Operation of a call. A call that is served at once costs no generator: the future of
 * its answer is the iterator.
 */
export class CallOperation<T> extends Operation<T> {
  readonly #find: () => SupervisorCore;
  readonly #make: (loop: EventLoop) => Call<T>;

  /**
   * Makes the operation.
   *
   * @param find Returns the supervisor; throws if it was not started.
   * @param make Makes the call.
   */
  constructor(
    options: OperationOptions,
    find: () => SupervisorCore,
    make: (loop: EventLoop) => Call<T>,
  ) {
    super(undefined, options);
    this.#find = find;
    this.#make = make;
  }

  protected override begin(): Iterator<Suspension, T, unknown> {
    const core = this.#find();
    if (core.state === "ended") throw core.endedError();
    const call = this.#make(core.loop);
    core.serveOrPost(call);
    return call[Symbol.iterator]();
  }
}
