/**
 * Permissions of processes as flags of `deno run`.
 *
 * @module
 */
import { assertEquals, assertThrows } from "@std/assert";
import {
  checkFlags,
  checkPermissions,
  permissionFlags,
  type ProcessPermissions,
} from "../../src/workers/permission_flags.ts";

const OWN = { read: ["/dev/fd/3"], write: ["/dev/fd/4"] };

function flagsOf(permissions: ProcessPermissions): string[] {
  return permissionFlags(permissions, OWN);
}

Deno.test("without permissions a process has its pipes, and does not ask", () => {
  assertEquals(flagsOf({}), [
    "--no-prompt",
    "--allow-read=/dev/fd/3",
    "--allow-write=/dev/fd/4",
  ]);
});

Deno.test("true is all, false is nothing, a list is what is in it", () => {
  const flags = flagsOf({
    read: true,
    write: ["/tmp", new URL("file:///a%20b")],
    net: ["example.com:443"],
    env: true,
    run: false,
    ffi: [],
    sys: ["hostname"],
    import: ["jsr.io"],
  });
  assertEquals(flags, [
    "--no-prompt",
    "--allow-read",
    "--allow-write=/tmp,/a b,/dev/fd/4",
    "--allow-net=example.com:443",
    "--allow-env",
    "--allow-sys=hostname",
    "--allow-import=jsr.io",
  ]);
});

Deno.test("an empty list never becomes a flag without a list", () => {
  const flags = permissionFlags(
    { read: [], write: [], net: [], env: [], run: [], ffi: [], sys: [] },
    { read: [], write: [] },
  );
  assertEquals(flags, ["--no-prompt"]);
});

Deno.test("nothing to import is denied, as some hosts are allowed without a flag", () => {
  assertEquals(flagsOf({ import: false }).at(-1), "--deny-import");
  assertEquals(flagsOf({ import: [] }).at(-1), "--deny-import");
  assertEquals(flagsOf({ import: true }).at(-1), "--allow-import");
});

Deno.test("what no flag can carry is refused: commas and zero characters", () => {
  const wrong: [ProcessPermissions, received: string][] = [
    [{ read: ["/a,/b"] }, '"/a,/b"'],
    [{ env: ["A,B"] }, '"A,B"'],
    [{ net: ["a.example,b.example"] }, '"a.example,b.example"'],
    [{ write: [new URL("file:///a,b")] }, '"file:///a,b"'],
    [{ write: [new URL("file:///a%2Cb")] }, '"file:///a%2Cb"'],
    [{ run: ["sh\0x"] }, '"sh\\u0000x"'],
    [{ ffi: [new URL("file:///a%00b")] }, '"file:///a%00b"'],
  ];
  for (const [permissions, received] of wrong) {
    const [name] = Object.keys(permissions);
    assertThrows(
      () => checkPermissions(permissions, "create a process pool"),
      TypeError,
      `Cannot create a process pool as permissions.${name} must hold neither commas nor zero characters, which no flag can carry: received ${received}`,
    );
  }
});

Deno.test("a URL with what is no escape stays as it is", () => {
  const flags = flagsOf({ read: [new URL("file:///a%zz")] });
  assertEquals(flags[1], "--allow-read=/a%zz,/dev/fd/3");
});

Deno.test("permissions of a wrong type are refused", () => {
  const check = (permissions: unknown) => () =>
    checkPermissions(permissions, "create a process pool");
  assertThrows(
    check(null),
    TypeError,
    "Cannot create a process pool as permissions must be an object: received null",
  );
  assertThrows(check("all"), TypeError, 'received "all"');
  assertThrows(
    check({ hrtime: true }),
    TypeError,
    'as permissions may have "read", "write"',
  );
  for (const grant of ["/tmp", 1, null, [1], { a: 1 }]) {
    assertThrows(
      check({ read: grant }),
      TypeError,
      "as permissions.read must be a boolean or a list of strings and URLs: received",
    );
  }
  check({ read: undefined, net: true })();
});

Deno.test("items of lists that the runtime would refuse are refused", () => {
  const check = (permissions: unknown) => () =>
    checkPermissions(permissions, "create a process pool");
  assertThrows(
    check({ net: ["a", ""] }),
    TypeError,
    'permissions.net must hold no empty strings: received ""',
  );
  assertThrows(
    check({ read: [new URL("https://x/a")] }),
    TypeError,
    "URLs of permissions.read must be those of files: received https://x/a",
  );
  assertThrows(
    check({ net: [new URL("https://x/")] }),
    TypeError,
    "permissions.net must hold strings only: received https://x/",
  );
  check({ read: [new URL("file:///a")], run: ["a"], net: ["x:80"] })();
});

Deno.test("flags that give or take permissions are refused, others are not", () => {
  const check = (flags: unknown) => () =>
    checkFlags(flags, "create a process pool");
  for (const letter of "ARWINESP") {
    assertThrows(check([`-${letter}`]), TypeError, "permissions: received");
    assertThrows(check(["-q", `-${letter}=a,b`]), TypeError, `-${letter}=a,b`);
    assertThrows(check([`-q${letter}`]), TypeError, `"-q${letter}"`);
  }
  for (
    const flag of [
      "--allow-all",
      "--allow-net=example.com",
      "--deny-read",
      "--deny-read=/a",
      "--ignore-env",
      "--permission-set",
      "--permission-set=all",
    ]
  ) assertThrows(check([flag]), TypeError, `received "${flag}"`);
  assertThrows(
    check("-q"),
    TypeError,
    'flags must be a list of strings: received "-q"',
  );
  assertThrows(check([1]), TypeError, "flags must be a list of strings");
  check([
    "-q",
    "-cREAD.json",
    "-LERROR",
    "-r=NPM",
    "--config",
    "READ.json",
    "--cached-only",
    "--v8-flags=--allow-natives-syntax",
    "--no-prompt",
  ])();
});
