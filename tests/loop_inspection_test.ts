/**
 * An event loop as `console.log` and `JSON.stringify` show it.
 *
 * @module
 */
import { assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { EventLoop, newEventLoop } from "../mod.ts";

Deno.test("Deno.inspect() shows a loop in at most twelve lines, whatever it holds", async () => {
  class Named extends EventLoop {}
  const loop = new Named({ host: "virtual" });
  for (let n = 0; n < 50; n++) {
    loop.createTask(async () => {}, { name: `task ${n}` });
    loop.callLater(n, () => {});
  }
  loop.setExceptionHandler(() => {});
  const text = Deno.inspect(loop);
  assertEquals(text.split("\n").length <= 12, true, text);
  assertStringIncludes(text, "Named");
  assertStringIncludes(text, 'state: "stopped"');
  assertStringIncludes(text, "tasks: 50");
  await loop.close();
  assertStringIncludes(Deno.inspect({ loop }), 'state: "closed"');
});

Deno.test("JSON.stringify() writes a loop's state and counts, also while it runs", async () => {
  await using loop = newEventLoop({ host: "virtual" });
  const text = await loop.runUntilComplete(() =>
    Promise.resolve(JSON.stringify({ loop }))
  );
  const { loop: { state, host, tasks } } = JSON.parse(text);
  assertEquals({ state, host, tasks }, {
    state: "running",
    host: "virtual",
    tasks: 1,
  });
});

Deno.test("A generator function is refused where only a plain function can run", async () => {
  await using loop = newEventLoop({ host: "virtual" });
  const received: [callback: () => unknown, words: string][] = [
    [function* work() {}, "generator function work"],
    [async function* work() {}, "generator function work"],
    [(() => function* () {})(), "a generator function"],
    [(() => async function* () {})(), "a generator function"],
  ];
  for (const [callback, words] of received) {
    for (
      const add of [
        () => loop.addSignalHandler("SIGUSR2", callback),
        () => loop.addReader(0, callback),
        () => loop.addWriter(0, callback),
      ]
    ) {
      assertThrows(
        add,
        TypeError,
        `callback must be a plain function: received ${words}, use createTask() in one`,
      );
    }
  }
  assertEquals(loop.stats().signals, 0);
});
