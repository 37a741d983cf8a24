/**
 * A channel: values from task to task, until it is closed.
 *
 * With capacity 0 send() waits for its receiver; with more, that many values
 * are buffered. The reason of close() is thrown at the receivers.
 */

import { Channel, getRunningLoop, run, sleep } from "@rota/rota";
import { assertEquals, assertRejects } from "@std/assert";

await run(async () => {
  const loop = getRunningLoop();
  const channel = new Channel<number>();
  loop.createTask(function* () {
    for (let n = 1; n <= 3; n++) yield* channel.send(n);
    channel.close();
  });
  const received: number[] = [];
  for await (const n of channel) {
    await sleep(2);
    received.push(n);
  }
  const { sent, sizePeak } = channel.stats();
  console.log(`${received.join(", ")}: ${sent} sent, ${sizePeak} ever held`);
  assertEquals([received, sent, sizePeak], [[1, 2, 3], 3, 0]);

  const pair = new Channel<string>({ capacity: 2 });
  assertEquals(["a", "b", "c"].map((s) => pair.trySend(s)), [
    true,
    true,
    false,
  ]);
  pair.close(new Error("the line is dead"));
  assertEquals([await pair.receive(), await pair.receive()], ["a", "b"]);
  const error = await assertRejects(async () => await pair.receive());
  console.log(String(error));
  assertEquals(String(error), "Error: the line is dead");
});
