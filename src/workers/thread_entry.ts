/**
 * Script of the threads of a pool. Elsewhere it does nothing.
 *
 * @module
 */
import { autoHost } from "../host/auto_host.ts";
import { writeError } from "../host/process.ts";
import { loadThreads } from "../host/thread.ts";
import type { WatchShare } from "../loop/step_watch.ts";
import { ThreadWorker } from "./thread_worker.ts";

/** Has the watchdog of the starter watch this thread as well, before it runs anything. */
async function joinWatchdog(share: WatchShare | null): Promise<void> {
  if (share === null) return;
  try {
    const { joinStarted } = await import(share.module);
    joinStarted(share);
  } catch (error) {
    writeError(`rota: thread "${share.name}" is not watched: ${error}`);
  }
}

const { inside } = await loadThreads();
const thread = inside(import.meta.url);
if (thread !== null) {
  autoHost.mayBeNative = false;
  await joinWatchdog(thread.data.watch as WatchShare | null);
  new ThreadWorker(thread).run();
}
