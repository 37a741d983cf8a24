/**
 * Equality of values by what is in them, and how they look in messages.
 *
 * @module
 */

/** Whether two values are equal: the same, or of one class with equal contents. Rings are followed once. */
export function isEqual(a: unknown, b: unknown): boolean {
  return compare(a, b, new Map());
}

function compare(
  a: unknown,
  b: unknown,
  under: Map<object, Set<object>>,
): boolean {
  if (Object.is(a, b)) return true;
  if (
    typeof a !== "object" || typeof b !== "object" || a === null || b === null
  ) return false;
  if (Object.getPrototypeOf(a) !== Object.getPrototypeOf(b)) return false;
  const others = under.get(a) ?? new Set();
  if (others.has(b)) return true; // being compared further out
  under.set(a, others.add(b));
  return compareContents(a, b, (x, y) => compare(x, y, under));
}

type Compare = (x: unknown, y: unknown) => boolean;

/** Compares two objects of one class. */
function compareContents(a: object, b: object, same: Compare): boolean {
  if (a instanceof Date) return Object.is(+a, +(b as Date));
  if (a instanceof RegExp) return String(a) === String(b);
  if (a instanceof Promise || a instanceof WeakMap || a instanceof WeakSet) {
    return false;
  }
  if (a instanceof Map) return sameMaps(a, b as typeof a, same);
  if (a instanceof Set) return sameSets(a, b as typeof a, same);
  if (a instanceof ArrayBuffer) {
    return same(new Uint8Array(a), new Uint8Array(b as ArrayBuffer));
  }
  if (
    a instanceof Error &&
    !(a.message === (b as Error).message && same(a.cause, (b as Error).cause))
  ) return false;
  const keys = Reflect.ownKeys(a).filter((key) => isCompared(a, key));
  const others = Reflect.ownKeys(b).filter((key) => isCompared(b, key));
  return keys.length === others.length &&
    keys.every((key) =>
      others.includes(key) && same(Reflect.get(a, key), Reflect.get(b, key))
    );
}

/** Whether a field of an object counts: not what only describes it, as the stack of an error does. */
function isCompared(object: object, key: PropertyKey): boolean {
  return Array.isArray(object) ||
    Object.prototype.propertyIsEnumerable.call(object, key);
}

function sameMaps(
  a: ReadonlyMap<unknown, unknown>,
  b: ReadonlyMap<unknown, unknown>,
  same: Compare,
): boolean {
  return a.size === b.size &&
    sameItems([...a], [...b], (x, y) => same(x[0], y[0]) && same(x[1], y[1]));
}

function sameSets(
  a: ReadonlySet<unknown>,
  b: ReadonlySet<unknown>,
  same: Compare,
): boolean {
  return a.size === b.size && sameItems([...a], [...b], same);
}

/** Whether there is an item of `b` for each of `a`, in any order. */
function sameItems<T>(
  a: readonly T[],
  b: readonly T[],
  same: (x: T, y: T) => boolean,
): boolean {
  const left = [...b];
  return a.every((item) => {
    const at = left.findIndex((other) => same(item, other));
    if (at >= 0) left.splice(at, 1);
    return at >= 0;
  });
}

/** Shows arguments as in a call: `("a", { b: 1 })`. */
export function showArguments(args: readonly unknown[]): string {
  return `(${args.map((value) => Deno.inspect(value)).join(", ")})`;
}
