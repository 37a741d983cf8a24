/**
 * Script of the threads of a pool. Elsewhere it does nothing.
 *
 * @module
 */
import { autoHost } from "../host/auto_host.ts";
import { loadThreads } from "../host/thread.ts";
import { ThreadWorker } from "./thread_worker.ts";

const { inside } = await loadThreads();
const thread = inside(import.meta.url);
if (thread !== null) {
  autoHost.mayBeNative = false;
  new ThreadWorker(thread).run();
}
