/**
 * Hosts: the interface between a loop and the operating system, the hosts that
 * implement it, and pipes.
 *
 * A loop has one host, which reads the clock and waits for deadlines,
 * descriptors and signals. Programs choose a host by name, with the option
 * `host` of `EventLoop` and `run`; a custom host implements {@linkcode Host}.
 *
 * Each part of the runtime is used by one file here only: clocks, timers,
 * microtasks and macrotasks, signals, the async context, finalization, the
 * process, the platform, the C library.
 *
 * @example A custom host that counts how often the loop waits
 * ```ts
 * import { run, sleep } from "@rota/rota";
 * import { VirtualHost } from "@rota/rota/host";
 * import { assertEquals } from "@std/assert";
 *
 * class CountingHost extends VirtualHost {
 *   parks = 0;
 *   override park(deadlineMs: number, hold: boolean): void {
 *     this.parks++;
 *     super.park(deadlineMs, hold);
 *   }
 * }
 *
 * const host = new CountingHost();
 * await run(function* () {
 *   yield* sleep(100);
 *   yield* sleep(3_600_000);
 * }, { host });
 * assertEquals([host.parks, host.now()], [2, 3_600_100]);
 * ```
 *
 * @module
 */
export {
  type Host,
  type HostClient,
  READABLE,
  type ReadyListener,
  WRITABLE,
} from "./host.ts";
export { Pipe } from "./pipe.ts";
export { createHost, type HostChoice } from "./select.ts";
export { type ClockControl, VirtualHost } from "./virtual.ts";
