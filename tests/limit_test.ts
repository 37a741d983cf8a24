/**
 * The limit of a task group where its tasks wait for tasks of their own, and the
 * order in which those in line get their slots.
 *
 * @module
 */
import {
  assert,
  assertEquals,
  assertRejects,
  assertStrictEquals,
} from "@std/assert";
import {
  asCompleted,
  CancelledError,
  cancelScope,
  type Coroutine,
  currentTask,
  DeadlockError,
  each,
  gather,
  getRunningLoop,
  type Priority,
  run,
  shield,
  sleep,
  type Task,
  type TaskGroup,
  taskGroup,
  TaskGroupError,
  timeout,
  TimeoutError,
  wait,
  waitFor,
} from "../mod.ts";
import { SeededRandom } from "../src/structures/random.ts";
import { inStyle, type Steps, STYLES } from "./support/styles.ts";

const VIRTUAL = { host: "virtual" } as const;

class Broken extends Error {}

/** A whole number from `min` to `max`. */
function between(random: SeededRandom, min: number, max: number): number {
  return min + random.nextInt(max - min + 1);
}

/** Counts the tasks that run, other than those that wait for their own. */
class Running {
  now = 0;
  most = 0;

  enter(): void {
    this.most = Math.max(this.most, ++this.now);
  }

  leave(): void {
    this.now--;
  }

  /** Runs for a while. */
  *work(ms: number): Coroutine<void> {
    this.enter();
    try {
      yield* sleep(ms);
    } finally {
      this.leave();
    }
  }
}

for (const style of STYLES) {
  const make = <T>(steps: Steps<T>) => inStyle(style, steps);

  Deno.test(`A task that waits for a nested group lends its slot, and has one again before it goes on (${style})`, async () => {
    const log: string[] = [];
    await run(function* () {
      const at = (what: string) =>
        log.push(`${getRunningLoop().time()} ${what}`);
      yield* taskGroup((group) => {
        for (const name of ["a", "b", "c"]) {
          group.createTask(make(function* () {
            at(`${name} begins`);
            yield taskGroup((nested) => {
              nested.createTask(() => sleep(10));
              nested.createTask(() => sleep(20));
            });
            at(`${name} goes on`);
            yield sleep(30);
            at(`${name} ends`);
          }));
        }
      }, { limit: 1 });
    }, VIRTUAL);
    assertEquals(log, [
      "0 a begins",
      "0 b begins",
      "0 c begins",
      "20 a goes on",
      "50 a ends",
      "50 b goes on",
      "80 b ends",
      "80 c goes on",
      "110 c ends",
    ]);
  });

  Deno.test(`One that has begun goes before those that have not (${style})`, async () => {
    const log: string[] = [];
    await run(function* () {
      yield* taskGroup((group) => {
        group.createTask(make(function* () {
          yield group.createTask(() => sleep(10));
          log.push("parent");
        }));
        for (let n = 0; n < 3; n++) {
          group.createTask(
            make(function* () {
              yield sleep(15);
              log.push(`${n}`);
            }),
            { priority: "user-blocking" },
          );
        }
      }, { limit: 1 });
    }, VIRTUAL);
    // The parent's own came last of all, with no priority.
    assertEquals(log, ["0", "1", "2", "parent"]);
    log.length = 0;
    await run(function* () {
      yield* taskGroup((group) => {
        group.createTask(make(function* () {
          yield taskGroup((nested) => {
            nested.createTask(() => sleep(10));
          });
          log.push("parent");
        }));
        for (let n = 0; n < 3; n++) {
          group.createTask(
            make(function* () {
              yield sleep(15);
              log.push(`${n}`);
            }),
            { priority: "user-blocking" },
          );
        }
      }, { limit: 1 });
    }, VIRTUAL);
    assertEquals(log, ["0", "parent", "1", "2"]);
  });

  Deno.test(`A task that is cancelled in line for its slot goes on at once, and the slots are right after it (${style})`, async () => {
    const log: string[] = [];
    await run(function* () {
      yield* taskGroup(function* (group) {
        const running = new Running();
        const parent = group.createTask(make(function* () {
          try {
            yield taskGroup((nested) => {
              nested.createTask(() => sleep(10));
            });
            log.push("not reached");
          } catch (error) {
            assert(error instanceof CancelledError);
            log.push(`${getRunningLoop().time()} ${error.reason}`);
            throw error;
          }
        }));
        group.createTask(() => running.work(100));
        yield* sleep(50); // it is in line now
        parent.cancel("enough");
        yield* wait([parent]);
        assertEquals(parent.cancelled(), true);
        for (let n = 0; n < 5; n++) group.createTask(() => running.work(10));
        yield* sleep(60);
        assertEquals(running.most, 1);
        group.createTask(function* () {
          log.push(`${getRunningLoop().time()} last`);
        });
      }, { limit: 1 });
    }, VIRTUAL);
    assertEquals(log, ["50 enough", "150 last"]);
  });

  Deno.test(`What a wait has failed with goes before a cancellation that comes while the task is in line for its slot (${style})`, async () => {
    const log: string[] = [];
    await run(function* () {
      yield* taskGroup(function* (group) {
        const parent = group.createTask(make(function* () {
          const note = (error: unknown) =>
            log.push(`${getRunningLoop().time()} ${String(error)}`);
          try {
            yield group.start(function* () {
              yield* sleep(10);
              throw new Broken("no start");
            }, { priority: "user-blocking" });
          } catch (error) {
            note(error);
          }
          try {
            yield sleep(0);
          } catch (error) {
            note(error);
            throw error;
          }
        }));
        group.createTask(() => sleep(100));
        yield* sleep(50);
        parent.cancel("enough");
      }, { limit: 1 });
    }, VIRTUAL);
    assertEquals(log, [
      "50 Error: no start",
      "50 CancelledError: Cancelled: enough",
    ]);
  });

  Deno.test(`A time limit and a cancelled scope end the wait for a slot (${style})`, async () => {
    const log: string[] = [];
    await run(function* () {
      yield* taskGroup((group) => {
        const at = (what: string) =>
          log.push(`${getRunningLoop().time()} ${what}`);
        group.createTask(make(function* () {
          try {
            yield timeout(
              30,
              make(function* () {
                yield group.createTask(() => sleep(10));
              }),
            );
          } catch (error) {
            assert(error instanceof TimeoutError);
            at("timeout");
          }
        }));
        group.createTask(make(function* () {
          const { cancelledCaught } = yield cancelScope(
            make(function* () {
              yield group.createTask(() => sleep(10), { priority: 1 });
            }),
            { delayMs: 40 },
          );
          at(`scope ${cancelledCaught}`);
        }));
        group.createTask(() => sleep(100));
        group.createTask(() => sleep(100));
      }, { limit: 2 });
      log.push(`${getRunningLoop().time()} end`);
    }, VIRTUAL);
    assertEquals(log.slice(-1), ["110 end"]);
    assertEquals(log.slice(0, -1), ["30 timeout", "40 scope true"]);
  });
}

Deno.test("Two waits of one task lend its slot until both are over", async () => {
  const running = new Running();
  let sum = 0;
  await run(function* () {
    yield* taskGroup((group) => {
      for (let n = 0; n < 4; n++) {
        group.createTask(async () => {
          const children = [5, 10].map((ms) =>
            group.createTask(function* () {
              yield* running.work(ms);
              return ms;
            })
          );
          const parts = await Promise.all(children);
          running.enter();
          await sleep(1);
          running.leave();
          sum += parts[0]! + parts[1]!;
        });
      }
    }, { limit: 1 });
    assertEquals(getRunningLoop().time(), 4 * 16);
  }, VIRTUAL);
  assertEquals([running.most, sum], [1, 60]);
});

// -- No wait for one's own, in whatever way, ends in a deadlock --

/** Ways for a limited task to wait for one of its own, which needs a slot. */
const WAYS: Record<string, (group: TaskGroup) => Coroutine<unknown>> = {
  "yield*": function* (group) {
    return yield* group.createTask(leaf);
  },
  "gather()": function* (group) {
    return (yield* gather([group.createTask(leaf)]))[0];
  },
  "shield()": function* (group) {
    return yield* shield(group.createTask(leaf));
  },
  "wait()": function* (group) {
    const task = group.createTask(leaf);
    yield* wait([task]);
    return task.result();
  },
  "waitFor()": function* (group) {
    return yield* waitFor(group.createTask(leaf), 1_000);
  },
  "timeout()": function* (group) {
    return yield* timeout(1_000, function* () {
      return yield* group.createTask(leaf);
    });
  },
  "asCompleted()": function* (group) {
    const [next] = [...asCompleted([group.createTask(leaf)])];
    return yield* next!;
  },
  "each()": function* (group) {
    let result: unknown;
    yield* each(asCompleted([group.createTask(leaf)]), function* (task) {
      result = task.result();
    });
    return result;
  },
  "start()": function* (group) {
    return yield* group.start(function* (started) {
      started(yield* leaf());
    });
  },
  "a nested group": function* (group) {
    let result: unknown;
    yield* taskGroup((nested) => {
      nested.createTask(function* () {
        result = yield* group.createTask(leaf);
      });
    });
    return result;
  },
  "a nested group with a limit": function* (group) {
    let result: unknown;
    yield* taskGroup((nested) => {
      nested.createTask(function* () {
        result = yield* group.createTask(leaf);
      });
    }, { limit: 1 });
    return result;
  },
  "a task of a nested group, in its body": function* (group) {
    return yield* taskGroup(function* (nested) {
      return yield* nested.createTask(function* () {
        return yield* group.createTask(leaf);
      });
    });
  },
  "a task of a task of a nested group, in its body": function* (group) {
    return yield* taskGroup(function* (nested) {
      let inner: Task<unknown> | undefined;
      nested.createTask(function* () {
        inner = nested.createTask(function* () {
          return yield* group.createTask(leaf);
        });
      });
      yield* sleep(1);
      let result: unknown;
      yield* timeout(null, async () => {
        result = await inner;
      });
      return result;
    });
  },
  "start() of a nested group": function* (group) {
    return yield* taskGroup(function* (nested) {
      return yield* nested.start(function* (started) {
        started(yield* group.createTask(leaf));
      });
    });
  },
};

function* leaf(): Coroutine<string> {
  yield* sleep(1);
  return "leaf";
}

for (const [way, waits] of Object.entries(WAYS)) {
  Deno.test(`A limited task may wait for its own by ${way}, and counts when it goes on`, async () => {
    const running = new Running();
    const results: unknown[] = [];
    const body = (group: TaskGroup) =>
      function* (): Coroutine<void> {
        results.push(yield* waits(group));
        yield* running.work(5);
      };
    for (const inAsync of [false, true]) {
      for (const limit of [1, 2]) {
        running.most = 0;
        results.length = 0;
        await run(function* () {
          yield* taskGroup((group) => {
            for (let n = 0; n < 5; n++) {
              const steps = body(group);
              group.createTask(
                inAsync
                  ? async () => {
                    await timeout(null, steps);
                  }
                  : steps,
              );
            }
          }, { limit });
        }, VIRTUAL);
        assertEquals(results, Array(5).fill("leaf"));
        assertEquals(running.most, limit);
      }
    }
  });
}

Deno.test("One of those that run may not wait for one in line: that is a deadlock, and is named", async () => {
  const error = await assertRejects(
    () =>
      run(function* () {
        yield* taskGroup((group) => {
          group.createTask(function* () {
            yield* sleep(1);
            yield* other;
          }, { name: "first" });
          const other = group.createTask(() => sleep(1), { name: "other" });
        }, { limit: 1 });
      }, VIRTUAL),
    DeadlockError,
  );
  assertEquals(error.message.includes('task "other"'), true);
});

// -- Random trees of tasks --

for (const style of STYLES) {
  Deno.test(`Random trees of tasks end, never more at once than the limit (${style})`, async () => {
    const first = Date.now();
    console.log(`seeds ${first} to ${first + 99}`);
    for (let seed = first; seed < first + 100; seed++) {
      const random = new SeededRandom(seed);
      const limit = between(random, 1, 3);
      const running = new Running();
      let made = 0;
      let ended = 0;
      await run(function* () {
        yield* taskGroup(function* (group) {
          const tree = (depth: number): () => Coroutine<void> | Promise<void> =>
            inStyle(style, function* () {
              running.enter();
              for (let step = between(random, 1, 3); step > 0; step--) {
                yield sleep(between(random, 0, 4));
                if (depth === 0) continue;
                const children = between(random, 1, 3);
                const make = (): Task<void>[] =>
                  Array.from({ length: children }, () => spawn(depth - 1));
                const kind = between(random, 0, 3);
                running.leave();
                if (kind === 0) { for (const task of make()) yield task; }
                else if (kind === 1) yield wait(make());
                else if (kind === 2) yield gather(make());
                else {
                  yield taskGroup((nested) => {
                    for (const task of make()) {
                      nested.createTask(function* () {
                        yield* sleep(1);
                        yield* task;
                      });
                    }
                  });
                }
                running.enter();
              }
              running.leave();
              ended++;
            });
          const spawn = (depth: number): Task<void> => {
            made++;
            return group.createTask(tree(depth), {
              priority: between(random, -1, 1),
            });
          };
          for (let n = between(random, 1, 4); n > 0; n--) spawn(2);
        }, { limit });
      }, VIRTUAL);
      assertEquals(ended, made, `seed ${seed}`);
      assertEquals(running.now, 0, `seed ${seed}`);
      assert(running.most <= limit, `seed ${seed}: ${running.most} at once`);
    }
  });

  Deno.test(`After random cancellations of random trees the slots are all there (${style})`, async () => {
    const first = Date.now();
    console.log(`seeds ${first} to ${first + 99}`);
    for (let seed = first; seed < first + 100; seed++) {
      const random = new SeededRandom(seed);
      const limit = between(random, 1, 3);
      await run(function* () {
        yield* taskGroup(function* (group) {
          const all: Task<void>[] = [];
          const spawn = (depth: number): Task<void> => {
            const task = group.createTask(inStyle(style, function* () {
              try {
                yield sleep(between(random, 0, 4));
                if (depth === 0) return;
                if (between(random, 0, 1) === 0) {
                  yield wait([spawn(depth - 1), spawn(depth - 1)]);
                } else yield spawn(depth - 1);
                yield sleep(between(random, 0, 4));
              } finally {
                yield sleep(between(random, 0, 2));
              }
            }));
            all.push(task);
            return task;
          };
          for (let n = 0; n < 4; n++) spawn(2);
          for (let n = 0; n < 6; n++) {
            yield* sleep(between(random, 0, 3));
            all[between(random, 0, all.length - 1)]!.cancel();
          }
          yield* wait(all);
          while (all.some((task) => !task.done())) yield* wait(all);
          // Now exactly as many as the limit run at once.
          const running = new Running();
          const startMs = getRunningLoop().time();
          const probes = Array.from(
            { length: 3 * limit },
            () => group.createTask(() => running.work(1)),
          );
          yield* wait(probes);
          assertEquals(running.most, limit, `seed ${seed}`);
          assertEquals(getRunningLoop().time() - startMs, 3, `seed ${seed}`);
        }, { limit });
      }, VIRTUAL);
    }
  });
}

// -- Priority --

Deno.test("Those in line get their slots by priority, and of equals who came first", async () => {
  const order: string[] = [];
  await run(function* () {
    yield* taskGroup((group) => {
      const add = (name: string, priority?: Priority) =>
        group.createTask(function* () {
          order.push(name);
          yield* sleep(1);
        }, priority === undefined ? {} : { priority });
      add("first", "background"); // there is a slot for it
      add("a");
      add("b", "background");
      add("c", 3.5);
      add("d", "user-blocking");
      add("e", "user-visible");
      add("f", 3.5);
      add("g", -Infinity);
      add("h", 10);
      add("i", Infinity);
      add("j", 0);
    }, { limit: 1 });
  }, VIRTUAL);
  assertEquals(order, [
    "first",
    "i",
    "d",
    "h",
    "c",
    "f",
    "a",
    "e",
    "j",
    "b",
    "g",
  ]);
});

Deno.test("Those in line do not begin before the turn after the one in which a slot becomes free", async () => {
  const log: string[] = [];
  await run(function* () {
    yield* taskGroup(function* (group) {
      const loop = getRunningLoop();
      group.createTask(function* () {
        log.push("one");
      });
      yield* sleep(0); // it runs
      yield* sleep(0); // the group learns of its end
      group.createTask(function* () {
        log.push("two");
      });
      loop.callSoon(() => log.push("callback"));
      log.push("created");
    }, { limit: 1 });
  }, VIRTUAL);
  assertEquals(log, ["one", "created", "two", "callback"]);
});

Deno.test("A task that is cancelled in line and has that taken back gets in line again", async () => {
  const running = new Running();
  await run(function* () {
    yield* taskGroup(function* (group) {
      group.createTask(() => running.work(10));
      const second = group.createTask(() => running.work(10));
      yield* sleep(1);
      second.cancel();
      second.uncancel();
      yield* sleep(1);
      assertEquals(running.now, 1);
    }, { limit: 1 });
    assertEquals(getRunningLoop().time(), 20);
  }, VIRTUAL);
  assertEquals(running.most, 1);
});

Deno.test("A task that cannot be made takes no slot", async () => {
  await run(function* () {
    yield* taskGroup(function* (group) {
      const coroutine = leaf();
      const task = group.createTask(coroutine);
      const error = yield* wait([task]);
      assertEquals(error.done.size, 1);
      try {
        group.createTask(coroutine); // a second task of one coroutine
        throw new Error("It was taken");
      } catch (error) {
        assertStrictEquals((error as Error).name, "MisuseError");
      }
      assertEquals(group.size, 0);
      assertEquals(yield* group.createTask(leaf), "leaf");
    }, { limit: 1 });
  }, { ...VIRTUAL, debug: true });
});

Deno.test("A limited task that fails cancels those in line for their slots", async () => {
  const error = await assertRejects(
    () =>
      run(function* () {
        yield* taskGroup((group) => {
          for (let n = 0; n < 3; n++) {
            group.createTask(function* () {
              yield* group.createTask(() => sleep(1));
              yield* sleep(10);
              throw new Broken(`${n} of ${currentTask()?.name !== ""}`);
            });
          }
        }, { limit: 1 });
      }, VIRTUAL),
    TaskGroupError,
  );
  assertEquals(error.errors.map(String), ["Error: 0 of true"]);
});

Deno.test("A task in line for a slot moves with its priority", async () => {
  const log: string[] = [];
  await run(function* () {
    yield* taskGroup(function* (group) {
      const tasks = ["a", "b", "c", "d"].map((name) =>
        group.createTask(function* () {
          log.push(name);
          yield* sleep(1);
        }, { name })
      );
      const [, b, c, d] = tasks;
      yield* sleep(0);
      d!.setPriority(5);
      c!.setPriority(9); // up, and down again
      c!.setPriority(-9);
      b!.setPriority(-5);
      assertEquals(tasks.map((task) => task.priority), [0, -5, -9, 5]);
    }, { limit: 1 });
  }, { host: "virtual" });
  assertEquals(log, ["a", "d", "b", "c"]);
});

Deno.test("Whoever is moved and cancelled, those in line begin as a sorted list says", async () => {
  const base = Date.now() >>> 0;
  console.log(`seeds ${base} to ${base + 19}`);
  for (let seed = base; seed < base + 20; seed++) {
    const random = new SeededRandom(seed);
    const began: number[] = [];
    const model: { n: number; priority: number }[] = [];
    await run(function* () {
      yield* taskGroup(function* (group) {
        group.createTask(() => sleep(10)); // has the only slot meanwhile
        const tasks = Array.from({ length: 30 }, (_, n) => {
          const priority = random.nextInt(3);
          model.push({ n, priority });
          return group.createTask(function* () {
            began.push(n);
          }, { priority });
        });
        // So often that the line is cleared of those that have left it.
        for (let move = 0; move < 5_000; move++) {
          const index = random.nextInt(model.length);
          const one = model[index]!;
          const priority = random.nextInt(3);
          tasks[one.n]!.setPriority(priority);
          if (priority !== one.priority) {
            model.splice(index, 1); // goes behind those of its priority
            model.push({ ...one, priority });
          }
          if (random.nextInt(500) === 0) {
            const [gone] = model.splice(random.nextInt(model.length), 1);
            tasks[gone!.n]!.cancel();
          }
        }
      }, { limit: 1 });
    }, { host: "virtual" });
    model.sort((a, b) => b.priority - a.priority);
    assertEquals(began, model.map(({ n }) => n), `seed ${seed}`);
  }
});
