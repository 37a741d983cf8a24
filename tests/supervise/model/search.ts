/**
 * Looks for sequences in which Rota's supervisor does not do what the rules say, and
 * makes what it finds small.
 *
 * @module
 */
import { newEventLoop } from "../../../src/loop/mod.ts";
import { playNaively } from "./naive.ts";
import { type ChildPlan, type Program, Writer } from "./program.ts";
import { playReally } from "./real.ts";

/** Sequences that share a loop: its clock must not become so large that sums are rounded. */
const PER_LOOP = 100;

/** Plays the sequences of some seeds; returns the first that differs, made small, in words; null if none does. */
export async function search(
  from: number,
  count: number,
): Promise<string | null> {
  for (let first = from; first < from + count; first += PER_LOOP) {
    const last = Math.min(first + PER_LOOP, from + count);
    const seed = await searchOnOneLoop(first, last);
    if (seed !== null) return await explain(seed);
  }
  return null;
}

async function searchOnOneLoop(
  first: number,
  last: number,
): Promise<number | null> {
  await using loop = newEventLoop({ host: "virtual" });
  return await loop.runUntilComplete(function* () {
    for (let seed = first; seed < last; seed++) {
      const program = new Writer(seed).write();
      const got = yield* playReally(loop, program, styleOf(seed));
      if (!isSame(got, playNaively(program))) return seed;
    }
    return null;
  });
}

/** Children are generators in most sequences: async functions take the clock four times as long. */
function styleOf(seed: number): "generator" | "async" {
  return seed % 4 === 0 ? "async" : "generator";
}

function isSame(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((line, at) => line === b[at]);
}

/** Whether a sequence differs, and how. */
async function differs(
  program: Program,
  style: "generator" | "async",
): Promise<{ got: string[]; wanted: string[] } | null> {
  const wanted = playNaively(program);
  await using loop = newEventLoop({ host: "virtual" });
  const got = await loop.runUntilComplete(() =>
    playReally(loop, program, style)
  );
  return isSame(got, wanted) ? null : { got, wanted };
}

async function explain(seed: number): Promise<string> {
  const style = styleOf(seed);
  let program = new Writer(seed).write();
  for (let shorter = true; shorter;) {
    shorter = false;
    for (const smaller of smallerOnes(program)) {
      if (await differs(smaller, style) === null) continue;
      program = smaller;
      shorter = true;
      break;
    }
  }
  const { got, wanted } = (await differs(program, style))!;
  return [
    `seed ${seed}, ${style}:`,
    JSON.stringify(program, (_, value) => value === Infinity ? "∞" : value, 1),
    "wanted:",
    ...wanted,
    "got:",
    ...got,
  ].join("\n");
}

/** Sequences that are a little smaller. */
function* smallerOnes(program: Program): Generator<Program> {
  const { actions, children } = program;
  for (let at = 0; at < actions.length; at++) {
    yield { ...program, actions: actions.toSpliced(at, 1) };
  }
  for (let at = 0; at < children.length; at++) {
    yield { ...program, children: children.toSpliced(at, 1) };
    for (const simpler of simplerOnes(children[at]!)) {
      yield { ...program, children: children.toSpliced(at, 1, simpler) };
    }
  }
  if (program.autoShutdown !== "never") {
    if (!children.some(({ significant }) => significant)) {
      yield { ...program, autoShutdown: "never" };
    }
  }
}

function* simplerOnes(child: ChildPlan): Generator<ChildPlan> {
  if (child.starts.length > 0) {
    yield { ...child, starts: child.starts.slice(0, -1) };
    for (const [at, start] of child.starts.entries()) {
      if (start.tookMs === 0) continue;
      yield {
        ...child,
        starts: child.starts.with(at, { ...start, tookMs: 0 }),
      };
    }
  }
  if (child.stopMs !== 0) yield { ...child, stopMs: 0 };
  if (child.backoffMs !== 0) yield { ...child, backoffMs: 0 };
  if (child.significant) yield { ...child, significant: false };
}
