/**
 * Name of the function that a thread calls for the main function of a worker loop.
 *
 * @module
 */
import type { TaskRef } from "../workers/module_task.ts";

/** The function. */
export const WORKER_MAIN: TaskRef = Object.freeze({
  module: import.meta.resolve("./worker_loop_entry.ts"),
  name: "runWorkerMain",
});

/** Puts the module into the module graph, so that registries and caches have it. Never called. */
export const loadWorkerMain = (): Promise<unknown> =>
  import("./worker_loop_entry.ts");
