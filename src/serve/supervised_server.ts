/**
 * Servers as children of a supervisor.
 *
 * @module
 */
import { checkFunction } from "../loop/checks.ts";
import type { Task } from "../loop/task.ts";
import type { Coroutine } from "../loop/task_body.ts";
import {
  KILLED_END,
  NORMAL_END,
  SHUTDOWN_END,
} from "../supervise/child_end.ts";
import {
  type ChildControl,
  type ChildHost,
  type Supervisable,
  supervised,
} from "../supervise/supervised.ts";
import {
  type ServeHandler,
  type ServeOptions,
  settleServe,
} from "./serve_options.ts";
import { serve, type Server } from "./server.ts";

const WHAT = "supervise a server";

/**
 * Makes the `start` of a child that is a server: see {@linkcode serve}.
 *
 * The child is ready when the server listens; its {@linkcode Server} is `run.value` then.
 * A lifespan that fails to start, and a port that is taken, are failed starts. A stop
 * closes the server, with `graceMs`, within the child's `shutdown` time; a kill cancels
 * whatever is under way. A server that fails at its end has crashed.
 *
 * In a graceful shutdown the server goes through its phases, and has ended as `"normal"`
 * when its supervisor stops it. So its `restart` should not be `"permanent"`.
 *
 * @example A server under a supervisor
 * ```ts
 * import { run, Supervisor } from "@rota/rota";
 * import { type Server, supervisedServer } from "@rota/rota/serve";
 * import { assertEquals } from "@std/assert";
 *
 * await run(async () => {
 *   await using supervisor = new Supervisor({
 *     children: [{
 *       id: "http",
 *       restart: "transient",
 *       start: supervisedServer(() => new Response("ok"), {
 *         port: 0,
 *         hostname: "127.0.0.1",
 *       }),
 *     }],
 *   });
 *   await supervisor.start();
 *   const [child] = await supervisor.whichChildren();
 *   const { port } = (child!.run!.value as Server).addr as Deno.NetAddr;
 *   const response = await fetch(`http://127.0.0.1:${port}/`);
 *   assertEquals(await response.text(), "ok");
 * });
 * ```
 *
 * @typeParam V Type of the value of the lifespan.
 * @param handler Function that answers requests.
 * @param options As for {@linkcode serve}.
 * @returns A function for the `start` of a {@linkcode ChildSpec}.
 * @throws {TypeError} If an argument is of the wrong type.
 * @throws {RangeError} If a number is out of range.
 */
export function supervisedServer<V = undefined>(
  handler: ServeHandler<V>,
  options: ServeOptions<V> = {},
): () => Supervisable {
  checkFunction(handler, WHAT, "handler");
  settleServe(options, WHAT);
  return () => ({
    [supervised]: (host) => new ServerChild(host, handler, options),
  });
}

/** A server that was started. */
class ServerChild<V> implements ChildControl {
  readonly #host: ChildHost;
  readonly #server: Server;
  #asked: "nothing" | "stop" | "kill" = "nothing";

  constructor(
    host: ChildHost,
    handler: ServeHandler<V>,
    options: ServeOptions<V>,
  ) {
    this.#host = host;
    const server = serve(handler, { name: host.path, ...options });
    this.#server = server;
    server.observe(() => host.started(server), (task) => this.#ended(task));
  }

  #ended(task: Task<void>): void {
    const error = task.cancelled() ? undefined : task.exception();
    if (error !== undefined) this.#host.ended({ kind: "crash", error });
    else if (this.#asked === "stop") this.#host.ended(SHUTDOWN_END);
    else if (this.#asked === "kill") this.#host.ended(KILLED_END);
    else if (task.cancelled()) {
      this.#host.ended({ kind: "cancelled", reason: task.cancelReason() });
    } else this.#host.ended(NORMAL_END);
  }

  stop(): void {
    this.#asked = "stop";
    const { loop, path } = this.#host;
    loop.createTask(() => this.#close(), { name: `end of server "${path}"` });
  }

  *#close(): Coroutine<void> {
    try {
      yield* this.#server.close();
    } catch {
      // The supervisor is told of a failure by the end of the task.
    }
  }

  kill(): void {
    this.#asked = "kill";
    this.#server.cancel("killed");
  }
}
