/**
 * The default executor of loops: a pool of threads. Loading this module is what
 * makes `runInExecutor(null, …)` have one.
 *
 * @module
 */
import { provideDefaultExecutor } from "../loop/default_executor.ts";
import { ThreadPool } from "./thread_pool.ts";

provideDefaultExecutor(() => new ThreadPool({ name: "default" }));
