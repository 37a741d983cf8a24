/**
 * What every engine of a fleet has to do, as tests.
 *
 * @module
 */
import { assert, assertEquals, assertInstanceOf } from "@std/assert";
import {
  CancelledError,
  type Coroutine,
  type Future,
  getRunningLoop,
  LoadBalancer,
  type Operation,
  run,
  sleep,
  taskModule,
  TimeoutError,
  until,
} from "@rota/rota";
import type { RemoteExecutor, RemoteExecutorOptions } from "@rota/rota/fleet";
import {
  JobVersionError,
  LeaseLostError,
  RemoteStoreError,
} from "@rota/rota/fleet";
import { LoopExecutor } from "@rota/rota/workers";
import { ExecutorShutDownError, MisuseError } from "../../../src/errors.ts";
import { arrived, clear, leases, log, open, openAll, reasons } from "./jobs.ts";

/** A store for one test. */
export interface Scene extends AsyncDisposable {
  /** Makes an executor over the store. */
  executor(options: RemoteExecutorOptions): RemoteExecutor;
  /** Ends all leases, as if they had not been renewed. */
  loseLeases(): Promise<void>;
  /** Puts something in the store that is no job of this version. */
  inject(payload: unknown): Promise<void>;
  /** Waits until something injected has ended; returns the message of its failure. */
  injectedFailure(): Promise<string>;
  /** Takes the store away. */
  stop(): Promise<void>;
  /** Brings the store back. */
  start(): Promise<void>;
}

/** An engine to test. */
export interface Subject {
  readonly name: string;
  /** Registers a test. */
  test(name: string, fn: () => Promise<void>): void;
  /** Whether a test takes no real time. */
  readonly isVirtual: boolean;
  /** Whether priorities of waiting jobs are more than three. */
  readonly hasPriorities: boolean;
  /** Least lease that the store works with. */
  readonly leaseMs: number;
  open(): Promise<Scene>;
}

const jobs = taskModule<typeof import("./jobs.ts")>(
  new URL("./jobs.ts", import.meta.url),
);

/** Outcome of a future: its result, or its error. */
function* outcome(future: Future<unknown>): Coroutine<unknown> {
  try {
    return yield* future;
  } catch (error) {
    return error;
  }
}

function* close(...executors: readonly RemoteExecutor[]): Coroutine<void> {
  for (const executor of executors) yield* executor.shutdown({ graceMs: 0 });
}

/** Registers the tests of an engine. */
export function conformance(subject: Subject): void {
  const { leaseMs } = subject;

  function check(
    name: string,
    body: (scene: Scene, made: Maker) => Coroutine<void>,
  ): void {
    subject.test(`${subject.name}: ${name}`, async () => {
      clear();
      await using scene = await subject.open();
      const executors: RemoteExecutor[] = [];
      const reports: unknown[] = [];
      const made: Maker = {
        reports,
        both: (options = {}) => made.make("both", options),
        worker: (options = {}) => made.make("work", options),
        submitter: (options = {}) => made.make("submit", options),
        make: (role, options) => {
          const executor = scene.executor({
            ...{ role, leaseMs, checkMs: 300, cancelGraceMs: 1_000 },
            executor: new LoopExecutor({ concurrency: 4 }),
            ...options,
          });
          executors.push(executor);
          return executor;
        },
      };
      await run(function* () {
        getRunningLoop().setExceptionHandler((_loop, { exception }) => {
          reports.push(exception);
        });
        try {
          yield* body(scene, made);
        } finally {
          openAll();
          yield* close(...executors);
        }
      }, {
        host: subject.isVirtual ? "virtual" : "portable",
      });
    });
  }

  check("values go to and fro as structured clones", function* (_, { both }) {
    const fleet = both();
    const shared = { n: 1 };
    const values = [
      undefined,
      null,
      -0,
      12345678901234567890n,
      "\ud800 π",
      new Date(5),
      new Map([["a", new Set([1])]]),
      new Uint8Array([1, 2, 3]),
      [shared, shared],
      { deep: { er: [NaN, Infinity] } },
    ];
    for (const value of values) {
      assertEquals(yield* fleet.submit(jobs.echo, [value]), value);
    }
    const [a, b] = (yield* fleet.submit(jobs.echo, [[shared, shared]])) as [
      unknown,
      unknown,
    ];
    assert(a === b);
    assertEquals(fleet.stats().done, values.length + 1);
  });

  check("an error keeps its class, message and cause", function* (_, { both }) {
    const error = yield* outcome(both().submit(jobs.fail, ["no"]));
    assertInstanceOf(error, RangeError);
    assertEquals(error.message, "no");
    assertEquals(error.cause, { why: new Date(0) });
    assert(error.stack!.includes("jobs.ts"));
  });

  check(
    "a value that cannot be cloned fails its own job",
    function* (_, { both }) {
      const fleet = both();
      const error = yield* outcome(fleet.submit(jobs.echo, [() => 1]));
      assertEquals((error as Error).name, "DataCloneError");
      assertEquals(yield* fleet.submit(jobs.echo, [1]), 1);
    },
  );

  check(
    "higher priorities begin first, then first come, first served",
    function* (_, made) {
      const fleet = made.submitter();
      const priorities: [string, number | "background" | "user-blocking"][] = [
        ["a", 0],
        ["b", "background"],
        ["c", "user-blocking"],
        ["d", 0],
        ["e", "user-blocking"],
      ];
      if (subject.hasPriorities) priorities.push(["f", 11], ["g", -1_000]);
      yield* fleet.ready();
      const futures: Future<string>[] = [];
      for (const [name, priority] of priorities) {
        futures.push(fleet.submit(jobs.note, [name], { priority }));
      }
      // All are in the store before a worker comes.
      while (fleet.stats().queued < priorities.length) yield* sleep(1);
      yield* sleep(100);
      made.worker({ concurrency: 1 });
      for (const future of futures) yield* future;
      assertEquals(log.join(""), subject.hasPriorities ? "fceadbg" : "ceadb");
    },
  );

  check("a delayed job waits", function* (_, { both }) {
    const fleet = both();
    yield* fleet.ready();
    const late = fleet.submit(jobs.note, ["late"], { delayMs: 300 });
    const early = fleet.submit(jobs.note, ["early"], {});
    yield* early;
    yield* late;
    assertEquals(log, ["early", "late"]);
  });

  check("submissions with one key join one job", function* (_, { both }) {
    const fleet = both();
    const first = fleet.submit(jobs.wait, ["gate"], { dedupeKey: "k" });
    yield* arrived("gate");
    const second = fleet.submit(jobs.wait, ["gate"], { dedupeKey: "k" });
    const other = fleet.submit(jobs.echo, [1], { dedupeKey: "other" });
    assertEquals(yield* other, 1);
    open("gate", 7);
    assertEquals([yield* first, yield* second], [7, 7]);
    assertEquals(leases.length, 1);
    assertEquals(leases[0]!.dedupeKey, "k");
    const third = fleet.submit(jobs.echo, [8], { dedupeKey: "k" });
    assertEquals(yield* third, 8); // the key is free again
  });

  check(
    "a job that fails is tried again, with growing tokens",
    function* (_, { both }) {
      const fleet = both();
      const backoff = { initialMs: 20, jitter: "none" } as const;
      const options = { attempts: 3, backoff };
      assertEquals(yield* fleet.submit(jobs.failUntil, [3], options), 3);
      assertEquals(leases.map(({ attempt }) => attempt), [1, 2, 3]);
      const tokens = leases.map(({ fencingToken }) => fencingToken);
      assertEquals(tokens, tokens.toSorted((a, b) => a - b));
      assertEquals(new Set(tokens).size, 3);
      assertEquals(new Set(leases.map(({ id }) => id)).size, 1);
      const error = yield* outcome(
        fleet.submit(jobs.failUntil, [9], { attempts: 2, backoff }),
      );
      assertEquals((error as Error).message, "attempt 2");
    },
  );

  check("a job that waits is cancelled and never runs", function* (_, made) {
    const fleet = made.submitter();
    const first = fleet.submit(jobs.note, ["first"]);
    const second = fleet.submit(jobs.note, ["second"]);
    yield* fleet.ready();
    yield* sleep(100);
    assert(first.cancel("not needed"));
    const error = yield* outcome(first);
    assertInstanceOf(error, CancelledError);
    assertEquals(error.reason, "not needed");
    made.worker();
    yield* second;
    assertEquals(log, ["second"]);
  });

  check("a job that runs elsewhere is cancelled", function* (_, made) {
    const fleet = made.submitter();
    made.worker();
    const future = fleet.submit(jobs.wait, ["gate"], { attempts: 5 });
    yield* arrived("gate");
    future.cancel("not needed");
    assertInstanceOf(yield* outcome(future), CancelledError);
    assert(String(reasons.get("gate")).includes("not needed"));
    assertEquals(yield* fleet.submit(jobs.echo, [1]), 1);
    assertEquals(leases.length, 1); // it was not tried again
    assertEquals(fleet.stats().cancelled, 1);
  });

  check("deadlines end jobs that wait and jobs that run", function* (_, made) {
    const fleet = made.submitter();
    yield* fleet.ready();
    const waits = fleet.submit(jobs.note, ["late"], soon(200));
    assertInstanceOf(yield* outcome(waits), TimeoutError);
    made.worker();
    const runs = fleet.submit(jobs.wait, ["gate"], soon(leaseMs));
    yield* arrived("gate");
    assertInstanceOf(yield* outcome(runs), TimeoutError);
    assert(reasons.has("gate"));
    assertEquals(log, []);
  });

  check("progress is told in order, before the result", function* (_, made) {
    const fleet = made.submitter();
    made.worker();
    const told: unknown[] = [];
    const onProgress = (value: unknown) => void told.push(value);
    assertEquals(yield* fleet.submit(jobs.count, [3], { onProgress }), 3);
    assertEquals(told, [{ n: 1 }, { n: 2 }, { n: 3 }]);
  });

  check(
    "a worker that shuts down gives its job back at once",
    function* (_, made) {
      const fleet = made.submitter();
      const first = made.worker({ leaseMs: 60_000 });
      const future = fleet.submit(jobs.wait, ["gate"]);
      yield* arrived("gate");
      yield* first.shutdown({ graceMs: 0 });
      made.worker({ leaseMs: 60_000 });
      yield* arrived("gate", 2); // long before the lease of the first would have run out
      open("gate", "second", 1);
      assertEquals(yield* future, "second");
      assert(leases[1]!.fencingToken > leases[0]!.fencingToken);
      assertEquals(leases[1]!.attempt, 1 + Number(!countsFailuresOnly(leases)));
    },
  );

  check(
    "a lease is renewed as long as the job runs, also during a shutdown",
    function* (_, made) {
      const fleet = made.submitter();
      const worker = made.worker();
      const other = made.worker();
      yield* other.ready();
      const future = fleet.submit(jobs.wait, ["gate"]);
      yield* arrived("gate");
      yield* sleep(1.4 * leaseMs);
      const closings = [worker, other].map((it) => it.shutdown());
      const all = closings.map((closing) => spawn(closing));
      yield* sleep(1.4 * leaseMs);
      assertEquals(leases.length, 1);
      open("gate", "done");
      assertEquals(yield* future, "done");
      for (const task of all) yield* task;
      assertEquals(leases.length, 1);
    },
  );

  check(
    "a lost lease aborts the signal, and its result is refused",
    function* (scene, made) {
      const fleet = made.submitter();
      made.worker();
      const other = made.worker();
      yield* other.ready();
      const future = fleet.submit(jobs.insist, ["gate"]);
      yield* arrived("gate");
      yield* operation(() => scene.loseLeases());
      yield* arrived("gate", 2);
      while (!reasons.has("gate")) yield* sleep(10);
      const reason = reasons.get("gate") as CancelledError;
      assertInstanceOf(reason.reason, LeaseLostError);
      open("gate", "stale", 0);
      yield* sleep(leaseMs);
      assert(!future.done());
      open("gate", "fresh", 1);
      assertEquals(yield* future, "fresh");
      assert(leases[1]!.fencingToken > leases[0]!.fencingToken);
    },
  );

  check(
    "a job of another version fails, and the worker goes on",
    function* (scene, made) {
      const fleet = made.both();
      yield* fleet.ready();
      yield* operation(() => scene.inject({ v: 999, what: "ever" }));
      const message = yield* operation(() => scene.injectedFailure());
      assert(message.includes("version must be 1: received 999"), message);
      assert(message.includes(JobVersionError.name), message);
      assertEquals(yield* fleet.submit(jobs.echo, [1]), 1);
    },
  );

  check(
    "without a store jobs fail clearly, and go on when it is back",
    function* (scene, made) {
      const fleet = made.both({ storeTimeoutMs: 500 });
      assertEquals(yield* fleet.submit(jobs.echo, [1]), 1);
      yield* operation(() => scene.stop());
      const error = yield* outcome(fleet.submit(jobs.echo, [2]));
      assertInstanceOf(error, RemoteStoreError);
      assert(error.message.includes("did not take it within 500 ms"));
      yield* operation(() => scene.start());
      let result: unknown;
      do result = yield* outcome(fleet.submit(jobs.echo, [3])); while (
        result instanceof RemoteStoreError
      );
      assertEquals(result, 3);
      assert(made.reports.length > 0); // somebody was told that the store is away
    },
  );

  check(
    "a store that is not there at the start is waited for",
    function* (scene, made) {
      yield* operation(() => scene.stop());
      const fleet = made.both({ storeTimeoutMs: 300 });
      const error = yield* outcome(spawn(fleet.ready()));
      assertInstanceOf(error, RemoteStoreError);
      const refused = yield* outcome(fleet.submit(jobs.echo, [1]));
      assertInstanceOf(refused, RemoteStoreError);
      yield* operation(() => scene.start());
      let result: unknown;
      do result = yield* outcome(fleet.submit(jobs.echo, [2])); while (
        result instanceof RemoteStoreError
      );
      assertEquals(result, 2);
      assert(made.reports.length > 0);
    },
  );

  // BullMQ leaves timers of its own behind: its proof is a process that ends.
  if (subject.isVirtual) {
    check(
      "a shutdown ends although the store is away",
      function* (scene, made) {
        const fleet = made.both();
        const future = fleet.submit(jobs.wait, ["gate"]);
        yield* arrived("gate");
        yield* operation(() => scene.stop());
        const ended = spawn(fleet.shutdown({ graceMs: 0 }));
        assertInstanceOf(yield* outcome(future), CancelledError);
        yield* ended;
        yield* operation(() => scene.start());
      },
    );
  }

  check("map and LoadBalancer take it as an executor", function* (_, made) {
    const fleet = made.both({ capacity: 3 });
    assertEquals(yield* fleet.map(jobs.echo, [1, 2, 3, 4, 5]), [1, 2, 3, 4, 5]);
    const balancer = new LoadBalancer();
    balancer.add(fleet, { name: "fleet" });
    balancer.add(new LoopExecutor(), { name: "loop" });
    assertEquals(yield* balancer.map(jobs.echo, [1, 2, 3, 4]), [1, 2, 3, 4]);
    yield* balancer.shutdown();
  });

  check(
    "what a shut down executor and a mere worker refuse",
    function* (_, made) {
      const fleet = made.both();
      const last = fleet.submit(jobs.echo, ["last"]);
      yield* fleet.shutdown();
      yield* fleet.shutdown();
      assertEquals(yield* last, "last");
      assertEquals(
        refusal(() => fleet.submit(jobs.echo, [1])),
        ExecutorShutDownError,
      );
      const worker = made.worker();
      assertEquals(refusal(() => worker.submit(jobs.echo, [1])), MisuseError);
    },
  );
}

/** Makes executors of the scene, which are shut down at the end. */
interface Maker {
  /** What the exception handler was told. */
  readonly reports: unknown[];
  both(options?: RemoteExecutorOptions): RemoteExecutor;
  worker(options?: RemoteExecutorOptions): RemoteExecutor;
  submitter(options?: RemoteExecutorOptions): RemoteExecutor;
  make(
    role: "both" | "work" | "submit",
    options: RemoteExecutorOptions,
  ): RemoteExecutor;
}

function refusal(fn: () => unknown): unknown {
  try {
    fn();
  } catch (error) {
    return (error as Error).constructor;
  }
  return null;
}

function countsFailuresOnly(runs: readonly { attempt: number }[]): boolean {
  return runs[1]!.attempt === 1;
}

/** Runs an async function of the scene as part of a generator. */
function operation<T>(fn: () => Promise<T>): Operation<T> {
  return until(fn);
}

/** Starts an operation in a task. */
function spawn(operation: Operation<void>): Future<void> {
  return getRunningLoop().createTask(function* () {
    yield* operation;
  });
}

/** A deadline so many milliseconds from now. */
function soon(ms: number): { deadlineMs: number } {
  return { deadlineMs: getRunningLoop().time() + ms };
}
