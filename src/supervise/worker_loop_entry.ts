/**
 * The thread's side of a worker loop: loads its main function and runs it.
 *
 * @module
 */
import { ExecutorShutDownError, MisuseError } from "../errors.ts";
import { getRunningLoop } from "../loop/current.ts";
import type { Coroutine, TaskBody } from "../loop/task_body.ts";
import { until } from "../loop/until.ts";
import type { LoopHandle } from "../workers/loop_handle.ts";
import { ModuleLoader } from "../workers/module_loader.ts";
import type { TaskRef } from "../workers/module_task.ts";
import type { WorkerLoopContext } from "./worker_loop.ts";
import type { WorkerLoopOwner } from "./worker_loop_run.ts";

/** The worker loop of this thread. */
class OwnWorkerLoop implements WorkerLoopContext {
  readonly path: string;
  readonly #owner: LoopHandle<WorkerLoopOwner>;
  #hasStarted = false;

  constructor(path: string, owner: LoopHandle<WorkerLoopOwner>) {
    this.path = path;
    this.#owner = owner;
  }

  get hasStarted(): boolean {
    return this.#hasStarted;
  }

  started(value?: unknown): void {
    if (this.#hasStarted) {
      throw new MisuseError(
        `Cannot say that worker loop "${this.path}" has started: it has said so before`,
      );
    }
    this.#owner.post("started", value);
    this.#hasStarted = true;
  }

  heartbeat(): void {
    // Of a supervisor that has gone nothing is wanted any more.
    if (!this.#owner.closed) this.#owner.post("beaten");
  }
}

/**
 * Runs a worker loop.
 *
 * @param task The main function.
 * @param path Path of the child.
 * @param owner Functions of the supervisor's side.
 * @param args Arguments of the main function after the first.
 */
export function* runWorkerMain(
  task: TaskRef,
  path: string,
  owner: LoopHandle<WorkerLoopOwner>,
  ...args: readonly unknown[]
): Coroutine<void> {
  const main = yield* until(new ModuleLoader().load(task));
  const worker = new OwnWorkerLoop(path, owner);
  const body: TaskBody<unknown> = () =>
    main(worker, ...args) as Coroutine<unknown>;
  const running = getRunningLoop().createTask(body, {
    name: path,
    eager: true,
  });
  if (main.length === 0 && !running.failed() && !worker.hasStarted) {
    worker.started();
  }
  try {
    yield* running;
    if (!worker.hasStarted) throw neverStarted(path);
  } finally {
    yield* untilHeard(owner);
  }
}

function neverStarted(path: string): MisuseError {
  return new MisuseError(
    `Cannot start worker loop "${path}": it ended without calling started()`,
  );
}

/** Waits until `started` has arrived, which goes another way than the end. */
function* untilHeard(owner: LoopHandle<WorkerLoopOwner>): Coroutine<void> {
  try {
    yield* owner.call("sync");
  } catch (error) {
    // The supervisor's loop has ended, and hears nothing any more.
    if (!(error instanceof ExecutorShutDownError)) throw error;
  }
}
