import { assert, assertEquals, assertInstanceOf } from "@std/assert";
import {
  CancelledError,
  type Coroutine,
  type Future,
  getRunningLoop,
  run,
  sleep,
  taskModule,
  TimeoutError,
} from "@rota/rota";
import {
  JobVersionError,
  memoryExecutor,
  MemoryStore,
  RemoteExecutor,
  type RemoteExecutorOptions,
  RemoteStoreError,
} from "@rota/rota/fleet";
import { LoopExecutor } from "@rota/rota/workers";
import type {
  Json,
  RemoteEngine,
  RemoteLease,
} from "../../src/fleet/engine.ts";
import { toTaskRef } from "../../src/workers/module_task.ts";
import { NO_RETRY, seal } from "../../src/fleet/envelope.ts";
import { inStyle, STYLES } from "../support/styles.ts";
import { type Faults, HostileEngine } from "./support/hostile_engine.ts";
import { arrived, clear, leases, log, open, openAll } from "./support/jobs.ts";

const jobs = taskModule<typeof import("./support/jobs.ts")>(
  new URL("./support/jobs.ts", import.meta.url),
);

// deno-lint-ignore no-explicit-any
type Body = Generator<any, void, any>;

interface Stage {
  readonly store: MemoryStore;
  readonly reports: unknown[];
  submitter(faults?: Faults, options?: RemoteExecutorOptions): RemoteExecutor;
  worker(options?: RemoteExecutorOptions): RemoteExecutor;
}

function check(name: string, body: (stage: Stage) => Body): void {
  for (const style of STYLES) {
    Deno.test(`${name}, in ${style}`, async () => {
      clear();
      await run(
        inStyle(style, function* (): Body {
          const store = new MemoryStore();
          const reports: unknown[] = [];
          const made: RemoteExecutor[] = [];
          getRunningLoop().setExceptionHandler((_loop, { exception }) => {
            reports.push(exception);
          });
          const keep = (executor: RemoteExecutor) => {
            made.push(executor);
            return executor;
          };
          const common = { leaseMs: 1_000, checkMs: 300, cancelGraceMs: 1_000 };
          try {
            yield* body({
              ...{ store, reports },
              submitter: (faults = {}, options = {}) =>
                keep(
                  new RemoteExecutor(new HostileEngine(store, faults), {
                    ...{ ...common, role: "submit", ...options },
                  }),
                ),
              worker: (options = {}) =>
                keep(memoryExecutor({
                  ...{ ...common, store, role: "work" },
                  executor: new LoopExecutor({ concurrency: 4 }),
                  ...options,
                })),
            });
          } finally {
            openAll();
            store.isAway = false;
            for (const executor of made) {
              yield executor.shutdown({ graceMs: 0 });
            }
          }
        }),
        { host: "virtual" },
      );
    });
  }
}

/** Waits for a coroutine in either style. */
function waitFor(body: Coroutine<void>): Future<void> {
  return getRunningLoop().createTask(() => body);
}

/** Outcome of a future: its result, or its error. */
function* outcome(
  future: Future<unknown>,
): Generator<unknown, unknown, unknown> {
  try {
    return yield future;
  } catch (error) {
    return error;
  }
}

check(
  "a job that the store has taken without saying so is removed when it is cancelled",
  function* ({ submitter, worker, store }) {
    let adds = 0;
    const call = (call: string) =>
      call === "add" && adds++ < 3 ? "answer lost" as const : null;
    const fleet = submitter({ call }, { seed: 1 });
    const future = fleet.submit(jobs.note, ["unwanted"]);
    while (store.size === 0) yield sleep(1);
    yield sleep(1); // the failure is known, and the job waits to be added again
    assert(future.cancel("not needed"));
    const error = yield* outcome(future);
    assertInstanceOf(error, CancelledError);
    assertEquals(error.reason, "not needed");
    worker();
    yield sleep(5_000);
    assertEquals([log, store.size], [[], 0]);
  },
);

check(
  "a job that the store has never had ends at once when it is cancelled",
  function* ({ submitter, store }) {
    let adds = 0;
    const call = (call: string) =>
      call === "add" && adds++ === 0 ? "fails" as const : null;
    const fleet = submitter({ call }, { cancelGraceMs: 60_000, seed: 1 });
    const future = fleet.submit(jobs.note, ["unwanted"]);
    while (adds === 0) yield sleep(1);
    yield sleep(1);
    const loop = getRunningLoop();
    const begunMs = loop.time();
    future.cancel();
    assertInstanceOf(yield* outcome(future), CancelledError);
    assert(loop.time() - begunMs < 5_000);
    assertEquals(store.size, 0);
  },
);

check(
  "a job is cancelled while the store has not answered",
  function* ({ submitter, worker, store }) {
    const call = (call: string) => call === "add" ? { lateMs: 100 } : null;
    const fleet = submitter({ call });
    const future = fleet.submit(jobs.note, ["unwanted"]);
    while (store.size === 0) yield sleep(1);
    future.cancel();
    assertInstanceOf(yield* outcome(future), CancelledError);
    worker();
    yield sleep(1_000);
    assertEquals([log, store.size], [[], 0]);
  },
);

check(
  "an outcome that comes before the answer to the job's adding is the only one",
  function* ({ submitter, worker }) {
    const calls: string[] = [];
    const call = (call: string) => {
      calls.push(call);
      return call === "add" ? { lateMs: 100 } : null;
    };
    const fleet = submitter({ call });
    worker();
    assertEquals(yield fleet.submit(jobs.echo, [1]), 1);
    yield sleep(200);
    assertEquals(calls.filter((call) => call !== "find"), ["open", "add"]);
  },
);

check(
  "a submission that has joined another program's job leaves it alone",
  function* ({ submitter, worker }) {
    const [one, two] = [submitter(), submitter()];
    const own = one.submit(jobs.echo, ["own"], { dedupeKey: "k" });
    yield one.ready();
    yield sleep(10);
    const joined = two.submit(jobs.echo, ["joined"], { dedupeKey: "k" });
    yield sleep(10);
    joined.cancel();
    assertInstanceOf(yield* outcome(joined), CancelledError);
    worker();
    assertEquals(yield own, "own");
  },
);

check(
  "a submission goes on when the job that it has joined is taken out",
  function* ({ submitter, worker, store }) {
    const [one, two] = [submitter(), submitter()];
    const own = one.submit(jobs.echo, ["own"], { dedupeKey: "k" });
    yield sleep(10);
    const joined = two.submit(jobs.echo, ["joined"], { dedupeKey: "k" });
    yield sleep(10);
    assertEquals(store.size, 1);
    own.cancel();
    assertInstanceOf(yield* outcome(own), CancelledError);
    worker();
    assertEquals(yield joined, "joined");
  },
);

check(
  "each outage is told to a program that only works",
  function* ({ store, reports, submitter, worker }) {
    const fleet = submitter();
    const engine = new HostileEngine(store, {});
    let fail = (_error: unknown): void => {};
    const working = new RemoteExecutor(
      Object.assign(engine, {
        open: (
          ...[listener, roles]: Parameters<HostileEngine["open"]>
        ) => {
          fail = listener.failed;
          return HostileEngine.prototype.open.call(engine, listener, roles);
        },
      }),
      { role: "work", executor: new LoopExecutor() },
    );
    yield working.ready();
    for (const outage of [1, 2]) {
      fail(new Error("away"));
      fail(new Error("still away"));
      yield sleep(1);
      assertEquals(reports.length, outage);
      assertEquals(yield fleet.submit(jobs.echo, [1]), 1);
    }
    yield working.shutdown();
    void worker;
  },
);

check(
  "a function that fails as if an executor were shut down fails like any other",
  function* ({ submitter, worker }) {
    const fleet = submitter();
    worker();
    const error = yield* outcome(fleet.submit(jobs.failAsShutDown, []));
    assertEquals((error as Error).name, "ExecutorShutDownError");
    assertEquals(leases.length, 1);
  },
);

check(
  "a worker whose executor was shut down gives jobs back, and not in a hurry",
  function* ({ submitter, worker, store }) {
    const fleet = submitter();
    const executor = new LoopExecutor();
    yield executor.shutdown();
    let calls = 0;
    const submit = executor.submit.bind(executor);
    executor.submit = ((...args: Parameters<typeof submit>) => {
      calls++;
      return submit(...args);
    }) as typeof executor.submit;
    const broken = worker({ executor, concurrency: 1 });
    const future = fleet.submit(jobs.echo, [1]);
    yield sleep(1_000);
    assert(calls > 1 && calls <= 11, String(calls));
    assertEquals(store.size, 1);
    yield broken.shutdown({ graceMs: 0 });
    worker();
    assertEquals(yield future, 1);
  },
);

check(
  "a damaged result and damaged progress are told as such",
  function* ({ store, reports, submitter }) {
    const told: unknown[] = [];
    const fleet = submitter();
    const engine = new HostileEngine(store, {});
    const future = fleet.submit(jobs.echo, [1], {
      onProgress: (value) => told.push(value),
    });
    const worker = new RemoteExecutor(
      Object.assign(engine, {
        work: (n: number, _run: unknown) =>
          HostileEngine.prototype.work.call(engine, n, (lease) => {
            lease.progress("%%");
            return Promise.resolve({ kind: "returned", value: "%%" });
          }),
      }),
      { role: "work", executor: new LoopExecutor() },
    );
    const error = yield* outcome(future);
    assertInstanceOf(error, RemoteStoreError);
    assert(error.message.includes("result of job"), error.message);
    assertEquals(told, []);
    assertInstanceOf(reports[0], RemoteStoreError);
    yield worker.shutdown({ graceMs: 0 });
  },
);

check(
  "a damaged job fails once, whatever it says of retries",
  function* ({ store, worker }) {
    const job = {
      ...{ name: "x", task: { module: "data:,", name: "x" }, args: [] },
      ...{ locals: null, deadlineAtMs: Infinity, dedupeKey: null },
      tellsProgress: false,
      retry: {
        ...{ attempts: 2, initialMs: 1, factor: 1, maxMs: 1 },
        isRandom: false,
      },
    };
    const sealed = seal(job, null) as Record<string, Json>;
    const five = { ...seal({ ...job, args: 5 as never }, null) as object };
    const damaged: Json[] = [
      ...[{ ...sealed, retry: ["x"] }, { ...sealed, retry: 5 }],
      ...[{ ...sealed, retry: [1e999, 0, 1, 1, true] }],
      ...[{ ...sealed, deadlineAtMs: "soon" }, five as Json],
    ];
    const ids = damaged.map((payload) => store.inject(payload));
    worker();
    yield sleep(10);
    for (const id of ids) {
      const found = store.find(id);
      assertEquals(found.kind, "threw");
      const { message } = found as { message: string };
      assert(message.includes(JobVersionError.name), message);
    }
  },
);

check(
  "a job that the store refuses fails, and those beside it go on",
  function* ({ store, submitter, worker }) {
    const engine = new HostileEngine(store, {});
    const fleet = new RemoteExecutor(
      Object.assign(engine, {
        add: async (requests: Parameters<HostileEngine["add"]>[0]) => {
          const rest = requests.filter(({ name }) => name !== "large");
          const ids = [...await HostileEngine.prototype.add.call(engine, rest)];
          return requests.map(({ name }) =>
            name === "large" ? new RangeError("too large") : ids.shift()!
          );
        },
      }),
      { role: "submit" },
    );
    worker();
    const futures = ["a", "large", "b"].map((name) =>
      fleet.submit(jobs.echo, [name], { name })
    );
    assertEquals(yield futures[0], "a");
    assertEquals(yield futures[2], "b");
    const error = yield* outcome(futures[1]!);
    assertInstanceOf(error, RemoteStoreError);
    assertInstanceOf(error.cause, RangeError);
    yield fleet.shutdown();
    void submitter;
  },
);

check(
  "times without a limit are taken",
  function* ({ submitter, worker }) {
    const fleet = submitter({}, {
      ...{ storeTimeoutMs: Infinity, checkMs: Infinity },
      ...{ cancelGraceMs: Infinity, keepResultsMs: Infinity },
    });
    worker({ keepResultsMs: Infinity, keepFailedMs: Infinity });
    yield fleet.ready();
    assertEquals(yield fleet.submit(jobs.echo, [1]), 1);
    const future = fleet.submit(jobs.wait, ["gate"]);
    yield sleep(100);
    future.cancel();
    assertInstanceOf(yield* outcome(future), CancelledError);
  },
);

check(
  "a flood of progress arrives whole and in order",
  function* ({ submitter, worker }) {
    const fleet = submitter();
    worker();
    const told: number[] = [];
    const onProgress = (value: unknown) =>
      told.push((value as { n: number }).n);
    yield fleet.submit(jobs.count, [5_000], { onProgress });
    assertEquals(told, Array.from({ length: 5_000 }, (_, n) => n + 1));
  },
);

check(
  "a job whose deadline passes while the store is away ends then",
  function* ({ submitter, worker, store }) {
    const fleet = submitter();
    yield fleet.ready();
    store.isAway = true;
    const loop = getRunningLoop();
    const deadlineMs = loop.time() + 200;
    const future = fleet.submit(jobs.note, ["late"], { deadlineMs });
    assertInstanceOf(yield* outcome(future), TimeoutError);
    assert(loop.time() >= deadlineMs && loop.time() <= deadlineMs + 1_001);
    store.isAway = false;
    worker();
    yield sleep(5_000);
    assertEquals(log, []);
  },
);

check(
  "a store that goes away under a stale holder and a fresh one commits the fresh one",
  function* ({ submitter, worker, store }) {
    const fleet = submitter();
    worker();
    const future = fleet.submit(jobs.insist, ["gate"]);
    yield waitFor(arrived("gate"));
    store.loseLeases();
    yield waitFor(arrived("gate", 2));
    store.isAway = true;
    open("gate", "stale", 0);
    open("gate", "fresh", 1);
    yield sleep(500);
    store.isAway = false;
    assertEquals(yield future, "fresh");
  },
);

for (const style of STYLES) {
  for (const isStubborn of [false, true]) {
    Deno.test(`the end of a run gives back a job that ${isStubborn ? "goes on" : "ends"} when it is cancelled, in ${style}`, async () => {
      clear();
      const verdicts: string[] = [];
      const calls: string[] = [];
      const task = isStubborn ? jobs.insist : jobs.wait;
      const payload = seal({
        ...{ name: "x", task: toTaskRef(task, "test"), args: ["gate"] },
        ...{ locals: null, deadlineAtMs: Infinity, dedupeKey: null },
        ...{ tellsProgress: false, retry: NO_RETRY },
      }, null);
      const engine: RemoteEngine = {
        ...{ inWords: "a store", isOutside: false },
        open: () => Promise.resolve(),
        add: () => Promise.resolve([]),
        cancel: () => Promise.resolve(false),
        find: () => Promise.resolve([]),
        work: (_concurrency, run) => {
          const lease: RemoteLease = {
            ...{ id: "1", payload, fencingToken: 1, attempt: 1, onLost: null },
            progress: () => {},
          };
          run(lease).then(({ kind }) => verdicts.push(kind));
        },
        stop: () => Promise.resolve(void calls.push("stop")),
        close: () => Promise.resolve(void calls.push("close")),
      };
      await run(
        inStyle(style, function* (): Body {
          new RemoteExecutor(engine, {
            ...{ role: "work", executor: new LoopExecutor() },
          });
          yield waitFor(arrived("gate"));
        }),
        { host: "virtual", cancelGraceMs: 100 },
      ).catch(() => {});
      await Promise.resolve();
      assertEquals(verdicts, ["release"]);
      assertEquals(calls, ["stop", "close"]);
    });
  }
}
