/**
 * Frames on a stream of bytes: whatever the parts in which they come, the same frames; and nothing but frames.
 *
 * @module
 */
import { assertEquals, assertThrows } from "@std/assert";
import {
  FrameReader,
  HEADER_BYTES,
  writeHeader,
} from "../../src/workers/frames.ts";

const MAX = 1_000_000;

function frameOf(kind: number, id: number, body: Uint8Array): Uint8Array {
  const frame = new Uint8Array(HEADER_BYTES + body.length);
  writeHeader(frame, kind, id, body.length);
  frame.set(body, HEADER_BYTES);
  return frame;
}

function join(...parts: readonly Uint8Array[]): Uint8Array {
  return new Uint8Array(parts.flatMap((part) => [...part]));
}

type Found = readonly [kind: number, id: number, body: number[]];

function readerOf(found: Found[], max: number = MAX): FrameReader {
  return new FrameReader(
    max,
    (kind, id, body) => found.push([kind, id, [...body]]),
  );
}

/** Pushes parts that are overwritten afterwards, as the buffer of a read is. */
function push(reader: FrameReader, part: Uint8Array): void {
  const lent = part.slice();
  reader.push(lent);
  lent.fill(0xee);
}

const BODY = new Uint8Array([1, 2, 3, 250]);
const STREAM = join(
  frameOf(1, 7, BODY),
  frameOf(2, 2 ** 53 - 1, new Uint8Array(0)),
  frameOf(255, 0.5, new Uint8Array([9])),
);
const FRAMES: readonly Found[] = [
  [1, 7, [1, 2, 3, 250]],
  [2, 2 ** 53 - 1, []],
  [255, 0.5, [9]],
];

Deno.test("frames come out of any two parts", () => {
  for (let at = 0; at <= STREAM.length; at++) {
    const found: Found[] = [];
    const reader = readerOf(found);
    push(reader, STREAM.subarray(0, at));
    push(reader, STREAM.subarray(at));
    assertEquals(found, FRAMES, `split at ${at}`);
    assertEquals(reader.isPartial, false);
  }
});

Deno.test("frames come out of any three parts", () => {
  for (let one = 0; one <= STREAM.length; one++) {
    for (let two = one; two <= STREAM.length; two++) {
      const found: Found[] = [];
      const reader = readerOf(found);
      push(reader, STREAM.subarray(0, one));
      push(reader, STREAM.subarray(one, two));
      push(reader, STREAM.subarray(two));
      assertEquals(found.length, 3, `split at ${one} and ${two}`);
      assertEquals(found, FRAMES);
    }
  }
});

Deno.test("frames come out of single bytes, each as soon as it is complete", () => {
  const found: Found[] = [];
  const reader = readerOf(found);
  const ends: number[] = [];
  STREAM.forEach((byte, at) => {
    const before = found.length;
    push(reader, new Uint8Array([byte]));
    if (found.length > before) ends.push(at + 1);
  });
  assertEquals(found, FRAMES);
  assertEquals(ends, [20, 36, 53]);
});

Deno.test("a long frame comes out of parts of any size", () => {
  const body = new Uint8Array(300_000).map((_, at) => at % 251);
  const text = body.join();
  const stream = join(frameOf(3, 1, body), frameOf(4, 2, BODY));
  for (const size of [1_000, 65_536, 65_537, 299_999, 300_015, 300_017]) {
    const found: Found[] = [];
    const reader = readerOf(found);
    for (let at = 0; at < stream.length; at += size) {
      push(reader, stream.subarray(at, at + size));
    }
    assertEquals(found.length, 2, `parts of ${size}`);
    assertEquals(found[0]![2].join() === text, true);
    assertEquals(found[1], [4, 2, [...BODY]]);
  }
});

Deno.test("a frame that is announced and not sent is known to be partial", () => {
  for (let count = 1; count < 20; count++) {
    const found: Found[] = [];
    const reader = readerOf(found);
    push(reader, STREAM.subarray(0, count));
    assertEquals(reader.isPartial, true, `${count} bytes`);
    assertEquals(found, []);
  }
});

Deno.test("bytes that are no frame are refused at the first that differs", () => {
  for (let at = 0; at < 3; at++) {
    const garbage = STREAM.slice();
    garbage[at] = 0x21;
    const reader = readerOf([]);
    push(reader, garbage.subarray(0, at));
    const error = assertThrows(
      () => push(reader, garbage.subarray(at, at + 1)),
      RangeError,
      "Cannot read a frame: it begins with bytes",
    );
    assertEquals(error.message.includes("33"), true);
  }
  assertThrows(
    () => push(readerOf([]), new TextEncoder().encode("Hello, world!\n")),
    RangeError,
    "72, 101, 108",
  );
});

Deno.test("frames before garbage come out", () => {
  const found: Found[] = [];
  const reader = readerOf(found);
  const stream = join(STREAM, new TextEncoder().encode("Hello"));
  assertThrows(() => push(reader, stream), RangeError);
  assertEquals(found, FRAMES);
});

Deno.test("a frame above the limit is refused by its header, in one part or several", () => {
  const header = new Uint8Array(HEADER_BYTES);
  writeHeader(header, 1, 1, 11);
  const message = "as it may have 10 bytes at most: received one of 11 bytes";
  assertThrows(() => push(readerOf([], 10), header), RangeError, message);
  const reader = readerOf([], 10);
  push(reader, header.subarray(0, 15));
  assertThrows(() => push(reader, header.subarray(15)), RangeError, message);
});

Deno.test("a frame of the limit comes out", () => {
  const found: Found[] = [];
  push(readerOf(found, 4), frameOf(1, 1, BODY));
  assertEquals(found.length, 1);
});

Deno.test("an announced length takes no memory before its bytes come", () => {
  const header = new Uint8Array(HEADER_BYTES);
  writeHeader(header, 1, 1, 0xffff_ffff);
  const reader = new FrameReader(0xffff_ffff, () => {});
  push(reader, header);
  push(reader, new Uint8Array(100));
  assertEquals(reader.isPartial, true);
});
