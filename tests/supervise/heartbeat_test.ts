/**
 * Heartbeats: children that fall silent, and machines that were asleep.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import { each, EventLoop, sleep, until } from "../../src/loop/mod.ts";
import { VirtualHost } from "../../src/host/virtual.ts";
import type { ChildRun } from "../../src/supervise/child_run.ts";
import { Supervisor } from "../../src/supervise/supervisor.ts";
import { play, STYLES } from "./stage.ts";

/** A child that beats at moments, and is silent then. Returns its start in a style. */
function beating(style: string, delays: readonly number[], starts: number[]) {
  const later = (run: ChildRun) => {
    run.heartbeat();
  };
  return style === "a generator"
    ? function* (started: () => void, run: ChildRun) {
      starts.push(1);
      started();
      for (const delayMs of delays) {
        yield* sleep(delayMs);
        later(run);
      }
      yield* sleep(Infinity);
    }
    : async (started: () => void, run: ChildRun) => {
      starts.push(1);
      started();
      for (const delayMs of delays) {
        await sleep(delayMs);
        later(run);
      }
      await sleep(Infinity);
    };
}

for (const style of STYLES) {
  Deno.test(`a child that sends no heartbeat has crashed, and is restarted, ${style}`, async () => {
    const { value, reports } = await play(style, function* (loop) {
      const starts: number[] = [];
      const ends: unknown[] = [];
      const supervisor = new Supervisor({
        name: "top",
        children: [{
          id: "a",
          heartbeatMs: 100,
          start: beating(style, [99, 99, 30], starts),
        }],
      });
      supervisor.subscribe((event) => {
        if (event.type === "ended") {
          ends.push([loop.time(), event.end?.kind]);
        }
      });
      yield supervisor.start();
      yield sleep(400);
      const result = [starts.length, ...ends];
      yield supervisor.stop();
      return result;
    });
    // The last beat of the first run is at 228.
    assertEquals(value, [2, [328, "crash"]]);
    assertEquals(reports, [
      'Child "top/a" has crashed: Child "top/a" has sent no heartbeat for 100 ms',
    ]);
  });

  Deno.test(`a child whose start takes long is not watched before it is ready, ${style}`, async () => {
    const { value } = await play(style, function* () {
      const supervisor = new Supervisor({
        children: [{
          id: "a",
          heartbeatMs: 100,
          start: async (started, run) => {
            await sleep(1_000);
            started();
            for (;;) {
              await sleep(50);
              run.heartbeat();
            }
          },
        }],
      });
      yield supervisor.start();
      yield sleep(1_000);
      const { restarts } = supervisor.tree();
      yield supervisor.stop();
      return restarts;
    });
    assertEquals(value, 0);
  });

  Deno.test(`the heartbeat ends with the child: no timer is left, ${style}`, async () => {
    const { value } = await play(style, function* (loop) {
      const supervisor = new Supervisor({
        children: [{
          id: "a",
          restart: "temporary",
          heartbeatMs: 100,
          start: () => sleep(10),
        }],
      });
      yield supervisor.start();
      const during = loop.stats().timers;
      yield sleep(20);
      const after = loop.stats().timers;
      yield supervisor.stop();
      return [during, after];
    });
    assertEquals(value, [2, 0]);
  });
}

/** A clock that can be set forward, as if the machine had been asleep. */
class SleepyHost extends VirtualHost {
  asleepMs = 0;

  override now(): number {
    return super.now() + this.asleepMs;
  }

  override park(deadlineMs: number, hold: boolean): void {
    super.park(deadlineMs - this.asleepMs, hold);
  }
}

Deno.test("a machine that was asleep is no lost heartbeat", async () => {
  const host = new SleepyHost();
  await using loop = new EventLoop({ host });
  let restarts = -1;
  await loop.runUntilComplete(async () => {
    const supervisor = new Supervisor({
      children: [{
        id: "a",
        heartbeatMs: 100,
        start: async (started, run) => {
          started();
          for (;;) {
            await sleep(60);
            run.heartbeat();
          }
        },
      }],
    });
    await supervisor.start();
    for (let nights = 0; nights < 5; nights++) {
      await sleep(70);
      host.asleepMs += 3_600_000;
    }
    await sleep(200);
    restarts = supervisor.tree().restarts;
    await supervisor.stop();
  });
  assertEquals(restarts, 0);
});

Deno.test("a loop that was held up by somebody else is no lost heartbeat", async () => {
  const host = new SleepyHost();
  await using loop = new EventLoop({ host });
  const ends: string[] = [];
  await loop.runUntilComplete(function* () {
    const supervisor = new Supervisor({
      reportCrashes: false,
      children: [{ id: "a", heartbeatMs: 100, start: () => sleep(Infinity) }],
    });
    const events = supervisor.events();
    yield* supervisor.start();
    loop.callLater(10, () => host.asleepMs += 10_000); // a callback of ten seconds
    yield* sleep(150);
    // The silence counts on where it was: it is noticed all the same.
    yield* sleep(100);
    yield* supervisor.stop();
    yield* each(events, (event) => {
      if (event.type === "ended") ends.push(event.end!.kind);
    });
  });
  assertEquals(ends[0], "crash");
  await loop.runUntilComplete(() => until(Promise.resolve()));
});
