/** shield(): who takes whom along, and who gets the error. @module */
import {
  assert,
  assertEquals,
  assertRejects,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import {
  CancelledError,
  type Coroutine,
  type EventLoop,
  getRunningLoop,
  MisuseError,
  newEventLoop,
  run,
  shield,
  sleep,
} from "../mod.ts";

const VIRTUAL = { host: "virtual" } as const;

class Broken extends Error {}

async function reportsOf(
  main: (loop: EventLoop) => Coroutine<unknown>,
): Promise<unknown[]> {
  const reports: unknown[] = [];
  const loop = newEventLoop(VIRTUAL);
  loop.setExceptionHandler((_, context) => reports.push(context.exception));
  await loop.runUntilComplete<unknown>(() => main(loop));
  await loop.close();
  return reports;
}

Deno.test("shield() passes results and errors on", async () => {
  await run(async () => {
    assertEquals(await shield(sleep(5, { value: "ok" })), "ok");
    await assertRejects(async () => {
      await shield(async () => {
        throw new Broken("inner");
      });
    }, Broken);
  }, VIRTUAL);
});

Deno.test("shield() gives what is done back as it is", async () => {
  await run(function* () {
    const future = getRunningLoop().createFuture<number>();
    future.setResult(1);
    assertStrictEquals(shield(future), future);
    yield* sleep(0);
  }, VIRTUAL);
});

Deno.test("Cancelling the outer future leaves the inner one alone", async () => {
  await run(function* () {
    const inner = getRunningLoop().createTask(() =>
      sleep(10, { value: "done" })
    );
    const outer = shield(inner);
    yield* sleep(1);
    assertEquals(outer.cancel("away"), true);
    assertEquals([outer.cancelled(), inner.done()], [true, false]);
    assertEquals(yield* inner, "done");
    assertEquals(outer.cancelReason(), "away");
  }, VIRTUAL);
});

Deno.test("Cancelling the waiting task leaves what is shielded alone, in both styles", async () => {
  await run(async () => {
    const loop = getRunningLoop();
    const inner = loop.createTask(() => sleep(100, { value: "saved" }));
    const waiters = [
      loop.createTask(function* () {
        yield* shield(inner);
      }),
      loop.createTask(async () => {
        await shield(inner);
      }),
    ];
    await sleep(1);
    for (const waiter of waiters) waiter.cancel();
    for (const waiter of waiters) {
      await assertRejects(async () => await waiter, CancelledError);
    }
    assertEquals(await inner, "saved");
  }, VIRTUAL);
});

Deno.test("What is shielded may be cancelled itself, and the outer future with it", async () => {
  await run(function* () {
    const inner = getRunningLoop().createTask(() => sleep(100));
    const outer = shield(inner);
    inner.cancel("inner");
    yield* sleep(1);
    assertEquals(
      [outer.cancelled(), outer.cancelReason()],
      [true, undefined],
      "no reason, as in asyncio",
    );
  }, VIRTUAL);
});

for (const when of ["later", "in the same turn"] as const) {
  Deno.test(`A failure after the waiter has left (${when}) goes to the exception handler once`, async () => {
    const error = new Broken("nobody");
    const reports = await reportsOf(function* (loop) {
      const inner = loop.createFuture();
      const outer = shield(inner);
      if (when === "later") {
        outer.cancel();
        yield* sleep(1);
        inner.setException(error);
      } else {
        inner.setException(error);
        outer.cancel();
      }
      yield* sleep(1);
    });
    assertEquals(reports, [error]);
  });

  Deno.test(`The same failure (${when}) is not reported if somebody looks at it`, async () => {
    const reports = await reportsOf(function* (loop) {
      const inner = loop.createFuture();
      const outer = shield(inner);
      outer.cancel();
      if (when === "later") yield* sleep(1);
      inner.setException(new Broken("seen"));
      yield* sleep(1);
      assert(inner.exception() instanceof Broken);
    });
    assertEquals(reports, []);
  });
}

Deno.test("shield() works on a stopped loop, and refuses what cannot be waited for", async () => {
  const loop = newEventLoop(VIRTUAL);
  const outer = shield(() => 7, { loop });
  assertThrows(() => shield(() => 1), MisuseError, "no loop is running");
  assertThrows(
    () => shield(7 as never, { loop }),
    TypeError,
    "Cannot shield as waitable must be",
  );
  const other = newEventLoop(VIRTUAL);
  assertThrows(
    () => shield(other.createFuture(), { loop }),
    MisuseError,
    "another event loop",
  );
  assertEquals(await loop.runUntilComplete(outer), 7);
  await loop.close();
  await other.close();
});
