/**
 * An event queue fed by plain code: it puts events in, and a task of the loop
 * takes them out and calls the handlers.
 *
 * The code that feeds it needs no task and never waits: putNowait() works from
 * any callback. The events are handled one after the other, in their order,
 * also when a handler waits.
 */

import { type Coroutine, each, Queue, run, sleep } from "@rota/rota";
import { assertEquals } from "@std/assert";

interface AppEvent {
  readonly type: "key" | "resize" | "quit";
  readonly detail: string;
}

const events = new Queue<AppEvent>();
const handled: string[] = [];

const handlers: Record<AppEvent["type"], (event: AppEvent) => Coroutine<void>> =
  {
    *key({ detail }) {
      handled.push(`key ${detail}`);
    },
    *resize({ detail }) {
      yield* sleep(5); // redraw
      handled.push(`resized to ${detail}`);
    },
    *quit() {
      handled.push("quit");
      events.shutdown();
    },
  };

// Somebody outside: it knows the queue, but neither the loop nor the handlers.
events.putNowait({ type: "key", detail: "a" });
setTimeout(() => events.putNowait({ type: "resize", detail: "80x25" }), 10);
setTimeout(() => events.putNowait({ type: "key", detail: "b" }), 11);
setTimeout(() => events.putNowait({ type: "quit", detail: "" }), 30);

await run(function* () {
  yield* each(events, (event) => handlers[event.type](event));
});
console.log(handled.join(", "));
assertEquals(handled, ["key a", "resized to 80x25", "key b", "quit"]);
