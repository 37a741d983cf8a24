import { MisuseError } from "../errors.ts";
import type { HostClient } from "./host.ts";

/** Throws if a host has a loop already: it could not tell whom to wake. */
export function checkUnowned(client: HostClient | undefined): void {
  if (client !== undefined) {
    throw new MisuseError(
      "Cannot open a host: it belongs to an event loop already",
    );
  }
}
