/**
 * One watchdog for the loops of several threads: threads of pools, worker loops, and threads that a program starts itself.
 *
 * @module
 */
import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { Worker as NodeWorker } from "node:worker_threads";
import { MisuseError, run, sleep } from "../../mod.ts";
import { joinWatchdog } from "../../src/supervise/join_watchdog.ts";
import { Supervisor } from "../../src/supervise/supervisor.ts";
import { Watchdog, type WatchdogBlock } from "../../src/supervise/watchdog.ts";
import { workerLoop } from "../../src/supervise/worker_loop.ts";
import { taskModule } from "../../src/workers/module_task.ts";
import { ThreadPool } from "../../src/workers/thread_pool.ts";
import type { ThreadRequest } from "./support/joining_thread.ts";
import type * as Jobs from "./support/watched_jobs.ts";
import { spin } from "./support/watched_jobs.ts";

const jobs = taskModule<typeof Jobs>(
  new URL("./support/watched_jobs.ts", import.meta.url),
);

const BLOCK_MS = 100;
/** Long enough to be seen, also on a machine that is busy. */
const SPIN_MS = 500;

/** A watchdog, and what it has told. */
class Kennel implements AsyncDisposable {
  readonly watchdog: Watchdog = new Watchdog({
    blockMs: BLOCK_MS,
    write: false,
    onBlock: (block) => this.#told(block),
  });
  readonly blocks: WatchdogBlock[] = [];
  #woken = Promise.withResolvers<void>();

  #told(block: WatchdogBlock): void {
    // This thread itself may be held up on a machine that is busy.
    if (block.thread === null) return;
    this.blocks.push(block);
    this.#woken.resolve();
    this.#woken = Promise.withResolvers();
  }

  /** Waits for a report. */
  async until(
    state: WatchdogBlock["state"],
    thread: string,
  ): Promise<WatchdogBlock> {
    // Nothing else keeps the process alive: a loop does not wait for what is outside of it.
    const hold = setInterval(() => {}, 1e6);
    try {
      for (;;) {
        const found = this.blocks.find((block) =>
          block.state === state && block.thread === thread
        );
        if (found !== undefined) return found;
        await this.#woken.promise;
      }
    } finally {
      clearInterval(hold);
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.watchdog.close();
  }
}

/** A thread that runs `joining_thread.ts`. */
class OwnThread {
  readonly #worker: Worker | NodeWorker;
  readonly #answers: unknown[] = [];
  #woken = Promise.withResolvers<void>();

  constructor(kind: "web" | "node") {
    const url = new URL("./support/joining_thread.ts", import.meta.url);
    const answered = (value: unknown) => {
      this.#answers.push(value);
      this.#woken.resolve();
      this.#woken = Promise.withResolvers();
    };
    if (kind === "node") {
      this.#worker = new NodeWorker(url).on("message", answered);
    } else {
      this.#worker = new Worker(url, { type: "module" });
      this.#worker.onmessage = ({ data }) => answered(data);
    }
  }

  tell(request: ThreadRequest): void {
    const transfer = request.port === undefined ? [] : [request.port];
    this.#worker.postMessage(request, transfer as never[]);
  }

  async answer(): Promise<unknown> {
    while (this.#answers.length === 0) await this.#woken.promise;
    return this.#answers.shift();
  }

  async ask(request: ThreadRequest): Promise<unknown> {
    this.tell(request);
    return await this.answer();
  }

  terminate(): void {
    this.#worker.terminate();
  }
}

Deno.test("Threads of a pool join by themselves: steps of their loops are watched, plain jobs are not", async () => {
  await using kennel = new Kennel();
  await kennel.watchdog.ready();
  await run(async () => {
    await using pool = new ThreadPool({ name: "crew", maxWorkers: 1 });
    await pool.submit(jobs.spin, [SPIN_MS]);
    assertEquals(kennel.blocks, []);
    const first = pool.submit(jobs.spinInStep, [SPIN_MS]);
    const blocked = await kennel.until("blocked", "crew");
    assert(!first.done(), "it is told while it lasts");
    assertEquals(blocked.kind, "step");
    assertEquals(blocked.description, 'task "spinInStep"');
    await first;
    const over = await kennel.until("over", "crew");
    assertEquals(over.sinceMs, blocked.sinceMs);
    assert(over.blockedMs >= blocked.blockedMs);
    kennel.blocks.length = 0;
    await pool.submit(jobs.spinWhenResumed, [SPIN_MS]);
    const { kind } = await kennel.until("over", "crew");
    assertEquals(kind, "resumed");
  });
});

Deno.test("A worker loop that blocks for ever is named while it does, and forgotten once it was killed", async () => {
  await using kennel = new Kennel();
  await kennel.watchdog.ready();
  await run(async () => {
    await using supervisor = new Supervisor({
      children: [{
        id: "indexer",
        restart: "temporary",
        start: workerLoop(jobs.hang, [], {
          name: "indexer",
          unresponsiveMs: 800,
        }),
      }],
      reportCrashes: false,
    });
    await supervisor.start();
    const { description } = await kennel.until("blocked", "indexer");
    assertEquals(
      description,
      'task "supervisor/indexer", which was resumed last',
    );
    while ((await supervisor.countChildren()).active > 0) await sleep(10);
    // A dead thread neither goes on being blocked, nor gets free.
    const told = kennel.blocks.length;
    await using pool = new ThreadPool({ name: "crew", maxWorkers: 1 });
    await pool.submit(jobs.spinInStep, [SPIN_MS]);
    await kennel.until("over", "crew");
    const later = kennel.blocks.slice(told).map(({ thread }) => thread);
    assertEquals(new Set(later), new Set(["crew"]));
  });
});

for (const kind of ["web", "node"] as const) {
  Deno.test(`A thread of the program's own joins by a port (${kind})`, async () => {
    await using kennel = new Kennel();
    await kennel.watchdog.ready();
    const thread = new OwnThread(kind);
    try {
      const port = kennel.watchdog.share();
      assertEquals(
        await thread.ask({ kind: "join", port, name: "own" }),
        "joined",
      );
      const second = kennel.watchdog.share();
      assertEquals(
        await thread.ask({ kind: "rejoin", port: second }),
        "MisuseError: Cannot join a watchdog: this thread is watched already",
      );
      thread.tell({ kind: "spin", ms: SPIN_MS });
      const blocked = await kennel.until("blocked", "own");
      assertEquals(blocked.description, 'task "spinner"');
      await kennel.until("over", "own");
      assertEquals(await thread.answer(), "spun");
      await kennel.watchdog.close();
      assertEquals(await thread.answer(), "left");
    } finally {
      thread.terminate();
    }
  });

  for (const end of ["end", "terminate"] as const) {
    Deno.test(`A thread that has ended is not blocked (${kind}, ${end})`, async () => {
      await using kennel = new Kennel();
      await kennel.watchdog.ready();
      const [thread, other] = [new OwnThread(kind), new OwnThread("node")];
      try {
        const port = kennel.watchdog.share();
        // Longer than a thread takes to end on a machine that is busy.
        const mortal = { name: "mortal", blockMs: SPIN_MS };
        assertEquals(
          await thread.ask({ kind: "join", port, ...mortal }),
          "joined",
        );
        const otherPort = kennel.watchdog.share();
        await other.ask({ kind: "join", port: otherPort, name: "other" });
        if (end === "end") thread.tell({ kind: "end" });
        else thread.terminate();
        // A block that ends after one of the dead thread would have been seen.
        await other.ask({ kind: "spin", ms: 1.5 * SPIN_MS });
        await kennel.until("over", "other");
        const names = kennel.blocks.map(({ thread }) => thread);
        assertEquals(new Set(names), new Set(["other"]));
      } finally {
        thread.terminate();
        other.terminate();
      }
    });
  }
}

Deno.test("Subscribers are told of a block of this thread once, when it is over", async () => {
  assertEquals(Watchdog.current, null);
  await using watchdog = new Watchdog({ blockMs: BLOCK_MS, write: false });
  assertEquals(Watchdog.current, watchdog);
  await watchdog.ready();
  const told: string[] = [];
  const done = Promise.withResolvers<WatchdogBlock>();
  const listener = () => told.push("first");
  using _ = watchdog.subscribe(listener);
  watchdog.subscribe(() => told.push("withdrawn"))[Symbol.dispose]();
  watchdog.subscribe(listener)[Symbol.dispose](); // not the first one
  using _last = watchdog.subscribe((block) => done.resolve(block));
  await run(function* () {
    spin(SPIN_MS);
  }, { name: "main" });
  const hold = setInterval(() => {}, 1e6);
  const block = await done.promise.finally(() => clearInterval(hold));
  assertEquals(new Set(told), new Set(["first"]));
  assertEquals([block.thread, block.state], [null, "over"]);
  assertEquals(block.description, 'task "main"');
  assert(block.blockedMs >= BLOCK_MS);
  assert(Math.abs(Date.now() - block.sinceMs - SPIN_MS) < 60_000);
  assertThrows(() => watchdog.subscribe(1 as never), TypeError, "listener");
  await watchdog.close();
  assertEquals(Watchdog.current, null);
});

Deno.test("When the thread that has the watchdog ends, the others are not watched any more", async () => {
  const [owner, member] = [new OwnThread("node"), new OwnThread("node")];
  try {
    const port = await owner.ask({ kind: "own" }) as MessagePort;
    assertEquals(await member.ask({ kind: "join", port }), "joined");
    owner.terminate();
    assertEquals(await member.answer(), "left");
  } finally {
    owner.terminate();
    member.terminate();
  }
});

Deno.test("A port that nobody uses, or that came too early or too late, does no harm", async () => {
  const watchdog = new Watchdog({ write: false });
  const early = watchdog.share();
  early.close();
  using _ = { [Symbol.dispose]: () => unused.close() };
  const unused = watchdog.share();
  assertThrows(
    () => joinWatchdog(unused),
    MisuseError,
    "watched already",
  );
  await watchdog.ready();
  const late = watchdog.share();
  await watchdog.close();
  assertThrows(() => watchdog.share(), MisuseError, "it is closed");
  const membership = joinWatchdog(late);
  await assertRejects(
    () => membership.ready(),
    MisuseError,
    "it watches no more",
  );
  assertEquals(membership.closed, true);
  membership.close();
  assertThrows(
    () => joinWatchdog(late),
    MisuseError,
    "Cannot join a watchdog: the port was used before, share another one",
  );
});

Deno.test("Bad arguments of joinWatchdog are refused", () => {
  const { port1, port2 } = new MessageChannel();
  const bad: [args: unknown[], error: typeof Error, message: string][] = [
    [[], TypeError, "port must be a MessagePort: received undefined"],
    [[{}], TypeError, "port must be a MessagePort"],
    [[port1, null], TypeError, "options must be an object"],
    [[port1, { name: 1 }], TypeError, "name must be a string"],
    [[port1, { blockMs: 1 }], RangeError, "blockMs must be >= 4"],
    [[port1, { blockMs: NaN }], RangeError, "blockMs must not be NaN"],
  ];
  for (const [args, error, message] of bad) {
    assertThrows(
      () => joinWatchdog(...args as Parameters<typeof joinWatchdog>),
      error,
      message,
    );
  }
  port1.close();
  port2.close();
});
