/**
 * Starts threads for tests of loop handles.
 *
 * @module
 */
import { Worker as NodeWorker } from "node:worker_threads";
import type { HostChoice } from "../../../mod.ts";
import { LoopHandle } from "../../../src/workers/loop_handle.ts";
import type { ThreadFunctions, ThreadSetup } from "./thread.ts";

/** A thread with a loop of its own. */
export interface TestThread extends AsyncDisposable {
  readonly handle: LoopHandle<ThreadFunctions>;
  /** Ends the thread from outside. */
  terminate(): Promise<void>;
}

/** How a thread is started. */
export interface ThreadOptions {
  /** `"portable"` by default. */
  readonly host?: HostChoice;
  /** A web worker by default. */
  readonly kind?: "web" | "node";
}

const SCRIPT = new URL("./thread.ts", import.meta.url);

/** Starts a thread and waits until its loop runs. */
export async function startThread(
  options: ThreadOptions = {},
): Promise<TestThread> {
  const { host = "portable", kind = "web" } = options;
  const setup: ThreadSetup = { host, killable: kind === "node" };
  const [value, terminate] = kind === "web"
    ? await startWeb(setup)
    : await startNode(setup);
  const handle = LoopHandle.receive<ThreadFunctions>(value);
  return {
    handle,
    terminate,
    async [Symbol.asyncDispose]() {
      handle.close();
      await terminate();
    },
  };
}

type Started = [value: unknown, terminate: () => Promise<void>];

function startWeb(setup: ThreadSetup): Promise<Started> {
  const worker = new Worker(SCRIPT, { type: "module" });
  // A crash is expected, and would end this process.
  worker.onerror = (event) => event.preventDefault();
  return new Promise((resolve) => {
    worker.onmessage = ({ data }) => {
      worker.onmessage = null;
      resolve([data, () => {
        worker.terminate();
        return Promise.resolve();
      }]);
    };
    worker.postMessage(setup);
  });
}

function startNode(setup: ThreadSetup): Promise<Started> {
  const worker = new NodeWorker(SCRIPT);
  worker.on("error", () => {}); // the same
  return new Promise((resolve) => {
    worker.once("message", (data: unknown) => {
      resolve([data, async () => void await worker.terminate()]);
    });
    worker.postMessage(setup);
  });
}
