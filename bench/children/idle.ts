/**
 * Prints the milliseconds of CPU time this process used while a loop waited for
 * a timer an hour away: idle.ts HOST FOR_MS [lag]. The host "none" means no loop.
 * With `lag` a monitor of the lag is there, or without a loop a `setInterval` of
 * 100 ms.
 *
 * @module
 */
import { type HostChoice, newEventLoop } from "../../mod.ts";
import { LagMonitor } from "../../src/observe/lag_monitor.ts";

const [host, forMs] = [Deno.args[0]!, Number(Deno.args[1])];
const wait = (delayMs: number) =>
  new Promise((resolve) => setTimeout(resolve, delayMs));
const usedMs = () => {
  const { user, system } = globalThis.process.cpuUsage();
  return (user + system) / 1e3;
};

if (host !== "none") {
  const loop = newEventLoop({ host: host as HostChoice });
  loop.callLater(3_600_000, () => {});
  loop.runForever();
  if (Deno.args[2] === "lag") new LagMonitor({ loop });
} else if (Deno.args[2] === "lag") setInterval(() => {}, 100);
await wait(300); // what belongs to the start is over
usedMs();
const beforeMs = usedMs();
await wait(forMs);
console.log(Math.round((usedMs() - beforeMs) * 1e3) / 1e3);
Deno.exit();
