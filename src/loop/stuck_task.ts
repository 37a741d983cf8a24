/**
 * Report of a task that was cancelled and does not react.
 *
 * @module
 */
import { core } from "./core.ts";
import type { EventLoop } from "./event_loop.ts";
import type { Task } from "./task.ts";
import type { TimerHandle } from "./timer_handle.ts";

/**
 * Has the exception handler told if a cancelled task has not reacted after
 * `afterMs`: it waits for something that the loop cannot interrupt.
 *
 * @returns The timer, to be cancelled when the task reacts.
 */
export function warnOfStuckTask(
  loop: EventLoop,
  task: Task<unknown>,
  afterMs: number,
): TimerHandle {
  const timer = loop.callLater(afterMs, () => {
    loop.callExceptionHandler({
      message:
        `Task "${task.name}" was cancelled ${afterMs} ms ago and has not ` +
        "reacted: it waits outside the loop, hand task.signal to what it waits for",
      task,
      name: task.name,
      ...loop[core].debug.creationOf(task),
    });
  });
  timer.unref();
  return timer;
}
