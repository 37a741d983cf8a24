/**
 * Threads of the runtime, by `node:worker_threads`: only they tell their end, can be stopped while they are busy, and do
 * not hold the process.
 *
 * The module is loaded on first use, as it takes some ten milliseconds.
 *
 * @module
 */
import type * as NodeThreads from "node:worker_threads";

/** End of a pair of message ports without listeners: messages stay in it until they are taken out. */
export interface Mail {
  /** Posts a structured clone of `message`. Throws a `DataCloneError` if there is none; nothing was posted then. */
  post(message: unknown, transfer: readonly Transferable[]): void;
  /** Takes the oldest message out. Throws if there is none. */
  take(): unknown;
  /** Closes both ends. */
  close(): void;
}

/** Limits of the memory of a thread, in megabytes. */
export interface ThreadResourceLimits {
  /** The most that long-lived objects take. With less than 8 the runtime may end the whole process. */
  readonly maxOldGenerationSizeMb?: number | undefined;
  /** The most that young objects take. */
  readonly maxYoungGenerationSizeMb?: number | undefined;
  /** Memory for compiled code. With some millions the runtime ends the whole process. */
  readonly codeRangeSizeMb?: number | undefined;
  /** The size of the stack. */
  readonly stackSizeMb?: number | undefined;
}

/** Settings of a thread. */
export interface ThreadSettings {
  /** Name of the thread. */
  readonly name: string;
  /** Environment variables that `process.env` shows in the thread; those of this thread, unless given. */
  readonly env?: Readonly<Record<string, string>> | undefined;
  /** Limits of its memory. */
  readonly resourceLimits?: ThreadResourceLimits | undefined;
  /** Data that {@linkcode Threads.inside} hands to the script, as a structured clone. */
  readonly data: Readonly<Record<string, unknown>>;
  /** Objects in the data that move to the thread. */
  readonly transfer?: readonly Transferable[] | undefined;
}

/** Told what becomes of a thread. */
export interface ThreadListener {
  /** The script could not be loaded, threw, or the memory was not enough. The end follows. */
  failed(error: unknown): void;
  /** The thread sent a message by itself. */
  messaged(message: unknown): void;
  /** The thread has ended, or is stuck in native code and ends when that returns. */
  ended(exitCode: number): void;
}

/** A thread that was started. */
export interface Thread {
  /** The starter's end of the post; the thread has the other one. */
  readonly mail: Mail;
  /** Ends the thread, whatever JavaScript it runs, if it holds a lock; before its script runs, the process may die of it. */
  terminate(): void;
}

/** A thread, as its script sees it. */
export interface OwnThread {
  /** The thread's end of the post. */
  readonly mail: Mail;
  /** The data of its settings. */
  readonly data: Readonly<Record<string, unknown>>;
}

/** Starting of threads. */
export interface Threads {
  /**
   * Starts a thread, which does not keep the process alive. Throws if the runtime refuses.
   *
   * @param script URL of the script: `file:` or `https:`.
   */
  start(
    script: string,
    settings: ThreadSettings,
    listener: ThreadListener,
  ): Thread;
  /** The thread that this is, if `script` has started it as that; else null. */
  inside(script: string): OwnThread | null;
}

/** The keys under which a thread gets what it needs. */
interface StartData {
  readonly script: string;
  readonly port: NodeThreads.MessagePort;
  readonly data: Readonly<Record<string, unknown>>;
}

type NodeModule = typeof NodeThreads;

/** Loads what starts threads. */
export async function loadThreads(): Promise<Threads> {
  const node = await import("node:worker_threads");
  return {
    start: (script, settings, listener) =>
      startThread(node, script, settings, listener),
    inside: (script) => {
      const { workerData } = node;
      if (!isStartData(workerData) || workerData.script !== script) return null;
      return { mail: mailOf(node, workerData.port), data: workerData.data };
    },
  };
}

function isStartData(data: unknown): data is StartData {
  return typeof data === "object" && data !== null && "script" in data &&
    "port" in data && "data" in data;
}

function startThread(
  node: NodeModule,
  script: string,
  { name, env, resourceLimits, data, transfer = [] }: ThreadSettings,
  listener: ThreadListener,
): Thread {
  const { port1, port2 } = new node.MessageChannel();
  const startData: StartData = { script, port: port2, data };
  const worker = new node.Worker(sourceOf(script), {
    name,
    workerData: startData,
    transferList: [port2, ...transfer as NodeThreads.Transferable[]],
    ...(env !== undefined && { env: { ...env } }),
    ...(resourceLimits !== undefined && { resourceLimits }),
  });
  worker.unref();
  worker.on("error", (error) => listener.failed(error));
  worker.on("message", (message) => listener.messaged(message));
  worker.on("messageerror", (error) => listener.messaged(error));
  worker.on("exit", (exitCode) => listener.ended(exitCode));
  return {
    mail: mailOf(node, port1),
    terminate: () => {
      worker.terminate();
    },
  };
}

/** Returns the URL that a thread can be started with: it takes none of `https:`, but a module that imports it. */
function sourceOf(script: string): URL {
  if (script.startsWith("file:")) return new URL(script);
  const code = `import ${JSON.stringify(script)};`;
  return new URL(`data:text/javascript,${encodeURIComponent(code)}`);
}

function mailOf(node: NodeModule, port: NodeThreads.MessagePort): Mail {
  return {
    post: (message, transfer) =>
      port.postMessage(message, transfer as NodeThreads.Transferable[]),
    take: () => {
      const mail = node.receiveMessageOnPort(port);
      if (mail === undefined) {
        throw new RangeError("Cannot take a message: there is none");
      }
      return mail.message;
    },
    close: () => port.close(),
  };
}
