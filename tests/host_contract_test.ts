/**
 * What every host promises, run against each of them.
 *
 * Nothing here sleeps to let things settle. Where something must *not* happen, a
 * second host of the same kind waits past the moment at which it would have.
 *
 * @module
 */

import { assert, assertEquals, assertThrows } from "@std/assert";
import { AsyncLocalStorage } from "node:async_hooks";
import { closeSync, openSync } from "node:fs";
import { DescriptorsUnsupportedError, OsError } from "../src/errors.ts";
import { EpollHost } from "../src/host/epoll.ts";
import {
  type Host,
  type HostClient,
  READABLE,
  WRITABLE,
} from "../src/host/host.ts";
import { Pipe } from "../src/host/pipe.ts";
import { PollHost } from "../src/host/poll.ts";
import { PortableHost } from "../src/host/portable.ts";
import { VirtualHost } from "../src/host/virtual.ts";
import { VirtualClock } from "../src/testing/virtual_clock.ts";

/** What a host can do beyond waiting for a deadline. */
interface Abilities {
  /** It watches descriptors. */
  readonly descriptors: boolean;
  /**
   * Its time passes by itself, so that it holds the process or not. A host with
   * a clock of its own has nothing to wait for.
   */
  readonly realTime: boolean;
  /** An expression that makes one in another process; needed for real time. */
  readonly source?: string;
}

/** A client that counts its wakes and can be waited for. */
class Client implements HostClient {
  wakes = 0;
  onWake: () => void = () => {};
  #woken: () => void = () => {};

  wake(): void {
    this.wakes++;
    this.#woken();
    this.onWake();
  }

  starved(): void {}
  stoodStill(): void {}

  hasOutsideWaits(): boolean {
    return false;
  }

  hasPromiseWork(): boolean {
    return false;
  }

  /** Resolves with the next wake; `begin` brings it about. */
  nextWake(begin: () => void): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#woken = resolve;
    begin();
    return promise;
  }
}

/** Parks as a loop does: again and again until the deadline has come. */
async function parkUntil(
  host: Host,
  client: Client,
  deadlineMs: number,
): Promise<void> {
  while (host.now() < deadlineMs) {
    await client.nextWake(() => host.park(deadlineMs, true));
  }
}

/** Lets a host do what it does right after a call, such as begin to wait. */
async function microtasks(): Promise<void> {
  for (let count = 0; count < 10; count++) await Promise.resolve();
}

/** What one `poll` finds. */
function pollOnce(host: Host): Map<number, number> {
  const found = new Map<number, number>();
  host.poll((fd, events) => {
    assert(!found.has(fd), `descriptor ${fd} was reported twice`);
    found.set(fd, events);
  });
  return found;
}

const BYTE = new Uint8Array([1]);

/** A pipe that can be read at once. */
function openFullPipe(): Pipe {
  const pipe = Pipe.open();
  pipe.write(BYTE);
  return pipe;
}

/** Opens pipes until one reads from `fd`, a number that is free. */
function openWithReadFd(fd: number, stack: DisposableStack): Pipe {
  for (let attempt = 0; attempt < 100; attempt++) {
    const pipe = stack.use(Pipe.open());
    if (pipe.readFd === fd) return pipe;
  }
  throw new Error(`Descriptor ${fd} was never given out again`);
}

/** Tests that hosts of one kind keep the contract of `host.ts`. */
function hostContract(
  name: string,
  create: () => Host,
  { descriptors, realTime, source = "" }: Abilities,
): void {
  /** A test with an open host, closed at the end. */
  const test = (
    sentence: string,
    body: (host: Host, client: Client) => Promise<void> | void,
  ): void =>
    Deno.test(`${name} ${sentence}`, async () => {
      const client = new Client();
      const host = create();
      host.open(client);
      try {
        await body(host, client);
      } finally {
        await host.close();
      }
    });

  /** Lets `spanMs` pass, on another host. */
  const pass = async (spanMs: number): Promise<void> => {
    const client = new Client();
    const host = create();
    host.open(client);
    await parkUntil(host, client, host.now() + spanMs);
    await host.close();
  };

  test("serves one loop only", async (host, client) => {
    const error = assertThrows(() => host.open(new Client()), Error);
    assertEquals(
      error.message,
      "Cannot open a host: it belongs to an event loop already",
    );
    await client.nextWake(() => host.park(host.now(), true));
  });

  // -- Deadlines --

  test("has a clock that never goes back", (host) => {
    let last = host.now();
    for (let count = 0; count < 1_000; count++) {
      const now = host.now();
      assert(now >= last);
      last = now;
    }
  });

  test("wakes the client when the deadline has come", async (host, client) => {
    for (const delayMs of [0.2, 1, 3.7]) {
      const deadlineMs = host.now() + delayMs;
      await parkUntil(host, client, deadlineMs);
      assert(host.now() >= deadlineMs);
    }
  });

  test("wakes at once when the deadline has passed", async (host, client) => {
    for (const deadlineMs of [host.now(), host.now() - 1, -Infinity]) {
      await client.nextWake(() => host.park(deadlineMs, true));
    }
    assertEquals(client.wakes, 3);
  });

  test("wakes once for each park", async (host, client) => {
    await client.nextWake(() => host.park(host.now() + 1, true));
    await pass(5);
    assertEquals(client.wakes, 1);
    await client.nextWake(() => host.park(host.now() + 1, true));
    await pass(5);
    assertEquals(client.wakes, 2);
  });

  test("can be parked again from inside a wake", async (host, client) => {
    const { promise, resolve } = Promise.withResolvers<void>();
    client.onWake = () => {
      if (client.wakes === 5) resolve();
      else host.park(host.now() + 0.5, true);
    };
    host.park(host.now() + 0.5, true);
    await promise;
    assertEquals(client.wakes, 5);
  });

  test("replaces the deadline by an earlier one", async (host, client) => {
    if (!realTime) return; // it has got there before
    const farMs = host.now() + 600_000;
    await client.nextWake(() => {
      host.park(farMs, true);
      host.park(host.now() + 1, true);
    });
    assert(host.now() < farMs);
    assertEquals(client.wakes, 1);
  });

  test("replaces the deadline while it waits", async (host, client) => {
    if (!realTime) return;
    const farMs = host.now() + 600_000;
    host.park(farMs, true);
    await pass(2);
    assertEquals(client.wakes, 0);
    await client.nextWake(() => host.park(host.now() + 1, true));
    assert(host.now() < farMs);
  });

  test("replaces the deadline by a later one", async (host, client) => {
    host.park(host.now() + 1, true);
    const laterMs = host.now() + 6;
    await parkUntil(host, client, laterMs);
    assert(host.now() >= laterMs);
  });

  test(
    "wakes once when the deadline of a wait is set to now",
    async (host, client) => {
      if (!realTime) return;
      host.park(host.now() + 5, true);
      await microtasks();
      const { wakes } = client;
      await client.nextWake(() => host.park(host.now(), true));
      await pass(10);
      assertEquals(client.wakes, wakes + 1);
    },
  );

  test("takes deadlines farther away than any timer", async (host, client) => {
    host.park(1e18, true);
    await client.nextWake(() => host.park(host.now() + 1, true));
  });

  // -- Ending a park --

  test("does not wake after unpark()", async (host, client) => {
    host.park(host.now() + 10, true);
    host.unpark();
    const { wakes } = client; // 1 if it took so long just to get here
    await pass(15);
    assertEquals(client.wakes, wakes);
  });

  test("does not wake when unparked while it waits", async (host, client) => {
    if (!realTime) return;
    const deadlineMs = host.now() + 10;
    host.park(deadlineMs, true);
    await pass(1);
    host.unpark();
    const { wakes } = client;
    await pass(20);
    assertEquals(client.wakes, wakes);
  });

  test(
    "does not wake for an old park after a new one",
    async (host, client) => {
      if (!realTime) return;
      host.park(host.now() + 10, true);
      await microtasks();
      host.unpark();
      const { wakes } = client;
      host.park(Infinity, true);
      await pass(15);
      assertEquals(client.wakes, wakes);
    },
  );

  test("does not wake after rest(), and can go on", async (host, client) => {
    host.park(host.now() + 10, true);
    await microtasks();
    host.rest();
    const { wakes } = client;
    await pass(15);
    assertEquals(client.wakes, wakes);
    await client.nextWake(() => host.park(host.now() + 1, true));
    assertEquals(client.wakes, wakes + 1);
  });

  test("does not wake after close()", async (host, client) => {
    host.park(host.now() + 10, true);
    await microtasks();
    const { wakes } = client;
    await host.close();
    await pass(15);
    assertEquals(client.wakes, wakes);
  });

  test("closes while it waits", async (host, client) => {
    host.park(host.now() + 600_000, true);
    if (realTime) await pass(1);
    const wakes = client.wakes;
    await host.close();
    assertEquals(client.wakes, wakes);
  });

  test("closes again without complaint", async (host) => {
    host.keepAlive(true);
    await Promise.all([host.close(), host.close()]);
    await host.close();
    assert(host.now() >= 0);
  });

  test("closes without ever having been used", async (host) => {
    await host.close();
  });

  test("does not mind calls that have nothing to end", async (host, client) => {
    host.unpark();
    host.rest();
    host.rest();
    host.keepAlive(false);
    host.keepAlive(true);
    host.keepAlive(true);
    host.rest();
    if (descriptors) host.watch(0, 0);
    assertEquals(pollOnce(host).size, 0);
    await client.nextWake(() => host.park(host.now() + 1, true));
  });

  test(
    "wakes for a park that does not hold the process",
    async (host, client) => {
      const { promise, resolve } = Promise.withResolvers<void>();
      client.onWake = resolve;
      host.keepAlive(true);
      host.park(host.now() + 1, false);
      await promise;
      host.keepAlive(false);
      assertEquals(client.wakes, 1);
    },
  );

  if (realTime) {
    test(
      "wakes outside the async context of the parker",
      async (host, client) => {
        const storage = new AsyncLocalStorage<string>();
        const seen: unknown[] = [];
        // Opened by now, so that the deadlines below are not over at once.
        await client.nextWake(() => host.park(host.now() + 1, true));
        client.onWake = () => seen.push(storage.getStore());
        for (const hold of [true, false]) {
          host.keepAlive(true);
          await client.nextWake(() =>
            storage.run("parker", () => host.park(host.now() + 20, hold))
          );
        }
        assertEquals(seen, [undefined, undefined]);
      },
    );

    exitTests(name, source, descriptors);
  }

  if (descriptors) {
    descriptorTests(test, pass);
  } else {
    test("refuses to watch descriptors", (host) => {
      assertThrows(
        () => host.watch(5, READABLE),
        DescriptorsUnsupportedError,
        "Cannot watch descriptor 5: ",
      );
    });
  }
}

/** Whether the process may end, which only another process can show. */
function exitTests(name: string, source: string, descriptors: boolean): void {
  const hostUrl = (file: string): string =>
    import.meta.resolve(`../src/host/${file}`);
  const exits = (sentence: string, body: string, expected: string): void =>
    Deno.test(`${name} ${sentence}`, async () => {
      const program = `
        import { EpollHost } from "${hostUrl("epoll.ts")}";
        import { Pipe } from "${hostUrl("pipe.ts")}";
        import { PollHost } from "${hostUrl("poll.ts")}";
        import { PortableHost } from "${hostUrl("portable.ts")}";
        import { after } from "${hostUrl("timers.ts")}";
        void EpollHost, Pipe, PollHost, PortableHost, after;
        const host = ${source};
        host.open({
          wake: () => console.log("woken"),
          starved: () => {},
          stoodStill: () => {},
          hasOutsideWaits: () => false,
          hasPromiseWork: () => false,
        });
        ${body}
      `;
      const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
        args: ["eval", "--ext=ts", program],
        stdin: "null",
      }).output();
      const decoder = new TextDecoder();
      assertEquals(decoder.decode(stderr), "");
      assertEquals(decoder.decode(stdout).trim(), expected);
      assertEquals(code, 0);
    });

  exits(
    "lets the process end when it waits for nothing",
    `
    host.park(Infinity, true);
  `,
    "",
  );
  exits(
    "lets the process end when the wait is not to hold it",
    `
    host.park(host.now() + 600_000, false);
  `,
    "",
  );
  exits(
    "lets the process end after a wait for nothing replaced another",
    `
    host.park(host.now() + 600_000, true);
    after(5, () => host.park(Infinity, true), true);
  `,
    "",
  );
  exits(
    "lets the process end after a wait that no longer holds it",
    `
    const deadlineMs = host.now() + 600_000;
    host.park(deadlineMs, true);
    after(5, () => host.park(deadlineMs, false), true);
  `,
    "",
  );
  // The runtime warns of what it cannot count, and fires at once.
  exits(
    "waits in silence for what is farther away than any timer",
    `
    host.park(host.now() + 1e12, true);
    after(5, () => host.park(host.now() + 1e12, false), true);
  `,
    "",
  );
  exits(
    "lets the process end after rest()",
    `
    host.keepAlive(true);
    host.park(host.now() + 600_000, true);
    after(5, () => host.rest(), true);
  `,
    "",
  );
  exits(
    "holds the process until the deadline",
    `
    host.park(host.now() + 20, true);
  `,
    "woken",
  );
  exits(
    "holds the process while it is kept alive",
    `
    host.keepAlive(true);
    after(20, () => { console.log("alive"); host.keepAlive(false); }, false);
  `,
    "alive",
  );
  if (!descriptors) return;
  exits(
    "holds the process while it waits for descriptors",
    `
    const pipe = Pipe.open();
    host.watch(pipe.readFd, 1);
    host.park(Infinity, false);
    after(20, () => pipe.write(new Uint8Array(1)), false);
  `,
    "woken",
  );
  exits(
    "lets the process end when the last descriptor is gone",
    `
    const pipe = Pipe.open();
    host.watch(pipe.readFd, 1);
    host.park(Infinity, true);
    after(5, () => { console.log("alive"); host.watch(pipe.readFd, 0); }, false);
  `,
    "alive",
  );
}

/** What only hosts with descriptors promise. */
function descriptorTests(
  test: (
    sentence: string,
    body: (host: Host, client: Client) => Promise<void> | void,
  ) => void,
  pass: (spanMs: number) => Promise<void>,
): void {
  test("ends a park when a descriptor is ready", async (host, client) => {
    using pipe = Pipe.open();
    host.watch(pipe.readFd, READABLE);
    await client.nextWake(() => {
      host.park(Infinity, true);
      pipe.write(BYTE);
    });
    assertEquals([...pollOnce(host)], [[pipe.readFd, READABLE]]);

    pipe.read(new Uint8Array(1));
    host.park(host.now() + 600_000, true);
    await pass(2);
    assertEquals(client.wakes, 1);
    await client.nextWake(() => pipe.write(BYTE));
    assertEquals(client.wakes, 2);
    host.watch(pipe.readFd, 0);
  });

  test(
    "ends a park at its deadline in spite of descriptors",
    async (host, client) => {
      using pipe = Pipe.open();
      host.watch(pipe.readFd, READABLE);
      const deadlineMs = host.now() + 2;
      await parkUntil(host, client, deadlineMs);
      assertEquals(pollOnce(host).size, 0);
      // The deadline that has passed must not end a park without one.
      const { wakes } = client;
      host.park(Infinity, true);
      await pass(5);
      assertEquals(client.wakes, wakes);
      host.watch(pipe.readFd, 0);
    },
  );

  test(
    "watches a descriptor from the middle of a park",
    async (host, client) => {
      using pipe = openFullPipe();
      host.park(Infinity, true);
      await pass(1);
      const storage = new AsyncLocalStorage<string>();
      let seen: unknown = "nothing";
      client.onWake = () => seen = storage.getStore();
      host.keepAlive(true);
      await client.nextWake(() =>
        storage.run("watcher", () => host.watch(pipe.readFd, READABLE))
      );
      assertEquals(seen, undefined);
      assertEquals(pollOnce(host).size, 1);
      host.watch(pipe.readFd, 0);
    },
  );

  test(
    "watches another descriptor while waiting for one",
    async (host, client) => {
      using quiet = Pipe.open();
      using full = openFullPipe();
      host.watch(quiet.readFd, READABLE);
      host.park(Infinity, true);
      await pass(1);
      await client.nextWake(() => host.watch(full.readFd, READABLE));
      assertEquals([...pollOnce(host).keys()], [full.readFd]);
    },
  );

  test("reports what is ready as often as it is asked", (host) => {
    using pipe = openFullPipe();
    host.watch(pipe.readFd, READABLE);
    assertEquals(pollOnce(host), pollOnce(host));
    pipe.read(new Uint8Array(1));
    assertEquals(pollOnce(host).size, 0);
  });

  test("reports only what is of interest", (host) => {
    using pipe = openFullPipe();
    host.watch(pipe.readFd, WRITABLE);
    host.watch(pipe.writeFd, READABLE | WRITABLE);
    assertEquals([...pollOnce(host)], [[pipe.writeFd, WRITABLE]]);
    host.watch(pipe.writeFd, READABLE);
    host.watch(pipe.readFd, READABLE);
    assertEquals([...pollOnce(host)], [[pipe.readFd, READABLE]]);
  });

  test("reports the end of a pipe as readable", async (host, client) => {
    using pipe = Pipe.open();
    host.watch(pipe.readFd, READABLE);
    await client.nextWake(() => {
      host.park(Infinity, true);
      pipe.closeWrite();
    });
    assertEquals([...pollOnce(host)], [[pipe.readFd, READABLE]]);
    assertEquals(pipe.read(new Uint8Array(1)), 0);
  });

  test("reports a broken pipe as whatever is of interest", (host) => {
    using pipe = Pipe.open();
    pipe.closeRead();
    for (const interest of [READABLE, WRITABLE, READABLE | WRITABLE]) {
      host.watch(pipe.writeFd, interest);
      assertEquals([...pollOnce(host)], [[pipe.writeFd, interest]]);
    }
  });

  test(
    "wakes once for a descriptor that is ready too late",
    async (host, client) => {
      using pipe = Pipe.open();
      host.watch(pipe.readFd, READABLE);
      host.park(Infinity, true);
      await pass(1);
      await client.nextWake(() => host.park(host.now(), true));
      pipe.write(BYTE);
      await pass(2);
      assertEquals(client.wakes, 1);
    },
  );

  test("stops watching at once", async (host, client) => {
    using one = openFullPipe();
    using other = openFullPipe();
    host.watch(one.readFd, READABLE);
    host.watch(other.readFd, READABLE);
    host.watch(one.readFd, 0);
    assertEquals([...pollOnce(host).keys()], [other.readFd]);
    host.watch(other.readFd, 0);
    assertEquals(pollOnce(host).size, 0);
    host.park(Infinity, true);
    await pass(2);
    assertEquals(client.wakes, 0);
  });

  test("does not report what a listener stopped watching", (host) => {
    using one = openFullPipe();
    using other = openFullPipe();
    const fds = [one.readFd, other.readFd];
    for (const fd of fds) host.watch(fd, READABLE);
    const reported: number[] = [];
    host.poll((fd) => {
      reported.push(fd);
      for (const watched of fds) host.watch(watched, 0);
    });
    assertEquals(reported.length, 1);
    assertEquals(pollOnce(host).size, 0);
  });

  test("may be changed by the listener", (host) => {
    using pipe = openFullPipe();
    host.watch(pipe.readFd, READABLE);
    host.watch(pipe.writeFd, WRITABLE);
    host.poll((fd) => host.watch(fd, READABLE | WRITABLE));
    assertEquals(
      pollOnce(host),
      new Map([[pipe.readFd, READABLE], [pipe.writeFd, WRITABLE]]),
    );
  });

  test("finds each of 1,000 descriptors", async (host, client) => {
    using stack = new DisposableStack();
    const pipes = Array.from({ length: 500 }, () => stack.use(openFullPipe()));
    const expected = new Map<number, number>();
    for (const { readFd, writeFd } of pipes) {
      host.watch(readFd, READABLE);
      host.watch(writeFd, WRITABLE);
      expected.set(readFd, READABLE).set(writeFd, WRITABLE);
    }
    await client.nextWake(() => host.park(Infinity, true));
    const found = new Map<number, number>();
    // As many polls as a host needs that finds 64 at a time, its own included.
    for (let count = 0; count < 17; count++) {
      for (const [fd, events] of pollOnce(host)) found.set(fd, events);
    }
    assertEquals(found.size, expected.size);
    for (const [fd, events] of expected) assertEquals(found.get(fd), events);
    for (const fd of expected.keys()) host.watch(fd, 0);
    assertEquals(pollOnce(host).size, 0);
  });

  test("starves none of many ready descriptors", (host) => {
    using stack = new DisposableStack();
    const times = new Map<number, number>();
    for (let count = 0; count < 200; count++) {
      const { readFd } = stack.use(openFullPipe());
      host.watch(readFd, READABLE);
      times.set(readFd, 0);
    }
    for (let count = 0; count < 40; count++) {
      host.poll((fd) => times.set(fd, times.get(fd)! + 1));
    }
    for (const count of times.values()) assert(count >= 9, `only ${count}`);
  });

  test("counts a regular file as always ready", async (host, client) => {
    const path = await Deno.makeTempFile();
    const fd = openSync(path, "r+");
    try {
      host.watch(fd, READABLE | WRITABLE);
      await client.nextWake(() => host.park(host.now() + 600_000, true));
      await client.nextWake(() => host.park(Infinity, false));
      assertEquals([...pollOnce(host)], [[fd, READABLE | WRITABLE]]);
      host.watch(fd, WRITABLE);
      assertEquals([...pollOnce(host)], [[fd, WRITABLE]]);

      host.park(Infinity, true);
      await microtasks();
      host.unpark();
      const { wakes } = client; // a quick call may be over before this
      await pass(2);
      assertEquals(client.wakes, wakes);

      host.watch(fd, 0);
      assertEquals(pollOnce(host).size, 0);
      host.park(Infinity, true);
      await pass(2);
      assertEquals(client.wakes, wakes);
    } finally {
      closeSync(fd);
      await Deno.remove(path);
    }
  });

  test(
    "wakes for a regular file that is watched during a park",
    async (host, client) => {
      const fd = openSync("/dev/null", "r");
      try {
        host.park(host.now() + 600_000, true);
        await pass(1);
        await client.nextWake(() => host.watch(fd, READABLE));
        assertEquals([...pollOnce(host)], [[fd, READABLE]]);
        host.watch(fd, 0);
      } finally {
        closeSync(fd);
      }
    },
  );

  test(
    "refuses a descriptor that is not open, and goes on",
    async (host, client) => {
      using pipe = openFullPipe();
      host.watch(pipe.readFd, READABLE);
      for (const fd of [-1, 999_999]) {
        const error = assertThrows(
          () => host.watch(fd, READABLE),
          OsError,
          `Cannot watch descriptor ${fd}: `,
        );
        assertEquals([error.code, error.errno], ["EBADF", 9]);
      }
      await client.nextWake(() => host.park(Infinity, true));
      assertEquals([...pollOnce(host)], [[pipe.readFd, READABLE]]);
    },
  );

  test("forgets a number that was closed", async (host, client) => {
    // Closed later, so that the numbers given out next are other ones.
    const spares = Array.from({ length: 4 }, () => Pipe.open());
    using pipe = openFullPipe();
    using quiet = Pipe.open();
    const { readFd } = pipe;
    host.watch(quiet.readFd, READABLE);
    host.watch(readFd, READABLE);
    pipe.close();
    for (const spare of spares) spare.close();
    assertEquals(pollOnce(host).size, 0);
    host.park(Infinity, true);
    await pass(2);
    assertEquals(client.wakes, 0);
    host.watch(readFd, 0);
  });

  test(
    "watches a number again that was closed and reused",
    async (host, client) => {
      using stack = new DisposableStack();
      for (const known of [true, false]) {
        const closed = openFullPipe();
        host.watch(closed.readFd, READABLE);
        const fd = closed.readFd;
        closed.close();
        if (!known) host.watch(fd, 0);
        const pipe = openWithReadFd(fd, stack);
        host.watch(pipe.readFd, READABLE);
        assertEquals(pollOnce(host).size, 0);
        await client.nextWake(() => {
          host.park(Infinity, true);
          pipe.write(BYTE);
        });
        assertEquals([...pollOnce(host)], [[pipe.readFd, READABLE]]);
        host.watch(pipe.readFd, 0);
      }
    },
  );

  test("never reports a reused number for the old file", (host) => {
    using stack = new DisposableStack();
    const old = Pipe.open();
    const fd = old.readFd;
    host.watch(fd, READABLE);
    old.close();
    const pipe = openWithReadFd(fd, stack);
    pipe.write(BYTE);
    assertEquals(pollOnce(host).size, 0);
    assertEquals(host.watch(fd, READABLE), false);
    assertEquals([...pollOnce(host)], [[fd, READABLE]]);
  });

  test("tells when a number has come to mean another file", (host) => {
    using stack = new DisposableStack();
    const old = Pipe.open();
    const fd = old.readFd;
    assertEquals(host.watch(fd, READABLE), true);
    assertEquals(host.watch(fd, READABLE | WRITABLE), true);
    old.close();
    assertThrows(() => host.watch(fd, READABLE), OsError, `descriptor ${fd}: `);
    openWithReadFd(fd, stack);
    assertEquals(host.watch(fd, READABLE), false);
    assertEquals(host.watch(fd, READABLE), true);
    assertEquals(host.watch(fd, 0), true);
    assertEquals(host.watch(fd, READABLE), true);
  });

  test(
    "watches a number again that was a file and is a pipe",
    async (host, client) => {
      using stack = new DisposableStack();
      const fd = openSync("/dev/null", "r");
      host.watch(fd, READABLE);
      closeSync(fd);
      const pipe = openWithReadFd(fd, stack);
      host.watch(fd, READABLE);
      assertEquals(pollOnce(host).size, 0);
      await client.nextWake(() => {
        host.park(Infinity, true);
        pipe.write(BYTE);
      });
      host.watch(fd, 0);
    },
  );

  test(
    "rests while it waits for descriptors, and can go on",
    async (host, client) => {
      using pipe = Pipe.open();
      host.watch(pipe.readFd, READABLE);
      host.park(Infinity, true);
      await pass(1);
      host.rest();
      pipe.write(BYTE);
      await pass(2);
      assertEquals(client.wakes, 0);
      await client.nextWake(() => host.park(Infinity, true));
    },
  );

  test(
    "is parked anew before the last wait has ended",
    async (host, client) => {
      using pipe = Pipe.open();
      host.watch(pipe.readFd, READABLE);
      host.park(Infinity, true);
      await pass(1);
      host.rest();
      await client.nextWake(() => host.park(host.now() + 1, true));
      host.park(Infinity, true);
      await pass(1);
      host.rest();
      host.park(Infinity, true);
      host.rest();
      await client.nextWake(() => {
        host.park(Infinity, true);
        pipe.write(BYTE);
      });
      assertEquals(client.wakes, 2);
    },
  );

  test("closes while it waits for descriptors", async (host, client) => {
    using pipe = Pipe.open();
    host.watch(pipe.readFd, READABLE | WRITABLE);
    host.park(Infinity, true);
    await pass(1);
    await host.close();
    pipe.write(BYTE);
    await pass(1);
    assertEquals(client.wakes, 0);
  });

  test("closes right after rest()", async (host, client) => {
    using pipe = Pipe.open();
    host.watch(pipe.readFd, READABLE | WRITABLE);
    host.park(Infinity, true);
    await pass(1);
    host.rest();
    await host.close();
    assertEquals(client.wakes, 0);
  });
}

hostContract("PortableHost", () => new PortableHost(), {
  descriptors: false,
  realTime: true,
  source: "new PortableHost()",
});
hostContract("EpollHost", () => new EpollHost(), {
  descriptors: true,
  realTime: true,
  source: "new EpollHost()",
});
hostContract("PollHost", () => new PollHost(), {
  descriptors: true,
  realTime: true,
  source: "new PollHost()",
});
hostContract("VirtualHost", () => new VirtualHost(), {
  descriptors: false,
  realTime: false,
});

hostContract("the host of a VirtualClock", () => new VirtualClock().host, {
  descriptors: false,
  realTime: false,
});
