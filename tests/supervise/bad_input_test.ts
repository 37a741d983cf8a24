/**
 * Bad input of supervisors: typed errors, before anything has changed.
 *
 * @module
 */
import {
  assertEquals,
  assertInstanceOf,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import {
  ChildSpecError,
  ChildStateError,
  MisuseError,
} from "../../src/errors.ts";
import { sleep } from "../../src/loop/mod.ts";
import { DynamicSupervisor } from "../../src/supervise/dynamic_supervisor.ts";
import { Supervisor } from "../../src/supervise/supervisor.ts";
import { caught, play, Stage, STYLES } from "./stage.ts";

const start = () => sleep(Infinity);
const child = { id: "a", start };

/** Options of a supervisor, the class of the error, and a part of its message. */
const WRONG: readonly [unknown, new (...args: never[]) => Error, string][] = [
  [null, TypeError, "options must be an object: received null"],
  [5, TypeError, "options must be an object: received 5"],
  [{ name: 5 }, TypeError, "name must be a string: received 5"],
  [
    { strategy: "one-for-none" },
    TypeError,
    'strategy must be one of "one-for-one", "one-for-all", "rest-for-one": received "one-for-none"',
  ],
  [{ maxRestarts: -1 }, RangeError, "maxRestarts must be an integer >= 0"],
  [{ maxRestarts: NaN }, RangeError, "maxRestarts must be an integer >= 0"],
  [{ maxRestarts: "3" }, TypeError, "maxRestarts must be a number"],
  [{ withinMs: NaN }, RangeError, "withinMs must not be NaN"],
  [{ withinMs: -1 }, RangeError, "withinMs must be > 0: received -1"],
  [{ withinMs: 0 }, RangeError, "withinMs must be > 0: received 0"],
  [{ autoShutdown: "always" }, TypeError, "autoShutdown must be one of"],
  [
    { autoShutdown: "any-significant", children: [child] },
    ChildSpecError,
    'autoShutdown must be "never" if no child is significant',
  ],
  [{ autoShutdown: "all-significant" }, ChildSpecError, "autoShutdown"],
  [{ significantLater: 1 }, TypeError, "significantLater must be one of"],
  [{ reportCrashes: "no" }, TypeError, "reportCrashes must be one of"],
  [{ seed: 0.5 }, RangeError, "seed must be an integer"],
  [{ seed: 2 ** 60 }, RangeError, "seed must be a safe integer"],
  [{ backoff: 5 }, TypeError, "backoff must be an object: received 5"],
  [{ backoff: { initialMs: -1 } }, RangeError, "backoff.initialMs must be >="],
  [{ backoff: { initialMs: NaN } }, RangeError, "backoff.initialMs"],
  [{ backoff: { maxMs: Infinity } }, RangeError, "backoff.maxMs must be fin"],
  [{ backoff: { factor: 0.5 } }, RangeError, "backoff.factor must be finite"],
  [{ backoff: { jitter: "half" } }, TypeError, "backoff.jitter must be one"],
  [{ backoff: { healthyMs: -1 } }, RangeError, "backoff.healthyMs must be >="],
  [{ children: {} }, TypeError, "children must be an array"],
  [
    { children: [null] },
    TypeError,
    "spec must be an object: received null",
  ],
  [{ children: [{ start }] }, TypeError, "id must be a string"],
  [
    { children: [{ id: "a" }] },
    TypeError,
    'start of child "a" must be a function: received undefined',
  ],
  [
    { children: [child, { id: "b", start }, child] },
    ChildSpecError,
    'the id of a child must be unique: received "a" twice',
  ],
  [
    { children: [{ ...child, restart: "always" }] },
    TypeError,
    "restart must be one of",
  ],
  [
    { children: [{ ...child, shutdown: -1 }] },
    RangeError,
    "shutdown must be >= 0: received -1",
  ],
  [
    { children: [{ ...child, shutdown: NaN }] },
    RangeError,
    "shutdown must not be NaN",
  ],
  [
    { children: [{ ...child, shutdown: "kill" }] },
    TypeError,
    'shutdown must be "brutal-kill" or a number of milliseconds: received "kill"',
  ],
  [
    {
      children: [{ ...child, type: "supervisor", shutdown: "brutal-kill" }],
    },
    ChildSpecError,
    'shutdown of supervisor "a" must be a number of milliseconds',
  ],
  [
    { children: [{ ...child, type: "process" }] },
    TypeError,
    "type must be one of",
  ],
  [
    { children: [{ ...child, significant: 1 }] },
    TypeError,
    "significant must be one of",
  ],
  [
    {
      autoShutdown: "any-significant",
      children: [{ ...child, significant: true }],
    },
    ChildSpecError,
    'must not be significant if restart is "permanent"',
  ],
  [
    { children: [{ ...child, restart: "transient", significant: true }] },
    ChildSpecError,
    'must not be significant if autoShutdown of its supervisor is "never"',
  ],
  [
    { children: [{ ...child, heartbeatMs: 0 }] },
    RangeError,
    "heartbeatMs must be > 0: received 0",
  ],
  [
    { children: [{ ...child, heartbeatMs: NaN }] },
    RangeError,
    "heartbeatMs must not be NaN",
  ],
  [
    { children: [{ ...child, allowOverlap: "yes" }] },
    TypeError,
    "allowOverlap must be one of",
  ],
];

Deno.test("a supervisor refuses wrong options, each by a typed error", () => {
  for (const [options, kind, message] of WRONG) {
    const error = assertThrows(() => new Supervisor(options as object));
    assertInstanceOf(error, kind, message);
    assertStringIncludes(error.message, `Cannot make a supervisor as `);
    assertStringIncludes(error.message, message);
  }
});

Deno.test("a dynamic supervisor refuses wrong options", () => {
  const wrong: readonly [unknown, new (...args: never[]) => Error, string][] = [
    [null, TypeError, "options must be an object"],
    [{ maxChildren: -1 }, RangeError, "maxChildren must be an integer >= 0"],
    [{ child: 5 }, TypeError, "child must be an object"],
    [{ child: { shutdown: NaN } }, RangeError, "shutdown must not be NaN"],
    [{ child: { significant: true } }, ChildSpecError, "significant"],
    [{ autoShutdown: "any-significant" }, ChildSpecError, "autoShutdown"],
  ];
  for (const [options, kind, message] of wrong) {
    const error = assertThrows(() => new DynamicSupervisor(options as object));
    assertInstanceOf(error, kind, message);
    assertStringIncludes(error.message, message);
  }
});

Deno.test("the problems of specs have names", () => {
  const problemOf = (options: object) =>
    (assertThrows(
      () => new Supervisor(options),
      ChildSpecError,
    ) as ChildSpecError).problem;
  assertEquals(problemOf({ children: [child, child] }), "duplicate-id");
  assertEquals(
    problemOf({ autoShutdown: "all-significant", children: [child] }),
    "nothing-significant",
  );
  assertEquals(
    problemOf({
      children: [{ ...child, type: "supervisor", shutdown: "brutal-kill" }],
    }),
    "brutal-kill",
  );
  assertEquals(
    problemOf({
      children: [{ ...child, significant: true, restart: "temporary" }],
    }),
    "bad-combination",
  );
});

for (const style of STYLES) {
  Deno.test(`calls refuse wrong arguments, and change nothing, ${style}`, async () => {
    const { value, reports } = await play(style, function* () {
      const stage = new Stage(style);
      const supervisor = new Supervisor({ children: [stage.child("a")] });
      yield supervisor.start();
      // deno-lint-ignore no-explicit-any
      const wrong = supervisor as any;
      assertThrows(() => wrong.terminateChild(5), TypeError, "id must be a s");
      assertThrows(() => wrong.restartChild(), TypeError, "id must be a str");
      assertThrows(() => wrong.deleteChild(null), TypeError, "id must be a s");
      assertThrows(
        () => wrong.startChild(null),
        TypeError,
        "spec must be an object",
      );
      assertThrows(() => wrong.startChild({ id: "b" }), TypeError, "start of");
      assertThrows(
        () => supervisor.startChild({ ...child, shutdown: -1 }),
        RangeError,
        "shutdown",
      );
      assertThrows(() => wrong.subscribe(5), TypeError, "listener");
      assertThrows(() => wrong.events(5), TypeError, "options");
      assertThrows(() => wrong.events({ capacity: 0 }), RangeError, "capacity");
      const significant = yield* caught(
        supervisor.startChild({
          ...child,
          id: "s",
          significant: true,
          restart: "temporary",
        }),
      );
      assertInstanceOf(significant, ChildSpecError);
      const problems: string[] = [];
      for (
        const operation of [
          supervisor.startChild(stage.child("a")),
          supervisor.restartChild("a"),
          supervisor.deleteChild("a"),
          supervisor.restartChild("b"),
          supervisor.deleteChild("b"),
          supervisor.terminateChild("b"),
        ]
      ) {
        const error = yield* caught(operation);
        assertInstanceOf(error, ChildStateError);
        problems.push(error.problem);
      }
      yield supervisor.terminateChild("a");
      const present = yield* caught(supervisor.startChild(stage.child("a")));
      problems.push((present as ChildStateError).problem);
      const log = stage.take();
      yield supervisor.stop();
      return [problems.join(), log];
    });
    assertEquals(value, [
      "already-started,running,running,not-found,not-found,not-found,already-present",
      "+a -a !a",
    ]);
    assertEquals(reports, []);
  });

  Deno.test(`dynamic supervisors refuse calls by id, runs of others and too many children, ${style}`, async () => {
    const { value } = await play(style, function* () {
      const stage = new Stage(style);
      const one = new DynamicSupervisor({ maxChildren: 1 });
      const two = new DynamicSupervisor();
      yield one.start();
      yield two.start();
      const run = yield one.startChild(stage.start("a"), { name: "a" });
      // deno-lint-ignore no-explicit-any
      const wrong = one as any;
      assertThrows(() => wrong.startChild({}), TypeError, "start must be a fu");
      assertThrows(() => wrong.startChild(start, 5), TypeError, "options");
      assertThrows(
        () => wrong.startChild(start, { name: 5 }),
        TypeError,
        "name must be a string",
      );
      assertThrows(() => wrong.terminateChild({}), TypeError, "run must be a");
      const problems: string[] = [];
      for (
        const operation of [
          one.startChild(stage.start("b")),
          one.terminateChild("a"),
          one.restartChild("a"),
          one.deleteChild("a"),
          two.terminateChild(run),
        ]
      ) {
        const error = yield* caught(operation);
        problems.push((error as ChildStateError).problem);
      }
      yield one.stop();
      yield two.stop();
      return problems.join();
    });
    assertEquals(value, "max-children,dynamic,dynamic,dynamic,not-found");
  });

  Deno.test(`a supervisor starts once, and is called after that, ${style}`, async () => {
    const { value } = await play(style, function* () {
      const supervisor = new Supervisor({ name: "top" });
      const messages: string[] = [];
      for (
        const operation of [
          supervisor.whichChildren(),
          supervisor.join(),
          supervisor.settled(),
        ]
      ) {
        const error = yield* caught(operation);
        assertInstanceOf(error, MisuseError);
        messages.push(error.message);
      }
      yield supervisor.stop(); // does nothing
      yield supervisor.start();
      const again = yield* caught(supervisor.start());
      assertInstanceOf(again, MisuseError);
      yield supervisor.close();
      yield supervisor.close();
      messages.push(again.message);
      return messages;
    });
    assertEquals(value, [
      'Cannot call supervisor "top": it has not been started',
      'Cannot wait for supervisor "top": it has not been started',
      'Cannot wait for supervisor "top": it has not been started',
      'Cannot start supervisor "top": it has been started before, make a new one',
    ]);
  });
}
