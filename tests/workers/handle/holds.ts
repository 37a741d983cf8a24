/**
 * Program for tests: what open handles hold. Its argument says which.
 *
 * @module
 */
import { Worker as NodeWorker } from "node:worker_threads";
import { EventLoop, run, sleep } from "../../../mod.ts";
import { LoopHandle } from "../../../src/workers/loop_handle.ts";

/** A thread that does not keep the process alive, and answers slowly. */
const SCRIPT = `
  import { parentPort } from "node:worker_threads";
  import { run, sleep } from "${import.meta.resolve("../../../mod.ts")}";
  import { LoopHandle } from "${
  import.meta.resolve("../../../src/workers/loop_handle.ts")
}";
  await run(async () => {
    const handle = new LoopHandle();
    handle.register("late", () => sleep(100, { value: "late" }));
    const { value, transfer } = handle.transferable();
    parentPort.postMessage(value, transfer);
    await handle.serve();
  }, { host: "portable" });
`;

async function startUnreferenced(): Promise<LoopHandle> {
  const worker = new NodeWorker(
    new URL(`data:text/javascript,${encodeURIComponent(SCRIPT)}`),
  );
  const value = await new Promise((resolve) => worker.once("message", resolve));
  worker.unref();
  return LoopHandle.receive(value);
}

/** Descriptions of this thread's message ports. */
function countPorts(): number {
  const { core } = (Deno as unknown as {
    [internal: symbol]: {
      core: { resources(): Record<string, string> };
    };
  })[(Deno as unknown as { internal: symbol }).internal]!;
  return Object.values(core.resources())
    .filter((name) => name === "messagePort").length;
}

async function collect(): Promise<void> {
  const { gc } = globalThis as unknown as { gc(): void };
  for (let i = 0; i < 20; i++) {
    gc();
    await sleep(5);
  }
}

const programs: Record<string, () => Promise<void>> = {
  /** Handles of this thread and of another one are left open. */
  async idle() {
    const owner = new LoopHandle({ loop: new EventLoop({ host: "portable" }) });
    LoopHandle.receive(owner.transferable().value);
    owner.transferable(); // never sent
    const other = await startUnreferenced();
    await run(async () => console.log(await other.call("late")), {
      host: "portable",
    });
  },

  /** Nothing but a call holds the process. */
  async call() {
    const other = await startUnreferenced();
    for (const host of ["portable", "native"] as const) {
      await run(async () => console.log(await other.call("late")), { host });
      await run(function* () {
        console.log(yield* other.call("late"));
      }, { host });
    }
  },

  /** Received handles are thrown away, one of them with a call under way. */
  async collected() {
    await run(async () => {
      const before = countPorts();
      const owner = new LoopHandle();
      let ended = 0;
      owner.register("ping", () => 1);
      owner.register("slow", () => sleep(200, { value: "slow" }));
      owner.register("posted", async () => {
        await sleep(100);
        ended++;
      });
      const use = async (): Promise<void> => {
        const copy = LoopHandle.receive(owner.transferable().value);
        await copy.call("ping");
        copy.post("posted");
      };
      for (let i = 0; i < 10; i++) await use();
      const call = LoopHandle.receive(owner.transferable().value).call("slow");
      await collect();
      console.log(await call, ended);
      await collect();
      console.log("open ports:", countPorts() - before);
      owner.close();
    }, { host: "portable" });
  },
};

await programs[Deno.args[0]!]!();
console.log("end");
