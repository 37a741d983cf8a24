/**
 * A thread for tests of loop handles: runs a loop of its own, and offers functions on it by a handle. Works as a web
 * worker and as one of `node:worker_threads`.
 *
 * @module
 */
import { parentPort } from "node:worker_threads";
import { getRunningLoop, type HostChoice, run, sleep } from "../../../mod.ts";
import { LoopHandle } from "../../../src/workers/loop_handle.ts";

/** First message to the thread. */
export interface ThreadSetup {
  readonly host: HostChoice;
  /** Holds a web lock, without which the runtime cannot kill a busy thread. */
  readonly killable: boolean;
}

/** Functions of the thread. */
export interface ThreadFunctions {
  echo(value?: unknown): unknown;
  echoAsync(value: unknown): unknown;
  echoGenerator(value: unknown): unknown;
  fail(): never;
  failAsync(): never;
  failGenerator(): never;
  uncloneable(): unknown;
  /** Waits for ever, and notes in the log how it ended. */
  wait(label: string): void;
  waitGenerator(label: string): void;
  /** Notes `value` in the log, in the turn in which it is called. */
  note(value: unknown): void;
  log(): unknown[];
  /** Calls a function of another handle, and closes that handle. */
  relay(to: LoopHandle, name: string, ...args: unknown[]): unknown;
  relayGenerator(to: LoopHandle, name: string, ...args: unknown[]): unknown;
  /** Keeps a handle for `callKept`. */
  keep(other: LoopHandle): void;
  callKept(name: string, value: unknown): unknown;
  /** Returns a handle of this thread's loop. */
  self(): LoopHandle<ThreadFunctions>;
  time(): number;
  hostName(): string;
  /** What the exception handler was told. */
  reports(): string[];
  /** Keeps the loop busy with callbacks until `idle` is called; each counts in `turns`. */
  busy(): void;
  idle(): number;
  /** Blocks the thread for ever. */
  spin(): void;
  exit(): void;
  crash(): void;
  /** Closes the handle and ends the run, with the calls that are under way. */
  stop(): void;
}

function* fail(): Generator<never, never> {
  throw Object.assign(new RangeError("out of range"), { code: 42 });
}

async function main(
  setup: ThreadSetup,
  post: (value: unknown, transfer: Transferable[]) => void,
): Promise<void> {
  if (setup.killable) {
    const { locks } = navigator as unknown as {
      locks: { request(name: string, held: () => unknown): unknown };
    };
    locks.request(`test-${crypto.randomUUID()}`, () => new Promise(() => {}));
  }
  await run(async () => {
    const handle = new LoopHandle<ThreadFunctions>();
    offer(handle);
    const { value, transfer } = handle.transferable();
    post(value, transfer);
    await handle.serve();
  }, { host: setup.host });
  globalThis.close();
}

function offer(handle: LoopHandle<ThreadFunctions>): void {
  const loop = getRunningLoop();
  const log: unknown[] = [];
  const reports: string[] = [];
  loop.setExceptionHandler((_, { message, exception }) => {
    reports.push(`${message}: ${exception}`);
  });
  let kept: LoopHandle | null = null;
  let busy = false;
  let turns = 0;

  handle.register("echo", (value) => value);
  handle.register("echoAsync", async (value) => {
    await sleep(0);
    return value;
  });
  handle.register("echoGenerator", function* (value) {
    yield* sleep(0);
    return value;
  });
  handle.register("fail", () => fail().next() as never);
  handle.register("failAsync", async () => {
    await sleep(0);
    return fail().next() as never;
  });
  handle.register("failGenerator", function* () {
    yield* sleep(0);
    return fail().next() as never;
  });
  handle.register("uncloneable", () => () => {});
  handle.register("wait", async (label) => {
    try {
      await sleep(Infinity);
    } catch (error) {
      log.push(`${label}: ${error}`);
      throw error;
    }
  });
  handle.register("waitGenerator", function* (label) {
    try {
      yield* sleep(Infinity);
    } catch (error) {
      log.push(`${label}: ${error}`);
      throw error;
    }
  });
  handle.register("note", (value) => void log.push(value));
  handle.register("log", () => log.splice(0));
  handle.register(
    "relay",
    async (to, name, ...args) => {
      const result = await to.call(name, ...args);
      to.close();
      return result;
    },
  );
  handle.register("relayGenerator", function* (to, name, ...args) {
    const result = yield* to.call(name, ...args);
    to.close();
    return result;
  });
  handle.register("keep", (other) => {
    kept?.close();
    kept = other;
  });
  handle.register("callKept", (name, value) => kept!.call(name, value));
  handle.register("self", () => handle);
  handle.register("time", () => loop.time());
  handle.register("hostName", () => loop.stats().host);
  handle.register("reports", () => reports.splice(0));
  const turn = () => {
    turns++;
    if (busy) loop.callSoon(turn);
  };
  handle.register("busy", () => {
    busy = true;
    loop.callSoon(turn);
  });
  handle.register("idle", () => {
    busy = false;
    return turns;
  });
  handle.register("spin", () => {
    for (;;);
  });
  handle.register("exit", () => Deno.exit(3));
  handle.register("crash", () => {
    setTimeout(() => {
      throw new Error("crash of a test");
    });
  });
  handle.register("stop", () => handle.close());
}

if (parentPort !== null) {
  const port = parentPort;
  port.once("message", (setup: ThreadSetup) => {
    main(
      setup,
      (value, transfer) => port.postMessage(value, transfer as never),
    );
  });
} else {
  const scope = globalThis as unknown as {
    postMessage(value: unknown, transfer: Transferable[]): void;
  };
  addEventListener("message", (event) => {
    const { data } = event as MessageEvent<ThreadSetup>;
    main(data, (value, transfer) => scope.postMessage(value, transfer));
  }, { once: true });
}
