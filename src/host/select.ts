/**
 * Choice of a host by its name, the system and the permissions.
 *
 * @module
 */
import { DescriptorsUnsupportedError } from "../errors.ts";
import { autoHost } from "./auto_host.ts";
import { EpollHost } from "./epoll.ts";
import type { Host } from "./host.ts";
import { OS } from "./platform.ts";
import { PollHost } from "./poll.ts";
import { PortableHost } from "./portable.ts";
import { ffiGranted } from "./process.ts";
import { VirtualHost } from "./virtual.ts";

/**
 * Name of the host with which a loop waits.
 *
 * - `"auto"`: like `"native"` where that works, else like `"portable"`, as in the
 *   threads of a pool, which could not be killed while they wait in native code.
 * - `"native"`: the best the operating system has, needs `--allow-ffi`.
 * - `"poll"`: poll(2), on any POSIX system, needs `--allow-ffi`.
 * - `"portable"`: the runtime's timers, without descriptors. Any system, no
 *   permission.
 * - `"virtual"`: does not wait, time jumps to the next deadline. For tests.
 */
export type HostChoice = "auto" | "native" | "poll" | "portable" | "virtual";

/**
 * Makes the host for a loop. Opens nothing and never asks for a permission.
 *
 * @example
 * ```ts
 * import { createHost } from "@rota/rota/host";
 * import { assertEquals } from "@std/assert";
 *
 * const host = createHost("virtual");
 * assertEquals([host.name, host.virtual, host.now()], ["virtual", true, 0]);
 * ```
 *
 * @param choice The name of the host.
 * @returns A host that belongs to no loop yet.
 * @throws {TypeError} If there is no such choice.
 * @throws {DescriptorsUnsupportedError} If the system or the permissions do not
 * allow it; the message says what to grant.
 */
export function createHost(choice: HostChoice): Host {
  switch (choice) {
    case "auto":
      return autoHost.mayBeNative && ffiGranted() && hasPosix()
        ? createNative()
        : new PortableHost();
    case "native":
      requireNative(choice);
      return createNative();
    case "poll":
      requireNative(choice);
      return new PollHost();
    case "portable":
      return new PortableHost();
    case "virtual":
      return new VirtualHost();
    default:
      throw new TypeError(
        `Cannot create a host as host must be "auto", "native", "poll", "portable" or "virtual": received ${
          JSON.stringify(choice satisfies never)
        }`,
      );
  }
}

function createNative(): Host {
  return OS === "linux" ? new EpollHost() : new PollHost();
}

/** Whether `libc.ts` knows the C library of this system. */
function hasPosix(): boolean {
  return OS === "linux" || OS === "darwin";
}

function requireNative(choice: HostChoice): void {
  if (!hasPosix()) {
    throw new DescriptorsUnsupportedError(
      `Cannot create the ${choice} host: ${OS} has none`,
    );
  }
  if (!ffiGranted()) {
    throw new DescriptorsUnsupportedError(
      `Cannot create the ${choice} host: the permission is missing, run with --allow-ffi`,
    );
  }
}
