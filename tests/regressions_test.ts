/**
 * Programs that once went wrong where several parts meet: each keeps its test.
 *
 * @module
 */
import {
  CancelledError,
  CancelScope,
  Channel,
  currentTask,
  Future,
  getRunningLoop,
  Operation,
  run,
  sleep,
  taskGroup,
  timeout,
  waitFor,
} from "@rota/rota";
import { assertEquals, assertRejects } from "@std/assert";

const VIRTUAL = { host: "virtual" } as const;

Deno.test("A task that gets its slot from inside another's step leaves that one its identity", async () => {
  const log: unknown[] = [];
  await run(function* () {
    yield* taskGroup(function* (group) {
      group.spawn(function* () {
        const child = group.spawn(function* () {
          log.push(currentTask()?.name);
          return 1;
        }, { name: "child" });
        yield* sleep(5);
        yield* child;
        log.push(currentTask()?.name);
        yield* timeout(100, function* () {
          yield* sleep(1);
        });
      }, { name: "parent" });
    }, { limit: 1 });
  }, VIRTUAL);
  assertEquals(log, ["child", "parent"]);
});

Deno.test("A limited group takes a task whose signal has aborted, and ends", async () => {
  let ran = false;
  await run(function* () {
    yield* taskGroup(function* (group) {
      group.spawn(function* () {
        ran = true;
      }, { signal: AbortSignal.abort("too late") });
    }, { limit: 1 });
  }, VIRTUAL);
  assertEquals(ran, false);
});

Deno.test("start() gives what an eager child hands over in its first step", async () => {
  const value = await run(function* () {
    let value: number | undefined;
    yield* taskGroup(function* (group) {
      value = yield* group.start<number>(function* (started) {
        started(42);
        yield* sleep(10);
      }, { eager: true });
    });
    return value;
  }, VIRTUAL);
  assertEquals(value, 42);
});

Deno.test("start() fails if an eager child ends in its first step without handing over", async () => {
  await assertRejects(
    () =>
      run(function* () {
        yield* taskGroup(function* (group) {
          yield* group.start(function* () {
            return 1;
          }, { eager: true });
        });
      }, VIRTUAL),
    Error,
  );
});

Deno.test("An eager child that cancels its group in its first step is cancelled with it", async () => {
  const endedAtMs = await run(function* () {
    const loop = getRunningLoop();
    yield* taskGroup(function* (group) {
      group.spawn(function* () {
        group.cancel();
        yield* sleep(60_000);
      }, { eager: true });
      yield* sleep(1);
    });
    return loop.time();
  }, VIRTUAL);
  assertEquals(endedAtMs, 0);
});

Deno.test("A helper left behind in a block that has closed does not end the process", async () => {
  await run(async () => {
    await getRunningLoop().createTask(async () => {
      await timeout(100, async () => {
        const helper = async () => await sleep(1_000);
        helper();
        await sleep(1);
      });
    });
  }, VIRTUAL);
});

Deno.test("A stream made of a channel outlives the task that made it", async () => {
  const step = await run(async () => {
    const channel = new Channel<string>();
    const loop = getRunningLoop();
    const stream = await loop.createTask(async () => {
      const stream = channel.toReadableStream();
      await sleep(1);
      return stream;
    });
    loop.createTask(async () => {
      await channel.send("hello");
    });
    const reader = stream.getReader();
    const step = await reader.read();
    await reader.cancel();
    return step;
  }, { host: "portable" });
  assertEquals(step, { done: false, value: "hello" });
});

Deno.test("waitFor() without time ends with the reason of its signal", async () => {
  const caught = await run(function* () {
    const caught: unknown[] = [];
    try {
      yield* waitFor(sleep(10), 0, { signal: AbortSignal.abort("before") });
    } catch (error) {
      caught.push(error);
    }
    const controller = new AbortController();
    getRunningLoop().callLater(10, () => controller.abort("after 10"));
    const slow = getRunningLoop().createTask(function* () {
      try {
        yield* sleep(1_000);
      } finally {
        yield* sleep(500);
      }
    });
    yield* sleep(0);
    try {
      yield* waitFor(slow, 0, { signal: controller.signal });
    } catch (error) {
      caught.push(error);
    }
    return caught;
  }, VIRTUAL);
  assertEquals(caught, ["before", "after 10"]);
});

Deno.test("A deadline that is set before a scope is entered replaces its delay", async () => {
  const leftAtMs = await run(function* () {
    const loop = getRunningLoop();
    const scope = new CancelScope({ delayMs: 1_000 });
    scope.deadlineMs = loop.time() + 5;
    yield* scope.run(function* () {
      yield* sleep(10_000);
    });
    return loop.time();
  }, VIRTUAL);
  assertEquals(leftAtMs, 5);
});

Deno.test("A cancel() of the user's that throws leaves the task cancellable", async () => {
  class Stubborn extends Future<void> {
    #refused = false;
    override cancel(reason?: unknown): boolean {
      if (!this.#refused) {
        this.#refused = true;
        throw new Error("refused");
      }
      return super.cancel(reason);
    }
  }
  const log = await run(function* () {
    const log: unknown[] = [];
    const loop = getRunningLoop();
    const task = loop.createTask(function* () {
      yield* new Stubborn(loop);
    });
    yield* sleep(0);
    try {
      task.cancel();
    } catch (error) {
      log.push((error as Error).message);
    }
    log.push(task.cancel());
    try {
      yield* task;
    } catch (error) {
      log.push(error instanceof CancelledError);
    }
    return log;
  }, VIRTUAL);
  assertEquals(log, ["refused", true, true]);
});

Deno.test("An operation that fails to begin leaves nothing on its signal", async () => {
  const { signal } = new AbortController();
  let listeners = 0;
  const add = signal.addEventListener.bind(signal);
  const remove = signal.removeEventListener.bind(signal);
  signal.addEventListener = (...args: Parameters<typeof add>) => {
    listeners++;
    add(...args);
  };
  signal.removeEventListener = (...args: Parameters<typeof remove>) => {
    listeners--;
    remove(...args);
  };
  const message = await run(function* () {
    const broken = new Operation<void>(() => {
      throw new Error("cannot begin");
    }, { signal });
    try {
      yield* broken;
      return "nothing";
    } catch (error) {
      return (error as Error).message;
    }
  }, VIRTUAL);
  assertEquals([message, listeners], ["cannot begin", 0]);
});
