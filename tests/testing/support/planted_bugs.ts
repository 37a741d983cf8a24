/**
 * Ten mistakes of concurrent programs, each beside its repair.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import {
  Condition,
  type Coroutine,
  createTask,
  type Future,
  gather,
  getRunningLoop,
  Lock,
  PriorityScheduler,
  sleep,
} from "../../../mod.ts";
import type {
  ExplorationFailureKind,
  ExploredProgram,
  ReplayOptions,
} from "../../../src/testing/mod.ts";

/** A mistake, and how it shows. */
export interface PlantedBug {
  readonly name: string;
  readonly kind: ExplorationFailureKind;
  /** Makes the program, with the mistake or without. */
  readonly program: (repaired: boolean) => ExploredProgram;
  readonly options?: ReplayOptions;
  /** Within so many runs random choices and PCT find it, on each of ten seeds. */
  readonly runsMax: number;
}

function createFuture(): Future<void> {
  return getRunningLoop().createFuture<void>();
}

/** The flag is looked at, and set before the waiter is in the list. */
function lostWakeup(repaired: boolean): ExploredProgram {
  return function* () {
    let isSet = false;
    const waiters: Future<void>[] = [];
    const wait = function* (): Coroutine<void> {
      if (isSet) return;
      yield* sleep(0); // writes to the log that it is going to wait
      if (repaired && isSet) return;
      const waiter = createFuture();
      waiters.push(waiter);
      yield* waiter;
    };
    const set = function* (): Coroutine<void> {
      yield* sleep(0);
      isSet = true;
      for (const waiter of waiters) waiter.setResult();
    };
    yield* gather([
      createTask(wait, { name: "waiter" }),
      createTask(set, { name: "setter" }),
    ]);
  };
}

/** A semaphore that forgets a permit which it has handed to a task that is cancelled before it runs. */
class LeakySemaphore {
  #permits = 1;
  readonly #waiters: Future<void>[] = [];
  readonly #repaired: boolean;

  constructor(repaired: boolean) {
    this.#repaired = repaired;
  }

  *acquire(): Coroutine<void> {
    if (this.#permits > 0) {
      this.#permits--;
      return;
    }
    const waiter = createFuture();
    this.#waiters.push(waiter);
    try {
      yield* waiter;
    } catch (error) {
      if (this.#repaired && waiter.done() && !waiter.cancelled()) {
        this.release();
      }
      throw error;
    }
  }

  release(): void {
    let waiter = this.#waiters.shift();
    while (waiter?.done() === true) waiter = this.#waiters.shift();
    if (waiter === undefined) this.#permits++;
    else waiter.setResult();
  }
}

function permitLeak(repaired: boolean): ExploredProgram {
  return function* () {
    const semaphore = new LeakySemaphore(repaired);
    const use = function* (): Coroutine<void> {
      yield* semaphore.acquire();
      semaphore.release();
    };
    yield* semaphore.acquire();
    const [left, right] = ["left", "right"].map((name) =>
      createTask(use, { name })
    );
    createTask(function* () {
      left!.cancel();
    }, { name: "canceller" });
    yield* sleep(0);
    semaphore.release();
    yield* gather([left!, right!], { returnExceptions: true });
  };
}

/** The last ticket is sold to everybody who has seen that there is one. */
function checkThenAct(repaired: boolean): ExploredProgram {
  return async () => {
    let tickets = 1;
    const lock = new Lock();
    const buy = async () => {
      if (tickets === 0) return;
      await sleep(0); // asks for the money
      if (repaired && tickets === 0) return;
      tickets--;
    };
    const buyAlone = async () => {
      using _permit = await lock.acquire();
      await buy();
    };
    await gather(
      ["Ann", "Ben"].map((name) =>
        createTask(repaired ? buyAlone : buy, { name })
      ),
    );
    assertEquals(tickets, 0);
  };
}

/** Two transfers lock two accounts, each its own first. */
function lockOrder(repaired: boolean): ExploredProgram {
  return async () => {
    const account = () => ({ lock: new Lock(), balance: 100 });
    const accounts = [account(), account()] as const;
    const transfer = async (from: 0 | 1, to: 0 | 1) => {
      const [first, second] = repaired && from > to ? [to, from] : [from, to];
      using _first = await accounts[first].lock.acquire();
      await sleep(0);
      using _second = await accounts[second].lock.acquire();
      accounts[from].balance -= 10;
      accounts[to].balance += 10;
    };
    await gather([
      createTask(() => transfer(0, 1), { name: "there" }),
      createTask(() => transfer(1, 0), { name: "back" }),
    ]);
    assertEquals(accounts.map(({ balance }) => balance), [100, 100]);
  };
}

/** A queue of free slots compares its head with the one it has seen: it is the same, but what follows is not. */
function aba(repaired: boolean): ExploredProgram {
  return function* () {
    const next: (number | null)[] = [1, 2, null];
    let head: number | null = 0;
    let version = 0;
    const inUse = new Set<number>();
    const take = function* (): Coroutine<number> {
      for (;;) {
        const seen = head!;
        const seenVersion = version;
        const follower = next[seen]!;
        yield* sleep(0); // reads what is in the slot
        if (head !== seen || (repaired && version !== seenVersion)) continue;
        head = follower;
        version++;
        assert(!inUse.has(seen), `slot ${seen} is taken twice`);
        inUse.add(seen);
        return seen;
      }
    };
    const give = (slot: number): void => {
      inUse.delete(slot);
      next[slot] = head;
      head = slot;
      version++;
    };
    const slow = createTask(function* () {
      yield* take();
      yield* take();
    }, { name: "slow" });
    const quick = createTask(function* () {
      const slot = yield* take();
      yield* take();
      give(slot);
    }, { name: "quick" });
    yield* gather([slow, quick]);
  };
}

/** A connection goes back to its pool once by its user and once by the timeout, while it is being flushed. */
function doubleRelease(repaired: boolean): ExploredProgram {
  return async () => {
    let free = 0;
    let released = false;
    const release = async () => {
      if (released) return;
      if (repaired) released = true;
      await sleep(0); // flushes
      released = true;
      free++;
    };
    await gather([
      createTask(release, { name: "user" }),
      createTask(release, { name: "timeout" }),
    ]);
    assertEquals(free, 1);
  };
}

/** The consumer looks whether there is something before it takes the lock. */
function notifyBeforeWait(repaired: boolean): ExploredProgram {
  return function* () {
    const condition = new Condition();
    let ready = false;
    const consumer = function* (): Coroutine<void> {
      if (ready) return;
      using _permit = yield* condition.acquire();
      if (repaired) yield* condition.waitFor(() => ready);
      else yield* condition.wait();
    };
    const producer = function* (): Coroutine<void> {
      using _permit = yield* condition.acquire();
      yield* sleep(0);
      ready = true;
      condition.notify();
    };
    yield* gather([
      createTask(producer, { name: "producer" }),
      createTask(consumer, { name: "consumer" }),
    ]);
  };
}

/** The timeout asks whether there is an answer, tells the server, and then gives up although there is one. */
function timeoutAgainstResult(repaired: boolean): ExploredProgram {
  return function* () {
    const answer = getRunningLoop().createFuture<string>();
    const server = function* (): Coroutine<void> {
      yield* sleep(10);
      if (!answer.done()) answer.setResult("here");
    };
    const timeout = function* (): Coroutine<void> {
      yield* sleep(10);
      if (answer.done()) return;
      yield* sleep(0); // tells the server
      if (repaired && answer.done()) return;
      answer.setResult("too late");
    };
    yield* gather([
      createTask(timeout, { name: "timeout" }),
      createTask(server, { name: "server" }),
    ]);
  };
}

/** A mailbox takes a letter that its reader, who has seen it closed and empty, never reads. */
function closeAgainstSend(repaired: boolean): ExploredProgram {
  return async () => {
    const letters: number[] = [];
    let closed = false;
    let sent = 0;
    let read = 0;
    const send = async (letter: number) => {
      if (closed) return;
      await sleep(0); // makes room
      if (repaired && closed) return;
      letters.push(letter);
      sent++;
    };
    const reader = async () => {
      while (!closed || letters.length > 0) {
        if (letters.pop() !== undefined) read++;
        await sleep(0);
      }
    };
    await gather([
      createTask(async () => {
        for (let letter = 0; letter < 2; letter++) await send(letter);
      }, { name: "sender" }),
      createTask(reader, { name: "reader" }),
      createTask(async () => {
        await sleep(0);
        closed = true;
      }, { name: "closer" }),
    ]);
    assertEquals(read, sent);
  };
}

/** A lock that knows nothing of priorities: its holder waits for what is less urgent than the one who waits for it. */
class PlainLock {
  #held = false;
  readonly #waiters: Future<void>[] = [];

  *acquire(): Coroutine<Disposable> {
    while (this.#held) {
      const waiter = createFuture();
      this.#waiters.push(waiter);
      yield* waiter;
    }
    this.#held = true;
    return {
      [Symbol.dispose]: () => {
        this.#held = false;
        this.#waiters.shift()?.setResult();
      },
    };
  }
}

function priorityInversion(repaired: boolean): ExploredProgram {
  return function* () {
    const lock: {
      acquire(): Coroutine<Disposable> | ReturnType<Lock["acquire"]>;
    } = repaired ? new Lock() : new PlainLock();
    const order: string[] = [];
    const low = createTask(function* () {
      using _permit = yield* lock.acquire();
      yield* sleep(1);
      yield* sleep(0);
    }, { name: "low", priority: "background" });
    const middle = createTask(function* () {
      yield* sleep(1);
      for (let step = 0; step < 5; step++) yield* sleep(0);
      order.push("middle");
    }, { name: "middle" });
    const high = createTask(function* () {
      yield* sleep(1);
      using _permit = yield* lock.acquire();
      order.push("high");
    }, { name: "high", priority: "user-blocking" });
    yield* gather([low, middle, high]);
    assertEquals(order, ["high", "middle"]);
  };
}

/** All of them. */
export const PLANTED_BUGS: readonly PlantedBug[] = [
  { name: "lost wakeup", kind: "deadlock", program: lostWakeup, runsMax: 50 },
  {
    name: "permit leak on cancel",
    kind: "deadlock",
    program: permitLeak,
    runsMax: 200,
  },
  {
    name: "check-then-act",
    kind: "error",
    program: checkThenAct,
    runsMax: 50,
  },
  {
    name: "lock-order deadlock",
    kind: "deadlock",
    program: lockOrder,
    runsMax: 50,
  },
  { name: "ABA on a queue", kind: "error", program: aba, runsMax: 200 },
  {
    name: "double release",
    kind: "error",
    program: doubleRelease,
    runsMax: 50,
  },
  {
    name: "notify before wait",
    kind: "deadlock",
    program: notifyBeforeWait,
    runsMax: 50,
  },
  {
    name: "timeout against result",
    kind: "error",
    program: timeoutAgainstResult,
    runsMax: 50,
  },
  {
    name: "close against send",
    kind: "error",
    program: closeAgainstSend,
    runsMax: 300,
  },
  {
    name: "priority inversion",
    kind: "error",
    program: priorityInversion,
    options: { scheduler: () => new PriorityScheduler({ ageEvery: Infinity }) },
    runsMax: 50,
  },
];
