/**
 * `each` over a source of operations, whose generator bodies are stepped by the task itself: which
 * task and block they run in, and which error is thrown when leaving fails as well.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import {
  currentTask,
  each,
  getRunningLoop,
  Operation,
  run,
  sleep,
  TaskLocal,
  timeout,
  until,
} from "../../mod.ts";
import {
  items,
  type ItemSource,
  type OperationIterable,
} from "../../src/loop/each.ts";
import { inStyle, outcomeOf, type Steps, STYLES } from "../support/styles.ts";

const VIRTUAL = { host: "virtual" } as const;

/** A source of three numbers, whose closing does what the test wants. */
class Numbers implements OperationIterable<number> {
  closed = 0;
  readonly #closing: () => Operation<unknown> | void;
  readonly #failsAt: number;

  constructor(
    closing: () => Operation<unknown> | void = () => {},
    failsAt = Infinity,
  ) {
    this.#closing = closing;
    this.#failsAt = failsAt;
  }

  [items](): ItemSource<number> {
    let value = 0;
    const failsAt = this.#failsAt;
    const next = () =>
      new Operation<IteratorResult<number, undefined>>(function* () {
        yield* sleep(1);
        if (value === failsAt) throw new Error("next");
        return value < 3
          ? { done: false, value: value++ }
          : { done: true, value: undefined };
      });
    return Object.assign(next, {
      close: () => {
        this.closed++;
        return this.#closing();
      },
    });
  }
}

const failing = () =>
  new Operation(function* () {
    yield* sleep(1);
    throw new Error("closing");
  });
const slow = () =>
  new Operation(function* () {
    yield* sleep(20);
  });

interface Leaving {
  readonly source: () => Numbers;
  readonly body: (n: number, stop: () => void) => Generator<undefined, void>;
  readonly outcome: string;
  readonly reports: readonly string[];
  readonly closed: number;
  readonly cancels?: true;
}

function* goOn(): Generator<undefined, void> {}
function* fail(): Generator<undefined, void> {
  throw new Error("body");
}
function* leave(
  _n: number,
  stop: () => void,
): Generator<undefined, void> {
  stop();
}

const LEAVINGS: Record<string, Leaving> = {
  "the end": {
    source: () => new Numbers(failing),
    body: goOn,
    outcome: "result: undefined",
    reports: [],
    closed: 0,
  },
  "stop()": {
    source: () => new Numbers(slow),
    body: leave,
    outcome: "result: undefined",
    reports: [],
    closed: 1,
  },
  "stop() and a closing that fails": {
    source: () => new Numbers(failing),
    body: leave,
    outcome: "failed: closing",
    reports: [],
    closed: 1,
  },
  "an error of the body": {
    source: () => new Numbers(),
    body: fail,
    outcome: "failed: body",
    reports: [],
    closed: 1,
  },
  "an error of the body and a closing that fails": {
    source: () => new Numbers(failing),
    body: fail,
    outcome: "failed: body",
    reports: ["closing"],
    closed: 1,
  },
  "an error of the body and a closing that throws": {
    source: () =>
      new Numbers(() => {
        throw new Error("at once");
      }),
    body: fail,
    outcome: "failed: body",
    reports: ["at once"],
    closed: 1,
  },
  "an error of the body and a cancelled closing": {
    source: () => new Numbers(slow),
    body: fail,
    outcome: "failed: body",
    reports: [],
    closed: 1,
    cancels: true,
  },
  "an error of next() and a closing that fails": {
    source: () => new Numbers(failing, 1),
    body: goOn,
    outcome: "failed: next",
    reports: ["closing"],
    closed: 1,
  },
  "a cancellation and a closing that fails": {
    source: () => new Numbers(failing),
    body: function* () {
      yield* sleep(1_000) as unknown as Generator<undefined, void>;
    },
    outcome: "cancelled: enough",
    reports: ["closing"],
    closed: 1,
    cancels: true,
  },
};

for (const style of STYLES) {
  for (const [way, leaving] of Object.entries(LEAVINGS)) {
    Deno.test(`each() over a source is left by ${way} in ${style}`, async () => {
      await run(async () => {
        const loop = getRunningLoop();
        const reports: string[] = [];
        loop.setExceptionHandler((_loop, { exception }) => {
          reports.push((exception as Error).message);
        });
        const source = leaving.source();
        const task = loop.createTask(inStyle(style, function* () {
          yield each(source, leaving.body);
        }));
        await sleep(10);
        if (leaving.cancels) task.cancel("enough");
        await sleep(50);
        const outcome = task.cancelled()
          ? `cancelled: ${task.cancelReason() ?? "enough"}`
          : outcomeOf(task);
        assertEquals(
          [outcome, reports, source.closed],
          [leaving.outcome, leaving.reports, leaving.closed],
        );
      }, VIRTUAL);
    });
  }

  Deno.test(`bodies of each() over a source run as their task in ${style}`, async () => {
    const local = new TaskLocal("nowhere");
    const log: string[] = [];
    const note = (where: string) => {
      const task = currentTask();
      log.push(`${where}: ${task?.name} ${task === null ? "" : local.get()}`);
    };
    const hop = async () => {
      note("a function given to until");
      await null;
      await sleep(1);
      note("after its foreign await");
    };
    const steps: Steps<void> = function* () {
      local.set("here");
      let count = 0;
      yield each(new Numbers(), function* (_n, stop) {
        if (count++ > 0) return stop();
        note("a generator");
        yield* sleep(1);
        note("after a wait");
        yield* until(hop);
        yield* each(new Numbers(), async (_m, stop) => {
          note("an async function in it");
          await sleep(1);
          note("after its wait");
          stop();
        });
        yield* each(new Numbers(), (_m, stop) => {
          note("a plain function in it");
          stop();
        });
        yield* timeout(100, function* () {
          yield* each(new Numbers(), function* (_m, stop) {
            yield* sleep(1);
            note("nested in a block");
            stop();
          });
        });
        note("the end");
      });
      note("outside");
    };
    await run(async () => {
      await getRunningLoop().createTask(inStyle(style, steps), {
        name: "worker",
      });
    }, VIRTUAL);
    assertEquals(
      log,
      [
        "a generator",
        "after a wait",
        "a function given to until",
        "after its foreign await",
        "an async function in it",
        "after its wait",
        "a plain function in it",
        "nested in a block",
        "the end",
        "outside",
      ].map((where) => `${where}: worker here`),
    );
  });
}
