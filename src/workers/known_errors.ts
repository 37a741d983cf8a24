/**
 * Error classes that exist on both sides of an executor, and come back as such:
 * those of the language, of the runtime, and Rota's own.
 *
 * @module
 */
import * as ours from "../errors.ts";

/** A class of errors. Its constructor may take anything. */
export type ErrorClass = new (...args: never[]) => Error;

const BUILT_IN: readonly ErrorClass[] = [
  Error,
  EvalError,
  RangeError,
  ReferenceError,
  SyntaxError,
  TypeError,
  URIError,
  AggregateError as unknown as ErrorClass,
  SuppressedError as unknown as ErrorClass,
  DOMException as unknown as ErrorClass,
];

/** Classes by the keys under which they are sent. */
const classes = new Map<string, ErrorClass>();
/** Keys by the prototypes of the classes. */
const keys = new Map<unknown, string>();

function register(key: string, value: unknown): void {
  if (typeof value !== "function") return;
  const known = value as ErrorClass;
  classes.set(key, known);
  keys.set(known.prototype, key);
}

for (const known of BUILT_IN) register(known.name, known);
for (const [name, value] of Object.entries(ours)) register(name, value);
for (const name of Object.getOwnPropertyNames(Deno.errors)) {
  register(
    `Deno.errors.${name}`,
    Deno.errors[name as keyof typeof Deno.errors],
  );
}

const ANCESTORS_MAX = 100;

/** Returns the key of the class of an error, or of its nearest known ancestor, and whether it is the class itself. */
export function knownClassOf(error: Error): { key: string; exact: boolean } {
  let prototype: unknown = error;
  for (let steps = 0; steps < ANCESTORS_MAX; steps++) {
    prototype = Object.getPrototypeOf(prototype);
    if (prototype === null) break;
    const key = keys.get(prototype);
    if (key !== undefined) return { key, exact: steps === 0 };
  }
  return { key: "Error", exact: false };
}

/** Returns the class of a key; `Error` for an unknown one, which another version has sent. */
export function classOf(key: string): ErrorClass {
  return classes.get(key) ?? Error;
}

/**
 * Makes an error of a class without running its constructor, which would want
 * arguments that are not known.
 *
 * @param key Key of the class.
 * @param message Its message.
 * @param name Its name, which a `DOMException` has from the beginning.
 */
export function makeError(
  key: string,
  message: string,
  name: string | null,
): Error {
  const known = classOf(key);
  // Without an argument an error has no message of its own, as before.
  const text = message === "" ? [] : [message];
  if (known.prototype instanceof DOMException || key === "DOMException") {
    return new DOMException(message, name ?? "Error");
  }
  if (key.startsWith("Deno.errors.")) {
    return Reflect.construct(known, text) as Error; // which names it
  }
  if (isA(known, AggregateError)) {
    return Reflect.construct(AggregateError, [[], ...text], known) as Error;
  }
  if (isA(known, SuppressedError)) {
    return Reflect.construct(
      SuppressedError,
      [undefined, undefined, ...text],
      known,
    ) as Error;
  }
  return Reflect.construct(Error, text, known) as Error;
}

function isA(known: ErrorClass, ancestor: { prototype: object }): boolean {
  return known.prototype === ancestor.prototype ||
    Object.prototype.isPrototypeOf.call(ancestor.prototype, known.prototype);
}
