/**
 * Priority inheritance: whoever waits for something raises those who hold it,
 * and nobody stays raised.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import {
  asCompleted,
  CapacityLimiter,
  ConcurrencyLimit,
  Condition,
  each,
  type EventLoop,
  type Future,
  gather,
  getRunningLoop,
  Lock,
  type Permit,
  type PostedTask,
  PriorityScheduler,
  Semaphore,
  shield,
  sleep,
  type Task,
  taskGroup,
  timeout,
  wait,
  waitFor,
} from "../mod.ts";
import { SeededRandom } from "../src/structures/random.ts";
import { openLoop, runTurns } from "./support/loops.ts";
import {
  type Awaitable,
  inStyle,
  type Steps,
  type Style,
  STYLES,
} from "./support/styles.ts";

/** A loop on which what is less urgent waits for ever: only inheritance helps. */
function openStrict(): EventLoop {
  return openLoop({ scheduler: new PriorityScheduler({ ageEvery: Infinity }) })
    .loop;
}

const LOW = -10;
const MEDIUM = 0;
const HIGH = 10;

// -- Inversion: low holds, high waits, medium floods --

/** What a case has at hand. */
interface Stage {
  readonly loop: EventLoop;
  /** Makes a task of the style that the case runs in. */
  spawn(priority: number, steps: Steps<unknown>): Task<unknown>;
  post(priority: number, steps: Steps<unknown>): PostedTask<unknown>;
  body(steps: Steps<unknown>): ReturnType<typeof inStyle<unknown>>;
  /** Ten steps of work, and the last of them, after which nothing is in the way of high. */
  work(): Generator<Awaitable, void, unknown>;
  /** High is there. */
  proceed(): void;
}

type Play = (stage: Stage) => void;

/** At 5 ms the flood begins. Time stands still from then on. */
const FLOOD_MS = 5;
const atFlood = () => sleep(FLOOD_MS - getRunningLoop().time());

const INVERSIONS: Record<string, Play> = {
  "a lock"({ spawn, work, proceed }) {
    const lock = new Lock();
    spawn(LOW, function* () {
      using _permit: Permit = yield lock.acquire();
      yield atFlood();
      yield* work();
    });
    spawn(HIGH, function* () {
      yield atFlood();
      using _permit: Permit = yield lock.acquire();
      proceed();
    });
  },
  "a lock whose holder sleeps until the flood is there"(
    { spawn, work, proceed },
  ) {
    const lock = new Lock();
    spawn(LOW, function* () {
      using _permit: Permit = yield lock.acquire();
      yield sleep(FLOOD_MS);
      yield* work();
    });
    spawn(HIGH, function* () {
      yield sleep(1);
      using _permit: Permit = yield lock.acquire();
      proceed();
    });
  },
  "a token of a capacity limiter"({ spawn, work, proceed }) {
    const limiter = new CapacityLimiter(1);
    spawn(LOW, function* () {
      using _token: Permit = yield limiter.acquire();
      yield atFlood();
      yield* work();
    });
    spawn(LOW, function* () {
      yield sleep(1);
      const token: Permit = yield limiter.acquire(); // woken before high
      yield* work();
      token.release();
    });
    spawn(HIGH, function* () {
      yield atFlood();
      using _token: Permit = yield limiter.acquire();
      proceed();
    });
  },
  "one of two permits of a semaphore"({ spawn, work, proceed }) {
    const semaphore = new Semaphore(2);
    for (const mine of [1, 2]) {
      spawn(LOW, function* () {
        using _permit: Permit = yield semaphore.acquire();
        yield atFlood();
        // The other one keeps its permit, and is raised all the same.
        yield* work();
        if (mine === 2) yield* work();
      });
    }
    spawn(HIGH, function* () {
      yield atFlood();
      yield semaphore.acquire();
      yield semaphore.acquire();
      proceed();
    });
  },
  "a task"({ spawn, work, proceed }) {
    const low = spawn(LOW, function* () {
      yield atFlood();
      yield* work();
    });
    spawn(HIGH, function* () {
      yield atFlood();
      yield low;
      proceed();
    });
  },
  "the tasks of a group of its own"({ spawn, body, work, proceed }) {
    spawn(HIGH, function* () {
      yield atFlood();
      yield taskGroup(function* (group) {
        group.createTask(body(work), { priority: LOW });
      });
      proceed();
    });
  },
  "a task that waits for its group, to which one is added"(
    { spawn, body, work, proceed },
  ) {
    const parent = spawn(LOW, function* () {
      yield taskGroup(function* (group) {
        group.createTask(
          body(function* () {
            yield atFlood();
            yield sleep(0);
            group.createTask(body(work), { priority: LOW });
          }),
          { priority: LOW },
        );
      });
    });
    spawn(HIGH, function* () {
      yield atFlood();
      yield parent;
      proceed();
    });
  },
  "the first of two tasks, by asCompleted()"({ spawn, work, proceed }) {
    const low = [1, 2].map(() =>
      spawn(LOW, function* () {
        yield atFlood();
        yield* work();
      })
    );
    spawn(HIGH, function* () {
      yield sleep(1);
      yield asCompleted(low).next().value!;
      proceed();
    });
  },
  "each of two tasks, by asCompleted()"({ spawn, work, proceed }) {
    const low = [1, 2].map((n) =>
      spawn(LOW, function* () {
        yield atFlood();
        yield* work();
        if (n === 2) yield* work();
      })
    );
    spawn(HIGH, function* () {
      yield atFlood();
      for (const next of asCompleted(low)) yield next;
      proceed();
    });
  },
  "a job, by each() of asCompleted()"({ spawn, body, work, proceed }) {
    const limit = new ConcurrencyLimit(1);
    const jobs: Future<unknown>[] = [];
    spawn(LOW, function* () {
      const job = limit.run(
        body(function* () {
          yield atFlood();
          yield* work();
        }),
        { priority: LOW },
      );
      jobs.push(job);
      yield job;
    });
    spawn(HIGH, function* () {
      yield atFlood();
      yield each(asCompleted(jobs), () => {});
      proceed();
    });
  },
  "a lock whose holder is waited for by a task of asCompleted()"(
    { spawn, work, proceed },
  ) {
    const lock = new Lock();
    spawn(LOW, function* () {
      using _permit: Permit = yield lock.acquire();
      yield atFlood();
      yield* work();
    });
    const second = spawn(LOW, function* () {
      yield sleep(1);
      using _permit: Permit = yield lock.acquire();
    });
    spawn(HIGH, function* () {
      yield atFlood();
      yield asCompleted([second]).next().value!;
      proceed();
    });
  },
  "a task, by wait()"({ spawn, work, proceed }) {
    const low = spawn(LOW, function* () {
      yield atFlood();
      yield* work();
    });
    spawn(HIGH, function* () {
      yield atFlood();
      yield wait([low]);
      proceed();
    });
  },
  "a job of a limit, whether it has begun or is in line"(
    { spawn, body, work, proceed },
  ) {
    const limit = new ConcurrencyLimit(1);
    spawn(MEDIUM, function* () {
      const first = limit.run(
        body(function* () {
          yield atFlood();
          yield* work();
        }),
        { priority: LOW },
      );
      const second = limit.run(body(work), { priority: LOW });
      spawn(HIGH, function* () {
        yield atFlood();
        yield first;
        yield second;
        proceed();
      });
    });
  },
  "a task, with a time limit"({ spawn, work, proceed }) {
    const low = spawn(LOW, function* () {
      yield atFlood();
      yield* work();
    });
    spawn(HIGH, function* () {
      yield atFlood();
      yield waitFor(low, 1_000);
      proceed();
    });
  },
  "a task, in an async function of a block"({ spawn, work, proceed }) {
    const low = spawn(LOW, function* () {
      yield atFlood();
      yield* work();
    });
    spawn(HIGH, function* () {
      yield atFlood();
      yield timeout(1_000, async () => {
        await low;
      });
      proceed();
    });
  },
  "a task that works in an async function of a block"(
    { spawn, body, work, proceed },
  ) {
    const low = spawn(LOW, function* () {
      yield atFlood();
      yield timeout(1_000, body(work));
    });
    spawn(HIGH, function* () {
      yield atFlood();
      yield low;
      proceed();
    });
  },
  "several tasks in a gather()"({ loop, spawn, work, proceed }) {
    const tasks = [0, 1].map(() =>
      spawn(LOW, function* () {
        yield atFlood();
        yield* work();
      })
    );
    spawn(HIGH, function* () {
      yield atFlood();
      yield gather(tasks, { loop });
      proceed();
    });
  },
  "a gather() whose entries have ended, but which has not been told"(
    { loop, spawn, work, proceed },
  ) {
    const future = loop.createFuture<void>();
    const gathered = gather([future], { loop });
    const high: Task<unknown> = spawn(HIGH, function* () {
      yield atFlood();
      yield* work();
      // The future is done by something of low priority.
      high.setPriority(LOW);
      future.setResult();
      high.setPriority(HIGH);
      yield gathered;
      proceed();
    });
  },
  "a shield()"({ spawn, work, proceed }) {
    const low = spawn(LOW, function* () {
      yield atFlood();
      yield* work();
    });
    const shielded = shield(low);
    spawn(HIGH, function* () {
      yield atFlood();
      yield shielded;
      proceed();
    });
  },
  "a gather() of shields of posted tasks"(
    { loop, post, spawn, work, proceed },
  ) {
    const posted = post(LOW, function* () {
      yield atFlood();
      yield* work();
    });
    spawn(HIGH, function* () {
      yield atFlood();
      yield gather([shield(posted)], { loop });
      proceed();
    });
  },
  "a posted task"({ post, spawn, work, proceed }) {
    const posted = post(LOW, function* () {
      yield atFlood();
      yield* work();
    });
    spawn(HIGH, function* () {
      yield atFlood();
      yield posted;
      proceed();
    });
  },
  "a posted function that is queued"({ loop, spawn, work, proceed }) {
    spawn(HIGH, function* () {
      yield atFlood();
      yield* work();
      yield loop.postTask(() => {}, { priority: LOW });
      proceed();
    });
  },
  "a posted function whose delay is over"({ loop, spawn, work, proceed }) {
    const posted = loop.postTask(() => {}, {
      priority: LOW,
      delayMs: FLOOD_MS,
    });
    spawn(HIGH, function* () {
      yield atFlood();
      yield* work();
      yield posted;
      proceed();
    });
  },
  "a chain of a lock, a task, a semaphore and a posted task"(
    { spawn, post, work, proceed },
  ) {
    const lock = new Lock();
    const semaphore = new Semaphore(1);
    const posted = post(LOW, function* () {
      yield atFlood();
      yield* work();
    });
    const holder = spawn(LOW, function* () {
      using _permit: Permit = yield semaphore.acquire();
      yield posted;
    });
    const waiter = spawn(LOW, function* () {
      yield sleep(1);
      using _permit: Permit = yield semaphore.acquire();
    });
    spawn(LOW, function* () {
      using _permit: Permit = yield lock.acquire();
      yield waiter;
      assertEquals(holder.done(), true);
    });
    spawn(HIGH, function* () {
      yield atFlood();
      using _permit: Permit = yield lock.acquire();
      proceed();
    });
  },
  "a lock with another of low priority before it in line"(
    { spawn, work, proceed },
  ) {
    const lock = new Lock();
    for (const place of [1, 2]) {
      spawn(LOW, function* () {
        using _permit: Permit = yield lock.acquire();
        if (place === 1) yield atFlood();
        yield* work();
      });
    }
    spawn(HIGH, function* () {
      yield atFlood();
      using _permit: Permit = yield lock.acquire();
      proceed();
    });
  },
  "a semaphore with another of low priority before it in line"(
    { spawn, work, proceed },
  ) {
    const semaphore = new Semaphore(1);
    for (const place of [1, 2]) {
      spawn(LOW, function* () {
        using _permit: Permit = yield semaphore.acquire();
        if (place === 1) yield atFlood();
        yield* work();
      });
    }
    spawn(HIGH, function* () {
      yield atFlood();
      using _permit: Permit = yield semaphore.acquire();
      proceed();
    });
  },
  "a lock with one before it in line that is cancelled"(
    { loop, spawn, work, proceed },
  ) {
    const lock = new Lock();
    spawn(LOW, function* () {
      using _permit: Permit = yield lock.acquire();
      yield atFlood();
      yield* work();
      loop.postTask(() => second.cancel(), { priority: HIGH });
      yield sleep(0);
    });
    const second = spawn(LOW, function* () {
      yield lock.acquire();
    });
    spawn(HIGH, function* () {
      yield atFlood();
      using _permit: Permit = yield lock.acquire();
      proceed();
    });
  },
  "a lock with one before it in line whose signal aborts"(
    { loop, spawn, work, proceed },
  ) {
    const lock = new Lock();
    const controller = new AbortController();
    spawn(LOW, function* () {
      using _permit: Permit = yield lock.acquire();
      yield atFlood();
      yield* work();
      loop.postTask(() => controller.abort("over"), { priority: HIGH });
      yield sleep(0);
    });
    spawn(LOW, function* () {
      try {
        yield lock.acquire({ signal: controller.signal });
      } catch (error) {
        assertEquals(error, "over");
      }
    });
    spawn(HIGH, function* () {
      yield atFlood();
      using _permit: Permit = yield lock.acquire();
      proceed();
    });
  },
  "a lock with one before it in line that is cancelled when it gets it"(
    { spawn, work, proceed },
  ) {
    const lock = new Lock();
    spawn(LOW, function* () {
      {
        using _permit: Permit = yield lock.acquire();
        yield atFlood();
        yield* work();
      }
      second.cancel();
    });
    const second = spawn(LOW, function* () {
      yield lock.acquire();
    });
    spawn(HIGH, function* () {
      yield atFlood();
      using _permit: Permit = yield lock.acquire();
      proceed();
    });
  },
  "the lock of a condition"({ spawn, work, proceed }) {
    const condition = new Condition();
    spawn(LOW, function* () {
      using _permit: Permit = yield condition.acquire();
      yield atFlood();
      yield* work();
    });
    spawn(HIGH, function* () {
      yield atFlood();
      using _permit: Permit = yield condition.acquire();
      proceed();
    });
  },
  "a condition whose notifier keeps the lock"({ spawn, work, proceed }) {
    const condition = new Condition();
    spawn(HIGH, function* () {
      using _permit: Permit = yield condition.acquire();
      yield condition.wait();
      proceed();
    });
    spawn(LOW, function* () {
      yield sleep(1);
      using _permit: Permit = yield condition.acquire();
      condition.notify();
      yield atFlood();
      yield* work();
    });
  },
  "a condition with one of low priority that was notified before it"(
    { spawn, work, proceed },
  ) {
    const condition = new Condition();
    spawn(LOW, function* () {
      using _permit: Permit = yield condition.acquire();
      yield condition.wait();
      yield* work();
    });
    spawn(HIGH, function* () {
      yield sleep(1);
      using _permit: Permit = yield condition.acquire();
      yield condition.wait();
      proceed();
    });
    spawn(LOW, function* () {
      yield sleep(2);
      using _permit: Permit = yield condition.acquire();
      condition.notifyAll();
      // Both are in line for the lock when the flood comes, low before high.
      yield atFlood();
    });
  },
};

/** How many turns may pass between the last step of who is in the way and high. */
const TURNS_MAX = 4;
/** How much of the flood may pass until high is there; there would be no end without inheritance. */
const FLOOD_MAX = 64 * 100;

for (const [name, play] of Object.entries(INVERSIONS)) {
  for (const style of STYLES) {
    Deno.test(`A flood does not keep who waits for ${name} (${style})`, async () => {
      const loop = openStrict();
      const tasks: Task<unknown>[] = [];
      let released = Infinity;
      let proceeded = Infinity;
      const spawn = (priority: number, steps: Steps<unknown>) => {
        const task = loop.createTask(inStyle(style, steps), { priority });
        tasks.push(task);
        return task;
      };
      play({
        loop,
        spawn,
        body: (steps) => inStyle(style, steps),
        post: (priority, steps) =>
          loop.postTask(inStyle(style, steps), { priority }),
        *work() {
          for (let n = 0; n < 10; n++) yield sleep(0);
          released = loop.stats().turns;
        },
        proceed() {
          proceeded = loop.stats().turns;
        },
      });
      let flooded = 0;
      const flood = () => {
        if (proceeded < Infinity || flooded++ > FLOOD_MAX) return;
        loop.postTask(flood, { priority: MEDIUM });
      };
      // It is there before anybody moves.
      loop.postTask(() => {
        for (let n = 0; n < 200; n++) flood();
      }, { priority: 2 * HIGH, delayMs: FLOOD_MS });
      loop.callAt(100, () => loop.stop());
      await loop.runForever();
      assert(flooded > 100, "there was no flood");
      assert(flooded <= FLOOD_MAX, "high had to wait for the end of the flood");
      assert(
        proceeded - released <= TURNS_MAX,
        `it took ${proceeded - released} turns`,
      );
      for (const task of tasks) {
        assertEquals(task.done(), true);
        assertEquals(task.effectivePriority, task.priority);
      }
      await loop.close();
    });
  }
}

// -- What is raised, and when it is given back --

/** A task that waits until it is told to go on. */
class Actor {
  readonly task: Task<unknown>;
  readonly #loop: EventLoop;
  #next: Steps<unknown> | null = null;
  #go: Future<void>;

  constructor(loop: EventLoop, style: Style, priority: number) {
    this.#loop = loop;
    this.#go = loop.createFuture<void>("a cue");
    const steps = (): ReturnType<Steps<unknown>> => this.#steps();
    this.task = loop.createTask(inStyle(style, steps), { priority });
  }

  *#steps(): ReturnType<Steps<unknown>> {
    for (;;) {
      yield this.#go;
      const next = this.#next;
      if (next === null) return;
      this.#go = this.#loop.createFuture<void>("a cue");
      yield* next();
    }
  }

  /** Does that, as far as it gets. */
  async does(steps: Steps<unknown> | null): Promise<void> {
    this.#next = steps;
    this.#go.setResult();
    await settled(this.#loop);
  }

  ends(): Promise<void> {
    return this.does(null);
  }

  get effective(): number {
    return this.task.effectivePriority;
  }
}

/** Runs turns until all wait. */
async function settled(loop: EventLoop): Promise<void> {
  do {
    await runTurns(loop, 3);
    await new Promise<void>((resolve) => setImmediate(resolve));
  } while (loop.stats().ready > 0);
}

type Act = (
  make: (priority: number) => Actor,
  loop: EventLoop,
) => Promise<void>;

const RISES: Record<string, Act> = {
  async "The most urgent of several waiters counts, and the next when it goes"(
    make,
  ) {
    const lock = new Lock();
    const holder = make(-5);
    let permit!: Permit;
    await holder.does(function* () {
      permit = yield lock.acquire();
    });
    assertEquals(holder.effective, -5);
    const waiters: Actor[] = [];
    for (const priority of [-7, 3, 9, 3, 1]) {
      const waiter = make(priority);
      waiters.push(waiter);
      await waiter.does(function* () {
        using _permit: Permit = yield lock.acquire();
      });
    }
    assertEquals(holder.effective, 9);
    for (const [index, effective] of [[2, 3], [1, 3], [3, 1], [4, -5]]) {
      waiters[index!]!.task.cancel();
      assertEquals(holder.effective, effective);
    }
    permit.release();
    assertEquals(holder.effective, -5);
  },

  async "A waiter that is cancelled takes its priority along at once"(
    make,
    loop,
  ) {
    const lock = new Lock();
    const low = make(LOW);
    let permit!: Permit;
    await low.does(function* () {
      permit = yield lock.acquire();
    });
    const controller = new AbortController();
    const high = make(HIGH);
    await high.does(function* () {
      try {
        yield lock.acquire({ signal: controller.signal });
      } catch {
        // the signal
      }
    });
    assertEquals(low.effective, HIGH);
    controller.abort();
    assertEquals(low.effective, LOW);
    await settled(loop);
    await high.does(function* () {
      using _permit: Permit = yield lock.acquire();
    });
    assertEquals(low.effective, HIGH);
    high.task.cancel();
    assertEquals(low.effective, LOW);
    permit.release();
  },

  async "A waiter's change of priority is handed on while it waits"(make) {
    const lock = new Lock();
    const low = make(LOW);
    let permit!: Permit;
    await low.does(function* () {
      permit = yield lock.acquire();
    });
    const middle = make(LOW);
    await middle.does(function* () {
      using _permit: Permit = yield lock.acquire();
    });
    const high = make(LOW);
    await high.does(function* () {
      yield shield(middle.task);
    });
    for (const priority of [HIGH, 3, 20, -20, "user-blocking"] as const) {
      high.task.setPriority(priority);
      const effective = Math.max(high.task.priority, LOW);
      assertEquals([low.effective, middle.effective], [effective, effective]);
    }
    low.task.setPriority(30);
    assertEquals([low.effective, middle.effective], [30, 10]);
    low.task.setPriority(LOW);
    permit.release();
    assertEquals([low.effective, middle.effective], [LOW, 10]);
    high.task.cancel();
  },

  async "A holder that ends while it holds is raised no more, nor is its permit lost"(
    make,
    loop,
  ) {
    const lock = new Lock();
    const low = make(LOW);
    let permit!: Permit;
    await low.does(function* () {
      permit = yield lock.acquire();
    });
    const high = make(HIGH);
    let inside = false;
    await high.does(function* () {
      using _permit: Permit = yield lock.acquire();
      inside = true;
    });
    assertEquals(low.effective, HIGH);
    await low.ends();
    assertEquals([low.task.done(), low.effective, inside], [true, LOW, false]);
    permit.release();
    await settled(loop);
    assertEquals(inside, true);
  },

  async "A task that has ended is not raised any more"(make) {
    const low = make(LOW);
    const high = make(HIGH);
    await high.does(function* () {
      yield low.task;
    });
    assertEquals(low.effective, HIGH);
    await low.ends();
    assertEquals([low.task.done(), low.effective], [true, LOW]);
  },

  async "What was taken outside of a task raises nobody"(make, loop) {
    const lock = new Lock();
    const permit = lock.tryAcquire();
    const high = make(HIGH);
    await high.does(function* () {
      using _permit: Permit = yield lock.acquire();
    });
    permit?.release();
    await settled(loop);
    assertEquals(lock.locked(), false);
  },

  async "A permit counts for the task that acquired it, whoever gives it back"(
    make,
    loop,
  ) {
    const semaphore = new Semaphore(2);
    const [one, two] = [make(LOW), make(-5)];
    const permits: Permit[] = [];
    for (const actor of [one, two]) {
      await actor!.does(function* () {
        permits.push(yield semaphore.acquire());
      });
    }
    const high = make(HIGH);
    let entered = 0;
    await high.does(function* () {
      using _permit: Permit = yield semaphore.acquire();
      entered++;
      using _other: Permit = yield semaphore.acquire();
      entered++;
    });
    assertEquals([one!.effective, two!.effective], [HIGH, HIGH]);
    await two!.does(function* () {
      permits[0]!.release();
      permits[0]!.release();
    });
    assertEquals([one!.effective, two!.effective, entered], [LOW, HIGH, 1]);
    permits[1]!.release();
    assertEquals([one!.effective, two!.effective], [LOW, -5]);
    await settled(loop);
    assertEquals([entered, semaphore.value], [2, 2]);
  },

  async "A diamond is raised on both sides, and sinks on both"(make, loop) {
    const [left, right] = [new Lock(), new Lock()];
    const bottom = make(LOW);
    const permits: Permit[] = [];
    await bottom.does(function* () {
      permits.push(yield left.acquire(), yield right.acquire());
    });
    const sides = [left, right].map((lock) => ({ lock, actor: make(LOW) }));
    for (const { lock, actor } of sides) {
      await actor.does(function* () {
        using _permit: Permit = yield lock.acquire();
      });
    }
    const top = make(HIGH);
    const [a, b] = sides.map(({ actor }) => actor) as [Actor, Actor];
    await top.does(function* () {
      yield gather([shield(a.task), shield(b.task)]);
    });
    const all = () => [a.effective, b.effective, bottom.effective];
    assertEquals(all(), [HIGH, HIGH, HIGH]);
    top.task.setPriority(-5);
    assertEquals(all(), [-5, -5, -5]);
    b.task.setPriority(5);
    assertEquals(all(), [-5, 5, 5]);
    permits[1]!.release();
    assertEquals(all(), [-5, 5, -5]);
    top.task.cancel();
    await settled(loop);
    assertEquals(all(), [LOW, 5, LOW]);
    permits[0]!.release();
  },

  async "Those who wait in a ring are raised, and sink again"(make, loop) {
    const locks = [new Lock(), new Lock(), new Lock()];
    const ring = locks.map(() => make(LOW));
    const permits: Permit[] = [];
    for (const [n, actor] of ring.entries()) {
      await actor.does(function* () {
        permits.push(yield locks[n]!.acquire());
      });
    }
    for (const [n, actor] of ring.entries()) {
      await actor.does(function* () {
        try {
          using _next: Permit = yield locks[(n + 1) % 3]!.acquire();
        } finally {
          permits[n]!.release();
        }
      });
    }
    const controllers: AbortController[] = [];
    for (const priority of [HIGH, 20]) {
      const high = make(priority);
      const leaving = new AbortController();
      controllers.push(leaving);
      await high.does(function* () {
        try {
          yield locks[0]!.acquire({ signal: leaving.signal });
        } catch {
          // the signal
        }
      });
      assertEquals(
        ring.map(({ effective }) => effective),
        [priority, priority, priority],
      );
    }
    controllers[1]!.abort();
    assertEquals(ring.map(({ effective }) => effective), [HIGH, HIGH, HIGH]);
    controllers[0]!.abort();
    assertEquals(ring.map(({ effective }) => effective), [LOW, LOW, LOW]);
    ring[1]!.task.setPriority(1);
    assertEquals(ring.map(({ effective }) => effective), [1, 1, 1]);
    ring[1]!.task.setPriority(LOW);
    assertEquals(ring.map(({ effective }) => effective), [LOW, LOW, LOW]);
    ring[0]!.task.cancel();
    await settled(loop);
  },

  async "Who holds a permit and waits for another does not keep itself raised"(
    make,
    loop,
  ) {
    const semaphore = new Semaphore(1);
    const low = make(LOW);
    await low.does(function* () {
      using _permit: Permit = yield semaphore.acquire();
      using _other: Permit = yield semaphore.acquire();
    });
    const high = make(HIGH);
    const leaving = new AbortController();
    await high.does(function* () {
      try {
        yield semaphore.acquire({ signal: leaving.signal });
      } catch {
        // the signal
      }
    });
    assertEquals(low.effective, HIGH);
    leaving.abort();
    assertEquals(low.effective, LOW);
    low.task.cancel();
    await settled(loop);
  },

  async "asCompleted() raises all that are left while somebody waits"(
    make,
    loop,
  ) {
    const over = loop.createFuture<void>();
    over.setResult();
    const gates = [1, 2, 3].map(() => loop.createFuture<void>());
    const low = gates.map((gate) =>
      loop.createTask(function* () {
        yield* gate;
      }, { priority: LOW })
    );
    const effective = () => low.map((task) => task.effectivePriority);
    const done = asCompleted<void>([over, ...low]);
    const controller = new AbortController();
    await settled(loop);
    const high = make(HIGH);
    await high.does(function* () {
      yield done.next().value!; // there already
    });
    assertEquals(effective(), [LOW, LOW, LOW]);
    await high.does(function* () {
      yield done.next().value!;
    });
    assertEquals(effective(), [HIGH, HIGH, HIGH]);
    high.task.setPriority(15);
    assertEquals(effective(), [15, 15, 15]);
    high.task.setPriority(HIGH);
    gates[1]!.setResult();
    await settled(loop);
    assertEquals(effective(), [LOW, LOW, LOW]);

    const other = make(20);
    for (const actor of [high, other]) {
      await actor.does(function* () {
        yield done.next().value!;
      });
    }
    assertEquals(effective(), [20, LOW, 20]);
    gates[0]!.setResult(); // for high, which came first
    await settled(loop);
    assertEquals(effective(), [LOW, LOW, 20]);
    other.task.cancel();
    await settled(loop);
    assertEquals(effective(), [LOW, LOW, LOW]);

    const third = make(HIGH);
    await third.does(function* () {
      try {
        yield asCompleted([low[2]!], { signal: controller.signal })
          .next().value!;
      } catch {
        // the signal
      }
    });
    assertEquals(effective(), [LOW, LOW, HIGH]);
    controller.abort();
    assertEquals(effective(), [LOW, LOW, LOW]);
    gates[2]!.setResult();
    await settled(loop);
  },

  async "A posted task is raised, and what it has become"(make, loop) {
    const steps: number[] = [];
    const gate = loop.createFuture<void>();
    let inner: Task<unknown> | null = null;
    const posted = loop.postTask(async () => {
      inner = loop.createTask(function* () {
        yield* gate;
      }, { priority: LOW });
      await inner;
    }, { priority: LOW });
    await settled(loop);
    const high = make(HIGH);
    await high.does(function* () {
      yield posted;
    });
    steps.push(inner!.effectivePriority);
    posted.setPriority(15);
    steps.push(inner!.effectivePriority);
    posted.setPriority(LOW);
    high.task.setPriority(LOW);
    steps.push(inner!.effectivePriority);
    assertEquals(steps, [HIGH, 15, LOW]);
    assertEquals([posted.priority, inner!.priority], [LOW, LOW]);
    gate.setResult();
    await settled(loop);
    assertEquals(posted.done(), true);
  },
};

for (const [name, act] of Object.entries(RISES)) {
  for (const style of STYLES) {
    Deno.test(`${name} (${style})`, async () => {
      const loop = openStrict();
      const actors: Actor[] = [];
      await act((priority) => {
        const actor = new Actor(loop, style, priority);
        actors.push(actor);
        return actor;
      }, loop);
      await settled(loop);
      for (const { task } of actors) {
        assertEquals(task.effectivePriority, task.priority);
        task.cancel();
      }
      await settled(loop);
      for (const { task } of actors) {
        assertEquals([task.done(), task.effectivePriority], [
          true,
          task.priority,
        ]);
      }
      await loop.close();
    });
  }
}

for (const style of STYLES) {
  for (const kind of ["locks", "tasks"] as const) {
    Deno.test(`A chain of 1,000 ${kind} is raised at its end, and given back (${style})`, async () => {
      const loop = openStrict();
      const end = loop.createFuture<void>();
      const locks: Lock[] = [];
      const chain: Task<unknown>[] = [];
      for (let n = 0; n < 1_000; n++) {
        const before = chain.at(-1);
        const lockBefore = locks.at(-1);
        const lock = new Lock();
        locks.push(lock);
        chain.push(loop.createTask(
          inStyle(style, function* () {
            using _permit: Permit = yield lock.acquire();
            if (before === undefined) yield end;
            else if (kind === "tasks") yield before;
            else {
              using _other: Permit = yield lockBefore!.acquire();
            }
          }),
          { priority: LOW },
        ));
      }
      await settled(loop);
      const effective = () => new Set(chain.map((t) => t.effectivePriority));
      assertEquals(effective(), new Set([LOW]));
      const high = [3, HIGH].map((priority) =>
        loop.createTask(function* () {
          yield* shield(chain.at(-1)!);
        }, { priority })
      );
      await settled(loop);
      assertEquals(effective(), new Set([HIGH]));
      high[1]!.cancel();
      assertEquals(effective(), new Set([3]));
      high[0]!.setPriority(5);
      assertEquals(effective(), new Set([5]));
      end.setResult();
      await settled(loop);
      assertEquals(effective(), new Set([LOW]));
      assertEquals(chain.every((task) => task.done()), true);
      await loop.close();
    });
  }
}

// -- A model --

/** What a task of the model is in the middle of. */
interface Doing {
  readonly task: Task<unknown>;
  /** What it asked for last, and has not got. */
  wants: Lock | Semaphore | readonly Task<unknown>[] | null;
  /** What it has permits of, with how many. */
  readonly has: Map<Lock | Semaphore, number>;
}

/** Whether the task waits, by the innermost of what the library knows about it. */
function isParked(task: Task<unknown>): boolean {
  type Waiting = {
    waitingOn?: Future<unknown> | null;
    future?: Future<unknown>;
  };
  const pending = ({ waitingOn, future }: Waiting) =>
    future !== undefined
      ? !future.done()
      : waitingOn !== null && waitingOn !== undefined && !waitingOn.done();
  if (pending({ waitingOn: task.waitingOn })) return true;
  const firstWait = task.firstWait;
  return firstWait !== null && pending(firstWait as unknown as Waiting);
}

/** The least priorities such that nobody is below who waits for it. */
function naivePriorities(doings: readonly Doing[]): number[] {
  const priorities = doings.map(({ task }) => task.priority);
  const isWaiting = doings.map(({ task }) => !task.done() && isParked(task));
  for (let changed = true; changed;) {
    changed = false;
    for (const [w, waiter] of doings.entries()) {
      const { wants } = waiter;
      if (!isWaiting[w] || wants === null) continue;
      for (const [h, holder] of doings.entries()) {
        if (holder.task.done() || priorities[h]! >= priorities[w]!) continue;
        const holds = wants instanceof Lock || wants instanceof Semaphore
          // Who is about to enter or leave is in the way like who is inside.
          ? holder.has.has(wants) || holder.wants === wants && !isWaiting[h]
          : wants.includes(holder.task);
        if (!holds) continue;
        priorities[h] = priorities[w]!;
        changed = true;
      }
    }
  }
  return priorities;
}

async function checkAgainstModel(seed: number, style: Style): Promise<number> {
  const random = new SeededRandom(seed);
  const loop = openLoop({
    scheduler: new PriorityScheduler({
      ageEvery: 1 + random.nextInt(8),
      handlesPerTurnMax: 1 + random.nextInt(8),
    }),
  }).loop;
  loop.setExceptionHandler(() => {});
  const holdables = [
    new Lock(),
    new Lock(),
    new Semaphore(1),
    new Semaphore(2),
  ];
  const doings: Doing[] = [];
  let raised = 0;
  const give = (doing: Doing, what: Lock | Semaphore, permit: Permit) => {
    permit.release();
    const left = doing.has.get(what)! - 1;
    if (left === 0) doing.has.delete(what);
    else doing.has.set(what, left);
  };
  const controllers = Array.from({ length: 4 }, () => new AbortController());
  const script = (n: number): Steps<unknown> =>
    function* () {
      const doing = doings[n]!;
      const permits: [Lock | Semaphore, Permit][] = [];
      try {
        for (let left = 2 + random.nextInt(5); left > 0; left--) {
          switch (random.nextInt(6)) {
            case 0:
            case 1: {
              const what = holdables[random.nextInt(holdables.length)]!;
              const signal = controllers[random.nextInt(8)]?.signal;
              doing.wants = what;
              let permit: Permit | null = null;
              try {
                permit = yield what.acquire(signal ? { signal } : {});
              } catch (error) {
                if (!signal?.aborted || error !== signal.reason) throw error;
              } finally {
                doing.wants = null;
              }
              if (permit === null) break;
              permits.push([what, permit]);
              doing.has.set(what, (doing.has.get(what) ?? 0) + 1);
              break;
            }
            case 2: {
              const [what, permit] = permits.pop() ?? [];
              if (what !== undefined) give(doing, what, permit!);
              break;
            }
            case 3: {
              const others = doings.slice(0, n).filter(() =>
                random.nextInt(n) < 2
              ).map(({ task }) => task);
              if (others.length === 0) break;
              const way = random.nextInt(3);
              doing.wants = way === 0 ? [others[0]!] : others;
              try {
                yield way === 0
                  ? shield(others[0]!)
                  : way === 1
                  ? gather(others.map((task) => shield(task)), {
                    returnExceptions: true,
                  })
                  : asCompleted(others).next().value!;
              } catch {
                // it was cancelled, or what it waited for was
              } finally {
                doing.wants = null;
              }
              break;
            }
            default:
              yield sleep(0);
          }
        }
      } finally {
        // Some go without giving back what they have.
        if (random.nextInt(8) > 0) {
          for (const [what, permit] of permits) give(doing, what, permit);
        }
      }
    };
  for (let n = 0; n < 4 + random.nextInt(8); n++) {
    const doing: Doing = {
      task: loop.createTask(inStyle(style, script(n)), {
        priority: random.nextInt(7) - 3,
      }),
      wants: null,
      has: new Map(),
    };
    doings.push(doing);
  }
  const check = (turn: number) => {
    const expected = naivePriorities(doings);
    const actual = doings.map(({ task }) => task.effectivePriority);
    assertEquals(actual, expected, `seed ${seed} (${style}), turn ${turn}`);
    raised +=
      doings.filter(({ task }) => task.effectivePriority > task.priority)
        .length;
  };
  for (let turn = 0; turn < 60; turn++) {
    await runTurns(loop);
    if (style === "an async function") {
      await new Promise<void>((resolve) => setImmediate(resolve));
    }
    check(turn);
    const { task } = doings[random.nextInt(doings.length)]!;
    const action = random.nextInt(12);
    if (action < 2) task.setPriority(random.nextInt(7) - 3);
    else if (action === 2) task.cancel();
    else if (action === 3) controllers[random.nextInt(8)]?.abort(turn);
    if (action < 4) check(turn + 0.5);
  }
  for (let turn = 0; turn < 400; turn++) {
    // Again and again, as some catch it and wait for something else.
    if (turn % 20 === 0) { for (const { task } of doings) task.cancel(); }
    await runTurns(loop);
    if (style === "an async function" && turn % 10 === 0) {
      await new Promise<void>((resolve) => setImmediate(resolve));
    }
    if (doings.every(({ task }) => task.done())) break;
  }
  for (const { task } of doings) {
    assertEquals(task.done(), true, `seed ${seed} (${style}): ${task.name}`);
    assertEquals(task.effectivePriority, task.priority, `seed ${seed}`);
  }
  await loop.close();
  return raised;
}

for (const style of STYLES) {
  Deno.test(`After each turn priorities are those of a naive recomputation (${style})`, async () => {
    const base = Number(Deno.env.get("PRIORITY_SEED") ?? Date.now() >>> 0);
    console.log(`seeds ${base} to ${base + 499}`);
    let raised = 0;
    for (let seed = base; seed < base + 500; seed++) {
      raised += await checkAgainstModel(seed, style);
    }
    assert(raised > 1_000, `only ${raised} times somebody was raised`);
  });
}
