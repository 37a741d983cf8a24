/**
 * Places of tasks in the source: where a generator is suspended, and where an
 * operation was made that is waited for.
 *
 * @module
 */
import {
  type CompiledPlace,
  locateGenerators,
  readSource,
} from "../host/inspector.ts";
import { core } from "../loop/core.ts";
import type { Task } from "../loop/task.ts";
import { pendingWaits } from "../loop/waits.ts";

/** A place in the source. */
export interface TaskPlace {
  /** Name of the function; `""` if it has none. */
  readonly function: string;
  /** URL of the file. */
  readonly file: string;
  /** Line, from 1. */
  readonly line: number;
  /** Column, from 1. */
  readonly column: number;
  /**
   * Whether line and column are those of the source. If not, they are those of the
   * JavaScript that Deno has made of it.
   */
  readonly isExact: boolean;
}

/** Where the files of the library are: their frames tell nothing about a program. */
const LIBRARY = import.meta.resolve("../");
const FRAME =
  /^\s*at (?:(?:async )?(.*?) \()?(?:async )?([^()\s]+):(\d+):(\d+)\)?$/;

/** The innermost place in a stack that is in no file of the library; null if there is none. */
export function placeInStack(stack: string | undefined): TaskPlace | null {
  for (const frame of stack?.split("\n") ?? []) {
    const match = FRAME.exec(frame);
    if (match === null) continue;
    const [, name = "", file, line, column] = match;
    if (file!.startsWith(LIBRARY) || /^(?:ext|node|native):/.test(file!)) {
      continue;
    }
    return {
      function: name,
      file: file!,
      line: Number(line),
      column: Number(column),
      isExact: true,
    };
  }
  return null;
}

/** Where a task has begun its wait, if its loop is in debug mode. */
export function placeOfWait(task: Task<unknown>): TaskPlace | null {
  const { debug, debugging } = task.loop[core];
  if (!debugging) return null;
  const waiting = pendingWaits(task).at(-1) ?? null;
  if (waiting === null) return null;
  const { waiter, future } = waiting;
  if (waiter !== task as unknown) {
    return placeInStack(debug.creationStackOf(waiter));
  }
  return isOwn(task) ? placeInStack(debug.creationStackOf(future)) : null;
}

/** Whether the future that a generator waits for was made for this wait. */
function isOwn(task: Task<unknown>): boolean {
  const [wait] = task.waits();
  return wait !== undefined && wait.target !== task.waitingOn ||
    wait?.kind === "sleep";
}

// -- Generators, by the inspector --

/** Finds where the generators of tasks stand; those of the library have no place. */
export async function placesOfGenerators(
  tasks: readonly Task<unknown>[],
): Promise<Map<Task<unknown>, TaskPlace>> {
  const stepped = tasks.filter(({ coroutine }) => coroutine !== null);
  const before = stepped.map(({ waitingOn, since }) => ({ waitingOn, since }));
  const { places, texts } = await locateGenerators(
    stepped.map(({ coroutine }) => coroutine!),
  );
  const sources = new Map<string, Source>();
  for (const [url, text] of texts) {
    sources.set(url, new Source(text, await readSource(url)));
  }
  const found = new Map<Task<unknown>, TaskPlace>();
  for (const [index, task] of stepped.entries()) {
    const place = places[index] ?? null;
    const { waitingOn, since } = before[index]!;
    // A task that went on meanwhile may have been found anywhere.
    const stayed = task.waitingOn === waitingOn && task.since === since &&
      !task.done();
    if (place === null || !stayed || place.url.startsWith(LIBRARY)) continue;
    found.set(task, sources.get(place.url)!.placeOf(place));
  }
  return found;
}

/** The source of a script beside the JavaScript that Deno has made of it. */
class Source {
  /** Positions of the yields in the JavaScript. */
  readonly #compiled: readonly Position[];
  /** Positions of the same in the source; null if they are not known. */
  readonly #source: readonly Position[] | null;
  readonly #isSame: boolean;

  constructor(compiled: string, source: string | null) {
    this.#compiled = yieldsIn(compiled);
    this.#isSame = source === null ? false : source === compiled;
    const inSource = source === null ? [] : yieldsIn(source);
    // Types and comments go, and each yield stays: the n-th is the n-th.
    this.#source = inSource.length === this.#compiled.length ? inSource : null;
  }

  placeOf({ function: name, url, line, column }: CompiledPlace): TaskPlace {
    const at = { line, column };
    const index = this.#compiled.findLastIndex((position) =>
      position.line < line ||
      position.line === line && position.column <= column
    );
    const mapped = this.#isSame ? at : this.#source?.[index];
    return {
      function: name,
      file: url,
      line: (mapped ?? at).line + 1,
      column: (mapped ?? at).column + 1,
      isExact: mapped !== undefined,
    };
  }
}

/** Line and column, from 0. */
interface Position {
  readonly line: number;
  readonly column: number;
}

/** Comments, strings, parts of templates, regular expressions, words, and other characters. */
const TOKEN =
  /\/\/[^\n]*|\/\*[^]*?\*\/|"(?:\\[^]|[^"\\\n])*"|'(?:\\[^]|[^'\\\n])*'|[\w$#]+|\s+|[^]/gy;
/** The rest of a regular expression behind its first slash. */
const REGEXP = /(?:\\.|\[(?:\\.|[^\]\\\n])*\]|[^/\\[\n])+\/\w*/y;
/** The rest of a template up to its end or to an expression in it. */
const TEMPLATE = /(?:\\[^]|\$(?!\{)|[^`\\$])*(?:`|\$\{)/y;
/** Words behind which a slash begins a regular expression. */
const BEFORE_REGEXP =
  /^(?:return|typeof|case|in|of|do|else|void|delete|new|throw|yield|await|instanceof)$/;

/** Finds the yields in a text of TypeScript or JavaScript. */
function yieldsIn(text: string): Position[] {
  const offsets: number[] = [];
  /** Depth of braces at which each open template goes on. */
  const templates: number[] = [];
  let depth = 0;
  let last = "";
  let at = 0;
  const skip = (pattern: RegExp): string => {
    pattern.lastIndex = at;
    const found = pattern.exec(text)?.[0] ?? "";
    at += found.length;
    return found;
  };
  const template = () => {
    if (skip(TEMPLATE).endsWith("${")) {
      templates.push(depth++);
      last = "{";
    } else last = "`";
  };
  while (at < text.length) {
    const begin = at;
    const token = skip(TOKEN);
    if (/^(?:\s|\/[/*])/.test(token)) continue;
    const before = last;
    last = token;
    if (token === "yield") {
      // A name of a member is none; types may have such a member.
      const isName = before === "." || /^\s*\??:/.test(text.slice(at, at + 9));
      if (!isName) offsets.push(begin);
    } else if (token === "{") depth++;
    else if (token === "`") template();
    else if (token === "}" && --depth === templates.at(-1)) {
      templates.pop();
      template();
    } else if (token === "/" && beginsRegExp(before)) skip(REGEXP);
  }
  return positionsOf(text, offsets);
}

/** Whether a slash behind this token begins a regular expression, and is no division. */
function beginsRegExp(before: string): boolean {
  return !/[\w$)\]"'`]$/.test(before) || BEFORE_REGEXP.test(before);
}

function positionsOf(text: string, offsets: readonly number[]): Position[] {
  let line = 0;
  let lineBegin = 0;
  return offsets.map((offset) => {
    for (;;) {
      const end = text.indexOf("\n", lineBegin);
      if (end < 0 || end >= offset) break;
      line++;
      lineBegin = end + 1;
    }
    return { line, column: offset - lineBegin };
  });
}
