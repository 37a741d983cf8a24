/**
 * Programs that a benchmark runs beside itself.
 *
 * @module
 */

/** The root of the repository. */
export const ROOT: URL = new URL("../../", import.meta.url);

/** Where the scripts for child processes are. */
export function childScript(name: string): string {
  return new URL(`../children/${name}`, import.meta.url).pathname;
}

/** Runs a program to its end and gives what it printed. */
export async function outputOf(
  program: string,
  args: readonly string[],
): Promise<string> {
  const { success, stdout, stderr } = await new Deno.Command(program, {
    args: [...args],
    cwd: ROOT,
    env: { NO_COLOR: "1", DENO_NO_UPDATE_CHECK: "1" },
    stdin: "null",
  }).output();
  if (!success) {
    throw new Error(
      `${program} ${args.join(" ")} failed: ${
        new TextDecoder().decode(stderr)
      }`,
    );
  }
  return new TextDecoder().decode(stdout);
}

/** The same for Deno and a script of the benchmarks. */
export function outputOfDeno(
  script: string,
  args: readonly string[],
  flags: readonly string[] = [],
): Promise<string> {
  return outputOf(Deno.execPath(), [
    "run",
    "--allow-all",
    "--no-check",
    ...flags,
    script,
    ...args,
  ]);
}

/** Tells whether a program is there and works. */
export async function isInstalled(program: string): Promise<boolean> {
  try {
    await outputOf(program, ["--version"]);
    return true;
  } catch {
    return false; // for whatever reason: then there is no such rival
  }
}
