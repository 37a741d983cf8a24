/**
 * Line of a loop handle at a caller: the handle's loop is in another thread, as a
 * rule.
 *
 * @module
 */
import {
  type LinePort,
  openLine,
  Port,
  type PortListener,
} from "../host/message_port.ts";
import type { EventLoop } from "../loop/event_loop.ts";
import { packError, unpackError } from "./error_codec.ts";
import { dropHandles, packHandles, unpackHandles } from "./handle_arguments.ts";
import { type Callee, HandleCall } from "./handle_call.ts";
import {
  ADOPT,
  CALL,
  CANCEL,
  CANCELLED,
  CLOSED,
  type FromOwner,
  POST,
  RETURNED,
  THREW,
  type ToOwner,
} from "./handle_messages.ts";
import {
  argumentsError,
  type CallPlan,
  CLOSED_HERE,
  type HandleTarget,
  shutDownError,
} from "./handle_target.ts";

/** The loop of a handle that has been received. */
export class CallerLine implements HandleTarget, PortListener {
  readonly #port: Port;
  readonly #calls = new Map<number, RemoteCall>();
  #idLast = 0;
  /** Reason for which the line has ended; null while it has not. */
  #end: string | null = null;
  #closesWhenIdle = false;

  constructor(port: LinePort) {
    this.#port = new Port(port, this);
  }

  get isClosed(): boolean {
    return this.#end !== null;
  }

  // -- Calls --

  call<T>(
    loop: EventLoop,
    plan: CallPlan,
    signal: AbortSignal | undefined,
  ): HandleCall<T> {
    const future = new HandleCall<T>(loop, plan.name);
    const id = ++this.#idLast;
    try {
      this.#send(plan, (args) => [CALL, id, plan.name, args]);
    } catch (error) {
      future.threw(error);
      return future;
    }
    const call = new RemoteCall(
      this,
      id,
      plan.name,
      future as HandleCall<unknown>,
    );
    this.#calls.set(id, call);
    future.begun(call, signal);
    return future;
  }

  post(plan: CallPlan): void {
    this.#send(plan, (args) => [POST, plan.name, args]);
  }

  /** Sends a call. Throws if the line has ended, or the arguments cannot be cloned. */
  #send(
    { name, args, transfer }: CallPlan,
    message: (args: readonly unknown[]) => ToOwner,
  ): void {
    if (this.#end !== null) throw shutDownError(`call "${name}"`, this.#end);
    const moved = [...transfer];
    const packed = packHandles(args, moved);
    try {
      this.#port.send(message(packed), moved);
    } catch (error) {
      dropHandles(packed);
      throw argumentsError(name, error);
    }
  }

  /** A caller has cancelled its call. */
  withdraw(id: number, reason: unknown): void {
    this.#calls.delete(id);
    this.#port.send([CANCEL, id, packError(reason)] satisfies ToOwner);
    this.#closeIfIdle();
  }

  // -- Outcomes --

  message(data: unknown): void {
    const message = data as FromOwner;
    if (message[0] === CLOSED) {
      this.#finish("its loop has been closed, or the handle to it");
      return;
    }
    const call = this.#calls.get(message[1]);
    if (call === undefined) { // cancelled meanwhile
      if (message[0] === RETURNED) dropHandles(message[2]);
      return;
    }
    this.#calls.delete(message[1]);
    if (message[0] === RETURNED) {
      call.future.returned(unpackHandles(message[2])[0]);
    } else if (message[0] === THREW) call.future.threw(unpackError(message[2]));
    else if (message[0] === CANCELLED) {
      call.future.cancelledThere(unpackError(message[2]));
    }
    this.#closeIfIdle();
  }

  // -- Copies and the end --

  openLine(): LinePort {
    if (this.#end !== null) {
      throw shutDownError("transfer a loop handle", this.#end);
    }
    const [forOwner, there] = openLine();
    this.#port.send([ADOPT, forOwner] satisfies ToOwner, [forOwner]);
    return there;
  }

  /** The handle was collected: closes the line once no call is under way. */
  release(): void {
    this.#closesWhenIdle = true;
    this.#closeIfIdle();
  }

  #closeIfIdle(): void {
    if (this.#closesWhenIdle && this.#calls.size === 0) this.close();
  }

  ended(): void {
    this.#finish("the thread of its loop has ended");
  }

  close(): void {
    this.#finish(CLOSED_HERE);
  }

  /** Ends the line, and rejects all calls under way. */
  #finish(why: string): void {
    if (this.#end !== null) return;
    this.#end = why;
    this.#port.close();
    const calls = [...this.#calls.values()];
    this.#calls.clear();
    for (const call of calls) {
      call.future.threw(shutDownError(`call "${call.name}"`, why));
    }
  }
}

/** A call under way. */
class RemoteCall implements Callee {
  readonly #line: CallerLine;
  readonly #id: number;
  readonly name: string;
  readonly future: HandleCall<unknown>;

  constructor(
    line: CallerLine,
    id: number,
    name: string,
    future: HandleCall<unknown>,
  ) {
    this.#line = line;
    this.#id = id;
    this.name = name;
    this.future = future;
  }

  withdraw(reason: unknown): void {
    this.#line.withdraw(this.#id, reason);
  }
}
