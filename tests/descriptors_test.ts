/**
 * Readers and writers of a loop, on the hosts that have them, and what those
 * without say.
 *
 * @module
 */

import {
  assert,
  assertEquals,
  assertMatch,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import { AsyncLocalStorage } from "node:async_hooks";
import { closeSync, openSync } from "node:fs";
import {
  DescriptorsUnsupportedError,
  type EventLoop,
  newEventLoop,
  OsError,
  Pipe,
} from "../mod.ts";
import { collectReports, runTurns } from "./support/loops.ts";
import { runProgram } from "./support/program.ts";

const BYTE = new Uint8Array([7]);
const buffer = new Uint8Array(65_536);

/** Writes until nothing more fits. */
function fill(pipe: Pipe): void {
  while (pipe.write(buffer) !== null);
}

/** Reads until nothing is left. */
function drain(pipe: Pipe): void {
  while (pipe.read(buffer) !== null);
}

/** Opens pipes until one reads from `fd`, a number that is free. */
function openWithReadFd(fd: number, stack: DisposableStack): Pipe {
  for (let attempt = 0; attempt < 100; attempt++) {
    const pipe = stack.use(Pipe.open());
    if (pipe.readFd === fd) return pipe;
  }
  throw new Error(`Descriptor ${fd} was never given out again`);
}

for (const host of ["native", "poll"] as const) {
  const test = (name: string, body: (loop: EventLoop) => Promise<void>) =>
    Deno.test(`${name} (${host})`, async () => {
      const loop = newEventLoop({ host });
      try {
        await body(loop);
      } finally {
        await loop.close();
      }
    });

  test("Cancelling the handle of a reader ends the watching, and leaves the writer alone", async (loop) => {
    using pipe = Pipe.open();
    using full = Pipe.open();
    pipe.write(BYTE);
    let reads = 0;
    const handle = loop.addReader(pipe.readFd, () => reads++);
    loop.addWriter(full.writeFd, () => {});
    assertEquals(loop.stats().descriptors, 2);
    handle.cancel();
    assertEquals(loop.stats().descriptors, 1);
    assertEquals(loop.removeReader(pipe.readFd), false);
    await runTurns(loop, 3);
    assertEquals(reads, 0);
    handle.cancel();
    const replaced = loop.addReader(pipe.readFd, () => reads++);
    loop.addReader(pipe.readFd, () => {
      reads += 10;
      loop.stop();
    });
    replaced.cancel(); // replaced already, so that it must not end its successor
    await loop.runForever();
    assertEquals(reads, 10);
  });

  test("A reader runs with its arguments when bytes are there, and not before", async (loop) => {
    using pipe = Pipe.open();
    const log: unknown[] = [];
    loop.addReader(
      pipe.readFd,
      (...args: unknown[]) => {
        log.push(args, pipe.read(buffer), buffer[0]);
        loop.stop();
      },
      "a",
      2,
    );
    await runTurns(loop, 3);
    assertEquals(log, []);
    pipe.write(BYTE);
    await loop.runForever();
    assertEquals(log, [["a", 2], 1, 7]);
    assertEquals(loop.removeReader(pipe.readFd), true);
  });

  test("A loop that waits is woken by a descriptor", async (loop) => {
    using pipe = Pipe.open();
    loop.addReader(pipe.readFd, () => {
      pipe.read(buffer);
      loop.stop();
    });
    const ended = loop.runForever();
    setTimeout(() => pipe.write(BYTE), 2);
    await ended;
    loop.removeReader(pipe.readFd);
  });

  test("A reader that is added while the loop waits is seen", async (loop) => {
    using pipe = Pipe.open();
    pipe.write(BYTE);
    const ended = loop.runForever();
    setTimeout(() => loop.addReader(pipe.readFd, () => loop.stop()), 2);
    await ended;
    loop.removeReader(pipe.readFd);
  });

  test("A writer runs in each turn while there is room, and again after the pipe was drained", async (loop) => {
    using pipe = Pipe.open();
    let runs = 0;
    loop.addWriter(pipe.writeFd, () => {
      if (++runs === 3) loop.stop();
    });
    await loop.runForever();
    assertEquals(runs, 3);
    fill(pipe);
    await runTurns(loop, 3);
    assertEquals(runs, 3);
    drain(pipe);
    await runTurns(loop);
    assertEquals(runs, 4);
    assertEquals(loop.removeWriter(pipe.writeFd), true);
  });

  test("Readiness is level-triggered: what was left unread is reported again", async (loop) => {
    using pipe = Pipe.open();
    pipe.write(new Uint8Array([1, 2, 3]));
    const one = new Uint8Array(1);
    const read: number[] = [];
    loop.addReader(pipe.readFd, () => {
      pipe.read(one);
      read.push(one[0]!);
      if (read.length === 3) loop.stop();
    });
    await loop.runForever();
    assertEquals(read, [1, 2, 3]);
    loop.removeReader(pipe.readFd);
  });

  test("The end of a pipe makes its reader ready, and a broken one its writer", async (loop) => {
    using pipe = Pipe.open();
    pipe.closeWrite();
    let bytes: number | null = -1;
    loop.addReader(pipe.readFd, () => {
      bytes = pipe.read(buffer);
      loop.stop();
    });
    await loop.runForever();
    assertEquals(bytes, 0);
    loop.removeReader(pipe.readFd);
    using broken = Pipe.open();
    fill(broken);
    broken.closeRead();
    loop.addWriter(broken.writeFd, () => {
      assertThrows(() => broken.write(BYTE), OsError);
      loop.stop();
    });
    await loop.runForever();
    loop.removeWriter(broken.writeFd);
  });

  test("A second reader for the same descriptor replaces the first, whose handle is cancelled", async (loop) => {
    using pipe = Pipe.open();
    pipe.write(BYTE);
    const log: string[] = [];
    const first = loop.addReader(pipe.readFd, () => log.push("first"));
    const second = loop.addReader(
      { fd: pipe.readFd },
      () => log.push("second"),
    );
    assertEquals([first.cancelled(), second.cancelled()], [true, false]);
    assertEquals(loop.stats().descriptors, 1);
    await runTurns(loop);
    assertEquals(log, ["second"]);
    assertEquals(loop.removeReader(pipe.readFd), true);
    assertEquals(loop.removeReader(pipe.readFd), false);
    assertEquals(second.cancelled(), true);
  });

  test("Removing is synchronous: what is queued in the same turn does not run either", async (loop) => {
    using a = Pipe.open();
    using b = Pipe.open();
    const log: string[] = [];
    for (const [pipe, other, name] of [[a, b, "a"], [b, a, "b"]] as const) {
      pipe.write(BYTE);
      loop.addReader(pipe.readFd, () => {
        log.push(name);
        loop.removeReader(other.readFd);
        loop.removeReader(pipe.readFd);
      });
    }
    await runTurns(loop, 2);
    assertEquals(log.length, 1, "whichever came first has removed the other");
    assertEquals(loop.stats().descriptors, 0);
  });

  test("A reader and a writer of one descriptor are apart", async (loop) => {
    using pipe = Pipe.open();
    const log: string[] = [];
    loop.addReader(pipe.writeFd, () => log.push("never"));
    loop.addWriter(pipe.writeFd, () => log.push("writable"));
    assertEquals(loop.stats().descriptors, 1);
    await runTurns(loop);
    assertEquals(log, ["writable"]);
    assertEquals(loop.removeWriter(pipe.writeFd), true);
    assertEquals(loop.stats().descriptors, 1);
    await runTurns(loop);
    assertEquals(log, ["writable"]);
    assertEquals(loop.removeReader(pipe.writeFd), true);
    assertEquals(loop.removeWriter(pipe.writeFd), false);
  });

  test("A reader that throws is reported and stays", async (loop) => {
    using pipe = Pipe.open();
    pipe.write(BYTE);
    const reports = collectReports(loop);
    let runs = 0;
    const handle = loop.addReader(pipe.readFd, function broken() {
      runs++;
      throw new Error("no");
    });
    await runTurns(loop, 2);
    assertEquals(runs, 2);
    assertEquals(reports.map(({ message }) => message), [
      'Exception in callback "broken"',
      'Exception in callback "broken"',
    ]);
    assertStrictEquals(reports[0]!.handle, handle);
    loop.removeReader(pipe.readFd);
  });

  test("Descriptors' callbacks run behind what is ready and before timers that are due", async (loop) => {
    using pipe = Pipe.open();
    pipe.write(BYTE);
    const log: string[] = [];
    loop.callLater(-1, () => log.push("timer"));
    loop.addReader(pipe.readFd, () => log.push("reader"));
    loop.callSoon(() => log.push("soon"));
    await runTurns(loop);
    assertEquals(log, ["soon", "reader", "timer"]);
    loop.removeReader(pipe.readFd);
  });

  test("A busy loop sees its descriptors within a bounded number of turns", async (loop) => {
    using pipe = Pipe.open();
    let turns = 0;
    let seenAfter = -1;
    const busy = () => {
      turns++;
      if (turns === 100) pipe.write(BYTE);
      if (seenAfter < 0 && turns < 100_000) loop.callSoon(busy);
      else loop.stop();
    };
    loop.addReader(pipe.readFd, () => {
      seenAfter = turns - 100;
      loop.removeReader(pipe.readFd);
    });
    loop.callSoon(busy);
    await loop.runForever();
    assert(seenAfter >= 0 && seenAfter <= 17, `${seenAfter} turns`);
  });

  test("A closed descriptor is refused, and the loop works on", async (loop) => {
    using open = Pipe.open();
    loop.addReader(open.readFd, () => {}); // what the loop opens is open from here on
    await runTurns(loop);
    loop.removeReader(open.readFd);
    const pipe = Pipe.open();
    const { readFd } = pipe;
    pipe.close();
    const error = assertThrows(() => loop.addReader(readFd, () => {}), OsError);
    assertEquals(error.code, "EBADF");
    assertEquals(loop.stats().descriptors, 0);
    using other = Pipe.open();
    other.write(BYTE);
    loop.addReader(other.readFd, () => loop.stop());
    await loop.runForever();
    loop.removeReader(other.readFd);
  });

  test("A refused reader leaves the one that was there", async (loop) => {
    using pipe = Pipe.open();
    pipe.write(BYTE);
    let runs = 0;
    loop.addReader(pipe.readFd, () => runs++);
    assertThrows(() => loop.addReader(pipe.readFd, "no" as never), TypeError);
    await runTurns(loop);
    assertEquals(runs, 1);
    loop.removeReader(pipe.readFd);
  });

  test("A regular file, which epoll refuses, is always ready", async (loop) => {
    const path = await Deno.makeTempFile();
    const fd = openSync(path, "r+");
    try {
      const log: string[] = [];
      loop.addReader(fd, () => log.push("readable"));
      loop.addWriter(fd, () => log.push("writable"));
      await runTurns(loop);
      assertEquals(log.sort(), ["readable", "writable"]);
      const before = log.length;
      loop.callLater(1, () => loop.stop());
      await loop.runForever();
      assert(log.length > before, "it is ready also while a timer is pending");
      loop.removeReader(fd);
      loop.removeWriter(fd);
    } finally {
      closeSync(fd);
      await Deno.remove(path);
    }
  });

  test("A descriptor number that was closed and reused never gets the old callback", async (loop) => {
    using stack = new DisposableStack();
    const old = Pipe.open();
    const fd = old.readFd;
    const log: string[] = [];
    loop.addReader(fd, () => log.push("old reader"));
    await runTurns(loop);
    old.close(); // without removeReader(): a mistake, but nobody else must suffer
    await runTurns(loop);
    const reused = openWithReadFd(fd, stack);
    reused.write(BYTE);
    loop.addReader(fd, () => log.push("new reader"));
    await runTurns(loop, 2);
    assertEquals(log.includes("old reader"), false);
    assertEquals(log[0], "new reader");
    loop.removeReader(fd);
  });

  test("close() of the loop removes all readers and writers", async (loop) => {
    using pipe = Pipe.open();
    const handle = loop.addReader(pipe.readFd, () => {});
    await runTurns(loop);
    await loop.close();
    assertEquals(handle.cancelled(), true);
    assertEquals(loop.stats().descriptors, 0);
    await using other = newEventLoop({ host });
    pipe.write(BYTE);
    other.addReader(pipe.readFd, () => other.stop());
    await other.runForever();
    other.removeReader(pipe.readFd);
  });

  test("Two loops may watch the same descriptor", async (loop) => {
    await using other = newEventLoop({ host });
    using pipe = Pipe.open();
    pipe.write(BYTE);
    for (const each of [loop, other]) {
      each.addReader(pipe.readFd, () => each.stop());
    }
    await Promise.all([loop.runForever(), other.runForever()]);
    for (const each of [loop, other]) each.removeReader(pipe.readFd);
  });

  test("A thousand pipes pass a byte around", async (loop) => {
    using stack = new DisposableStack();
    const pipes = Array.from({ length: 300 }, () => stack.use(Pipe.open()));
    let hops = 0;
    for (const [index, pipe] of pipes.entries()) {
      loop.addReader(pipe.readFd, () => {
        assertEquals(pipe.read(buffer), 1);
        hops++;
        if (hops === 1_000) loop.stop();
        else pipes[(index + 1) % pipes.length]!.write(BYTE);
      });
    }
    pipes[0]!.write(BYTE);
    await loop.runForever();
    assertEquals(hops, 1_000);
    for (const pipe of pipes) loop.removeReader(pipe.readFd);
  });

  Deno.test(`Readers run in the empty async context, or in that of who added them (${host})`, async () => {
    const storage = new AsyncLocalStorage<string>();
    for (
      const [asyncContext, expected] of [["empty", undefined], [
        "inherit",
        "adder",
      ]] as const
    ) {
      await using loop = newEventLoop({ host, asyncContext });
      using pipe = Pipe.open();
      const seen: (string | undefined)[] = [];
      const ended = storage.run("runner", () => loop.runForever());
      await new Promise((resolve) => setImmediate(resolve));
      storage.run("adder", () =>
        loop.addReader(pipe.readFd, () => {
          seen.push(storage.getStore());
          pipe.read(buffer);
          loop.stop();
        }));
      setTimeout(() => storage.run("writer", () => pipe.write(BYTE)), 2);
      await ended;
      loop.removeReader(pipe.readFd);
      assertEquals(seen, [expected]);
    }
  });

  Deno.test(`Process lifetime: a reader keeps it alive until it is removed (${host})`, async () => {
    const { code, killed, stdout, stderr } = await runProgram(`
      import { newEventLoop, Pipe } from "@rota/rota";
      const loop = newEventLoop({ host: "${host}" });
      const pipe = Pipe.open();
      loop.addReader(pipe.readFd, () => {
        console.log("read");
        loop.removeReader(pipe.readFd);
      });
      loop.runUntilComplete(loop.createFuture());
      Deno.unrefTimer(setTimeout(() => pipe.write(new Uint8Array(1)), 80));
    `);
    assertEquals({ code, killed, stdout, stderr }, {
      code: 0,
      killed: false,
      stdout: "read\n",
      stderr: "",
    });
  });
}

Deno.test("The portable host says what to grant for descriptors, the virtual one that it has none", async () => {
  using pipe = Pipe.open();
  await using portable = newEventLoop({ host: "portable" });
  await using virtual = newEventLoop({ host: "virtual" });
  for (const add of ["addReader", "addWriter"] as const) {
    const error = assertThrows(
      () => portable[add](pipe.readFd, () => {}),
      DescriptorsUnsupportedError,
    );
    assertMatch(error.message, /--allow-ffi/);
    assertThrows(
      () => virtual[add](pipe.readFd, () => {}),
      DescriptorsUnsupportedError,
      "virtual host",
    );
  }
  assertEquals(portable.removeReader(pipe.readFd), false);
  assertEquals(portable.stats().descriptors, 0);
  portable.callSoon(() => portable.stop());
  await portable.runForever();
});

Deno.test("Without FFI permission addReader() says what to grant, and nothing is asked", async () => {
  const { code, stdout, stderr } = await runProgram(
    `
    import { newEventLoop } from "@rota/rota";
    const loop = newEventLoop();
    console.log(loop.stats().host);
    for (const attempt of [
      () => loop.addReader(0, () => {}),
      () => newEventLoop({ host: "native" }),
      () => newEventLoop({ host: "poll" }),
    ]) {
      try {
        attempt();
      } catch (error) {
        console.log(error.name, error.message.includes("--allow-ffi"));
      }
    }
    await loop.close();
  `,
    { flags: [] },
  );
  assertEquals({ code, stdout, stderr }, {
    code: 0,
    stdout: "portable\n" + "DescriptorsUnsupportedError true\n".repeat(3),
    stderr: "",
  });
});
