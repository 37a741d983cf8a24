/**
 * What is particular about poll(2): a pending call has a copy of the list.
 *
 * @module
 */

import { assertEquals } from "@std/assert";
import { type HostClient, READABLE, WRITABLE } from "../src/host/host.ts";
import { Pipe } from "../src/host/pipe.ts";
import { PollHost } from "../src/host/poll.ts";

const BYTE = new Uint8Array([1]);

/** An open host with a client that counts wakes. Closed by disposing it. */
class OpenHost implements HostClient, AsyncDisposable {
  readonly host = new PollHost();
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

const posix = { ignore: Deno.build.os === "windows" };

Deno.test(
  "PollHost does not wake when an interest changes",
  posix,
  async () => {
    await using open = new OpenHost();
    using pipe = Pipe.open();
    using other = Pipe.open();
    open.host.watch(pipe.readFd, READABLE);
    open.host.park(Infinity, true);
    await pass(1);
    open.host.watch(other.readFd, READABLE);
    open.host.watch(pipe.readFd, WRITABLE);
    open.host.watch(pipe.readFd, 0);
    await pass(2);
    assertEquals(open.wakes, 0);
    await open.nextWake(() => other.write(BYTE));
    assertEquals([...open.poll()], [[other.readFd, READABLE]]);
  },
);

Deno.test(
  "PollHost lets go of a file that is unwatched and closed while busy",
  posix,
  async () => {
    await using open = new OpenHost();
    using pipe = Pipe.open();
    open.host.watch(pipe.readFd, READABLE);
    open.host.park(Infinity, true);
    await pass(1);
    open.host.unpark(); // the call stays pending, and holds the file

    open.host.watch(pipe.readFd, 0);
    pipe.closeRead();
    open.host.watch(pipe.writeFd, READABLE);
    // The other end learns of it only when nothing holds the file any more.
    await open.nextWake(() => open.host.park(Infinity, true));
    assertEquals([...open.poll()], [[pipe.writeFd, READABLE]]);
  },
);

Deno.test(
  "PollHost keeps the files of other entries when it drops a closed one",
  posix,
  async () => {
    await using open = new OpenHost();
    using stack = new DisposableStack();
    const pipes = Array.from({ length: 5 }, () => stack.use(Pipe.open()));
    for (const pipe of pipes) {
      pipe.write(BYTE);
      open.host.watch(pipe.readFd, READABLE);
    }
    pipes[1]!.close();
    pipes[3]!.close();
    const left = [pipes[0]!, pipes[2]!, pipes[4]!].map((pipe) => pipe.readFd);
    for (let count = 0; count < 3; count++) {
      assertEquals([...open.poll().keys()], left);
    }
  },
);

Deno.test(
  "PollHost wakes for an earlier deadline under a pending call",
  posix,
  async () => {
    await using open = new OpenHost();
    const { host } = open;
    for (const spanMs of [600_000, 2, 500_000, 1, 400_000]) {
      host.park(host.now() + spanMs, true);
      await pass(0.5);
      host.unpark();
    }
    const { wakes } = open;
    const deadlineMs = host.now() + 1;
    await open.nextWake(() => host.park(deadlineMs, true));
    assertEquals(open.wakes, wakes + 1);
  },
);
