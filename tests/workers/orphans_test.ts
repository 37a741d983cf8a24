/**
 * No process of a pool outlives its program, however that ends; and Ctrl-C lets the jobs end.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { childrenOf, isAlive, until } from "./support/processes.ts";

const PROGRAM = new URL("./support/process_program.ts", import.meta.url).href;

/** A program with a pool, in a process group of its own as under a terminal. */
class Running {
  readonly #child: Deno.ChildProcess;
  readonly #lines: ReadableStreamDefaultReader<string>;
  #text = "";

  constructor(name: string, flags: readonly string[]) {
    this.#child = new Deno.Command(Deno.execPath(), {
      args: ["run", "--no-check", "--no-prompt", ...flags, PROGRAM, name],
      stdin: "null",
      stdout: "piped",
      detached: true,
    }).spawn();
    this.#lines = this.#child.stdout.pipeThrough(new TextDecoderStream())
      .getReader();
  }

  get pid(): number {
    return this.#child.pid;
  }

  /** Waits for so many lines of its output. */
  async lines(count: number): Promise<string[]> {
    let lines = this.#text.split("\n");
    while (lines.length <= count) {
      const { value, done } = await this.#lines.read();
      if (done) throw new Error(`There are only ${lines.length} lines`);
      this.#text += value;
      lines = this.#text.split("\n");
    }
    return lines.slice(0, count);
  }

  /** Waits for its end, and for that of its output, which nobody else may hold. */
  async end(): Promise<Deno.CommandStatus> {
    for (;;) {
      const { value, done } = await this.#lines.read();
      if (done) break;
      this.#text += value;
    }
    return await this.#child.status;
  }

  get output(): string {
    return this.#text;
  }
}

const PERMISSIONS: Readonly<Record<string, readonly string[]>> = {
  "without FFI": ["--allow-run", "--allow-read"],
  "with FFI": ["-A"],
};

for (const [how, flags] of Object.entries(PERMISSIONS)) {
  for (const signal of ["SIGKILL", "SIGTERM", "SIGSEGV"] as const) {
    Deno.test(`${signal} of a program ${how} ends its busy processes, their children and guards`, async () => {
      const program = new Running("busy", flags);
      const pids = (await program.lines(3)).map(Number);
      const all = [...new Set([...pids, ...childrenOf(program.pid)])];
      // Two processes with a guard each, and a grandchild.
      assertEquals(all.length, 5);
      for (const pid of all) assert(isAlive(pid));
      await until("the program has ended", () => {
        if (isAlive(program.pid)) Deno.kill(program.pid, signal);
        return !isAlive(program.pid);
      });
      for (const pid of all) {
        await until(`process ${pid} has ended`, () => !isAlive(pid));
      }
      const { signal: endedBy } = await program.end();
      assertEquals(endedBy, signal);
    });
  }

  Deno.test(`SIGKILL of the group of a program ${how} ends its processes, which are in others`, async () => {
    const program = new Running("busy", flags);
    const pids = (await program.lines(3)).map(Number);
    Deno.kill(-program.pid, "SIGKILL");
    for (const pid of pids) {
      await until(`process ${pid} has ended`, () => !isAlive(pid));
    }
    await program.end();
  });

  Deno.test(`SIGINT to the group of a program ${how} lets its jobs end`, async () => {
    const program = new Running("graceful", flags);
    await program.lines(1);
    const children = childrenOf(program.pid);
    assertEquals(children.length, 4);
    Deno.kill(-program.pid, "SIGINT");
    const { code, signal } = await program.end();
    assertEquals([code, signal], [0, null]);
    assertEquals(program.output, "busy\n1001,1101\n");
    for (const pid of children) assertEquals(isAlive(pid), false);
  });
}
