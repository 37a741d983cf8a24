/**
 * Ways to ask for the end of a body, and what such bodies wait for.
 *
 * @module
 */
import {
  CancelledError,
  CancelScope,
  failAfter,
  getRunningLoop,
  moveOnAfter,
  sleep,
  type Task,
  TaskGroup,
  taskGroup,
  timeout,
  timeoutAt,
  until,
  wait,
  waitFor,
} from "../../mod.ts";
import { as, type Steps } from "./mixed_styles.ts";

/** So long that nobody comes to its end, in milliseconds. */
export const DAY = 86_400_000;

/** A body of either style. */
// deno-lint-ignore no-explicit-any
export type Body = () => any;

/** The reason with which a task was cancelled. */
export function reasonOf(task: Task<unknown>): unknown {
  try {
    return task.result();
  } catch (error) {
    return error instanceof CancelledError ? error.reason : error;
  }
}

/** The time of the running loop. */
export const now = () => getRunningLoop().time();

/** Something that asks for the end of a body after some time, and how that comes out. */
export interface Ender {
  readonly around: (ms: number, body: Body) => Steps;
  readonly outcome: string;
}

/** Every way to end a body: `{cancelled: true}` is for scopes. */
export const ENDERS: Record<string, Ender> = {
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
export function* asSteps(body: Body): Steps {
  return yield getRunningLoop().createTask(body);
}

/** A resource whose disposal takes its time. */
export const connection = (ms = 50) => ({
  async [Symbol.asyncDispose]() {
    await sleep(ms);
  },
});

/** A wait that answers its signal with an error of its own, as Node's do. */
export function answering(
  signal: AbortSignal,
  make: (reason: unknown) => unknown,
): Promise<never> {
  return new Promise((_, reject) => {
    const abort = () => reject(make(signal.reason));
    if (signal.aborted) abort();
    else signal.addEventListener("abort", abort);
  });
}

/** An error as Node throws it for an aborted signal. */
export const abortError = (fields: object) =>
  Object.assign(
    new Error("The operation was aborted"),
    { name: "AbortError" },
    fields,
  );
