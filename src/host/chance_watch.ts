/**
 * Watch over the clocks, timers and random numbers of the runtime: tells which of
 * them code uses that should use none, and where.
 *
 * For as long as it is on, the globals are replaced by functions that take note and
 * then do the same. Only a run that looks for the reason why a program is not
 * deterministic does so, and each one puts back exactly what was there.
 *
 * @module
 */

/** Functions that give another result each time, or at another time: the name of the object, and that of the function. */
const WATCHED: readonly (readonly [owner: string, name: string])[] = [
  ["Math", "random"],
  ["Date", "now"],
  ["performance", "now"],
  ["crypto", "getRandomValues"],
  ["crypto", "randomUUID"],
  ["globalThis", "setTimeout"],
  ["globalThis", "setInterval"],
  ["globalThis", "setImmediate"],
  ["globalThis", "fetch"],
];

/** Files of the library, whose own uses do not count. */
const LIBRARY = new URL("../", import.meta.url).href;
/** A file in a line of a stack, with line and column. */
const PLACE = /((?:file|https?|data|jsr|npm):\S+?:\d+:\d+)/;
/** Largest number of different uses that are kept. */
const SEEN_MAX = 20;

type AnyFunction = (this: unknown, ...args: unknown[]) => unknown;

/** Watches that are on. The globals are replaced while there is one: watches that overlap could not put them back one by one. */
const watches = new Set<ChanceWatch>();
/** Puts the globals back, one each. */
const undo: (() => void)[] = [];

/** Watch that is on. */
export class ChanceWatch implements Disposable {
  readonly #seen = new Set<string>();

  /** Begins to watch, beside others. */
  constructor() {
    watches.add(this);
    if (watches.size > 1) return;
    try {
      for (const [owner, name] of WATCHED) replaceFunction(owner, name);
      replaceDate();
    } catch (error) {
      this[Symbol.dispose]();
      throw error;
    }
  }

  /** Lists what was used, with file and line, in the order of first use. */
  list(): string[] {
    return [...this.#seen];
  }

  /** Takes note of a use. */
  note(use: string): void {
    if (this.#seen.size < SEEN_MAX) this.#seen.add(use);
  }

  /** Puts the globals back if no other watch is on. Calling it again does nothing. */
  [Symbol.dispose](): void {
    if (!watches.delete(this) || watches.size > 0) return;
    for (const one of undo.splice(0).reverse()) one();
  }
}

function replaceFunction(ownerName: string, name: string): void {
  const owner = Reflect.get(globalThis, ownerName) as object;
  const original = Reflect.get(owner, name) as AnyFunction | undefined;
  if (typeof original !== "function") return;
  const label = ownerName === "globalThis" ? name : `${ownerName}.${name}`;
  const replacement = function (this: unknown, ...args: unknown[]): unknown {
    noteUse(label);
    return Reflect.apply(original, this, args);
  };
  define(owner, name, Object.assign(replacement, original));
}

/** A date of now is a reading of the clock, one of a given moment is not. */
function replaceDate(): void {
  const original = Reflect.get(globalThis, "Date") as typeof Date;
  define(
    globalThis,
    "Date",
    new Proxy(original, {
      construct: (target, args, newTarget) => {
        if (args.length === 0) noteUse("new Date()");
        return Reflect.construct(target, args, newTarget);
      },
    }),
  );
}

/** Replaces a property, own or not, so that it can be put back as it was. */
function define(owner: object, name: string, value: unknown): void {
  const before = Object.getOwnPropertyDescriptor(owner, name);
  if (before?.configurable === false) return;
  Object.defineProperty(owner, name, {
    value,
    writable: true,
    enumerable: before?.enumerable ?? false,
    configurable: true,
  });
  undo.push(() => {
    if (before === undefined) Reflect.deleteProperty(owner, name);
    else Object.defineProperty(owner, name, before);
  });
}

function noteUse(label: string): void {
  const lines = (new Error().stack ?? "").split("\n").slice(1)
    .filter((line) => !line.includes(import.meta.url));
  const place = PLACE.exec(lines[0] ?? "")?.[1];
  if (place?.startsWith(LIBRARY)) return;
  const use = place === undefined ? label : `${label} at ${place}`;
  for (const watch of watches) watch.note(use);
}
