/**
 * A service with Express that shuts down gracefully: slow requests, an event stream, a
 * function in the background.
 *
 * @module
 */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
// @ts-types="npm:@types/express@5"
import express from "npm:express@5.3.0"; // children run without the config
import { run, sleep } from "../../../mod.ts";
import { nodeHandler } from "../../../src/serve/node_handler.ts";
import {
  shutdownSignal,
  waitForShutdown,
} from "../../../src/supervise/graceful_shutdown.ts";

const isStubborn = Deno.env.get("SCENE") === "stubborn";

await run(async () => {
  const app = express();
  app.set("env", "test"); // Express prints errors otherwise, also cancellations
  app.get("/slow", async (_, response) => {
    console.log("slow");
    await waitForShutdown();
    await sleep(150);
    response.send("slow but sure");
  });
  app.get("/quick", (_, response) => {
    response.send("quick");
  });
  app.get("/events", async (_, response) => {
    response.setHeader("content-type", "text/event-stream");
    response.write("data: 1\n\n");
    console.log("events");
    if (!isStubborn) {
      shutdownSignal.addEventListener("abort", () => {
        response.end("data: bye\n\n");
      });
      return;
    }
    try {
      await sleep(60_000);
    } finally {
      console.log("events cancelled");
    }
  });
  app.get("/mail", (_, response) => {
    handler.background(async () => {
      await waitForShutdown();
      await sleep(100);
      console.log("mail is sent");
    });
    response.send("will do");
  });
  const handler = nodeHandler(app, { readinessPath: "/ready" });
  const server = handler.attach(createServer(handler));
  server.on("close", () => console.log("server is closed"));
  server.listen(0, "127.0.0.1", () => {
    console.log(`port ${(server.address() as AddressInfo).port}`);
  });
  await waitForShutdown();
}, {
  shutdown: isStubborn
    // Draining is over soon, and there is time to cancel also on a busy machine.
    ? { budgetMs: 20_000, sharesMs: { cancel: 19_000 } }
    : { budgetMs: 20_000, preStopMs: 500 },
});
