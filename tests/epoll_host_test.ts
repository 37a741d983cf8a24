/**
 * What is particular about epoll: numbers and files are not the same thing.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { closeSync, openSync } from "node:fs";
import { EventLoop, sleep } from "../mod.ts";
import { EpollHost } from "../src/host/epoll.ts";
import { Headstart } from "../src/host/headstart.ts";
import { type HostClient, READABLE, WRITABLE } from "../src/host/host.ts";
import { Pipe } from "../src/host/pipe.ts";
import { SeededRandom } from "../src/structures/random.ts";

const BYTE = new Uint8Array([1]);

/** An open host with a client that counts wakes. Closed by disposing it. */
class OpenHost implements HostClient, AsyncDisposable {
  readonly host = new EpollHost();
  wakes = 0;
  #woken: () => void = () => {};

  constructor() {
    this.host.open(this);
  }

  wake(): void {
    this.wakes++;
    this.#woken();
  }

  starved(): void {}
  stoodStill(): void {}

  hasOutsideWaits(): boolean {
    return false;
  }

  hasPromiseWork(): boolean {
    return false;
  }

  nextWake(begin: () => void): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#woken = resolve;
    begin();
    return promise;
  }

  /** What one `poll` finds. */
  poll(): Map<number, number> {
    const found = new Map<number, number>();
    this.host.poll((fd, events) => found.set(fd, events));
    return found;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.host.close();
  }
}

/** Lets `spanMs` pass, on another host. */
async function pass(spanMs: number): Promise<void> {
  await using witness = new OpenHost();
  const { host } = witness;
  const deadlineMs = host.now() + spanMs;
  while (host.now() < deadlineMs) {
    await witness.nextWake(() => host.park(deadlineMs, true));
  }
}

/** `dup(2)` and `close(2)`, which the library itself does not need. */
function openDup() {
  const library = Deno.dlopen("libc.so.6", {
    dup: { parameters: ["i32"], result: "i32" },
    close: { parameters: ["i32"], result: "i32" },
  });
  return {
    dup: library.symbols.dup,
    close: library.symbols.close,
    [Symbol.dispose]: () => library.close(),
  };
}

const linux = { ignore: Deno.build.os !== "linux" };

Deno.test(
  "EpollHost never reports a reused number for the old file",
  linux,
  async () => {
    await using open = new OpenHost();
    using stack = new DisposableStack();
    const old = Pipe.open();
    const { readFd } = old;
    open.host.watch(readFd, READABLE);
    old.close();
    let pipe = stack.use(Pipe.open());
    while (pipe.readFd !== readFd) pipe = stack.use(Pipe.open());
    pipe.write(BYTE);
    assertEquals(open.poll().size, 0);
    open.host.park(Infinity, true);
    await pass(2);
    assertEquals(open.wakes, 0);
    open.host.unpark();
    // The same interest as before, so that only the kernel knows the difference.
    assertEquals(open.host.watch(readFd, READABLE), false);
    assertEquals([...open.poll()], [[readFd, READABLE]]);
  },
);

Deno.test(
  "EpollHost tells pipes and files apart that share a number",
  linux,
  async () => {
    await using open = new OpenHost();
    for (let round = 0; round < 2; round++) {
      const pipe = Pipe.open();
      const fd = pipe.readFd;
      assertEquals(open.host.watch(fd, READABLE), round === 0);
      pipe.close();
      const file = openSync("/dev/null", "r");
      assertEquals(file, fd);
      assertEquals(open.host.watch(fd, READABLE), false);
      assertEquals(open.host.watch(fd, READABLE), true);
      assertEquals([...open.poll()], [[fd, READABLE]]);
      closeSync(file);
    }
  },
);

for (const forget of ["before", "after"] as const) {
  Deno.test(
    `EpollHost gets rid of a duplicated descriptor that is unwatched ${forget} it is closed`,
    linux,
    async () => {
      await using open = new OpenHost();
      using libc = openDup();
      using pipe = Pipe.open();
      using other = Pipe.open();
      const fd = libc.dup(pipe.readFd);
      open.host.watch(other.readFd, READABLE);
      open.host.watch(fd, READABLE);
      pipe.write(BYTE);
      assertEquals([...open.poll().keys()], [fd]);

      if (forget === "before") open.host.watch(fd, 0);
      libc.close(fd);
      if (forget === "after") open.host.watch(fd, 0);
      assertEquals(open.poll().size, 0);
      open.host.park(Infinity, true);
      await pass(5);
      assertEquals(open.wakes, 0);
      await open.nextWake(() => other.write(BYTE));
      assertEquals([...open.poll()], [[other.readFd, READABLE]]);
    },
  );
}

Deno.test(
  "EpollHost gets rid of a duplicated descriptor in the middle of a wait",
  linux,
  async () => {
    await using open = new OpenHost();
    using libc = openDup();
    using pipe = Pipe.open();
    using other = Pipe.open();
    const fd = libc.dup(pipe.readFd);
    open.host.watch(other.readFd, READABLE);
    open.host.watch(fd, READABLE);
    open.host.park(Infinity, true);
    await pass(2);
    libc.close(fd);
    open.host.watch(fd, 0);
    // It is still in the set, and wakes the client for nothing, once.
    await open.nextWake(() => pipe.write(BYTE));
    open.host.park(Infinity, true);
    open.host.unpark();
    assertEquals(open.poll().size, 0);
    open.host.park(Infinity, true);
    await pass(5);
    assertEquals(open.wakes, 1);
    await open.nextWake(() => other.write(BYTE));
  },
);

Deno.test(
  "EpollHost replaces its set while a call is pending on it",
  linux,
  async () => {
    await using open = new OpenHost();
    using libc = openDup();
    using pipe = Pipe.open();
    using other = Pipe.open();
    const fd = libc.dup(pipe.readFd);
    open.host.watch(fd, READABLE);
    open.host.watch(other.readFd, READABLE);
    open.host.park(Infinity, true);
    await pass(2);
    open.host.unpark(); // the call stays pending
    libc.close(fd);
    open.host.watch(fd, 0);
    pipe.write(BYTE);
    assertEquals(open.poll().size, 0);
    const deadlineMs = open.host.now() + 2;
    while (open.host.now() < deadlineMs) {
      await open.nextWake(() => open.host.park(deadlineMs, true));
    }
    await open.nextWake(() => {
      open.host.park(Infinity, true);
      other.write(BYTE);
    });
    assertEquals([...open.poll()], [[other.readFd, READABLE]]);
  },
);

Deno.test(
  "EpollHost watches the old and the new file of a number apart",
  linux,
  async () => {
    await using open = new OpenHost();
    using libc = openDup();
    using stack = new DisposableStack();
    const old = Pipe.open();
    const { readFd } = old;
    open.host.watch(readFd, READABLE);
    const kept = libc.dup(readFd); // keeps the registration alive
    old.write(BYTE);
    old.close();
    let pipe = stack.use(Pipe.open());
    while (pipe.readFd !== readFd) pipe = stack.use(Pipe.open());

    open.host.watch(readFd, READABLE);
    assertEquals(open.poll().size, 0);
    pipe.write(BYTE);
    assertEquals([...open.poll()], [[readFd, READABLE]]);
    pipe.read(new Uint8Array(1));
    assertEquals(open.poll().size, 0);
    libc.close(kept);
  },
);

Deno.test(
  "EpollHost watches a file again that came back to its number",
  linux,
  async () => {
    await using open = new OpenHost();
    using libc = openDup();
    using pipe = Pipe.open();
    pipe.write(BYTE);
    const fd = libc.dup(pipe.readFd);
    open.host.watch(fd, READABLE);
    libc.close(fd);
    open.host.watch(fd, 0);
    // The kernel has kept the registration that the host has forgotten.
    assertEquals(libc.dup(pipe.readFd), fd);
    open.host.watch(fd, READABLE);
    assertEquals([...open.poll()], [[fd, READABLE]]);
    open.host.watch(fd, 0);
    assertEquals(open.poll().size, 0);
    libc.close(fd);
  },
);

Deno.test(
  "EpollHost leaves the pending call alone when the deadline changes",
  linux,
  async () => {
    await using open = new OpenHost();
    const { host } = open;
    // Each change re-arms the timer under the same call.
    for (const spanMs of [600_000, 2, 500_000, 1, 400_000]) {
      host.park(host.now() + spanMs, true);
      await pass(0.5);
      host.unpark();
    }
    const { wakes } = open;
    await open.nextWake(() => host.park(host.now() + 1, true));
    assertEquals(open.wakes, wakes + 1);
  },
);

Deno.test(
  "EpollHost leaves out the rest of a batch that its listener has replaced",
  linux,
  async () => {
    await using open = new OpenHost();
    using stack = new DisposableStack();
    const pipes = [stack.use(Pipe.open()), stack.use(Pipe.open())];
    for (const pipe of pipes) {
      pipe.write(BYTE);
      open.host.watch(pipe.readFd, READABLE);
    }
    let calls = 0;
    open.host.poll(() => {
      calls++;
      for (const pipe of pipes) {
        open.host.watch(pipe.readFd, 0);
        open.host.watch(pipe.readFd, WRITABLE);
      }
    });
    assertEquals(calls, 1);
    for (const pipe of pipes) open.host.watch(pipe.readFd, READABLE);
    assertEquals(open.poll().size, 2);
  },
);

Deno.test("EpollHost survives a listener that throws", linux, async () => {
  await using open = new OpenHost();
  using pipe = Pipe.open();
  pipe.write(BYTE);
  open.host.watch(pipe.readFd, READABLE);
  let thrown: unknown;
  try {
    open.host.poll(() => {
      throw new Error("a fit");
    });
  } catch (error) {
    thrown = error;
  }
  assert(thrown instanceof Error);
  assert(open.poll().has(pipe.readFd));
});

Deno.test("A headstart is what three wake-ups in four take at least", () => {
  const seed = Date.now() >>> 0;
  console.log(`seed ${seed}`);
  const random = new SeededRandom(seed);
  const headstart = new Headstart();
  assertEquals(headstart.ofMs(10), 0); // nothing is known yet
  // Fast at first, then slow, then fast again.
  for (const leastMs of [0.02, 0.1, 0.04]) {
    let early = 0;
    let sumMs = 0;
    for (let wake = 0; wake < 4_000; wake++) {
      const tookMs = leastMs + random.next() * 0.08;
      if (wake >= 2_000) {
        if (tookMs < headstart.ofMs(10)) early++;
        sumMs += headstart.ofMs(10);
      }
      headstart.learn(tookMs);
    }
    // What was learned sways by some steps: the mean, and how many are early, do not.
    assert(early > 490 && early < 510, `${early} of 2,000 were early`);
    const meanMs = sumMs / 2_000;
    assert(Math.abs(meanMs - leastMs - 0.02) < 0.01, `${meanMs}`);
    assertEquals(headstart.ofMs(0.08), 0.01); // a short wait is spared less
  }
  for (let wake = 0; wake < 1_000; wake++) headstart.learn(5);
  assertEquals(headstart.ofMs(100), 0.2);
  for (let wake = 0; wake < 1_000; wake++) headstart.learn(0);
  assertEquals(headstart.ofMs(100), 0);
});

Deno.test(
  "Nothing is early with a headstart, nor with descriptors that come and go meanwhile",
  linux,
  async () => {
    const seed = Date.now() >>> 0;
    console.log(`seed ${seed}`);
    const random = new SeededRandom(seed);
    await using loop = new EventLoop({ host: "native" });
    await loop.runUntilComplete(function* () {
      using pipe = Pipe.open();
      for (let n = 0; n < 150; n++) {
        const delayMs = random.next() * 3;
        const dueMs = loop.time() + delayMs;
        if (n % 3 === 0) {
          loop.callLater(delayMs * random.next(), () => {
            loop.addReader(pipe.readFd, () => {});
            if (n % 2 === 0) loop.removeReader(pipe.readFd);
          });
        }
        yield* sleep(delayMs);
        assert(loop.time() >= dueMs);
        loop.removeReader(pipe.readFd);
      }
    });
  },
);

Deno.test(
  "What is left after a wake-up ahead of the deadline is waited for on the thread",
  linux,
  async () => {
    await using open = new OpenHost();
    const { host } = open;
    let early = 0;
    // One in four would be, as soon as it is known how long they take.
    for (let n = 0; n < 200; n++) {
      const deadlineMs = host.now() + 2;
      await open.nextWake(() => host.park(deadlineMs, true));
      if (host.now() < deadlineMs) early++;
    }
    // A call may also end for another reason, such as a signal.
    assert(early <= 2, `${early} wake-ups were early`);
  },
);

Deno.test(
  "A wake-up whose reason is gone when it is heard of does not wait for the deadline",
  linux,
  async () => {
    await using open = new OpenHost();
    using pipe = Pipe.open();
    const { host } = open;
    pipe.write(BYTE);
    let inTime = false;
    // The descriptor may be withdrawn before the other thread has seen it.
    for (let attempt = 0; attempt < 50 && !inTime; attempt++) {
      let deadlineMs = 0;
      await open.nextWake(() => {
        deadlineMs = host.now() + 200;
        host.park(deadlineMs, true);
        host.watch(pipe.readFd, READABLE);
        // In the microtask after that in which the call begins.
        Promise.resolve().then(() => {}).then(() => {}).then(() => {
          const seenMs = host.now() + 5;
          while (host.now() < seenMs);
          host.watch(pipe.readFd, 0);
        });
      });
      inTime = host.now() < deadlineMs;
    }
    assert(inTime);
  },
);

Deno.test("The clock neither goes back nor ahead of the runtime's where the kernel's takes over, and back", async () => {
  for (let round = 0; round < 20; round++) {
    const host = new EpollHost();
    let lastMs = -Infinity;
    const look = () => {
      for (let count = 0; count < 100; count++) {
        const nowMs = host.now();
        assert(nowMs >= lastMs, `${nowMs} after ${lastMs}`);
        const runtimeMs = performance.now();
        assert(nowMs <= runtimeMs, `${nowMs} at ${runtimeMs}`);
        lastMs = nowMs;
      }
    };
    look();
    await new Promise<void>((resolve) => {
      host.open({
        wake: resolve,
        starved() {},
        stoodStill() {},
        hasOutsideWaits: () => false,
        hasPromiseWork: () => false,
      });
      host.park(host.now() + 0.1, true); // which opens the C library
      look();
    });
    look();
    await host.close();
    look();
  }
});
