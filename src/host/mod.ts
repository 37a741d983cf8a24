/**
 * The outside world of a loop: the contract of a host, the hosts that keep it, and the pipe of the operating system.
 *
 * A loop owns one host, which knows the time and how to wait. Programs choose one by name, with the option `host` of
 * `EventLoop` and `run`; a host of your own implements {@linkcode Host}.
 *
 * Each thing of the outside world has one file here that names it: clocks, timers, microtasks and macrotasks, signals,
 * the async context, finalization, the process, the platform, the C library.
 *
 * @example A host of one's own: the virtual one, which also counts how often the loop waits
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
export { VirtualHost } from "./virtual.ts";
