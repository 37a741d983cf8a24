/**
 * Real processes that are looked into: under load, blocked for good, stopped, in a blocking read.
 *
 * @module
 */
import { assertEquals, assertMatch, assertStringIncludes } from "@std/assert";

/** A scene of `children/scenes.ts`, as a process. */
class Scene implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;
  readonly #limit: ReturnType<typeof setTimeout>;
  readonly out: Lines;
  readonly errors: Lines;

  constructor(scene: string, env: Record<string, string> = {}) {
    const script = new URL("./children/scenes.ts", import.meta.url).pathname;
    this.#child = new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "--no-check", "--no-prompt", script],
      env: { NO_COLOR: "1", SCENE: scene, ...env },
      stdin: "piped",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    this.#limit = setTimeout(() => this.#child.kill("SIGKILL"), 30_000);
    this.out = new Lines(this.#child.stdout);
    this.errors = new Lines(this.#child.stderr);
  }

  send(signal: Deno.Signal): void {
    this.#child.kill(signal);
  }

  async write(text: string): Promise<void> {
    const writer = this.#child.stdin.getWriter();
    await writer.write(new TextEncoder().encode(text));
    writer.releaseLock();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      this.send("SIGKILL");
    } catch {
      // It has ended.
    }
    await Promise.all([
      this.#child.stdin.close().catch(() => {}), // nobody reads it any more
      this.out.close(),
      this.errors.close(),
      this.#child.status,
    ]);
    clearTimeout(this.#limit);
  }
}

/** Lines of a stream. */
class Lines {
  readonly #reader: ReadableStreamDefaultReader<string>;
  #text = "";

  constructor(stream: ReadableStream<Uint8Array<ArrayBuffer>>) {
    this.#reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  }

  /** Reads up to a line that matches, and returns all of them. */
  async until(last: RegExp): Promise<string> {
    let lines = "";
    for (;;) {
      const end = this.#text.indexOf("\n");
      if (end < 0) {
        const { value, done } = await this.#reader.read();
        if (done) throw new Error(`no ${last} in:\n${lines}${this.#text}`);
        this.#text += value;
        continue;
      }
      const line = this.#text.slice(0, end);
      this.#text = this.#text.slice(end + 1);
      lines += `${line}\n`;
      if (last.test(line)) return lines;
    }
  }

  close(): Promise<void> {
    return this.#reader.cancel();
  }
}

Deno.test("SIGUSR2 has a busy loop write its tasks, with the lines where they stand", async () => {
  await using scene = new Scene("dump");
  await scene.out.until(/^ready$/);
  for (let round = 0; round < 2; round++) {
    scene.send("SIGUSR2");
    const text = await scene.out.until(/^end of tree$/);
    assertMatch(text, /^4 tasks at turn \d+: 2 ready, 2 waiting\n/);
    assertMatch(
      text,
      /waiter \(\d+\) waits for Lock\.acquire of Lock #\d+, by holder/,
    );
    assertMatch(text, /at waiter \(file:.*scenes\.ts:27:9\)/);
  }
});

Deno.test("A task that spins for good is named by the watchdog of a monitor while it spins", async () => {
  await using scene = new Scene("spin");
  const text = await scene.errors.until(/spinner/);
  assertStringIncludes(text, 'task "spinner"');
});

/** With a watchdog and without one, at the same time. */
function bothWays(test: (watchdog: string) => Promise<void>): Promise<unknown> {
  return Promise.all(["0", "1"].map(test));
}

Deno.test("A process that is stopped for 2 s is suspended, not blocked", async () => {
  await bothWays(async (watchdog) => {
    await using scene = new Scene("suspended", { WATCHDOG: watchdog });
    await scene.out.until(/^ready$/);
    scene.send("SIGSTOP");
    // The time in which the process is not there is the subject of the test.
    await new Promise((resolve) => setTimeout(resolve, 2_000));
    scene.send("SIGCONT");
    const text = await scene.out.until(/suspended|blocked/);
    assertEquals(text, "suspended true null true true\n");
  });
});

Deno.test("A read that waits without the processor is a block", async () => {
  await bothWays(async (watchdog) => {
    await using scene = new Scene("read", { WATCHDOG: watchdog });
    await scene.out.until(/^ready$/);
    // The time of the block is the subject of the test.
    await new Promise((resolve) => setTimeout(resolve, 700));
    await scene.write("x");
    const text = await scene.out.until(/suspended|blocked/);
    assertEquals(text, 'blocked task "reader"\n');
  });
});
