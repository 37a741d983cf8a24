/**
 * Links to threads that a test plays: what crosses when a thread ends.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { run } from "../../mod.ts";
import type { ThreadListener, Threads } from "../../src/host/thread.ts";
import { PoolCore } from "../../src/workers/pool_core.ts";
import { settlePoolOptions } from "../../src/workers/pool_options.ts";
import { checkSubmitOptions } from "../../src/workers/submit_options.ts";
import {
  loadThreadStarter,
  threadStarter,
} from "../../src/workers/thread_link.ts";
import { FromThread, ToThread } from "../../src/workers/thread_protocol.ts";
import { Wire } from "../../src/workers/wire.ts";
import { mailBoxes } from "./support/mail_box.ts";

/** A thread that a test plays. */
class FakeThread {
  readonly wire: Wire;
  readonly listener: ThreadListener;
  /** Jobs that it has got. */
  readonly got: number[] = [];
  /** The last of them, as it came. */
  message: unknown;

  constructor(wire: Wire, listener: ThreadListener) {
    this.wire = wire;
    this.listener = listener;
    wire.send(FromThread.READY, 0, null);
  }

  /** Waits for a job. */
  async take(): Promise<number> {
    const count = this.got.length;
    while (this.got.length === count) {
      await new Promise((resolve) => setTimeout(resolve, 1));
      this.wire.drain((kind, id, value) => {
        if (kind !== ToThread.JOB) return;
        this.got.push(id);
        this.message = value;
      });
    }
    return this.got[count]!;
  }
}

/** Threads that a test plays, and those that were started. */
function fakeThreads(): { threads: Threads; all: FakeThread[] } {
  const all: FakeThread[] = [];
  const threads: Threads = {
    inside: () => null,
    start: (_script, { data }, listener) => {
      const [mine, its] = mailBoxes();
      const memory = data["memory"] as SharedArrayBuffer;
      all.push(new FakeThread(new Wire(memory, its, "worker"), listener));
      return { mail: mine, terminate: () => listener.ended(1) };
    },
  };
  return { threads, all };
}

Deno.test("what the pool sends to a thread that has ended with a result goes to another one, with what it moves", async () => {
  const { threads, all } = fakeThreads();
  await run(async () => {
    const pool = new PoolCore(
      threadStarter(threads, { name: "played" }),
      settlePoolOptions({ maxWorkers: 1 }, "create a pool", 1),
      { pool: "ThreadPool", kind: "thread" },
    );
    const task = { source: "() => 1" };
    const buffer = new ArrayBuffer(8);
    const order: unknown[] = [];
    const jobs = ["first", "moving", ""].map((name) =>
      pool.submit(
        task,
        [],
        checkSubmitOptions({
          name,
          transfer: name === "moving" ? [buffer] : [],
        }),
      )
    );
    for (const job of jobs) {
      job.addDoneCallback(() => {
        order.push(job.result());
      });
    }
    while (all.length === 0) await null;
    const [thread] = all;
    const id = await thread!.take();
    thread!.wire.send(FromThread.RETURNED, id, "first");
    thread!.listener.ended(3); // before the pool has looked
    assert(!buffer.detached);
    while (all.length === 1) await null;
    // Nothing but the number of the task and the arguments goes along with a job as usual.
    for (const value of ["moving", "last"]) {
      const id = await all[1]!.take();
      assertEquals(
        (all[1]!.message as unknown[]).length,
        value === "last" ? 2 : 3,
      );
      all[1]!.wire.send(FromThread.RETURNED, id, value);
    }
    await Promise.all(jobs);
    assert(buffer.detached);
    assertEquals(order, ["first", "moving", "last"]);
    const { crashed, rerun } = pool.stats();
    assertEquals([crashed, rerun], [0, 0]);
    const end = pool.shutdown();
    const closing = (async () => await end)();
    while (pool.stats().workers.stopping === 0) await null;
    all[1]!.wire.send(FromThread.CLOSED, 0, null);
    all[1]!.listener.ended(0);
    await closing;
  });
});

Deno.test("a thread that has ended may be killed once more, which starts no timer", async () => {
  const hold = setInterval(() => {}, 1_000); // a link holds no process
  const starter = await loadThreadStarter({ name: "ended" });
  const ended = Promise.withResolvers<void>();
  const ready = Promise.withResolvers<void>();
  const link = starter({
    ready: ready.resolve,
    returned: () => {},
    threw: () => {},
    progressed: () => {},
    nested: () => null,
    answered: () => {},
    ended: () => ended.resolve(),
  });
  await ready.promise;
  link.kill();
  await ended.promise;
  clearInterval(hold);
  link.kill(); // the sanitizer of resources would find a timer
});
