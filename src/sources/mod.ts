/**
 * Sources: what comes from outside the loop, events, messages, signals and bytes, as items
 * that a task takes one after the other.
 *
 * | | |
 * |---|---|
 * | {@linkcode once} | one event of a target |
 * | {@linkcode fromEvent} | the events of an `EventTarget` or an emitter |
 * | {@linkcode fromMessagePort} | the messages of a port |
 * | {@linkcode fromWebSocket}, {@linkcode reconnecting} | the messages of a web socket; sending with backpressure |
 * | {@linkcode fromStream} | the chunks of a `ReadableStream` |
 * | {@linkcode fromReader} | bytes from a descriptor |
 * | {@linkcode fromSignal} | arrivals of a signal of the operating system |
 * | {@linkcode fromFsEvents} | changes of files |
 * | {@linkcode merge} | several of them as one |
 *
 * All but `once` are subscribed when the call returns, keep what comes in a buffer with a
 * bound and a policy ({@linkcode Overflow}), and unsubscribe however they are left:
 * {@linkcode Source} has the details. Generators go through them by `each`, without a promise
 * for an item, async functions by `for await`.
 *
 * **Subscribe first.** An event that comes while nobody listens is lost, and a wait for it goes
 * on for ever. So make the source, then cause the event, then take it; or give `once` the
 * function that causes it as `trigger`. Make the source in the very function that gets the
 * target, such as the handler that upgrades a request, and not in a task that it starts: a task
 * begins in the next turn, and the first message may come before.
 *
 * **Order.** Items come in the order in which they arrived, each in the turn after its arrival
 * at the earliest. An error or the end comes after the items before it.
 *
 * **Cancelling.** A wait that is cancelled takes no item. It ends an iteration, and with it the
 * source; after a {@linkcode Source.take} that was cancelled the source goes on.
 *
 * **Errors** are thrown once, at the consumer. If it has left without seeing one, the loop's
 * exception handler is told. The reason of a signal is thrown at the consumer, and not
 * reported: whoever has aborted knows.
 *
 * **Costs.** An item that waits in the buffer costs about a tenth of a microsecond by `each`,
 * and a quarter of one by `for await`; one that has to be waited for costs about a microsecond
 * by either.
 *
 * @example Nothing is missed between subscribing and waiting
 * ```ts
 * import { each, run } from "@rota/rota/loop";
 * import { fromEvent } from "@rota/rota/sources";
 * import { assertEquals } from "@std/assert";
 *
 * const target = new EventTarget();
 * const log: string[] = [];
 * await run(async () => {
 *   const events = fromEvent(target, "news");
 *   target.dispatchEvent(new Event("news"));
 *   target.dispatchEvent(new Event("news"));
 *   events.close(); // takes what is there, and ends
 *   for await (const { type } of events) log.push(type);
 *
 *   const others = fromEvent(target, "news", { buffer: 1, overflow: "drop-oldest" });
 *   target.dispatchEvent(new Event("news"));
 *   target.dispatchEvent(new Event("news"));
 *   await each(others, function* ({ type }, stop) {
 *     log.push(`${type}, ${others.dropped} dropped`);
 *     stop(); // which unsubscribes
 *   });
 * }, { host: "virtual" });
 * assertEquals(log, ["news", "news", "news, 1 dropped"]);
 * ```
 *
 * @module
 */
import "./load_order.ts";

export {
  MessageTooLargeError,
  ReconnectLimitError,
  SourceClosedError,
  SourceOverflowError,
  WebSocketClosedError,
} from "../errors.ts";
export type { LinePort } from "../host/message_port.ts";
export {
  type Emitter,
  fromEvent,
  fromMessagePort,
  type Listener,
  once,
  type OnceOptions,
} from "./events.ts";
export type {
  WebSocketClose,
  WebSocketData,
  WebSocketMessage,
  WebSocketOptions,
} from "./connection.ts";
export { type ItemOf, merge, type Mergeable } from "./merge.ts";
export { fromFsEvents, fromStream, type FsEventsOptions } from "./pulled.ts";
export {
  type OpenSocket,
  type ReconnectBackoff,
  reconnecting,
  type ReconnectingOptions,
  type ReconnectingState,
  type ReconnectingWebSocket,
} from "./reconnecting.ts";
export type { Source } from "./source.ts";
export type { Overflow, SourceOptions } from "./source_options.ts";
export { fromReader, fromSignal, type ReaderOptions } from "./system.ts";
export { fromWebSocket, type WebSocketSource } from "./web_socket.ts";
