/**
 * Traces in the format of Chrome, and spans of OpenTelemetry.
 *
 * @module
 */
import { assert, assertEquals, assertThrows } from "@std/assert";
import * as otel from "@opentelemetry/api";
import {
  BasicTracerProvider,
  type ReadableSpan,
} from "@opentelemetry/sdk-trace-base";
import {
  createTask,
  EventLoop,
  getRunningLoop,
  Lock,
  Queue,
  run,
  sleep,
  wait,
} from "../../mod.ts";
import {
  TaskSpans,
  type Trace,
  type TraceEvent,
  Tracer,
} from "../../src/observe/mod.ts";
import { ManualHost } from "../support/manual_host.ts";
import { inStyle, STYLES } from "../support/styles.ts";

/** Checks a trace against the trace event format, as Perfetto reads it. */
function checkFormat(trace: Trace): TraceEvent[] {
  const { traceEvents } = JSON.parse(JSON.stringify(trace)) as Trace;
  /** Open spans of each line of a task. */
  const open = new Map<string, string[]>();
  const arrows = new Map<string, number>();
  let lastTs = 0;
  let lastEnd = 0;
  for (const event of traceEvents) {
    const { name, cat, ph, ts, pid, tid } = event;
    assert(typeof name === "string" && typeof cat === "string", name);
    assertEquals([pid, tid], [1, 1]);
    assert(Number.isFinite(ts) && ts >= lastTs, `${name} at ${ts}`);
    lastTs = ts;
    if (ph === "X") {
      // Spans of a thread may nest, and must not overlap otherwise.
      assert(event.dur! >= 0 && ts >= lastEnd - 0.001, `${name} overlaps`);
      lastEnd = ts + event.dur!;
    } else if (ph === "b" || ph === "e") {
      const line = open.get(event.id!) ?? [];
      open.set(event.id!, line);
      if (ph === "b") line.push(name);
      else {
        const at = line.lastIndexOf(name);
        assert(at >= 0, `${name} ends, and has not begun`);
        line.splice(at, 1);
      }
    } else if (ph === "s") arrows.set(event.id!, ts);
    else if (ph === "f") {
      assertEquals(event.bp, "e");
      assert(arrows.get(event.id!)! <= ts, "an arrow goes forwards");
    } else assertEquals(ph, "M");
  }
  for (const [id, line] of open) assertEquals(line, [], `of task ${id}`);
  return traceEvents as TraceEvent[];
}

/** Spans in short: what, from when, until when. */
function short(events: readonly TraceEvent[]): string[] {
  const begun = new Map<string, number>();
  const lines: string[] = [];
  for (const { name, cat, ph, ts, id, dur = 0 } of events) {
    if (ph === "X") lines.push(`${cat} ${name}: ${ts / 1_000}+${dur / 1_000}`);
    if (ph === "b") begun.set(`${id} ${name}`, ts);
    if (ph !== "e") continue;
    const beganMs = begun.get(`${id} ${name}`)! / 1_000;
    lines.push(`${cat} ${name}: ${beganMs} to ${ts / 1_000}`);
  }
  return lines;
}

for (const style of STYLES) {
  Deno.test(`A trace of ${style} has its steps, waits, life, and who woke it`, async () => {
    const host = new ManualHost();
    const tracer = new Tracer();
    const loop = new EventLoop({ host, instruments: [tracer] });
    const running = loop.runForever();
    const queue = new Queue<number>();
    loop.createTask(
      inStyle(style, function* () {
        yield queue.get();
        host.nowMs += 3;
      }),
      { name: "getter" },
    );
    loop.createTask(
      inStyle(style, function* () {
        yield sleep(10);
        host.nowMs += 2;
        queue.putNowait(1);
      }),
      { name: "putter" },
    );
    loop.callLater(20, function done() {
      loop.stop();
    });
    await host.runUntil(19);
    host.advanceTo(20);
    await running;
    await loop.close();
    const events = checkFormat(tracer.trace());
    const found = short(events);
    for (
      const line of [
        "step getter: 12+3",
        "step putter: 10+2",
        "task waits for Queue.get: 0 to 10",
        "task waits for sleep: 0 to 10",
        "task getter: 0 to 15",
        'callback callback "done": 20+0',
      ]
    ) assert(found.includes(line), `${line} in\n${found.join("\n")}`);
    const arrows = events.filter(({ ph }) => ph === "s" || ph === "f");
    assertEquals(arrows.map(({ ph, ts }) => `${ph} ${ts / 1_000}`), [
      "s 10",
      "f 12",
    ]);
    assert(found.some((line) => line.startsWith("park parked: 0+10")));
  });
}

Deno.test("The ring keeps the latest records, and says how many it has dropped", async () => {
  const tracer = new Tracer({ recordsMax: 50 });
  await run(function* () {
    const lock = new Lock();
    const made = Array.from({ length: 10 }, (_, n) =>
      createTask(function* () {
        for (let k = 0; k < 20; k++) {
          using _permit = yield* lock.acquire();
          yield* sleep(1);
        }
      }, { name: `user ${n}` }));
    yield* wait(made);
    const before = tracer.trace();
    checkFormat(before);
    assertEquals(before.otherData.dropped, tracer.records - 50);
    assert(before.traceEvents.length <= 50 * 6 + 50);
    const steps = before.traceEvents.filter(({ cat }) => cat === "step");
    assert(steps.every(({ ts }) => ts > 150_000), "the latest ones");
    tracer.clear();
    assertEquals(
      tracer.trace().traceEvents.some(({ ph }) => ph === "X"),
      false,
    );
    yield* sleep(1);
    assert(tracer.records > 0, "it goes on");
  }, { host: "virtual", instruments: [tracer] });
});

Deno.test("A tracer that is added and removed while the loop runs leaves a whole trace", async () => {
  await run(function* () {
    const tracer = new Tracer();
    const loop = getRunningLoop();
    const task = createTask(function* () {
      for (let n = 0; n < 10; n++) yield* sleep(1);
    });
    yield* sleep(3.5);
    loop.addInstrument(tracer);
    yield* sleep(3);
    loop.removeInstrument(tracer);
    const { records } = tracer;
    yield* task;
    assertEquals(tracer.records, records);
    checkFormat(tracer.trace());
    const steps = tracer.trace().traceEvents.filter(({ ph }) => ph === "X");
    assert(steps.length >= 3);
  }, { host: "virtual" });
});

Deno.test("Random programs leave traces in the format", async () => {
  for (let seed = 1; seed <= 20; seed++) {
    const tracer = new Tracer({ recordsMax: seed % 2 === 0 ? 37 : 10_000 });
    let random = seed;
    const next = (max: number) => (random = random * 48_271 % 2 ** 31) % max;
    await run(function* () {
      const lock = new Lock();
      const queue = new Queue<number>(1);
      const made = Array.from(
        { length: 8 },
        (_, n) =>
          createTask(inStyle(STYLES[n % 2]!, function* () {
            for (let k = 0; k < 15; k++) {
              const what = next(4);
              if (what === 0) yield sleep(next(3));
              else if (what === 1) {
                using _permit = yield lock.acquire();
                yield sleep(next(2));
              } else if (what === 2 && !queue.full()) yield queue.put(1);
              else if (!queue.empty()) yield queue.get();
            }
          })),
      );
      yield* sleep(next(10));
      made[next(8)]!.cancel();
      yield* wait(made);
      checkFormat(tracer.trace());
    }, { host: "virtual", instruments: [tracer] }).catch((error) => {
      throw new Error(`seed ${seed}`, { cause: error });
    });
  }
});

Deno.test("TaskSpans makes a span of each task, inside of that of the task that made it", async () => {
  const ended: ReadableSpan[] = [];
  const provider = new BasicTracerProvider({
    spanProcessors: [{
      onStart: () => {},
      onEnd: (span) => void ended.push(span),
      forceFlush: () => Promise.resolve(),
      shutdown: () => Promise.resolve(),
    }],
  });
  otel.trace.setGlobalTracerProvider(provider);
  try {
    for (const style of STYLES) {
      ended.length = 0;
      await run(function* () {
        const parent = createTask(
          inStyle(style, function* () {
            const child = createTask(
              inStyle(style, function* () {
                yield sleep(1);
                throw new Error("child fails");
              }),
              { name: "child" },
            );
            yield wait([child]);
            child.exception();
            yield sleep(1_000);
          }),
          { name: "parent" },
        );
        yield* sleep(10);
        parent.cancel();
        yield* wait([parent]);
      }, {
        host: "virtual",
        name: "main",
        instruments: [new TaskSpans(otel)],
      });
      const spans = new Map(
        ended.map((span) => [span.name, span]),
      );
      const spanOf = (name: string) => spans.get(name)!;
      const idOf = (name: string) => spanOf(name).spanContext().spanId;
      assertEquals(spanOf("child").parentSpanId, idOf("parent"));
      assertEquals(spanOf("parent").parentSpanId, idOf("main"));
      assertEquals(spanOf("main").parentSpanId, undefined);
      assertEquals(spanOf("child").status, { code: 2, message: "child fails" });
      assertEquals(spanOf("child").events.length, 1);
      assertEquals(spanOf("parent").attributes["rota.task.cancelled"], true);
    }
  } finally {
    await provider.shutdown();
    otel.trace.disable();
  }
});

Deno.test("Tracers refuse wrong options", () => {
  assertThrows(() => new Tracer({ recordsMax: 0 }), RangeError, "recordsMax");
  assertThrows(() => new Tracer({ recordsMax: NaN }), RangeError);
  assertThrows(() => new Tracer({ waits: 1 as never }), TypeError, "waits");
  assertThrows(() => new Tracer(null as never), TypeError);
  assertThrows(() => new TaskSpans({} as never), TypeError, "api.trace");
});
