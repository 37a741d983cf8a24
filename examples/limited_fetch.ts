/**
 * Limited I/O: forty requests to a server on this machine, four at a time.
 *
 * A request is made when there is a slot for it. The first failure ends the
 * others: the signal of their task aborts their fetch.
 */

import { ConcurrencyLimit, currentTask, run, until } from "@rota/rota";
import { assertEquals } from "@std/assert";

let inside = 0;
let insideMax = 0;
await using server = Deno.serve(
  { hostname: "127.0.0.1", port: 0, onListen: () => {} },
  async (request) => {
    insideMax = Math.max(insideMax, ++inside);
    await new Promise((resolve) => setTimeout(resolve, 5));
    inside--;
    const { pathname } = new URL(request.url);
    return pathname === "/39"
      ? new Response("no such page", { status: 404 })
      : new Response(`page ${pathname.slice(1)}`);
  },
);
const { port } = server.addr;

async function fetchPage(page: number): Promise<string> {
  const signal = currentTask()!.signal;
  const response = await until(
    fetch(`http://127.0.0.1:${port}/${page}`, { signal }),
  );
  const text = await until(response.text());
  if (!response.ok) throw new Error(`page ${page}: ${text}`);
  return text;
}

await run(async () => {
  const limit = new ConcurrencyLimit(4);
  const pages = await limit.map(Array(39).keys(), fetchPage);
  console.log(`${pages.length} pages, at most ${insideMax} at a time`);
  assertEquals([pages.length, pages[38], insideMax], [39, "page 38", 4]);

  const results = await limit.mapSettled([38, 39], fetchPage);
  for (const result of results) {
    console.log(
      result.status === "fulfilled" ? result.value : result.reason.message,
    );
  }
  assertEquals(results.map(({ status }) => status), ["fulfilled", "rejected"]);
});
