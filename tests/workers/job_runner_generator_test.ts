/**
 * JobRunner without the loop, whose first job needs one at once. This file
 * imports nothing of Rota that loads the loop.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { loaded } from "../../src/loop/current.ts";
import { TestRunner } from "./support/runner.ts";

Deno.test("Generators that use nothing of Rota run too: the loop is loaded for them", async () => {
  await using test = new TestRunner();
  assertEquals(loaded.makeLoop, null);
  const returned = test.run(() =>
    (function* () {
      return "of a plain function";
    })()
  );
  const generator = test.run(function* () {
    return "of a generator function";
  });
  assertEquals(await returned.outcome, {
    value: "of a plain function",
    transfer: [],
  });
  assertEquals(await generator.outcome, {
    value: "of a generator function",
    transfer: [],
  });
  assert(loaded.makeLoop !== null);
});

Deno.test("A job that is aborted while the loop is loaded for its generator never begins it", async () => {
  // The loop is there by now: pretend that it is not.
  const { makeLoop } = loaded;
  loaded.makeLoop = null;
  try {
    await using test = new TestRunner();
    Reflect.set(globalThis, "rotaTestBegan", false);
    const job = test.run(() =>
      (function* () {
        Reflect.set(globalThis, "rotaTestBegan", true);
      })()
    );
    const waits = test.run(function* () {});
    await Promise.resolve();
    test.runner.abort(job.id, "why");
    test.runner.abort(waits.id, "why");
    for (const { outcome } of [job, waits]) {
      const ended = await outcome;
      assert("error" in ended);
      assertEquals(`${ended.error}`, "CancelledError: Cancelled: why");
    }
    assertEquals(Reflect.get(globalThis, "rotaTestBegan"), false);
    Reflect.deleteProperty(globalThis, "rotaTestBegan");
  } finally {
    loaded.makeLoop = makeLoop;
  }
});
