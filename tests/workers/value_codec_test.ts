/**
 * The codec of values: what it writes reads back as the structured clone, and what it cannot write it refuses.
 *
 * @module
 */
import { assert, assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { readValue, writeValue } from "../../src/workers/value_codec.ts";

const space = new Uint8Array(1 << 16);

/** The value after the way through bytes, or the text "refused". */
function throughBytes(value: unknown, into: Uint8Array = space): unknown {
  const end = writeValue(value, into, 3);
  return end < 0 ? "refused" : readValue(into, 3, end);
}

/** A text for all that tells two values apart, `-0` and prototypes of objects too. */
function portrait(value: unknown): string {
  if (typeof value !== "object" || value === null) {
    return Object.is(value, -0) ? "-0" : `${typeof value} ${String(value)}`;
  }
  const list = (items: Iterable<unknown>) => [...items].map(portrait).join();
  const name = Object.getPrototypeOf(value)?.constructor?.name;
  const keys = Array.isArray(value) ? "" : Object.keys(value).join();
  if (value instanceof Date) return `Date ${value.getTime()}`;
  if (value instanceof Map) return `${name} {${list(value)}}`;
  if (value instanceof Set) return `${name} {${list(value)}}`;
  if (value instanceof ArrayBuffer) {
    return `${name} ${list(new Uint8Array(value))}`;
  }
  if (ArrayBuffer.isView(value)) {
    return `${name} ${value.byteOffset} ${portrait(value.buffer)}`;
  }
  return `${name} ${keys} {${list(Object.values(value))}}`;
}

const views = [
  Uint8Array,
  Uint8ClampedArray,
  Int8Array,
  Int16Array,
  Uint16Array,
  Int32Array,
  Uint32Array,
  BigInt64Array,
  BigUint64Array,
  Float16Array,
  Float32Array,
  Float64Array,
];

const view = fc.tuple(
  fc.constantFrom(...views),
  fc.array(fc.nat(255), { maxLength: 6 }),
).map(([View, bytes]) =>
  new View(
    new Uint8Array(bytes.flatMap((byte) => [byte, 0, 1, 2, 3, 4, 255, byte]))
      .buffer,
  )
);

const { value } = fc.letrec((tie) => ({
  leaf: fc.oneof(
    fc.double(),
    fc.integer(),
    fc.integer({ min: -200, max: 400 }),
    fc.bigInt(),
    fc.constantFrom(undefined, null, true, false, -0, NaN, Infinity, 2 ** 32),
    fc.string(),
    fc.string({ unit: "binary" }),
    fc.string({ minLength: 60, maxLength: 200 }),
    fc.array(fc.nat(0xffff), { maxLength: 100 }).map((units) =>
      String.fromCharCode(...units)
    ),
    fc.date({ noInvalidDate: false }),
    view,
    view.map(({ buffer }) => buffer),
    view.map(({ buffer }) => new DataView(buffer)),
  ),
  value: fc.oneof(
    { maxDepth: 4 },
    tie("leaf"),
    fc.array(tie("value"), { maxLength: 40 }),
    fc.dictionary(fc.string(), tie("value"), { noNullPrototype: true }),
    fc.dictionary(fc.constantFrom("a", "1", "__proto__", "ü"), tie("value"), {
      noNullPrototype: true,
    }),
    fc.array(fc.tuple(tie("value"), tie("value")))
      .map((entries) => new Map(entries)),
    fc.array(tie("value")).map((items) => new Set(items)),
  ),
}));

Deno.test("values read back as their structured clones", () => {
  let written = 0;
  fc.assert(
    fc.property(value, (value) => {
      const copy = throughBytes(value);
      if (copy === "refused" && value !== "refused") return;
      written++;
      assertEquals(portrait(copy), portrait(structuredClone(value)));
    }),
    { numRuns: 2_000 },
  );
  assert(written > 1_500, `only ${written} values were written`);
});

Deno.test("values are never written past the end of the space", () => {
  fc.assert(fc.property(value, fc.nat(60), (value, size) => {
    const bytes = new Uint8Array(80).fill(7);
    const into = bytes.subarray(0, size);
    const end = writeValue(value, into, Math.min(2, size));
    assert(end <= size);
    assert(bytes.subarray(size).every((byte) => byte === 7));
    if (end < 0) return;
    assertEquals(
      portrait(readValue(into, 2, end)),
      portrait(structuredClone(value)),
    );
  }));
});

Deno.test("whatever fits is written, up to the last byte that a head may need", () => {
  fc.assert(fc.property(value, (value) => {
    const end = writeValue(value, space, 0);
    if (end < 0) return;
    assertEquals(writeValue(value, new Uint8Array(end + 6), 0), end);
    if (end > 6) {
      assertEquals(writeValue(value, space.subarray(0, end - 1), 0), -1);
    }
  }));
});

Deno.test("shared memory does as well, and nothing that was read lies in it", () => {
  const shared = new Uint8Array(new SharedArrayBuffer(1_000));
  const value = {
    bytes: new Uint8Array([1, 2, 3]),
    short: "äöü",
    long: "x".repeat(100),
    umlauts: "ü".repeat(100),
    half: "\ud800",
  };
  const copy = throughBytes(value, shared);
  shared.fill(0);
  assertEquals(copy, value);
  assert((copy as typeof value).bytes.buffer instanceof ArrayBuffer);
});

class Point {
  x = 1;
}
const same = { a: 1 };
const cycle: unknown[] = [];
cycle.push(cycle);
const shared = new ArrayBuffer(8);
const transferred = new ArrayBuffer(8);
structuredClone(transferred, { transfer: [transferred] });
let deep: unknown = 1;
for (let n = 0; n < 200; n++) deep = [deep];

const refused: Readonly<Record<string, unknown>> = {
  "a function": () => {},
  "a symbol": Symbol("s"),
  "an instance of a class": new Point(),
  "a subclass of Map": new (class extends Map {})(),
  "a subclass of Array": new (class extends Array {})(),
  "a subclass of Uint8Array": new (class extends Uint8Array {})(),
  "an error": new Error("e"),
  "a pattern": /x/,
  "a boxed number": Object(1),
  "a promise": Promise.resolve(),
  "a URL": new URL("file:///"),
  "an object without prototype": Object.create(null),
  "an object that only claims to be a Map": Object.create(Map.prototype),
  "an object that only claims to be a view": Object.create(
    Uint8Array.prototype,
  ),
  "the same object twice": [same, same],
  "the same object twice among many": [
    same,
    ...Array.from({ length: 100 }, () => ({})),
    same,
  ],
  "a later object twice among many": [
    ...Array.from({ length: 100 }, () => ({})),
    same,
    same,
  ],
  "a cycle": cycle,
  "a hole": [1, , 3], // deno-lint-ignore no-sparse-arrays
  "a hole at the end": new Array(2),
  "a match of a pattern": /a/.exec("a"),
  "a hole and a name": Object.assign(new Array(1), { x: 1 }),
  "two views of a buffer": [new Uint8Array(shared), new Int8Array(shared)],
  "a buffer and its view": [shared, new Int8Array(shared)],
  "part of a buffer": new Uint8Array(shared, 1),
  "the beginning of a buffer": new Uint8Array(shared, 0, 4),
  "shared memory": new SharedArrayBuffer(8),
  "a view of shared memory": new Uint8Array(new SharedArrayBuffer(8)),
  "a buffer that can grow": new ArrayBuffer(8, { maxByteLength: 16 }),
  "a view of a buffer that can grow": new Uint8Array(
    new ArrayBuffer(8, { maxByteLength: 16 }),
  ),
  "a transferred buffer": transferred,
  "a nest": deep,
  "an object whose getter throws": {
    get a() {
      throw new Error("getter");
    },
  },
};

for (const [name, value] of Object.entries(refused)) {
  Deno.test(`writeValue() refuses ${name}, at the top and within`, () => {
    assertEquals(writeValue(value, space, 0), -1);
    assertEquals(writeValue({ a: [value] }, space, 0), -1);
    assertEquals(writeValue(new Map([[1, value]]), space, 0), -1);
    assertEquals(throughBytes([1, "after it"]), [1, "after it"]);
  });
}

Deno.test("symbol keys and hidden properties are left out, as by a clone; getters are read", () => {
  const value = Object.defineProperty(
    {
      [Symbol("s")]: 1,
      b: 2,
      get c() {
        return 3;
      },
    },
    "hidden",
    { value: 4, enumerable: false },
  );
  assertEquals(throughBytes(value), { b: 2, c: 3 });
});

Deno.test("a getter may itself write a value", () => {
  const value = {
    get a() {
      return throughBytes([same], new Uint8Array(100));
    },
    same,
  };
  assertEquals(throughBytes(value), { a: [{ a: 1 }], same: { a: 1 } });
});

Deno.test("a getter that changes what is being written does not spoil the bytes", () => {
  const list: unknown[] = [];
  const map = new Map<unknown, unknown>();
  list.push(
    Object.defineProperty({}, "a", {
      enumerable: true,
      get: () => {
        list.length = 1;
        map.clear();
        return 1;
      },
    }),
    2,
  );
  map.set(1, list).set(2, 2);
  assertEquals(
    throughBytes(map),
    new Map<unknown, unknown>([[1, [{ a: 1 }, undefined]], [2, 2]]),
  );
});

Deno.test("__proto__ is a property like others", () => {
  const value = JSON.parse('{ "__proto__": { "a": 1 }, "b": 2 }');
  const copy = throughBytes(value);
  assert(typeof copy === "object" && copy !== null);
  assertEquals(Object.getPrototypeOf(copy), Object.prototype);
  assertEquals(Object.keys(copy), ["__proto__", "b"]);
});

Deno.test("readValue() refuses bytes that are no value, and nothing else happens", () => {
  const refusals: [bytes: number[], message: string][] = [
    [[], "Cannot read a value: it ends too early"],
    [[0], "Cannot read a value: it ends too early"],
    [[31, 0], "Cannot read a value: there is no tag 31"],
    [[5, 1, 2], "Cannot read a value: it ends too early"],
    [[6, 1, 2], "Cannot read a value: it ends too early"],
    [[64, 64], "Cannot read a value: something is behind it"],
    [[9, 5, 65], "Cannot read a value: it ends too early"],
    [[13, 255, 255, 255, 255, 7], "Cannot read a value: it ends too early"],
    [
      [13, 255, 255, 255, 255, 255, 7],
      "Cannot read a value: a count is too long",
    ],
    [[11, 3, 65, 0, 65], "Cannot read a value: text has half a unit"],
    [[14, 1, 64, 64], "Cannot read a value: a key is no string"],
    [[8, 64], "Cannot read a value: a bigint has no digits"],
    [[8, 9, 1, 120], "Cannot read a value: a bigint has no digits"],
    [[18, 99, 0], "Cannot read a value: there is no kind 99 of view"],
    [[18, 5, 1, 1], "Cannot read a value: a view has part of an element"],
    [
      new Array(300).fill([13, 1]).flat(),
      "Cannot read a value: it is nested too deeply",
    ],
  ];
  for (const [bytes, message] of refusals) {
    assertThrows(
      () => readValue(new Uint8Array(bytes), 0),
      RangeError,
      message,
    );
  }
  assertThrows(() => readValue(new Uint8Array([10, 1, 255]), 0), TypeError);
  assertEquals(throughBytes([1]), [1]);
});

Deno.test("readValue() of random bytes returns or throws, and never hangs", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 40 }), (bytes) => {
      try {
        readValue(bytes, 0);
      } catch (error) {
        assert(error instanceof RangeError || error instanceof TypeError);
      }
    }),
    { numRuns: 5_000 },
  );
});
