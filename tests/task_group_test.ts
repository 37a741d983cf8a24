/**
 * taskGroup(): asyncio's rules one by one, and what goes beyond them.
 *
 * @module
 */
import {
  assert,
  assertEquals,
  assertRejects,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import {
  CancelledError,
  type Coroutine,
  currentTask,
  eagerTaskFactory,
  type EventLoop,
  gather,
  getRunningLoop,
  MisuseError,
  moveOnAfter,
  newEventLoop,
  run,
  sleep,
  type Task,
  TaskGroup,
  taskGroup,
  TaskGroupClosedError,
  TaskGroupError,
  timeout,
  TimeoutError,
} from "../mod.ts";

const VIRTUAL = { host: "virtual" } as const;

class Broken extends Error {}

function fails(message: string, ms = 0): () => Coroutine<never> {
  return function* () {
    if (ms > 0) yield* sleep(ms);
    throw new Broken(message);
  };
}

/** Sleeps, and writes how that ended. */
function logs(
  log: string[],
  name: string,
  ms: number,
  cleanUpMs = 0,
): () => Coroutine<string> {
  return function* () {
    try {
      yield* sleep(ms);
      log.push(name);
      return name;
    } catch (error) {
      if (cleanUpMs > 0) yield* sleep(cleanUpMs);
      log.push(`${name} cancelled`);
      throw error;
    }
  };
}

const messages = (error: TaskGroupError) =>
  error.errors.map((each) => (each as Error).message);

/** Runs the same group by a generator and by an async function. */
async function inBothStyles(
  fill: (group: TaskGroup, log: string[]) => void,
  waits: number,
  check: (end: unknown, log: string[], loop: EventLoop) => void,
): Promise<void> {
  for (const style of ["generator", "async"]) {
    await run<void>(async () => {
      const log: string[] = [];
      const end = await Promise.resolve(taskGroup<string>(
        style === "async"
          ? async (group) => {
            fill(group, log);
            await sleep(waits);
            return "value";
          }
          : function* (group) {
            fill(group, log);
            yield* sleep(waits);
            return "value";
          },
        { name: "g" },
      )).catch((error) => error);
      check(end, log, getRunningLoop());
      assertEquals(currentTask()!.cancelling(), 0);
      await sleep(1); // no cancellation is left behind
    }, VIRTUAL);
  }
}

Deno.test("A group waits for its tasks, and gives what the body gives", async () => {
  await inBothStyles(
    (group, log) => {
      group.createTask(logs(log, "slow", 20));
      group.spawn(logs(log, "fast", 10));
    },
    0,
    (end, log, loop) =>
      assertEquals([end, log, loop.time()], ["value", ["fast", "slow"], 20]),
  );
});

Deno.test("The first failure cancels the others, in order of creation, and the body", async () => {
  await inBothStyles(
    (group, log) => {
      group.createTask(logs(log, "a", 100));
      group.createTask(fails("broken", 10));
      group.createTask(logs(log, "b", 100));
    },
    100,
    (end, log, loop) => {
      assert(end instanceof TaskGroupError);
      assertEquals(end.message, '1 of 3 tasks failed in task group "g"');
      assertEquals([messages(end), log, loop.time()], [["broken"], [
        "a cancelled",
        "b cancelled",
      ], 10]);
    },
  );
});

Deno.test("All failures are in the error, in the order in which the tasks ended; that of the body last", async () => {
  const failing = (name: string, cleanUpMs: number) =>
    function* () {
      try {
        yield* sleep(1_000);
      } catch {
        yield* sleep(cleanUpMs);
        throw new Broken(name);
      }
    };
  const error = await assertRejects(() =>
    run(function* () {
      yield* taskGroup(function* (group) {
        group.createTask(failing("slow", 20));
        group.createTask(failing("fast", 10));
        yield* sleep(1);
        throw new Broken("body");
      });
    }, VIRTUAL), TaskGroupError);
  assertEquals(messages(error), ["fast", "slow", "body"]);
  assertEquals(
    error.message,
    "The body and 2 of 2 tasks failed in a task group",
  );
  assert(error instanceof AggregateError);
});

Deno.test("A body that fails cancels the tasks", async () => {
  const log: string[] = [];
  const error = await assertRejects(() =>
    run(async () => {
      await taskGroup(async (group) => {
        group.createTask(logs(log, "task", 100, 20));
        await sleep(1);
        throw new Broken("body");
      });
    }, VIRTUAL), TaskGroupError);
  assertEquals([messages(error), log], [["body"], ["task cancelled"]]);
  assertEquals(error.message, "The body failed in a task group");
});

Deno.test("A task that is cancelled has not failed, and stops nobody", async () => {
  await inBothStyles(
    (group, log) => {
      const task = group.createTask(logs(log, "a", 10));
      group.createTask(logs(log, "b", 20));
      getRunningLoop().callLater(5, () => task.cancel());
    },
    0,
    (end, log) => assertEquals([end, log], ["value", ["a cancelled", "b"]]),
  );
});

Deno.test("A group takes tasks from its own tasks while it waits, and none when it is over", async () => {
  await run(function* () {
    const log: string[] = [];
    let escaped!: TaskGroup;
    yield* taskGroup(function* (group) {
      escaped = group;
      group.createTask(function* () {
        yield* sleep(5);
        group.createTask(logs(log, "grandchild", 5));
      });
    });
    assertEquals(log, ["grandchild"]);
    const coroutine = logs(log, "never", 0)();
    assertThrows(
      () => escaped.createTask(coroutine, { name: "late" }),
      TaskGroupClosedError,
      'Cannot create task "late" in a task group: it is over',
    );
    assertEquals(coroutine.next().done, true, "the coroutine is closed");
    assertThrows(() => escaped.createTask(sleep(1)), TaskGroupClosedError);
    assertThrows(
      () => new TaskGroup().createTask(() => 1),
      TaskGroupClosedError,
      "has not been entered",
    );
    yield* taskGroup(function* (group) {
      group.createTask(logs(log, "a", 10));
      group.cancel();
      assertThrows(
        () => group.createTask(() => 1),
        TaskGroupClosedError,
        "is shutting down",
      );
    });
  }, VIRTUAL);
});

Deno.test("Cancelling the task cancels the group; further cancellations do not shorten the wait", async () => {
  for (const style of ["generator", "async"]) {
    await run(async () => {
      const log: string[] = [];
      const loop = getRunningLoop();
      const task = loop.createTask<void>(
        style === "async"
          ? async () => {
            await taskGroup(async (group) => {
              group.createTask(logs(log, "a", 100, 30));
              await sleep(100);
            });
          }
          : function* () {
            yield* taskGroup(function* (group) {
              group.createTask(logs(log, "a", 100, 30));
              yield* sleep(100);
            });
          },
      );
      for (const ms of [10, 20, 30]) loop.callLater(ms, () => task.cancel(ms));
      const error = await assertRejects(async () => await task, CancelledError);
      assertEquals(
        [error.reason, log, loop.time()],
        [10, ["a cancelled"], 40],
        style,
      );
    }, VIRTUAL);
  }
});

Deno.test("Failures go before a cancellation, which then arrives at the next wait (3.13)", async () => {
  await run(function* () {
    const log: string[] = [];
    const task = getRunningLoop().createTask(function* () {
      try {
        yield* taskGroup(function* (group) {
          group.createTask(function* () {
            try {
              yield* sleep(100);
            } catch {
              throw new Broken("clean-up");
            }
          });
          yield* sleep(100);
        });
      } catch (error) {
        log.push((error as Error).name, String(currentTask()!.cancelling()));
      }
      yield* sleep(0);
      log.push("not reached");
    });
    yield* sleep(10);
    task.cancel();
    yield* sleep(10);
    assertEquals([log, task.cancelled()], [["TaskGroupError", "1"], true]);
  }, VIRTUAL);
});

Deno.test("A group's own cancellation of the body does not hide one from outside", async () => {
  await run(function* () {
    const task = getRunningLoop().createTask(function* () {
      yield* taskGroup(function* (group) {
        group.cancel();
        currentTask()!.cancel("outer");
        yield* sleep(100);
      });
    });
    yield* sleep(1);
    assertEquals(task.cancelled(), true);
  }, VIRTUAL);
});

Deno.test("group.cancel() ends the group without an error, whenever it is called", async () => {
  await inBothStyles(
    (group, log) => {
      group.createTask(logs(log, "a", 100, 10));
      getRunningLoop().callLater(5, () => {
        group.cancel("enough");
        group.cancel("again");
      });
    },
    50,
    (end, log, loop) =>
      assertEquals([end, log, loop.time()], [undefined, ["a cancelled"], 15]),
  );
  // While it waits for its tasks.
  await inBothStyles(
    (group, log) => {
      group.createTask(logs(log, "a", 100));
      getRunningLoop().callLater(5, () => group.cancel());
    },
    0,
    (end, log, loop) =>
      assertEquals([end, log, loop.time()], ["value", ["a cancelled"], 5]),
  );
  // From the body.
  await inBothStyles(
    (group, log) => {
      group.createTask(logs(log, "a", 100));
      group.cancel();
    },
    50,
    // A task that had not begun never does.
    (end, log, loop) =>
      assertEquals([end, log, loop.time()], [undefined, [], 0]),
  );
  // Before it is entered, and after it is over.
  await run(function* () {
    const group = new TaskGroup();
    group.cancel();
    let reached = false;
    const value = yield* group.run(function* () {
      reached = true;
      yield* sleep(10);
      return "not reached";
    });
    assertEquals([reached, value], [true, undefined]);
    group.cancel();
    yield* sleep(1);
  }, VIRTUAL);
});

Deno.test("Errors that come of group.cancel() are thrown", async () => {
  await assertRejects(() =>
    run(function* () {
      yield* taskGroup(function* (group) {
        group.createTask(function* () {
          try {
            yield* sleep(100);
          } catch {
            throw new Broken("clean-up");
          }
        });
        yield* sleep(1);
        group.cancel();
      });
    }, VIRTUAL), TaskGroupError);
});

Deno.test("A signal ends the group with its reason", async () => {
  for (const early of [false, true]) {
    const log: string[] = [];
    await run(async () => {
      const abort = new AbortController();
      const reason = new Broken("signal");
      if (early) abort.abort(reason);
      else getRunningLoop().callLater(5, () => abort.abort(reason));
      const error = await assertRejects(async () =>
        await taskGroup(async (group) => {
          group.createTask(logs(log, "a", 100, 10));
          await sleep(50);
        }, { signal: abort.signal })
      );
      assertStrictEquals(error, reason);
      assertEquals(currentTask()!.cancelling(), 0);
    }, VIRTUAL);
    assertEquals(log, early ? [] : ["a cancelled"]);
  }
});

Deno.test("The signal of a group aborts with it; that of the task is fresh afterwards", async () => {
  await run(async () => {
    let signal!: AbortSignal;
    await assertRejects(async () =>
      await taskGroup(async (group) => {
        signal = group.signal;
        assertStrictEquals(currentTask()!.signal, signal);
        group.createTask(fails("x", 1));
        await sleep(100);
      }), TaskGroupError);
    assertEquals([signal.aborted, currentTask()!.signal.aborted], [
      true,
      false,
    ]);
  }, VIRTUAL);
});

Deno.test("A group can be run once", async () => {
  await run(function* () {
    const group = new TaskGroup({ name: "once" });
    yield* group.run(() => {});
    try {
      yield* group.run(() => {});
      assert(false);
    } catch (error) {
      assert(error instanceof MisuseError);
      assertEquals(
        error.message,
        'Cannot enter task group "once": it has been entered before',
      );
    }
  }, VIRTUAL);
});

Deno.test("Wrong arguments are refused", async () => {
  for (const limit of [0, -1, 1.5, NaN]) {
    assertThrows(
      () => new TaskGroup({ limit }),
      RangeError,
      "limit must be a whole number > 0 or Infinity: received",
    );
  }
  assertThrows(
    () => new TaskGroup({ limit: "1" as never }),
    TypeError,
    "limit must be a number",
  );
  assertThrows(
    () => new TaskGroup({ discard: 1 as never }),
    TypeError,
    "discard must be one of",
  );
  assertThrows(
    () => taskGroup(1 as never),
    TypeError,
    "body must be a function",
  );
  await run(function* () {
    yield* taskGroup(function* (group) {
      assertThrows(
        () => group.createTask(Promise.resolve() as never),
        TypeError,
        "pass () => work() instead of work()",
      );
      assertThrows(
        () => group.start(1 as never),
        TypeError,
        "body must be a function",
      );
      assertEquals(group.size, 0);
    });
  }, VIRTUAL);
});

Deno.test("Tasks made eagerly that are over at once count", async () => {
  await run(function* () {
    getRunningLoop().setTaskFactory(eagerTaskFactory);
    const value = yield* taskGroup(function* (group) {
      const task = group.createTask(() => 5);
      assertEquals([task.done(), group.size], [true, 0]);
      assertEquals(group.createTask(() => 6, { eager: true }).result(), 6);
      return yield* task;
    });
    assertEquals(value, 5);
    try {
      yield* taskGroup((group) => void group.createTask(fails("eager")));
      assert(false);
    } catch (error) {
      assert(error instanceof TaskGroupError);
    }
    assertEquals(currentTask()!.cancelling(), 0);
  }, VIRTUAL);
});

// -- start() --

Deno.test("start() gives what the task hands over, and the task goes on", async () => {
  for (const style of ["generator", "async"]) {
    await run(async () => {
      const log: string[] = [];
      await taskGroup(async (group) => {
        const value = await group.start<number>(
          style === "async"
            ? async (started) => {
              await sleep(10);
              started(8080);
              assertThrows(
                () => started(1),
                MisuseError,
                "it has said so before",
              );
              await sleep(10);
              log.push("served");
            }
            : function* (started) {
              yield* sleep(10);
              started(8080);
              yield* sleep(10);
              log.push("served");
            },
        );
        log.push(`${value} at ${getRunningLoop().time()}`);
      });
      assertEquals(log, ["8080 at 10", "served"]);
    }, VIRTUAL);
  }
});

Deno.test("start(): a failure before is the starter's, one after is the group's", async () => {
  await run(function* () {
    yield* taskGroup(function* (group) {
      try {
        yield* group.start(fails("before", 5));
        assert(false);
      } catch (error) {
        assert(error instanceof Broken);
      }
      try {
        yield* group.start(() => {}, { name: "silent" });
        assert(false);
      } catch (error) {
        assertEquals(
          (error as Error).message,
          'Cannot start task "silent": it ended without calling started()',
        );
      }
    });
    try {
      yield* taskGroup(function* (group) {
        yield* group.start<void>(function* (started) {
          started();
          yield* sleep(1);
          throw new Broken("after");
        });
        yield* sleep(100);
      });
      assert(false);
    } catch (error) {
      assertEquals(messages(error as TaskGroupError), ["after"]);
    }
  }, VIRTUAL);
});

Deno.test("start(): cancelling the wait cancels that task only, and waits for it", async () => {
  await run(function* () {
    const log: string[] = [];
    yield* taskGroup(function* (group) {
      group.createTask(logs(log, "sibling", 100));
      try {
        yield* timeout(10, () => group.start(logs(log, "starting", 100, 20)));
        assert(false);
      } catch (error) {
        assert(error instanceof TimeoutError);
        log.push(`at ${getRunningLoop().time()}`);
      }
    });
    assertEquals(log, ["starting cancelled", "at 30", "sibling"]);
  }, VIRTUAL);
});

Deno.test("start(): a failure while it is being cancelled is the group's", async () => {
  const error = await assertRejects(() =>
    run(function* () {
      yield* taskGroup(function* (group) {
        yield* moveOnAfter(10, () =>
          group.start(function* () {
            try {
              yield* sleep(100);
            } catch {
              throw new Broken("clean-up");
            }
          }));
        yield* sleep(1);
      });
    }, VIRTUAL), TaskGroupError);
  assertEquals(messages(error), ["clean-up"]);
});

// -- limit --

Deno.test("limit: so many run at once, in the order of their creation", async () => {
  for (const limit of [1, 2, 3, 10, Infinity]) {
    await run(function* () {
      let now = 0;
      let most = 0;
      const order: number[] = [];
      yield* taskGroup(function* (group) {
        for (let n = 0; n < 10; n++) {
          group.createTask(function* () {
            order.push(n);
            most = Math.max(most, ++now);
            yield* sleep(10 - n % 3);
            now--;
          });
        }
      }, { limit });
      assertEquals(most, Math.min(limit, 10));
      assertEquals(order, [...Array(10).keys()]);
    }, VIRTUAL);
  }
});

Deno.test("limit: tasks that are cancelled in line never begin, and the others do", async () => {
  await run(async () => {
    const log: string[] = [];
    await taskGroup(async (group) => {
      group.createTask(logs(log, "a", 10));
      const b = group.createTask(logs(log, "b", 10));
      group.createTask(logs(log, "c", 10));
      await sleep(5);
      b.cancel("in line");
      await assertRejects(async () => await b, CancelledError);
      assertEquals(getRunningLoop().time(), 5);
    }, { limit: 1 });
    assertEquals([log, getRunningLoop().time()], [["a", "c"], 20]);
    await assertRejects(async () =>
      await taskGroup(async (group) => {
        group.createTask(fails("x", 10));
        for (let n = 0; n < 5; n++) group.createTask(logs(log, "never", 1));
      }, { limit: 1 }), TaskGroupError);
    assertEquals(log, ["a", "c"]);
  }, VIRTUAL);
});

for (
  const style of [
    "yield*",
    "await",
    "gather",
    "gather in async",
    "nested group",
    "nested group in async",
  ]
) {
  Deno.test(`limit: a task that waits for its own does not count, so recursion ends (${style})`, async () => {
    await run(function* () {
      const leaves = yield* taskGroup(function* (group) {
        const walk = (
          depth: number,
        ): () => Coroutine<number> | Promise<number> => {
          if (depth === 0) {
            return function* () {
              yield* sleep(1);
              return 1;
            };
          }
          const both = () =>
            [1, 2].map(() => group.createTask(walk(depth - 1)));
          const sum = (numbers: number[]) => numbers.reduce((a, b) => a + b);
          switch (style) {
            case "yield*":
              return function* () {
                const [a, b] = both();
                return (yield* a!) + (yield* b!);
              };
            case "await":
              return async () => {
                const [a, b] = both();
                return await a! + await b!;
              };
            case "gather":
              return function* () {
                return sum(yield* gather(both()));
              };
            case "gather in async":
              return async () => sum(await gather(both()));
            case "nested group":
              return function* () {
                const results: number[] = [];
                yield* taskGroup(function* (nested) {
                  for (const task of both()) {
                    nested.createTask(function* () {
                      results.push(yield* task);
                    });
                  }
                });
                return sum(results);
              };
            default:
              return async () => {
                const results: number[] = [];
                await taskGroup(async (nested) => {
                  for (const task of both()) {
                    nested.createTask(async () => {
                      results.push(await task);
                    });
                  }
                });
                return sum(results);
              };
          }
        };
        return yield* group.createTask(walk(4));
      }, { limit: 2 });
      assertEquals(leaves, 16);
    }, VIRTUAL);
  });
}

Deno.test("discard: what tasks produce is dropped, failures are not", async () => {
  await run(function* () {
    let tasks: Task<unknown>[] = [];
    yield* taskGroup(function* (group) {
      tasks = [
        group.createTask(() => 1),
        group.createTask(function* () {
          yield* sleep(1);
          return 2;
        }),
        group.createTask(async () => {
          await sleep(1);
          return 3;
        }),
        group.createTask(sleep(1, { value: 4 })),
      ];
    }, { discard: true });
    assertEquals(tasks.map((task) => task.result()), [
      undefined,
      undefined,
      undefined,
      undefined,
    ]);
    try {
      yield* taskGroup((group) => void group.createTask(fails("x")), {
        discard: true,
      });
      assert(false);
    } catch (error) {
      assertEquals(messages(error as TaskGroupError), ["x"]);
    }
  }, VIRTUAL);
});

// -- Together with scopes --

Deno.test("A group in a cancelled scope cancels its tasks once and waits for them, without spinning", async () => {
  for (const style of ["generator", "async"]) {
    const log: string[] = [];
    await run(async () => {
      const loop = getRunningLoop();
      const outcome = await moveOnAfter<void>(
        10,
        style === "async"
          ? async () => {
            await taskGroup(async (group) => {
              group.createTask(logs(log, "a", 1_000, 500));
              await sleep(1_000);
            });
          }
          : function* () {
            yield* taskGroup(function* (group) {
              group.createTask(logs(log, "a", 1_000, 500));
              yield* sleep(1_000);
            });
          },
      );
      assertEquals([outcome.cancelledCaught, log, loop.time()], [true, [
        "a cancelled",
      ], 510]);
      assert(loop.stats().turns < 40, `${loop.stats().turns} turns`);
    }, VIRTUAL);
  }
});

Deno.test("A task that fails after its group's task has ended goes to the exception handler", async () => {
  const reports: unknown[] = [];
  const loop = newEventLoop(VIRTUAL);
  loop.setExceptionHandler((_, { exception }) => reports.push(exception));
  await loop.runUntilComplete(async () => {
    // The group is in a branch that nobody waits for when the task ends.
    loop.createTask(async () => {
      await Promise.race([
        taskGroup(async (group) => {
          group.createTask(async () => {
            try {
              await sleep(100);
            } catch {
              throw new Broken("clean-up");
            }
          });
          await sleep(100);
        }),
        sleep(10),
      ]);
    });
    await sleep(200);
    assertEquals(loop.stats().tasks, 1, "the group's task did not outlive it");
  });
  await loop.close();
  assertEquals(reports.length, 1, String(reports));
});

Deno.test("Groups side by side in an async function do not touch each other", async () => {
  await run(async () => {
    const log: string[] = [];
    const ends = await Promise.allSettled([
      taskGroup(async (group) => {
        group.createTask(fails("first", 5));
        await sleep(50);
      }),
      taskGroup(async (group) => {
        group.createTask(logs(log, "second", 10));
        await sleep(20);
        return "value";
      }),
      taskGroup(async (group) => {
        group.createTask(fails("third", 5));
        await sleep(50);
      }),
    ]);
    assertEquals(
      ends.map((end) =>
        end.status === "fulfilled" ? end.value : messages(end.reason).join()
      ),
      ["first", "value", "third"],
    );
    assertEquals([log, currentTask()!.cancelling()], [["second"], 0]);
    await sleep(1);
  }, VIRTUAL);
});
