/**
 * callSoon and callLater: the order of callbacks.
 *
 * A callback of callSoon runs in the next turn, in the order of the calls, and
 * never inside the call itself. A callback of callLater runs by its deadline,
 * whatever the order of the calls was.
 */

import { newEventLoop } from "@rota/rota";
import { assertEquals } from "@std/assert";

await using loop = newEventLoop();
const order: string[] = [];

function say(word: string, punctuation = ""): void {
  order.push(word);
  console.log(`${word}${punctuation}`);
}

loop.callLater(20, say, "fourth", ", after 20 ms");
loop.callLater(10, say, "third", ", after 10 ms");
loop.callSoon(say, "first"); // arguments follow the callback, and are typed
loop.callSoon(say, "second");
const unwanted = loop.callLater(15, say, "never");
unwanted.cancel();
loop.callLater(30, () => loop.stop());

assertEquals(order, []); // nothing runs before the loop does
await loop.runForever();
assertEquals(order, ["first", "second", "third", "fourth"]);
