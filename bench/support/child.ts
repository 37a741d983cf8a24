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

/** Runs a program to its end and returns what it printed. */
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

/** A rival that is another program; `"uvloop"` is a Python that has it. */
export type Program = "node" | "python3" | "uvloop";

/** Where a program may be, and the arguments with which it succeeds if it is there. */
const PROGRAMS: Readonly<Record<Program, readonly (readonly string[])[]>> = {
  node: [["node", "--version"]],
  python3: [["python3", "--version"]],
  // Debian's package belongs to Debian's Python, which may not be the first one.
  uvloop: ["python3", "/usr/bin/python3"].map((path) => [
    path,
    "-c",
    "import uvloop",
  ]),
};

/** What to do about a program that is missing. */
export const HOW_TO_INSTALL: Readonly<Record<Program, string>> = {
  node: "node is not installed",
  python3: "python3 is not installed",
  uvloop:
    "uvloop is not installed: apt-get update && apt-get install -y python3-uvloop",
};

/** The path of a program, or `null` where it is not installed. */
export async function findProgram(program: Program): Promise<string | null> {
  for (const [path, ...args] of PROGRAMS[program]) {
    try {
      await outputOf(path!, args);
      return path!;
    } catch {
      // For whatever reason: this one is not a rival.
    }
  }
  return null;
}
