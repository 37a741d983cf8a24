/**
 * Servers: requests that run as tasks, limited, cancelled when nobody wants them any
 * more, and drained at the end.
 *
 * | To | use |
 * |---|---|
 * | answer HTTP requests, by a function or a framework | {@linkcode serve} |
 * | have the requests of Express, or anything else on `node:http`, run as tasks | {@linkcode nodeHandler} |
 * | send events as they come | {@linkcode eventStream} |
 * | have a supervisor start and stop a server | {@linkcode supervisedServer} |
 *
 * @example A server and a client
 * ```ts
 * import { run, sleep } from "@rota/rota/loop";
 * import { serve } from "@rota/rota/serve";
 * import { assertEquals } from "@std/assert";
 *
 * await run(async () => {
 *   await using server = serve(async () => {
 *     await sleep(5);
 *     return new Response("hello");
 *   }, { port: 0, hostname: "127.0.0.1", maxConcurrent: 10 });
 *   const { port } = await server.ready() as Deno.NetAddr;
 *   const response = await fetch(`http://127.0.0.1:${port}/`);
 *   assertEquals(await response.text(), "hello");
 * });
 * ```
 *
 * @module
 */
import "./load_order.ts";

export {
  type CloseServerOptions,
  serve,
  Server,
  type ServerState,
  type ServerStatistics,
} from "./server.ts";
export type {
  HttpInfo,
  IntakeOptions,
  ListenOptions,
  ServeHandler,
  ServeOptions,
} from "./serve_options.ts";
export { type BackgroundOptions, RequestContext } from "./fetch_run.ts";
export type {
  UpgradedSocket,
  WebSocketUpgradeOptions,
} from "../host/http_server.ts";
export type { LifespanSource } from "./lifespan.ts";
export type { IntakeCounts } from "./intake.ts";
export {
  eventStream,
  type EventStreamItem,
  type EventStreamOptions,
  type EventStreamSource,
  type ServerSentEvent,
} from "./event_stream.ts";
export { supervisedServer } from "./supervised_server.ts";
export {
  type NodeHandler,
  nodeHandler,
  type NodeHandlerOptions,
  type NodeServer,
} from "./node_handler.ts";
export type { NodeRequest, NodeResponse, NodeSocket } from "./node_run.ts";
