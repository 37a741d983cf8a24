/**
 * `TaskGroup.start()`: creates a task and waits until it says that it has started.
 *
 * @module
 */
import { MisuseError } from "../errors.ts";
import {
  type CancelRequest,
  isCancellation,
  type RequestsGo,
} from "../loop/cancellation.ts";
import { getRunningLoop } from "../loop/current.ts";
import { Future } from "../loop/future.ts";
import type { WaitOptions } from "../loop/operation.ts";
import { subscribe } from "../loop/signal_hub.ts";
import type { Coroutine } from "../loop/task_body.ts";
import type { Task, TaskOptions } from "../loop/task.ts";
import type { GroupRun } from "./group_run.ts";
import { lenderFor, lending } from "./lending.ts";
import { release } from "./watch.ts";

/** Options of {@linkcode TaskGroup.start}. */
export interface StartOptions extends TaskOptions, WaitOptions {}

/** The body of a task that is called with a function to say that it has started. */
type StartBody<V> = (started: (value: V) => void) => unknown;

/** Creates a task, and waits until it has said that it has started, or has ended. */
export function* startTask<V>(
  run: GroupRun,
  body: StartBody<V>,
  options: StartOptions,
): Coroutine<V> {
  const { signal, ...taskOptions } = options;
  signal?.throwIfAborted();
  const future = new Future<V>(getRunningLoop(), "a task to have started");
  const started = startedInto(future);
  const task = run.createTask<unknown>(
    () => body(started) as Coroutine<unknown>,
    taskOptions,
  );
  run.enterStarting(task, future as Future<unknown>);
  const subscription = signal === undefined
    ? null
    : subscribe(signal, () => task.cancel(signal.reason));
  try {
    const lender = lenderFor([task]);
    const waiting = untilStarted(run, task, future);
    return yield* lender === null ? waiting : lending(lender, waiting);
  } catch (error) {
    if (signal?.aborted && isCancellation(error)) throw signal.reason;
    throw error;
  } finally {
    subscription?.unsubscribe();
    run.leaveStarting(task);
  }
}

/** Returns the function by which a task says, once, that it has started. */
function startedInto<V>(future: Future<V>): (value: V) => void {
  let handedOver = false;
  return (value) => {
    if (handedOver) {
      throw new MisuseError(
        "Cannot say that a task has started: it has said so before",
      );
    }
    handedOver = true;
    if (!future.done()) future.setResult(value);
  };
}

/** Waits; if that is cancelled, cancels the task and waits for its end. */
function* untilStarted<V>(
  run: GroupRun,
  task: Task<unknown>,
  future: Future<V>,
): Coroutine<V> {
  try {
    return yield* future;
  } catch (error) {
    if (future.done() && !future.cancelled()) throw error;
    run.leaveStarting(task); // a failure of it is the group's now
    task.cancel();
    yield* untilEnded(task);
    throw error;
  }
}

/** Waits for the end of a task, whatever happens meanwhile. */
function* untilEnded(task: Task<unknown>): Coroutine<void> {
  if (task.done()) return;
  const future = new EndFuture(task.loop, `the end of "${task.name}"`);
  task.addDoneCallback(() => release(future));
  yield* future;
}

/** The end of a task that is being cancelled already: further requests stay due until then. */
class EndFuture extends Future<void> {
  override requestsGo(_request: CancelRequest): RequestsGo {
    return "after";
  }

  override cancel(): boolean {
    return false;
  }
}
