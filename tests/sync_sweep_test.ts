/**
 * Cancels a task at every point of its life, and many tasks at random points,
 * for each way of coordinating tasks: nothing is lost and nobody is forgotten.
 *
 * @module
 */

import { assert, assertEquals, assertStrictEquals } from "@std/assert";
import {
  Barrier,
  BoundedSemaphore,
  BrokenBarrierError,
  CancelledError,
  Channel,
  ChannelClosedError,
  Condition,
  createTask,
  Flag,
  getRunningLoop,
  LifoQueue,
  Lock,
  type Permit,
  PriorityQueue,
  Queue,
  QueueShutDownError,
  run,
  Semaphore,
  sleep,
  type Task,
} from "../mod.ts";
import { cancelEverywhere } from "../src/testing/everywhere.ts";
import { SeededRandom } from "../src/structures/random.ts";
import { inStyle, type Steps, type Style, STYLES } from "./support/styles.ts";

const VIRTUAL = { host: "virtual" } as const;

type Script = ReturnType<Steps<unknown>>;

/** A few tasks that need each other, and one of them that is going to be stopped. */
interface World {
  /** The one that is stopped: by the signal, or from outside. */
  readonly victim: (signal: AbortSignal | undefined) => Script;
  /** They have to end whatever happens to the victim. */
  readonly others: readonly Steps<unknown>[];
  /** Called when they have ended. */
  readonly close?: () => void;
  /** They have to end after that. */
  readonly last?: readonly Steps<unknown>[];
  /** Fails if something is missing. */
  readonly check: () => void;
}

function* pause(turns: number): Script {
  for (let n = 0; n < turns; n++) yield sleep(0);
  return undefined;
}

// -- The worlds --

/** Visits of something that lets `total` inside at once. */
function visits(
  total: number,
  acquire: (signal?: AbortSignal) => unknown,
  available: () => number,
): World {
  let inside = 0;
  const visit = function* (rounds: number, signal?: AbortSignal): Script {
    for (let n = 0; n < rounds; n++) {
      using permit: Permit = yield acquire(signal) as ReturnType<
        Lock["acquire"]
      >;
      assert(permit.held);
      assert(++inside <= total);
      try {
        yield* pause(n);
      } finally {
        inside--;
        if (n === 1) permit.release(); // and by the block once more
      }
    }
    return undefined;
  };
  return {
    victim: (signal) => visit(3, signal),
    others: [1, 2, 3].map((rounds) => () => visit(rounds)),
    check() {
      assertEquals([inside, available()], [0, total]);
    },
  };
}

function lockWorld(): World {
  const lock = new Lock();
  return visits(
    1,
    (signal) => lock.acquire({ signal }),
    () => lock.locked() ? 0 : 1,
  );
}

/** As in asyncio: `acquire()` and `release()` in pairs. */
function releasedLockWorld(): World {
  const lock = new Lock();
  let inside = 0;
  const visit = function* (signal?: AbortSignal): Script {
    for (let n = 0; n < 2; n++) {
      yield lock.acquire({ signal });
      try {
        assertEquals(++inside, 1);
        yield sleep(0);
      } finally {
        inside--;
        lock.release();
      }
    }
    return undefined;
  };
  return {
    victim: visit,
    others: [() => visit(), () => visit()],
    check: () => assertEquals([inside, lock.locked()], [0, false]),
  };
}

function semaphoreWorld(Class: typeof Semaphore): World {
  const semaphore = new Class(2);
  return visits(
    2,
    (signal) => semaphore.acquire({ signal }),
    () => semaphore.value,
  );
}

function flagWorld(): World {
  const flag = new Flag();
  let woken = 0;
  const wait = function* (signal?: AbortSignal): Script {
    for (let n = 0; n < 2; n++) {
      yield flag.wait({ signal });
      woken++;
      yield sleep(0);
    }
    return undefined;
  };
  return {
    victim: wait,
    others: [
      () => wait(),
      function* () {
        yield* pause(2);
        flag.set();
        flag.clear();
        yield* pause(3);
        flag.set();
      },
      () => wait(),
    ],
    check: () => assert(woken >= 4 && flag.isSet()),
  };
}

/** Consumers of things that somebody makes, one notification for each. */
function conditionWorld(): World {
  const condition = new Condition();
  let made = 0;
  let used = 0;
  let inside = 0;
  const consume = function* (count: number, signal?: AbortSignal): Script {
    for (let n = 0; n < count; n++) {
      using permit: Permit = yield condition.acquire({ signal });
      try {
        yield condition.waitFor(() => made > used, { signal });
      } finally {
        // Whatever ends the wait, the lock is back.
        assertEquals([permit.held, ++inside], [true, 1]);
        inside--;
      }
      used++;
      yield sleep(0);
    }
    return undefined;
  };
  return {
    victim: (signal) => consume(2, signal),
    others: [
      () => consume(2),
      () => consume(1),
      function* () {
        // As many as all of them need: a notification that is lost leaves somebody waiting.
        for (let n = 0; n < 5; n++) {
          using _permit: Permit = yield condition.acquire();
          made++;
          condition.notify();
          yield* pause(n % 3);
        }
      },
    ],
    check() {
      assert(used >= 3 && used <= made);
      assertEquals([made, condition.locked()], [5, false]);
    },
  };
}

function barrierWorld(): World {
  const barrier = new Barrier(2);
  const indices: number[] = [];
  const meet = function* (signal?: AbortSignal): Script {
    try {
      for (let n = 0; n < 3; n++) {
        indices.push(yield barrier.wait({ signal }));
      }
    } catch (error) {
      if (!(error instanceof BrokenBarrierError)) throw error;
    }
    return undefined;
  };
  return {
    victim: meet,
    others: [
      () => meet(),
      () => meet(),
      function* () {
        yield* pause(25);
        assert(barrier.nWaiting <= 1);
        yield barrier.abort();
        yield barrier.reset();
      },
    ],
    last: [0, 1].map(() =>
      function* () {
        while (barrier.broken) yield sleep(0);
        yield* pause(30);
        const index: number = yield barrier.wait();
        assert(index === 0 || index === 1);
      }
    ),
    check() {
      assert(indices.every((index) => index === 0 || index === 1));
      assertEquals([barrier.nWaiting, barrier.broken], [0, false]);
    },
  };
}

/** The first number that the victim sends. */
const VICTIM = 100;

/** What queues and channels have in common. */
interface Pipeline {
  send(n: number, signal?: AbortSignal): ReturnType<Queue<number>["put"]>;
  receive(signal?: AbortSignal): ReturnType<Queue<number>["get"]>;
  close(): void;
  /** Takes what is left. */
  drain(): number[];
}

function queuePipeline(queue: Queue<number>): Pipeline {
  return {
    send: (n, signal) => queue.put(n, { signal }),
    receive: (signal) => queue.get({ signal }),
    close: () => queue.shutdown(),
    drain: () => Array.from({ length: queue.size }, () => queue.getNowait()),
  };
}

function channelPipeline(channel: Channel<number>): Pipeline {
  return {
    send: (n, signal) => channel.send(n, { signal }),
    receive: (signal) => channel.receive({ signal }),
    close: () => channel.close(),
    drain() {
      const left: number[] = [];
      for (
        let step = channel.tryReceive();
        step.state === "ok";
        step = channel.tryReceive()
      ) left.push(step.value);
      const { sent, received, size } = channel.stats();
      assertEquals([size, sent], [0, received]);
      return left;
    },
  };
}

const PIPELINES: Readonly<Record<string, () => Pipeline>> = {
  "Queue of 1": () => queuePipeline(new Queue(1)),
  "Queue": () => queuePipeline(new Queue()),
  "LifoQueue of 2": () => queuePipeline(new LifoQueue(2)),
  "PriorityQueue of 1": () => queuePipeline(new PriorityQueue(1)),
  "Channel of 0": () => channelPipeline(new Channel()),
  "Channel of 1": () => channelPipeline(new Channel({ capacity: 1 })),
  "Channel of 3": () => channelPipeline(new Channel({ capacity: 3 })),
};

function pipelineWorld(
  pipeline: Pipeline,
  victim: "producer" | "consumer",
): World {
  const sent: number[] = [];
  const received: number[] = [];
  const produce = function* (from: number, signal?: AbortSignal): Script {
    try {
      for (let n = from; n < from + 4; n++) {
        yield pipeline.send(n, signal);
        sent.push(n);
        if (n % 2 === 0) yield sleep(0);
      }
    } catch (error) {
      // Only the victim is not waited for before the end.
      if (!isClosed(error) || from !== VICTIM) throw error;
    }
    return undefined;
  };
  const consume = function* (signal?: AbortSignal): Script {
    try {
      for (let n = 0;; n++) {
        received.push(yield pipeline.receive(signal));
        yield* pause(n % 2);
      }
    } catch (error) {
      if (!isClosed(error)) throw error;
    }
    return undefined;
  };
  return {
    victim: (signal) =>
      victim === "producer" ? produce(VICTIM, signal) : consume(signal),
    others: [() => produce(200), () => produce(300)],
    close: () => pipeline.close(),
    last: [() => consume(), () => consume()],
    check() {
      received.push(...pipeline.drain());
      assertEquals(received.toSorted(), sent.toSorted());
      assert(sent.length >= 8);
    },
  };
}

function isClosed(error: unknown): boolean {
  return error instanceof QueueShutDownError ||
    error instanceof ChannelClosedError;
}

function joinWorld(): World {
  const queue = new Queue<number>();
  for (let n = 0; n < 3; n++) queue.putNowait(n);
  let joined = 0;
  const join = function* (signal?: AbortSignal): Script {
    yield queue.join({ signal });
    joined++;
    return undefined;
  };
  return {
    victim: join,
    others: [
      () => join(),
      function* () {
        for (let n = 0; n < 3; n++) {
          yield queue.get();
          yield sleep(0);
          queue.taskDone();
        }
      },
      () => join(),
    ],
    check: () => assert(joined >= 2),
  };
}

const WORLDS: Readonly<Record<string, () => World>> = {
  "Lock": lockWorld,
  "Lock with release()": releasedLockWorld,
  "Semaphore": () => semaphoreWorld(Semaphore),
  "BoundedSemaphore": () => semaphoreWorld(BoundedSemaphore),
  "Flag": flagWorld,
  "Condition": conditionWorld,
  "Barrier": barrierWorld,
  "Queue.join()": joinWorld,
  ...Object.fromEntries(
    Object.entries(PIPELINES).flatMap(([name, make]) =>
      (["producer", "consumer"] as const).map((victim) => [
        `${name}, ${victim}`,
        () => pipelineWorld(make(), victim),
      ])
    ),
  ),
};

// -- Every point --

/** How the victim is stopped. */
const WAYS = ["cancel", "cancel twice", "scope", "signal"] as const;

/** Stops the victim of a world at every point of its life, among others that need it. */
function stopEverywhere(
  style: Style,
  make: () => World,
  by: typeof WAYS[number],
): Promise<number> {
  let victim: Task<unknown>;
  return cancelEverywhere(
    function* (world, sweep) {
      const spawn = (steps: Steps<unknown>) =>
        createTask(inStyle(style, steps));
      const [first, ...rest] = world.others;
      const others = [spawn(first!)];
      victim = sweep.victim(
        inStyle(
          style,
          () => world.victim(by === "signal" ? sweep.signal : undefined),
        ),
      );
      others.push(...rest.map(spawn));
      const last = (world.last ?? []).map(spawn);
      for (const other of others) yield* other;
      world.close?.();
      for (const other of last) yield* other;
      try {
        yield* victim;
      } catch (error) {
        // Nothing else can have stopped it.
        const isOurs = by === "signal"
          ? error === sweep.signal.reason
          : error instanceof CancelledError;
        if (!isOurs) throw error;
      }
    },
    (world, { taken }) => {
      // In time it does not come back.
      if (by === "cancel") assertEquals(victim.cancelled(), taken);
      world.check();
    },
    { setup: make, by },
  );
}

for (const style of STYLES) {
  for (const [name, make] of Object.entries(WORLDS)) {
    Deno.test(`${name}: ${style} is stopped at every point of its life`, async () => {
      for (const by of WAYS) {
        const points = await stopEverywhere(style, make, by);
        assert(points > 1, `${points} points`);
      }
    });
  }
}

// -- Random programs --

const STOPPED = new Error("stopped");

const PROGRAMS = 300;

/** Runs programs with seeds of their own, printed beforehand. */
function testRandom(
  name: string,
  program: (style: Style, random: SeededRandom) => Promise<void>,
): void {
  for (const style of STYLES) {
    Deno.test(`${name}: random programs, each task ${style}`, async () => {
      const base = Date.now();
      console.log(`seeds ${base} to ${base + PROGRAMS - 1}`);
      for (let seed = base; seed < base + PROGRAMS; seed++) {
        try {
          await program(style, new SeededRandom(seed));
        } catch (error) {
          throw new Error(`seed ${seed}`, { cause: error });
        }
      }
    });
  }
}

/** Stops random ones of `tasks` at random points, and says which it has cancelled. */
function stopSome(
  tasks: readonly Task<unknown>[],
  controllers: readonly AbortController[],
  random: SeededRandom,
): Task<Set<Task<unknown>>> {
  return getRunningLoop().createTask(function* () {
    const cancelled = new Set<Task<unknown>>();
    for (let rounds = random.nextInt(30); rounds > 0; rounds--) {
      for (let n = random.nextInt(3); n > 0; n--) yield* sleep(0);
      const chosen = random.nextInt(tasks.length);
      if (random.nextInt(3) === 0) controllers[chosen]!.abort(STOPPED);
      else if (tasks[chosen]!.cancel("chosen")) cancelled.add(tasks[chosen]!);
    }
    return cancelled;
  });
}

/**
 * Every task has ended: cancelled if it was, unless the abort came first, as the
 * error that ends a task may be on its way when it is cancelled.
 */
function checkEnds(
  tasks: readonly Task<unknown>[],
  controllers: readonly AbortController[],
  cancelled: ReadonlySet<Task<unknown>>,
): void {
  for (const [index, task] of tasks.entries()) {
    assert(task.done());
    if (task.cancelled()) {
      assert(cancelled.has(task));
      continue;
    }
    const error = task.exception();
    if (error === undefined) {
      assert(!cancelled.has(task));
      continue;
    }
    assertStrictEquals(error, STOPPED);
    assert(controllers[index]!.signal.aborted);
  }
}

/** Tasks that visit something that lets `total` in, some of them without waiting. */
async function visitAtRandom(
  style: Style,
  random: SeededRandom,
  total: number,
  acquire: (signal: AbortSignal) => ReturnType<Lock["acquire"]>,
  tryAcquire: () => Permit | null,
  available: () => number,
  /** What to do inside, with the permit. */
  stay: (signal: AbortSignal) => Script,
): Promise<void> {
  let inside = 0;
  await run(function* () {
    const controllers = Array.from(
      { length: 2 + random.nextInt(6) },
      () => new AbortController(),
    );
    const tasks = controllers.map(({ signal }) =>
      getRunningLoop().createTask(inStyle(style, function* (): Script {
        for (let rounds = random.nextInt(6); rounds > 0; rounds--) {
          yield* pause(random.nextInt(3));
          const permit: Permit | null = random.nextInt(4) === 0
            ? tryAcquire()
            : yield acquire(signal);
          if (permit === null) continue;
          try {
            assert(++inside <= total);
            yield* pause(random.nextInt(3));
            inside--;
            try {
              yield* stay(signal);
            } finally {
              inside++;
            }
            assert(permit.held);
            assert(inside + available() <= total);
          } finally {
            inside--;
            for (let n = random.nextInt(2); n >= 0; n--) permit.release();
          }
        }
        return undefined;
      }))
    );
    const cancelled = yield* stopSome(tasks, controllers, random);
    for (const task of tasks) {
      try {
        yield* task;
      } catch {
        // checkEnds() looks at it.
      }
    }
    checkEnds(tasks, controllers, cancelled);
  }, VIRTUAL);
  assertEquals([inside, available()], [0, total]);
}

function* doNothing(): Script {
  return undefined;
}

testRandom("Lock", (style, random) => {
  const lock = new Lock();
  return visitAtRandom(
    style,
    random,
    1,
    (signal) => lock.acquire({ signal }),
    () => lock.tryAcquire(),
    () => lock.locked() ? 0 : 1,
    doNothing,
  );
});

testRandom("Semaphore", (style, random) => {
  const total = 1 + random.nextInt(3);
  const semaphore = new BoundedSemaphore(total);
  return visitAtRandom(
    style,
    random,
    total,
    (signal) => semaphore.acquire({ signal }),
    () => semaphore.tryAcquire(),
    () => semaphore.value,
    doNothing,
  );
});

testRandom("Condition", (style, random) => {
  const condition = new Condition();
  return visitAtRandom(
    style,
    random,
    1,
    (signal) => condition.acquire({ signal }),
    () => condition.lock.tryAcquire(),
    () => condition.locked() ? 0 : 1,
    function* (signal) {
      if (random.nextInt(2) === 0) {
        condition.notify(random.nextInt(3));
        return;
      }
      // Somebody has to be there to wake it.
      const again = setRepeating(() => {
        if (condition.locked()) condition.notifyAll();
        else {
          using permit = condition.lock.tryAcquire();
          if (permit !== null) condition.notifyAll();
        }
      });
      try {
        yield condition.wait({ signal });
      } finally {
        again.stop();
      }
    },
  );
});

/** Calls `callback` every 10 ms until it is stopped. */
function setRepeating(callback: () => void): { stop(): void } {
  const loop = getRunningLoop();
  const tick = () => {
    callback();
    timer = loop.callLater(10, tick);
  };
  let timer = loop.callLater(10, tick);
  return { stop: () => void timer.cancel() };
}

for (const [name, make] of Object.entries(PIPELINES)) {
  const ordered = !/Lifo|Priority/.test(name);
  testRandom(name, async (style, random) => {
    const pipeline = make();
    const sent: number[] = [];
    const received: number[] = [];
    await run(function* () {
      const loop = getRunningLoop();
      const controllers = Array.from(
        { length: 3 + random.nextInt(6) },
        () => new AbortController(),
      );
      const tasks = controllers.map(({ signal }, index) =>
        loop.createTask(inStyle(style, function* (): Script {
          try {
            for (let n = 0, rounds = random.nextInt(8); n < rounds; n++) {
              yield* pause(random.nextInt(3));
              if (index % 2 === 0) {
                yield pipeline.send(index * 1_000 + n, signal);
                sent.push(index * 1_000 + n);
              } else received.push(yield pipeline.receive(signal));
            }
          } catch (error) {
            if (!isClosed(error)) throw error;
          }
          return undefined;
        }))
      );
      const cancelled = yield* stopSome(tasks, controllers, random);
      yield* sleep(100);
      pipeline.close();
      for (const task of tasks) {
        try {
          yield* task;
        } catch {
          // checkEnds() looks at it.
        }
      }
      checkEnds(tasks, controllers, cancelled);
    }, VIRTUAL);
    received.push(...pipeline.drain());
    assertEquals(received.toSorted(), sent.toSorted());
    if (!ordered) return;
    // What one producer has sent comes out in that order.
    const lastOf = new Map<number, number>();
    for (const n of received) {
      const producer = Math.floor(n / 1_000);
      assert(n > (lastOf.get(producer) ?? -1));
      lastOf.set(producer, n);
    }
  });
}

// -- Many --

const MANY = 100_000;

Deno.test("100,000 waiters that are woken one by one, or cancelled, take linear time", async () => {
  const startedMs = performance.now();
  await run(function* () {
    const loop = getRunningLoop();
    const lock = new Lock();
    const semaphore = new Semaphore(0);
    const condition = new Condition();
    const flag = new Flag();
    const channel = new Channel<number>();
    let woken = 0;
    const spawn = (steps: () => Script) => {
      const tasks: Task<unknown>[] = [];
      for (let n = 0; n < MANY; n++) {
        tasks.push(loop.createTask(inStyle("a generator", steps)));
      }
      return tasks;
    };
    // Each release finds those before it woken, but not gone.
    spawn(function* () {
      yield semaphore.acquire();
      woken++;
    });
    yield* sleep(1);
    for (let n = 0; n < MANY; n++) {
      semaphore.release();
      assert(semaphore.locked());
    }
    yield* sleep(1);
    assertEquals([woken, semaphore.value], [MANY, 0]);

    const cancelled = spawn(function* () {
      yield semaphore.acquire();
    });
    yield* sleep(1);
    for (const task of cancelled) {
      task.cancel();
      semaphore.tryAcquire();
    }
    semaphore.release();
    assertEquals([semaphore.value, semaphore.locked()], [1, false]);

    const permit = yield* condition.acquire();
    permit.release();
    spawn(function* () {
      using _permit: Permit = yield condition.acquire();
      yield condition.wait();
      woken++;
    });
    yield* sleep(1);
    using own = yield* condition.acquire();
    for (let n = 0; n < MANY; n++) condition.notify();
    own.release();
    yield* sleep(1);
    assertEquals(woken, 2 * MANY);

    spawn(function* () {
      using _permit: Permit = yield lock.acquire();
      woken++;
      yield sleep(0);
    });
    spawn(function* () {
      yield flag.wait();
      woken++;
    });
    spawn(function* () {
      yield channel.receive();
      woken++;
    });
    yield* sleep(1);
    flag.set();
    for (let n = 0; n < MANY; n++) assert(channel.trySend(n));
    yield* sleep(1);
    assertEquals(woken, 5 * MANY);
  }, VIRTUAL);
  // Seconds if it is linear; hours if each looked at all the others.
  assert(performance.now() - startedMs < 30_000);
});
