import { envGranted } from "./permissions.ts";

/** Reads an environment variable, if that is allowed without asking. */
export function readEnvironment(name: string): string | undefined {
  return envGranted(name) ? Deno.env.get(name) : undefined;
}
