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
export class CallOperation<T, A> extends Operation<T> {
  // Declared here and assigned in the constructor: a super() call that defines fields
  // costs 10 ns more.
  declare private readonly find: () => SupervisorCore;
  declare private readonly make: (loop: EventLoop, argument: A) => Call<T>;
  declare private readonly argument: A;

  /**
   * Makes the operation.
   *
   * @param find Returns the supervisor; throws if it was not started.
   * @param make Makes the call. A function that serves all calls of its kind.
   * @param argument Subject of the call, handed to `make`.
   */
  constructor(
    options: OperationOptions,
    find: () => SupervisorCore,
    make: (loop: EventLoop, argument: A) => Call<T>,
    argument: A,
  ) {
    super(undefined, options);
    this.find = find;
    this.make = make;
    this.argument = argument;
  }

  protected override begin(): Iterator<Suspension, T, unknown> {
    const core = this.find();
    if (core.state === "ended") throw core.endedError();
    const call = this.make(core.loop, this.argument);
    core.serveOrPost(call);
    return call[Symbol.iterator]();
  }
}
