/**
 * Ways in which a cancellation was lost, swallowed, late, or took the place of
 * something else, each with its variants: other blocks, other requests, deeper
 * inside, and bodies of both styles in every mixture. On virtual time, except
 * for Ctrl-C.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import {
  CancelledError,
  CancelScope,
  cancelScope,
  type CancelScopeOptions,
  Channel,
  ConcurrencyLimit,
  Condition,
  currentTask,
  each,
  failAfter,
  Flag,
  gather,
  getRunningLoop,
  Lock,
  moveOnAfter,
  moveOnAt,
  type Operation,
  Queue,
  scoped,
  Semaphore,
  shield,
  sleep,
  type Task,
  TaskGroup,
  taskGroup,
  TaskLocal,
  timeout,
  timeoutAt,
  until,
  wait,
  waitFor,
} from "../mod.ts";
import {
  as,
  FOREIGN,
  foreign,
  type Mix,
  MIXES,
  outcomeOf,
  type Steps,
  type Style,
  tell,
  wrong,
} from "./support/mixed_styles.ts";
import { startProgram } from "./support/program.ts";

const DAY = 86_400_000;
// deno-lint-ignore no-explicit-any
type Body = () => any;

/** The reason with which a task was cancelled. */
function reasonOf(task: Task<unknown>): unknown {
  try {
    return task.result();
  } catch (error) {
    return error instanceof CancelledError ? error.reason : error;
  }
}
const now = () => getRunningLoop().time();

/** Something that asks for the end of a body after some time, and how that comes out. */
interface Ender {
  readonly around: (ms: number, body: Body) => Steps;
  readonly outcome: string;
}

/** Every way to end a body: `{cancelled: true}` is for scopes. */
const ENDERS: Record<string, Ender> = {
  timeout: {
    around: function* (ms, body) {
      return yield timeout(ms, body);
    },
    outcome: "TimeoutError",
  },
  timeoutAt: {
    around: function* (ms, body) {
      return yield timeoutAt(now() + ms, body);
    },
    outcome: "TimeoutError",
  },
  waitFor: {
    around: function* (ms, body) {
      return yield waitFor(body, ms);
    },
    outcome: "TimeoutError",
  },
  failAfter: {
    around: function* (ms, body) {
      return yield failAfter(ms, body);
    },
    outcome: "TimeoutError",
  },
  moveOnAfter: {
    around: function* (ms, body) {
      return (yield moveOnAfter(ms, body)).cancelledCaught
        ? "moved on"
        : "ran on";
    },
    outcome: "moved on",
  },
  "CancelScope.cancel": {
    around: function* (ms, body) {
      const scope = new CancelScope();
      getRunningLoop().callLater(ms, () => scope.cancel("enough"));
      return (yield scope.run(body)).cancelledCaught ? "moved on" : "ran on";
    },
    outcome: "moved on",
  },
  "the signal of a timeout": {
    around: function* (ms, body) {
      const controller = new AbortController();
      getRunningLoop().callLater(
        ms,
        () => controller.abort(new Error("aborted")),
      );
      return yield timeout(null, body, { signal: controller.signal });
    },
    outcome: "aborted",
  },
  "task.cancel": {
    around: function* (ms, body) {
      const task = getRunningLoop().createTask(body);
      getRunningLoop().callLater(ms, () => task.cancel("stop"));
      yield wait([task]);
      return task.cancelled() ? `cancelled: ${reasonOf(task)}` : "ran on";
    },
    outcome: "cancelled: stop",
  },
  "group.cancel": {
    around: function* (ms, body) {
      let ranOn = false;
      const group = new TaskGroup();
      getRunningLoop().callLater(ms, () => group.cancel());
      yield group.run(async () => {
        await until(async () => await as("async", () => asSteps(body))());
        ranOn = true;
      });
      return ranOn ? "ran on" : "left";
    },
    outcome: "left",
  },
  "the failure of a sibling": {
    around: function* (ms, body) {
      return yield taskGroup(function* (group) {
        group.createTask(function* () {
          yield* sleep(ms);
          throw new Error("sibling");
        });
        group.createTask(body);
      });
    },
    outcome: "TaskGroupError[sibling]",
  },
};

/** Waits for a body from within another. */
function* asSteps(body: Body): Steps {
  return yield getRunningLoop().createTask(body);
}

// -- A body at a foreign promise --

/** What a body does after its promise; none of it may come to an end. */
const AFTERWARDS: Record<string, (mix: Mix) => Steps> = {
  "waits": function* () {
    yield sleep(DAY);
  },
  "ends a group with a child": function* (mix) {
    yield taskGroup((group) => {
      group.createTask(() => sleep(DAY));
      return as(mix.inner, function* () {
        yield foreign(5);
      })() as never;
    });
  },
  "waits in a group": function* (mix) {
    yield taskGroup(as(mix.inner, function* () {
      yield sleep(DAY);
    }) as never);
  },
  "waits in a timeout": function* (mix) {
    yield timeout(
      DAY,
      as(mix.inner, function* () {
        yield sleep(DAY / 2);
      }),
    );
  },
  "waits in a scope": function* (mix) {
    yield cancelScope(as(mix.inner, function* () {
      yield sleep(DAY);
    }));
  },
  "gathers": function* () {
    yield gather([() => sleep(DAY), () => sleep(DAY)]);
  },
  "waits for a promise by until": function* () {
    yield until(new Promise(() => {}));
  },
};

for (const [name, { around, outcome }] of Object.entries(ENDERS)) {
  // The body of this one is a child, not the body itself.
  if (name === "group.cancel") continue;
  Deno.test(`${name}: a body that is at a foreign promise is cancelled at its next wait`, async () => {
    const cases = Object.fromEntries(
      Object.entries(AFTERWARDS).map((
        [key, after],
      ) => [key, { after, wanted: outcome }]),
    );
    const differences = await wrong(
      cases,
      (entry, mix) =>
        outcomeOf(
          as(mix.outer, () =>
            around(
              10,
              as(mix.inner, function* () {
                yield foreign(30);
                yield* entry.after(mix);
              }),
            )),
          FOREIGN,
        ),
    );
    assertEquals(differences, []);
  });
}

Deno.test("A body whose group is at its end when the promise comes is cancelled, and in time", async () => {
  const differences = await wrong(
    Object.fromEntries(
      ["timeout", "failAfter", "task.cancel", "the failure of a sibling"].map((
        name,
      ) => [name, {
        ...ENDERS[name]!,
        wanted: `${ENDERS[name]!.outcome} at 30`,
      }]),
    ),
    (entry, mix) =>
      outcomeOf(async () => {
        const body = as(mix.outer, function* () {
          yield taskGroup((group) => {
            group.createTask(() => sleep(DAY));
            // As an async function, where nothing of the loop is waited for.
            return foreign(30);
          });
        });
        let outcome: string;
        try {
          const around = as(mix.inner, () => entry.around(10, body))();
          outcome = String(await (around as Promise<unknown>));
        } catch (error) {
          outcome = tell(error);
        }
        return `${outcome} at ${now()}`;
      }, FOREIGN),
    MIXES.filter(({ inner }) => inner === "async"),
  );
  assertEquals(differences, []);
});

// -- A failing group, and a cancellation from outside --

/** How the cancellation comes into the group that fails. */
const FAILING: Record<string, (mix: Mix, group: TaskGroup) => Steps> = {
  "in the turn in which a child fails": function* (mix, group) {
    group.createTask(as(mix.inner, function* () {
      yield sleep(10);
      throw new Error("child");
    }));
    yield sleep(DAY);
  },
  "and a child fails in its clean-up": function* (mix, group) {
    group.createTask(as(mix.inner, function* () {
      try {
        yield sleep(DAY);
      } finally {
        yield sleep(5);
        // deno-lint-ignore no-unsafe-finally
        throw new Error("child");
      }
    }));
    yield sleep(DAY);
  },
  "and a child fails at once when it is cancelled": function* (mix, group) {
    group.createTask(as(mix.inner, function* () {
      try {
        yield sleep(DAY);
      } catch {
        throw new Error("child");
      }
    }));
  },
  "while the group waits for children of which one fails later": function* (
    mix,
    group,
  ) {
    group.createTask(as(mix.inner, function* () {
      try {
        yield sleep(DAY);
      } catch {
        yield sleep(20);
        throw new Error("child");
      }
    }));
    group.createTask(() => sleep(DAY));
  },
  "and the failing child is in a group of a group": function* (mix, group) {
    group.createTask(as(mix.inner, function* () {
      yield sleep(10);
      throw new Error("child");
    }));
    group.createTask(as(mix.inner, function* () {
      yield taskGroup((inside) => {
        inside.createTask(() => sleep(DAY));
        return sleep(DAY);
      });
    }));
    yield sleep(DAY);
  },
};

/** What the task waits for afterwards. */
const NEXT: Record<string, () => Steps> = {
  "sleeps": function* () {
    yield sleep(1);
  },
  "waits for a promise": function* () {
    yield until(new Promise(() => {}));
  },
  "ends a group": function* () {
    yield taskGroup((group) => {
      group.createTask(() => sleep(DAY));
    });
  },
};

for (const [how, failing] of Object.entries(FAILING)) {
  Deno.test(`A cancellation that comes ${how} is thrown at the next wait`, async () => {
    const cases = Object.fromEntries(
      Object.entries(NEXT).map(([name, next]) => [name, {
        next,
        wanted: ["TaskGroupError[child]", 1, "CancelledError: Cancelled", true],
      }]),
    );
    const differences = await wrong(cases, async ({ next }, mix) => {
      const log: unknown[] = [];
      const outcome = await outcomeOf(as(mix.outer, function* () {
        const task = getRunningLoop().createTask(as(mix.outer, function* () {
          try {
            yield taskGroup((group) =>
              as(mix.inner, () => failing(mix, group))() as never
            );
          } catch (error) {
            log.push(tell(error), currentTask()!.cancelling());
          }
          try {
            yield* next();
          } catch (error) {
            log.push(
              error instanceof CancelledError
                ? "CancelledError: Cancelled"
                : tell(error),
            );
            throw error;
          }
        }));
        yield sleep(10);
        task.cancel();
        yield wait([task]);
        log.push(task.cancelled());
      }));
      return outcome === "undefined" ? log : outcome;
    });
    assertEquals(differences, []);
  });
}

Deno.test("A deadline that makes a group fail is thrown at the next wait", async () => {
  const blocks = {
    timeout: { block: timeout, wanted: "TimeoutError" },
    failAfter: { block: failAfter, wanted: "TimeoutError" },
    moveOnAfter: { block: moveOnAfter, wanted: `{"cancelledCaught":true}` },
  };
  const differences = await wrong(
    blocks,
    ({ block }, mix) =>
      outcomeOf(as(mix.outer, function* () {
        return yield (block as typeof timeout)(
          10,
          as(mix.inner, function* () {
            try {
              yield taskGroup((group) => {
                group.createTask(function* () {
                  try {
                    yield* sleep(DAY);
                  } catch {
                    throw new Error("child");
                  }
                });
                return as(mix.outer, function* () {
                  yield sleep(DAY);
                })() as never;
              });
            } catch { /* the group's */ }
            yield sleep(5);
            return "ran on";
          }),
        );
      })),
  );
  assertEquals(differences, []);
});

Deno.test("A cancellation that was caught before a group fails is thrown again, as in asyncio", async () => {
  const groups: Record<
    string,
    { group: (mix: Mix) => Operation<unknown>; wanted: unknown }
  > = {
    "a child fails": {
      group: (mix) =>
        taskGroup((group) => {
          group.createTask(as(mix.inner, function* () {
            yield sleep(1);
            throw new Error("E");
          }));
        }),
      wanted: [true],
    },
    "the body fails": {
      group: (mix) =>
        taskGroup(as(mix.inner, function* () {
          yield sleep(1);
          throw new Error("E");
        })),
      wanted: [true],
    },
    "a group in a timeout": {
      group: (mix) =>
        timeout(
          100,
          as(mix.inner, function* () {
            yield taskGroup((group) => {
              group.createTask(function* () {
                throw new Error("E");
              });
            });
          }),
        ),
      wanted: [true],
    },
    "a group in a scope": {
      group: (mix) =>
        cancelScope(as(mix.inner, function* () {
          yield taskGroup(function* () {
            throw new Error("E");
          });
        })),
      wanted: [true],
    },
    "a group in a group": {
      group: (mix) =>
        taskGroup(as(mix.inner, function* () {
          yield taskGroup(async () => {
            await sleep(1);
            throw new Error("E");
          });
        })),
      wanted: [true],
    },
  };
  const differences = await wrong(groups, async ({ group }, mix) => {
    const log: unknown[] = [];
    const outcome = await outcomeOf(as(mix.outer, function* () {
      const task = getRunningLoop().createTask(as(mix.outer, function* () {
        try {
          yield sleep(DAY);
        } catch { /* clean up */ }
        try {
          yield group(mix);
        } catch { /* the group's */ }
      }));
      yield sleep(1);
      task.cancel();
      yield wait([task]);
      log.push(task.cancelled());
    }));
    return outcome === "undefined" ? log : outcome;
  });
  assertEquals(differences, []);
});

// -- A group that is ending --

/** Ways in which a group is ended early; its child then cleans up for a second. */
const CLOSINGS: Record<string, (mix: Mix, log: unknown[]) => Steps> = {
  "group.cancel() in the body": function* (mix) {
    yield taskGroup((group) => {
      group.createTask(as(mix.inner, slow));
      return as(mix.inner, function* () {
        yield sleep(100);
        group.cancel();
      })() as never;
    });
  },
  "group.cancel() that ends the body, too": function* (mix) {
    yield taskGroup((group) => {
      group.createTask(as(mix.inner, slow));
      getRunningLoop().callLater(100, () => group.cancel());
      return as(mix.inner, function* () {
        yield sleep(DAY);
      })() as never;
    });
  },
  "group.cancel() by a child": function* (mix) {
    yield taskGroup((group) => {
      group.createTask(as(mix.inner, slow));
      group.createTask(as(mix.inner, function* () {
        yield sleep(100);
        group.cancel();
      }));
    });
  },
  "a body that cleans up itself": function* (mix) {
    yield taskGroup((group) => {
      getRunningLoop().callLater(100, () => group.cancel());
      group.createTask(as(mix.inner, slow));
      return as(mix.inner, function* () {
        try {
          yield sleep(DAY);
        } finally {
          group.createTask === undefined || (yield sleep(5));
        }
      })() as never;
    });
  },
  "a group in a call": function* (mix) {
    const { inner } = mix;
    yield until(async () => {
      await as(inner, () => CLOSINGS["group.cancel() in the body"]!(mix, []))();
    });
  },
  "a group that runs at most one": function* (mix) {
    yield taskGroup((group) => {
      group.createTask(as(mix.inner, slow));
      group.createTask(as(mix.inner, slow));
      getRunningLoop().callLater(100, () => group.cancel());
    }, { limit: 1 });
  },
};

function* slow(): Steps<void> {
  try {
    yield sleep(DAY);
  } finally {
    yield sleep(1_000);
  }
}

for (
  const name of [
    "timeout",
    "failAfter",
    "moveOnAfter",
    "task.cancel",
    "the failure of a sibling",
  ]
) {
  const { around, outcome } = ENDERS[name]!;
  for (const goesOn of [true, false]) {
    Deno.test(`${name}: comes while a group ends by itself, and goes on${goesOn ? "" : ", where nothing else comes"}`, async () => {
      const cases = Object.fromEntries(
        Object.entries(CLOSINGS).filter(([key]) => key !== "a group in a call")
          .map(([key, closing]) => [key, { closing, wanted: outcome }]),
      );
      const differences = await wrong(
        cases,
        (entry, mix) =>
          outcomeOf(as(mix.outer, () =>
            around(
              500,
              as(mix.outer, function* () {
                yield* entry.closing(mix, []);
                if (goesOn) yield sleep(DAY);
              }),
            ))),
      );
      assertEquals(differences, []);
    });
  }
}

Deno.test("Ctrl-C while a group ends by itself ends the program", async () => {
  for (
    const main of [
      "async () => { await closing(); }",
      "async () => { await closing(); await sleep(60_000); }",
      "function* () { yield* closing(); yield* sleep(60_000); }",
      "async () => { await timeout(60_000, closing); }",
      "function* () { yield* taskGroup(async () => { await closing(); }); }",
    ]
  ) {
    const program = startProgram(`
      import { run, sleep, taskGroup, timeout } from "@rota/rota";
      const slow = async () => {
        try { await sleep(60_000); } finally {
          console.log("ready"); await sleep(200); console.log("clean");
        }
      };
      const closing = () => taskGroup(async (group) => {
        group.createTask(slow);
        await sleep(1);
        group.cancel();
      });
      await run(${main}).then(() => console.log("returned"), (error) => console.log(error.name));
    `);
    assertEquals(await program.line(), "ready");
    program.send("SIGINT");
    const { stdout, stderr } = await program.end();
    assertEquals({ main, stdout, stderr }, {
      main,
      stdout: "clean\nInterruptedError\n",
      stderr: "",
    });
  }
});

Deno.test("Ctrl-C at a foreign promise, and as a group fails, ends the program", async () => {
  const programs: Record<string, string> = {
    "async () => { await taskGroup(async (g) => { g.createTask(() => sleep(60_000)); await soon(); }); }":
      "InterruptedError\n",
    "async () => { await timeout(60_000, async () => { await soon(); await sleep(60_000); }); }":
      "InterruptedError\n",
    "async () => { await cancelScope(async () => { await soon(); await sleep(60_000); }); }":
      "InterruptedError\n",
    "async () => { try { await taskGroup(async (g) => { g.createTask(failsWhenCancelled); await soon(); await sleep(60_000); }); } catch { /* the group's */ } await sleep(60_000); }":
      "InterruptedError\n",
    "function* () { try { yield* taskGroup(function* (g) { g.createTask(failsWhenCancelled); yield* until(soon()); yield* sleep(60_000); }); } catch { /* the group's */ } yield* sleep(60_000); }":
      "InterruptedError\n",
  };
  for (const [main, wanted] of Object.entries(programs)) {
    const program = startProgram(`
      import { cancelScope, run, sleep, taskGroup, timeout, until } from "@rota/rota";
      const soon = () => { console.log("ready"); return new Promise((resolve) => setTimeout(resolve, 200)); };
      const failsWhenCancelled = async () => { try { await sleep(60_000); } catch { throw new Error("child"); } };
      await run(${main}).then(() => console.log("returned"), (error) => console.log(error.name));
    `);
    assertEquals(await program.line(), "ready");
    program.send("SIGINT");
    const { stdout, stderr } = await program.end();
    assertEquals({ main, stdout, stderr }, {
      main,
      stdout: wanted,
      stderr: "",
    });
  }
});

// -- Scopes in scopes --

interface Nest {
  readonly options?: readonly CancelScopeOptions[];
  /** Cancels some of them, the outermost first. */
  readonly cancel: (scopes: readonly CancelScope[]) => void;
  /** Whether the statement after each scope ran, and which have caught it; the outermost first. */
  readonly wanted: {
    readonly ranOn: readonly boolean[];
    readonly caught: readonly boolean[];
  };
}

const NESTS: Record<string, Nest> = {
  "inner, then outer": {
    cancel: ([outer, inner]) => {
      inner!.cancel();
      outer!.cancel();
    },
    wanted: { ranOn: [true, false], caught: [true, false] },
  },
  "outer, then inner": {
    cancel: ([outer, inner]) => {
      outer!.cancel();
      inner!.cancel();
    },
    wanted: { ranOn: [true, false], caught: [true, false] },
  },
  "three, from the innermost": {
    options: [{}, {}, {}],
    cancel: (scopes) => scopes.toReversed().forEach((scope) => scope.cancel()),
    wanted: { ranOn: [true, false, false], caught: [true, false, false] },
  },
  "the outermost and the innermost of three": {
    options: [{}, {}, {}],
    cancel: (scopes) => {
      scopes[2]!.cancel();
      scopes[0]!.cancel();
    },
    wanted: { ranOn: [true, false, false], caught: [true, false, false] },
  },
  "by the same deadline": {
    options: [{ delayMs: 5 }, { delayMs: 5 }],
    cancel: () => {},
    wanted: { ranOn: [true, false], caught: [true, false] },
  },
  "the inner one alone": {
    cancel: ([, inner]) => inner!.cancel(),
    wanted: { ranOn: [true, true], caught: [false, true] },
  },
  "both, and the inner one is a shield": {
    options: [{}, { shield: true }],
    cancel: ([outer, inner]) => {
      inner!.cancel();
      outer!.cancel();
    },
    // The statement after the inner scope runs up to its wait.
    wanted: { ranOn: [true, true], caught: [true, true] },
  },
};

for (const when of ["in the body", "from outside"]) {
  Deno.test(`Of scopes that are cancelled together ${when}, the outermost decides`, async () => {
    const differences = await wrong(NESTS, async (nest, mix) => {
      const options = nest.options ?? [{}, {}];
      const ranOn: boolean[] = options.map(() => false);
      const scopes = options.map((option) => new CancelScope(option));
      const nested = (level: number): Body =>
        as(level % 2 === 0 ? mix.outer : mix.inner, function* () {
          const inside = level + 1 < scopes.length
            ? nested(level + 1)
            : as(mix.inner, function* () {
              if (when === "in the body") nest.cancel(scopes);
              else getRunningLoop().callLater(2, () => nest.cancel(scopes));
              yield sleep(10);
            });
          yield scopes[level]!.run(inside);
          ranOn[level] = true;
          yield sleep(20);
        });
      const outcome = await outcomeOf(nested(0));
      if (outcome !== "undefined") return outcome;
      return {
        ranOn,
        caught: scopes.map(({ cancelledCaught }) => cancelledCaught),
      };
    });
    assertEquals(differences, []);
  });
}

Deno.test("Of a scope and a timeout with one deadline, the outer one decides", async () => {
  const pairs = {
    "timeout around moveOnAfter": {
      outer: timeout,
      inner: moveOnAfter,
      wanted: "TimeoutError",
    },
    "failAfter around moveOnAfter": {
      outer: failAfter,
      inner: moveOnAfter,
      wanted: "TimeoutError",
    },
    "moveOnAfter around timeout": {
      outer: moveOnAfter,
      inner: timeout,
      wanted: `{"cancelledCaught":true}`,
    },
    "moveOnAfter around failAfter": {
      outer: moveOnAfter,
      inner: failAfter,
      wanted: `{"cancelledCaught":true}`,
    },
    "timeout around timeout": {
      outer: timeout,
      inner: timeout,
      wanted: "TimeoutError",
    },
  };
  const differences = await wrong(pairs, async ({ outer, inner }, mix) => {
    let ranOn = false;
    const outcome = await outcomeOf(as(mix.outer, function* () {
      return yield (outer as typeof timeout)(
        10,
        as(mix.outer, function* () {
          try {
            yield (inner as typeof timeout)(
              10,
              as(mix.inner, function* () {
                yield sleep(DAY);
              }),
            );
            ranOn = true;
          } catch (error) {
            if (error instanceof CancelledError) throw error;
            ranOn = true; // with the error of the inner one
          }
        }),
      );
    }));
    return ranOn ? "ran on" : outcome;
  });
  assertEquals(differences, []);
});

// -- Disposal that is cancelled, too --

/** A resource whose disposal takes its time. */
const connection = (ms = 50) => ({
  async [Symbol.asyncDispose]() {
    await sleep(ms);
  },
});

/** A body that holds resources. */
const HOLDING: Record<string, (mix: Mix) => Body> = {
  "scoped": (mix) =>
    as(mix.outer, function* () {
      yield scoped(
        connection(),
        as(mix.inner, function* () {
          yield sleep(DAY);
        }),
      );
    }),
  "await using": () => async () => {
    await using _connection = connection();
    await sleep(DAY);
  },
  "two of them": (mix) =>
    as(mix.outer, function* () {
      yield scoped(
        connection(),
        as(mix.inner, function* () {
          yield scoped(
            connection(),
            as(mix.inner, function* () {
              yield sleep(DAY);
            }),
          );
        }),
      );
    }),
  "await using twice": () => async () => {
    await using _first = connection();
    await using _second = connection();
    await sleep(DAY);
  },
  "in a group": (mix) =>
    as(mix.outer, function* () {
      yield taskGroup(as(mix.inner, function* () {
        yield scoped(
          connection(),
          as(mix.inner, function* () {
            yield sleep(DAY);
          }),
        );
      }));
    }),
};

Deno.test("Body and disposal that end by one cancelled scope are a cancellation, not a failure", async () => {
  for (const name of ["moveOnAfter", "failAfter", "CancelScope.cancel"]) {
    const { around, outcome } = ENDERS[name]!;
    const cases = Object.fromEntries(
      Object.entries(HOLDING).map((
        [key, body],
      ) => [key, { body, wanted: outcome }]),
    );
    const differences = await wrong(
      cases,
      ({ body }, mix) => outcomeOf(as(mix.outer, () => around(10, body(mix)))),
    );
    assertEquals([name, ...differences], [name]);
  }
});

Deno.test("A task that is cancelled once more during its disposal is cancelled", async () => {
  const cases = Object.fromEntries(
    Object.entries(HOLDING).map((
      [key, body],
    ) => [key, { body, wanted: [true, "undefined"] }]),
  );
  const differences = await wrong(cases, async ({ body }, mix) => {
    let cancelled = false;
    const outcome = await outcomeOf(as(mix.outer, function* () {
      yield taskGroup(function* (group) {
        const child = group.createTask(body(mix));
        for (let n = 0; n < 3; n++) {
          yield* sleep(10);
          child.cancel();
        }
        yield* wait([child]);
        cancelled = child.cancelled();
      });
    }));
    return [cancelled, outcome];
  });
  assertEquals(differences, []);
});

Deno.test("A disposal that really fails is a failure, also if the body was cancelled", async () => {
  const broken = {
    [Symbol.asyncDispose]: async () => {
      throw new Error("disposal");
    },
  };
  const cancelled = "CancelledError: Cancelled";
  const cases = {
    "timeout": { wanted: `SuppressedError[disposal, ${cancelled}]` },
    "task.cancel": {
      wanted: `SuppressedError[disposal, ${cancelled}: stop]`,
    },
  };
  const differences = await wrong(cases, ({ wanted }, mix) => {
    const body = as(mix.outer, function* () {
      yield scoped(
        broken,
        as(mix.inner, function* () {
          yield sleep(DAY);
        }),
      );
    });
    return outcomeOf(as(mix.outer, function* () {
      if (!wanted.endsWith("stop]")) return yield timeout(10, body);
      const task = getRunningLoop().createTask(body);
      getRunningLoop().callLater(10, () => task.cancel("stop"));
      return yield task;
    }));
  });
  assertEquals(differences, []);
});

// -- Errors that stand for a cancellation --

/** A wait that answers its signal with an error of its own, as Node's do. */
function answering(
  signal: AbortSignal,
  make: (reason: unknown) => unknown,
): Promise<never> {
  return new Promise((_, reject) => {
    const abort = () => reject(make(signal.reason));
    if (signal.aborted) abort();
    else signal.addEventListener("abort", abort);
  });
}

const abortError = (fields: object) =>
  Object.assign(
    new Error("The operation was aborted"),
    { name: "AbortError" },
    fields,
  );

const ANSWERS: Record<string, (reason: unknown) => unknown> = {
  "the reason, as fetch does": (reason) => reason,
  "an AbortError with a cause, as Node does": (cause) => abortError({ cause }),
  "an AbortError with a reason": (reason) => abortError({ reason }),
  "an AbortError in an AbortError": (cause) =>
    abortError({ cause: abortError({ cause }) }),
  "a SuppressedError of two": (cause) =>
    new SuppressedError(abortError({ cause }), cause, "both"),
};

for (const name of Object.keys(ENDERS)) {
  const { around, outcome } = ENDERS[name]!;
  Deno.test(`${name}: an answer to the aborted signal counts as the cancellation`, async () => {
    const cases = Object.fromEntries(
      Object.entries(ANSWERS).map(([key, make]) => [key, {
        make,
        // A task has no reason of its own then.
        wanted: outcome.startsWith("cancelled") ? "cancelled" : outcome,
      }]),
    );
    const differences = await wrong(cases, async ({ make }, mix) => {
      const outcome = await outcomeOf(
        as(mix.outer, () =>
          around(
            10,
            as(mix.inner, function* () {
              yield answering(currentTask()!.signal, make);
            }),
          )),
        FOREIGN,
      );
      return outcome.startsWith("cancelled") ? "cancelled" : outcome;
    });
    assertEquals(differences, []);
  });
}

Deno.test("An AbortError that is not made of a cancellation is a failure", async () => {
  const differences = await wrong({
    "without a cause": {
      error: abortError({}),
      wanted: "AbortError: The operation was aborted",
    },
    "with another cause": {
      error: abortError({ cause: new Error("disk") }),
      wanted: "AbortError: The operation was aborted",
    },
  }, ({ error }, mix) =>
    outcomeOf(
      as(mix.outer, function* () {
        return yield cancelScope(as(mix.inner, function* () {
          yield Promise.reject(error);
        }));
      }),
      FOREIGN,
    ));
  assertEquals(differences, []);
});

// -- Children of a group whose body is in a shield --

/** How a scope around a group is cancelled after 10 ms. */
const SCOPES: Record<string, (body: Body) => Operation<unknown>> = {
  moveOnAfter: (body) => moveOnAfter(10, body),
  moveOnAt: (body) => moveOnAt(now() + 10, body),
  failAfter: (body) => failAfter(10, body),
  "CancelScope.cancel": (body) => {
    const scope = new CancelScope();
    getRunningLoop().callLater(10, () => scope.cancel());
    return scope.run(body);
  },
  "a signal": (body) => {
    const controller = new AbortController();
    getRunningLoop().callLater(
      10,
      () => controller.abort(new Error("aborted")),
    );
    return cancelScope(body, { signal: controller.signal });
  },
  "two scopes": (body) => moveOnAfter(10, () => cancelScope(body)),
  "a scope around a timeout": (body) =>
    moveOnAfter(10, () => timeout(DAY, body)),
};

Deno.test("A cancelled scope cancels the children of a group whose body is in a shield", async () => {
  const shapes: Record<
    string,
    (mix: Mix, child: Body, rest: () => Steps) => Body
  > = {
    "a group": (mix, child, rest) =>
      as(mix.inner, function* () {
        yield taskGroup((group) => {
          group.createTask(child);
          return as(mix.inner, rest)() as never;
        });
      }),
    "a group with a limit": (mix, child, rest) =>
      as(mix.inner, function* () {
        yield taskGroup((group) => {
          group.createTask(child);
          return as(mix.outer, rest)() as never;
        }, { limit: 1 });
      }),
    "a group in the child of a group": (mix, child, rest) =>
      as(mix.inner, function* () {
        yield taskGroup((group) => {
          group.createTask(as(mix.inner, function* () {
            yield taskGroup((inside) => {
              inside.createTask(child);
            });
          }));
          return as(mix.inner, rest)() as never;
        });
      }),
  };
  for (const [scope, around] of Object.entries(SCOPES)) {
    const cases = Object.fromEntries(
      Object.entries(shapes).map((
        [key, shape],
      ) => [key, { shape, wanted: [10, 1_000] }]),
    );
    const differences = await wrong(cases, async ({ shape }, mix) => {
      const at: number[] = [];
      const never = new Flag();
      const child = as(mix.inner, function* () {
        try {
          yield never.wait();
        } finally {
          at.push(now());
        }
      });
      await outcomeOf(as(mix.outer, function* () {
        try {
          yield around(shape(mix, child, function* () {
            yield cancelScope(
              as(mix.inner, function* () {
                yield sleep(1_000);
              }),
              { shield: true },
            );
            at.push(now());
          }));
        } catch { /* of failAfter, or of the signal */ }
      }));
      return at;
    });
    assertEquals([scope, ...differences], [scope]);
  }
});

// -- Operations that find everything ready in a cancelled scope --

interface Ready {
  /** Makes something ready, an operation on it, and a look at whether it was taken. */
  readonly make: () => {
    operation: () => Operation<unknown>;
    untouched: () => boolean;
  };
  readonly wanted: [boolean, boolean];
}

const always = () => true;
const READY: Record<string, Ready["make"]> = {
  "Queue.get": () => {
    const queue = new Queue<number>();
    queue.putNowait(1);
    return { operation: () => queue.get(), untouched: () => queue.size === 1 };
  },
  "Queue.put": () => {
    const queue = new Queue<number>(1);
    return { operation: () => queue.put(1), untouched: () => queue.empty() };
  },
  "Queue.join": () => ({
    operation: () => new Queue<number>().join(),
    untouched: always,
  }),
  "Lock.acquire": () => {
    const lock = new Lock();
    return { operation: () => lock.acquire(), untouched: () => !lock.locked() };
  },
  "Semaphore.acquire": () => {
    const semaphore = new Semaphore(1);
    return {
      operation: () => semaphore.acquire(),
      untouched: () => semaphore.value === 1,
    };
  },
  "Condition.acquire": () => {
    const condition = new Condition();
    return {
      operation: () => condition.acquire(),
      untouched: () => !condition.locked(),
    };
  },
  "Flag.wait": () => {
    const flag = new Flag();
    flag.set();
    return { operation: () => flag.wait(), untouched: always };
  },
  "Channel.receive": () => {
    const channel = new Channel<number>({ capacity: 1 });
    channel.trySend(1);
    return {
      operation: () => channel.receive(),
      untouched: () => channel.size === 1,
    };
  },
  "Channel.send": () => {
    const channel = new Channel<number>({ capacity: 1 });
    return {
      operation: () => channel.send(1),
      untouched: () => channel.size === 0,
    };
  },
  "sleep(0)": () => ({ operation: () => sleep(0), untouched: always }),
  "until a promise that is settled": () => ({
    operation: () => until(Promise.resolve()),
    untouched: always,
  }),
};

Deno.test("In a cancelled scope every operation throws, ready or not, and takes nothing", async () => {
  const enter: Record<
    string,
    (
      body: (scope: CancelScope) => Body,
    ) => Operation<{ cancelledCaught: boolean }>
  > = {
    "scope.cancel() inside": (body) =>
      cancelScope((scope) => {
        scope.cancel();
        return body(scope)();
      }),
    "moveOnAfter(0)": (body) => moveOnAfter(0, (scope) => body(scope)()),
    "a scope that was cancelled before": (body) => {
      const scope = new CancelScope();
      scope.cancel();
      return scope.run(() => body(scope)());
    },
    "a scope inside": (body) =>
      cancelScope((scope) => {
        scope.cancel();
        return cancelScope((inside) => body(inside)());
      }),
    "a timeout inside": (body) =>
      cancelScope((scope) => {
        scope.cancel();
        return timeout(5, () => body(scope)());
      }),
  };
  for (const [name, around] of Object.entries(enter)) {
    const cases = Object.fromEntries(
      Object.entries(READY).map((
        [key, make],
      ) => [key, { make, wanted: [true, true] }]),
    );
    const differences = await wrong(cases, async ({ make }, mix) => {
      const { operation, untouched } = make();
      let caught = false;
      const outcome = await outcomeOf(as(mix.outer, function* () {
        const { cancelledCaught } = yield around(() =>
          as(mix.inner, function* () {
            yield operation();
          })
        );
        caught = cancelledCaught;
      }));
      return outcome === "undefined" ? [caught, untouched()] : outcome;
    });
    assertEquals([name, ...differences], [name]);
  }
});

Deno.test("In async functions the next operation throws a cancellation, ready or not, and takes nothing", async () => {
  const cases = Object.fromEntries(
    Object.entries(READY).map((
      [key, make],
    ) => [key, { make, wanted: [true, true] }]),
  );
  for (const place of ["task", "timeout", "group", "scope", "helper"]) {
    const differences = await wrong(cases, async ({ make }) => {
      const { operation, untouched } = make();
      let cancelled = false;
      const outcome = await outcomeOf(async () => {
        const body = async () => {
          currentTask()!.cancel();
          await operation();
        };
        const task = getRunningLoop().createTask(async () => {
          if (place === "timeout") await timeout(100, body);
          else if (place === "group") await taskGroup(body);
          else if (place === "scope") await cancelScope(body);
          else await body();
        });
        await wait([task]);
        cancelled = task.cancelled();
      });
      return outcome === "undefined" ? [cancelled, untouched()] : outcome;
    }, MIXES.slice(0, 1));
    assertEquals([place, ...differences], [place]);
  }
});

// -- What the library calls for a task --

Deno.test("What a task calls for its waits does not stop virtual time", async () => {
  const helper = async (ms = 100) => {
    await sleep(ms);
    return 1;
  };
  const calls: Record<string, { make: (mix: Mix) => Steps; wanted: string }> = {
    "until of a function": {
      make: function* () {
        return yield until(() => helper());
      },
      wanted: "1",
    },
    "until in until": {
      make: function* () {
        return yield until(async () => await until(() => helper()));
      },
      wanted: "1",
    },
    "until of a function that waits for another task": {
      make: function* () {
        return yield until(async () =>
          await getRunningLoop().createTask(() => helper())
        );
      },
      wanted: "1",
    },
    "until in a timeout": {
      make: function* (mix) {
        return yield timeout(
          200,
          as(mix.inner, function* () {
            return yield until(() => helper());
          }),
        );
      },
      wanted: "1",
    },
    "until that takes too long": {
      make: function* (mix) {
        return yield timeout(
          50,
          as(mix.inner, function* () {
            return yield until(() => helper());
          }),
        );
      },
      wanted: "TimeoutError",
    },
    "until of a function that opens a group": {
      make: function* () {
        return yield until(async () =>
          await taskGroup(async (group) => {
            group.createTask(() => helper(20));
            return await group.createTask(() => helper());
          })
        );
      },
      wanted: "1",
    },
    "a disposal that waits": {
      make: function* (mix) {
        yield scoped(
          connection(),
          as(mix.inner, function* () {
            yield sleep(1);
          }),
        );
        return now();
      },
      wanted: "51",
    },
    "an async generator that waits": {
      make: function* (mix) {
        const got: number[] = [];
        yield each(numbers(), (n) =>
          as(mix.inner, function* () {
            yield sleep(1);
            got.push(n);
          })() as never);
        return got;
      },
      wanted: "[0,1,2]",
    },
    "a map of an async generator that waits": {
      make: function* () {
        return yield new ConcurrencyLimit(2).map(numbers(), (n) => n) as never;
      },
      wanted: "[0,1,2]",
    },
  };
  const differences = await wrong(
    calls,
    ({ make }, mix) => outcomeOf(as(mix.outer, () => make(mix))),
  );
  assertEquals(differences, []);
});

async function* numbers(): AsyncGenerator<number> {
  for (let n = 0; n < 3; n++) {
    await sleep(5);
    yield n;
  }
}

Deno.test("What a task calls for its waits runs as that task, with its locals", async () => {
  const local = new TaskLocal("nowhere");
  const log: string[] = [];
  const note = () => {
    const task = currentTask();
    log.push(`${task?.name} ${task === null ? "" : local.get()}`);
  };
  async function* noted(): AsyncGenerator<number> {
    try {
      note();
      await sleep(5);
      note();
      yield 1;
      yield 2;
    } finally {
      note();
      await sleep(5);
      note();
    }
  }
  const disposed = {
    async [Symbol.asyncDispose]() {
      note();
      await sleep(5);
      note();
    },
  };
  const calls: Record<string, { make: (mix: Mix) => Steps; count: number }> = {
    "a disposal": {
      make: function* (mix) {
        yield scoped(
          disposed,
          as(mix.inner, function* () {
            yield sleep(1);
          }),
        );
      },
      count: 2,
    },
    "a disposal after a failure": {
      make: function* (mix) {
        try {
          yield scoped(
            disposed,
            as(mix.inner, function* () {
              throw new Error("body");
            }),
          );
        } catch { /* the body's */ }
      },
      count: 2,
    },
    "an async generator that is left early": {
      make: function* (mix) {
        yield each(noted(), (_, stop) => {
          stop();
          return as(mix.inner, function* () {
            yield sleep(1);
          })() as never;
        });
      },
      count: 4,
    },
    "a function given to until": {
      make: function* () {
        yield until(async () => {
          note();
          await sleep(1);
          await foreignHop();
          note();
        });
      },
      count: 2,
    },
    "a disposal in a group": {
      make: function* (mix) {
        yield taskGroup(as(mix.inner, function* () {
          yield scoped(disposed, () => sleep(1));
        }));
      },
      count: 2,
    },
  };
  const cases = Object.fromEntries(
    Object.entries(calls).map((
      [key, { make, count }],
    ) => [key, { make, wanted: Array(count).fill("worker here") }]),
  );
  const differences = await wrong(cases, async ({ make }, mix) => {
    log.length = 0;
    const outcome = await outcomeOf(as(mix.outer, function* () {
      yield getRunningLoop().createTask(
        as(mix.outer, function* () {
          local.set("here");
          yield* make(mix);
        }),
        { name: "worker" },
      );
    }));
    return outcome === "undefined" ? [...log] : outcome;
  });
  assertEquals(differences, []);
});

async function foreignHop(): Promise<void> {
  await null;
}

Deno.test("A reader that was cancelled takes no further item", async () => {
  const readers: Record<string, (queue: Queue<number>, mix: Mix) => Steps> = {
    "each of an async generator": function* (queue) {
      yield each(fromQueue(queue), () => {});
    },
    "until": function* (queue) {
      yield until(async () => {
        await queue.get();
      });
    },
    "each in a group": function* (queue, mix) {
      yield taskGroup(as(mix.inner, function* () {
        yield each(fromQueue(queue), () => {});
      }));
    },
    "each in a scope": function* (queue, mix) {
      yield cancelScope(as(mix.inner, function* () {
        yield each(fromQueue(queue), () => {});
      }));
    },
    "a map": function* (queue) {
      yield new ConcurrencyLimit(2).map(fromQueue(queue), () => {}) as never;
    },
    "each of the queue itself": function* (queue) {
      yield each(queue, () => {});
    },
  };
  const cases = Object.fromEntries(
    Object.entries(readers).map((
      [key, reader],
    ) => [key, { reader, wanted: `["cancelled",1]` }]),
  );
  const differences = await wrong(
    cases,
    ({ reader }, mix) =>
      outcomeOf(as(mix.outer, function* () {
        const queue = new Queue<number>();
        const task = getRunningLoop().createTask(
          as(mix.outer, () => reader(queue, mix)),
        );
        yield sleep(5);
        task.cancel();
        yield wait([task]);
        queue.putNowait(1);
        yield sleep(5);
        return [task.cancelled() ? "cancelled" : "ended", queue.size];
      })),
  );
  assertEquals(differences, []);
});

async function* fromQueue(queue: Queue<number>): AsyncGenerator<number> {
  for (;;) yield await queue.get();
}

// -- Disposal is certain --

Deno.test("A resource that was given to scoped is disposed of once, whatever was pending", async () => {
  const resources = {
    "an async disposal": (log: string[]) => ({
      async [Symbol.asyncDispose]() {
        log.push("disposed");
      },
    }),
    "a disposal that waits": (log: string[]) => ({
      async [Symbol.asyncDispose]() {
        log.push("disposed");
        await sleep(5);
      },
    }),
    "a plain disposal": (log: string[]) => ({
      [Symbol.dispose]() {
        log.push("disposed");
      },
    }),
  };
  for (const [what, make] of Object.entries(resources)) {
    const cases = Object.fromEntries(
      Object.entries(ENDERS).map((
        [key, { around, outcome }],
      ) => [key, { around, wanted: [outcome, "disposed"] }]),
    );
    const differences = await wrong(cases, async ({ around }, mix) => {
      const log: string[] = [];
      const outcome = await outcomeOf(
        as(mix.outer, () =>
          around(
            10,
            as("async", function* () {
              const resource = yield foreign(20, make(log));
              yield scoped(
                resource as AsyncDisposable,
                as(mix.inner, function* () {
                  yield sleep(DAY);
                }),
              );
            }),
          )),
        FOREIGN,
      );
      return [outcome, ...log];
    });
    assertEquals([what, ...differences], [what]);
  }
});

Deno.test("A resource is disposed of in a scope that is cancelled already, and after a self-cancellation", async () => {
  const cases: Record<
    string,
    { make: (mix: Mix, resource: AsyncDisposable) => Steps; wanted: unknown }
  > = {
    "a cancelled scope": {
      make: function* (mix, resource) {
        yield cancelScope((scope) => {
          scope.cancel();
          return as(mix.inner, function* () {
            yield scoped(
              resource,
              as(mix.inner, function* () {
                yield sleep(DAY);
              }),
            );
          })();
        });
      },
      wanted: ["undefined", "disposed"],
    },
    "a scope without time": {
      make: function* (mix, resource) {
        yield moveOnAfter(
          0,
          as(mix.inner, function* () {
            yield scoped(resource, () => sleep(DAY));
          }),
        );
      },
      wanted: ["undefined", "disposed"],
    },
    "a task that has cancelled itself": {
      make: function* (mix, resource) {
        const task = getRunningLoop().createTask(as(mix.inner, function* () {
          currentTask()!.cancel();
          yield scoped(resource, () => sleep(DAY));
        }));
        yield wait([task]);
      },
      wanted: ["undefined", "disposed"],
    },
    "a resource in a resource": {
      make: function* (mix, resource) {
        const task = getRunningLoop().createTask(as(mix.inner, function* () {
          currentTask()!.cancel();
          yield scoped(
            connection(5),
            as(mix.inner, function* () {
              yield scoped(resource, () => sleep(DAY));
            }),
          );
        }));
        yield wait([task]);
      },
      wanted: ["undefined", "disposed"],
    },
    "a group that was cancelled": {
      make: function* (mix, resource) {
        yield taskGroup((group) =>
          as(mix.inner, function* () {
            group.cancel();
            yield scoped(resource, () => sleep(DAY));
          })()
        );
      },
      wanted: ["undefined", "disposed"],
    },
  };
  const differences = await wrong(cases, async ({ make }, mix) => {
    const log: string[] = [];
    const outcome = await outcomeOf(as(mix.outer, () =>
      make(mix, {
        async [Symbol.asyncDispose]() {
          log.push("disposed");
        },
      })));
    return [outcome, ...log];
  });
  assertEquals(differences, []);
});

// -- An error that is on its way --

for (
  const canceller of ["task.cancel", "group.cancel", "scope.cancel", "sibling"]
) {
  Deno.test(`The error of a body is not replaced by a cancellation that comes some microtasks later (${canceller})`, async () => {
    const fails = (style: Style) =>
      as(style, function* () {
        yield sleep(5);
        throw new Error("the body's");
      });
    const one = "the body's";
    const blocks: Record<
      string,
      { block: (style: Style) => PromiseLike<unknown>; wanted: string }
    > = {
      timeout: { block: (style) => timeout(100, fails(style)), wanted: one },
      taskGroup: {
        block: (style) => taskGroup(fails(style)),
        wanted: `TaskGroupError[${one}]`,
      },
      cancelScope: { block: (style) => cancelScope(fails(style)), wanted: one },
      failAfter: {
        block: (style) => failAfter(100, fails(style)),
        wanted: one,
      },
      waitFor: { block: (style) => waitFor(fails(style), 100), wanted: one },
      "a timeout in a group": {
        block: (style) =>
          taskGroup(async () => await timeout(100, fails(style))),
        wanted: `TaskGroupError[${one}]`,
      },
      "a scope in a scope": {
        block: (style) =>
          cancelScope(async () => await cancelScope(fails(style))),
        wanted: one,
      },
    };
    const cases: Record<
      string,
      {
        block: (style: Style) => PromiseLike<unknown>;
        hops: number;
        wanted: string;
      }
    > = {};
    for (const [name, { block, wanted }] of Object.entries(blocks)) {
      for (let hops = 0; hops <= 6; hops++) {
        cases[`${name}, ${hops} microtasks`] = { block, hops, wanted };
      }
    }
    const differences = await wrong(
      cases,
      ({ block, hops }, mix) =>
        outcomeOf(async () => {
          let outcome = "nothing";
          const work = as(mix.outer, function* () {
            try {
              yield block(mix.inner) as Operation<unknown>;
            } catch (error) {
              outcome = tell(error);
            }
          });
          let cancel: () => void;
          const late = async () => {
            await sleep(5);
            for (let n = 0; n < hops; n++) await null;
            cancel();
          };
          const loop = getRunningLoop();
          if (canceller === "task.cancel") {
            const task = loop.createTask(work);
            cancel = () => task.cancel("late");
            await wait([task, loop.createTask(late)]);
          } else if (canceller === "scope.cancel") {
            const scope = new CancelScope();
            cancel = () => scope.cancel("late");
            await wait([
              loop.createTask(() => scope.run(work)),
              loop.createTask(late),
            ]);
          } else {
            try {
              await taskGroup(async (group) => {
                cancel = () => {
                  if (canceller === "group.cancel") group.cancel("late");
                  else throw new Error("sibling");
                };
                group.createTask(work);
                group.createTask(late);
              });
            } catch { /* the sibling's */ }
          }
          return outcome;
        }),
      MIXES.filter(({ inner }) => inner === "async"),
    );
    assertEquals(differences, []);
  });
}

// -- A body of a group that ends --

Deno.test("A cancellation that comes as the body of a group ends is delivered", async () => {
  const cases: Record<
    string,
    { make: (mix: Mix, self: () => Task<unknown>) => Steps; wanted: unknown }
  > = {
    "by the first step of a child": {
      make: function* (mix, self) {
        yield taskGroup((group) => {
          group.createTask(as(mix.inner, function* () {
            self().cancel("stop");
            yield sleep(DAY);
          }));
        });
      },
      wanted: true,
    },
    "by the first step of a child, with an async body": {
      make: function* (mix, self) {
        yield taskGroup(async (group) => {
          group.createTask(as(mix.inner, function* () {
            self().cancel("stop");
            yield sleep(DAY);
          }));
        });
      },
      wanted: true,
    },
    "by the last statement of the body": {
      make: function* (mix, self) {
        yield taskGroup((group) => {
          group.createTask(() => sleep(DAY));
          return as(mix.inner, function* () {
            yield sleep(1);
            self().cancel("stop");
          })() as never;
        });
      },
      wanted: true,
    },
    "by a callback in the turn of the last statement": {
      make: function* (mix, self) {
        yield taskGroup((group) => {
          group.createTask(() => sleep(DAY));
          return as(mix.inner, function* () {
            yield sleep(1);
            getRunningLoop().callSoon(() => self().cancel("stop"));
          })() as never;
        });
      },
      wanted: true,
    },
    "by a microtask after the last statement": {
      make: function* (mix, self) {
        yield taskGroup((group) => {
          group.createTask(() => sleep(DAY));
          return as(mix.inner, function* () {
            yield sleep(1);
            queueMicrotask(() => self().cancel("stop"));
          })() as never;
        });
      },
      wanted: true,
    },
    "in a group in a group": {
      make: function* (mix, self) {
        yield taskGroup(as(mix.inner, function* () {
          yield taskGroup(async (group) => {
            group.createTask(async () => {
              self().cancel("stop");
              await sleep(DAY);
            });
          });
        }));
      },
      wanted: true,
    },
    "in a timeout": {
      make: function* (mix, self) {
        yield timeout(
          DAY,
          as(mix.inner, function* () {
            yield taskGroup(async (group) => {
              group.createTask(async () => {
                self().cancel("stop");
                await sleep(DAY);
              });
            });
          }),
        );
      },
      wanted: true,
    },
  };
  const differences = await wrong(cases, async ({ make }, mix) => {
    let task!: Task<unknown>;
    const outcome = await outcomeOf(as(mix.outer, function* () {
      task = getRunningLoop().createTask(
        as(mix.outer, () => make(mix, () => task)),
      );
      yield wait([task], { timeoutMs: 1_000 });
    }));
    return outcome === "undefined" ? task.cancelled() : outcome;
  });
  assertEquals(differences, []);
});

// -- Self-cancellation inside a block --

Deno.test("A task that cancels itself in a block that then ends is cancelled at the next wait, or at its end", async () => {
  const blocks: Record<string, (body: Body) => Operation<unknown>> = {
    timeout: (body) => timeout(100, body),
    waitFor: (body) => waitFor(body, 100),
    cancelScope: (body) => cancelScope(body),
    moveOnAfter: (body) => moveOnAfter(100, body),
    taskGroup: (body) => taskGroup(body),
    scoped: (body) => scoped({ [Symbol.dispose]() {} }, body),
    until: (body) =>
      until(async () => await as("async", () => asSteps(body))()),
  };
  delete blocks.until; // its body is a task of its own
  const rest: Record<string, () => Steps> = {
    "and ends": function* () {},
    "and sleeps": function* () {
      yield sleep(5);
    },
    "and waits for ever": function* () {
      yield new Flag().wait();
    },
  };
  for (const [name, block] of Object.entries(blocks)) {
    const cases = Object.fromEntries(
      Object.entries(rest).map((
        [key, after],
      ) => [key, { after, wanted: "cancelled: self" }]),
    );
    const differences = await wrong(
      cases,
      ({ after }, mix) =>
        outcomeOf(as(mix.outer, function* () {
          const task = getRunningLoop().createTask(as(mix.outer, function* () {
            yield block(as(mix.inner, function* () {
              currentTask()!.cancel("self");
            }));
            yield* after();
          }));
          yield wait([task], { timeoutMs: 50 });
          return task.cancelled() ? `cancelled: ${reasonOf(task)}` : "ran on";
        })),
    );
    assertEquals([name, ...differences], [name]);
  }
});

// -- Reasons --

Deno.test("The reason of a cancellation arrives with it, whatever is waited for", async () => {
  const waits: Record<string, (mix: Mix, child: Task<unknown>) => Steps> = {
    "gather with exceptions": function* (_, child) {
      yield gather([child], { returnExceptions: true });
    },
    "gather": function* (_, child) {
      yield gather([child, getRunningLoop().createTask(() => sleep(DAY))]);
    },
    "wait": function* (_, child) {
      yield wait([child]);
    },
    "a group": function* (mix) {
      yield taskGroup((group) => {
        group.createTask(() => sleep(DAY));
        return as(mix.inner, function* () {
          yield sleep(DAY);
        })() as never;
      });
    },
    "the end of a group": function* () {
      yield taskGroup((group) => {
        group.createTask(() => sleep(DAY));
      });
    },
    "a timeout": function* (mix) {
      yield timeout(
        DAY,
        as(mix.inner, function* () {
          yield sleep(DAY);
        }),
      );
    },
    "a scope": function* (mix) {
      yield cancelScope(as(mix.inner, function* () {
        yield sleep(DAY);
      }));
    },
    "shield": function* (_, child) {
      yield shield(child);
    },
    "until": function* () {
      yield until(new Promise(() => {}));
    },
    "scoped": function* (mix) {
      yield scoped(
        connection(),
        as(mix.inner, function* () {
          yield sleep(DAY);
        }),
      );
    },
  };
  // Where the child swallows the cancellation that was handed on to it, `gather` ends as
  // if nothing had come, and the request is thrown one wait later. asyncio's
  // `Task.cancel` keeps the message only of a request that was not handed on, so that it
  // is lost here.
  const wanted = (key: string) =>
    key === "gather with exceptions" ? "undefined" : "why";
  const cases = Object.fromEntries(
    Object.entries(waits).map((
      [key, make],
    ) => [key, { make, wanted: wanted(key) }]),
  );
  const differences = await wrong(
    cases,
    ({ make }, mix) =>
      outcomeOf(
        as(mix.outer, function* () {
          const loop = getRunningLoop();
          const child = loop.createTask(as(mix.inner, function* () {
            try {
              yield sleep(DAY);
            } catch { /* swallowed */ }
          }));
          const waiter = loop.createTask(as(mix.outer, function* () {
            yield* make(mix, child);
            yield sleep(DAY);
          }));
          yield sleep(5);
          waiter.cancel("why");
          yield wait([waiter]);
          child.cancel();
          return waiter.cancelled() ? reasonOf(waiter) : "ran on";
        }),
        FOREIGN,
      ),
  );
  assertEquals(differences, []);
});

Deno.test("A reason goes through a gather whose child is cancelled with it", async () => {
  const differences = await wrong(
    Object.fromEntries(
      [true, false].flatMap((returnExceptions) =>
        ["child first", "waiter first"].map((order) => [
          `${order}${returnExceptions ? ", with exceptions" : ""}`,
          { order, returnExceptions, wanted: "why" },
        ])
      ),
    ),
    ({ order, returnExceptions }, mix) =>
      outcomeOf(as(mix.outer, function* () {
        const loop = getRunningLoop();
        const child = loop.createTask(as(mix.inner, function* () {
          try {
            yield sleep(DAY);
          } catch (error) {
            if (!returnExceptions) throw error;
          }
        }));
        const waiter = loop.createTask(as(mix.outer, function* () {
          yield gather([child], { returnExceptions: returnExceptions as true });
          yield sleep(DAY);
        }));
        yield sleep(5);
        if (order === "child first") child.cancel("why");
        waiter.cancel("why");
        if (order !== "child first") child.cancel("why");
        yield wait([waiter]);
        return waiter.cancelled() ? reasonOf(waiter) : "ran on";
      })),
  );
  assertEquals(differences, []);
});

Deno.test("A promise whose wait was refused, as a cancellation was due, is not a failure that nobody handled", async () => {
  const waits: Record<string, (mix: Mix) => Steps> = {
    "until": function* () {
      yield until(answering(currentTask()!.signal, (reason) => reason));
    },
    "until, answered as Node does": function* () {
      yield until(
        answering(currentTask()!.signal, (cause) => abortError({ cause })),
      );
    },
    "until in a scope": function* (mix) {
      yield cancelScope(as(mix.inner, function* () {
        yield until(answering(currentTask()!.signal, (reason) => reason));
      }));
    },
    "waitFor": function* () {
      yield waitFor(
        answering(currentTask()!.signal, (reason) => reason),
        DAY,
      );
    },
    "waitFor without time": function* () {
      yield waitFor(answering(currentTask()!.signal, (reason) => reason), 0);
    },
    "waitFor in a scope": function* (mix) {
      yield cancelScope(as(mix.inner, function* () {
        yield waitFor(
          answering(currentTask()!.signal, (reason) => reason),
          DAY,
        );
      }));
    },
    "waitFor of an operation": function* () {
      yield waitFor(
        until(answering(currentTask()!.signal, (reason) => reason)),
        DAY,
      );
    },
    "gather": function* () {
      yield gather([answering(currentTask()!.signal, (reason) => reason)]);
    },
  };
  const cases = Object.fromEntries(
    Object.entries(waits).map((
      [key, make],
    ) => [key, { make, wanted: `["cancelled"]` }]),
  );
  const unhandled: unknown[] = [];
  const note = (event: PromiseRejectionEvent) => {
    event.preventDefault();
    unhandled.push("nobody handled it");
  };
  globalThis.addEventListener("unhandledrejection", note);
  const differences = await wrong(cases, async ({ make }, mix) => {
    unhandled.length = 0;
    const outcome = await outcomeOf(
      as(mix.outer, function* () {
        const task = getRunningLoop().createTask(as(mix.inner, function* () {
          currentTask()!.cancel();
          yield* make(mix);
        }));
        yield wait([task]);
        yield sleep(1);
        return [task.cancelled() ? "cancelled" : "ended", ...unhandled];
      }),
      FOREIGN,
    );
    return outcome;
  });
  globalThis.removeEventListener("unhandledrejection", note);
  assertEquals(differences, []);
});
