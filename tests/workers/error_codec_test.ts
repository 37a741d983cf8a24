/**
 * Errors packed as plain data and unpacked again, by every way that they may go.
 *
 * @module
 */
// deno-lint-ignore-file no-explicit-any

import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertLess,
  assertNotEquals,
  assertStrictEquals,
  assertStringIncludes,
  equal,
} from "@std/assert";
import fc from "fast-check";
import { deserialize, serialize } from "node:v8";
import * as rota from "../../src/errors.ts";
import {
  type PackedError,
  packError,
  unpackError,
} from "../../src/workers/error_codec.ts";

/** Ways to another thread or process. */
const WAYS: Record<string, (packed: PackedError) => PackedError> = {
  "structured clone": (packed) => structuredClone(packed),
  "node:v8": (packed) => deserialize(serialize(packed)),
  "nothing": (packed) => packed,
};

/** Sends an error over every way, which must make no difference, and returns it. */
function send(error: unknown): any {
  const packed = packError(error);
  assertNoGaps(packed);
  const received = Object.values(WAYS).map((way) => unpackError(way(packed)));
  for (const other of received.slice(1)) {
    assertSame(packError(other), packError(received[0]));
  }
  return received[0];
}

/** Fails unless the two are equal, without a diff: for random errors that takes minutes. */
function assertSame(actual: unknown, expected: unknown): void {
  if (equal(actual, expected)) return;
  throw new Error(
    `Not the same: ${Deno.inspect(actual).slice(0, 2_000)} and ${
      Deno.inspect(expected).slice(0, 2_000)
    }`,
  );
}

/** Fails on members that are undefined: some codecs drop them. */
function assertNoGaps(packed: PackedError): void {
  const { kind } = packed;
  assert(Object.values(packed).every((member) => member !== undefined));
  if (kind === "list") packed.items.forEach(assertNoGaps);
  if (kind === "error") {
    packed.fields.forEach(([, , value]) => assertNoGaps(value));
  }
}

// -- Classes --

const BUILT_IN = [
  Error,
  EvalError,
  RangeError,
  ReferenceError,
  SyntaxError,
  TypeError,
  URIError,
];

Deno.test("Built-in errors come back as such", () => {
  for (const Class of BUILT_IN) {
    const error = new Class("message", { cause: "why" });
    const back = send(error);
    assertStrictEquals(Object.getPrototypeOf(back), Class.prototype);
    assertEquals(`${back}`, `${error}`);
    assertEquals(back.stack, error.stack);
    assertEquals(back.cause, "why");
    assert(!Object.hasOwn(back, "name"));
    assert((Error as any).isError(back));
    assertEquals(Deno.inspect(back), Deno.inspect(error));
  }
});

Deno.test("An error without a message or a cause has none afterwards", () => {
  const back = send(new TypeError());
  assertEquals(Object.getOwnPropertyNames(back), ["stack"]);
  assert(Object.hasOwn(send(new Error("", { cause: undefined })), "cause"));
});

Deno.test("Errors of several errors keep them", () => {
  const back = send(
    new AggregateError([new RangeError("a"), "b", undefined], "all"),
  );
  assertInstanceOf(back, AggregateError);
  assertInstanceOf(back.errors[0], RangeError);
  assertEquals(back.errors.slice(1), ["b", undefined]);
  assertEquals(Object.keys(back), []);
  assertEquals(send(new AggregateError([])).errors, []);

  const suppressed = send(
    new SuppressedError(new TypeError("new"), new rota.OsError("old", "E", 1)),
  );
  assertInstanceOf(suppressed, SuppressedError);
  assertInstanceOf(suppressed.error, TypeError);
  assertInstanceOf(suppressed.suppressed, rota.OsError);
  assertEquals(suppressed.suppressed.errno, 1);
});

Deno.test("DOMExceptions come back with their name and code", () => {
  const error = new DOMException("aborted", "AbortError");
  const back = send(error);
  assertInstanceOf(back, DOMException);
  assertEquals(
    [back.name, back.message, back.code, back.stack],
    ["AbortError", "aborted", 20, error.stack],
  );
  assertEquals(send(new DOMException()).name, "Error");
  class Own extends DOMException {}
  assertInstanceOf(send(new Own("a", "DataCloneError")), DOMException);
});

Deno.test("Errors of Deno come back as such", () => {
  for (const name of Object.getOwnPropertyNames(Deno.errors)) {
    const Class = Deno.errors[name as keyof typeof Deno.errors];
    const error = new Class("message");
    const back = send(error);
    assertInstanceOf(back, Class);
    assertEquals(back.name, error.name);
    assertEquals(back.message, "message");
    assertEquals(Deno.inspect(back), Deno.inspect(error));
  }
});

/** Arguments for Rota's errors, of those that take more than a message. */
const ARGUMENTS: Record<string, unknown[]> = {
  CancelledError: ["why"],
  DeadlockError: ["m", [{ name: "a", waitsFor: "b" }]],
  InterruptedError: ["SIGINT"],
  OsError: ["m", "EBADF", 9],
  ChannelClosedError: ["m", 42],
  TaskGroupError: [[new TypeError("a"), new rota.OverloadError("b")], "m"],
  RateLimitError: ["m", 12],
  WebSocketClosedError: ["m", { code: 1006, reason: "r", wasClean: false }],
  MessageTooLargeError: ["m", 12, 8],
  ReconnectLimitError: ["m", 3, { cause: new RangeError("c") }],
  ExplorationError: ["m", { kind: "deadlock", schedule: "r1" }],
  ScheduleError: ["m", 4],
  NondeterminismError: ["m", 4, ["Date.now"]],
  WorkerCrashError: ["m", "exit", 7, { cause: new RangeError("c") }],
};

Deno.test("Rota's errors come back as such, with their members and the name of their class", () => {
  for (const [name, Class] of Object.entries(rota)) {
    const error = new (Class as any)(...ARGUMENTS[name] ?? ["message"]);
    const back = send(error);
    assertStrictEquals(Object.getPrototypeOf(back), Class.prototype);
    assertEquals(back.name, name);
    assert(!Object.hasOwn(back, "name"));
    assertEquals(Object.keys(back), Object.keys(error));
    assertEquals({ ...back }, { ...error });
    assertEquals(back.message, error.message);
    assertEquals(back.stack, error.stack);
  }
  const group = send(new rota.TaskGroupError([new TypeError("a")], "m"));
  assertInstanceOf(group.errors[0], TypeError);
  const crash = send(
    new (rota.WorkerCrashError as any)(
      ...ARGUMENTS.WorkerCrashError!,
    ),
  );
  assertInstanceOf(crash.cause, RangeError);
  assert(Object.hasOwn(send(new rota.CancelledError()), "reason"));
  assert(!Object.hasOwn(send(new rota.ChannelClosedError("m")), "value"));
});

Deno.test("Errors of unknown classes keep the name, as the nearest class that is known", () => {
  class ParseError extends Error {
    line = 5;
  }
  class HttpError extends TypeError {
    override name = "HttpProblem";
  }
  class Stopped extends rota.CancelledError {}
  const parse = send(new ParseError("m"));
  assertStrictEquals(Object.getPrototypeOf(parse), Error.prototype);
  assertEquals([parse.name, parse.line], ["ParseError", 5]);
  assertEquals(Object.keys(parse), ["line"]);
  assertEquals(`${parse}`, "ParseError: m");
  const http = send(new HttpError("m"));
  assertInstanceOf(http, TypeError);
  assertEquals(http.name, "HttpProblem");
  const stopped = send(new Stopped("why"));
  assertInstanceOf(stopped, rota.CancelledError);
  assertEquals([stopped.name, stopped.reason], ["Stopped", "why"]);
  const renamed = Object.assign(new Error("m"), { name: "Renamed" });
  assertEquals(send(renamed).name, "Renamed");
});

Deno.test("A class that the other side does not know comes back as Error", () => {
  const packed = {
    ...packError(new Error("m")),
    known: "FutureError",
    name: "FutureError",
  } as PackedError;
  const back: any = unpackError(packed);
  assertStrictEquals(Object.getPrototypeOf(back), Error.prototype);
  assertEquals(`${back}`, "FutureError: m");
});

// -- Members --

Deno.test("Own members that can be cloned go along, others do not", () => {
  const error = Object.assign(new Error("m"), {
    code: "E_CODE",
    detail: { list: [1, { a: undefined }], when: new Date(0) },
    bytes: new Uint8Array([1, 2]),
    map: new Map([[1, new Set([2])]]),
    pattern: /x/gi,
    nothing: undefined,
    none: null,
    big: 5n,
    inner: new RangeError("inner"),
    list: [new TypeError("listed"), 1],
    fn: () => {},
    symbol: Symbol("s"),
    shared: new SharedArrayBuffer(4),
    sharedInside: { view: new Uint8Array(new SharedArrayBuffer(4)) },
    weak: new WeakMap(),
    promise: Promise.resolve(),
    [Symbol("key")]: 1,
  });
  Object.defineProperty(error, "hidden", { value: 1 });
  const back = send(error);
  assertEquals(Object.keys(back), [
    "code",
    "detail",
    "bytes",
    "map",
    "pattern",
    "nothing",
    "none",
    "big",
    "inner",
    "list",
  ]);
  assertEquals(back.detail, error.detail);
  assertEquals(back.bytes, error.bytes);
  assertEquals(back.map, error.map);
  assertEquals(back.big, 5n);
  assertInstanceOf(back.inner, RangeError);
  assertInstanceOf(back.list[0], TypeError);
  assertEquals(back.hidden, undefined);
});

Deno.test("A member may have any name", () => {
  const error = new Error("m");
  for (const key of ["__proto__", "constructor", "toString", "then", ""]) {
    Object.defineProperty(error, key, {
      value: `its ${key}`,
      enumerable: true,
    });
  }
  const back = send(error);
  assertStrictEquals(Object.getPrototypeOf(back), Error.prototype);
  for (const key of ["__proto__", "constructor", "toString", "then", ""]) {
    const { value } = Object.getOwnPropertyDescriptor(back, key)!;
    assertEquals(value, `its ${key}`);
  }
});

// -- Depth, cycles and size --

/** The number of errors in a chain of causes. */
function chainLength(error: any): number {
  let length = 0;
  for (; error instanceof Error; error = error.cause) length++;
  return length;
}

Deno.test("Errors are packed down to five levels", () => {
  let error = new Error("deepest");
  for (let n = 0; n < 20; n++) error = new Error(`${n}`, { cause: error });
  const back = send(error);
  assertEquals(chainLength(back), 6);
  let last = back;
  while (last.cause instanceof Error) last = last.cause;
  assert(!Object.hasOwn(last, "cause"));
});

Deno.test("Cycles are cut", () => {
  const error = new Error("m");
  error.cause = error;
  assert(!Object.hasOwn(send(error), "cause"));
  const a = new AggregateError([], "a");
  const b = new Error("b", { cause: a });
  a.errors.push(b, a, new Error("c"));
  const back = send(a);
  assertEquals(back.errors.length, 3);
  assert(!Object.hasOwn(back.errors[0], "cause"));
  assertStringIncludes(back.errors[1].message, "Left out");
  assertEquals(back.errors[2].message, "c");
  // The same error twice is no cycle.
  const twice = send(new AggregateError([b, b]));
  assertEquals(twice.errors.map((e: Error) => e.message), ["b", "b"]);
  const data: any = { list: [] };
  data.self = data;
  const kept = send(Object.assign(new Error("m"), { data }));
  assertStrictEquals(kept.data.self, kept.data);
});

Deno.test("No error is too large", () => {
  const size = (error: unknown) => serialize(packError(error)).byteLength;
  const long = "x".repeat(10_000_000);
  const huge = new Error(long);
  assertLess(size(huge), 300_000);
  assertStringIncludes(send(huge).message, "more characters)");
  assertLess(size(long), 10_000_000);
  assertLess(size(Object.assign(new Error("m"), { long })), 10_000_000);
  const bytes = new Uint8Array(20_000_000);
  assertLess(size(Object.assign(new Error("m"), { bytes })), 10_000_000);
  const many = Array.from({ length: 20_000 }, () => new Error("m"));
  assertLess(size(new AggregateError(many)), 10_000_000);
  let wide: Error = new Error("leaf");
  for (let n = 0; n < 6; n++) wide = new AggregateError(Array(50).fill(wide));
  assertLess(size(wide), 10_000_000);
  let deep: unknown[] = [];
  for (let n = 0; n < 100_000; n++) deep = [deep];
  send(Object.assign(new Error("m"), { deep }));
  send(deep);
});

// -- What is no error --

Deno.test("Other values come back as they are, if they can be cloned", () => {
  const values = [
    undefined,
    null,
    0,
    -0,
    NaN,
    "text",
    "",
    true,
    5n,
    [1, [2]],
    { a: { b: undefined } },
    new Map([[1, 2]]),
    new Date(0),
  ];
  for (const value of values) assertEquals(send(value), value);
});

Deno.test("Other values are described, if they cannot be cloned", () => {
  const cases: [value: unknown, message: string][] = [
    [
      Symbol("s"),
      "Threw something that cannot be sent: Symbol(s)",
    ],
    [
      function oops() {},
      "Threw something that cannot be sent: function oops",
    ],
    [Promise.resolve(), "Threw something that cannot be sent: a promise"],
    [
      new WeakMap(),
      "Threw something that cannot be sent: an object of class WeakMap",
    ],
    [
      new SharedArrayBuffer(4),
      "Threw something that cannot be sent: an object of class SharedArrayBuffer",
    ],
    [{ fn() {} }, "Threw something that cannot be sent: an object"],
  ];
  for (const [value, message] of cases) {
    const back = send(value);
    assertInstanceOf(back, Error);
    assertEquals(back.message, message);
  }
  assertInstanceOf(send(new Error("m", { cause: () => {} })).cause, Error);
});

// -- Hostile errors --

const boom = (): never => {
  throw new Error("boom");
};

/** A proxy of which every access throws. */
const hostileProxy = (target: object): any =>
  new Proxy(
    target,
    new Proxy({}, { get: () => boom }),
  );

Deno.test("Hostile errors break nothing", () => {
  const throwing = new Error("m");
  for (const name of ["name", "message", "stack", "cause", "code"]) {
    Object.defineProperty(throwing, name, { get: boom, enumerable: true });
  }
  const odd = new Error("m");
  Object.assign(odd, { name: 5, message: { toString: boom }, code: 1 });
  Object.defineProperty(odd, "stack", { value: 5 });
  const noConstructor = new (class Odd extends Error {})("m");
  Object.defineProperty(noConstructor, "constructor", { get: boom });
  const noPrototype = Object.setPrototypeOf(new Error("m"), null);
  const cases: [error: unknown, check: (back: any) => void][] = [
    [throwing, (back) => assertEquals(Object.keys(back), [])],
    [
      odd,
      (back) => {
        assertEquals([back.name, back.message, back.code], ["Error", "", 1]);
        assertEquals(typeof back.stack, "string");
      },
    ],
    [noConstructor, (back) => assertEquals(back.message, "m")],
    [noPrototype, () => {}],
    [Object.freeze(new RangeError("m")), (back) => {
      assertInstanceOf(back, RangeError);
      assert(Object.isExtensible(back));
    }],
    [new Proxy(new TypeError("m"), {}), (back) => {
      assertInstanceOf(back, TypeError);
      assertEquals(back.message, "m");
    }],
    [hostileProxy(new Error("m")), (back) => assertInstanceOf(back, Error)],
    [hostileProxy({}), (back) => assertInstanceOf(back, Error)],
    [hostileProxy(() => {}), (back) => assertInstanceOf(back, Error)],
    [hostileProxy([new Error("m")]), (back) => assertInstanceOf(back, Error)],
    [{
      get then() {
        return boom();
      },
    }, (back) => assertInstanceOf(back, Error)],
    [Object.create(null), (back) => assertEquals(back, {})],
    [
      Object.assign(new Error("m"), { list: hostileProxy([]), a: 1 }),
      (back) => assertEquals(back.a, 1),
    ],
    [
      Object.assign(new AggregateError([]), { errors: hostileProxy([]) }),
      (back) => assertInstanceOf(back, AggregateError),
    ],
  ];
  for (const [error, check] of cases) check(send(error));
});

Deno.test("A member whose name is very long is dropped", () => {
  const key = "k".repeat(10_000);
  assertEquals(
    Object.keys(send(Object.assign(new Error("m"), { [key]: 1 }))),
    [],
  );
});

Deno.test("A prototype without an end is followed for a while only", () => {
  const handler: ProxyHandler<object> = {
    getPrototypeOf: () => new Proxy({}, handler),
    get: () => undefined,
  };
  const endless = new Proxy(new Error("m"), handler);
  assertInstanceOf(send(endless), Error);
});

Deno.test("Reading an error calls each getter once", () => {
  let calls = 0;
  const error = Object.defineProperty(new Error("m"), "code", {
    get: () => ++calls,
    enumerable: true,
  });
  packError(error);
  assertEquals(calls, 1);
});

// -- Anything --

/** Errors of known classes, with anything inside. */
const anyError = fc.letrec<{ error: Error; thing: unknown }>((tie) => ({
  error: fc.record({
    Class: fc.constantFrom<new (message?: string) => Error>(
      ...BUILT_IN,
      rota.OverloadError,
      rota.MisuseError,
      Deno.errors.NotFound,
    ),
    message: fc.string(),
    fields: fc.dictionary(
      fc.string().filter((key) => !["name", "message", "stack"].includes(key)),
      tie("thing"),
      { maxKeys: 3 },
    ),
  }).map(({ Class, message, fields }) => {
    const error = new Class(message);
    for (const [key, value] of Object.entries(fields)) {
      Object.defineProperty(error, key, { value, enumerable: true });
    }
    return error;
  }),
  thing: fc.oneof(
    { maxDepth: 3, withCrossShrink: true },
    fc.anything({ withDate: true, withMap: true, withTypedArray: true }),
    tie("error"),
    fc.array(tie("error"), { maxLength: 2 }),
  ),
})).error;

Deno.test("Whatever is thrown arrives: round trips of random errors", () => {
  fc.assert(
    fc.property(anyError, (error) => {
      const back = send(error);
      assertStrictEquals(
        Object.getPrototypeOf(back),
        Object.getPrototypeOf(error),
      );
      assertEquals(back.message, error.message);
      assertEquals(back.stack, error.stack);
      // Packing again gives the same: nothing more is lost on the next way.
      assertSame(packError(back), packError(error));
    }),
  );
});

Deno.test("Whatever is thrown arrives: values that are no errors", () => {
  fc.assert(
    fc.property(
      fc.anything({
        withBigInt: true,
        withDate: true,
        withMap: true,
        withSet: true,
        withTypedArray: true,
        withSparseArray: true,
      }),
      (value) => {
        assertSame(send(value), structuredClone(value));
      },
    ),
  );
  assertNotEquals(send(1), 2);
});
