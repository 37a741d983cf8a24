/**
 * When an operation begins that tries at once: with the wait for it, and not
 * for those who will never wait.
 *
 * @module
 */
import { assert, assertEquals, assertThrows } from "@std/assert";
import {
  CancelledError,
  CapacityLimiter,
  Channel,
  currentTask,
  eagerTaskFactory,
  getRunningLoop,
  Lock,
  type Operation,
  type Permit,
  Queue,
  RateLimiter,
  run,
  Semaphore,
  sleep,
  type TaskBody,
  type TaskGroup,
  taskGroup,
  TaskGroupClosedError,
} from "../mod.ts";
import { SeededRandom } from "../src/structures/random.ts";

const VIRTUAL = { host: "virtual" } as const;

/** Something to take from, or to put into. */
interface Source {
  /** Takes or puts. */
  readonly begin: () => Operation<unknown>;
  /** Whether nothing was taken or put: asked when all has settled. */
  readonly isUntouched: () => boolean;
}

/** A lock or semaphore, free or with its only permit taken. */
function permitSource(
  one: { acquire(): Operation<Permit>; tryAcquire(): Permit | null },
  isTaken: boolean,
): Source {
  const permit = isTaken ? one.tryAcquire() : null;
  return {
    begin: () => one.acquire(),
    isUntouched: () => {
      permit?.release();
      return one.tryAcquire() !== null;
    },
  };
}

const SOURCES: Readonly<Record<string, () => Source>> = {
  "a free lock": () => permitSource(new Lock(), false),
  "a lock that somebody has": () => permitSource(new Lock(), true),
  "a free semaphore": () => permitSource(new Semaphore(), false),
  "a semaphore without permits": () => permitSource(new Semaphore(), true),
  "a capacity limiter": () => {
    const limiter = new CapacityLimiter(1);
    return {
      begin: () => limiter.acquire(),
      isUntouched: () => limiter.borrowedTokens === 0,
    };
  },
  "a rate limiter": () => {
    const limiter = new RateLimiter({ permits: 1, intervalMs: 1_000 });
    return {
      begin: () => limiter.acquire(),
      isUntouched: () => limiter.tryAcquire(),
    };
  },
  "a queue with an item": () => {
    const queue = new Queue<string>();
    queue.putNowait("item");
    return { begin: () => queue.get(), isUntouched: () => queue.size === 1 };
  },
  "a queue with room": () => {
    const queue = new Queue<string>();
    return {
      begin: () => queue.put("item"),
      isUntouched: () => queue.size === 0,
    };
  },
  "a queue that was shut down": () => {
    const queue = new Queue<string>();
    queue.shutdown();
    return { begin: () => queue.get(), isUntouched: () => true };
  },
  "a channel with a value": () => {
    const channel = new Channel<string>({ capacity: 1 });
    channel.trySend("value");
    return {
      begin: () => channel.receive(),
      isUntouched: () => channel.tryReceive().state === "ok",
    };
  },
  "a channel with room": () => {
    const channel = new Channel<string>({ capacity: 1 });
    return {
      begin: () => channel.send("value"),
      isUntouched: () => channel.tryReceive().state === "empty",
    };
  },
};

/** Ways to have a function cancel its own task, and then return what it has begun. */
const WAYS: Readonly<
  Record<string, (begin: () => unknown) => Promise<unknown>>
> = {
  "a task that cancels itself": async (begin) => {
    const task = getRunningLoop().createTask(
      (() => {
        currentTask()!.cancel();
        return begin();
      }) as TaskBody<unknown>,
    );
    await task;
  },
  "an eager task that aborts its signal": async (begin) => {
    const controller = new AbortController();
    const loop = getRunningLoop();
    loop.setTaskFactory(eagerTaskFactory);
    const task = loop.createTask(
      (() => {
        controller.abort();
        return begin();
      }) as TaskBody<unknown>,
      { signal: controller.signal },
    );
    loop.setTaskFactory(null);
    await task;
  },
  "a task that ends its group": async (begin) => {
    await taskGroup((group) => {
      group.createTask(
        (() => {
          group.cancel();
          return begin();
        }) as TaskBody<unknown>,
      );
    });
  },
};

for (const [name, make] of Object.entries(SOURCES)) {
  Deno.test(`A group that refuses an operation on ${name} does not begin it`, async () => {
    await run(async () => {
      const source = make();
      let over!: TaskGroup;
      await taskGroup((group) => {
        over = group;
      });
      assertThrows(
        () => over.createTask(source.begin()),
        TaskGroupClosedError,
        "is over",
      );
      await sleep(1);
      assert(source.isUntouched());
    }, VIRTUAL);
  });

  for (const [way, act] of Object.entries(WAYS)) {
    Deno.test(`What ${way} returns, an operation on ${name}, does not begin`, async () => {
      await run(async () => {
        const source = make();
        try {
          await act(source.begin);
        } catch (error) {
          assert(error instanceof CancelledError, String(error));
        }
        await sleep(1);
        assert(source.isUntouched());
      }, VIRTUAL);
    });
  }
}

Deno.test("Whatever ends a wait, permits are neither lost nor doubled", async () => {
  const base = Date.now() >>> 0;
  console.log(`seeds ${base} to ${base + 199}`);
  for (let seed = base; seed < base + 200; seed++) {
    const random = new SeededRandom(seed);
    await run(async () => {
      const loop = getRunningLoop();
      const semaphore = new Semaphore(2);
      let inside = 0;
      const visit = function* () {
        using _permit = yield* semaphore.acquire();
        assert(++inside <= 2, `seed ${seed}`);
        try {
          yield* sleep(random.nextInt(3));
        } finally {
          inside--;
        }
      };
      const tasks = Array.from({ length: 12 }, () => {
        switch (random.nextInt(3)) {
          case 0:
            return loop.createTask(visit);
          case 1:
            return loop.createTask(semaphore.acquire());
          default:
            return loop.createTask(() => {
              if (random.nextInt(2) === 0) currentTask()!.cancel();
              return semaphore.acquire();
            });
        }
      });
      for (const task of tasks) {
        loop.callLater(random.nextInt(6), () => task.cancel());
        task.addDoneCallback(() => {
          if (task.cancelled()) return;
          const permit = task.result();
          if (permit !== undefined) loop.callLater(1, () => permit.release());
        });
      }
      await Promise.allSettled(tasks);
      await sleep(5);
      assertEquals([inside, semaphore.value], [0, 2], `seed ${seed}`);
      const permits = [semaphore.tryAcquire(), semaphore.tryAcquire()];
      assert(permits.every((permit) => permit !== null), `seed ${seed}`);
    }, VIRTUAL);
  }
});
