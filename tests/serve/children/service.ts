/**
 * A service that a test ends by SIGTERM. Prints its port, and what it finishes in the background.
 *
 * @module
 */
import { Queue, run, sleep } from "../../../mod.ts";
import { eventStream, serve } from "../../../src/serve/mod.ts";

const budgetMs = Number(Deno.args[0]);

await run(async () => {
  const server = serve(async (request, context) => {
    const { pathname } = new URL(request.url);
    switch (pathname) {
      case "/slow":
        await sleep(400);
        return new Response("slow");
      case "/events":
        return eventStream(new Queue<string>(), { lastEvent: "bye" });
      case "/upload":
        return new Response(await request.text());
      case "/socket":
        return context.upgradeWebSocket().response;
      case "/background":
        context.background(async () => {
          await sleep(500);
          console.log("background done");
        });
    }
    return new Response("ok");
  }, {
    port: 0,
    hostname: "127.0.0.1",
    readinessPath: "/ready",
    livenessPath: "/live",
    socketCloseMs: 200,
    maxConcurrent: 64,
    lifespan: async function* () {
      yield;
      console.log("lifespan over");
    },
  });
  const { port } = await server.ready() as Deno.NetAddr;
  console.log(port);
  await server;
  console.log("served");
}, {
  shutdown: {
    budgetMs,
    preStopMs: 150,
    onReport: (report) => console.log(String(report)),
  },
});
