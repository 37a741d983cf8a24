/**
 * Errors on their way between threads and processes: packed as plain data, and
 * unpacked as errors of the same class where that is known on the other side.
 *
 * Nothing that a program throws can break it: what cannot be read or sent is left
 * out, and no more than some megabytes are sent for an error.
 *
 * @module
 */
import { inspect } from "../loop/checks.ts";
import { classOf, knownClassOf, makeError } from "./known_errors.ts";
import { copyPlain } from "./plain_copy.ts";

/**
 * Something thrown, as plain data. No member is ever missing or undefined, so
 * that any codec that knows plain objects, arrays and strings can carry it; values
 * that were cloned are as they were.
 */
export type PackedError =
  | PackedInstance
  /** A value that is no error. */
  | { readonly kind: "value"; readonly value: unknown }
  | { readonly kind: "undefined" }
  /** An array in which there are errors. */
  | { readonly kind: "list"; readonly items: readonly PackedError[] }
  /** Description of something that cannot be sent. */
  | { readonly kind: "text"; readonly text: string };

/** An error, as plain data. */
export interface PackedInstance {
  readonly kind: "error";
  /** Key of its class, or of the nearest known ancestor of that. */
  readonly known: string;
  /** Name that its class does not give it; null if there is none. */
  readonly name: string | null;
  readonly message: string;
  /** Null if it is no string. */
  readonly stack: string | null;
  /** Own members: the enumerable ones, and those of built-in classes, such as `cause`. */
  readonly fields: readonly PackedField[];
}

/** A member of an error. */
export type PackedField = readonly [
  name: string,
  isEnumerable: boolean,
  value: PackedError,
];

/** Errors inside of errors are packed down to this depth. */
const DEPTH_MAX = 5;
/** Characters of a message or a stack. */
const TEXT_MAX = 64 * 1024;
/** Characters of a name; members with a longer one are dropped. */
const NAME_MAX = 1024;
/** Characters and bytes of all that is packed. */
const SIZE_MAX = 4 * 1024 * 1024;
/** Cost of an object. */
const ENTRY = 64;

/**
 * Packs what a job has thrown.
 *
 * An error keeps its class, if that is a built-in one, one of Deno's or one of
 * Rota's; else the nearest such ancestor, with the name of its class. Message,
 * stack, `cause`, `errors`, `error` and `suppressed` go along, and so do its own
 * enumerable members; of these, what cannot be cloned is left out. Errors inside
 * are packed down to five levels, and not twice on a way.
 *
 * @param error Anything that can be thrown.
 * @returns Plain data. Costs some ten microseconds.
 */
export function packError(error: unknown): PackedError {
  return attempt(() => new Packer().pack(error)) ??
    { kind: "text", text: LEFT_OUT };
}

const LEFT_OUT = "Left out: too deep inside of errors, or too much of them";

/** The class as it was: a job may take globals away, and its error has to arrive all the same. */
const NativeError = Error;

/** Packs one error and what is in it. */
class Packer {
  /** The errors around. */
  readonly #around: Error[] = [];
  #left = SIZE_MAX;

  /** Packs anything; null if it is to be left out. */
  pack(value: unknown): PackedError | null {
    this.#left -= ENTRY;
    if (this.#left < 0) return null;
    switch (typeof value) {
      case "undefined":
        return { kind: "undefined" };
      case "string":
        return { kind: "value", value: this.#cut(value, SIZE_MAX) };
      case "number":
      case "boolean":
      case "bigint":
        return { kind: "value", value };
      case "object":
        return value === null
          ? { kind: "value", value }
          : this.#packObject(value);
      default:
        return { kind: "text", text: describe(value) };
    }
  }

  #packObject(value: object): PackedError | null {
    if (isError(value)) return this.#packError(value);
    if (holdsErrors(value)) return this.#packList(value);
    const copy = copyPlain(value);
    if (copy === null) return { kind: "text", text: describe(value) };
    this.#left -= copy.size;
    return this.#left < 0 ? null : { kind: "value", value: copy.value };
  }

  #packList(values: readonly unknown[]): PackedError {
    const items: PackedError[] = [];
    for (const value of values) {
      const packed = this.pack(value);
      items.push(packed ?? { kind: "text", text: LEFT_OUT });
      if (this.#left < 0) break;
    }
    return { kind: "list", items };
  }

  #packError(error: Error): PackedError | null {
    const around = this.#around;
    if (around.length > DEPTH_MAX || around.includes(error)) return null;
    around.push(error);
    try {
      const { key, exact } = attempt(() => knownClassOf(error)) ??
        { key: "Error", exact: false };
      const stack = read(error, "stack");
      return {
        kind: "error",
        known: key,
        name: this.#nameOf(error, key, exact),
        message: this.#cut(textOf(read(error, "message")), TEXT_MAX),
        stack: typeof stack === "string" ? this.#cut(stack, TEXT_MAX) : null,
        fields: this.#fieldsOf(error),
      };
    } finally {
      around.pop();
    }
  }

  /** The name of an error, if unpacking it as one of a known class does not give it that. */
  #nameOf(error: Error, key: string, exact: boolean): string | null {
    // Undefined for a DOMException, which has its name in itself.
    const inherited = read(classOf(key).prototype, "name");
    const name = read(error, "name");
    if (typeof name === "string" && name !== inherited) {
      return this.#cut(name, NAME_MAX);
    }
    if (exact) return null;
    const className = read(read(error, "constructor"), "name");
    return typeof className === "string" && className !== "" &&
        className !== inherited
      ? this.#cut(className, NAME_MAX)
      : null;
  }

  #fieldsOf(error: Error): PackedField[] {
    const fields: PackedField[] = [];
    for (const name of attempt(() => Object.getOwnPropertyNames(error)) ?? []) {
      if (OWN_MEMBERS.has(name) || name.length > NAME_MAX) continue;
      const isEnumerable = attempt(() =>
        Object.prototype.propertyIsEnumerable.call(error, name)
      ) === true;
      if (!isEnumerable && !PARTS.has(name)) {
        continue;
      }
      const value = attempt(() => ({ read: error[name as keyof Error] }));
      const packed = value === undefined ? null : this.pack(value.read);
      if (packed === null) {
        continue;
      }
      // Parts are described if they cannot be sent; other members are dropped.
      if (packed.kind === "text" && !PARTS.has(name)) {
        continue;
      }
      fields.push([this.#cut(name, NAME_MAX), isEnumerable, packed]);
      if (this.#left < 0) {
        break;
      }
    }
    return fields;
  }

  /** Cuts a text, and counts it. */
  #cut(text: string, max: number): string {
    const length = Math.min(max, Math.max(this.#left, 0));
    this.#left -= Math.min(text.length, length);
    if (text.length <= length) return text;
    return `${text.slice(0, length)}… (${
      text.length - length
    } more characters)`;
  }
}

/** Members of an error that are packed in a way of their own. */
const OWN_MEMBERS = new Set(["name", "message", "stack"]);

/** Members of built-in errors that are not enumerable. */
const PARTS = new Set(["cause", "errors", "error", "suppressed"]);

function isError(value: object): value is Error {
  return attempt(() => value instanceof NativeError) === true;
}

/** Whether it is an array with an error in it. */
function holdsErrors(value: object): value is readonly unknown[] {
  return attempt(() =>
    Array.isArray(value) && value.some((item) => item instanceof NativeError)
  ) === true;
}

/** Reads a member; undefined if it is a getter that throws. */
function read(object: unknown, name: string): unknown {
  return attempt(() => (object as Record<string, unknown>)[name]);
}

/** Calls a function that code of the program may break; undefined if it does. */
function attempt<T>(fn: () => T): T | undefined {
  try {
    return fn();
  } catch {
    return undefined;
  }
}

function textOf(message: unknown): string {
  if (typeof message === "string") return message;
  return message === undefined ? "" : attempt(() => String(message)) ?? "";
}

function describe(value: unknown): string {
  const what = typeof value === "symbol"
    ? String(value)
    : attempt(() => inspect(value)) ?? "an object that throws when it is read";
  return `Threw something that cannot be sent: ${what}`;
}

/**
 * Unpacks what a job has thrown on the other side.
 *
 * @param packed Result of {@linkcode packError}.
 * @returns The error or other value.
 */
export function unpackError(packed: PackedError): unknown {
  switch (packed.kind) {
    case "undefined":
      return undefined;
    case "value":
      return packed.value;
    case "list":
      return packed.items.map((item) => unpackError(item));
    case "text":
      return new Error(packed.text);
    case "error":
      return unpackInstance(packed);
  }
}

function unpackInstance(packed: PackedInstance): Error {
  const { known, name, message, stack, fields } = packed;
  const error = makeError(known, message, name);
  if (name !== null && error.name !== name) define(error, "name", false, name);
  for (const [key, isEnumerable, value] of fields) {
    define(error, key, isEnumerable, unpackError(value));
  }
  define(error, "stack", false, stack ?? `${error.name}: ${message}`);
  return error;
}

function define(
  error: Error,
  key: string,
  enumerable: boolean,
  value: unknown,
): void {
  Object.defineProperty(error, key, {
    value,
    enumerable,
    writable: true,
    configurable: true,
  });
}
