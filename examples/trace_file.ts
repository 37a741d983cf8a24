/**
 * A trace of a program, in a file that Perfetto opens.
 *
 * A producer, two consumers and a callback run under a tracer. The file shows in
 * `ui.perfetto.dev` which task ran when, what each waited for, and arrows from the
 * step that woke a task to the step that followed.
 */

import {
  createTask,
  getRunningLoop,
  Queue,
  run,
  sleep,
  Tracer,
} from "@rota/rota";
import { assert } from "@std/assert";

const tracer = new Tracer({ recordsMax: 10_000 });
await run(function* () {
  const queue = new Queue<number>(2);
  const consume = function* () {
    for (;;) {
      const item = yield* queue.get();
      yield* sleep(item);
      queue.taskDone();
    }
  };
  const consumers = [1, 2].map((n) =>
    createTask(consume, { name: `consumer ${n}` })
  );
  getRunningLoop().callLater(15, function tick() {});
  for (let n = 1; n <= 10; n++) yield* queue.put(n);
  yield* queue.join();
  for (const consumer of consumers) consumer.cancel();
}, { name: "producer", instruments: [tracer] });

const trace = tracer.trace();
const file = await Deno.makeTempFile({ prefix: "rota_", suffix: ".json" });
await Deno.writeTextFile(file, JSON.stringify(trace));
const steps = trace.traceEvents.filter(({ cat }) => cat === "step");
console.log(`${steps.length} steps, ${trace.traceEvents.length} events`);
assert(steps.some(({ name }) => name === "consumer 2"));
await Deno.remove(file); // keep it, and open it at https://ui.perfetto.dev
