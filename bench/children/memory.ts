/**
 * Prints the memory that one of COUNT things takes: memory.ts WHAT COUNT.
 *
 * @module
 */
import { type Coroutine, newEventLoop, sleep } from "../../mod.ts";

const [what, count] = [Deno.args[0]!, Number(Deno.args[1])];
const collect = (globalThis as unknown as { gc: () => void }).gc;
const HOUR_MS = 3_600_000;
const NOTHING = (): void => {};
const loop = newEventLoop();
const kept: unknown[] = [];

const waitForFuture = function* (): Coroutine<void> {
  yield* loop.createFuture<void>();
};
const waitForSleep = function* (): Coroutine<void> {
  yield* sleep(HOUR_MS);
};
const bare = function* (): Generator<void, void, void> {
  yield;
};
const bareAsync = async (): Promise<void> => {
  await new Promise(NOTHING);
};

const MAKERS: Readonly<Record<string, () => unknown>> = {
  "timer": () => loop.callLater(HOUR_MS, NOTHING),
  "deno-timer": () => setTimeout(NOTHING, HOUR_MS),
  "future": () => loop.createTask(waitForFuture),
  "sleep": () => loop.createTask(waitForSleep),
  "generator": () => {
    const generator = bare();
    generator.next();
    return generator;
  },
  "async": bareAsync,
};

/** Makes some, and lets the tasks among them take their first step. */
async function make(howMany: number, into: unknown[]): Promise<void> {
  const maker = MAKERS[what]!;
  // Whoever keeps timers and tasks is the loop, not this list.
  const keeps = what === "generator" || what === "async";
  for (let n = 0; n < howMany; n++) {
    const made = maker();
    if (keeps) into.push(made);
  }
  loop.callSoon(() => loop.callSoon(() => loop.stop()));
  await loop.runForever();
}

async function settledRss(): Promise<number> {
  for (let n = 0; n < 4; n++) {
    collect();
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  return Deno.memoryUsage().rss;
}

await make(2_000, kept); // code and feedback are not what is measured
const beforeBytes = await settledRss();
await make(count, kept);
const afterBytes = await settledRss();
console.log((afterBytes - beforeBytes) / count);
if (kept.length > 2 * count + 4_000) throw new Error("Too many");
Deno.exit();
