/**
 * Runs supervisor programs and compares what they do with what OTP did.
 *
 * @module
 */
import { execute, type TimedEvent } from "./interpreter.ts";
import type { Event, ProgramFile, ProgramRecord } from "./language.ts";
import type { Style } from "./style.ts";

/** The first thing in which a program's trace is not what it should be. */
export interface Difference {
  readonly id: string;
  /** Where in the trace: the list and the event in it, such as `"3.1"`. */
  readonly index: string;
  /** The event that should be there, as JSON. */
  readonly wanted: string;
  /** The event that is there, as JSON. */
  readonly got: string;
}

/** Runs a program; null if it does exactly what it should. */
export async function compare(
  program: ProgramRecord,
  style: Style,
): Promise<Difference | null> {
  const { id, trace } = program;
  let lists: TimedEvent[][];
  try {
    lists = await execute(program, style);
  } catch (error) {
    return { id, index: "0.0", wanted: "a trace", got: String(error) };
  }
  const isDynamic = program.supervisor.strategy === "dynamic";
  for (let step = 0; step < Math.max(trace.length, lists.length); step++) {
    const timed = lists[step] ?? [];
    const got = isDynamic ? normalize(timed) : timed.map(({ event }) => event);
    const wanted = trace[step] ?? [];
    for (let at = 0; at < Math.max(wanted.length, got.length); at++) {
      const wantedText = toText(wanted[at]);
      const gotText = toText(got[at]);
      if (gotText !== wantedText) {
        return { id, index: `${step}.${at}`, wanted: wantedText, got: gotText };
      }
    }
  }
  return null;
}

/** Instances stop in parallel: brings runs of their `stop` and `down` events into an order. */
function normalize(events: readonly TimedEvent[]): Event[] {
  const result: Event[] = [];
  for (let at = 0; at < events.length;) {
    let end = at;
    while (isOfStop(events[end])) end++;
    if (end === at) result.push(events[at++]!.event);
    else {
      result.push(...normalizeRun(events.slice(at, end)));
      at = end;
    }
  }
  return result;
}

function isOfStop(timed: TimedEvent | undefined): boolean {
  return timed?.event[0] === "stop" || timed?.event[0] === "down";
}

/** The times of ends count in steps of so many milliseconds. */
const STEP_MS = 40;

function normalizeRun(run: readonly TimedEvent[]): Event[] {
  const stops = run.filter(({ event }) => event[0] === "stop");
  const downs = run.filter(({ event }) => event[0] === "down");
  if (stops.length < 2 && downs.length < 2) {
    return run.map(({ event }) => event);
  }
  const startMs = run[0]!.atMs;
  const stepOf = ({ atMs }: TimedEvent) =>
    Math.round((atMs - startMs) / STEP_MS);
  const byName = (a: TimedEvent, b: TimedEvent) =>
    String(a.event[1]) < String(b.event[1]) ? -1 : 1;
  stops.sort(byName);
  downs.sort((a, b) => stepOf(a) - stepOf(b) || byName(a, b));
  return [...stops, ...downs].map(({ event }) => event);
}

/** Events as text; the keys of the objects in them do not depend on the order. */
function toText(event: unknown): string {
  return event === undefined ? "the end" : JSON.stringify(event, sortKeys);
}

function sortKeys(_key: string, value: unknown): unknown {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    return value;
  }
  return Object.fromEntries(
    Object.entries(value).sort(([a], [b]) => a < b ? -1 : 1),
  );
}

/** Reads a file of programs. */
export async function readPrograms(
  path: string | URL,
): Promise<readonly ProgramRecord[]> {
  const file = JSON.parse(await Deno.readTextFile(path)) as ProgramFile;
  if (file.format !== 1 || !Array.isArray(file.programs)) {
    throw new TypeError(
      `Cannot read programs from ${path}: it is not of format 1`,
    );
  }
  return file.programs;
}
