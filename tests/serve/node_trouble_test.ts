/**
 * `nodeHandler` in trouble: bodies that do not come.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import { createServer, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";
import {
  type ExceptionContext,
  getRunningLoop,
  run,
  sleep,
  until,
} from "../../mod.ts";
import { nodeHandler } from "../../src/serve/mod.ts";
import { RawClient } from "./support.ts";

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
