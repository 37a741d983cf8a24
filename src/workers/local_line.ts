/**
 * Calls of a loop handle that come from the owner's own thread: from the same
 * loop, or from another one beside it. They need no port, but values are copied as
 * on the way to another thread, so that a call does the same from anywhere.
 *
 * @module
 */
import type { EventLoop } from "../loop/event_loop.ts";
import { dropHandles, packHandles, unpackHandles } from "./handle_arguments.ts";
import { type Callee, HandleCall } from "./handle_call.ts";
import {
  argumentsError,
  type CallPlan,
  CLOSED_HERE,
  resultError,
  shutDownError,
} from "./handle_target.ts";
import type { IncomingCall, Reply } from "./incoming_call.ts";

/** The owner, as its lines see it. */
export interface LocalOwner {
  readonly isClosed: boolean;
  begin(
    name: string,
    args: readonly unknown[],
    reply: Reply | null,
  ): IncomingCall;
}

/** Copies values as sending them to another thread would. */
function copy(
  values: readonly unknown[],
  transferred: readonly Transferable[],
): readonly unknown[] {
  const transfer = [...transferred];
  const packed = packHandles(values, transfer);
  try {
    return unpackHandles(structuredClone(packed, { transfer }));
  } catch (error) {
    dropHandles(packed);
    throw error;
  }
}

function copyArguments({ name, args, transfer }: CallPlan): readonly unknown[] {
  try {
    return copy(args, transfer);
  } catch (error) {
    throw argumentsError(name, error);
  }
}

/** Call of which both ends are here. */
class LocalCall implements Callee, Reply {
  readonly #calls: Set<LocalCall>;
  readonly #name: string;
  readonly #future: HandleCall<unknown>;
  /** Null until it is queued. */
  #incoming: IncomingCall | null = null;

  constructor(
    calls: Set<LocalCall>,
    name: string,
    future: HandleCall<unknown>,
  ) {
    this.#calls = calls;
    this.#name = name;
    this.#future = future;
  }

  queued(incoming: IncomingCall): void {
    this.#incoming = incoming;
    this.#calls.add(this);
  }

  withdraw(reason: unknown): void {
    this.#calls.delete(this);
    this.#incoming!.withdraw(reason);
  }

  /** The owner is closed. */
  refuse(): void {
    this.#incoming!.withdraw(CLOSED_HERE);
    this.#future.threw(shutDownError(`call "${this.#name}"`, CLOSED_HERE));
  }

  returned(value: unknown): void {
    this.#calls.delete(this);
    let copied: readonly unknown[];
    try {
      copied = copy([value], []);
    } catch (error) {
      this.#future.threw(resultError(this.#name, error));
      return;
    }
    this.#future.returned(copied[0]);
  }

  threw(error: unknown): void {
    this.#calls.delete(this);
    this.#future.threw(error);
  }

  cancelled(error: unknown): void {
    this.#calls.delete(this);
    this.#future.cancelledThere(error);
  }
}

/** The calls from the owner's thread. */
export class LocalLine {
  readonly #owner: LocalOwner;
  readonly #calls = new Set<LocalCall>();

  constructor(owner: LocalOwner) {
    this.#owner = owner;
  }

  /** Has a function called for a caller on `loop`. */
  call<T>(
    loop: EventLoop,
    plan: CallPlan,
    signal: AbortSignal | undefined,
  ): HandleCall<T> {
    const { name } = plan;
    const future = new HandleCall<T>(loop, name);
    try {
      if (this.#owner.isClosed) {
        throw shutDownError(`call "${name}"`, CLOSED_HERE);
      }
      const call = new LocalCall(
        this.#calls,
        name,
        future as HandleCall<unknown>,
      );
      call.queued(this.#owner.begin(name, copyArguments(plan), call));
      future.begun(call, signal);
    } catch (error) {
      future.threw(error);
    }
    return future;
  }

  /** Has a function called whose outcome nobody waits for. */
  post(plan: CallPlan): void {
    this.#owner.begin(plan.name, copyArguments(plan), null);
  }

  /** The owner is closed: rejects all calls under way. */
  close(): void {
    const calls = [...this.#calls];
    this.#calls.clear();
    for (const call of calls) call.refuse();
  }
}
