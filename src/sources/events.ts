/**
 * Events and messages: `once` for one of them, `fromEvent` and `fromMessagePort` for
 * all that come.
 *
 * @module
 */
import { isPort, type LinePort, Port } from "../host/message_port.ts";
import {
  checkHas,
  checkOptions,
  checkPlainFunction,
  checkSignal,
  checkString,
  inspect,
} from "../loop/checks.ts";
import { core } from "../loop/core.ts";
import { getRunningLoop } from "../loop/current.ts";
import { Future } from "../loop/future.ts";
import { Operation, type WaitOptions } from "../loop/operation.ts";
import type { Coroutine } from "../loop/task_body.ts";
import { Source } from "./source.ts";
import type { SourceOptions } from "./source_options.ts";

/** Listener of an {@linkcode Emitter}: each type of event has arguments of its own. */
// deno-lint-ignore no-explicit-any
export type Listener = (...args: any[]) => void;

/** Emitter of events in the manner of Node's `EventEmitter`. */
export interface Emitter {
  /** Adds a listener. */
  on(type: string, listener: Listener): unknown;
  /** Removes a listener. */
  off(type: string, listener: Listener): unknown;
}

/** Options of {@linkcode once}. */
export interface OnceOptions extends WaitOptions {
  /**
   * Function to call as soon as somebody listens, which causes the event: no event can
   * be missed. An error of the function ends the wait.
   */
  readonly trigger?: (() => void) | undefined;
}

/** A target of either kind. */
interface Subject {
  /** Listens; returns the function that removes the listener. */
  listen(type: string, listener: Listener): () => void;
  /** Whether the listener gets an event; else it gets the arguments of an emitter. */
  readonly isTarget: boolean;
}

/** Checks a target; either kind of target is hidden behind the same two calls. */
function subjectOf(target: unknown, what: string): Subject {
  const isObject = typeof target === "object" && target !== null;
  if (
    isObject && typeof Reflect.get(target, "addEventListener") === "function"
  ) {
    const events = target as EventTarget;
    return {
      isTarget: true,
      listen(type, listener) {
        events.addEventListener(type, listener);
        // A port hands out nothing before it is started.
        if (type === "message" && isPort(events)) events.start();
        return () => events.removeEventListener(type, listener);
      },
    };
  }
  checkHas(
    target,
    ["on", "off"],
    what,
    "target",
    "an EventTarget or an EventEmitter",
  );
  const emitter = target as Emitter;
  return {
    isTarget: false,
    listen(type, listener) {
      emitter.on(type, listener);
      return () => emitter.off(type, listener);
    },
  };
}

/** Listens to an emitter, to its errors too: they end the wait, and would else end the process. */
function listenBoth(
  subject: Subject,
  type: string,
  listener: Listener,
  failed: (error: unknown) => void,
): () => void {
  const remove = subject.listen(type, listener);
  if (subject.isTarget || type === "error") return remove;
  const removeFailed = subject.listen("error", failed);
  return () => {
    remove();
    removeFailed();
  };
}

/**
 * Waits for one event of a target: the next one after the wait has begun.
 *
 * Like every operation it does nothing before it is awaited, so an event that is
 * dispatched earlier is missed, and the wait goes on for ever. If your own code causes
 * the event, hand that in as `trigger`: the function is called when the listener is in
 * place. If events may come between two waits, use {@linkcode fromEvent}, which keeps
 * them. If the event may never come, wrap the wait in a `timeout`: an `EventTarget` that
 * fails says so by an event of another type, such as `"error"`, which does not end this
 * wait.
 *
 * The task goes on in the turn after the event: `preventDefault()` is too late there.
 * The listener is removed in any case: by the event, by a cancellation, by the signal.
 *
 * @example An event that this code causes, and one that comes by itself
 * ```ts
 * import { getRunningLoop, once, run } from "@rota/rota";
 * import { assertEquals } from "@std/assert";
 *
 * const target = new EventTarget();
 * await run(function* () {
 *   const pong = yield* once(target, "pong", {
 *     trigger: () => target.dispatchEvent(new Event("pong")),
 *   });
 *   assertEquals(pong.type, "pong");
 *
 *   getRunningLoop().callLater(5, () => target.dispatchEvent(new Event("tick")));
 *   const tick = yield* once(target, "tick");
 *   assertEquals(tick.type, "tick");
 * }, { host: "virtual" });
 * ```
 *
 * @typeParam E Type of the event.
 * @param target An `EventTarget`. A `MessagePort` is started if the type is
 * `"message"`.
 * @param type Type of the event.
 * @param options A signal that ends the wait, and a function that causes the event.
 * @returns An operation whose result is the event. It does nothing until it is awaited.
 * @throws {TypeError} If `target` sends no events, or an argument is of the wrong type.
 */
export function once<E extends Event = Event>(
  target: EventTarget,
  type: string,
  options?: OnceOptions,
): Operation<E>;
/**
 * The same for an emitter in the manner of Node's. The result is the list of the
 * arguments of the event. An `"error"` event is thrown, unless it is what is waited for.
 */
export function once<A extends unknown[] = unknown[]>(
  target: Emitter,
  type: string,
  options?: OnceOptions,
): Operation<A>;
export function once(
  target: EventTarget | Emitter,
  type: string,
  options: OnceOptions = {},
): Operation<unknown> {
  const what = "wait for an event";
  const subject = subjectOf(target, what);
  checkString(type, what, "type");
  checkOptions(options, what);
  const { signal, trigger } = options;
  checkSignal(signal, what);
  if (trigger !== undefined) checkPlainFunction(trigger, what, "trigger");
  const name = `once(${inspect(type)})`;
  return new Operation(() => waitOnce(subject, type, name, trigger), {
    name,
    ...(signal !== undefined && { signal }),
  });
}

function* waitOnce(
  subject: Subject,
  type: string,
  name: string,
  trigger: (() => void) | undefined,
): Coroutine<unknown> {
  const loop = getRunningLoop();
  const { outside, virtual } = loop[core];
  const event = new Future<unknown>(loop, name);
  let remove: (() => void) | null = null;
  const leave = () => {
    remove?.();
    remove = null;
  };
  const came = (...args: unknown[]) => {
    if (!event.done()) event.setResult(subject.isTarget ? args[0] : args);
    // Not only when the task goes on: an error of the emitter may follow at once, which is
    // none of this wait.
    leave();
  };
  const failed = (error: unknown) => {
    if (!event.done()) event.setException(error);
    else {
      loop.callExceptionHandler({
        message: `${name} got an error when its wait had been cancelled`,
        exception: error,
      });
    }
    leave();
  };
  remove = listenBoth(subject, type, came, failed);
  if (!virtual) outside.outsideBegan();
  try {
    trigger?.();
    return yield* event;
  } finally {
    if (!virtual) outside.outsideEnded();
    leave();
  }
}

class EventItems extends Source<unknown> {
  readonly #remove: () => void;

  constructor(subject: Subject, type: string, options: SourceOptions) {
    super(options, {
      what: SUBSCRIBE,
      name: `fromEvent(${inspect(type)})`,
      cannotBlock: "events cannot be made to wait",
      outside: "real",
    });
    const came: Listener = subject.isTarget
      ? (event: unknown) => this.deliver(event)
      : (...args: unknown[]) => this.deliver(args);
    this.#remove = listenBoth(
      subject,
      type,
      came,
      (error) => this.fail(error),
    );
    this.begin(options.signal);
  }

  protected release(): void {
    this.#remove();
  }
}

const SUBSCRIBE = "subscribe to events";

/**
 * Listens to the events of a target, and returns them as a source.
 *
 * The listener is in place when the call returns. Events are kept from then on, up to
 * `buffer`, so nothing is missed between making the source and going through it. An
 * `EventTarget` cannot wait: `overflow: "block"` is refused, and without another policy
 * the 1,025th event that waits ends the source with an error.
 *
 * The consumer gets an event in the turn after it was dispatched:
 * `preventDefault()` is too late there. An event costs up to about as much again as with a
 * bare listener, more if `for await` has to wait for each.
 *
 * @example Only the latest position counts
 * ```ts
 * import { each, fromEvent, run } from "@rota/rota";
 * import { assertEquals } from "@std/assert";
 *
 * const target = new EventTarget();
 * await run(function* () {
 *   using moves = fromEvent<CustomEvent<number>>(target, "move", {
 *     buffer: 1,
 *     overflow: "drop-oldest",
 *   });
 *   for (const detail of [1, 2, 3]) {
 *     target.dispatchEvent(new CustomEvent("move", { detail }));
 *   }
 *   yield* each(moves, function* ({ detail }, stop) {
 *     assertEquals([detail, moves.dropped], [3, 2]);
 *     stop();
 *   });
 * }, { host: "virtual" });
 * ```
 *
 * @typeParam E Type of the events.
 * @param target An `EventTarget`. A `MessagePort` is started if the type is
 * `"message"`; {@linkcode fromMessagePort} does more for ports.
 * @param type Type of the events.
 * @param options Size of the buffer, policy, a signal.
 * @returns The source, which listens already.
 * @throws {TypeError} If `target` sends no events, an option is of the wrong type, or
 * `overflow` is `"block"`.
 * @throws {RangeError} If `buffer` is not an integer >= 1.
 * @throws {MisuseError} If no loop is running.
 */
export function fromEvent<E extends Event = Event>(
  target: EventTarget,
  type: string,
  options?: SourceOptions,
): Source<E>;
/**
 * The same for an emitter in the manner of Node's. Each item is the list of the
 * arguments of an event. An `"error"` event ends the source with its error.
 */
export function fromEvent<A extends unknown[] = unknown[]>(
  target: Emitter,
  type: string,
  options?: SourceOptions,
): Source<A>;
export function fromEvent(
  target: EventTarget | Emitter,
  type: string,
  options: SourceOptions = {},
): Source<never> {
  const subject = subjectOf(target, SUBSCRIBE);
  checkString(type, SUBSCRIBE, "type");
  return new EventItems(subject, type, options) as Source<unknown> as Source<
    never
  >;
}

class Messages<T> extends Source<T> {
  readonly #port: Port;

  constructor(port: LinePort, options: SourceOptions) {
    super(options, {
      what: "receive messages",
      name: "fromMessagePort()",
      cannotBlock: "messages cannot be made to wait",
      outside: "always",
    });
    this.#port = new Port(port, {
      message: (data) => this.deliver(data as T),
      ended: (why) => {
        if (why === "gone") this.end();
        else {
          this.fail(
            new TypeError("Cannot receive a message: it cannot be read here"),
          );
        }
      },
    });
    this.begin(options.signal);
  }

  protected release(): void {
    this.#port.close();
  }
}

/**
 * Takes over a message port, and returns the messages as a source.
 *
 * The source listens when the call returns, and owns the port: the port is closed with
 * the source. It ends when the other end is closed, or its thread has gone. A message
 * that cannot be read here ends it with a `TypeError`. Sending on the port remains with
 * the caller. A port cannot wait: `overflow: "block"` is refused. A port that was closed or sent
 * away before gives nothing: the runtime does not tell, except by a `DOMException` for some.
 *
 * @example Messages until the other end is closed
 * ```ts
 * import { each, fromMessagePort, run } from "@rota/rota";
 * import { assertEquals } from "@std/assert";
 *
 * const { port1, port2 } = new MessageChannel();
 * const received: string[] = [];
 * await run(function* () {
 *   const messages = fromMessagePort<string>(port1);
 *   for (const word of ["a", "b", "end"]) port2.postMessage(word);
 *   yield* each(messages, (word, stop) => {
 *     if (word === "end") stop();
 *     else received.push(word);
 *   });
 * });
 * port2.close();
 * assertEquals(received, ["a", "b"]);
 * ```
 *
 * @typeParam T Type of the messages, which is not checked.
 * @param port A port at which nobody listens yet.
 * @param options Size of the buffer, policy, a signal.
 * @returns The source, which listens already.
 * @throws {TypeError} If `port` is not a `MessagePort`, an option is of the wrong type,
 * or `overflow` is `"block"`.
 * @throws {RangeError} If `buffer` is not an integer >= 1.
 * @throws {MisuseError} If no loop is running.
 */
export function fromMessagePort<T = unknown>(
  port: LinePort,
  options: SourceOptions = {},
): Source<T> {
  if (!isPort(port)) {
    throw new TypeError(
      `Cannot receive messages as port must be a MessagePort: received ${
        inspect(port)
      }`,
    );
  }
  return new Messages<T>(port, options);
}
