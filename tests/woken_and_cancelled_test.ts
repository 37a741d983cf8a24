/**
 * The time between a wake-up and the turn of the woken task: cancelled then, a
 * waiter passes on its permit, item or notification, also several in a row; and
 * the counters of that moment.
 *
 * @module
 */
import { assert, assertEquals, assertThrows } from "@std/assert";
import {
  BoundedSemaphore,
  type CancelScope,
  cancelScope,
  CapacityLimiter,
  Channel,
  Condition,
  getRunningLoop,
  LifoQueue,
  Lock,
  MisuseError,
  type Permit,
  PriorityQueue,
  Queue,
  run,
  Semaphore,
  sleep,
  type Task,
} from "../mod.ts";
import { openLoop, runTurns } from "./support/loops.ts";
import { inStyle, type Steps, type Style, STYLES } from "./support/styles.ts";

const VIRTUAL = { host: "virtual" } as const;

type Script = ReturnType<Steps<unknown>>;
type Spawn = (steps: Steps<unknown>) => Task<unknown>;

/** A test that runs in both styles; `spawn` makes tasks of the same style. */
function testBoth(name: string, script: (spawn: Spawn) => Script): void {
  for (const style of STYLES) {
    const spawn: Spawn = (steps) =>
      getRunningLoop().createTask(inStyle(style, steps));
    Deno.test(`${name} (${style})`, async () => {
      await run(inStyle(style, () => script(spawn)), VIRTUAL);
    });
  }
}

// -- Several in a row --

/** A thing of which there is one, and which several tasks wait for. */
interface Scene {
  /** Waits for it and leaves again. Calls `arrived` while it has it. */
  readonly wait: (arrived: () => void) => Script;
  /** Gives one away, so that the first waiter is woken. */
  readonly wake: () => void;
  /** Nothing is lost, nothing is there twice. */
  readonly check: () => void;
}

function permitScene(
  acquire: () => ReturnType<Lock["acquire"]>,
  first: Permit | null,
  available: () => number,
): Scene {
  return {
    *wait(arrived) {
      using permit: Permit = yield acquire();
      assert(permit.held);
      assertEquals(available(), 0);
      arrived();
    },
    wake: () => first!.release(),
    check: () => assertEquals(available(), 1),
  };
}

function semaphoreScene(semaphore: Semaphore): Scene {
  return permitScene(
    () => semaphore.acquire(),
    semaphore.tryAcquire(),
    () => semaphore.value,
  );
}

function getScene(queue: Queue<number>): Scene {
  return {
    *wait(arrived) {
      assertEquals(yield queue.get(), 7);
      arrived();
    },
    wake: () => queue.putNowait(7),
    check: () => assertEquals(queue.size, 0),
  };
}

function putScene(queue: Queue<number>): Scene {
  queue.putNowait(1);
  return {
    *wait(arrived) {
      yield queue.put(2);
      arrived();
    },
    wake: () => assertEquals(queue.getNowait(), 1),
    check: () => assertEquals([queue.getNowait(), queue.size], [2, 0]),
  };
}

const SCENES: Readonly<Record<string, () => Scene>> = {
  Lock() {
    const lock = new Lock();
    return permitScene(
      () => lock.acquire(),
      lock.tryAcquire(),
      () => lock.locked() ? 0 : 1,
    );
  },
  Semaphore: () => semaphoreScene(new Semaphore(1)),
  BoundedSemaphore: () => semaphoreScene(new BoundedSemaphore(1)),
  CapacityLimiter() {
    const limiter = new CapacityLimiter(1);
    return permitScene(
      () => limiter.acquire(),
      limiter.tryAcquireOnBehalfOf({}),
      () => limiter.availableTokens,
    );
  },
  Condition() {
    const condition = new Condition();
    return {
      *wait(arrived) {
        using _permit: Permit = yield condition.acquire();
        yield condition.wait();
        arrived();
      },
      wake() {
        using _permit = condition.lock.tryAcquire();
        condition.notify();
      },
      check: () => assertEquals(condition.locked(), false),
    };
  },
  "Queue.get()": () => getScene(new Queue()),
  "LifoQueue.get()": () => getScene(new LifoQueue()),
  "PriorityQueue.get()": () => getScene(new PriorityQueue()),
  "Queue.put()": () => putScene(new Queue(1)),
  "LifoQueue.put()": () => putScene(new LifoQueue(1)),
  "PriorityQueue.put()": () => putScene(new PriorityQueue(1)),
  "Channel.receive()"() {
    const channel = new Channel<number>();
    return {
      *wait(arrived) {
        assertEquals(yield channel.receive(), 7);
        arrived();
      },
      wake: () => assert(channel.trySend(7)),
      check() {
        const { size, sent, received } = channel.stats();
        assertEquals([size, sent, received], [0, 1, 1]);
      },
    };
  },
};

/** Ways to stop a woken task; they return whether the task ends as cancelled. */
const WAYS: Readonly<
  Record<string, (task: Task<unknown>, scope: CancelScope) => boolean>
> = {
  cancel: (task) => task.cancel(),
  "cancel twice": (task) => task.cancel() && task.cancel("again"),
  scope(_, scope) {
    scope.cancel();
    return false;
  },
  "scope and cancel"(task, scope) {
    scope.cancel();
    return task.cancel();
  },
};

/** Wakes the first of five, and stops each of the first `count` as soon as it is woken. */
async function stopInARow(
  style: Style,
  scene: Scene,
  way: (task: Task<unknown>, scope: CancelScope) => boolean,
  count: number,
): Promise<void> {
  const arrived: number[] = [];
  await run(function* () {
    const scopes: CancelScope[] = [];
    const tasks = [0, 1, 2, 3, 4].map((n) =>
      getRunningLoop().createTask(inStyle(style, function* () {
        yield cancelScope((scope) => {
          scopes[n] = scope;
          return inStyle(
            style,
            () => scene.wait(() => arrived.push(n)),
          )() as Promise<unknown>;
        });
      }))
    );
    yield* sleep(1);
    scene.wake();
    const cancelled: boolean[] = [];
    for (let n = 0; n < count; n++) {
      cancelled[n] = way(tasks[n]!, scopes[n]!);
      yield* sleep(0);
    }
    yield* sleep(1);
    for (let n = 0; n < count; n++) {
      assert(tasks[n]!.done());
      assertEquals(tasks[n]!.cancelled(), cancelled[n]);
    }
    assert(!arrived.some((n) => n < count), `arrived: ${arrived}`);
    assertEquals(arrived[0], count);
    for (const task of tasks) task.cancel();
    yield* sleep(1);
  }, VIRTUAL);
  scene.check();
}

for (const style of STYLES) {
  for (const [name, make] of Object.entries(SCENES)) {
    Deno.test(`${name}: woken tasks that are cancelled before they run pass it on (${style})`, async () => {
      for (const [how, way] of Object.entries(WAYS)) {
        for (let count = 0; count <= 4; count++) {
          try {
            await stopInARow(style, make(), way, count);
          } catch (error) {
            throw new Error(`${how}, ${count} in a row`, { cause: error });
          }
        }
      }
    });
  }
}

// -- Counters --

testBoth(
  "A borrower that is woken with a token has it, and waits no longer",
  function* (spawn) {
    const limiter = new CapacityLimiter(1);
    const [a, b, c] = [{}, {}, {}];
    limiter.tryAcquireOnBehalfOf(a);
    const tokens: Permit[] = [];
    const wait = (borrower: object) =>
      spawn(function* () {
        tokens.push(yield limiter.acquireOnBehalfOf(borrower));
      });
    const tasks = [wait(b), wait(c)];
    yield sleep(1);
    limiter.totalTokens = 2;
    assertEquals(limiter.statistics(), {
      borrowedTokens: 2,
      totalTokens: 2,
      borrowers: [a, b],
      tasksWaiting: 1,
    });
    assertThrows(
      () => limiter.tryAcquireOnBehalfOf(b),
      MisuseError,
      "has one already",
    );
    assertThrows(
      () => limiter.tryAcquireOnBehalfOf(c),
      MisuseError,
      "waits for one already",
    );
    // A token that it has can be released, so that the next is woken.
    limiter.releaseOnBehalfOf(b);
    assertEquals(limiter.statistics().borrowers, [a, c]);
    assertEquals(limiter.statistics().tasksWaiting, 0);
    for (const task of tasks) yield task;
    assertEquals(tokens.map(({ held }) => held), [false, true]);
    tokens[0]!.release();
    assertEquals(limiter.borrowedTokens, 2);
    tokens[1]!.release();
    limiter.releaseOnBehalfOf(a);
    assertEquals(limiter.borrowedTokens, 0);
  },
);

testBoth(
  "A token that was released and lent to the same borrower again is not taken by the first wait",
  function* (spawn) {
    const limiter = new CapacityLimiter(0);
    const key = {};
    const task = spawn(function* () {
      yield limiter.acquireOnBehalfOf(key);
    });
    yield sleep(1);
    limiter.totalTokens = 1;
    limiter.releaseOnBehalfOf(key);
    yield sleep(0);
    const again = limiter.tryAcquireOnBehalfOf(key);
    task.cancel();
    yield sleep(1);
    assertEquals([again?.held, limiter.borrowedTokens], [true, 1]);
  },
);

testBoth(
  "A borrower that was cancelled waits no longer, and may ask again at once",
  function* (spawn) {
    const limiter = new CapacityLimiter(1);
    const other = limiter.tryAcquireOnBehalfOf({})!;
    const key = {};
    const first = spawn(function* () {
      yield limiter.acquireOnBehalfOf(key);
    });
    yield sleep(1);
    first.cancel();
    assertEquals(limiter.statistics().tasksWaiting, 0);
    assertEquals(limiter.tryAcquireOnBehalfOf(key), null);
    const second = spawn(function* () {
      const token: Permit = yield limiter.acquireOnBehalfOf(key);
      return token.held;
    });
    yield sleep(1);
    assertEquals(limiter.statistics().tasksWaiting, 1);
    assertThrows(() => limiter.tryAcquireOnBehalfOf(key), MisuseError);
    other.release();
    assertEquals(yield second, true);
    assertEquals(limiter.statistics().borrowers, [key]);
  },
);

testBoth(
  "A channel counts a woken receiver as served, and a woken sender as gone",
  function* (spawn) {
    const channel = new Channel<number>();
    const counts = () => {
      const stats = channel.stats();
      assertEquals(stats.sent, stats.received + stats.size);
      return [
        stats.sent,
        stats.received,
        stats.receiversWaiting,
        stats.sendersWaiting,
      ];
    };
    const receivers = [0, 1].map(() =>
      spawn(function* () {
        return yield channel.receive();
      })
    );
    yield sleep(1);
    assertEquals(counts(), [0, 0, 2, 0]);
    assert(channel.trySend(7));
    assertEquals(counts(), [1, 1, 1, 0]);
    // Cancelled before it runs: the value is for the next, and then for nobody.
    receivers[0]!.cancel();
    yield sleep(0);
    yield sleep(0);
    assertEquals(receivers[0]!.done(), true);
    assertEquals(counts(), [1, 1, 0, 0]);
    assertEquals(yield receivers[1]!, 7);

    const sender = spawn(function* () {
      yield channel.send(8);
    });
    yield sleep(1);
    assertEquals(counts(), [1, 1, 0, 1]);
    assertEquals(channel.tryReceive(), { state: "ok", value: 8 });
    assertEquals(counts(), [2, 2, 0, 0]);
    yield sender;

    const last = spawn(function* () {
      yield channel.receive();
    });
    yield sleep(1);
    assert(channel.trySend(9));
    last.cancel();
    yield sleep(1);
    assertEquals(counts(), [3, 2, 0, 0]);
    assertEquals(channel.tryReceive(), { state: "ok", value: 9 });
  },
);

testBoth(
  "An abort ends a wait at once for the counters, like a cancellation",
  function* (spawn) {
    const channel = new Channel<number>();
    const limiter = new CapacityLimiter(0);
    const lock = new Lock();
    const own = lock.tryAcquire();
    const controller = new AbortController();
    const { signal } = controller;
    const tasks = [
      () => channel.receive({ signal }),
      () => limiter.acquireOnBehalfOf({}, { signal }),
      () => lock.acquire({ signal }),
    ].map((wait) =>
      spawn(function* () {
        yield wait();
      })
    );
    yield sleep(1);
    const waiting = () => [
      channel.stats().receiversWaiting,
      limiter.statistics().tasksWaiting,
    ];
    assertEquals(waiting(), [1, 1]);
    controller.abort(new Error("enough"));
    assertEquals(waiting(), [0, 0]);
    assertEquals(channel.trySend(1), false);
    // Nobody is in line any more, so a newcomer need not wait.
    own?.release();
    assertEquals(lock.tryAcquire()?.held, true);
    yield sleep(1);
    assertEquals(waiting(), [0, 0]);
    for (const task of tasks) assert(task.exception() instanceof Error);
  },
);

testBoth(
  "BoundedSemaphore.release() throws at its caller while permits are on their way",
  function* (spawn) {
    const semaphore = new BoundedSemaphore(1);
    const permit = semaphore.tryAcquire()!;
    const innocent = spawn(function* () {
      yield semaphore.acquire();
      yield sleep(1);
      semaphore.release();
      return "released";
    });
    yield sleep(1);
    permit.release();
    assertThrows(() => semaphore.release(), RangeError, "on their way");
    assertEquals(yield innocent, "released");
    assertThrows(() => semaphore.release(), RangeError, "are there already");
    assertEquals(semaphore.value, 1);
  },
);

Deno.test("What was free when its loop was closed under woken waiters serves the next loop", async () => {
  const cases: [one: Lock | CapacityLimiter, release: () => void][] = [];
  const lock = new Lock();
  const permit = lock.tryAcquire()!;
  cases.push([lock, () => permit.release()]);
  const limiter = new CapacityLimiter(1);
  const token = limiter.tryAcquireOnBehalfOf({})!;
  cases.push([limiter, () => token.release()]);
  for (const [one, release] of cases) {
    const { loop } = openLoop();
    loop.createTask(function* () {
      yield* one.acquire();
    });
    await runTurns(loop, 2);
    // A lock hands nothing over when it wakes; a token is lent only on a loop that runs.
    if (one instanceof Lock) release();
    loop.close();
    if (one instanceof CapacityLimiter) {
      assertEquals(one.statistics().tasksWaiting, 0);
      release();
    }
    await run(function* () {
      assertEquals((yield* one.acquire()).held, true);
    }, VIRTUAL);
  }
});
