/**
 * A signal handler that stops a service without interrupting its work.
 *
 * After SIGTERM the workers take no further job. They finish the current one,
 * then the loop stops. Here the program sends the signal to itself, which needs
 * --allow-run.
 */

import { type Coroutine, newEventLoop, sleep } from "@rota/rota";
import { assertEquals } from "@std/assert";

await using loop = newEventLoop();
let stopping = false;
let begun = 0;
let finished = 0;

function* work(): Coroutine<void> {
  while (!stopping) {
    begun++;
    yield* sleep(20); // the job
    finished++;
  }
}

const workers = ["first", "second"].map((name) =>
  loop.createTask(work, { name })
);

loop.addSignalHandler("SIGTERM", () => {
  console.log(`SIGTERM: ${begun - finished} jobs are under way`);
  stopping = true;
  loop.removeSignalHandler("SIGTERM"); // a second SIGTERM ends the process
  loop.createTask(function* () {
    for (const worker of workers) yield* worker;
    loop.stop();
  });
});
loop.callLater(50, () => Deno.kill(Deno.pid, "SIGTERM"));

await loop.runForever();
console.log(`${begun} jobs begun, ${finished} finished`);
assertEquals(finished, begun);
