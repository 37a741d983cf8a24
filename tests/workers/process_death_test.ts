/**
 * Deaths of processes: each is told once, to the jobs that it concerns, and the pool goes on.
 *
 * @module
 */
import { assert, assertEquals, assertRejects } from "@std/assert";
import { run } from "../../mod.ts";
import { WorkerCrashError, type WorkerCrashKind } from "../../src/errors.ts";
import type { Future } from "../../src/loop/future.ts";
import type {
  LinkEnd,
  LinkListener,
  WorkerLink,
} from "../../src/workers/link.ts";
import { taskModule } from "../../src/workers/module_task.ts";
import {
  type ProcessLinkOptions,
  processStarter,
} from "../../src/workers/process_link.ts";
import {
  ProcessPool,
  type ProcessPoolOptions,
} from "../../src/workers/process_pool.ts";
import { childrenOf, isAlive, until } from "./support/processes.ts";

const JOBS_URL = new URL("./support/process_jobs.ts", import.meta.url);
const jobs = taskModule<typeof import("./support/process_jobs.ts")>(JOBS_URL);

type Submit = (pool: ProcessPool) => Future<unknown>;

/** Runs a job whose process dies, and returns how. The pool must go on, and leave nothing. */
async function deathOf(
  submit: Submit,
  options: ProcessPoolOptions = {},
): Promise<WorkerCrashError> {
  const before = childrenOf(Deno.pid);
  const error = await run(async () => {
    await using pool = new ProcessPool({ maxWorkers: 1, ...options });
    const error = await assertRejects(
      async () => await submit(pool),
      WorkerCrashError,
    );
    assertEquals(await pool.submit(jobs.add, [1, 2]), 3);
    const { done, crashed, running, queued } = pool.stats();
    assertEquals([done, crashed, running, queued], [1, 1, 0, 0]);
    return error;
  });
  const left = childrenOf(Deno.pid).filter((pid) => !before.includes(pid));
  assertEquals(left, []);
  return error;
}

interface Death {
  readonly name: string;
  readonly submit: Submit;
  readonly kind: WorkerCrashKind;
  readonly exitCode: number;
  readonly cause?: string;
  readonly options?: ProcessPoolOptions;
}

const SMALL_HEAP: ProcessPoolOptions = {
  flags: ["--v8-flags=--max-old-space-size=40"],
};
const ALL: ProcessPoolOptions = { permissions: { read: true, write: true } };

/**
 * Sends a signal to the process of a job once the job has begun, until it has ended: the runtime takes the first SIGSEGV
 * for a fault of its own, and lets the instruction be done again.
 */
function signalled(signal: Deno.Signal, name: "spin" | "wait"): Submit {
  return (pool) => {
    const job = pool.submit(jobs[name], [], {
      onProgress: (pid) =>
        until("it was killed", () => {
          if (isAlive(pid as number)) Deno.kill(pid as number, signal);
          return job.done();
        }),
    });
    return job;
  };
}

const DEATHS: readonly Death[] = [
  {
    name: "an error outside of the job",
    submit: (pool) => pool.submit(jobs.throwOutside, []),
    kind: "error",
    exitCode: 1,
    cause: "RangeError: outside",
  },
  {
    name: "a rejection outside of the job",
    submit: (pool) => pool.submit(jobs.rejectOutside, []),
    kind: "rejection",
    exitCode: 1,
    cause: "RangeError: unhandled",
  },
  {
    name: "Deno.exit(0)",
    submit: (pool) => pool.submit(jobs.leave, [0]),
    kind: "exit",
    exitCode: 0,
  },
  {
    name: "Deno.exit(7) after an await",
    submit: (pool) => pool.submit(jobs.leaveLater, [7]),
    kind: "exit",
    exitCode: 7,
  },
  {
    name: "process.exit(0)",
    submit: (pool) => pool.submit(jobs.leaveByProcess, [0]),
    kind: "exit",
    exitCode: 0,
  },
  {
    name: "process.exit(7)",
    submit: (pool) => pool.submit(jobs.leaveByProcess, [7]),
    kind: "exit",
    exitCode: 7,
  },
  {
    name: "no memory in a plain function",
    submit: (pool) => pool.submit(jobs.exhaust, []),
    kind: "out-of-memory",
    exitCode: 133,
    options: SMALL_HEAP,
  },
  {
    name: "no memory after an await",
    submit: (pool) => pool.submit(jobs.exhaustLater, []),
    kind: "out-of-memory",
    exitCode: 133,
    options: SMALL_HEAP,
  },
  {
    name: "no memory in a timer",
    submit: (pool) => pool.submit(jobs.exhaustInTimer, []),
    kind: "out-of-memory",
    exitCode: 133,
    options: SMALL_HEAP,
  },
  {
    name: "SIGKILL of a spinning process",
    submit: signalled("SIGKILL", "spin"),
    kind: "killed",
    exitCode: 137,
  },
  {
    name: "SIGSEGV of a waiting process",
    submit: signalled("SIGSEGV", "wait"),
    kind: "killed",
    exitCode: 139,
  },
  {
    name: "SIGTERM of a waiting process",
    submit: signalled("SIGTERM", "wait"),
    kind: "killed",
    exitCode: 143,
  },
  {
    name: "garbage on the pipe",
    submit: (pool) => pool.submit(jobs.writeRaw, [[72, 105, 10], false]),
    kind: "protocol",
    exitCode: 137,
    cause: "RangeError: Cannot read a frame: it begins with bytes 72, 105, 10",
    options: ALL,
  },
  {
    name: "a frame of a wrong kind",
    submit: (pool) =>
      pool.submit(jobs.writeRaw, [
        [82, 79, 1, 99, ...new Array(12).fill(0)],
        false,
      ]),
    kind: "protocol",
    exitCode: 137,
    cause: "RangeError: Cannot read a frame: its kind is 99",
    options: ALL,
  },
  {
    name: "a frame whose value is none",
    submit: (pool) =>
      pool.submit(jobs.writeRaw, [
        [82, 79, 1, 2, 1, 0, 0, 0, ...new Array(8).fill(0), 77],
        false,
      ]),
    kind: "protocol",
    exitCode: 137,
    cause: "RangeError: Cannot read a value: it begins with byte 77",
    options: ALL,
  },
  {
    name: "a frame above the limit",
    submit: (pool) =>
      pool.submit(jobs.writeRaw, [
        [82, 79, 1, 2, 0, 0, 0, 16, ...new Array(8).fill(0)],
        false,
      ]),
    kind: "protocol",
    exitCode: 137,
    cause: "268435456 bytes",
    options: { ...ALL, frameBytesMax: 100_000 },
  },
  {
    name: "a frame that is announced and not sent",
    submit: (pool) =>
      pool.submit(jobs.writeRaw, [
        [82, 79, 1, 2, 100, 0, 0, 0, ...new Array(8).fill(0), 1, 2, 3],
        true,
      ]),
    kind: "protocol",
    exitCode: 0,
    cause: "part of it is missing",
    options: ALL,
  },
];

for (const { name, submit, kind, exitCode, cause, options } of DEATHS) {
  Deno.test(`${name} is "${kind}"`, async () => {
    const error = await deathOf(submit, options);
    assertEquals([error.kind, error.exitCode], [kind, exitCode]);
    if (cause === undefined) assertEquals(error.cause, undefined);
    else assert(String(error.cause).includes(cause), String(error.cause));
  });
}

Deno.test("a death fails the jobs of its process, and no others", async () => {
  await run(async () => {
    await using pool = new ProcessPool({ maxWorkers: 2, concurrency: 2 });
    const [one, two] = await Promise.all([
      pool.submit(jobs.addAfter, [50, 1, 1]),
      pool.submit(jobs.addAfter, [50, 2, 2]),
    ]);
    assertEquals([one, two], [2, 4]);
    const waiting = [1, 2, 3].map(() => {
      const began = Promise.withResolvers<number>();
      const job = pool.submit(jobs.wait, [], {
        onProgress: (pid) => began.resolve(pid as number),
      });
      return { job, began: began.promise };
    });
    const pids = await Promise.all(waiting.map(({ began }) => began));
    const victim = pids[0]!;
    Deno.kill(victim, "SIGKILL");
    for (const [n, { job }] of waiting.entries()) {
      if (pids[n] !== victim) continue;
      await assertRejects(async () => await job, WorkerCrashError);
    }
    for (const [n, { job }] of waiting.entries()) {
      if (pids[n] === victim) continue;
      assertEquals(job.done(), false);
      job.cancel();
      await assertRejects(async () => await job);
    }
  });
});

Deno.test("results that were sent before the death count", async () => {
  await run(async () => {
    await using pool = new ProcessPool({ maxWorkers: 1, concurrency: 2 });
    await pool.submit(jobs.add, [0, 0]);
    const results = await Promise.allSettled([
      pool.submit(jobs.bytes, [1_000_000]),
      pool.submit(jobs.leave, [7]),
    ]);
    assertEquals(results.map(({ status }) => status), [
      "fulfilled",
      "rejected",
    ]);
  });
});

Deno.test("an error after a job is reported, and the next job gets a fresh process", async () => {
  for (
    const submit of [
      (pool: ProcessPool) => pool.submit(jobs.throwAfterwards, [0]),
      (pool: ProcessPool) => pool.submit(jobs.throwAfterwards, [30]),
      (pool: ProcessPool) => pool.submit(jobs.rejectAfterwards, []),
    ]
  ) {
    const reports: unknown[] = [];
    await run(async () => {
      const { getRunningLoop } = await import("../../mod.ts");
      getRunningLoop().setExceptionHandler((_, { exception }) =>
        reports.push(exception)
      );
      await using pool = new ProcessPool({ maxWorkers: 1 });
      const pid = await pool.submit(jobs.pid, []);
      assertEquals(await submit(pool), "returned");
      await until("the death was reported", () => reports.length > 0);
      assert((await pool.submit(jobs.pid, [])) !== pid);
    });
    assertEquals(reports.length, 1);
    const [error] = reports;
    assert(error instanceof WorkerCrashError);
    assert(String(error.cause).includes("afterwards"));
  }
});

Deno.test("a process that does not go on is killed as unresponsive", async () => {
  const error = await deathOf(
    signalled("SIGSTOP", "wait"),
    { unresponsiveMs: 300 },
  );
  assertEquals([error.kind, error.exitCode], ["unresponsive", 137]);
});

Deno.test("a grandchild in a group of its own does not hold up the end of its process", async () => {
  const grandchild = await run(async () => {
    await using pool = new ProcessPool({
      maxWorkers: 1,
      permissions: { read: true, run: true },
    });
    return await pool.submit(
      () =>
        new Deno.Command("sleep", {
          args: ["100"],
          stdin: "null",
          detached: true,
        }).spawn().pid,
      [],
    );
  });
  assert(isAlive(grandchild));
  Deno.kill(grandchild, "SIGKILL");
});

Deno.test("a process that cannot start fails the jobs in line with the reason", async () => {
  const options: ProcessPoolOptions = {
    maxWorkers: 1,
    maxRestarts: 1,
    backoff: { minMs: 1, maxMs: 2 },
  };
  await run(async () => {
    await using nowhere = new ProcessPool({ ...options, cwd: "/nowhere" });
    const missing = await assertRejects(
      async () => await nowhere.submit(jobs.add, [1, 2]),
      WorkerCrashError,
    );
    assertEquals(missing.kind, "start");
    assert(missing.cause instanceof Deno.errors.NotFound);
    await using refused = new ProcessPool({
      ...options,
      flags: ["--no-such-flag", "--quiet"],
    });
    const left = await assertRejects(
      async () => await refused.submit(jobs.add, [1, 2]),
      WorkerCrashError,
    );
    assertEquals(left.kind, "start");
    assertEquals(left.exitCode, 1);
    assert(
      left.message.endsWith(
        "the last one could not start: it ended with exit code 1 before it was ready",
      ),
      left.message,
    );
  });
});

// -- Links --

/** Collects what a link tells, in order. */
class Told implements LinkListener {
  readonly log: unknown[] = [];
  readonly #ready = Promise.withResolvers<void>();
  readonly #ended = Promise.withResolvers<LinkEnd>();
  readonly whenReady: Promise<void> = this.#ready.promise;
  readonly whenEnded: Promise<LinkEnd> = this.#ended.promise;
  /** Whether the pool is in a call of the link. */
  isCalling = false;

  tell(...what: unknown[]): void {
    assertEquals(this.isCalling, false, "told during a call");
    assert(!this.log.some((told) => String(told).startsWith("ended")), "late");
    this.log.push(what.join(" "));
  }
  ready(): void {
    this.tell("ready");
    this.#ready.resolve();
  }
  returned(id: number, value: unknown): void {
    this.tell("returned", id, value);
  }
  threw(id: number, error: unknown): void {
    this.tell("threw", id, error);
  }
  progressed(id: number, value: unknown): void {
    this.tell("progressed", id, value);
  }
  nested(id: number): null {
    this.tell("nested", id);
    return null;
  }
  answered(usedBytes: number): void {
    assert(usedBytes > 1_000_000);
    this.tell("answered");
  }
  ended(end: LinkEnd): void {
    this.tell("ended", end.kind, end.exitCode);
    this.#ended.resolve(end);
  }
}

function startLink(options: Partial<ProcessLinkOptions> = {}) {
  const told = new Told();
  const start = processStarter({
    shell: "/bin/sh",
    permissions: { read: true, write: true },
    flags: [],
    frameBytesMax: 1_000_000,
    ...options,
  });
  const call = <T>(fn: () => T): T => {
    told.isCalling = true;
    try {
      return fn();
    } finally {
      told.isCalling = false;
    }
  };
  const link: WorkerLink = call(() => start(told));
  return { link, told, call };
}

const JOB = { name: "", transfer: [], remainingMs: Infinity, locals: null };
const module = JOBS_URL.href;

for (const hasProc of [true, false]) {
  const how = hasProc ? "by /proc" : "in place of standard output";
  Deno.test(`a link with frames ${how} tells all, and its end last`, async () => {
    const { link, told, call } = startLink({ hasProc });
    // Holds the process, as the loop of a pool does.
    const hold = setInterval(() => {}, 1_000);
    await told.whenReady;
    const task = { module, name: "progress" };
    call(() => link.send({ ...JOB, id: 5, task, args: [2] }));
    call(() => link.ping());
    call(() => link.close());
    const end = await told.whenEnded;
    assertEquals(told.log, [
      "ready",
      "answered",
      "progressed 5 0",
      "progressed 5 1",
      "returned 5 2",
      "ended closed 0",
    ]);
    assertEquals(end, { kind: "closed", exitCode: 0, cause: undefined });
    assertEquals(link.livesOn(), false);
    call(() => link.kill());
    call(() => link.close());
    call(() => link.ping());
    call(() => link.abort(5, "late"));
    clearInterval(hold);
  });
}

Deno.test("a link that is closed or killed before it has started ends so", async () => {
  const hold = setInterval(() => {}, 1_000);
  for (const early of [true, false]) {
    for (const act of ["close", "kill"] as const) {
      const { link, told, call } = startLink();
      if (!early) await until("it has begun", () => link.livesOn() === true);
      call(() => link[act]());
      const { kind } = await told.whenEnded;
      assertEquals(kind, act === "kill" ? "killed" : "closed");
    }
  }
  clearInterval(hold);
});

Deno.test("a killed link ends once, however often it is killed", async () => {
  const hold = setInterval(() => {}, 1_000);
  const { link, told, call } = startLink();
  await told.whenReady;
  call(() =>
    link.send({ ...JOB, id: 1, task: { module, name: "spin" }, args: [] })
  );
  await until("it spins", () => told.log.length > 1);
  const pid = Number(String(told.log[1]).split(" ")[2]);
  await until("it has used the processor", () => link.cpuMs() > 0);
  for (let n = 0; n < 3; n++) call(() => link.kill());
  const end = await told.whenEnded;
  assertEquals(end, { kind: "killed", exitCode: 137, cause: undefined });
  assertEquals(isAlive(pid), false);
  assertEquals(link.livesOn(), false);
  assert(Number.isNaN(link.cpuMs()));
  clearInterval(hold);
});

Deno.test("an abort whose reason is too long aborts all the same", async () => {
  const hold = setInterval(() => {}, 1_000);
  const { link, told, call } = startLink({ frameBytesMax: 2_000 });
  await told.whenReady;
  const task = { module, name: "untilAborted" };
  call(() => link.send({ ...JOB, id: 1, task, args: [] }));
  await until("it waits", () => told.log.length > 1);
  call(() => link.abort(1, new Error("x".repeat(10_000))));
  await until("it has ended", () => told.log.length > 2);
  assertEquals(told.log[2], "returned 1 aborted");
  call(() => link.kill());
  await told.whenEnded;
  clearInterval(hold);
});

Deno.test("an error that is too long to be sent is told as one", async () => {
  const hold = setInterval(() => {}, 1_000);
  const { link, told, call } = startLink({ frameBytesMax: 1_024 });
  await told.whenReady;
  const source = "() => { throw new Error('x'.repeat(10_000)); }";
  call(() => link.send({ ...JOB, id: 1, task: { source }, args: [] }));
  await until("it has ended", () => told.log.length > 1);
  assert(String(told.log[1]).includes("An error that cannot be sent"));
  call(() => link.close());
  await told.whenEnded;
  clearInterval(hold);
});

Deno.test("a process whose guard dies is ended", async () => {
  const hold = setInterval(() => {}, 1_000);
  const before = childrenOf(Deno.pid);
  const { told } = startLink();
  await told.whenReady;
  const [guard] = childrenOf(Deno.pid).filter((pid) => !before.includes(pid))
    .sort((a, b) => a - b);
  Deno.kill(guard!, "SIGKILL");
  const { kind, exitCode } = await told.whenEnded;
  assertEquals([kind, exitCode], ["killed", 137]);
  clearInterval(hold);
});
