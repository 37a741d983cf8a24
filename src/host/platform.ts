/**
 * The platform: operating system and processor.
 *
 * @module
 */

/** The operating system, as the runtime calls it. */
export const OS: typeof Deno.build.os = Deno.build.os;

/** The processor. */
export const ARCH: typeof Deno.build.arch = Deno.build.arch;

/** Whether this is macOS, whose C library has other numbers than that of Linux. */
export const DARWIN: boolean = OS === "darwin";

/** How many threads the machine runs at a time; 1 if the runtime does not tell. */
export function hardwareThreads(): number {
  return navigator.hardwareConcurrency ?? 1;
}
