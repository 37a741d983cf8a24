/**
 * withTransfer: results of which parts are moved.
 *
 * @module
 */

import { assertEquals, assertStrictEquals, assertThrows } from "@std/assert";
import { takeTransfer, withTransfer } from "../../src/workers/transfer.ts";

Deno.test("withTransfer() returns the value, and what to move is taken once", () => {
  const bytes = new Uint8Array(4);
  const list = [bytes.buffer];
  const value = { bytes };
  assertStrictEquals(withTransfer(value, list), value);
  list.pop();
  assertEquals(takeTransfer(value), [bytes.buffer]);
  assertEquals(takeTransfer(value), []);
  assertEquals(takeTransfer(5), []);
  assertEquals(takeTransfer(null), []);
});

Deno.test("withTransfer() refuses wrong arguments", () => {
  // deno-lint-ignore no-explicit-any
  const call = withTransfer as any;
  const cases: [value: unknown, transfer: unknown, message: string][] = [
    [
      5,
      [],
      "Cannot move parts of a result as the result must be an object: received 5",
    ],
    [
      null,
      [],
      "Cannot move parts of a result as the result must be an object: received null",
    ],
    [
      {},
      undefined,
      "Cannot move parts of a result as transfer must be an array: received undefined",
    ],
    [
      {},
      new ArrayBuffer(1),
      "Cannot move parts of a result as transfer must be an array: received an object of class ArrayBuffer",
    ],
    [
      {},
      ["a"],
      'Cannot move parts of a result as transfer must contain objects only: received "a"',
    ],
  ];
  for (const [value, transfer, message] of cases) {
    const error = assertThrows(() => call(value, transfer), TypeError);
    assertEquals(error.message, message);
  }
});
