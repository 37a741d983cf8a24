/**
 * A reader on a descriptor: the loop says when there is something to read.
 *
 * A pipe stands in for anything that has a descriptor. Readiness is a hint: the
 * reader has to expect that there is nothing to read. Needs --allow-ffi.
 */

import { newEventLoop, Pipe } from "@rota/rota";
import { assertEquals } from "@std/assert";

await using loop = newEventLoop();
using pipe = Pipe.open();
const decoder = new TextDecoder();
const encoder = new TextEncoder();
const buffer = new Uint8Array(1_024);
let received = "";

function onReadable(): void {
  const count = pipe.read(buffer);
  if (count === null) return; // nothing there after all
  if (count === 0) { // the end
    loop.removeReader(pipe.readFd);
    loop.stop();
    return;
  }
  const text = decoder.decode(buffer.subarray(0, count), { stream: true });
  console.log(`read ${count} bytes: ${JSON.stringify(text)}`);
  received += text;
}

loop.addReader(pipe.readFd, onReadable);
loop.callLater(10, () => pipe.write(encoder.encode("hello, ")));
loop.callLater(20, () => pipe.write(encoder.encode("world")));
loop.callLater(30, () => pipe.closeWrite());

await loop.runForever();
assertEquals(received, "hello, world");
