/**
 * An event stream: each client gets the prices as they change.
 *
 * A queue for each client is filled by the one task that knows the prices. A client that
 * goes ends its stream, and when the server closes the others get a last event.
 */

import {
  type Coroutine,
  createTask,
  Queue,
  run,
  sleep,
  until,
} from "@rota/rota";
import { eventStream, type EventStreamItem, serve } from "@rota/rota/serve";
import { assertEquals } from "@std/assert";

const listeners = new Set<Queue<EventStreamItem>>();

/** The prices for one client, from now on. */
async function* prices(): AsyncGenerator<EventStreamItem> {
  const queue = new Queue<EventStreamItem>(100);
  listeners.add(queue);
  try {
    for (;;) yield await queue.get();
  } finally {
    listeners.delete(queue);
    console.log(`a client has gone, ${listeners.size} are left`);
  }
}

function* changePrices(): Coroutine<void> {
  for (let price = 100;; price++) {
    for (const queue of listeners) {
      if (!queue.full()) queue.putNowait({ event: "price", data: { price } });
    }
    yield* sleep(20);
  }
}

/** Reads events until there are `count`, or until the stream ends. */
async function read(url: string, count: number): Promise<string[]> {
  const response = await fetch(url);
  const events: string[] = [];
  for await (
    const text of response.body!.pipeThrough(new TextDecoderStream())
  ) {
    events.push(...text.split("\n\n").filter((event) => event !== ""));
    if (events.length >= count) break; // closes the connection
  }
  return events;
}

await run(async () => {
  const server = serve(() => eventStream(prices(), { lastEvent: "closed" }), {
    port: 0,
    hostname: "127.0.0.1",
    lifespan: () => {
      const task = createTask(changePrices, { name: "prices" });
      return { [Symbol.dispose]: () => void task.cancel() };
    },
  });
  const { port } = await server.ready() as Deno.NetAddr;
  const url = `http://127.0.0.1:${port}/`;
  const patient = read(url, Infinity);
  console.log((await until(read(url, 3))).join("\n"));
  await sleep(50);
  await server.close();
  const events = await until(patient);
  console.log(
    `the patient client got ${events.length}, the last: ${events.at(-1)}`,
  );
  assertEquals(events.at(-1), "data: closed");
});
