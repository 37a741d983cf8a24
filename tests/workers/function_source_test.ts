/**
 * Sources of functions: which shapes stand by themselves, told by the head of the
 * text alone.
 *
 * @module
 */
// deno-lint-ignore-file no-explicit-any no-inner-declarations

import {
  assertEquals,
  assertStrictEquals,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import fc from "fast-check";
import { refusedKind, sourceOf } from "../../src/workers/function_source.ts";

const WHAT = "submit a job";

/** Evaluates JavaScript that is not touched by the compiler, and returns the module. */
async function evaluate(code: string): Promise<{ default: any }> {
  return await import(
    `data:text/javascript;charset=utf-8,${encodeURIComponent(code)}`
  );
}

/** Expressions that are functions, which return 42 if called with nothing. */
const ACCEPTED = [
  "() => 42",
  "()=>42",
  "(a) => 42",
  "(a, b = ')=>{', ...c) => 42",
  "(a = () => 1) => 42",
  "([a, b] = [], { c = `)` } = {}) => 42",
  "a => 42",
  "a=>42",
  "$ => 42",
  "_ => 42",
  "async => 42",
  "get => 42",
  "set => 42",
  "of => 42",
  "await0 => 42",
  "ünicode => 42",
  "𝒳 => 42",
  "\\u0061 => 42",
  "\\u{61}bc => 42",
  "\\u0061sync => 42",
  "a\\u0062 => 42",
  "a /* => */ => 42",
  "(/* ) => { */ a) /* b */ => /* c */ 42",
  "a => { return 42; }",
  "() => /* { [native code] } */ 42",
  "() => { return 42; /* [native code] */ }",
  "async () => 42",
  "async() => 42",
  "async (a, b) => 42",
  "async a => 42",
  "async async => 42",
  "async of => 42",
  "async get => 42",
  "async \\u0061 => 42",
  "async /* line\\u000a */ (a) => 42",
  "async /* => */ a /* => */ => 42",
  "async /**/ (a = async () => {}) => 42",
  "function () { return 42; }",
  "function(){return 42}",
  "function named() { return 42; }",
  "function /* * */ named() { return 42; }",
  "function \\u0061() { return 42; }",
  "function async() { return 42; }",
  "function get() { return 42; }",
  "function named(a = '}', { b } = {}) { return 42; }",
  "async function () { return 42; }",
  "async function named() { return 42; }",
  "async /* * */ function /* * */ named() { return 42; }",
  "function* () { return 42; }",
  "function*named() { return 42; }",
  "function /* a */ * /* b */ named() { return 42; }",
  "function\n* // c\nnamed() { return 42; }",
];

/** Code after `export default` whose value is a function that is refused, and why. */
const REFUSED: [code: string, reason: string][] = [
  ["{ m() {} }.m", "method"],
  ["{ async() {} }.async", "method"],
  ["{ async(a = ') => ') { return () => {}; } }.async", "method"],
  ["{ get() {} }.get", "method"],
  ["{ set(a) {} }.set", "method"],
  ["{ class() {} }.class", "method"],
  ["{ static() {} }.static", "method"],
  ["{ m /* => */ () {} }.m", "method"],
  ["{ \\u0061() {} }.a", "method"],
  ["{ \\u0061sync() {} }.async", "method"],
  ["{ ünicode() {} }.ünicode", "method"],
  ["{ $() {} }.$", "method"],
  ["{ 'a => b'() {} }['a => b']", "method"],
  ['{ "x"() {} }.x', "method"],
  ["{ 12() {} }[12]", "method"],
  ["{ .5() {} }[.5]", "method"],
  ["{ ['m']() {} }.m", "method"],
  ["{ [(() => 'm')()]() {} }.m", "method"],
  ["{ *m() {} }.m", "method"],
  ["{ * ['m']() {} }.m", "method"],
  ["{ async m() {} }.m", "method"],
  ["{ async async() {} }.async", "method"],
  ["{ async get() {} }.get", "method"],
  ["{ async 'm'() {} }.m", "method"],
  ["{ async 1() {} }[1]", "method"],
  ["{ async ['m']() {} }.m", "method"],
  ["{ async *m() {} }.m", "async generator"],
  ["{ async * m() {} }.m", "async generator"],
  ["new (class { m() {} })().m", "method"],
  ["class { static m() {} }.m", "method"],
  ["class { static #m() {} static n() { return this.#m; } }.n()", "method"],
  ["new (class { async m() {} })().m", "method"],
  ["Object.getOwnPropertyDescriptor({ get m() {} }, 'm').get", "getter"],
  ["Object.getOwnPropertyDescriptor({ set m(a) {} }, 'm').set", "getter"],
  ["Object.getOwnPropertyDescriptor({ get ['m']() {} }, 'm').get", "getter"],
  ["Object.getOwnPropertyDescriptor({ get 'm'() {} }, 'm').get", "getter"],
  ["Object.getOwnPropertyDescriptor({ get get() {} }, 'get').get", "getter"],
  ["class {}", "class"],
  ["class A {}", "class"],
  ["class A extends Array {}", "class"],
  ["class /* ( */ A {}", "class"],
  ["(() => 42).bind(null)", "bound"],
  ["(function () { return 42; }).bind(null)", "bound"],
  ["Math.max", "native"],
  ["Array.prototype.map", "native"],
  ["Object", "native"],
  ["parseInt", "native"],
  ["new Proxy(() => 42, {})", "prox"],
  [
    "new Proxy(() => 42, { getPrototypeOf() { throw 1; }, get() { throw 2; } })",
    "prox",
  ],
  ["async function* () {}", "async generator"],
  ["async function* named() {}", "async generator"],
  ["async function /* a */ * /* b */ () {}", "async generator"],
];

Deno.test("Functions that stand by themselves are sent as they are written", async (test) => {
  for (const text of ACCEPTED) {
    await test.step(text, async () => {
      const { default: fn } = await evaluate(`export default (${text});`);
      const source = sourceOf(fn, WHAT);
      assertEquals(source, Function.prototype.toString.call(fn));
      const { default: copy } = await evaluate(`export default (${source}\n);`);
      const result = copy();
      assertEquals(
        typeof result?.next === "function" ? result.next().value : await result,
        42,
      );
    });
  }
});

Deno.test("Functions that do not stand by themselves are refused, with the reason and what to do", async (test) => {
  for (const [code, reason] of REFUSED) {
    await test.step(code, async () => {
      const { default: fn } = await evaluate(
        `const value = ${code};\nexport default value;`,
      );
      assertEquals(typeof fn, "function");
      const error = assertThrows(() => sourceOf(fn, WHAT), TypeError);
      assertStringIncludes(error.message, "Cannot submit a job as the source");
      assertStringIncludes(error.message.toLowerCase(), reason);
    });
  }
});

Deno.test("A method named function reads like a function and is sent as one", async () => {
  for (const code of ["function(a) { return a; }", "async function() {}"]) {
    const { default: object } = await evaluate(`export default { ${code} };`);
    assertEquals(sourceOf(object.function, WHAT), code);
  }
});

Deno.test("The message has the name of the function", () => {
  const error = assertThrows(() => sourceOf(Math.max as any, WHAT), TypeError);
  assertStringIncludes(error.message, "function max");
  class Counter {
    bump() {}
  }
  const { message } = assertThrows(
    () => sourceOf(new Counter().bump, WHAT),
    TypeError,
  );
  assertEquals(
    message,
    "Cannot submit a job as the source of function bump cannot be sent: a method belongs to its object, which stays here: write it as an arrow function, or export a function from a module",
  );
});

Deno.test("A source is read once for a function, whatever becomes of its toString", () => {
  const fn = () => 42;
  const source = sourceOf(fn, WHAT);
  fn.toString = () => "evil";
  assertStrictEquals(sourceOf(fn, WHAT), source);
});

Deno.test("No text breaks the scanner", () => {
  fc.assert(
    fc.property(fc.string({ unit: "binary" }), (text) => {
      refusedKind(text, "plain");
      refusedKind(`async ${text}`, "async");
    }),
  );
});

Deno.test("White space and comments between the tokens change nothing", () => {
  const gap = fc.array(
    fc.constantFrom(
      " ",
      "\n",
      "\t",
      "\u2028",
      "\ufeff",
      "/* => ( function */",
      "/***/",
      "// => async\n",
      "//\r",
    ),
    { minLength: 1 },
  ).map((parts) => parts.join(""));
  const heads: [readonly string[], string | null][] = [
    [["async", "a", "=>", "1"], null],
    [["a", "=>", "1"], null],
    [["async", "function", "f", "(", ")", "{}"], null],
    [["function", "*", "f", "(", ")", "{}"], null],
    [["async", "m", "(", ")", "{}"], "method"],
    [["get", "m", "(", ")", "{}"], "getter or setter"],
    [["m", "(", ")", "{}"], "method"],
    [["class", "A", "{}"], "class"],
  ];
  fc.assert(
    fc.property(fc.constantFrom(...heads), gap, ([tokens, kind], space) => {
      assertEquals(refusedKind(tokens.join(space), "plain"), kind);
    }),
  );
});
