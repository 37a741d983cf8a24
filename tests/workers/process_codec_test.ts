/**
 * Values in frames: each is read as its structured clone, or is refused.
 *
 * @module
 */
import { assert, assertEquals, assertThrows } from "@std/assert";
import { FrameReader, HEADER_BYTES } from "../../src/workers/frames.ts";
import { FrameWriter, readBody } from "../../src/workers/process_codec.ts";

const MAX = 2 ** 26;
const writer = new FrameWriter(MAX);

function throughFrame(value: unknown): unknown {
  const frame = writer.frame(1, 5, value).slice();
  const read: unknown[] = [];
  new FrameReader(MAX, (kind, id, body) => read.push(kind, id, readBody(body)))
    .push(frame);
  frame.fill(0xee);
  assertEquals(read.length, 3);
  assertEquals(read.slice(0, 2), [1, 5]);
  return read[2];
}

class Point {
  x = 1;
}

const VALUES: readonly unknown[] = [
  undefined,
  null,
  -0,
  "text",
  [1, "two", { three: new Date(3) }],
  new Map([[1, new Set(["x"])]]),
  new Uint8Array([1, 2, 3]),
  Object.assign(new Array(3), { 0: 1, 2: 3 }),
  /a+/gi,
  new RangeError("mine"),
  "x".repeat(200_000),
  new Uint8Array(5_000_000).fill(7),
  Array.from({ length: 30_000 }, (_, n) => ({ n, text: `${n}` })),
];

Deno.test("values come through as their structured clones", () => {
  for (const value of VALUES) {
    assertEquals(throughFrame(value), structuredClone(value));
  }
  assert(Object.is(throughFrame(-0), -0));
});

Deno.test("a getter may make a frame of the same writer", () => {
  let inner: Uint8Array | undefined;
  const value = {
    pad: "x".repeat(40),
    get a() {
      inner ??= writer.frame(2, 6, "inner").slice();
      return 1;
    },
    z: "y".repeat(30),
  };
  const outer = writer.frame(1, 5, value);
  const read: unknown[] = [];
  const reader = new FrameReader(
    MAX,
    (kind, id, body) => read.push(kind, id, readBody(body)),
  );
  reader.push(inner!);
  reader.push(outer);
  assertEquals(read, [2, 6, "inner", 1, 5, { ...value }]);
});

Deno.test("ownFrame() gives bytes away that no other frame changes, and copies only those of the writer", () => {
  for (const value of ["short", "x".repeat(200_000), new RangeError("mine")]) {
    const own = writer.ownFrame(1, 5, value);
    const copy = own.slice();
    for (const other of VALUES) writer.frame(2, 6, other);
    assertEquals(own, copy);
  }
});

Deno.test("an instance comes through as a plain object", () => {
  const read = throughFrame([new Point()]) as object[];
  assertEquals(read, [{ x: 1 }]);
  assertEquals(Object.getPrototypeOf(read[0]), Object.prototype);
});

Deno.test("one object in two places is one object, and a cycle is one", () => {
  const one = {};
  const [a, b] = throughFrame([one, one]) as object[];
  assert(a === b);
  const cycle: { self?: unknown } = {};
  cycle.self = cycle;
  const read = throughFrame(cycle) as { self?: unknown };
  assert(read.self === read);
});

Deno.test("two views of a buffer share one", () => {
  const buffer = new ArrayBuffer(16);
  const [a, b] = throughFrame([
    new Uint8Array(buffer, 4, 4),
    new DataView(buffer),
  ]) as [Uint8Array, DataView];
  assert(a.buffer === b.buffer);
  assertEquals([a.byteOffset, a.length, b.byteLength], [4, 4, 16]);
});

Deno.test("values that cannot be cloned for another process are refused", () => {
  const { port1, port2 } = new MessageChannel();
  const refused = [
    () => 1,
    { f: () => 1 },
    Symbol("x"),
    Promise.resolve(),
    new WeakMap(),
    new SharedArrayBuffer(1),
    [new Blob(["x"])],
    new Map([[1, new Blob(["x"])]]),
    port1,
    new Error("x", { cause: new Blob([]) }),
  ];
  for (const value of refused) {
    const error = assertThrows(() => throughFrame(value), DOMException);
    assertEquals(error.name, "DataCloneError");
  }
  port1.close();
  port2.close();
});

Deno.test("a value above the limit is refused, whichever way it goes", () => {
  const small = new FrameWriter(1_000);
  for (const value of [new Uint8Array(1_000), [new Point(), "x".repeat(999)]]) {
    assertThrows(
      () => small.frame(1, 1, value),
      RangeError,
      "Cannot send a value as it may take 1000 bytes at most: received one of 10",
    );
  }
  assertEquals(small.frame(1, 1, "fits").length < 100, true);
});

Deno.test("an error of a getter is thrown", () => {
  const value = {
    get bad(): number {
      throw new RangeError("mine");
    },
  };
  assertThrows(() => throughFrame(value), RangeError, "mine");
});

Deno.test("bytes that are no value are refused", () => {
  for (const bytes of [[0], [3, 1], [1], [1, 200, 1], [2], [2, 1, 2, 3]]) {
    assertThrows(() => readBody(new Uint8Array(bytes)), Error);
  }
  const frame = writer.frame(1, 1, [new Point(), 1.5, "text"]);
  const body = frame.slice(HEADER_BYTES);
  for (let end = 1; end < body.length; end++) {
    assertThrows(() => readBody(body.subarray(0, end)), Error);
  }
});
