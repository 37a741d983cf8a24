/**
 * Runs programs and compares what they do with what they should do.
 *
 * @module
 */
import type { EventLoopOptions } from "../../mod.ts";
import { execute } from "./interpreter.ts";
import type { ProgramFile, ProgramRecord } from "./language.ts";

/** The first thing in which a program's trace is not what it should be. */
export interface Difference {
  readonly id: string;
  /** Where in the trace. */
  readonly index: number;
  /** The event that should be there, as JSON. */
  readonly wanted: string;
  /** The event that is there, as JSON, or why the program could not go on. */
  readonly got: string;
}

/** Runs a program, on a loop with these options; null if it does exactly what it should. */
export async function compare(
  program: ProgramRecord,
  options: EventLoopOptions = {},
): Promise<Difference | null> {
  const { id, trace: wanted } = program;
  const { trace: got, failure } = await execute(program, options);
  const length = Math.max(wanted.length, got.length);
  for (let index = 0; index < length; index++) {
    const wantedText = toText(wanted[index]);
    const gotText = toText(got[index]);
    if (gotText !== wantedText) {
      return { id, index, wanted: wantedText, got: explain(gotText, failure) };
    }
  }
  if (failure === null) return null;
  return { id, index: length, wanted: END, got: explain(END, failure) };
}

/** A program that could not be executed says why, wherever it first differs. */
function explain(got: string, failure: Error | null): string {
  return failure === null ? got : `${got} (${failure})`;
}

const END = "the end";

/** Events as text; the keys of the objects in them do not depend on the order. */
function toText(event: unknown): string {
  return event === undefined ? END : JSON.stringify(event, sortKeys);
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
