/**
 * The explorer finds nothing in the locks, queues, groups, limits and supervisors of
 * the library: some schedules of each here, and 100,000 of each by hand, with
 * `ROTA_SCHEDULES=100000 deno test -A tests/testing/primitives_exploration_test.ts`.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import {
  Barrier,
  BoundedSemaphore,
  CapacityLimiter,
  Channel,
  ConcurrencyLimit,
  Condition,
  createTask,
  Flag,
  gather,
  getRunningLoop,
  isCancellation,
  Lock,
  moveOnAfter,
  Queue,
  RateLimiter,
  Semaphore,
  shield,
  sleep,
  Supervisor,
  type Task,
  taskGroup,
  timeout,
  until,
  wait,
} from "../../mod.ts";
import { explore, type ExploredProgram } from "../../src/testing/mod.ts";
import { inStyle, type Steps, type Style, STYLES } from "../support/styles.ts";

const SCHEDULES = Number(Deno.env.get("ROTA_SCHEDULES") ?? 120);
const SEED = Number(Deno.env.get("ROTA_SEED") ?? 1);

/** Makes a body of the style of the program. */
type Make = <T>(steps: Steps<T>) => () => Promise<T>;
type ProgramOf = (make: Make) => Steps<void>;

/** Waits for all tasks, those that were cancelled included; any other error is thrown. */
function* joinAll(tasks: readonly Task<unknown>[]) {
  for (const task of tasks) {
    try {
      yield task;
    } catch (error) {
      if (!isCancellation(error)) throw error;
    }
  }
}

/** Tasks that each enter and leave a place for at most so many; one is cancelled at some time. */
function guarded(
  makePlace: () => { acquire(): ReturnType<Semaphore["acquire"]> },
  slots: number,
): ProgramOf {
  return (make) =>
    function* () {
      const place = makePlace();
      let inside = 0;
      const tasks = Array.from({ length: 4 }, (_, number) =>
        createTask(make(function* () {
          if (number === 3) {
            yield sleep(1);
          }
          const permit = yield place.acquire();
          try {
            assert(++inside <= slots);
            yield sleep(number === 0 ? 1 : 0);
          } finally {
            inside--;
            permit.release();
          }
        })));
      createTask(make(function* () {
        yield sleep(0);
        tasks[1]!.cancel();
      }));
      yield* joinAll(tasks);
      // Nothing was lost: all slots are free.
      for (let slot = 0; slot < slots; slot++) {
        yield place.acquire();
      }
    };
}

const PROGRAMS: Readonly<Record<string, ProgramOf>> = {
  "Lock": guarded(() => new Lock(), 1),
  "Semaphore": guarded(() => new Semaphore(2), 2),
  "BoundedSemaphore": guarded(() => new BoundedSemaphore(2), 2),
  "CapacityLimiter": (make) =>
    function* () {
      const limiter = new CapacityLimiter(2);
      let inside = 0;
      const tasks = Array.from({ length: 4 }, () =>
        createTask(make(function* () {
          const permit = yield limiter.acquire();
          try {
            assert(++inside <= 2);
            yield sleep(0);
          } finally {
            inside--;
            permit.release();
          }
        })));
      createTask(make(function* () {
        yield sleep(0);
        tasks[2]!.cancel();
      }));
      yield* joinAll(tasks);
      assertEquals(inside, 0);
      yield limiter.acquire();
    },
  "Flag": (make) =>
    function* () {
      const flag = new Flag();
      let woken = 0;
      const tasks = Array.from({ length: 3 }, () =>
        createTask(make(function* () {
          yield flag.wait();
          woken++;
        })));
      createTask(make(function* () {
        yield sleep(0);
        tasks[0]!.cancel();
        flag.set();
      }));
      yield* joinAll(tasks);
      assert(woken >= 2);
    },
  "Condition": (make) =>
    function* () {
      const condition = new Condition();
      let items = 0;
      const consumers = Array.from({ length: 3 }, () =>
        createTask(make(function* () {
          const permit = yield condition.acquire();
          try {
            yield condition.waitFor(() =>
              items > 0
            );
            items--;
          } finally {
            permit.release();
          }
        })));
      const producer = createTask(make(function* () {
        for (let item = 0; item < 3; item++) {
          const permit = yield condition.acquire();
          items++;
          condition.notify();
          permit.release();
          yield sleep(0);
        }
      }));
      createTask(make(function* () {
        yield sleep(0);
        consumers[0]!.cancel();
      }));
      yield* joinAll([...consumers, producer]);
      assert(items === 0 || items === 1);
    },
  "Barrier": (make) =>
    function* () {
      const barrier = new Barrier(3);
      let round = 0;
      yield gather(Array.from({ length: 3 }, () =>
        createTask(make(function* () {
          for (let expected = 0; expected < 2; expected++) {
            const place = yield barrier.wait();
            assert(round === expected || round === expected + 1);
            if (place === 0) round = expected + 1;
            yield sleep(0);
          }
        }))));
      assertEquals(round, 2);
    },
  "Queue": (make) =>
    function* () {
      const queue = new Queue<number>(1);
      const got: number[] = [];
      const taker = () =>
        createTask(make(function* () {
          for (let item = 0; item < 2; item++) {
            got.push(yield queue.get());
            queue.taskDone();
          }
        }));
      const takers = [taker(), taker()];
      const putters = [1, 2].map((number) =>
        createTask(make(function* () {
          yield queue.put(number);
          yield queue.put(number * 10);
        }))
      );
      let wasPut = false;
      const cancelled = createTask(make(function* () {
        yield queue.put(99);
        wasPut = true;
      }));
      const late = createTask(make(function* () {
        yield sleep(0);
        cancelled.cancel();
        yield* joinAll([cancelled]);
        // Its task may be cancelled all the same, right after that.
        if (wasPut) {
          got.push(yield queue.get());
          queue.taskDone();
        }
      }));
      yield* joinAll([...putters, ...takers, late]);
      yield queue.join();
      assertEquals(
        got.filter((item) => item !== 99).sort((a, b) => a - b),
        [1, 2, 10, 20],
      );
    },
  "Channel": (make) =>
    function* () {
      const channel = new Channel<number>({ capacity: 1 });
      const got: number[] = [];
      const sender = (from: number) =>
        createTask(make(function* () {
          yield channel.send(from);
          yield channel.send(from + 1);
        }));
      const senders = [sender(1), sender(3)];
      const receiver = createTask(make(function* () {
        for (let item = 0; item < 4; item++) {
          got.push(yield channel.receive());
        }
      }));
      yield* joinAll([...senders, receiver]);
      channel.close();
      assertEquals(got.sort(), [1, 2, 3, 4]);
    },
  "task groups": (make) =>
    function* () {
      let ended = 0;
      const body = (fails: boolean) =>
        make(function* () {
          try {
            yield sleep(0);
            if (fails) throw new RangeError("planned");
            yield sleep(1);
          } finally {
            ended++;
          }
        });
      try {
        yield taskGroup((group) => {
          group.createTask(body(false));
          group.createTask(body(true));
          group.createTask(make(function* () {
            ended++;
          }));
        });
        assert(false);
      } catch (error) {
        assertEquals((error as Error).name, "TaskGroupError");
      }
      assert(ended >= 1 && ended <= 3);
    },
  "timeouts, scopes, shields": (make) =>
    function* () {
      let done = 0;
      const task = createTask(make(function* () {
        yield sleep(2);
        done++;
      }));
      try {
        yield timeout(
          1,
          make(function* () {
            yield shield(task);
          }),
        );
        assert(false);
      } catch (error) {
        assertEquals((error as Error).name, "TimeoutError");
      }
      yield moveOnAfter(
        1,
        make(function* () {
          yield sleep(1);
          done++;
        }),
      );
      yield task;
      assert(done === 1 || done === 2);
    },
  "gather and wait": (make) =>
    function* () {
      const body = (number: number) =>
        createTask(make(function* () {
          yield sleep(number % 2);
          return number;
        }));
      const tasks = [0, 1, 2].map(body);
      const { done } = yield wait(tasks, { returnWhen: "first-completed" });
      assert(done.size >= 1);
      assertEquals(yield gather(tasks), [0, 1, 2]);
    },
  "ConcurrencyLimit": (make) =>
    function* () {
      const limit = new ConcurrencyLimit(2);
      let inside = 0;
      const job = make(function* () {
        try {
          assert(++inside <= 2);
          yield sleep(0);
        } finally {
          inside--;
        }
      });
      const jobs = Array.from({ length: 4 }, () => limit.run(job));
      createTask(make(function* () {
        yield sleep(0);
        jobs[3]!.cancel();
      }));
      yield* joinAll(jobs as unknown as Task<unknown>[]);
      yield limit.onIdle();
      assertEquals(inside, 0);
    },
  "RateLimiter": (make) =>
    function* () {
      const limiter = new RateLimiter({ permits: 2, intervalMs: 10 });
      const times: number[] = [];
      const tasks = Array.from({ length: 4 }, () =>
        createTask(make(function* () {
          yield limiter.acquire();
          times.push(getRunningLoop().time());
        })));
      createTask(make(function* () {
        yield sleep(0);
        tasks[3]!.cancel();
      }));
      yield* joinAll(tasks);
      assert(times.length >= 3);
      // Two at once, and then one each 5 ms.
      times.forEach((time, index) => assert(time >= (index - 1) * 5));
    },
  "Supervisor": (make) =>
    function* () {
      const starts = { steady: 0, crashing: 0 };
      const child = (id: keyof typeof starts, crashes: number) => ({
        id,
        start: make(function* () {
          starts[id]++;
          yield sleep(0);
          if (starts[id] <= crashes) throw new RangeError("planned");
          yield sleep(1_000);
        }),
      });
      const supervisor = new Supervisor({
        strategy: "one-for-all",
        maxRestarts: 3,
        reportCrashes: false,
        children: [child("steady", 0), child("crashing", 2)],
      });
      yield supervisor.start();
      yield sleep(500);
      yield until(() => supervisor[Symbol.asyncDispose]());
      // All are started again whenever one crashes, be it before they have begun.
      assertEquals(starts.crashing, 3);
      assert(starts.steady <= 3);
    },
};

for (const [name, programOf] of Object.entries(PROGRAMS)) {
  Deno.test(`Nothing is found in ${name}: ${SCHEDULES} schedules`, async () => {
    for (const style of STYLES) {
      const program = programIn(style, programOf);
      let left = Math.ceil(SCHEDULES / STYLES.length);
      // "dfs" first: what it leaves, as it has seen all, is for chance.
      for (
        const [strategy, parts] of [["dfs", 3], ["pct", 2], [
          "random",
          1,
        ]] as const
      ) {
        const { runs } = await explore(program, {
          strategy,
          seed: SEED,
          iterations: Math.ceil(left / parts),
        });
        left -= runs;
      }
      assertEquals(left, 0);
    }
  });
}

function programIn(style: Style, programOf: ProgramOf): ExploredProgram {
  const make = <T>(steps: Steps<T>) =>
    inStyle(style, steps) as () => Promise<T>;
  return inStyle(style, programOf(make));
}
