/**
 * Script of a thread that is not ready before somebody lets it.
 *
 * @module
 */
import { loadThreads } from "../../../src/host/thread.ts";
import { ThreadWorker } from "../../../src/workers/thread_worker.ts";

const { inside } = await loadThreads();
const thread = inside(import.meta.url);
if (thread !== null) {
  const gate = new Int32Array(thread.data["gate"] as SharedArrayBuffer);
  const timer = setInterval(() => {
    if (Atomics.load(gate, 0) === 0) return;
    clearInterval(timer);
    new ThreadWorker(thread).run();
  }, 5);
}
