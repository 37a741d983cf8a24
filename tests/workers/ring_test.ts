/**
 * The ring: frames come out as they went in, whatever their lengths and wherever they lie.
 *
 * @module
 */
import { assert, assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { ringBytes, RingReader, RingWriter } from "../../src/workers/ring.ts";

const WORDS = 16;

interface Ends {
  readonly buffer: SharedArrayBuffer;
  readonly writer: RingWriter;
  readonly reader: RingReader;
}

/** A ring whose counts begin at `start`, as if so many words had gone through. */
function openRing(words = WORDS, start = 0): Ends {
  const buffer = new SharedArrayBuffer(8 + ringBytes(words));
  const counts = new Int32Array(buffer, 8);
  counts[0] = counts[16] = start;
  return {
    buffer,
    writer: new RingWriter(buffer, 8, words),
    reader: new RingReader(buffer, 8, words),
  };
}

/** Writes a frame of `length` bytes, each `fill`. Returns whether there was room. */
function write(writer: RingWriter, length: number, fill: number): boolean {
  for (const at of [writer.open(), writer.reopen()]) {
    if (at < 0 || at + length > writer.limit) continue;
    writer.bytes.fill(fill, at, at + length);
    writer.commit(at + length);
    return true;
  }
  return false;
}

/** Reads the next frame; null if there is none. */
function read(reader: RingReader): number[] | null {
  if (!reader.next()) return null;
  return [...reader.bytes.subarray(reader.start, reader.end)];
}

Deno.test("frames come out in order, and the rest of the ring is skipped where one does not fit", () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.nat(40), fc.boolean()), { maxLength: 200 }),
      fc.constantFrom(0, 2 ** 31 - 20, -20, -(2 ** 31)),
      (steps, start) => {
        const { writer, reader } = openRing(WORDS, start);
        const queue: number[][] = [];
        let fill = 0;
        for (const [length, isWrite] of steps) {
          if (!isWrite) assertEquals(read(reader), queue.shift() ?? null);
          else if (write(writer, length, ++fill & 255)) {
            queue.push(new Array(length).fill(fill & 255));
          } else if (queue.length === 0) {
            read(reader); // gives the room of the last frame back
            assertEquals(write(writer, length % 28, fill & 255), true);
            queue.push(new Array(length % 28).fill(fill & 255));
          }
          assertEquals(reader.isEmpty, queue.length === 0);
        }
        while (queue.length > 0) assertEquals(read(reader), queue.shift()!);
        assertEquals(read(reader), null);
      },
    ),
    { numRuns: 500 },
  );
});

Deno.test("an empty ring takes a frame of all its words, a full one takes none", () => {
  const { writer, reader } = openRing();
  assertEquals(write(writer, WORDS * 4 - 4, 1), true);
  assertEquals([writer.open(), writer.reopen()], [-1, -1]);
  assertEquals(read(reader)!.length, WORDS * 4 - 4);
  assertEquals(writer.open(), -1, "the frame is still being read");
  assertEquals(read(reader), null);
  assertEquals(write(writer, WORDS * 4 - 4, 1), true);
});

Deno.test("a frame that is not committed did not happen", () => {
  const { writer, reader } = openRing();
  writer.bytes.fill(9, writer.open());
  assert(reader.isEmpty);
  write(writer, 3, 1);
  assertEquals(read(reader), [1, 1, 1]);
});

Deno.test("next() leaves frames behind the given point", () => {
  const { writer, reader } = openRing();
  write(writer, 1, 1);
  const { written } = reader;
  write(writer, 1, 2);
  assertEquals(reader.next(written), true);
  assertEquals(reader.next(written), false);
  assertEquals(read(reader), [2]);
});

for (const length of [-2, 61, 2 ** 31 - 1, 9]) {
  Deno.test(`next() refuses a frame of ${length} bytes where there cannot be one`, () => {
    const { buffer, writer, reader } = openRing();
    write(writer, 4, 1);
    new Int32Array(buffer, 8)[64] = length;
    assertThrows(
      () => reader.next(),
      RangeError,
      `Cannot read a frame: its length is ${length}`,
    );
  });
}

function keepAlive(): Disposable {
  const timer = setInterval(() => {}, 1e9);
  return { [Symbol.dispose]: () => clearInterval(timer) };
}

Deno.test("a sleep ends by a frame, by a ring without one, or by the reader itself", async () => {
  const { writer, reader } = openRing();
  using _alive = keepAlive(); // a sleep does not keep the process alive
  for (
    const wake of [
      () => write(writer, 1, 1),
      () => writer.ring(),
      () => reader.wakeUp(),
    ]
  ) {
    while (reader.next());
    const sleep = reader.sleep();
    assert(sleep !== null);
    wake();
    await sleep;
  }
});

Deno.test("there is no sleep, and no blocking, while there are frames", () => {
  const { writer, reader } = openRing();
  write(writer, 1, 1);
  assertEquals(reader.sleep(), null);
  reader.block(1e9);
  assertEquals(read(reader), [1]);
});

Deno.test("blocking ends when the time is over", () => {
  const { reader } = openRing();
  reader.block(1);
  assert(reader.isEmpty);
});

Deno.test("roomWanted() tells once", () => {
  const { writer, reader } = openRing();
  assertEquals(reader.roomWanted(), false);
  writer.wantRoom();
  assertEquals(reader.roomWanted(), true);
  assertEquals(reader.roomWanted(), false);
});

for (const start of [0, -1, 2 ** 31 - 1, -(2 ** 31)]) {
  Deno.test(`a frame belongs to the end that takes over, or to the one before, counted from ${start}`, () => {
    const { buffer, writer, reader } = openRing(WORDS, start);
    assert(write(writer, 4, 1) && write(writer, 4, 2) && write(writer, 4, 3));
    assertEquals(read(reader), [1, 1, 1, 1]);
    reader.release();
    assertEquals(read(reader), [2, 2, 2, 2]); // read, and not taken
    const heir = new RingReader(buffer, 8, WORDS);
    heir.takeOver();
    assertThrows(() => reader.release(), Error, "the ring was taken over");
    assertEquals(read(heir), [2, 2, 2, 2]);
    assertEquals(read(heir), [3, 3, 3, 3]);
    assertEquals(read(heir), null);
  });
}
