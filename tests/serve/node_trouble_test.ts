/**
 * `nodeHandler` in trouble: bodies that do not come, and crashes under a supervisor.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import { once } from "node:events";
import { createServer, type IncomingMessage, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import {
  type ExceptionContext,
  Flag,
  getRunningLoop,
  run,
  sleep,
  Supervisor,
  until,
} from "../../mod.ts";
import { nodeHandler } from "../../src/serve/mod.ts";
import { get, RawClient } from "./support.ts";

async function lengthOf(request: IncomingMessage): Promise<number> {
  let length = 0;
  for await (const chunk of request) length += chunk.length;
  return length;
}

Deno.test("a request whose body does not come ends with its deadline, or with its client, and gives its slot back", async () => {
  await run(async () => {
    const reports: ExceptionContext[] = [];
    getRunningLoop().setExceptionHandler((_, context) => reports.push(context));
    await using handler = nodeHandler(async (request, response) => {
      const length = await lengthOf(request as IncomingMessage);
      response.end(String(length));
    }, { requestTimeoutMs: 80, maxConcurrent: 1, shutdown: false });
    const server = handler.attach(createServer(handler));
    await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
    const { port } = server.address() as AddressInfo;
    const half = "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\nhalf";
    const idle = async () => {
      while (handler.statistics().running > 0) await sleep(1);
    };

    using slow = await until(RawClient.connect(port));
    await until(slow.send(half));
    assertEquals((await until(slow.read())).slice(0, 12), "HTTP/1.1 504");
    await idle();
    assertEquals(handler.statistics().timedOut, 1);

    using gone = await until(RawClient.connect(port));
    await until(gone.send(half));
    while (handler.statistics().running === 0) await sleep(1);
    gone.close();
    await idle();
    const { timedOut, gone: left } = handler.statistics();
    assertEquals([timedOut, left], [1, 1]);

    using whole = await until(RawClient.connect(port));
    await until(whole.send(`${half}-done`));
    assertEquals((await until(whole.read())).slice(0, 12), "HTTP/1.1 200");
    assertEquals(reports.map(({ message }) => message), []);
  });
});

Deno.test("a server of node:http is the child of a supervisor by a generator function: restarted, and closed in good time", async () => {
  await run(async () => {
    const log: string[] = [];
    const begun = new Flag();
    const go = new Flag();
    await using supervisor = new Supervisor({
      children: [{
        id: "http",
        restart: "transient",
        shutdown: 5_000,
        start: function* (started: (value: unknown) => void) {
          log.push("opens"); // a lifespan is the code around it
          const handler = nodeHandler(async (_request, response) => {
            begun.set();
            await go.wait();
            response.end("ok");
          }, { shutdown: false });
          const server = handler.attach(createServer(handler));
          try {
            server.listen(0, "127.0.0.1");
            yield* until(once(server, "listening"));
            started(server);
            yield* until(once(server, "close"));
          } finally {
            yield* handler.close();
            log.push("closes");
          }
        },
      }],
      reportCrashes: false,
    });
    await supervisor.start();
    const server = async () => {
      const [child] = await supervisor.whichChildren();
      return child!.run?.value as Server | undefined;
    };
    const first = (await server())!;
    first.emit("error", new Error("the network is gone"));
    let second = await server();
    while (second === undefined || second === first) {
      await sleep(1);
      second = await server();
    }
    assertEquals(log, ["opens", "closes", "opens"]);
    const { port } = second.address() as AddressInfo;
    const answer = get(`http://127.0.0.1:${port}/`);
    await begun.wait();
    const closed = getRunningLoop().createTask(() => supervisor.close());
    await sleep(5);
    go.set();
    assertEquals(await answer, "200 ok");
    await closed;
    assertEquals(log, ["opens", "closes", "opens", "closes"]);
  });
});
