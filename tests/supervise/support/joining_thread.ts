/**
 * Script of a thread that a test has started itself, by `Worker` or by `node:worker_threads`: does what it is told.
 *
 * @module
 */
import { parentPort } from "node:worker_threads";
import { newEventLoop } from "../../../src/loop/mod.ts";
import { joinWatchdog } from "../../../src/supervise/join_watchdog.ts";
import { Watchdog } from "../../../src/supervise/watchdog.ts";
import { spin } from "./watched_jobs.ts";

/** Request to the thread. */
export interface ThreadRequest {
  readonly kind: "join" | "spin" | "own" | "rejoin" | "end";
  readonly port?: MessagePort;
  readonly ms?: number;
  readonly name?: string;
  readonly blockMs?: number;
}

const answer = (value: unknown, transfer: Transferable[] = []): void => {
  if (parentPort !== null) parentPort.postMessage(value, transfer as never[]);
  else {
    (self as unknown as MessagePort).postMessage(value, transfer);
  }
};

async function serve(
  { kind, port, ms = 0, name, blockMs }: ThreadRequest,
): Promise<void> {
  switch (kind) {
    case "join": {
      const membership = joinWatchdog(port!, { name, blockMs });
      await membership.ready();
      answer("joined");
      while (!membership.closed) {
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
      answer("left");
      return;
    }
    case "spin": {
      const loop = newEventLoop({ host: "portable" });
      await loop.runUntilComplete(
        loop.createTask(function* () {
          spin(ms);
        }, { name: "spinner" }),
      );
      return answer("spun");
    }
    case "own": {
      const watchdog = new Watchdog({ write: false });
      await watchdog.ready();
      const share = watchdog.share();
      return answer(share, [share]);
    }
    case "rejoin":
      try {
        joinWatchdog(port!);
      } catch (error) {
        answer(`${error}`);
      }
      return;
    case "end":
      if (parentPort !== null) Deno.exit();
      self.close();
  }
}

if (parentPort !== null) parentPort.on("message", serve);
else if ("onmessage" in self) {
  self.onmessage = ({ data }: MessageEvent<ThreadRequest>) => serve(data);
}
