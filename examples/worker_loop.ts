/**
 * A loop in a thread of its own under a supervisor: it is blocked (and killed), it
 * crashes, and it exits, in turn. It is restarted each time, and the work goes on.
 */

import {
  type LoopHandle,
  Queue,
  run,
  Supervisor,
  taskModule,
  workerLoop,
} from "@rota/rota";
import { assertEquals } from "@std/assert";
import type { Counter } from "./jobs/counter.ts";

const { main } = taskModule<typeof import("./jobs/counter.ts")>(
  new URL("./jobs/counter.ts", import.meta.url),
);

await run(async () => {
  const handles = new Queue<LoopHandle<Counter>>();
  const supervisor = new Supervisor({
    reportCrashes: false, // they are printed below
    children: [{
      id: "counter",
      start: workerLoop(main, [], { unresponsiveMs: 500 }),
    }],
  });
  supervisor.subscribe((event) => {
    if (event.type === "started") {
      handles.putNowait(event.run?.value as LoopHandle<Counter>);
    } else if (event.type === "ended") {
      const { end } = event;
      console.log(end?.kind === "crash" ? `${end.error}` : end?.kind);
    }
  });
  await supervisor.start();

  let counted = 0;
  for (const how of ["blocked", "crashed", "exited"] as const) {
    const handle = await handles.get(); // of the run that is alive now
    for (let n = 0; n < 3; n++) {
      counted += await handle.call("next") > 0 ? 1 : 0;
    }
    handle.post("die", how);
  }
  const last = await handles.get();
  assertEquals(await last.call("next"), 1); // a new loop
  assertEquals(counted, 9);
  console.log(`${supervisor.tree().restarts} restarts`);
  assertEquals(supervisor.tree().restarts, 3);
  await supervisor.stop();
});
