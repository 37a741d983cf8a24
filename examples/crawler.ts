/**
 * A crawler with a rate limit: visits each page of a site once, four at a time, at most
 * ten requests in 200 ms, each within two seconds. A page that is busy is asked again.
 *
 * The site is a server in the same program. One of its pages never answers: the crawler
 * gives it up, and the server learns that by its client, which goes.
 */

import { currentTask, Queue, RateLimiter, run, sleep } from "@rota/rota";
import { taskGroup, timeout, TimeoutError, until } from "@rota/rota";
import { serve } from "@rota/rota/serve";
import { assertEquals } from "@std/assert";

const PAGES = 30;
const given: string[] = [];
let busy = 3;

/** Each page has links to two others, as in a binary tree. */
async function site(request: Request): Promise<Response> {
  const page = Number(new URL(request.url).pathname.slice(1));
  try {
    await sleep(page === 13 ? 60_000 : 5);
  } catch (error) {
    given.push(`/${page}`);
    throw error;
  }
  if (page % 10 === 9 && busy-- > 0) {
    return new Response("busy", { status: 503 });
  }
  const links = [2 * page + 1, 2 * page + 2].filter((to) => to < PAGES);
  return new Response(links.map((to) => `<a href="/${to}">`).join("\n"));
}

async function fetchText(url: URL, rate: RateLimiter): Promise<string> {
  for (;;) {
    await rate.acquire();
    const response = await until(() =>
      fetch(url, { signal: currentTask()!.signal })
    );
    const text = await until(response.text());
    if (response.status !== 503) return text;
    console.log(`${url.pathname} is busy`);
  }
}

/** Returns the pages that answered, and those that did not. */
async function crawl(start: URL): Promise<{ found: string[]; lost: string[] }> {
  const rate = new RateLimiter({ permits: 10, intervalMs: 200 });
  const queue = new Queue<URL>();
  const seen = new Set<string>();
  const found: string[] = [];
  const lost: string[] = [];
  const add = (url: URL) => {
    if (seen.has(url.href)) return;
    seen.add(url.href);
    queue.putNowait(url);
  };
  async function work(): Promise<void> {
    for await (const url of queue) {
      try {
        const text = await timeout(2_000, () => fetchText(url, rate));
        found.push(url.pathname);
        for (const [, path] of text.matchAll(/href="([^"]*)"/g)) {
          add(new URL(path!, url));
        }
      } catch (error) {
        if (!(error instanceof TimeoutError)) throw error;
        lost.push(url.pathname);
      } finally {
        queue.taskDone();
      }
    }
  }
  add(start);
  await taskGroup(async (group) => {
    for (let n = 0; n < 4; n++) group.createTask(work, { name: `worker ${n}` });
    await queue.join();
    queue.shutdown();
  });
  return { found, lost };
}

await run(async () => {
  await using server = serve(site, { port: 0, hostname: "127.0.0.1" });
  const { port } = await server.ready() as Deno.NetAddr;
  const { found, lost } = await crawl(new URL(`http://127.0.0.1:${port}/0`));
  console.log(`${found.length} pages, without ${lost}`);
  // The links of the page that does not answer lead to two others.
  assertEquals(found.length, PAGES - 3);
  assertEquals(lost, ["/13"]);
  while (given.length === 0) await sleep(5);
  assertEquals(given, ["/13"]);
});
