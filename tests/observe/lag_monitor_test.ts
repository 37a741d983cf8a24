/**
 * Lag of loops: samples, windows, culprits, and what does not count.
 *
 * @module
 */
import {
  assert,
  assertAlmostEquals,
  assertEquals,
  assertThrows,
} from "@std/assert";
import { createTask, EventLoop, run, sleep } from "../../mod.ts";
import {
  type LagEvent,
  LagMonitor,
  type LagMonitorOptions,
  measureLag,
} from "../../src/observe/mod.ts";
import { Histogram } from "../../src/structures/histogram.ts";
import { ManualHost } from "../support/manual_host.ts";
import { inStyle, STYLES } from "../support/styles.ts";

/** A loop on a clock that only the test moves, which runs, and its monitor. */
async function withMonitor(
  options: LagMonitorOptions,
  body: (world: {
    host: ManualHost;
    loop: EventLoop;
    monitor: LagMonitor;
    events: LagEvent[];
    /** Something that takes this long is about to run. */
    blockBy: (ms: number) => void;
  }) => Promise<void>,
): Promise<void> {
  const host = new ManualHost();
  const loop = new EventLoop({ host });
  const events: LagEvent[] = [];
  const running = loop.runForever();
  const monitor = new LagMonitor({
    loop,
    everyMs: 100,
    onLag: (event) => events.push(event),
    ...options,
  });
  const blockBy = (ms: number) => {
    host.nowMs += ms;
  };
  try {
    await host.parked();
    await body({ host, loop, monitor, events, blockBy });
  } finally {
    await monitor.close();
    loop.stop();
    loop.callSoon(() => loop.stop());
    await running;
    await loop.close();
  }
}

Deno.test("A monitor samples on time as no lag, and lateness as what it is", async () => {
  await withMonitor({}, async ({ host, monitor, events }) => {
    assert(Number.isNaN(monitor.snapshot().p50));
    await host.runUntil(1_000);
    assertEquals(monitor.snapshot(), {
      samples: 10,
      p50: 0,
      p99: 0,
      max: 0,
      sumTotal: 0,
      samplesTotal: 10,
      suspendedTotal: 0,
    });
    host.advanceTo(1_140); // 40 ms late
    await host.parked();
    assertEquals(monitor.snapshot().max, 40);
    assertEquals(events, []);
    assert(Object.isFrozen(monitor.snapshot()));
  });
});

for (const style of STYLES) {
  Deno.test(`An event names the task of ${style} that has blocked, not the one that was long as well`, async () => {
    await withMonitor({}, async ({ host, loop, events, blockBy, monitor }) => {
      const spin = (name: string, ms: number) =>
        loop.createTask(
          inStyle(style, function* () {
            yield sleep(5);
            blockBy(ms);
            yield sleep(1);
          }),
          { name },
        );
      spin("short", 30);
      const culprit = spin("culprit", 500);
      await host.runUntil(2_000);
      assertEquals(events.length, 1);
      const [{ kind, culprit: named, taskId, tookMs, lagMs }] = events as [
        LagEvent,
      ];
      assertEquals(
        [kind, named, taskId],
        ["blocked", 'task "culprit"', culprit.id],
      );
      assertEquals(tookMs, 500);
      assertEquals(lagMs, 500, "as a timer of its beginning");
      assertEquals(monitor.snapshot().max, lagMs);
    });
  });
}

Deno.test("Callbacks are named too; many short steps and code outside of loops are not", async () => {
  await withMonitor({}, async ({ host, loop, events, blockBy }) => {
    loop.callLater(10, function compute() {
      blockBy(300);
    });
    await host.runUntil(1_000);
    for (let n = 0; n < 10; n++) loop.callLater(50, () => blockBy(30));
    await host.runUntil(2_000);
    host.advanceTo(2_400); // nothing of the loop ran
    await host.runUntil(3_000);
    assertEquals(events.map(({ culprit }) => culprit), [
      'callback "compute"',
      null,
      null,
    ]);
    assertEquals(events[1]!.tookMs, 0);
  });
});

Deno.test("A step that blocks between two samples is told of as well", async () => {
  await withMonitor(
    { thresholdMs: 50 },
    async ({ host, loop, events, blockBy, monitor }) => {
      loop.callLater(10, function brief() {
        blockBy(80); // the sample at 100 ms is on time
      });
      await host.runUntil(500);
      assertEquals(events.map(({ culprit, lagMs }) => [culprit, lagMs]), [
        ['callback "brief"', 80],
      ]);
      assertEquals(monitor.snapshot().max, 80);
    },
  );
});

Deno.test("Only the last window counts, in slices", async () => {
  await withMonitor({ windowMs: 6_000 }, async ({ host, monitor }) => {
    await host.parked();
    host.advanceTo(150);
    await host.runUntil(5_000);
    assertEquals(monitor.snapshot().max, 50);
    await host.runUntil(6_900);
    assertEquals(monitor.snapshot().max, 50, "a slice longer at most");
    await host.runUntil(7_100);
    const { max, samples, sumTotal, samplesTotal } = monitor.snapshot();
    assertEquals([max, sumTotal], [0, 50]);
    assert(samples < samplesTotal && samples >= 60, `${samples}`);
    host.nowMs += 3_600_000; // a window and more without a sample
    assertEquals(monitor.snapshot().samples, 0);
  });
});

Deno.test("The time of reading is not part of the lag, and readers do not disturb each other", async () => {
  await withMonitor({}, async ({ host, loop, monitor, events, blockBy }) => {
    loop.callLater(50, () => {
      assertEquals(monitor.exclude(() => (blockBy(400), 7)), 7);
      assertThrows(() =>
        monitor.exclude(() => {
          blockBy(100);
          throw new Error("reader");
        })
      );
    });
    await host.runUntil(1_000);
    assertEquals(events, []);
    assertEquals(monitor.snapshot().max, 0);
    assertEquals(monitor.snapshot(), monitor.snapshot());
  });
});

Deno.test("Listeners come and go, and their errors go to the exception handler", async () => {
  await withMonitor({}, async ({ host, loop, monitor, events }) => {
    const reports: unknown[] = [];
    loop.setExceptionHandler((_, { exception }) => reports.push(exception));
    const second: number[] = [];
    const failure = new Error("listener");
    using subscription = monitor.subscribe(() => {
      throw failure;
    });
    using _other = monitor.subscribe(({ lagMs }) => second.push(lagMs));
    host.advanceTo(500);
    await host.runUntil(1_000);
    assertEquals([events.length, second.length], [1, 1]);
    assertEquals(reports, [failure]);
    subscription[Symbol.dispose]();
    host.advanceTo(1_500);
    await host.runUntil(2_000);
    assertEquals([events.length, reports.length], [2, 1]);
    await monitor.close();
    await monitor.close();
    host.advanceTo(2_500);
    await host.parked();
    assertEquals(events.length, 2);
    assertEquals(loop.stats().timers, 0);
  });
});

Deno.test("A monitor without culprits, or without listeners, brings no instrument", async () => {
  for (const culprits of [true, false]) {
    await run(async () => {
      const monitor = new LagMonitor({ culprits });
      const sinceMs = async () => {
        const task = createTask(() => sleep(1_000));
        await sleep(1);
        const since = task.waits()[0]!.sinceMs;
        task.cancel();
        return since;
      };
      assertEquals(await sinceMs(), null);
      {
        using _subscription = monitor.subscribe(() => {});
        assertEquals(typeof await sinceMs(), culprits ? "number" : "object");
      }
      assertEquals(await sinceMs(), null);
      await monitor.close();
    }, { host: "virtual" });
  }
});

Deno.test("measureLag() waits for all that is ready", async () => {
  for (const style of STYLES) {
    const host = new ManualHost();
    const loop = new EventLoop({ host });
    const running = loop.runForever();
    let lagMs: unknown;
    loop.createTask(inStyle(style, function* () {
      lagMs = yield measureLag();
    }));
    for (let n = 0; n < 3; n++) loop.callSoon(() => host.nowMs += 7);
    await host.parked();
    assert(lagMs === 21 || lagMs === 0, `${lagMs}`);
    loop.callSoon(() => loop.stop());
    await running;
    await loop.close();
  }
});

Deno.test("Wrong options are refused, and nothing is left behind", async () => {
  await run(function* () {
    const make = (options: unknown) => () =>
      new LagMonitor(options as LagMonitorOptions);
    for (const name of ["everyMs", "windowMs", "thresholdMs"]) {
      for (const value of [0, -1, NaN, Infinity]) {
        assertThrows(make({ [name]: value }), RangeError, name);
      }
      assertThrows(make({ [name]: "1" }), TypeError, name);
    }
    assertThrows(make(null), TypeError);
    assertThrows(make({ loop: {} }), TypeError, "loop");
    assertThrows(make({ onLag: 1 }), TypeError, "onLag");
    assertThrows(make({ watchdog: 1 }), TypeError, "watchdog");
    assertThrows(make({ culprits: 1 }), TypeError, "culprits");
    const monitor = new LagMonitor();
    assertThrows(() => monitor.subscribe(1 as never), TypeError, "listener");
    void monitor.close();
  }, { host: "virtual" });
});

Deno.test("addAll() makes one histogram of two", () => {
  const [one, other] = [new Histogram(), new Histogram()];
  for (let n = 1; n <= 50; n++) one.add(n);
  for (let n = 51; n <= 100; n++) other.add(n);
  one.addAll(other);
  assertEquals(one.count, 100);
  assertAlmostEquals(one.quantile(0.5), 50, 3);
  assertEquals([one.quantile(0), one.quantile(1)], [1, 100]);
  one.addAll(new Histogram());
  assertEquals([one.quantile(0), one.quantile(1)], [1, 100]);
});
