/**
 * Delays of restarts, on virtual time.
 *
 * @module
 */
import { assert, assertEquals, assertInstanceOf } from "@std/assert";
import { RestartLimitError } from "../../src/errors.ts";
import { type EventLoop, sleep } from "../../src/loop/mod.ts";
import type { ChildInfo } from "../../src/supervise/supervisor_calls.ts";
import { DynamicSupervisor } from "../../src/supervise/dynamic_supervisor.ts";
import { Supervisor } from "../../src/supervise/supervisor.ts";
import type { SupervisorOptions } from "../../src/supervise/supervisor_options.ts";
import { seedOf } from "../../src/workers/checks.ts";
import { startProgram } from "../support/program.ts";
import { caught, play, Stage, type Steps, STYLES } from "./stage.ts";

const EXACT = { initialMs: 100, jitter: "none" } as const;

/** Moments at which a child that crashes at once is started. */
function startsOf(options: SupervisorOptions) {
  const startedMs: number[] = [];
  return function* (loop: EventLoop): Steps<number[]> {
    const supervisor = new Supervisor({
      maxRestarts: 8,
      withinMs: Infinity,
      reportCrashes: false,
      ...options,
      children: [{
        id: "a",
        start: (started) => {
          startedMs.push(loop.time());
          started();
          throw new Error("not today");
        },
      }],
    });
    const error = yield* caught(supervisor.run());
    assertInstanceOf(error, RestartLimitError);
    return startedMs;
  };
}

function statuses(infos: readonly ChildInfo[]): string {
  return infos.map(({ id, status }) => `${id} ${status}`).reverse().join(", ");
}

for (const style of STYLES) {
  Deno.test(`delays grow by a factor up to a cap, ${style}`, async () => {
    const { value } = await play(
      style,
      startsOf({ backoff: { ...EXACT, factor: 3, maxMs: 2_000 } }),
    );
    const delays = [100, 300, 900, 2_000, 2_000, 2_000, 2_000, 2_000];
    let atMs = 0;
    assertEquals(value, [0, ...delays.map((delayMs) => atMs += delayMs)]);
  });

  Deno.test(`full jitter comes from the seed and stays below the delay, ${style}`, async () => {
    const delaysOf = async (seed: number) => {
      const { value } = await play(
        style,
        startsOf({ seed, backoff: { initialMs: 100 } }),
      );
      return value.slice(1).map((atMs, index) => atMs - value[index]!);
    };
    const delays = await delaysOf(7);
    assertEquals(await delaysOf(7), delays);
    assert(String(await delaysOf(8)) !== String(delays));
    for (const [index, delayMs] of delays.entries()) {
      assert(delayMs >= 0 && delayMs < 100 * 2 ** index, `${delayMs}`);
    }
  });

  Deno.test(`jitter spreads children that fail together, ${style}`, async () => {
    const { value: startedMs } = await play(style, function* (loop) {
      const startedMs: number[] = [];
      const supervisor = new Supervisor({
        seed: 1,
        maxRestarts: Infinity,
        reportCrashes: false,
        backoff: { initialMs: 1_000 },
        children: Array.from({ length: 1_000 }, (_, n) => ({
          id: `${n}`,
          restart: "transient" as const,
          *start() {
            if (loop.time() > 100) return void startedMs.push(loop.time());
            yield* sleep(100);
            throw new Error("all at once");
          },
        })),
      });
      yield supervisor.start();
      yield sleep(2_000);
      yield supervisor.stop();
      return startedMs;
    });
    assertEquals(startedMs.length, 1_000);
    const buckets = new Array(10).fill(0);
    for (const atMs of startedMs) buckets[Math.floor((atMs - 100) / 100)]++;
    assert(Math.max(...buckets) <= 200, String(buckets));
  });

  Deno.test(`a child that has run for long enough begins with the first delay again, ${style}`, async () => {
    const { value } = await play(style, function* () {
      const stage = new Stage(style);
      const supervisor = new Supervisor({
        maxRestarts: Infinity,
        reportCrashes: false,
        backoff: { ...EXACT, healthyMs: 1_000 },
        children: [stage.child("a")],
      });
      const delays: number[] = [];
      supervisor.subscribe((event) => {
        if (event.type === "restarting") delays.push(event.delayMs!);
      });
      yield supervisor.start();
      for (const aliveMs of [10, 10, 999, 1_000, 10]) {
        yield sleep(aliveMs);
        stage.end("a", "crash");
        yield sleep(1);
        yield supervisor.settled(); // it is ready at this moment
      }
      yield supervisor.stop();
      return delays;
    });
    assertEquals(value, [100, 200, 400, 100, 200]);
  });

  Deno.test(`a start that fails counts, for the delay and the limit, ${style}`, async () => {
    const { value } = await play(style, function* (loop) {
      const stage = new Stage(style);
      const supervisor = new Supervisor({
        maxRestarts: 3,
        withinMs: 60_000,
        reportCrashes: false,
        backoff: EXACT,
        children: [
          stage.child("a", { starts: ["ok", "fail", "fail", "fail"] }),
        ],
      });
      yield supervisor.start();
      stage.end("a", "crash");
      yield sleep(50);
      const during = statuses(yield supervisor.whichChildren());
      const error = yield* caught(supervisor.join());
      assertInstanceOf(error, RestartLimitError);
      assertEquals(error.childId, "a");
      return [stage.take(), during, loop.time()];
    });
    // 100 + 200 + 400 + 800: the fourth restart is one too many.
    assertEquals(value, ["+a !a ?a ?a ?a", "a restarting", 1_500]);
  });

  Deno.test(`a child that waits for its restart can be terminated, and not be restarted or deleted by hand, ${style}`, async () => {
    const { value } = await play(style, function* () {
      const stage = new Stage(style);
      const supervisor = new Supervisor({
        reportCrashes: false,
        backoff: EXACT,
        children: [stage.child("a"), stage.child("b")],
      });
      yield supervisor.start();
      stage.end("a", "crash");
      yield sleep(10);
      const problems = [
        yield* caught(supervisor.restartChild("a")),
        yield* caught(supervisor.deleteChild("a")),
        yield* caught(supervisor.startChild(stage.child("a"))),
      ].map((error) => (error as Error & { problem: string }).problem);
      yield supervisor.terminateChild("a");
      yield supervisor.settled(); // no delay runs any more
      const after = statuses(yield supervisor.whichChildren());
      yield sleep(1_000);
      const log = stage.take();
      yield supervisor.restartChild("a");
      yield supervisor.stop();
      return [problems, after, log, stage.take()];
    });
    assertEquals(value, [
      ["restarting", "restarting", "already-present"],
      "a stopped, b running",
      "+a +b !a",
      "+a -b !b -a !a",
    ]);
  });

  Deno.test(`the failure of a sibling joins the delay that runs, ${style}`, async () => {
    for (const strategy of ["one-for-all", "rest-for-one"] as const) {
      const { value } = await play(style, function* (loop) {
        const stage = new Stage(style);
        const supervisor = new Supervisor({
          strategy,
          maxRestarts: 1,
          reportCrashes: false,
          backoff: EXACT,
          children: [stage.child("a"), stage.child("b"), stage.child("c")],
        });
        yield supervisor.start();
        stage.take();
        stage.end("b", "crash");
        yield sleep(60);
        stage.end("c", "crash");
        yield sleep(30);
        const during = statuses(yield supervisor.whichChildren());
        const before = stage.take();
        yield supervisor.settled();
        const restartedMs = loop.time();
        const { restarts } = supervisor.tree();
        const log = stage.take();
        yield supervisor.stop();
        return [during, before, restartedMs, restarts, log];
      });
      assertEquals(value, [
        "a running, b restarting, c restarting",
        "!b !c",
        100,
        1,
        strategy === "one-for-all" ? "-a !a +a +b +c" : "+b +c",
      ], strategy);
    }
  });

  Deno.test(`an earlier sibling that joins a delay is restarted with all after it, ${style}`, async () => {
    const { value } = await play(style, function* (loop) {
      const stage = new Stage(style);
      const supervisor = new Supervisor({
        strategy: "rest-for-one",
        reportCrashes: false,
        backoff: EXACT,
        children: [stage.child("a"), stage.child("b"), stage.child("c")],
      });
      yield supervisor.start();
      stage.take();
      stage.end("c", "crash");
      yield sleep(60);
      stage.end("b", "crash");
      yield supervisor.settled();
      const result = [stage.take(), loop.time()];
      yield supervisor.stop();
      return result;
    });
    assertEquals(value, ["!c !b +b +c", 100]);
  });

  Deno.test(`a delay goes on for the others when one of its children is terminated, ${style}`, async () => {
    const { value } = await play(style, function* (loop) {
      const stage = new Stage(style);
      const supervisor = new Supervisor({
        strategy: "one-for-all",
        reportCrashes: false,
        backoff: EXACT,
        children: [stage.child("a"), stage.child("b")],
      });
      yield supervisor.start();
      stage.take();
      stage.end("a", "crash");
      yield sleep(50);
      stage.end("b", "crash");
      yield sleep(10);
      yield supervisor.terminateChild("a");
      yield supervisor.settled();
      const result = [stage.take(), loop.time()];
      yield supervisor.stop();
      return result;
    });
    // A restart of the group starts whatever is stopped, as in OTP.
    assertEquals(value, ["!a !b +a +b", 100]);
  });

  Deno.test(`a crash during a delayed start is not lost, ${style}`, async () => {
    const { value } = await play(style, function* (loop) {
      const stage = new Stage(style);
      const supervisor = new Supervisor({
        maxRestarts: Infinity,
        reportCrashes: false,
        backoff: EXACT,
        children: [
          stage.child("a", { starts: ["ok", 50, "fail"] }),
          stage.child("b"),
        ],
      });
      yield supervisor.start();
      stage.take();
      stage.end("a", "crash"); // starts again from 100 to 150
      yield sleep(120);
      stage.end("b", "crash"); // noticed at 150, restarted at 250
      while (!stage.has("a")) yield sleep(1);
      stage.end("a", "crash"); // at 150, as soon as it is ready: tried at 350, and again
      yield sleep(1);
      const during = statuses(yield supervisor.whichChildren());
      yield supervisor.settled();
      const result = [during, stage.take(), loop.time()];
      yield supervisor.stop();
      return result;
    });
    assertEquals(value, [
      "a restarting, b restarting",
      "!a !b +a !a +b ?a +a",
      150 + 200 + 400,
    ]);
  });

  Deno.test(`a stop does not wait for delays, ${style}`, async () => {
    const { value } = await play(style, function* (loop) {
      const stage = new Stage(style);
      const supervisor = new Supervisor({
        reportCrashes: false,
        backoff: { ...EXACT, initialMs: 60_000, maxMs: 60_000 },
        children: [stage.child("a"), stage.child("b")],
      });
      yield supervisor.start();
      stage.end("a", "crash");
      yield sleep(10);
      yield supervisor.stop();
      return [stage.take(), loop.time()];
    });
    assertEquals(value, ["+a +b !a -b !b", 10]);
  });

  Deno.test(`children may have delays of their own, or none, ${style}`, async () => {
    const { value } = await play(style, function* (loop) {
      const stage = new Stage(style);
      const supervisor = new Supervisor({
        maxRestarts: Infinity,
        reportCrashes: false,
        backoff: EXACT,
        children: [
          stage.child("a"),
          stage.child("b", { backoff: null }),
          stage.child("c", { backoff: { ...EXACT, initialMs: 40 } }),
        ],
      });
      yield supervisor.start();
      stage.take();
      for (const id of "abc") stage.end(id, "crash");
      yield supervisor.settled();
      yield sleep(1);
      yield supervisor.settled();
      const result = [stage.take(), loop.time()];
      yield supervisor.stop();
      return result;
    });
    assertEquals(value, ["!a !b !c +b +c +a", 100]);
  });

  Deno.test(`a dynamic supervisor delays each child for itself, ${style}`, async () => {
    const { value } = await play(style, function* (loop) {
      const stage = new Stage(style);
      const supervisor = new DynamicSupervisor({
        reportCrashes: false,
        backoff: EXACT,
      });
      yield supervisor.start();
      const first = yield supervisor.startChild(stage.start("a"));
      yield supervisor.startChild(stage.start("b"));
      stage.take();
      stage.end("a", "crash");
      yield sleep(50);
      stage.end("b", "crash");
      yield sleep(10);
      const during = statuses(yield supervisor.whichChildren());
      yield supervisor.terminateChild(first);
      const { specs, active, workers } = yield supervisor.countChildren();
      yield supervisor.settled();
      const result = [
        during,
        specs,
        active,
        workers,
        stage.take(),
        loop.time(),
      ];
      yield supervisor.stop();
      return result;
    });
    assertEquals(value, [
      "1 restarting, 2 restarting",
      1,
      0,
      1,
      "!a !b +b",
      150,
    ]);
  });
}

Deno.test("processes that fail in the same millisecond draw different seeds", () => {
  const wallMs = 1_800_000_000_000.5;
  const seeds = new Set<number>();
  for (let process = 0; process < 100; process++) {
    // All have run for about as long; clocks differ by nanoseconds.
    seeds.add(seedOf(wallMs, 4_000 + process * 0.000_1, 0));
  }
  assertEquals(seeds.size, 100);
  for (const seed of seeds) assert(Number.isSafeInteger(seed) && seed >= 0);
  assert(Number.isSafeInteger(seedOf(1e15, 1e12, 2 ** 40)));
});

Deno.test("a supervisor whose clock shows what another one's does has a delay of its own", async () => {
  const delays: number[] = [];
  for (let round = 0; round < 2; round++) {
    const program = startProgram(`
      import { run, Supervisor } from "@rota/rota";
      performance.now = () => 5_000; // a loop that fails as long after its start
      const supervisor = new Supervisor({
        children: [{
          id: "a",
          start: (started) => {
            started();
            throw new Error("oh");
          },
        }],
        backoff: { initialMs: 1_000_000 },
        reportCrashes: false,
      });
      supervisor.subscribe(({ type, delayMs }) => {
        if (type !== "restarting") return;
        console.log(delayMs);
        Deno.exit();
      });
      await run(() => supervisor.run(), { host: "portable" });
    `);
    delays.push(Number((await program.end()).stdout));
  }
  assert(delays.every((delayMs) => delayMs > 0), String(delays));
  assert(delays[0] !== delays[1], String(delays));
});
