/**
 * A service with Express 5, whose requests are tasks.
 *
 * At most two requests run at a time and two wait; others are told to come back. A request
 * that takes too long is answered for. A client that loses patience has its request
 * cancelled, with all that it waits for. At the end what was accepted is answered.
 *
 * @module
 */

import { isCancellation, run, sleep, taskGroup } from "@rota/rota";
import { nodeHandler } from "@rota/rota/serve";
import { assertEquals } from "@std/assert";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
// @ts-types="npm:@types/express@5"
import express, {
  type ErrorRequestHandler,
  type RequestHandler,
} from "express";

const log: string[] = [];

/** A query that takes a while, and is cancelled with the request that waits for it. */
async function query(ms: number): Promise<string> {
  try {
    await sleep(ms);
    return `rows after ${ms} ms`;
  } catch (error) {
    log.push(String(error));
    throw error;
  }
}

const rows: RequestHandler = async (request, response) => {
  response.json({ rows: await query(Number(request.params.ms)) });
};

/** A request that was cancelled has nobody who waits for its answer. */
const errors: ErrorRequestHandler = (error, _request, response, _next) => {
  if (!isCancellation(error)) response.status(500).send("something failed");
};

const app = express();
app.get("/rows/:ms", rows);
app.use(errors);

await run(async () => {
  const handler = nodeHandler(app, {
    maxConcurrent: 2,
    maxWaiting: 2,
    requestTimeoutMs: 500,
  });
  const server = handler.attach(createServer(handler));
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  const { port } = server.address() as AddressInfo;
  const get = async (ms: number, signal?: AbortSignal) => {
    const url = `http://127.0.0.1:${port}/rows/${ms}`;
    const response = await fetch(url, signal === undefined ? {} : { signal });
    return [response.status, await response.text()] as const;
  };

  console.log("answered:", ...await get(10));
  console.log("too slow:", ...await get(10_000));

  const many = await Promise.all([60, 60, 60, 60, 60, 60].map((ms) => get(ms)));
  console.log("six at once:", many.map(([status]) => status).sort().join(" "));

  const impatient = new AbortController();
  const nobodyWaits = get(400, impatient.signal);
  while (handler.statistics().running === 0) await sleep(1);
  impatient.abort();
  await nobodyWaits.catch(() => console.log("the client has gone"));
  while (handler.statistics().running > 0) await sleep(1);

  // The end: a request that is under way is answered.
  await taskGroup(async (group) => {
    const last = get(100);
    while (handler.statistics().running === 0) await sleep(1);
    group.createTask(() => handler.close());
    console.log("at the end:", ...await last);
  });
  const { served, refused, timedOut, gone } = handler.statistics();
  console.log({ served, refused, timedOut, gone });
  assertEquals([served + refused, timedOut, gone], [8, 1, 1]);
});

console.log(log.join("\n"));
assertEquals(log, [
  "CancelledError: Cancelled: its time of 500 ms is over",
  "CancelledError: Cancelled: the client has gone",
]);
