/**
 * `withTransfer`: results of jobs of which parts are moved instead of copied.
 *
 * @module
 */
import { inspect } from "../loop/checks.ts";

const NOTHING: readonly Transferable[] = Object.freeze([]);

/** Objects to move with a value, until it is handed over. */
const moved = new WeakMap<WeakKey, readonly Transferable[]>();

/**
 * Marks parts of the result of a job to be moved to the submitter instead of
 * copied. Return what it returns.
 *
 * Moving a buffer takes the same time whatever its size, and leaves it detached
 * in the worker. Processes have no memory in common, so they copy it all the
 * same. Called outside of a job it does nothing.
 *
 * @example A job that returns a large buffer
 * ```ts
 * import { withTransfer } from "@rota/rota";
 * import { assertEquals } from "@std/assert";
 *
 * function zeros(length: number): Uint8Array<ArrayBuffer> {
 *   const bytes = new Uint8Array(length);
 *   return withTransfer(bytes, [bytes.buffer]);
 * }
 * assertEquals(zeros(3), new Uint8Array(3));
 * ```
 *
 * @typeParam T Type of the result.
 * @param value The result: an object that is, or contains, what is moved.
 * @param transfer The objects to move: buffers, ports, streams.
 * @returns The value itself.
 * @throws {TypeError} If `value` is no object, or `transfer` no array of objects.
 */
export function withTransfer<T extends object>(
  value: T,
  transfer: readonly Transferable[],
): T {
  const what = "move parts of a result";
  if (typeof value !== "object" || value === null) {
    throw new TypeError(
      `Cannot ${what} as the result must be an object: received ${
        inspect(value)
      }`,
    );
  }
  if (!Array.isArray(transfer)) {
    throw new TypeError(
      `Cannot ${what} as transfer must be an array: received ${
        inspect(transfer)
      }`,
    );
  }
  for (const item of transfer) {
    if (typeof item === "object" && item !== null) continue;
    throw new TypeError(
      `Cannot ${what} as transfer must contain objects only: received ${
        inspect(item)
      }`,
    );
  }
  moved.set(value, [...transfer]);
  return value;
}

/** Returns the objects to move with a result, and forgets them. */
export function takeTransfer(value: unknown): readonly Transferable[] {
  if (typeof value !== "object" || value === null) return NOTHING;
  const transfer = moved.get(value);
  if (transfer === undefined) return NOTHING;
  moved.delete(value);
  return transfer;
}
