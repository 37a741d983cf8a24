import { assert, assertEquals, assertThrows } from "@std/assert";
import { OsError } from "../src/errors.ts";
import { borrowPipeLibc } from "../src/host/libc_pipe.ts";
import { Pipe } from "../src/host/pipe.ts";

const posix = { ignore: Deno.build.os === "windows" };

Deno.test("Pipe carries bytes in order", posix, () => {
  using pipe = Pipe.open();
  assertEquals(pipe.write(new Uint8Array([1, 2, 3])), 3);
  assertEquals(pipe.write(new Uint8Array([4])), 1);
  const buffer = new Uint8Array(3);
  assertEquals(pipe.read(buffer), 3);
  assertEquals([...buffer], [1, 2, 3]);
  assertEquals(pipe.read(buffer), 1);
  assertEquals(buffer[0], 4);
});

Deno.test(
  "Pipe.read() returns null when there is nothing, 0 at the end",
  posix,
  () => {
    using pipe = Pipe.open();
    const buffer = new Uint8Array(8);
    assertEquals(pipe.read(buffer), null);
    pipe.write(new Uint8Array(2));
    pipe.closeWrite();
    assertEquals(pipe.read(buffer), 2);
    assertEquals(pipe.read(buffer), 0);
  },
);

Deno.test(
  "Pipe.read() reads into the part of a buffer it is given",
  posix,
  () => {
    using pipe = Pipe.open();
    pipe.write(new Uint8Array([7, 8, 9]).subarray(1));
    const buffer = new Uint8Array(4);
    assertEquals(pipe.read(buffer.subarray(1, 3)), 2);
    assertEquals([...buffer], [0, 8, 9, 0]);
  },
);

Deno.test("Pipe.read() refuses an empty buffer", posix, () => {
  using pipe = Pipe.open();
  assertThrows(() => pipe.read(new Uint8Array(0)), RangeError, "0 bytes");
});

Deno.test("Pipe.write() returns null when the pipe is full", posix, () => {
  using pipe = Pipe.open();
  const block = new Uint8Array(10_000);
  let written = 0;
  let parts = 0;
  for (;;) {
    const count = pipe.write(block);
    if (count === null) break;
    if (count < block.length) parts++;
    written += count;
  }
  assert(written >= 4_096);
  assert(parts <= 1);
  const buffer = new Uint8Array(2 * written);
  let read = 0;
  for (let count; (count = pipe.read(buffer)) !== null;) read += count;
  assertEquals(read, written);
  assertEquals(pipe.write(block.subarray(0, 1)), 1);
});

Deno.test("Pipe.write() takes no bytes as none", posix, () => {
  using pipe = Pipe.open();
  assertEquals(pipe.write(new Uint8Array(0)), 0);
  assertEquals(pipe.read(new Uint8Array(1)), null);
});

Deno.test("Pipe.write() fails with EPIPE when nobody can read", posix, () => {
  using pipe = Pipe.open();
  pipe.closeRead();
  const error = assertThrows(
    () => pipe.write(new Uint8Array(1)),
    OsError,
    "Cannot write to a pipe: ",
  );
  assertEquals([error.code, error.errno], ["EPIPE", 32]);
});

Deno.test("Pipe refuses to use an end that is closed", posix, () => {
  const pipe = Pipe.open();
  const { readFd, writeFd } = pipe;
  assert(readFd >= 0 && writeFd >= 0 && readFd !== writeFd);
  pipe.close();
  const bytes = new Uint8Array(1);
  for (
    const use of [
      () => pipe.read(bytes),
      () => pipe.write(bytes),
      () => pipe.readFd,
      () => pipe.writeFd,
    ]
  ) {
    assertEquals(assertThrows(use, OsError, "end is closed").code, "EBADF");
  }
});

Deno.test("Pipe closes each end once", posix, () => {
  const pipe = Pipe.open();
  const { readFd } = pipe;
  pipe.closeRead();
  // Takes the number that has become free: a second close would hit it.
  using other = Pipe.open();
  assertEquals(other.readFd, readFd);
  pipe.closeRead();
  pipe.close();
  pipe.close();
  pipe[Symbol.dispose]();
  assertEquals(other.write(new Uint8Array(1)), 1);
  assertEquals(other.read(new Uint8Array(1)), 1);
});

/** Whether a borrower is left: without one, each loan opens it anew. */
function isLibraryOpen(): boolean {
  const first = borrowPipeLibc();
  const { symbols } = first;
  first.release();
  const second = borrowPipeLibc();
  second.release();
  return second.symbols === symbols;
}

Deno.test(
  "Pipe closes the library with the last end of the last pipe",
  posix,
  () => {
    const other = Pipe.open();
    const pipe = Pipe.open();
    pipe.write(new Uint8Array(5));
    pipe.closeWrite();
    assertEquals(pipe.read(new Uint8Array(8)), 5);
    pipe.close();
    assert(isLibraryOpen());
    other.closeRead();
    assert(isLibraryOpen());
    other.closeWrite();
    assert(!isLibraryOpen());
  },
);

Deno.test("Pipe is not inherited by children", {
  ignore: Deno.build.os !== "linux",
}, async () => {
  using pipe = Pipe.open();
  const { stdout } = await new Deno.Command("ls", {
    args: ["-l", "/proc/self/fd"],
  }).output();
  const link = await Deno.readLink(`/proc/self/fd/${pipe.readFd}`);
  assert(link.startsWith("pipe:"));
  assert(!new TextDecoder().decode(stdout).includes(link));
});
