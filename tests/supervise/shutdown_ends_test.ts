/**
 * Ends of a shutdown in real processes: several loops and runners, signals that come while the thread is busy, a loop that
 * leaves early, exit codes that the program has set itself.
 *
 * @module
 */
import { assertEquals, assertMatch } from "@std/assert";
import { startChild, waitForLine } from "./support/child.ts";

interface End {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
  readonly killed: boolean;
}

/** Sends a signal to a child that is ready, and returns how it ended. */
async function stop(
  scene: string,
  { style = "async", signals = ["SIGTERM"] }: {
    readonly style?: string;
    readonly signals?: readonly Deno.Signal[];
  } = {},
): Promise<End> {
  const child = startChild("ends", scene, { env: { STYLE: style } });
  await waitForLine(child, "ready");
  for (const signal of signals) child.send(signal);
  const { code, stdout, stderr, killed } = await child.end();
  return { code, stdout, stderr, killed };
}

const CLEAN = { code: 0, stderr: "", killed: false };

// -- Several loops --

for (const style of ["generator", "async"]) {
  Deno.test(`Two mains that are cancelled by one shutdown: the process ends when both loops are closed, with its code (${style})`, async () => {
    assertEquals(await stop("twoCancelled", { style }), {
      ...CLEAN,
      stdout: "one\ntwo\n",
    });
    const { code, stdout, stderr } = await stop("twoCancelledOneHookThrows", {
      style,
    });
    assertEquals({ code, stdout }, { code: 1, stdout: "two\none\n" });
    assertMatch(stderr, /0 did not stop in time, 1 failed/);
    assertEquals(stderr.includes("InterruptedError"), false);
  });

  Deno.test(`Runners that are closed one after the other do not wait for each other (${style})`, async () => {
    assertEquals(await stop("closedInTurn", { style }), {
      ...CLEAN,
      stdout: "one\ntwo\nboth are over\n",
    });
    assertEquals(await stop("idleRunner", { style }), {
      ...CLEAN,
      stdout: "one\n",
    });
  });
}

Deno.test("A run with a result gives it, and the process ends with the one that has none", async () => {
  assertEquals(await stop("oneResult"), {
    ...CLEAN,
    stdout: "cancelled\nresult: SIGTERM\n",
  });
});

Deno.test("The second run of a runner is drained by the shutdown that the first has asked for, and not interrupted", async () => {
  assertEquals(await stop("secondRun", { signals: ["SIGINT"] }), {
    ...CLEAN,
    stdout: "drained\n",
  });
});

Deno.test("The phases go on on another loop when theirs is closed", async () => {
  const { code, stdout, stderr } = await stop("countingLoopCloses");
  assertEquals({ code, stdout }, {
    code: 1,
    stdout: "not-ready\nstop-intake\ndrain\n",
  });
  assertMatch(
    stderr,
    /hook "on the first loop" did not stop in phase "not-ready": after .* ms it waited for sleep\(\)/,
  );
  assertMatch(stderr, /task "left" did not stop in phase "not-ready"/);
  assertMatch(stderr, /2 did not stop in time, 0 failed/);
});

Deno.test("A process that ends in the middle of the shutdown, as nothing is left to do, reports that, with 1", async () => {
  const { code, stdout, stderr } = await stop("idleEnd");
  assertEquals({ code, stdout }, { code: 1, stdout: "stopped\n" });
  assertMatch(
    stderr,
    /hook "flush" did not stop in phase "drain": after 0 ms it waited for its phase, which was not reached/,
  );
});

// -- Signals --

Deno.test("A second signal that comes while the thread is busy ends the process as soon as it is free", async () => {
  for (let left = 10;; left--) {
    const child = startChild("ends", "busyBeforeArmed");
    await waitForLine(child, "ready");
    child.send("SIGTERM");
    const line = await child.line();
    if (line === "late") child.send("SIGTERM");
    const { code, killed, stderr } = await child.end();
    if (line === "stalled" && left > 0) continue; // the machine was held up
    assertEquals({ line, code, killed, stderr }, {
      line: "late",
      code: 143,
      killed: false,
      stderr: "",
    });
    return;
  }
});

Deno.test("A twin of the first signal does not end the process, also if the thread is busy when it comes", async () => {
  const child = startChild("ends", "busyAtOnce");
  await waitForLine(child, "ready");
  child.send("SIGINT");
  await waitForLine(child, "busy");
  child.send("SIGINT");
  const { code, stdout, stderr } = await child.end();
  assertEquals({ code, stdout, stderr }, {
    code: 0,
    stdout: "drained\n",
    stderr: "",
  });
});

Deno.test("After a twin one more signal ends the process", async () => {
  const child = startChild("ends", "busyAtOnceThenForced");
  await waitForLine(child, "ready");
  child.send("SIGINT");
  await waitForLine(child, "busy");
  child.send("SIGINT");
  await waitForLine(child, "armed");
  child.send("SIGTERM");
  const { code, killed } = await child.end();
  assertEquals({ code, killed }, { code: 143, killed: false });
});

Deno.test("A second signal ends the process also while a watchdog listens to it", async () => {
  const child = startChild("ends", "watched");
  await waitForLine(child, "ready");
  child.send("SIGINT");
  await waitForLine(child, "armed");
  child.send("SIGTERM");
  const { code, killed, stderr } = await child.end();
  assertEquals({ code, killed, stderr }, {
    code: 143,
    killed: false,
    stderr: "",
  });
});

Deno.test("The first signal after a shutdown that the program has begun changes nothing, the second ends the process", async () => {
  const child = startChild("ends", "begunByProgram");
  await waitForLine(child, "ready");
  child.send("SIGTERM");
  await waitForLine(child, "armed");
  child.send("SIGTERM");
  const { code, killed, stderr } = await child.end();
  assertEquals({ code, killed, stderr }, {
    code: 143,
    killed: false,
    stderr: "",
  });
});

Deno.test("A second signal ends the process also while code in the way of Node listens to it", async () => {
  const child = startChild("ends", "besideNode");
  await waitForLine(child, "ready");
  child.send("SIGTERM");
  await waitForLine(child, "armed");
  child.send("SIGTERM");
  const { code, killed, stderr } = await child.end();
  assertEquals({ code, killed, stderr }, {
    code: 143,
    killed: false,
    stderr: "",
  });
});

Deno.test("Five signals of several kinds at once are one", async () => {
  const signals: Deno.Signal[] = [
    "SIGTERM",
    "SIGINT",
    "SIGHUP",
    "SIGTERM",
    "SIGUSR2",
  ];
  assertEquals(await stop("burst", { signals }), {
    ...CLEAN,
    stdout: "drained 1 time\n",
  });
});

// -- Exit codes --

Deno.test("An exit code that the program has set itself stands", async () => {
  for (
    const [scene, code] of [
      ["ownCode", 3],
      ["ownCodeLater", 1],
      ["ownCodeCancelled", 3],
      ["ownCodeFailed", 3],
    ] as const
  ) {
    const end = await stop(scene);
    assertEquals({ scene, code: end.code }, { scene, code });
  }
});
