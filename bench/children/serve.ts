/**
 * A server for `bench/support/serve.ts`: `serve.ts bare|rota WORKLOAD`. Prints its port, and
 * ends when its standard input does.
 *
 * @module
 */
import { Hono } from "hono";
import { run, sleep, until } from "../../mod.ts";
import { serve, type ServeOptions } from "../../src/serve/mod.ts";

const FILE = new URL("../../deno.json", import.meta.url);
const LIMIT = 16;

const app = new Hono();
app.get("/", (c) => c.text("hello"));

interface Workload {
  readonly handler: (request: Request) => Response | Promise<Response>;
  readonly options?: ServeOptions;
}

const WORKLOADS: Readonly<Record<string, Workload>> = {
  answer: { handler: () => new Response("hello") },
  file: { handler: async () => new Response(await Deno.readFile(FILE)) },
  hono: { handler: app.fetch as Workload["handler"] },
  overload: {
    handler: async () => {
      await sleep(10);
      return new Response("hello");
    },
    options: { maxConcurrent: LIMIT, maxWaiting: LIMIT / 2 },
  },
};

/** Ends when the parent closes the pipe. */
async function untilClosed(): Promise<void> {
  for await (const _ of Deno.stdin.readable) {
    // Nothing is sent.
  }
}

const [who, name] = Deno.args;
const { handler, options } = WORKLOADS[name!]!;
const where = { port: 0, hostname: "127.0.0.1" };
if (who === "bare") {
  const server = Deno.serve({ ...where, onListen() {} }, handler);
  console.log(server.addr.port);
  await untilClosed();
  await server.shutdown();
} else {
  await run(async () => {
    await using server = serve(handler, { ...where, ...options });
    const { port } = await server.ready() as Deno.NetAddr;
    console.log(port);
    await until(untilClosed);
  });
}
