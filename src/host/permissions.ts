/** Whether native libraries may be opened. Asks the runtime, never the user. */
export function ffiGranted(): boolean {
  return Deno.permissions.querySync({ name: "ffi" }).state === "granted";
}

/** Whether environment variable `variable` may be read. Never asks the user. */
export function envGranted(variable: string): boolean {
  return Deno.permissions.querySync({ name: "env", variable }).state ===
    "granted";
}
