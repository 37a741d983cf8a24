/** Ends the process at once with `code`. */
export function exitProcess(code: number): never {
  Deno.exit(code);
}
