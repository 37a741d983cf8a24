/** Writes `text` to standard error: what a loop says when nobody else listens. */
export function writeError(text: string): void {
  // deno-lint-ignore no-console
  console.error(text);
}
