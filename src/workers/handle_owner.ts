/**
 * Owner of a loop handle: the loop whose functions are called, and the lines on
 * which calls come.
 *
 * @module
 */
import { MisuseError } from "../errors.ts";
import { type LinePort, openLine } from "../host/message_port.ts";
import { core } from "../loop/core.ts";
import { getRunningLoop } from "../loop/current.ts";
import type { EndListener } from "../loop/endings.ts";
import type { EventLoop } from "../loop/event_loop.ts";
import { Future } from "../loop/future.ts";
import type { Coroutine } from "../loop/task_body.ts";
import type { HandleCall } from "./handle_call.ts";
import {
  type CallPlan,
  CLOSED_HERE,
  type HandleTarget,
  shutDownError,
} from "./handle_target.ts";
import {
  type HandleFunction,
  IncomingCall,
  type Reply,
} from "./incoming_call.ts";
import { LocalLine } from "./local_line.ts";
import { OwnerLine } from "./owner_line.ts";

/** The owner's side of a handle. Closes when its loop ends. */
export class HandleOwner implements HandleTarget, EndListener {
  readonly loop: EventLoop;
  readonly #functions = new Map<string, HandleFunction>();
  readonly #local: LocalLine = new LocalLine(this);
  readonly #lines = new Set<OwnerLine>();
  /** Futures of `serve()`. */
  readonly #servers = new Set<Future<void>>();
  isClosed = false;

  constructor(loop: EventLoop) {
    this.loop = loop;
    if (loop.isClosed()) loop[core].refuseClosed("make a loop handle");
    loop[core].endings.add(this);
  }

  // -- Functions --

  /** Adds a function. */
  register(name: string, fn: HandleFunction): void {
    const what = `register "${name}"`;
    if (this.isClosed) throw shutDownError(what, CLOSED_HERE);
    if (this.#functions.has(name)) {
      throw new MisuseError(
        `Cannot ${what}: a function of that name is registered already`,
      );
    }
    this.#functions.set(name, fn);
  }

  /** Removes a function; false if there is none of that name. */
  unregister(name: string): boolean {
    return this.#functions.delete(name);
  }

  readonly #find = (name: string): HandleFunction => {
    const fn = this.#functions.get(name);
    if (fn !== undefined) return fn;
    const names = [...this.#functions.keys()].map((name) => `"${name}"`);
    throw new MisuseError(
      `Cannot call "${name}": no such function is registered, ${
        names.length === 0 ? "none is" : `only ${names.join(", ")}`
      }`,
    );
  };

  // -- Calls --

  /** Has a call that has come begin in a turn of the loop. */
  begin(
    name: string,
    args: readonly unknown[],
    reply: Reply | null,
  ): IncomingCall {
    const call = new IncomingCall(this.loop, name, args, reply);
    this.loop.callSoon(beginCall, call, this.#find);
    return call;
  }

  call<T>(
    loop: EventLoop,
    plan: CallPlan,
    signal: AbortSignal | undefined,
  ): HandleCall<T> {
    return this.#local.call<T>(loop, plan, signal);
  }

  post(plan: CallPlan): void {
    if (this.isClosed) throw shutDownError(`call "${plan.name}"`, CLOSED_HERE);
    this.#local.post(plan);
  }

  // -- Lines --

  openLine(): LinePort {
    if (this.isClosed) {
      throw shutDownError("transfer a loop handle", CLOSED_HERE);
    }
    const [here, there] = openLine();
    this.addLine(here);
    return there;
  }

  /** Takes calls from a port. */
  addLine(port: LinePort): void {
    this.#lines.add(new OwnerLine(this, port));
  }

  /** A line has ended. */
  lineEnded(line: OwnerLine): void {
    this.#lines.delete(line);
  }

  // -- The end --

  /** Waits until the handle is closed. */
  *served(): Coroutine<void> {
    if (this.isClosed) return;
    const { loop } = this;
    if (getRunningLoop() !== loop) {
      throw new MisuseError(
        "Cannot serve the calls of a loop handle: its loop is another one",
      );
    }
    const future = new Future<void>(loop, "LoopHandle.serve()");
    this.#servers.add(future);
    loop[core].outside.outsideBegan();
    try {
      yield* future;
    } finally {
      loop[core].outside.outsideEnded();
      this.#servers.delete(future);
    }
  }

  close(): void {
    if (this.isClosed) return;
    this.isClosed = true;
    this.loop[core].endings.delete(this);
    this.#functions.clear();
    const lines = [...this.#lines];
    this.#lines.clear();
    for (const line of lines) line.close();
    this.#local.close();
    for (const server of this.#servers) {
      if (!server.done()) server.setResult();
    }
  }

  loopEnds(): void {
    this.close();
  }

  loopClosed(): void {
    this.close();
  }
}

function beginCall(
  call: IncomingCall,
  find: (name: string) => HandleFunction,
): void {
  call.begin(find);
}
