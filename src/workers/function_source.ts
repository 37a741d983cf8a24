/**
 * The source of a function, to be evaluated elsewhere: tells functions that stand
 * by themselves from methods, classes and others that do not.
 *
 * Only the head of a source is read, token by token, and nothing is evaluated:
 * `Function.prototype.toString` gives the exact text of a definition, and its
 * first tokens tell the kind.
 *
 * @module
 */

/** Kinds of definitions whose source does not stand by itself, and what to do instead. */
type RefusedKind = keyof typeof REFUSALS;

const REFUSALS = {
  "async generator":
    "an async generator function gives many values, not one: return an array, or call progress() of currentJob() for each value",
  "bound, native or proxied":
    "a native or bound function, or a proxy, has no source: pass a function that calls it, or export one from a module",
  "class": "a class cannot be called: pass a function that makes the object",
  "getter or setter":
    "the function of a getter or setter belongs to its object: export a function from a module",
  "method":
    "a method belongs to its object, which stays here: write it as an arrow function, or export a function from a module",
} as const;

/** Kind of a function by its prototype, which tells async functions from others where the text alone does not. */
type Nature = "plain" | "async" | "generator" | "async generator";

const NATURES: readonly [prototype: unknown, nature: Nature][] = [
  [Function.prototype, "plain"],
  [Object.getPrototypeOf(async () => {}), "async"],
  [Object.getPrototypeOf(function* () {}), "generator"],
  [Object.getPrototypeOf(async function* () {}), "async generator"],
];

const sources = new WeakMap<WeakKey, string>();

/**
 * Returns the source of a function as an expression. It is looked at once: the
 * next call for the same function costs a look into a map.
 *
 * @param fn The function.
 * @param what The refused action in messages.
 * @returns The text, an expression that is a function.
 * @throws {TypeError} If the function does not stand by itself.
 */
export function sourceOf(
  fn: (...args: never[]) => unknown,
  what: string,
): string {
  const known = sources.get(fn);
  if (known !== undefined) return known;
  const source = Function.prototype.toString.call(fn);
  const refused = refusedKind(source, natureOf(fn));
  if (refused !== null) {
    throw new TypeError(
      `Cannot ${what} as the source of ${nameOf(fn)} cannot be sent: ${
        REFUSALS[refused]
      }`,
    );
  }
  sources.set(fn, source);
  return source;
}

/** Whether calling the function makes an async generator. */
export function isAsyncGeneratorFunction(fn: unknown): boolean {
  return natureOf(fn) === "async generator";
}

function natureOf(fn: unknown): Nature {
  try {
    const prototype: unknown = Object.getPrototypeOf(fn);
    return NATURES.find(([known]) => known === prototype)?.[1] ?? "plain";
  } catch {
    return "plain"; // a proxy that throws, whose source tells
  }
}

function nameOf(fn: (...args: never[]) => unknown): string {
  try {
    const name: unknown = fn.name;
    return typeof name === "string" && name !== ""
      ? `function ${name}`
      : "a function";
  } catch {
    return "a function";
  }
}

// -- The head of a definition --

/** The text that stands for what has none. A function with such a body would not parse. */
const NO_SOURCE = /\{\s*\[native code\]\s*\}\s*$/;

/** Returns why a source does not stand by itself; null if it does. */
export function refusedKind(
  source: string,
  nature: Nature,
): RefusedKind | null {
  if (NO_SOURCE.test(source)) return "bound, native or proxied";
  if (nature === "async generator") return "async generator";
  const [first, second, third] = headOf(source);
  switch (first) {
    case "(": // the parameters of an arrow function
    case "function": // also a method of that name, which reads and runs alike
      return null;
    case "class":
      return second === "(" ? "method" : "class";
    case "@":
      return "class";
    case "async":
      return refusedAsync(second, third, nature);
    case "get":
    case "set":
      if (second === "=>") return null;
      return second === "(" ? "method" : "getter or setter";
    default: // a parameter without parentheses, else the name of a method
      return second === "=>" && isWord(first) ? null : "method";
  }
}

/** The same for a source that begins with `async`. */
function refusedAsync(
  second: string,
  third: string,
  nature: Nature,
): RefusedKind | null {
  switch (second) {
    case "=>": // a parameter of this name
    case "function":
      return null;
    case "(": // an arrow function's parameters, or those of a method of this name
      return nature === "async" ? null : "method";
    default:
      return third === "=>" && isWord(second) ? null : "method";
  }
}

function isWord(token: string): boolean {
  return WORD.test(token);
}

/** White space and comments between tokens. `\s` is what the language calls white space and line ends. */
const SPACE = /(?:\s|\/\*[^]*?\*\/|\/\/[^\n\r\u2028\u2029]*)*/y;
/** A name or keyword. Keywords have no escapes, so that `\u0061sync` is a name, and is compared as it stands. */
const WORD = /(?:[\p{ID_Start}$_]|\\u[\da-fA-F]{4}|\\u\{[\da-fA-F]+\})/uy;
const WORD_REST =
  /(?:[\p{ID_Continue}$\u200c\u200d]|\\u[\da-fA-F]{4}|\\u\{[\da-fA-F]+\})*/uy;

/** Returns the first three tokens; those that are neither a word nor an arrow by their first character, "" at the end. */
function headOf(source: string): [string, string, string] {
  let at = 0;
  const next = (): string => {
    at = matchEnd(SPACE, source, at);
    const start = at;
    const wordAt = matchEnd(WORD, source, at);
    if (wordAt > start) {
      at = matchEnd(WORD_REST, source, wordAt);
    } else at += source.startsWith("=>", at) ? 2 : 1;
    return source.slice(start, at);
  };
  return [next(), next(), next()];
}

/** The end of a match that begins at `at`; `at` if there is none. */
function matchEnd(pattern: RegExp, text: string, at: number): number {
  pattern.lastIndex = at;
  return pattern.test(text) ? pattern.lastIndex : at;
}
