/**
 * A service with Hono, whose requests are Rota's tasks.
 *
 * `app.fetch` is handed over as it is, and `c.env` is the context of the request: the
 * value of the lifespan, functions that outlive the response, a signal. A client that
 * goes cancels its handler and what that awaits.
 */

import { Hono } from "hono";
import {
  currentTask,
  Flag,
  isCancellation,
  run,
  sleep,
  until,
} from "@rota/rota";
import { type RequestContext, serve } from "@rota/rota/serve";
import { assertEquals } from "@std/assert";

/** Stands for a database. */
class Store implements AsyncDisposable {
  readonly visits = new Map<string, number>();

  async visit(name: string): Promise<number> {
    await sleep(5);
    const count = (this.visits.get(name) ?? 0) + 1;
    this.visits.set(name, count);
    return count;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await sleep(1);
    console.log("the store is closed");
  }
}

const app = new Hono<{ Bindings: RequestContext<Store> }>();
const cancelled = new Flag();

app.get("/hello/:name", async (c) => {
  const count = await c.env.value.visit(c.req.param("name"));
  c.env.background(async () => {
    await sleep(5);
    console.log(`noted: visit ${count}`);
  });
  return c.json({ count, task: currentTask()!.name });
});
app.get("/report", async (c) => {
  try {
    await sleep(60_000); // a long query
  } finally {
    cancelled.set();
  }
  return c.text("never");
});
app.onError((error, c) => {
  // Hono would print a cancellation, too. Nobody gets the response to one.
  if (!isCancellation(error)) console.error(error);
  return c.text("Internal Server Error", 500);
});

await run(async () => {
  await using server = serve<Store>(app.fetch, {
    port: 0,
    hostname: "127.0.0.1",
    lifespan: () => new Store(),
    requestTimeoutMs: 5_000,
  });
  const { port } = await server.ready() as Deno.NetAddr;
  const url = `http://127.0.0.1:${port}`;
  const texts = await until(async () => {
    const response = await fetch(`${url}/hello/ada`);
    return [await response.text(), await (await fetch(`${url}/x`)).text()];
  });
  console.log(texts.join("\n"));
  assertEquals(texts, ['{"count":1,"task":"GET /hello/ada"}', "404 Not Found"]);

  const controller = new AbortController();
  const gone = fetch(`${url}/report`, { signal: controller.signal })
    .catch((error: Error) => error.name);
  await sleep(30);
  controller.abort();
  await cancelled.wait();
  console.log(
    `the client has gone (${await until(gone)}), and so has its query`,
  );
});
