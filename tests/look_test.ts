/**
 * How soon a loop that is busy sees that a deadline has passed, and that a
 * descriptor is ready: in turns, on a clock that the test moves.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import { EventLoop, type ReadyListener, sleep } from "../mod.ts";
import { ManualHost } from "./support/manual_host.ts";

/** A host that counts how often it is asked for the time, and has a descriptor ready when told. */
class CountingHost extends ManualHost {
  asked = 0;
  readyFd: number | null = null;

  override now(): number {
    this.asked++;
    return super.now();
  }

  override poll(listener?: ReadyListener): void {
    if (this.readyFd !== null) listener?.(this.readyFd, 1);
  }
}

async function onLoop(
  body: (loop: EventLoop, host: CountingHost) => Promise<void>,
): Promise<void> {
  const host = new CountingHost();
  await using loop = new EventLoop({ host });
  await body(loop, host);
}

/** How many turns run past the deadline when each takes `stepMs`, after `quick` turns that take none. */
async function turnsLate(stepMs: number, quick: number): Promise<number> {
  let late = 0;
  await onLoop(async (loop, host) => {
    await loop.runUntilComplete(function* () {
      for (let n = 0; n < quick; n++) yield* sleep(0);
      let fired = false;
      const deadlineMs = host.nowMs + 15;
      loop.callAt(deadlineMs, () => fired = true);
      for (let n = 0; n < 1_000 && !fired; n++) {
        host.nowMs += stepMs;
        if (host.nowMs > deadlineMs + stepMs) late++;
        yield* sleep(0);
      }
    });
  });
  return late;
}

for (const stepMs of [0.1, 1, 5, 20]) {
  Deno.test(`A deadline beside steps of ${stepMs} ms is seen in the turn after it`, async () => {
    assertEquals(await turnsLate(stepMs, 0) <= 1, true);
  });

  Deno.test(`After a thousand quick turns a deadline beside steps of ${stepMs} ms is seen within four`, async () => {
    for (let quick = 1_000; quick < 1_020; quick++) {
      const late = await turnsLate(stepMs, quick);
      assertEquals(late <= 4, true, `${late} turns late`);
    }
  });
}

Deno.test("A descriptor beside steps of 5 ms is seen in the turn after it became ready", async () => {
  await onLoop(async (loop, host) => {
    let turns = 0;
    await loop.runUntilComplete(function* () {
      let seen = false;
      loop.addReader(7, () => seen = true);
      for (let n = 0; n < 3; n++) {
        host.nowMs += 5;
        yield* sleep(0);
      }
      host.readyFd = 7;
      while (!seen && turns < 100) {
        host.nowMs += 5;
        turns++;
        yield* sleep(0);
      }
      loop.removeReader(7);
    });
    assertEquals(turns <= 2, true, `${turns} turns`);
  });
});

Deno.test("Quick turns read the clock once in sixteen", async () => {
  await onLoop(async (loop, host) => {
    await loop.runUntilComplete(function* () {
      for (let n = 0; n < 100; n++) yield* sleep(0);
      host.asked = 0;
      for (let n = 0; n < 1_600; n++) yield* sleep(0);
      assertEquals(host.asked <= 101, true, `${host.asked} times`);
    });
  });
});
