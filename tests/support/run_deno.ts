/**
 * Runs the Deno that runs the tests once more, as a child process.
 *
 * @module
 */

/** How a child is run. */
export interface RunDenoOptions {
  /** Added to the environment of the tests. */
  readonly env?: Readonly<Record<string, string>>;
  /** When a child that has not ended is killed. 30 seconds by default. */
  readonly limitMs?: number;
}

/** What became of a child. */
export interface RunDenoResult {
  /** The exit code; that of a killed child is not 0. */
  readonly code: number;
  /** Whether it had to be killed. */
  readonly killed: boolean;
  readonly stdout: string;
  readonly stderr: string;
}

/** The root of the repository, in which every child runs. */
export const ROOT = new URL("../../", import.meta.url);

/** Runs `deno` with `args` to its end. Its standard input is empty. */
export async function runDeno(
  args: readonly string[],
  options: RunDenoOptions = {},
): Promise<RunDenoResult> {
  const { env = {}, limitMs = 30_000 } = options;
  const child = new Deno.Command(Deno.execPath(), {
    args: [...args],
    cwd: ROOT,
    env: { NO_COLOR: "1", DENO_NO_UPDATE_CHECK: "1", ...env },
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  let killed = false;
  const timer = setTimeout(() => {
    killed = true;
    child.kill("SIGKILL");
  }, limitMs);
  try {
    const { code, stdout, stderr } = await child.output();
    const decoder = new TextDecoder();
    return {
      code,
      killed,
      stdout: decoder.decode(stdout),
      stderr: decoder.decode(stderr),
    };
  } finally {
    clearTimeout(timer);
  }
}
