/**
 * `Connection: close`: said from the first phase of a shutdown on, by both kinds of servers.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { createTask, run, sleep, until } from "../../src/loop/mod.ts";
import { nodeHandler, serve } from "../../src/serve/mod.ts";
import { gracefulShutdown, onShutdown } from "../../src/supervise/mod.ts";
import { Flag } from "../../src/sync/flag.ts";
import { inStyle, type Steps, STYLES } from "../support/styles.ts";

const WHERE = { port: 0, hostname: "127.0.0.1" };
const PATHS = { readinessPath: "/ready", livenessPath: "/live" };

/** A server, and a request of its that waits for a gate. */
interface Stand {
  readonly url: string;
  close(): PromiseLike<void>;
}

async function overFetch(gate: Flag): Promise<Stand> {
  const server = serve(async (request) => {
    if (request.url.endsWith("/slow")) await gate.wait();
    return new Response("ok");
  }, {
    ...{ ...WHERE, ...PATHS },
    priority: (request) => {
      if (request.url.endsWith("/bad")) throw new Error("bad");
      return "user-visible";
    },
    onError: () => {},
  });
  const { port } = await server.ready() as Deno.NetAddr;
  return {
    url: `http://127.0.0.1:${port}`,
    close: async () => await server.close(),
  };
}

async function overNode(gate: Flag): Promise<Stand> {
  const handler = nodeHandler(async (request, response) => {
    if (request.url === "/slow") await gate.wait();
    response.end("ok");
  }, {
    ...PATHS,
    priority: (request) => {
      if (request.url === "/bad") throw new Error("bad");
      return "user-visible";
    },
    onError: (_error, _request, response) => {
      response.statusCode = 500;
      response.end();
    },
  });
  const server = handler.attach(createServer(handler));
  await until(() =>
    new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  );
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    close: async () => await handler.close(),
  };
}

/** The status and the `connection` header of an answer. */
async function ask(url: string): Promise<string> {
  const response = await fetch(url);
  await response.body?.cancel();
  return `${response.status} ${response.headers.get("connection")}`;
}

for (const style of STYLES) {
  for (const [kind, open] of Object.entries({ overFetch, overNode })) {
    Deno.test(`in ${style}: all responses say Connection: close from the first phase on, ${kind}`, async () => {
      await run(
        inStyle(style, function* (): ReturnType<Steps<void>> {
          const gate = new Flag();
          const phase = new Flag();
          const stand: Stand = yield until(() => open(gate));
          const answers = (): Promise<string[]> =>
            Promise.all(
              ["/", "/bad", "/ready", "/live"].map((path) =>
                ask(stand.url + path)
              ),
            );
          const without = ["200", "500", "200", "200"];
          const before: string[] = yield until(answers);
          assertEquals(
            before.map((answer) => answer.split(" ")[0]),
            without,
          );
          assertEquals(
            before.some((answer) => answer.endsWith("close")),
            false,
          );
          const slow = createTask(() => until(() => ask(`${stand.url}/slow`)));
          const begun = new Flag();
          onShutdown("not-ready", () => {
            begun.set();
            return phase.wait();
          });
          yield sleep(0);
          gracefulShutdown().begin("the test");
          yield begun.wait();
          assertEquals(yield until(answers), [
            ...["200 close", "500 close", "503 close", "200 close"],
          ]);
          gate.set();
          assertEquals(yield slow, "200 close");
          phase.set();
          yield until(() => stand.close());
        }),
        { host: "virtual", shutdown: {} },
      );
    });
  }
}
