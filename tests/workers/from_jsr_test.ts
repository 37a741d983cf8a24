/**
 * Pools of the package as JSR serves it: its entry scripts are remote modules
 * then, and nothing may be fetched that `deno cache` has not found.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import { startMockRegistry } from "../support/mock_registry.ts";

const PROGRAM = `
import { LoadBalancer, ProcessPool, run, taskModule, ThreadPool } from "@rota/rota";

const { add, later } = taskModule<typeof import("./jobs.ts")>(
  new URL("./jobs.ts", import.meta.url),
);
await run(async () => {
  await using threads = new ThreadPool({ maxWorkers: 1 });
  await using processes = new ProcessPool({ maxWorkers: 1 });
  console.log(await threads.submit(add, [1, 2]), await threads.submit(later, [3]));
  console.log(await processes.submit(add, [4, 5]), await processes.submit(later, [6]));
});
`;

const JOBS = `
import { type Coroutine, sleep } from "@rota/rota";

export function add(a: number, b: number): number {
  return a + b;
}

export function* later(n: number): Coroutine<string> {
  yield* sleep(1);
  return "later " + n;
}
`;

/** Runs Deno in `folder` with a cache of its own, and returns what it printed. */
async function deno(
  folder: string,
  registry: string,
  ...args: string[]
): Promise<string> {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args,
    cwd: folder,
    env: {
      DENO_DIR: `${folder}/cache`,
      DENO_NO_UPDATE_CHECK: "1",
      JSR_URL: registry,
      NO_COLOR: "1",
    },
  }).output();
  const decoder = new TextDecoder();
  assertEquals(code, 0, decoder.decode(stderr));
  return decoder.decode(stdout);
}

Deno.test("a thread pool and a process pool run from JSR, with nothing but what was cached", async () => {
  const folder = await Deno.makeTempDir({ prefix: "rota_jsr_" });
  try {
    let url: string;
    {
      await using registry = await startMockRegistry();
      url = registry.url;
      await Deno.writeTextFile(
        `${folder}/deno.json`,
        JSON.stringify({
          imports: { "@rota/rota": `jsr:@rota/rota@${registry.version}` },
        }),
      );
      await Deno.writeTextFile(`${folder}/main.ts`, PROGRAM);
      await Deno.writeTextFile(`${folder}/jobs.ts`, JOBS);
      await deno(folder, url, "cache", "main.ts");
    }
    // The registry is gone: whatever is missing now was not in the graph.
    const printed = await deno(
      folder,
      url,
      "run",
      "-A",
      "--cached-only",
      "main.ts",
    );
    assertEquals(printed, "3 later 3\n9 later 6\n");
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
