/**
 * Message ports: the two ends of a line between threads, or between parts of one.
 *
 * The ports are those of `node:worker_threads`, which differ from the runtime's
 * own in two ways: they do not keep the process alive, and they tell when the
 * other end is gone, be it closed, thrown away, or in a thread that has ended. The
 * module is loaded on first use, as it loads the runtime's Node layer.
 *
 * @module
 */
import { detached } from "./microtask.ts";

/** Port that can be transferred to another thread. */
export type LinePort = MessagePort;

/** Listener at a port. */
export interface PortListener {
  /** A message has come. Not called after `close()`. */
  message(data: unknown): void;
  /** No more messages come, as the other end is gone. Called once at most, and not after `close()`. */
  ended(): void;
}

/** Port as `node:worker_threads` makes it. */
interface NodePort extends MessagePort {
  unref(): void;
}

/** The part of `node:worker_threads` that is needed. */
interface WorkerThreads {
  readonly MessageChannel: new () => {
    readonly port1: NodePort;
    readonly port2: NodePort;
  };
  receiveMessageOnPort(
    port: NodePort,
  ): { readonly message: unknown } | undefined;
}

let loaded: WorkerThreads | null = null;

function load(): WorkerThreads {
  return loaded ??= globalThis.process.getBuiltinModule(
    "node:worker_threads",
  ) as unknown as WorkerThreads;
}

/** Makes a line: two ports that are connected. Both can be transferred until one listens at them. */
export function openLine(): readonly [LinePort, LinePort] {
  const { port1, port2 } = new (load().MessageChannel)();
  return [port1, port2];
}

/** Whether `value` is a message port. */
export function isPort(value: unknown): value is LinePort {
  return value instanceof MessagePort;
}

function isNodePort(port: MessagePort): port is NodePort {
  return "on" in port;
}

/**
 * Makes a Node port of one of the runtime's, as the receiver of a web worker's
 * message gets. Sending it to oneself does that: Node's way of reading a port
 * turns all ports in the message into its own.
 */
function asNodePort(port: MessagePort): NodePort {
  if (isNodePort(port)) return port;
  const { MessageChannel, receiveMessageOnPort } = load();
  const { port1, port2 } = new MessageChannel();
  try {
    port1.postMessage({ port }, [port]);
    const { port: received } = receiveMessageOnPort(port2)!.message as {
      port: NodePort;
    };
    return received;
  } finally {
    port1.close();
    port2.close();
  }
}

/** A port at which somebody listens. Does not keep the process alive. */
export class Port {
  readonly #port: NodePort;
  #listener: PortListener | null;

  /**
   * Begins to listen, outside of the caller's async context: the first call comes
   * some microtasks later at the earliest.
   *
   * @param port A port that has not been listened at. The new object owns it.
   * @param listener Called with what comes.
   */
  constructor(port: LinePort, listener: PortListener) {
    const own = this.#port = asNodePort(port);
    this.#listener = listener;
    own.addEventListener("message", (event) => this.#receive(event));
    own.addEventListener("messageerror", () => this.#end());
    own.addEventListener("close", () => this.#end());
    own.unref(); // the listener for messages has ref'd it
    detached(() => {
      if (this.#listener !== null) own.start();
    });
  }

  #receive({ data, ports }: MessageEvent): void {
    if (this.#listener !== null) this.#listener.message(data);
    // The runtime hands out what is left when a port is closed.
    else for (const port of ports) port.close();
  }

  /** The other end is gone, or has sent what cannot be read, after which the runtime reads no further. */
  #end(): void {
    const listener = this.#listener;
    this.close();
    listener?.ended();
  }

  /**
   * Sends a message, which is lost if the other end is gone.
   *
   * @throws {DOMException} `DataCloneError` if it cannot be cloned; nothing was sent then.
   */
  send(message: unknown, transfer: readonly Transferable[] = []): void {
    // Without a list the runtime takes a shorter way.
    if (transfer.length === 0) this.#port.postMessage(message);
    else this.#port.postMessage(message, [...transfer]);
  }

  /** Closes the line. Messages sent before still arrive; messages that come are dropped. Twice is harmless. */
  close(): void {
    this.#listener = null;
    this.#port.close();
  }
}
