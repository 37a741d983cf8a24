/**
 * The tasks of a program, and who waits for whom.
 *
 * Two clerks take two locks in different orders, and wait for each other. The task
 * tree names the deadlock, and where each task stands: the lines are found by the
 * inspector of the engine, with the permission `--allow-sys`.
 */

import {
  type Coroutine,
  createTask,
  locateTasks,
  Lock,
  run,
  sleep,
  taskGroup,
} from "@rota/rota";
import { assertEquals } from "@std/assert";

const [ledger, safe] = [new Lock(), new Lock()];

function* book(first: Lock, second: Lock): Coroutine<void> {
  using _first = yield* first.acquire();
  yield* sleep(10);
  using _second = yield* second.acquire();
}

await run(async () => {
  await taskGroup(async (group) => {
    group.createTask(() => book(ledger, safe), { name: "clerk 1" });
    group.createTask(() => book(safe, ledger), { name: "clerk 2" });
    const visitor = createTask(() => sleep(60_000), { name: "visitor" });
    await sleep(50);

    const tree = await locateTasks();
    console.log(String(tree));
    assertEquals(tree.rings.map((ring) => ring.map(({ name }) => name)), [
      ["clerk 1", "clerk 2"],
    ]);

    visitor.cancel();
    group.cancel("deadlock");
  });
}, { name: "main" });
