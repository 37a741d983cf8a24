/**
 * Graceful shutdown of real processes: signals, second signals, exit codes, what is left when the budget is spent.
 *
 * Each child enforces its own budget, and most have one of a minute: that they end at all within the limit of the test
 * shows that they do not wait for it.
 *
 * @module
 */
import { assertEquals, assertMatch } from "@std/assert";
import { forcedExitCode } from "../../src/supervise/exit_code.ts";
import { startChild, waitForLine } from "./support/child.ts";

/** Sends one signal to a child that is ready, and returns how it ended. */
async function stop(
  scene: string,
  signal: Deno.Signal = "SIGTERM",
): Promise<{ code: number; stdout: string; stderr: string; killed: boolean }> {
  const child = startChild("signals", scene);
  await waitForLine(child, "ready");
  child.send(signal);
  const { code, stdout, stderr, killed } = await child.end();
  return { code, stdout, stderr, killed };
}

const CLEAN = { code: 0, stderr: "", killed: false };

for (const style of ["generator", "async"]) {
  Deno.test(`SIGTERM lets a run of a periodic job and a busy thread finish, and the code is 0 (${style})`, async () => {
    const child = startChild("service", "clean", { env: { STYLE: style } });
    await waitForLine(child, "ready");
    child.send("SIGTERM");
    const { code, stdout, stderr } = await child.end();
    const lines = stdout.trim().split("\n");
    assertEquals({ code, stderr }, { code: 0, stderr: "" });
    assertEquals(lines.slice(0, 2), ["told: SIGTERM", "no more runs"]);
    assertEquals(lines.at(-1), "run has returned");
    assertEquals(lines.slice(2, -1).sort(), [
      "job is idle",
      "pool is empty",
      "run is finished",
      "thread: computed",
    ]);
  });

  Deno.test(`A function that waits outside of the loop is named, and the code is 1 (${style})`, async () => {
    const child = startChild("service", "foreign", { env: { STYLE: style } });
    await waitForLine(child, "ready");
    child.send("SIGTERM");
    const { code, killed, stdout, stderr } = await child.end();
    assertEquals({ code, killed }, { code: 1, killed: false });
    assertMatch(stdout, /job is idle/);
    assertMatch(stdout, /pool is empty/);
    assertMatch(
      stderr,
      /^rota: shutdown \(SIGTERM\) took .* of 3,500 ms: 1 did not stop in time, 0 failed\n {2}task "foreign" did not stop in phase "cancel": after .* ms it waited for a promise outside the loop$/m,
    );
  });
}

for (const signal of ["SIGTERM", "SIGINT"] as const) {
  Deno.test(`A main that ends when it is told to gives its result, and the program goes on (${signal})`, async () => {
    assertEquals(await stop("clean", signal), {
      ...CLEAN,
      stdout: "behind the run: result\n",
    });
  });

  Deno.test(`A main that was cancelled has no result: the process ends, with 0 (${signal})`, async () => {
    assertEquals(await stop("cancelled", signal), {
      ...CLEAN,
      stdout: "cleaned up\n",
    });
  });

  Deno.test(`With exit: false run() throws an InterruptedError (${signal})`, async () => {
    assertEquals(await stop("noExit", signal), {
      ...CLEAN,
      stdout: `InterruptedError: Interrupted by ${signal}\n`,
    });
  });

  Deno.test(`A second signal ends the process with 128 and its number (${signal})`, async () => {
    for (const second of ["SIGTERM", "SIGINT"] as const) {
      const child = startChild("signals", "forced");
      await waitForLine(child, "ready");
      child.send(signal);
      await waitForLine(child, "armed");
      child.send(second);
      const { code, killed } = await child.end();
      assertEquals({ code, killed }, {
        code: forcedExitCode(second),
        killed: false,
      });
    }
  });
}

Deno.test("The codes of a forced end", () => {
  assertEquals(
    (["SIGHUP", "SIGINT", "SIGQUIT", "SIGTERM"] as const).map(forcedExitCode),
    [129, 130, 131, 143],
  );
});

Deno.test("A second signal ends the process also while a hook keeps the thread", async () => {
  const child = startChild("signals", "forcedBusy");
  await waitForLine(child, "ready");
  child.send("SIGTERM");
  await waitForLine(child, "spinning");
  child.send("SIGTERM");
  const { code, killed } = await child.end();
  assertEquals({ code, killed }, { code: 143, killed: false });
});

Deno.test("A second signal ends the process although other code listens to it", async () => {
  const child = startChild("signals", "forcedBesideListener");
  await waitForLine(child, "ready");
  child.send("SIGTERM");
  await waitForLine(child, "armed");
  child.send("SIGTERM");
  const { code, killed } = await child.end();
  assertEquals({ code, killed }, { code: 143, killed: false });
});

Deno.test("Five signals at once are one", async () => {
  const child = startChild("signals", "burst");
  await waitForLine(child, "ready");
  for (let count = 0; count < 5; count++) child.send("SIGTERM");
  const { code, stdout, stderr } = await child.end();
  assertEquals({ code, stdout, stderr }, {
    code: 0,
    stdout: "drained 1 time\n",
    stderr: "",
  });
});

Deno.test("A signal during the start cancels main, and what it would have set up is not missed", async () => {
  assertEquals(await stop("start"), { ...CLEAN, stdout: "" });
});

Deno.test("A signal that comes while the thread is busy is not lost", async () => {
  assertEquals(await stop("busy"), {
    ...CLEAN,
    stdout: "free\nreason: SIGTERM\n",
  });
});

Deno.test("Hooks that throw and hang stop nobody else, are in the report, and the code is 1", async () => {
  const { code, killed, stdout, stderr } = await stop("hooks");
  assertEquals({ code, killed, stdout }, {
    code: 1,
    killed: false,
    stdout: "good\nnext phase\n",
  });
  assertMatch(stderr, /2 did not stop in time, 1 failed/);
  assertMatch(
    stderr,
    /hook "hangs outside" did not stop in phase "drain": after .* ms it waited for a promise outside the loop/,
  );
  assertMatch(
    stderr,
    /hook "hangs inside" did not stop in phase "drain": after .* ms it waited for sleep\(\)/,
  );
  assertMatch(stderr, /hook "throws" failed in phase "drain": oh/);
});

Deno.test("A process that something else keeps alive ends when the budget is spent, with 1", async () => {
  const { code, killed, stdout, stderr } = await stop("outside");
  assertEquals({ code, killed, stdout }, {
    code: 1,
    killed: false,
    stdout: "behind the run\n",
  });
  assertMatch(stderr, /something outside of Rota keeps it alive/);
});

Deno.test("A signal handler of the program takes precedence", async () => {
  const child = startChild("signals", "handler");
  await waitForLine(child, "ready");
  child.send("SIGTERM");
  await waitForLine(child, "handled");
  child.send("SIGTERM");
  const { code, stdout } = await child.end();
  assertEquals({ code, stdout }, { code: 0, stdout: "shut down\n" });
});

Deno.test("A loop that runs for ever is stopped", async () => {
  assertEquals(await stop("forever"), {
    ...CLEAN,
    stdout: "task is cancelled\nstopped\n",
  });
});

Deno.test("Two that ask for it inside of a run get one shutdown, which takes SIGINT over from run()", async () => {
  assertEquals(await stop("inside", "SIGINT"), { ...CLEAN, stdout: "drain\n" });
});

Deno.test("Signals that are not named are left alone", async () => {
  assertEquals(await stop("named", "SIGINT"), {
    ...CLEAN,
    stdout: "InterruptedError: Interrupted by SIGINT\n",
  });
  assertEquals(await stop("named", "SIGUSR2"), { ...CLEAN, stdout: "" });
  assertEquals((await stop("named", "SIGTERM")).code, 143);
});

Deno.test("Two loops have one shutdown, each hook runs on its own loop, and no other run starts", async () => {
  assertEquals(await stop("twoLoops"), {
    ...CLEAN,
    stdout: "drain\ndrain\nboth have returned\n" +
      "InterruptedError: Interrupted by SIGTERM\n",
  });
});

Deno.test("After a run that has ended by itself the signals have their default action", async () => {
  const { code, stdout } = await stop("over");
  assertEquals({ code, stdout }, { code: 143, stdout: "" });
});

Deno.test("A signal that comes when main has ended lets what it has left behind clean up", async () => {
  assertEquals(await stop("leftovers"), {
    ...CLEAN,
    stdout: "drain\ncleaned up\nbehind the run\n",
  });
  const { code, killed, stderr } = await stop("foreignLeftovers");
  assertEquals({ code, killed }, { code: 1, killed: false });
  assertMatch(stderr, /task "leftover" did not stop in phase "cancel"/);
});

Deno.test("A signal that comes between two runs of a runner is not lost", async () => {
  assertEquals(await stop("runner"), {
    ...CLEAN,
    stdout: "InterruptedError: Interrupted by SIGTERM\ndrain\n",
  });
});

Deno.test("A hook that was registered before there was a loop runs on one that takes part", async () => {
  assertEquals(await stop("early"), { ...CLEAN, stdout: "drain, true\n" });
});

Deno.test("A thread of the default executor that computes for ever is ended within the budget", async () => {
  assertEquals(await stop("executor"), {
    ...CLEAN,
    stdout: "job cancelled: true\nbehind the run\n",
  });
});

Deno.test("A main that fails meanwhile ends the program with its error, after the hooks", async () => {
  const { code, stdout, stderr } = await stop("failing");
  assertEquals({ code, stdout }, { code: 1, stdout: "drain\n" });
  assertMatch(stderr, /RangeError: main failed/);
});
