/**
 * Events of supervisors and the tree.
 *
 * @module
 */
import { assertEquals, assertInstanceOf } from "@std/assert";
import { MisuseError } from "../../src/errors.ts";
import { createTask, each, sleep } from "../../src/loop/mod.ts";
import { DynamicSupervisor } from "../../src/supervise/dynamic_supervisor.ts";
import { Supervisor } from "../../src/supervise/supervisor.ts";
import type { SupervisorEvent } from "../../src/supervise/supervisor_events.ts";
import { caught, play, Stage, type Steps, STYLES } from "./stage.ts";

function textOf(event: SupervisorEvent): string {
  if (!("childId" in event)) return event.type;
  const { type, childId, end, delayMs } = event;
  const more = end?.kind ?? delayMs;
  return `${type} ${childId}${more === undefined ? "" : ` ${more}`}`;
}

/** Events of a supervisor with a child that crashes, one that is ignored, and one that does not start again at once. */
function* scenario(
  stage: Stage,
  watch: (supervisor: Supervisor) => void,
): Steps<void> {
  const supervisor = new Supervisor({
    name: "top",
    maxRestarts: 2,
    reportCrashes: false,
    backoff: { initialMs: 10, jitter: "none" },
    children: [
      stage.child("a", { starts: ["ok", "fail"] }),
      stage.child("b", { starts: ["ignore"] }),
      stage.child("c", { restart: "transient" }),
    ],
  });
  watch(supervisor);
  yield supervisor.start();
  stage.end("c", "normal");
  stage.end("a", "crash");
  yield sleep(100);
  stage.end("a", "crash");
  yield* caught(supervisor.join());
}

const EVENTS = [
  "starting a",
  "started a",
  "starting b",
  "ignored b",
  "starting c",
  "started c",
  "supervisor-started",
  "ended c normal",
  "ended a crash",
  "restarting a 10",
  "starting a",
  "start-failed a",
  "restarting a 20",
  "starting a",
  "started a",
  "ended a crash",
  "restarting a 40",
  "restart-limit",
  "supervisor-ended",
];

for (const style of STYLES) {
  Deno.test(`a listener hears every event, at its moment, ${style}`, async () => {
    const { value } = await play(style, function* () {
      const heard: string[] = [];
      yield* scenario(
        new Stage(style),
        (supervisor) =>
          void supervisor.subscribe((event) => heard.push(textOf(event))),
      );
      return heard;
    });
    assertEquals(value, EVENTS);
  });

  Deno.test(`an iteration gets every event, ${style}`, async () => {
    const { value } = await play(style, function* () {
      const got: string[] = [];
      let reader: ReturnType<typeof createTask> | null = null;
      yield* scenario(new Stage(style), (supervisor) => {
        const events = supervisor.events();
        reader = createTask(
          style === "a generator"
            ? () =>
              each(events, (event) => {
                got.push(textOf(event));
              })
            : async () => {
              for await (const event of events) got.push(textOf(event));
            },
        );
      });
      yield reader!;
      return got;
    });
    assertEquals(value, EVENTS);
  });

  Deno.test(`a listener that throws changes nothing and is reported, ${style}`, async () => {
    const { value, reports } = await play(style, function* () {
      const heard: string[] = [];
      const stage = new Stage(style);
      yield* scenario(stage, (supervisor) => {
        supervisor.subscribe(() => {
          throw new Error("I do not care");
        });
        supervisor.subscribe((event) => heard.push(textOf(event)));
      });
      return [heard, stage.take()];
    });
    assertEquals(value, [EVENTS, "+a /b +c !c !a ?a +a !a"]);
    assertEquals(reports.length, EVENTS.length);
    assertEquals(
      reports[0],
      'A listener of supervisor "top" has thrown at "starting": I do not care',
    );
  });

  Deno.test(`an iteration that nobody reads is bounded, and counts what it drops, ${style}`, async () => {
    const { value } = await play(style, function* () {
      const stage = new Stage(style);
      const supervisor = new DynamicSupervisor({
        child: { restart: "temporary" },
      });
      const events = supervisor.events({ capacity: 3 });
      yield supervisor.start();
      for (let n = 0; n < 100; n++) {
        yield supervisor.startChild(stage.start("a"));
      }
      yield supervisor.stop();
      const kept: string[] = [];
      yield each(events, (event) => {
        kept.push(textOf(event));
      });
      return [events.dropped, kept];
    });
    assertEquals(value, [1 + 2 * 100 + 2 * 100 + 1 - 3, [
      "ended 99 shutdown",
      "ended 100 shutdown",
      "supervisor-ended",
    ]]);
  });

  Deno.test(`leaving an iteration or a listener ends it, ${style}`, async () => {
    const { value } = await play(style, function* () {
      const stage = new Stage(style);
      const supervisor = new Supervisor({
        children: [stage.child("a"), stage.child("b")],
      });
      const heard: string[] = [];
      {
        using _ = supervisor.subscribe((event) => {
          heard.push(textOf(event));
        });
        yield supervisor.start();
      }
      const events = supervisor.events();
      const reader = createTask(async () => {
        for await (const event of events) {
          heard.push(textOf(event));
          break;
        }
      });
      yield sleep(1);
      const second = yield* caught(
        createTask(() => events.next()),
      );
      yield supervisor.terminateChild("b");
      yield reader;
      yield supervisor.stop();
      assertInstanceOf(second, MisuseError);
      return heard;
    });
    assertEquals(value, [
      "starting a",
      "started a",
      "starting b",
      "started b",
      "supervisor-started",
      "stopping b",
    ]);
  });

  Deno.test(`the tree and its text, ${style}`, async () => {
    const { value } = await play(style, function* () {
      const stage = new Stage(style);
      const pool = new DynamicSupervisor({ child: { restart: "temporary" } });
      const supervisor = new Supervisor({
        name: "top",
        strategy: "rest-for-one",
        reportCrashes: false,
        children: [
          stage.child("db"),
          { id: "pool", type: "supervisor", start: () => pool },
          stage.child("job", {
            restart: "transient",
            backoff: { initialMs: 100, jitter: "none" },
          }),
          stage.child("cron", { restart: "transient" }),
        ],
      });
      const before = String(supervisor.tree());
      yield supervisor.start();
      yield pool.startChild(stage.start("x"), { name: "session 1" });
      yield pool.startChild(stage.start("y"), { name: "session 2" });
      stage.end("cron", "normal");
      stage.end("job", "crash");
      yield sleep(40);
      const tree = supervisor.tree();
      const text = String(tree);
      yield supervisor.stop();
      return [before, text, tree.children[1]!.supervisor!.name];
    });
    assertEquals(value, [
      "top (rest-for-one, new)",
      `top (rest-for-one, running)
├─ db (running)
├─ pool (dynamic, running)
│  ├─ session 1 (running)
│  └─ session 2 (running)
├─ job (restarting in 60 ms, crash: job has crashed)
└─ cron (stopped, normal)`,
      "top/pool",
    ]);
  });
}

for (const style of STYLES) {
  Deno.test(`an async listener that throws is reported, and who subscribes in a listener hears the next event, ${style}`, async () => {
    const { value, reports } = await play(style, function* () {
      const stage = new Stage(style);
      const supervisor = new Supervisor({ children: [stage.child("a")] });
      const heard: string[] = [];
      let depth = 0;
      const subscribeAgain = (event: SupervisorEvent) => {
        if (++depth > 500) throw new Error("the event does not end");
        heard.push(event.type);
        if (heard.length === 1) supervisor.subscribe(subscribeAgain);
      };
      supervisor.subscribe(subscribeAgain);
      supervisor.subscribe(async ({ type }) => {
        await Promise.resolve();
        if (type === "started") throw new Error("asynchronous");
      });
      yield supervisor.start();
      yield sleep(1);
      const sofar = [...heard];
      yield supervisor.stop();
      return sofar;
    });
    assertEquals(value, [
      "starting",
      "started",
      "started",
      "supervisor-started",
      "supervisor-started",
    ]);
    assertEquals(
      reports,
      [
        'A listener of supervisor "supervisor" has thrown at "started": asynchronous',
      ],
    );
  });
}

Deno.test("the text of a tree has a line for each child, whatever errors say", async () => {
  const { value } = await play("an async function", function* () {
    const awkward = new Error("first\nsecond");
    const mute = Object.defineProperty(new Error(), "message", {
      get: () => {
        throw new Error("no message");
      },
    });
    const failing = (id: string, error: unknown) => ({
      id,
      restart: "transient" as const,
      start: async () => {
        await sleep(1);
        throw error;
      },
      backoff: { jitter: "none" as const },
    });
    const supervisor = new Supervisor({
      name: "top",
      reportCrashes: false,
      children: [failing("a", awkward), failing("b", mute)],
    });
    yield supervisor.start();
    yield sleep(2);
    const text = String(supervisor.tree());
    yield supervisor.stop();
    return text;
  });
  assertEquals(
    value,
    "top (one-for-one, running)\n" +
      "├─ a (restarting in 99 ms, crash: first)\n" +
      "└─ b (restarting in 99 ms, crash: a reason that has no text)",
  );
});

Deno.test("a worker may hand over the supervisor above it, and the tree ends all the same", async () => {
  const { value } = await play("an async function", function* () {
    const supervisor: Supervisor = new Supervisor({
      name: "top",
      children: [{
        id: "a",
        start: async (started) => {
          started(supervisor);
          await sleep(Infinity);
        },
      }],
    });
    yield supervisor.start();
    const text = String(supervisor.tree());
    yield supervisor.stop();
    return text;
  });
  assertEquals(value, "top (one-for-one, running)\n└─ a (running)");
});
