/**
 * A server that is up before its clients start, and a group that ends early.
 *
 * group.start() waits until the task calls started(), and returns the argument
 * of that call. group.cancel() ends the group without an error, for a group of
 * which one answer, or the end of the clients, is enough.
 */

import { run, sleep, taskGroup } from "@rota/rota";
import { assertEquals } from "@std/assert";

const log: string[] = [];
await run(function* () {
  yield* taskGroup(function* (group) {
    const port = yield* group.start<number>(function* (started) {
      yield* sleep(5); // binding
      started(8080);
      try {
        yield* sleep(Infinity); // serving
      } finally {
        log.push("the server is closed");
      }
    });
    for (const name of ["ann", "bob"]) {
      group.createTask(function* () {
        yield* sleep(name === "ann" ? 20 : 10_000);
        log.push(`${name} has an answer from ${port}`);
        group.cancel("one answer will do");
      });
    }
  });
});
console.log(log.join("\n"));
assertEquals(log, ["ann has an answer from 8080", "the server is closed"]);
