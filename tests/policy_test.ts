/**
 * Loop subclasses that see all scheduling, and policies that inject them.
 *
 * @module
 */

import {
  assertEquals,
  assertInstanceOf,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import {
  EventLoop,
  type EventLoopOptions,
  EventLoopPolicy,
  getEventLoopPolicy,
  getRunningLoop,
  type Handle,
  newEventLoop,
  run,
  Runner,
  setEventLoopPolicy,
  sleep,
  type TimerHandle,
} from "../mod.ts";
import { collectReports, runTurns } from "./support/loops.ts";

const VIRTUAL = { host: "virtual" } as const;

/** Writes down each call of callSoon() and callAt(), and each callback that runs. */
class LoggingLoop extends EventLoop {
  readonly log: string[] = [];
  soon = 0;
  at = 0;

  override callSoon<A extends unknown[]>(
    callback: (...args: A) => unknown,
    ...args: A
  ): Handle {
    this.soon++;
    return super.callSoon((...args: A) => {
      this.log.push("run");
      return callback(...args);
    }, ...args);
  }

  override callAt<A extends unknown[]>(
    whenMs: number,
    callback: (...args: A) => unknown,
    ...args: A
  ): TimerHandle {
    this.at++;
    return super.callAt(whenMs, callback, ...args);
  }
}

class LoggingPolicy extends EventLoopPolicy {
  override newEventLoop(options: EventLoopOptions): EventLoop {
    return new LoggingLoop(options);
  }
}

/** Runs `test` under a policy and puts the old one back. */
async function withPolicy(
  policy: EventLoopPolicy,
  test: () => unknown,
): Promise<void> {
  const before = getEventLoopPolicy();
  setEventLoopPolicy(policy);
  try {
    await test();
  } finally {
    setEventLoopPolicy(before);
  }
}

Deno.test("An overridden callSoon() sees every step of every task, in both styles", async () => {
  await using loop = new LoggingLoop(VIRTUAL);
  await loop.runUntilComplete(function* () {
    yield* sleep(0);
    yield* sleep(0);
  });
  // Three steps and the end of the run.
  assertEquals(loop.soon, 4);
  assertEquals(loop.log.length, loop.soon);
  loop.soon = 0;
  await loop.runUntilComplete(async () => {
    await sleep(0);
    await sleep(0);
  });
  assertEquals(loop.soon, 4);
});

Deno.test("An overridden callSoon() sees done callbacks and waiting tasks", async () => {
  await using loop = new LoggingLoop(VIRTUAL);
  const future = loop.createFuture<number>();
  let told = 0;
  future.addDoneCallback(() => told++);
  const waiter = loop.createTask(function* () {
    return yield* future;
  });
  await runTurns(loop);
  loop.soon = 0;
  future.setResult(1);
  assertEquals(loop.soon, 2);
  assertEquals(await loop.runUntilComplete(waiter), 1);
  assertEquals(told, 1);
});

Deno.test("An overridden callAt() sees callLater() and every sleep", async () => {
  await using loop = new LoggingLoop(VIRTUAL);
  loop.callLater(5, () => {});
  loop.callAt(5, () => {});
  assertEquals(loop.at, 2);
  await loop.runUntilComplete(async () => {
    await sleep(1);
    await loop.createTask(() => sleep(1));
  });
  assertEquals(loop.at, 4);
});

Deno.test("An overridden callSoon() may cancel, put off or refuse what it is given", async () => {
  class Dropping extends EventLoop {
    override callSoon<A extends unknown[]>(
      callback: (...args: A) => unknown,
      ...args: A
    ): Handle {
      const handle = super.callSoon(callback, ...args);
      if (callback.name === "unwanted") handle.cancel();
      return handle;
    }
  }
  await using loop = new Dropping(VIRTUAL);
  const log: string[] = [];
  loop.callSoon(function wanted() {
    log.push("wanted");
  });
  loop.callSoon(function unwanted() {
    log.push("unwanted");
  });
  await runTurns(loop);
  assertEquals(log, ["wanted"]);
});

Deno.test("A loop that overrides nothing of it takes the short way, and its turns are the same", async () => {
  class Named extends EventLoop {}
  const trace = async (loop: EventLoop) => {
    const log: string[] = [];
    const worker = function* (name: string) {
      for (let step = 0; step < 3; step++) {
        log.push(`${name} ${step} ${loop.time()} ${loop.stats().turns}`);
        yield* sleep(step);
      }
    };
    await loop.runUntilComplete(function* () {
      const tasks = ["a", "b", "c"].map((name) =>
        loop.createTask(() => worker(name))
      );
      for (const task of tasks) yield* task;
    });
    await loop.close();
    return log;
  };
  const expected = await trace(new EventLoop(VIRTUAL));
  assertEquals(await trace(new Named(VIRTUAL)), expected);
  assertEquals(await trace(new LoggingLoop(VIRTUAL)), expected);
});

Deno.test("Errors under an overridden callSoon() still name the callback and give its handle", async () => {
  class Watching extends EventLoop {
    override callSoon<A extends unknown[]>(
      callback: (...args: A) => unknown,
      ...args: A
    ): Handle {
      return super.callSoon(callback, ...args);
    }
  }
  await using loop = new Watching({
    ...VIRTUAL,
    debug: true,
    slowCallbackMs: 0,
  });
  const reports = collectReports(loop);
  const future = loop.createFuture<void>();
  future.addDoneCallback(function broken() {
    throw new Error("no");
  });
  future.setResult();
  await runTurns(loop);
  assertEquals(
    reports.find(({ exception }) => exception !== undefined)?.message,
    'Exception in callback "broken"',
  );
  reports.length = 0;
  const task = loop.createTask(function* () {}, { name: "slow one" });
  await runTurns(loop);
  assertStrictEquals<unknown>(reports[0]?.task, task);
  assertEquals(
    reports[0]?.message.startsWith('Executing task "slow one" took'),
    true,
  );
});

Deno.test("The policy makes the loops of newEventLoop(), run() and Runner", async () => {
  await withPolicy(new LoggingPolicy(), async () => {
    const loop = newEventLoop(VIRTUAL);
    assertInstanceOf(loop, LoggingLoop);
    assertEquals(loop.stats().host, "virtual");
    await loop.close();
    await run(async () => {
      assertInstanceOf(getRunningLoop(), LoggingLoop);
    }, VIRTUAL);
    await using runner = new Runner(VIRTUAL);
    assertInstanceOf(runner.getLoop(), LoggingLoop);
  });
  await using loop = newEventLoop(VIRTUAL);
  assertEquals(loop instanceof LoggingLoop, false);
});

Deno.test("A loop factory goes before the policy", async () => {
  await withPolicy(new LoggingPolicy(), async () => {
    await run(async () => {
      assertEquals(getRunningLoop() instanceof LoggingLoop, false);
    }, { ...VIRTUAL, loopFactory: (options) => new EventLoop(options) });
  });
});

Deno.test("getEventLoopPolicy() gives what was set; loops that exist are not touched", async () => {
  await using existing = newEventLoop(VIRTUAL);
  const policy = new LoggingPolicy();
  const before = getEventLoopPolicy();
  assertInstanceOf(before, EventLoopPolicy);
  await withPolicy(
    policy,
    () => assertStrictEquals(getEventLoopPolicy(), policy),
  );
  assertStrictEquals(getEventLoopPolicy(), before);
  await existing.runUntilComplete(async () => {});
});

Deno.test("A policy that is none is refused, and the old one stays", () => {
  const before = getEventLoopPolicy();
  for (const wrong of [null, undefined, {}, () => {}] as unknown[]) {
    assertThrows(
      () => setEventLoopPolicy(wrong as EventLoopPolicy),
      TypeError,
      "policy.newEventLoop must be a function",
    );
  }
  assertStrictEquals(getEventLoopPolicy(), before);
});
