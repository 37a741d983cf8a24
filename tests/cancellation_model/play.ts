/**
 * Runs a tree as a program, in one of the styles, with a judge beside it.
 *
 * @module
 */
import {
  allTasks,
  type Coroutine,
  currentTask,
  MisuseError,
  sleep,
  TaskGroupError,
  TimeoutError,
  wait,
} from "../../mod.ts";
import { performLater } from "./acts.ts";
import { Boom, TaskRecord } from "./places.ts";
import { Program } from "./program.ts";
import type { Style } from "./style.ts";
import type { Tree } from "./tree.ts";

/** When everything that somebody still waits for comes. */
const HORIZON_MS = 60;
/** In real time, of which a program takes next to nothing. */
const GUARD_MS = 1_000;

/** What came of one run. */
export interface Outcome {
  readonly violations: readonly string[];
  /** How each task and block ended, if the styles must agree on that; else null. */
  readonly ends: ReadonlyMap<string, string> | null;
}

/** Runs a tree; never throws. */
export async function play(tree: Tree, style: Style): Promise<Outcome> {
  const program = new Program(tree, style);
  const { judge } = program;
  const reported = watchReports(program);
  let timer: ReturnType<typeof setTimeout> | undefined;
  const guard = new Promise<"hangs">((resolve) => {
    timer = setTimeout(resolve, GUARD_MS, "hangs");
  });
  try {
    const ended = await Promise.race([runToEnd(program), guard]);
    if (ended === "hangs") {
      judge.say("the program hangs");
      program.shared.over = true;
      program.loop.stop();
      return { violations: judge.violations, ends: null };
    }
    judge.finish();
    program.shared.count((what) => judge.say(what));
    if (new Set(reported).size !== reported.length) {
      judge.say("an error was reported twice");
    }
    await Promise.race([program.loop.close(), guard]);
  } catch (error) {
    judge.say(
      `the program ended with ${error instanceof Error ? error.stack : error}`,
    );
  } finally {
    clearTimeout(timer);
  }
  const comparable = tree.distinct && !judge.isTied();
  return {
    violations: judge.violations,
    ends: comparable ? program.ends : null,
  };
}

async function runToEnd(program: Program): Promise<void> {
  const { loop } = program;
  await loop.runUntilComplete(loop.createTask(() => main(program)));
}

/** Starts the program, and waits until every task of it has ended. */
function* main(program: Program): Coroutine<void> {
  const { loop, judge, shared, tree } = program;
  program.start(
    new TaskRecord("main", null),
    tree.body,
    [],
    (body) => loop.createTask(body, { name: "main" }),
  );
  for (const act of tree.acts) {
    loop.callAt(act.atMs, () => performLater(program, act));
  }
  loop.callAt(HORIZON_MS, () => shared.release(loop));
  for (;;) {
    const unfinished = judge.tasks.flatMap(({ task }) =>
      task === null || task.done() ? [] : [task]
    );
    if (unfinished.length === 0) break;
    yield* wait(unfinished);
  }
  shared.over = true;
  for (const task of allTasks(loop)) {
    if (task !== currentTask()) task.cancel(); // as the end of a run does
  }
  yield* sleep(20); // the notifier ends; what should have been let go of would show
}

/** Has the judge look at what the exception handler is told; returns the failures among that. */
function watchReports({ loop, judge, shared }: Program): readonly unknown[] {
  const failures: unknown[] = [];
  loop.setExceptionHandler((_, { message, exception }) => {
    if (exception instanceof Boom) failures.push(exception);
    // A failure that nobody was there for any more is what the handler is for.
    if (isFailure(exception)) return;
    // So are operations that are begun when their task has ended.
    if (message.includes('"await ')) return;
    // A function that `until` has given up may go on when its loop runs no more,
    // and its next operation then says so: that is nobody's but the handler's.
    if (shared.over && isNoLoop(exception)) return;
    judge.say(`the exception handler was told "${message}": ${exception}`);
  });
  return failures;
}

/** Whether an error says that an operation was awaited where no loop runs. */
function isNoLoop(error: unknown): boolean {
  return error instanceof MisuseError &&
    error.message.startsWith("Cannot get the running loop");
}

/** Whether an error is what a program fails with, and not a cancellation or a mistake. */
function isFailure(error: unknown): boolean {
  if (error instanceof SuppressedError) {
    return isFailure(error.error) || isFailure(error.suppressed);
  }
  return error instanceof Boom || error instanceof TimeoutError ||
    error instanceof TaskGroupError;
}
