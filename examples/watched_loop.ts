/**
 * A loop that is watched in the browser: open the URL that this prints. Two tasks wait for one another, a child crashes,
 * and a task blocks the loop now and then.
 *
 * The program asks for the same as JSON, says what is wrong, cancels one of the two tasks as the page would, and ends
 * after a second; `watched_loop.ts 60` gives you a minute to look.
 */

import {
  createTask,
  getRunningLoop,
  Lock,
  run,
  sleep,
  Supervisor,
  type Task,
  until,
} from "@rota/rota";
import { inspect, type InspectorState } from "@rota/rota/observe";
import { assertEquals } from "@std/assert";

/** Takes two locks, one after the other: a deadlock if somebody takes them in the other order. */
function transfer(name: string, from: Lock, to: Lock): Task<void> {
  return createTask(function* () {
    using _from = yield* from.acquire();
    yield* sleep(5);
    using _to = yield* to.acquire();
  }, { name });
}

await run(async () => {
  getRunningLoop().setExceptionHandler(() => {}); // a child crashes
  await using inspector = inspect({ name: "bank" });
  const url = await inspector.ready();
  console.log(`open ${url}`);

  const [a, b] = [new Lock(), new Lock()];
  const transfers = [transfer("A to B", a, b), transfer("B to A", b, a)];
  createTask(async () => {
    for (;;) {
      await sleep(400);
      const end = performance.now() + 150;
      while (performance.now() < end); // no task can run meanwhile
    }
  }, { name: "statement" });
  await using supervisor = new Supervisor({
    name: "services",
    children: [{
      id: "mailer",
      start: async () => {
        await sleep(50);
        throw new Error("no connection");
      },
      backoff: { initialMs: 60_000, maxMs: 60_000, jitter: "none" },
    }],
  });
  await supervisor.start();
  await sleep(Number(Deno.args[0] ?? 1) * 1_000);

  const json = new URL(url);
  json.pathname = "/state.json";
  const state: InspectorState = await until(
    fetch(json).then((response) => response.json()),
  );
  for (const { title, details } of state.problems) {
    console.log([title, ...details].join("\n  "));
  }
  assertEquals(state.tree.rings.length, 1);

  const [stuck] = transfers;
  const response = await until(
    fetch(new URL(`/tasks/${stuck!.id}/cancel${json.search}`, json), {
      method: "POST",
    }),
  );
  console.log((await until(response.json())).message);
  await transfers[1]; // has got its lock
});
