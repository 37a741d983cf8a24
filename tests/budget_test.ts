import {
  checkpoint,
  getRunningLoop,
  Queue,
  run,
  sleep,
  yieldNow,
} from "@rota/rota";
import { assert, assertEquals, assertRejects } from "@std/assert";

Deno.test("an async function that finds everything ready for ever still lets timers run", async () => {
  const taken = await run(async () => {
    const queue = new Queue<number>();
    let done = false;
    let taken = 0;
    getRunningLoop().callLater(1, () => done = true);
    while (!done) {
      queue.putNowait(taken);
      taken += await queue.get() === taken ? 1 : NaN;
    }
    return taken;
  }, { host: "portable" });
  assert(taken > 0);
});

Deno.test("at most 128 operations that are ready are gone through between two turns", async () => {
  const runs = await run(async () => {
    const queue = new Queue<number>();
    for (let n = 0; n < 1_000; n++) queue.putNowait(n);
    const loop = getRunningLoop();
    const runs: number[] = [];
    let turns = loop.stats().turns;
    let count = 0;
    for (let n = 0; n < 1_000; n++) {
      await queue.get();
      count++;
      if (loop.stats().turns !== turns) {
        turns = loop.stats().turns;
        runs.push(count);
        count = 0;
      }
    }
    return runs;
  }, { host: "virtual" });
  assert(runs.length >= 7, `turns after ${runs}`);
  assert(runs.every((count) => count <= 129), `turns after ${runs}`);
});

Deno.test("an async function that finds everything ready for ever lets the runtime's own I/O through", async () => {
  const server = Deno.serve(
    { port: 0, hostname: "127.0.0.1", onListen: () => {} },
    () => new Response("ok"),
  );
  const text = await run(async () => {
    const queue = new Queue<number>();
    let text: string | undefined;
    getRunningLoop().createTask(async () => {
      const response = await fetch(`http://127.0.0.1:${server.addr.port}/`);
      text = await response.text();
    });
    while (text === undefined) {
      queue.putNowait(1);
      await queue.get();
    }
    return text;
  }, { host: "portable" });
  await server.shutdown();
  assertEquals(text, "ok");
});

Deno.test("yieldNow() gives what is ready one turn in both styles", async () => {
  for (const style of ["generator", "async"]) {
    const log: string[] = [];
    const main = style === "generator"
      ? function* () {
        getRunningLoop().callSoon(() => log.push("other"));
        yield* yieldNow();
        log.push("main");
      }
      : async () => {
        getRunningLoop().callSoon(() => log.push("other"));
        await yieldNow();
        log.push("main");
      };
    await run<void>(main, { host: "virtual" });
    assertEquals(log, ["other", "main"], style);
  }
});

Deno.test("yieldNow() ends with the reason of its signal", async () => {
  const controller = new AbortController();
  controller.abort("too late");
  const error = await run(function* () {
    try {
      yield* yieldNow({ signal: controller.signal });
      return undefined;
    } catch (error) {
      return error;
    }
  }, { host: "virtual" });
  assertEquals(error, "too late");
});

Deno.test("checkpoint() goes on at once until it is time, then yields one turn", async () => {
  const turns = await run(function* () {
    const loop = getRunningLoop();
    const first = loop.stats().turns;
    for (let n = 0; n < 256; n++) yield* checkpoint();
    return loop.stats().turns - first;
  }, { host: "virtual" });
  assertEquals(turns, 2);
});

Deno.test("checkpoint() yields on a real clock once the turn is a millisecond long", async () => {
  const yielded = await run(function* () {
    const loop = getRunningLoop();
    yield* sleep(0);
    let yielded = false;
    loop.callSoon(() => yielded = true);
    const startMs = loop.time();
    while (loop.time() < startMs + 2);
    yield* checkpoint();
    return yielded;
  }, { host: "portable" });
  assertEquals(yielded, true);
});

Deno.test("checkpoint() lets a cancellation through in both styles", async () => {
  for (const style of ["generator", "async"]) {
    let steps = 0;
    const body = style === "generator"
      ? function* () {
        for (;;) {
          yield* checkpoint();
          if (++steps === 5) self();
        }
      }
      : async () => {
        for (;;) {
          await checkpoint();
          if (++steps === 5) self();
        }
      };
    let self = () => {};
    await assertRejects(
      () =>
        run(function* () {
          const task = getRunningLoop().createTask<void>(body);
          self = () => task.cancel();
          yield* task;
        }, { host: "virtual" }),
      Error,
      "Cancelled",
    );
    assertEquals(steps, 5, style);
  }
});
