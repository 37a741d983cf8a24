/**
 * Programs that are looked into while they run, are blocked or suspended; each by its name in the environment.
 *
 * @module
 */
import { createTask, Lock, run, sleep, Watchdog } from "../../../mod.ts";
import { dumpTasks, LagMonitor } from "../../../src/observe/mod.ts";

const say = (text: string) => console.log(text);

/** Waits until `isTrue` is. */
async function when(isTrue: () => boolean): Promise<void> {
  while (!isTrue()) await sleep(10);
}

const SCENES: Record<string, () => Promise<unknown>> = {
  /** Busy in generators and async functions, while the signal asks for the tasks. */
  dump: () =>
    run(async () => {
      using _dump = dumpTasks({ write: (text) => say(`${text}\nend of tree`) });
      const lock = new Lock();
      createTask(function* holder() {
        using _permit = yield* lock.acquire();
        for (;;) yield* sleep(0);
      }, { name: "holder" });
      createTask(function* waiter() {
        yield* lock.acquire();
      }, { name: "waiter" });
      createTask(async () => {
        for (;;) await sleep(0);
      }, { name: "busy" });
      await sleep(50);
      say("ready");
      await sleep(1e9);
    }, { name: "main" }),

  /** A task that spins for good, under the watchdog that the monitor brings. */
  spin: () =>
    run(async () => {
      const monitor = new LagMonitor({ thresholdMs: 200, watchdog: true });
      await Watchdog.current!.ready();
      createTask(function* () {
        yield* sleep(10);
        for (;;);
      }, { name: "spinner" });
      await sleep(1e9);
      await monitor.close();
    }),

  /** Stopped for two seconds; with WATCHDOG also watched by a thread. */
  suspended: () =>
    run(async () => {
      const watchdog = Deno.env.get("WATCHDOG") === "1";
      const told: string[] = [];
      const monitor = new LagMonitor({
        thresholdMs: 500,
        watchdog,
        onLag: ({ kind, lagMs, culprit }) =>
          told.push(`${kind} ${lagMs > 1_000} ${culprit}`),
      });
      await Watchdog.current?.ready();
      await sleep(200);
      say("ready");
      await when(() => told.length > 0);
      const { max, suspendedTotal } = monitor.snapshot();
      say(`${told} ${max < 500} ${suspendedTotal > 1_000}`);
      await monitor.close();
    }),

  /** A read that waits in native code, without using the processor. */
  read: () =>
    run(async () => {
      const watchdog = Deno.env.get("WATCHDOG") === "1";
      const told: string[] = [];
      const monitor = new LagMonitor({
        thresholdMs: 200,
        watchdog,
        onLag: ({ kind, culprit }) => told.push(`${kind} ${culprit}`),
      });
      await Watchdog.current?.ready();
      await sleep(200);
      const reader = createTask(function* () {
        yield* sleep(0);
        say("ready");
        Deno.stdin.readSync(new Uint8Array(1));
      }, { name: "reader" });
      await reader;
      await when(() => told.length > 0);
      say(String(told));
      await monitor.close();
    }),
};

await SCENES[Deno.env.get("SCENE") ?? ""]!();
