/**
 * The watchdog: conclusions from beats, its work on a made-up world, the board, and real processes whose thread is
 * blocked.
 *
 * @module
 */
import {
  assert,
  assertEquals,
  assertMatch,
  assertRejects,
  assertThrows,
} from "@std/assert";
import { MisuseError, newEventLoop, run, sleep } from "../../mod.ts";
import { stepWatch } from "../../src/loop/step_watch.ts";
import {
  expectShutdown,
  setWatch,
  shutdownBegins,
} from "../../src/supervise/active_watchdog.ts";
import { BlockDetector } from "../../src/supervise/block_detector.ts";
import { BoardShutdown } from "../../src/supervise/board_shutdown.ts";
import { StepPublisher } from "../../src/supervise/step_publisher.ts";
import { WatchBoard, Word } from "../../src/supervise/watch_board.ts";
import { Watchdog, type WatchdogBlock } from "../../src/supervise/watchdog.ts";
import {
  type GuardSettings,
  WatchdogGuard,
} from "../../src/supervise/watchdog_guard.ts";
import { startChild, waitForLine } from "./support/child.ts";

// -- Conclusions --

/** Looks at these moments, with these beats; returns what was concluded. */
function conclude(
  detector: BlockDetector,
  looks: readonly (readonly [nowMs: number, beat: number])[],
): string[] {
  return looks.map(([nowMs, beat]) => {
    const event = detector.look(nowMs, beat);
    return event.kind === "none" ? "-" : `${event.kind} ${event.blockedMs}`;
  });
}

Deno.test("A block is told when it has lasted for its time, at each doubling, and when it is over", () => {
  const detector = new BlockDetector(100, 50);
  const looks = Array.from({ length: 18 }, (_, n) => [n * 25, 7] as const);
  assertEquals(conclude(detector, [...looks, [450, 8], [475, 8], [500, 9]]), [
    "-",
    "-",
    "-",
    "-",
    "blocked 100",
    ...Array(3).fill("-"),
    "blocked 200",
    ...Array(7).fill("-"),
    "blocked 400",
    "-",
    "over 425",
    "-",
    "-",
  ]);
});

Deno.test("A thread that beats is never blocked, and short blocks are not told", () => {
  const detector = new BlockDetector(100, 50);
  const looks = Array.from(
    { length: 50 },
    (_, n) => [n * 25, Math.floor(n / 3)] as const,
  );
  assertEquals(new Set(conclude(detector, looks)), new Set(["-"]));
});

Deno.test("After a gap nothing is concluded before the thread has had the time to beat", () => {
  const suspended = new BlockDetector(100, 500);
  assertEquals(
    conclude(suspended, [[0, 1], [25, 1], [60_000, 1], [60_025, 2]]),
    ["-", "-", "-", "-"],
  );
  assertEquals(suspended.blockedMs, 0);
  const blocked = new BlockDetector(100, 500);
  assertEquals(
    conclude(blocked, [[0, 1], [25, 1], [60_000, 1], [60_025, 1], [60_050, 2]]),
    ["-", "-", "-", "blocked 550", "over 550"],
  );
});

// -- The watchdog, in a world of its own --

/** A watchdog without a thread: moments are set by hand. */
function makeWorld(
  settings: Partial<GuardSettings> = {},
) {
  const board = new WatchBoard();
  const log: string[] = [];
  const reports: WatchdogBlock[] = [];
  const listeners = new Map<string, () => void>();
  let nowMs = 0;
  const guard = new WatchdogGuard(board, {
    blockMs: 100,
    endAfterMs: Infinity,
    exitCode: 3,
    thread: null,
    loopsOnly: false,
    mostMs: 50,
    writes: true,
    ...settings,
  }, {
    now: () => nowMs,
    wallMs: () => 1_000_000 + nowMs,
    report: (report) => reports.push(report),
    write: (text) => log.push(text.replace(/^rota: /, "")),
    listen: (signal, listener) => {
      listeners.set(signal, listener);
      return () => listeners.delete(signal);
    },
    end: (code) => log.push(`end ${code}`),
  });
  guard.look();
  return {
    board,
    guard,
    log,
    reports,
    shutdown: new BoardShutdown(board),
    listening: () => [...listeners.keys()],
    signal: (signal: string) => listeners.get(signal)?.(),
    /** Lets time pass in which nobody looks. */
    suspend: (ms: number) => {
      nowMs += ms;
    },
    /** Lets time pass in which the thread beats, or does not. */
    pass: (ms: number, beats: boolean) => {
      for (const endMs = nowMs + ms; nowMs < endMs;) {
        nowMs += 25;
        if (beats) Atomics.add(board.words, Word.BEAT, 1);
        guard.look();
      }
    },
  };
}

Deno.test("A block is written down with the task that runs, and ends the process by request", () => {
  const { board, log, pass } = makeWorld({ endAfterMs: 300 });
  board.nameTask(5, "crawler");
  board.words[Word.STEP] = 5;
  pass(200, true);
  assertEquals(log, []);
  pass(300, false);
  assertEquals(log, [
    'watchdog: the thread has been blocked for 100 ms by task "crawler"',
    'watchdog: the thread has been blocked for 200 ms by task "crawler"',
    'watchdog: the process is ended, as the thread has been blocked for 300 ms by task "crawler"',
    "end 3",
  ]);
});

Deno.test("A block that is over is reported, with what was running then", () => {
  const { board, log, pass, reports } = makeWorld({ writes: false });
  board.nameTask(5, "");
  board.words[Word.RESUMED] = 5;
  pass(125, false);
  assertEquals(reports, []);
  board.words[Word.RESUMED] = 0;
  pass(25, true);
  assertEquals(log, []);
  assertEquals(reports, [{
    thread: null,
    state: "over",
    description: 'task "Task-5", which was resumed last',
    kind: "resumed",
    sinceMs: 1_000_000,
    blockedMs: 125,
  }]);
});

Deno.test("A block of another thread is reported while it lasts, and with its name", () => {
  const { board, log, pass, reports } = makeWorld({ thread: "images" });
  board.nameTask(5, "resize");
  pass(25, true);
  board.words[Word.STEP] = 5;
  pass(225, false);
  pass(25, true);
  const told = reports.map(({ thread, state, description, blockedMs }) =>
    [thread, state, description, blockedMs].join(" ")
  );
  assertEquals(told, [
    'images blocked task "resize" 100',
    'images blocked task "resize" 200',
    'images over task "resize" 225',
  ]);
  assertEquals(new Set(reports.map(({ sinceMs }) => sinceMs)).size, 1);
  assertEquals(
    log[0],
    'watchdog: thread "images" has been blocked for 100 ms by task "resize"',
  );
});

Deno.test("In a thread of a pool only steps of its loop are blocks", () => {
  const { board, log, pass, reports } = makeWorld({
    thread: "pool",
    loopsOnly: true,
  });
  pass(1_000, false);
  pass(25, true);
  assertEquals([log, reports], [[], []]);
  board.words[Word.STEP] = 5;
  pass(125, false);
  pass(25, true);
  assertEquals(reports.map(({ state }) => state), ["blocked", "over"]);
});

Deno.test("Time in which the process was suspended is counted, and is no block", () => {
  const { board, pass, suspend, reports } = makeWorld();
  pass(100, true);
  suspend(60_000);
  pass(25, false);
  pass(100, true);
  assertEquals(reports, []);
  assertEquals(board.words[Word.SUSPENDED_MS], 60_025);
});

Deno.test("Of tasks that were resumed together some are named, and from then on they are to be told apart", () => {
  const { board, log, pass } = makeWorld();
  board.nameTask(5, "a");
  board.words[Word.RESUMED] = 5;
  board.words.set([6, 7, 8, 9], Word.OTHERS_AT);
  board.words[Word.OTHERS] = 1;
  assertEquals(board.words[Word.EXACT], 0);
  pass(100, false);
  board.words[Word.OTHERS] = 4;
  pass(100, false);
  assertEquals(board.words[Word.EXACT], 1);
  assertEquals(log, [
    'watchdog: the thread has been blocked for 100 ms by one of 2 tasks that were resumed together: "a", "Task-6"',
    'watchdog: the thread has been blocked for 200 ms by one of 5 tasks that were resumed together: "a", "Task-6", "Task-7", "Task-8", …',
  ]);
});

Deno.test("A watchdog that is made after the shutdown began guards the rest of the budget", () => {
  const { board, log, pass, shutdown } = makeWorld({ blockMs: 1e6 });
  const ended: unknown[] = [];
  try {
    expectShutdown({ signals: ["SIGTERM"], budgetMs: 60_000 });
    assertEquals(shutdownBegins(60_000), 0);
    setWatch({
      expect: (expected) => ended.push(expected),
      begins: (budgetMs) => (ended.push(budgetMs), 0),
    });
    const [expected, leftMs] = ended as [
      { signals: string[]; budgetMs: number },
      number,
    ];
    assertEquals(expected, { signals: [], budgetMs: leftMs });
    assert(leftMs <= 60_000 && leftMs > 0);
  } finally {
    setWatch(null);
    expectShutdown(null);
  }
  // The guard takes that up.
  shutdown.expect({ signals: [], budgetMs: 300 });
  shutdown.begins(300);
  board.nameTask(5, "stuck");
  board.words[Word.STEP] = 5;
  pass(325, false);
  assertEquals(log.at(-1), "end 1");
});

Deno.test("A thread that is blocked when the signal comes ends at its budget", () => {
  const { board, log, pass, signal, shutdown, listening } = makeWorld({
    blockMs: 1e6,
  });
  shutdown.expect({ signals: ["SIGTERM", "SIGINT"], budgetMs: 1_000 });
  pass(25, true);
  assertEquals(listening().sort(), ["SIGINT", "SIGTERM"]);
  board.nameTask(5, "stuck");
  board.words[Word.STEP] = 5;
  pass(50, false);
  signal("SIGTERM");
  pass(975, false);
  assertEquals(log, []);
  pass(25, false);
  assertEquals(log, [
    'shutdown (SIGTERM): when the budget of 1,000 ms was spent, the thread had been blocked for 1,050 ms by task "stuck"',
    "end 1",
  ]);
});

Deno.test("A thread that gets free is told how long ago the signal came, and has the rest of the budget", () => {
  const { log, pass, signal, shutdown } = makeWorld({ blockMs: 1e6 });
  shutdown.expect({ signals: ["SIGTERM"], budgetMs: 1_000 });
  pass(25, true);
  signal("SIGTERM");
  pass(500, false);
  assertEquals(shutdown.begins(1_000), 500);
  pass(1_000, true);
  assertEquals(log, []);
});

Deno.test("A process whose thread is not blocked ends itself; the watchdog waits a second for that", () => {
  const { log, pass, shutdown } = makeWorld();
  shutdown.expect({ signals: [], budgetMs: 1_000 });
  assertEquals(shutdown.begins(1_000), 0);
  pass(1_975, true);
  assertEquals(log, []);
  pass(50, true);
  assertEquals(log.at(-1), "end 1");
  assertMatch(log[0] ?? "", /^shutdown \(begun\): when the budget/);
});

Deno.test("A signal that the program handles in another way ends nothing", () => {
  const { log, pass, signal, shutdown } = makeWorld();
  shutdown.expect({ signals: ["SIGTERM"], budgetMs: 500 });
  pass(25, true);
  signal("SIGTERM");
  pass(5_000, true);
  signal("SIGTERM");
  pass(400, true);
  signal("SIGTERM");
  assertEquals(log, []);
  assert(shutdown.begins(500) < 25);
});

Deno.test("A second signal ends a process whose thread is blocked, with its code; a repetition does not", () => {
  const { log, pass, signal, shutdown } = makeWorld({ blockMs: 1e6 });
  shutdown.expect({ signals: ["SIGTERM", "SIGINT"], budgetMs: 60_000 });
  pass(25, true);
  pass(225, false);
  signal("SIGTERM");
  pass(50, false);
  signal("SIGTERM");
  assertEquals(log, []);
  pass(200, false);
  signal("SIGINT");
  assertEquals(log, ["end 130"]);
});

Deno.test("Once the thread deals with the shutdown, the watchdog listens no more", () => {
  const { pass, signal, shutdown, listening } = makeWorld({ blockMs: 1e6 });
  shutdown.expect({ signals: ["SIGTERM"], budgetMs: 60_000 });
  pass(25, true);
  signal("SIGTERM");
  shutdown.begins(60_000);
  pass(300, true);
  assertEquals(listening(), ["SIGTERM"]);
  pass(200, true);
  assertEquals(listening(), []);
  pass(1_000, false);
  assertEquals(listening(), []);
});

Deno.test("While the thread is blocked, the watchdog goes on listening", () => {
  const { log, pass, signal, shutdown, listening } = makeWorld({
    blockMs: 1e6,
  });
  shutdown.expect({ signals: ["SIGTERM"], budgetMs: 60_000 });
  pass(25, true);
  signal("SIGTERM");
  shutdown.begins(60_000);
  pass(1_000, false);
  assertEquals(listening(), ["SIGTERM"]);
  signal("SIGTERM");
  assertEquals(log, ["end 143"]);
});

Deno.test("No shutdown is to be expected any more: nobody listens", () => {
  const { pass, shutdown, listening, guard } = makeWorld();
  shutdown.expect({ signals: ["SIGTERM"], budgetMs: 1_000 });
  pass(25, true);
  shutdown.expect(null);
  pass(25, true);
  assertEquals(listening(), []);
  shutdown.expect({ signals: ["SIGHUP"], budgetMs: 1_000 });
  pass(25, true);
  assertEquals(listening(), ["SIGHUP"]);
  guard.close();
  assertEquals(listening(), []);
});

// -- The board --

Deno.test("Names go onto the board once, long ones as far as they fit, and others by their id", () => {
  const board = new WatchBoard();
  board.nameTask(1, "täsk");
  board.nameTask(2, "");
  board.nameTask(3, "x".repeat(100));
  assertEquals(board.nameOf(1), "täsk");
  assertEquals(board.nameOf(2), "Task-2");
  assertEquals(board.nameOf(3), "x".repeat(63));
  assertEquals(board.nameOf(4), "Task-4");
  board.nameTask(1 + board.tags.length, "other"); // in the same slot
  assertEquals(board.nameOf(1), "Task-1");
  assertEquals(board.nameOf(1 + board.tags.length), "other");
  assertEquals(
    new WatchBoard(board.memory).nameOf(1 + board.tags.length),
    "other",
  );
});

Deno.test("Texts go onto the board until it is full, then they have a common one", () => {
  const board = new WatchBoard();
  const publisher = new StepPublisher(board);
  const loop = newEventLoop({ host: "virtual" });
  const names = new Set<string>();
  for (let n = 0; n < 2_000; n++) {
    const fn = () => {};
    Object.defineProperty(fn, "name", { value: `callback${n}` });
    publisher.entering(loop.callSoon(fn));
    names.add(board.describe(board.running()));
  }
  assertEquals(names.size, 1_024);
  assert(names.has('callback "callback0"'));
  assert(names.has("a callback"));
});

/** Runs `main` with steps published on a board of its own. */
async function published(
  main: (board: WatchBoard, told: () => string) => Promise<void>,
): Promise<void> {
  const board = new WatchBoard();
  stepWatch.current = new StepPublisher(board);
  try {
    await run(() => main(board, () => board.describe(board.running())), {
      host: "virtual",
      name: "main",
    });
  } finally {
    stepWatch.current = null;
  }
}

Deno.test("The board says at each moment what runs: steps, resumed functions, callbacks, waits in between", async () => {
  const log: string[] = [];
  await published(async (_, told) => {
    const { createTask, getRunningLoop } = await import("../../mod.ts");
    const say = (where: string) => log.push(`${where}: ${told()}`);
    say("main");
    const generator = createTask(function* () {
      say("first step");
      yield* sleep(1);
      say("second step");
    }, { name: "generator" });
    await generator;
    say("main");
    await Promise.all(["a", "b", "c"].map((name) =>
      createTask(async () => {
        await sleep(5);
        say(name);
        await sleep(0);
        say(name);
      }, { name })
    ));
    getRunningLoop().callLater(1, function timer() {
      say("timer");
    });
    getRunningLoop().callLater(1, () => say("arrow"));
    await sleep(2);
    say("main");
  });
  const resumed = (name: string) => `task "${name}", which was resumed last`;
  assertEquals(log, [
    "main: code outside of the loop's steps",
    'first step: task "generator"',
    'second step: task "generator"',
    `main: ${resumed("main")}`,
    `a: ${resumed("a")}`,
    `b: ${resumed("b")}`,
    `c: ${resumed("c")}`,
    `a: ${resumed("a")}`,
    `b: ${resumed("b")}`,
    `c: ${resumed("c")}`,
    'timer: callback "timer"',
    'arrow: callback "(anonymous)"',
    `main: ${resumed("main")}`,
  ]);
});

Deno.test("Many tasks that are resumed at once are named in groups, until they are to be told apart", async () => {
  const board = new WatchBoard();
  const publisher = new StepPublisher(board);
  const wrong: string[] = [];
  const sizes: number[] = [];
  stepWatch.current = publisher;
  try {
    await run(async () => {
      const { createTask, currentTask } = await import("../../mod.ts");
      const body = async () => {
        const { id } = currentTask()!;
        for (let round = 0; round < 4; round++) {
          if (round === 2) publisher.beExact();
          await sleep(0);
          const { kind, number, others } = board.running();
          if (kind !== "resumed" || ![number, ...others].includes(id)) {
            wrong.push(`${id} in round ${round}: ${kind} ${number} ${others}`);
          }
          if (round % 2 === 1) sizes.push(1 + others.length);
        }
      };
      await Promise.all(Array.from({ length: 100 }, () => createTask(body)));
    }, { host: "virtual" });
  } finally {
    stepWatch.current = null;
  }
  assertEquals(wrong, []);
  const [grouped, exact] = [sizes.slice(0, 100), sizes.slice(100)];
  assertEquals(grouped.slice(0, 3), [1, 1, 1]);
  assertEquals(Math.max(...grouped), 32);
  assertEquals(new Set(exact), new Set([1]));
});

Deno.test("A loop that waits runs nothing", async () => {
  let seen = "";
  await published(async (_, told) => {
    const waiting = new Promise<void>((resolve) => {
      setTimeout(() => {
        seen = told();
        resolve();
      }, 5);
    });
    const { until } = await import("../../mod.ts");
    await until(waiting);
  });
  assertEquals(seen, "code outside of the loop's steps");
});

// -- The class --

Deno.test("A watchdog is one at a time, closes twice, and can be made anew", async () => {
  for (let round = 0; round < 2; round++) {
    const watchdog = new Watchdog({ blockMs: 60_000 });
    assertThrows(() => new Watchdog(), MisuseError, "has one already");
    await watchdog.ready();
    await Promise.all([watchdog.close(), watchdog.close()]);
  }
});

Deno.test("A watchdog that is closed before its thread is there says so to those who wait for it", async () => {
  const watchdog = new Watchdog();
  const closing = watchdog.close();
  await assertRejects(() => watchdog.ready(), MisuseError, "it is closed");
  await closing;
});

Deno.test("Bad options of a watchdog are refused, and none is on then", () => {
  const bad: [options: unknown, error: typeof Error, message: string][] = [
    [null, TypeError, "options must be an object"],
    [{ blockMs: "1" }, TypeError, "blockMs must be a number"],
    [{ blockMs: NaN }, RangeError, "blockMs must not be NaN"],
    [{ blockMs: -1 }, RangeError, "blockMs must be >= 0"],
    [{ blockMs: 3 }, RangeError, "blockMs must be >= 4: received 3"],
    [{ endAfterMs: -1 }, RangeError, "endAfterMs must be >= 0"],
    [{ endAfterMs: 1 }, RangeError, "endAfterMs must be >= 4"],
    [{ exitCode: 1.5 }, RangeError, "exitCode must be an integer"],
    [{ exitCode: 256 }, RangeError, "exitCode must be <= 255"],
    [{ write: 1 }, TypeError, "write must be one of true, false"],
    [{ onBlock: 1 }, TypeError, "onBlock must be a function"],
    [{ guardShutdown: 1 }, TypeError, "guardShutdown must be one of"],
  ];
  for (const [options, error, message] of bad) {
    assertThrows(() => new Watchdog(options as never), error, message);
  }
  assertEquals(stepWatch.current, null);
});

// -- Real processes --

/** Asserts that lines are there in this order. On a machine that is busy a thread may be held up at other places, too. */
function assertInOrder(
  lines: readonly string[],
  expected: readonly string[],
): void {
  const rest = [...lines];
  const found = expected.filter((line) => {
    const at = rest.indexOf(line);
    if (at >= 0) rest.splice(0, at + 1);
    return at >= 0;
  });
  assertEquals(found, expected, lines.join("\n"));
}

Deno.test("A task that blocks for ever is named while it does, and the process ends with the code", async () => {
  const child = startChild("blocks", "ended", { env: { CODE: "7" } });
  const { code, killed, stderr } = await child.end();
  assertEquals({ code, killed }, { code: 7, killed: false });
  assertMatch(
    stderr,
    /^rota: watchdog: the thread has been blocked for .* ms by task "stuck"$/m,
  );
  assertMatch(stderr, /the process is ended, as the thread has been blocked/);
});

Deno.test("With --allow-run alone the process is killed", async () => {
  const child = startChild("blocks", "ended", {
    flags: ["--allow-read", "--allow-env", "--allow-run"],
    env: { CODE: "137" },
  });
  const { code, signal, killed } = await child.end();
  assertEquals({ code, signal, killed }, {
    code: 137,
    signal: "SIGKILL",
    killed: false,
  });
});

Deno.test("Blocks of every kind are named once they are over", async () => {
  const child = startChild("blocks", "kinds");
  const { code, stdout, stderr } = await child.end();
  const lines = stdout.trim().split("\n");
  const id = /^without a name: (\d+)$/.exec(lines.at(-1) ?? "")?.[1];
  assertEquals({ code, stderr }, { code: 0, stderr: "" });
  assertInOrder(lines, [
    'step: task "generator"',
    'step: task "first step"',
    'resumed: task "b", which was resumed last',
    'resumed: task "after sleep(0)", which was resumed last',
    'step: callback "compute"',
    'step: callback "timer"',
    "outside: code outside of the loop's steps",
    'step: task "every(5)"',
    `step: task "Task-${id}"`,
  ]);
});

for (const ranked of ["0", "1"]) {
  Deno.test(`Loops in debug mode are watched too (by priority: ${ranked})`, async () => {
    const child = startChild("blocks", "ranked", { env: { RANKED: ranked } });
    const { code, stdout } = await child.end();
    assertEquals(code, 0);
    assertInOrder(stdout.split("\n"), [
      'step: task "ranked"',
      'resumed: task "resumed", which was resumed last',
    ]);
  });
}

Deno.test("A watchdog can be turned on and off inside of a running loop", async () => {
  const { code, stdout } = await startChild("blocks", "inside").end();
  assertEquals(code, 0);
  assertInOrder(stdout.split("\n"), [
    'step: task "round 1"',
    'step: task "round 2"',
    "over",
  ]);
});

Deno.test("A listener that fails later is told of on standard error, and changes nothing", async () => {
  const { code, stdout, stderr } = await startChild("blocks", "failing").end();
  assertEquals(code, 0);
  assertMatch(stdout, /^over$/m);
  assertMatch(
    stderr,
    /^rota: a listener of the watchdog threw: Error: later$/m,
  );
});

Deno.test("A process that is suspended is not blocked", async () => {
  const child = startChild("blocks", "suspended");
  await waitForLine(child, "ready");
  child.send("SIGSTOP");
  // The time in which the process is not there is the subject of the test.
  await new Promise((resolve) => setTimeout(resolve, 1_500));
  child.send("SIGCONT");
  const { code, stdout } = await child.end();
  assertEquals({ code, stdout }, {
    code: 0,
    stdout: "was suspended\nover\n",
  });
});

Deno.test("A watchdog keeps no process alive", async () => {
  const { code, stdout } = await startChild("blocks", "alone").end();
  assertEquals({ code, stdout }, { code: 0, stdout: "over\n" });
});

Deno.test("What a watchdog may not do for lack of permissions is said when it is made", async () => {
  const missing =
    "WatchdogUnsupportedError: Cannot make a watchdog that ends the process: " +
    "the permission is missing, run with --allow-ffi, or with --allow-run for exit code 137\n";
  const unreadable = startChild("blocks", "permissions", {
    flags: ["--allow-env"],
  });
  const basics = ["--allow-read", "--allow-env"];
  const cases: [flags: string[], stdout: string][] = [
    [basics, `ends: never\n${missing}${missing}`],
    [
      [...basics, "--allow-run"],
      "ends: kill\nends: kill\nWatchdogUnsupportedError: Cannot make a watchdog that ends the process with code 3: " +
      "the permission is missing, run with --allow-ffi; with --allow-run alone the code is 137\n",
    ],
    [
      [...basics, "--allow-ffi"],
      "ends: exit\nends: exit\nends: exit\n",
    ],
  ];
  const outputs = cases.map(([flags]) =>
    startChild("blocks", "permissions", { flags }).end()
  );
  assertMatch(
    (await unreadable.end()).stdout,
    /^(WatchdogUnsupportedError: Cannot make a watchdog.*: the permission.* is missing, run with --allow-.*\n){3}$/,
  );
  assertEquals(
    (await Promise.all(outputs)).map(({ stdout }) => stdout),
    cases.map(([, expected]) => expected),
  );
});

// -- With a shutdown --

for (const scene of ["stuckAtSignal", "stuckHook"]) {
  Deno.test(`A thread that is stuck ends within the budget, with 1, and is named (${scene})`, async () => {
    const child = startChild("blocks", scene);
    await waitForLine(child, "ready");
    child.send("SIGTERM");
    const { code, killed, stderr } = await child.end();
    assertEquals({ code, killed }, { code: 1, killed: false });
    const name = scene === "stuckHook" ? "flush" : "stuck";
    assertMatch(
      stderr,
      new RegExp(
        `^rota: shutdown \\(SIGTERM\\): when the budget of [\\d,]+ ms was spent, the thread had been blocked for [\\d,]+ ms by task "${name}"$`,
        "m",
      ),
    );
  });
}

Deno.test("A watchdog that is made during the shutdown ends a thread that is stuck then", async () => {
  const child = startChild("blocks", "late");
  await waitForLine(child, "ready");
  child.send("SIGTERM");
  const { code, killed, stderr } = await child.end();
  assertEquals({ code, killed }, { code: 1, killed: false });
  assertMatch(
    stderr,
    /^rota: shutdown \(begun\): when the budget of [\d,]+ ms was spent, the thread had been blocked for [\d,]+ ms by task "flush"/m,
  );
});

Deno.test("A shutdown that the watchdog may not guard is told of when both are there", async () => {
  const flags = ["--allow-read", "--allow-env"];
  const told =
    /^rota: watchdog: a shutdown whose thread is blocked will not end within its budget: the permission to end the process is missing, run with --allow-ffi, or with --allow-run .*\n/;
  const { code, stdout, stderr } = await startChild("blocks", "unguarded", {
    flags,
  }).end();
  assertEquals(code, 0);
  assertMatch(stderr, new RegExp(`${told.source}(?:${told.source.slice(1)})$`));
  assertEquals(
    stdout,
    "WatchdogUnsupportedError: Cannot make a watchdog that ends a shutdown whose thread is blocked: the permission is missing, run with --allow-ffi, or with --allow-run for exit code 137\n",
  );
  const quiet = await startChild("blocks", "unguarded", {
    flags,
    env: { GUARD: "no" },
  }).end();
  assertEquals([quiet.code, quiet.stderr], [0, ""]);
});

Deno.test("With --allow-run alone a thread that is stuck is killed at the budget", async () => {
  const child = startChild("blocks", "stuckAtSignal", {
    flags: ["--allow-read", "--allow-env", "--allow-run"],
  });
  await waitForLine(child, "ready");
  child.send("SIGTERM");
  assertEquals((await child.end()).code, 137);
});

Deno.test("A thread that gets free within the budget shuts down as usual", async () => {
  const child = startChild("blocks", "free");
  await waitForLine(child, "ready");
  child.send("SIGTERM");
  const { code, stdout, stderr } = await child.end();
  assertEquals({ code, stdout, stderr }, {
    code: 0,
    stdout: "drain\n",
    stderr: "",
  });
});

for (const busy of ["0", "1"]) {
  Deno.test(`With a watchdog a second signal has its code as well (busy: ${busy})`, async () => {
    const child = startChild("blocks", "forced", { env: { BUSY: busy } });
    await waitForLine(child, "ready");
    child.send("SIGTERM");
    await waitForLine(child, "armed");
    child.send("SIGINT");
    const { code, killed } = await child.end();
    assertEquals({ code, killed }, { code: 130, killed: false });
  });
}

Deno.test("A second signal ends a thread that was stuck at the first one", async () => {
  const child = startChild("blocks", "stuckAtSignal", {
    env: { BUDGET: "60000" },
  });
  await waitForLine(child, "ready");
  child.send("SIGTERM");
  const timer = setInterval(() => child.send("SIGTERM"), 100);
  const { code, killed } = await child.end().finally(() =>
    clearInterval(timer)
  );
  assertEquals({ code, killed }, { code: 143, killed: false });
});
