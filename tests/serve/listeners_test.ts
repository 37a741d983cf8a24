/**
 * Signals of requests: however a request ends, `serve` leaves no listener on its signal.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { getEventListeners } from "node:events";
import { Flag, run, sleep, until } from "../../mod.ts";
import { serve } from "../../src/serve/mod.ts";
import { STYLES } from "../support/styles.ts";
import { handlerIn, RawClient } from "./support.ts";

/** Whether somebody listens to the signal of a request. */
function isWatched(request: Request): boolean {
  return getEventListeners(request.signal, "abort").length > 0;
}

for (const style of STYLES) {
  Deno.test(`in ${style}: no listener is left on the signal of a request that was answered, failed, timed out or lost its client`, async () => {
    await run(async () => {
      const requests: Request[] = [];
      const watched: boolean[] = [];
      const ended = new Flag();
      const handler = handlerIn(style, function* (request) {
        requests.push(request);
        try {
          while (!isWatched(request)) yield sleep(5);
          watched.push(true);
          const { pathname } = new URL(request.url);
          if (pathname === "/fails") throw new Error("on purpose");
          if (pathname !== "/answers") yield sleep(60_000);
        } finally {
          ended.set();
        }
        return new Response("ok");
      });
      const server = serve(handler, {
        port: 0,
        hostname: "127.0.0.1",
        requestTimeoutMs: 500,
        onError: () => new Response("failed", { status: 500 }),
      });
      const { port } = await server.ready() as Deno.NetAddr;
      const url = `http://127.0.0.1:${port}`;
      const statuses: number[] = [];
      for (const path of ["/answers", "/fails", "/times-out"]) {
        const response = await until(fetch(url + path));
        await until(response.text());
        statuses.push(response.status);
      }
      ended.clear();
      {
        using client = await until(RawClient.connect(port));
        await until(client.request("/goes"));
        while (watched.length < 4) await sleep(5);
        client.close();
        await ended.wait();
      }
      await server.close();
      assertEquals(statuses, [200, 500, 504]);
      assertEquals(watched.length, 4);
      for (const request of requests) {
        assert(!isWatched(request), `one is left on ${request.url}`);
      }
    });
  });
}
