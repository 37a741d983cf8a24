/**
 * Targets that count their listeners, and sockets that a test plays by hand.
 *
 * @module
 */
import { assertEquals } from "@std/assert";

/** A target that knows how many listeners it has. */
export class CountingTarget extends EventTarget {
  readonly #listeners = new Map<string, Set<unknown>>();

  get listeners(): number {
    return [...this.#listeners.values()].reduce(
      (sum, { size }) => sum + size,
      0,
    );
  }

  override addEventListener(
    ...args: Parameters<EventTarget["addEventListener"]>
  ): void {
    const [type, listener] = args;
    const listeners = this.#listeners.get(type) ?? new Set();
    this.#listeners.set(type, listeners.add(listener));
    super.addEventListener(...args);
  }

  override removeEventListener(
    ...args: Parameters<EventTarget["removeEventListener"]>
  ): void {
    const [type, listener] = args;
    this.#listeners.get(type)?.delete(listener);
    super.removeEventListener(...args);
  }

  /** Dispatches one numbered event for each number. */
  emit(...numbers: number[]): void {
    for (const detail of numbers) {
      this.dispatchEvent(new CustomEvent("tick", { detail }));
    }
  }
}

/** A signal that knows how many listeners it has. */
export function countingSignal(): {
  readonly controller: AbortController;
  readonly signal: AbortSignal;
  readonly count: () => number;
} {
  const controller = new AbortController();
  const { signal } = controller;
  let count = 0;
  const add = signal.addEventListener;
  const remove = signal.removeEventListener;
  signal.addEventListener = (...args: unknown[]) => {
    count++;
    Reflect.apply(add, signal, args);
  };
  signal.removeEventListener = (...args: unknown[]) => {
    count--;
    Reflect.apply(remove, signal, args);
  };
  return { controller, signal, count: () => count };
}

/** A web socket without a network: what the peer does is up to the test. */
export class FakeSocket extends CountingTarget {
  readyState: number;
  bufferedAmount = 0;
  binaryType = "arraybuffer";
  readonly sent: unknown[] = [];
  /** The goodbye that was said. */
  goodbye: { code: number; reason: string } | null = null;
  /** Whether it refuses the codes of the protocol, as a client of the runtime does. */
  readonly isClient: boolean;

  constructor(state: "connecting" | "open" = "open", isClient = true) {
    super();
    this.readyState = state === "open" ? 1 : 0;
    this.isClient = isClient;
  }

  send(data: unknown): void {
    assertEquals(this.readyState, 1, "send() on a socket that is not open");
    this.sent.push(data);
  }

  close(code = 1000, reason = ""): void {
    if (this.isClient && code !== 1000 && !(code >= 3000 && code <= 4999)) {
      throw new DOMException("bad code", "InvalidAccessError");
    }
    if (this.readyState >= 2) return;
    this.readyState = 2;
    this.goodbye = { code, reason };
  }

  /** The connection is made. */
  open(): void {
    this.readyState = 1;
    this.dispatchEvent(new Event("open"));
  }

  /** A message comes. */
  receive(data: unknown): void {
    this.dispatchEvent(new MessageEvent("message", { data }));
  }

  /** The connection ends. */
  end(code: number, reason = "", wasClean = true): void {
    this.readyState = 3;
    if (!wasClean) {
      this.dispatchEvent(
        new ErrorEvent("error", { message: "Unexpected EOF" }),
      );
    }
    this.dispatchEvent(new CloseEvent("close", { code, reason, wasClean }));
  }

  /** Itself, as what the library takes. */
  get asSocket(): WebSocket {
    return this as unknown as WebSocket;
  }
}
