/**
 * Clocks of threads, by the C library.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { ownThreadId, ThreadClock } from "../../src/host/libc_thread.ts";

const linux = { ignore: Deno.build.os !== "linux" };

Deno.test("the clock of this thread goes on while it computes", linux, () => {
  const id = ownThreadId();
  assert(id > 0);
  const clock = new ThreadClock(id);
  try {
    const startMs = clock.cpuMs();
    assert(startMs > 0);
    while (clock.cpuMs() < startMs + 1);
    assertEquals(clock.exists(), true);
  } finally {
    clock.close();
  }
});

Deno.test(
  "there is no clock of a thread that is none of this process",
  linux,
  () => {
    const clock = new ThreadClock(1);
    assertEquals(clock.cpuMs(), NaN);
    assertEquals(clock.exists(), false);
    clock.close();
    clock.close();
  },
);

Deno.test("a closed clock can be read again", linux, () => {
  const clock = new ThreadClock(ownThreadId());
  clock.close();
  assertEquals(clock.exists(), true);
  clock.close();
});

Deno.test(
  "without the permission nothing is known, and nothing throws",
  linux,
  async () => {
    const module = new URL("../../src/host/libc_thread.ts", import.meta.url);
    const code = `
    const { ownThreadId, ThreadClock } = await import(${
      JSON.stringify(module)
    });
    const clock = new ThreadClock(1);
    console.log(ownThreadId(), clock.cpuMs(), clock.exists());
    clock.close();`;
    const path = await Deno.makeTempFile({ suffix: ".ts" });
    try {
      await Deno.writeTextFile(path, code);
      const { stdout } = await new Deno.Command(Deno.execPath(), {
        args: ["run", "--allow-read", "--no-prompt", "--no-check", "-q", path],
        env: { NO_COLOR: "1" },
      }).output();
      assertEquals(new TextDecoder().decode(stdout), "0 NaN undefined\n");
    } finally {
      await Deno.remove(path);
    }
  },
);
