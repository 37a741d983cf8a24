/**
 * Task trees written out: now, or whenever the process gets a signal.
 *
 * @module
 */
import { detached } from "../host/microtask.ts";
import { writeError } from "../host/process.ts";
import { onSignal } from "../host/signals.ts";
import { checkFunction } from "../loop/checks.ts";
import { runningLoops } from "../loop/current.ts";
import type { EventLoop } from "../loop/event_loop.ts";
import {
  checkTreeOptions,
  locateTasks,
  type TaskTreeOptions,
} from "./task_tree.ts";

/** Options of {@linkcode printTaskTree}. */
export interface PrintTaskTreeOptions extends TaskTreeOptions {
  /**
   * Where the text goes.
   *
   * @default {standard error}
   */
  readonly write?: ((text: string) => void) | undefined;
}

/**
 * Writes the tasks of a loop, who waits for whom, where and since when, and the
 * deadlocks: what {@linkcode locateTasks} finds, as text.
 *
 * @example
 * ```ts
 * import { createTask, printTaskTree, run, sleep } from "@rota/rota";
 * import { assertStringIncludes } from "@std/assert";
 *
 * let text = "";
 * await run(async () => {
 *   const sleeper = createTask(() => sleep(1_000), { name: "sleeper" });
 *   await sleep(1);
 *   await printTaskTree({ write: (tree) => text = tree });
 *   sleeper.cancel();
 * }, { name: "main" });
 * assertStringIncludes(text, "waits for sleep");
 * ```
 *
 * @param options The loop, how many tasks are listed, and where to write.
 * @returns A promise that resolves once it is written; it rejects with the error
 * that `write` throws.
 * @throws {TypeError} If an option is of the wrong type.
 * @throws {RangeError} If `tasksMax` is negative or no integer.
 */
export function printTaskTree(
  options: PrintTaskTreeOptions = {},
): Promise<void> {
  const what = "print a task tree";
  checkTreeOptions(options, what);
  const { write = writeError, ...which } = options;
  checkFunction(write, what, "write");
  return locateTasks(which).then((tree) => write(String(tree)));
}

/** Options of {@linkcode dumpTasks}. */
export interface DumpTasksOptions extends PrintTaskTreeOptions {
  /**
   * The signal. `SIGUSR1` is the runtime's own: it opens the inspector.
   *
   * @default {"SIGUSR2"}
   */
  readonly on?: Deno.Signal | undefined;
  /**
   * The loop.
   *
   * @default {all loops of this thread that run when the signal comes}
   */
  readonly loop?: EventLoop | undefined;
}

/**
 * Writes the task trees of running loops whenever the process gets a signal:
 * `kill -USR2` tells what a program waits for that seems to stand still.
 *
 * A loop that is busy writes as well: the signal comes through at the next pause that
 * the loop makes for the runtime, about every millisecond. A thread that is blocked
 * cannot; {@linkcode Watchdog} tells of that. Signals that come while trees are being
 * written count as one. Failures are written to standard error. Does not keep
 * the process alive.
 *
 * @example
 * ```ts no-assert
 * import { dumpTasks, run, sleep } from "@rota/rota";
 *
 * using _dump = dumpTasks();
 * await run(() => sleep(10));
 * ```
 *
 * @param options The signal, and what is written where.
 * @returns The subscription: dispose of it to end it. Without a listener the signal
 * ends the process, as it does by default.
 * @throws {TypeError} If an option is of the wrong type, or the signal cannot be handled.
 * @throws {RangeError} If `tasksMax` is negative or no integer.
 */
export function dumpTasks(options: DumpTasksOptions = {}): Disposable {
  const what = "dump tasks";
  checkTreeOptions(options, what);
  const { on = "SIGUSR2", write = writeError, tasksMax } = options;
  checkFunction(write, what, "write");
  let writing = false;
  let asked = false;
  const dump = async () => {
    for (; asked; writing = false) {
      asked = false;
      writing = true;
      const loops = options.loop === undefined ? runningLoops : [options.loop];
      for (const loop of [...loops]) {
        await printTaskTree({ loop, tasksMax, write }).catch(failed);
      }
    }
  };
  const remove = onSignal(on, () => {
    asked = true;
    // The task that has called dumpTasks() is not the one that runs now.
    if (!writing) detached(dump);
  }, failed);
  return { [Symbol.dispose]: remove };
}

function failed(error: unknown): void {
  writeError(`rota: cannot dump the tasks: ${error}`);
}
