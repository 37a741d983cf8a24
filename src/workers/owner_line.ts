/**
 * Line of a loop handle at the owner: takes the calls of one copy of the handle,
 * which is in another thread as a rule, and sends it their outcomes.
 *
 * @module
 */
import {
  type LinePort,
  Port,
  type PortListener,
} from "../host/message_port.ts";
import { type PackedError, packError, unpackError } from "./error_codec.ts";
import { dropHandles, packHandles, unpackHandles } from "./handle_arguments.ts";
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
import { CLOSED_HERE, resultError } from "./handle_target.ts";
import type { IncomingCall, Reply } from "./incoming_call.ts";

/** The owner, as its lines see it. */
export interface LineOwner {
  begin(
    name: string,
    args: readonly unknown[],
    reply: Reply | null,
  ): IncomingCall;
  addLine(port: LinePort): void;
  lineEnded(line: OwnerLine): void;
}

/** Line to one caller. */
export class OwnerLine implements PortListener {
  readonly #owner: LineOwner;
  readonly #port: Port;
  readonly #calls = new Map<number, IncomingCall>();

  constructor(owner: LineOwner, port: LinePort) {
    this.#owner = owner;
    this.#port = new Port(port, this);
  }

  message(data: unknown): void {
    const message = data as ToOwner;
    if (message[0] === CALL) this.#call(message[1], message[2], message[3]);
    else if (message[0] === POST) {
      this.#owner.begin(message[1], unpackHandles(message[2]), null);
    } else if (message[0] === CANCEL) this.#cancel(message[1], message[2]);
    else if (message[0] === ADOPT) this.#owner.addLine(message[1]);
  }

  #call(id: number, name: string, args: readonly unknown[]): void {
    const reply = new LineReply(this, id, name);
    const call = this.#owner.begin(name, unpackHandles(args), reply);
    this.#calls.set(id, call);
  }

  #cancel(id: number, reason: PackedError): void {
    const call = this.#calls.get(id);
    this.#calls.delete(id);
    call?.withdraw(unpackError(reason));
  }

  /** A call has ended: sends its outcome. Throws what cannot be cloned. */
  reply(id: number, message: FromOwner, transfer: Transferable[] = []): void {
    this.#port.send(message, transfer);
    this.#calls.delete(id);
  }

  /** The caller is gone, and nobody waits for the calls under way any more. */
  ended(): void {
    this.#owner.lineEnded(this);
    this.#withdrawAll("the caller is gone");
  }

  /** Closes the line. The caller is told, and rejects all its calls. */
  close(): void {
    this.#port.send([CLOSED] satisfies FromOwner);
    this.#port.close();
    this.#withdrawAll(CLOSED_HERE);
  }

  #withdrawAll(reason: string): void {
    const calls = [...this.#calls.values()];
    this.#calls.clear();
    for (const call of calls) call.withdraw(reason);
  }
}

/** Place to which the outcome of one call goes. */
class LineReply implements Reply {
  readonly #line: OwnerLine;
  readonly #id: number;
  readonly #name: string;

  constructor(line: OwnerLine, id: number, name: string) {
    this.#line = line;
    this.#id = id;
    this.#name = name;
  }

  returned(value: unknown): void {
    const transfer: Transferable[] = [];
    let packed: readonly unknown[] = [];
    try {
      packed = packHandles([value], transfer);
      this.#line.reply(
        this.#id,
        [RETURNED, this.#id, packed as [unknown]],
        transfer,
      );
    } catch (error) {
      dropHandles(packed);
      this.threw(resultError(this.#name, error));
    }
  }

  threw(error: unknown): void {
    this.#line.reply(this.#id, [THREW, this.#id, packError(error)]);
  }

  cancelled(error: unknown): void {
    this.#line.reply(this.#id, [CANCELLED, this.#id, packError(error)]);
  }
}
