/**
 * Traces of a loop: its latest steps, callbacks and waits, as a file that Perfetto
 * opens, and tasks as spans of OpenTelemetry.
 *
 * @module
 */
import {
  checkHas,
  checkInteger,
  checkOneOf,
  checkOptions,
} from "../loop/checks.ts";
import type { EventLoop } from "../loop/event_loop.ts";
import type { Future } from "../loop/future.ts";
import { describeHandle, Handle } from "../loop/handle.ts";
import type { Instrument } from "../loop/instrument.ts";
import { Task } from "../loop/task.ts";
import { explain, inWords, isUnseen, peekError } from "../loop/waiters.ts";

/** An event in the trace event format of Chrome: times in microseconds. */
export interface TraceEvent {
  /** Name of what happened. */
  readonly name: string;
  /** Category: `"step"`, `"callback"`, `"task"`, `"park"`, `"wake"`. */
  readonly cat: string;
  /** Kind: `"X"` a span of the thread, `"b"` and `"e"` begin and end of a span of a task, `"s"` and `"f"` begin and end of an arrow, `"M"` a name. */
  readonly ph: "X" | "b" | "e" | "s" | "f" | "M";
  /** When it began. */
  readonly ts: number;
  /** How long it took, of an `"X"`. */
  readonly dur?: number;
  /** Process: always 1. */
  readonly pid: number;
  /** Thread: always 1. */
  readonly tid: number;
  /** Task or arrow to which it belongs. */
  readonly id?: string;
  /** Where an arrow ends: `"e"`, in the span that is there. */
  readonly bp?: "e";
  /** More about it. */
  readonly args?: Readonly<Record<string, unknown>>;
}

/** A trace in the trace event format of Chrome, from {@linkcode Tracer.trace}. */
export interface Trace {
  /** The events, by their time. */
  readonly traceEvents: readonly TraceEvent[];
  /** Unit in which viewers show times. */
  readonly displayTimeUnit: "ms";
  /** More about it. */
  readonly otherData: {
    /** How many records were dropped as there was no room: the oldest ones. */
    readonly dropped: number;
  };
}

/** Options of a {@linkcode Tracer}. */
export interface TracerOptions {
  /**
   * How many steps, callbacks and waits are kept: the latest ones. Each takes some 40
   * bytes.
   *
   * @default {100_000}
   */
  readonly recordsMax?: number | undefined;
  /**
   * Whether waits are recorded, and who has ended them: a third of a microsecond each.
   *
   * @default {true}
   */
  readonly waits?: boolean | undefined;
}

/** How many words for what is waited for are remembered. */
const WORDS_MAX = 1_000;
/** How many kinds of records there are, and which. */
const KINDS = 5;
const STEP = 0;
const CALLBACK = 1;
const PARK = 2;
const WAIT = 3;
const LIFE = 4;

/** Latest wait of a task. */
interface LatestWait {
  kind: string;
  /** When it began; `NaN` if it is over. */
  beganMs: number;
  /** When it was ended; `NaN` if it was not yet. */
  wokenMs: number;
  /** Id of the task that has ended it; 0 for none. */
  by: number;
}

/**
 * Records what a loop does, as an {@linkcode Instrument}: which task ran when and how
 * long, for what it waited, and whose step woke it.
 *
 * Keeps the latest records in a ring of fixed size, so that it may be left on. {@linkcode
 * Tracer.trace} makes a trace of them, to be written to a file and opened at
 * `ui.perfetto.dev` or `chrome://tracing`. A tracer belongs to one loop, and may be
 * added and removed while that runs. Of an async function only what the loop sees is
 * in it: see {@linkcode Instrument}. A step costs two to three times what it costs
 * without a tracer.
 *
 * @example
 * ```ts
 * import { run, sleep, Tracer } from "@rota/rota";
 * import { assertEquals } from "@std/assert";
 *
 * const tracer = new Tracer();
 * await run(function* () {
 *   yield* sleep(5);
 * }, { host: "virtual", name: "main", instruments: [tracer] });
 * const steps = tracer.trace().traceEvents.filter(({ cat }) => cat === "step");
 * assertEquals(steps.map(({ name, ts }) => `${name} at ${ts}`), [
 *   "main at 0",
 *   "main at 5000",
 * ]);
 * const file = JSON.stringify(tracer.trace()); // what to write to a file
 * assertEquals(JSON.parse(file).displayTimeUnit, "ms");
 * ```
 */
export class Tracer implements Instrument {
  readonly #max: number;
  // Hooks that are not wanted are not there: each costs something at each step.
  /** @ignore */
  readonly taskBlocks?: (
    task: Task<unknown>,
    on: Future<unknown> | null,
  ) => void;
  /** @ignore */
  readonly taskWakes?: (
    task: Task<unknown>,
    by: Task<unknown> | null,
  ) => void;
  /** Of each record: id and kind in one number, beginning and end. */
  readonly #data: Float64Array;
  /** Names of records; "" for a task without one. */
  readonly #names: string[];
  /** Of waits: when they were ended, and by which task; 0 for none. */
  readonly #wokens: Float64Array;
  readonly #bys: Float64Array;
  /** Records so far, and the place of the next one. */
  #count = 0;
  #at = 0;
  #loop: EventLoop | null = null;
  /**
   * End of the step before, or beginning of the turn. The next step begins there: also
   * a continuation of an async function, which comes right after the turn. A look at
   * the clock costs as much as a switch.
   */
  #lastMs = 0;
  #parkedMs = NaN;
  readonly #made: Map<Task<unknown>, number> = new Map();
  readonly #latest: Map<Task<unknown>, LatestWait> = new Map();
  /** How many of these are not over. */
  #openWaits = 0;
  /** Kinds of waits by the words for what is waited for. */
  readonly #kindsOf: Map<string, string> = new Map();

  /**
   * Makes a tracer. Add it to a loop to have it record.
   *
   * @param options How much is kept.
   * @throws {TypeError} If an option is of the wrong type.
   * @throws {RangeError} If `recordsMax` is not an integer >= 1.
   */
  constructor(options: TracerOptions = {}) {
    const what = "make a tracer";
    checkOptions(options, what);
    const { recordsMax = 100_000, waits = true } = options;
    checkInteger(recordsMax, 1, what, "recordsMax");
    checkOneOf(waits, [true, false], what, "waits");
    this.#max = recordsMax;
    if (waits) {
      this.taskBlocks = (task, on) => this.#blocks(task, on);
      this.taskWakes = (task, by) => this.#isWoken(task, by);
    }
    this.#names = new Array(recordsMax).fill("");
    this.#data = new Float64Array(3 * recordsMax);
    this.#wokens = new Float64Array(waits ? recordsMax : 0);
    this.#bys = new Float64Array(waits ? recordsMax : 0);
  }

  /** How many records were made, those included that were dropped since. */
  get records(): number {
    return this.#count;
  }

  /** Forgets all records, and goes on. */
  clear(): void {
    this.#count = this.#at = 0;
    this.#names.fill("");
  }

  #record(
    kind: number,
    id: number,
    name: string,
    beginMs: number,
    endMs: number,
  ): void {
    const at = this.#at;
    this.#at = at + 1 === this.#max ? 0 : at + 1;
    this.#count++;
    const data = this.#data;
    data[3 * at] = KINDS * id + kind;
    data[3 * at + 1] = beginMs;
    data[3 * at + 2] = endMs;
    this.#names[at] = name;
  }

  // -- Hooks --

  /** @ignore */
  turnBegins(_turn: number, loop: EventLoop): void {
    this.#loop = loop;
    this.#lastMs = loop.time();
  }

  /** @ignore */
  taskMade(task: Task<unknown>): void {
    this.#made.set(task, task.loop.time());
  }

  /** @ignore */
  stepEnds(task: Task<unknown>): void {
    const beganMs = this.#lastMs;
    const nowMs = this.#lastMs = task.loop.time();
    // A hook less for each step: what it waits for now is told after this.
    if (this.#openWaits > 0) this.#waitEnds(task, beganMs);
    this.#record(STEP, task.id, task.givenName, beganMs, nowMs);
  }

  /** @ignore */
  callbackEnds(callback: Handle | Future<unknown>): void {
    const nowMs = this.#loop?.time() ?? this.#lastMs;
    const name = callback instanceof Handle
      ? describeHandle(callback)
      : callback[inWords]();
    this.#record(CALLBACK, 0, name, this.#lastMs, nowMs);
    this.#lastMs = nowMs;
  }

  #blocks(task: Task<unknown>, on: Future<unknown> | null): void {
    let wait = this.#latest.get(task);
    if (wait === undefined) {
      wait = { kind: "", beganMs: NaN, wokenMs: NaN, by: 0 };
      this.#latest.set(task, wait);
    }
    if (Number.isNaN(wait.beganMs)) this.#openWaits++;
    wait.kind = on === null ? "promise" : this.#kindOf(on);
    wait.beganMs = this.#lastMs;
    wait.wokenMs = NaN;
    wait.by = 0;
  }

  #kindOf(on: Future<unknown>): string {
    if (on instanceof Task) return "task";
    const words = on[inWords]();
    const known = this.#kindsOf.get(words);
    if (known !== undefined) return known;
    const { kind } = on[explain]();
    if (this.#kindsOf.size < WORDS_MAX) this.#kindsOf.set(words, kind);
    return kind;
  }

  #isWoken(task: Task<unknown>, by: Task<unknown> | null): void {
    const wait = this.#latest.get(task);
    if (wait === undefined) return;
    // A wake-up by a task is shown at the beginning of the step that it is in.
    wait.wokenMs = Number.isNaN(this.#parkedMs)
      ? this.#lastMs
      : task.loop.time();
    wait.by = by === null ? 0 : by.id;
  }

  #waitEnds(task: Task<unknown>, nowMs: number): void {
    const wait = this.#latest.get(task);
    if (wait === undefined || Number.isNaN(wait.beganMs)) return;
    const at = this.#at;
    this.#record(WAIT, task.id, wait.kind, wait.beganMs, nowMs);
    this.#wokens[at] = wait.wokenMs;
    this.#bys[at] = wait.by;
    wait.beganMs = NaN;
    this.#openWaits--;
  }

  /** @ignore */
  taskEnds(task: Task<unknown>): void {
    const nowMs = task.loop.time();
    this.#waitEnds(task, this.#lastMs); // with the last step, which is not over
    this.#latest.delete(task);
    const beganMs = this.#made.get(task);
    if (beganMs === undefined) return;
    this.#made.delete(task);
    this.#record(LIFE, task.id, task.name, beganMs, nowMs);
  }

  /** @ignore */
  parks(_untilMs: number, loop: EventLoop): void {
    this.#parkedMs = loop.time();
  }

  /** @ignore */
  wakes(loop: EventLoop): void {
    if (!Number.isNaN(this.#parkedMs)) {
      this.#record(PARK, 0, "parked", this.#parkedMs, loop.time());
    }
    this.#parkedMs = NaN;
  }

  // -- Traces --

  /**
   * Makes a trace of the records that are there. Tasks and waits that go on end where
   * the trace does. Takes about a microsecond for each record.
   *
   * @returns The trace: write it to a file with `JSON.stringify`.
   */
  trace(): Trace {
    const events: TraceEvent[] = [];
    const kept = Math.min(this.#count, this.#max);
    for (let n = this.#count - kept; n < this.#count; n++) {
      this.#addEvents(n % this.#max, events);
    }
    const endMs = this.#lastMs;
    for (const [task, beganMs] of this.#made) {
      events.push(
        ...span(task.id, task.name, beganMs, Math.max(endMs, beganMs)),
      );
    }
    for (const [task, { kind, beganMs }] of this.#latest) {
      if (Number.isNaN(beganMs)) continue;
      events.push(
        ...span(
          task.id,
          `waits for ${kind}`,
          beganMs,
          Math.max(endMs, beganMs),
        ),
      );
    }
    events.sort((a, b) => a.ts - b.ts);
    return {
      traceEvents: [...NAMES, ...events],
      displayTimeUnit: "ms",
      otherData: { dropped: this.#count - kept },
    };
  }

  /** Adds the events of a record. */
  #addEvents(at: number, events: TraceEvent[]): void {
    const number = this.#data[3 * at]!;
    const id = Math.floor(number / KINDS);
    const text = this.#names[at] || `Task-${id}`;
    const beginMs = this.#data[3 * at + 1]!;
    const endMs = this.#data[3 * at + 2]!;
    switch (number % KINDS) {
      case STEP:
        events.push(slice("step", text, beginMs, endMs, { task: id }));
        return;
      case CALLBACK:
        events.push(slice("callback", text, beginMs, endMs));
        return;
      case PARK:
        events.push(slice("park", text, beginMs, endMs));
        return;
      case LIFE:
        events.push(...span(id, text, beginMs, endMs));
        return;
      default:
        this.#addWait(at, id, text, events);
    }
  }

  #addWait(at: number, id: number, kind: string, events: TraceEvent[]): void {
    const beginMs = this.#data[3 * at + 1]!;
    const endMs = this.#data[3 * at + 2]!;
    const wokenMs = Math.max(this.#wokens[at]!, beginMs);
    const isWoken = !Number.isNaN(wokenMs);
    const waitEndMs = isWoken ? wokenMs : endMs;
    events.push(...span(id, `waits for ${kind}`, beginMs, waitEndMs));
    if (isWoken && wokenMs < endMs) {
      events.push(...span(id, "ready", wokenMs, endMs));
    }
    if (!isWoken || this.#bys[at] === 0) return;
    const arrow = { name: "wakes", cat: "wake", id: `${at}`, ...THREAD };
    events.push({ ...arrow, ph: "s", ts: wokenMs * 1_000 });
    events.push({ ...arrow, ph: "f", bp: "e", ts: endMs * 1_000 });
  }
}

const THREAD = { pid: 1, tid: 1 };

/** Names of the process and of the thread. */
const NAMES: readonly TraceEvent[] = [
  ["process_name", "Rota"],
  ["thread_name", "loop"],
].map(([name, value]) => ({
  name: name!,
  cat: "__metadata",
  ph: "M",
  ts: 0,
  ...THREAD,
  args: { name: value },
}));

function slice(
  cat: string,
  name: string,
  beginMs: number,
  endMs: number,
  args: Record<string, unknown> = {},
): TraceEvent {
  const ts = beginMs * 1_000;
  return { name, cat, ph: "X", ts, dur: endMs * 1_000 - ts, ...THREAD, args };
}

/** Begin and end of a span in the line of a task. */
function span(
  id: number,
  name: string,
  beginMs: number,
  endMs: number,
): TraceEvent[] {
  const event = { name, cat: "task", id: `${id}`, ...THREAD };
  return [
    { ...event, ph: "b", ts: beginMs * 1_000 },
    { ...event, ph: "e", ts: endMs * 1_000 },
  ];
}

// -- Spans of OpenTelemetry --

/** A span, as far as {@linkcode TaskSpans} uses it. */
export interface OtelSpan {
  /** Sets an attribute. */
  setAttribute(name: string, value: string | number | boolean): unknown;
  /** Sets how it has ended: 2 is an error. */
  setStatus(status: { code: number; message?: string }): unknown;
  /** Notes an error. */
  // deno-lint-ignore no-explicit-any
  recordException(error: any): void;
  /** Ends it. */
  end(): void;
}

/** The package `npm:@opentelemetry/api`, as far as {@linkcode TaskSpans} uses it. */
export interface OtelTraceApi {
  /** Entry for spans. */
  readonly trace: {
    /** Returns the tracer of a library. */
    getTracer(name: string): {
      /** Begins a span. */
      // deno-lint-ignore no-explicit-any
      startSpan(name: string, options?: any, context?: any): OtelSpan;
    };
    /** Returns a context in which a span is the current one. */
    // deno-lint-ignore no-explicit-any
    setSpan(context: any, span: any): any;
  };
  /** Entry for contexts. */
  readonly context: {
    /** Returns the current one. */
    active(): unknown;
  };
}

/**
 * Makes a span of OpenTelemetry of each task, as an {@linkcode Instrument}: from its
 * making to its end, with the span of the task that has made it as its parent.
 *
 * A task without a parent, and one whose parent was made before the instrument was
 * there, has the span as its parent that is current where it is made. A failed task
 * has the status of an error and the error; looking at it here does not count as
 * having seen it. A cancelled one has the attribute `rota.task.cancelled`.
 *
 * @example
 * ```ts
 * import { createTask, type OtelTraceApi, run, sleep, TaskSpans } from "@rota/rota";
 * import { assertEquals } from "@std/assert";
 *
 * const log: string[] = [];
 * const api: OtelTraceApi = { // npm:@opentelemetry/api in a program
 *   context: { active: () => null },
 *   trace: {
 *     setSpan: (_context, span) => span,
 *     getTracer: () => ({
 *       startSpan: (name, _options, parent) => {
 *         log.push(`${name} in ${parent?.name ?? "nothing"}`);
 *         return {
 *           name,
 *           setAttribute: () => {},
 *           setStatus: () => {},
 *           recordException: () => {},
 *           end: () => log.push(`${name} ends`),
 *         };
 *       },
 *     }),
 *   },
 * };
 * await run(function* () {
 *   yield* createTask(() => sleep(5), { name: "child" });
 * }, { host: "virtual", name: "main", instruments: [new TaskSpans(api)] });
 * assertEquals(log.slice(0, 3), [
 *   "main in nothing",
 *   "child in main",
 *   "child ends",
 * ]);
 * ```
 */
export class TaskSpans implements Instrument {
  readonly #api: OtelTraceApi;
  readonly #tracer: ReturnType<OtelTraceApi["trace"]["getTracer"]>;
  readonly #spans: WeakMap<Task<unknown>, OtelSpan> = new WeakMap();

  /**
   * Makes the instrument. Add it to a loop.
   *
   * @param api The package `npm:@opentelemetry/api`, whose provider of traces is set.
   * @throws {TypeError} If `api` is something else.
   */
  constructor(api: OtelTraceApi) {
    const what = "make spans of tasks";
    const kind = "that of @opentelemetry/api";
    checkHas(api?.trace, ["getTracer", "setSpan"], what, "api.trace", kind);
    checkHas(api.context, ["active"], what, "api.context", kind);
    this.#api = api;
    this.#tracer = api.trace.getTracer("rota");
  }

  /** @ignore */
  taskMade(task: Task<unknown>): void {
    const { trace, context } = this.#api;
    const above = task.parent === null
      ? undefined
      : this.#spans.get(task.parent);
    const active = context.active();
    const span = this.#tracer.startSpan(
      task.name,
      { attributes: { "rota.task.id": task.id } },
      above === undefined ? active : trace.setSpan(active, above),
    );
    this.#spans.set(task, span);
  }

  /** @ignore */
  taskEnds(task: Task<unknown>): void {
    const span = this.#spans.get(task);
    if (span === undefined) return;
    this.#spans.delete(task);
    if (task.cancelled()) span.setAttribute("rota.task.cancelled", true);
    else if (task[isUnseen]()) { // it has just failed
      const error = task[peekError]();
      span.recordException(error);
      const message = error instanceof Error ? error.message : String(error);
      span.setStatus({ code: 2, message });
    }
    span.end();
  }
}
