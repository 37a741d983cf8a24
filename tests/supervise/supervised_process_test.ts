/**
 * Child processes under a supervisor: shells that do what a program may do.
 *
 * @module
 */
import { assert, assertEquals, assertInstanceOf } from "@std/assert";
import { ChildStartError, WorkerCrashError } from "../../src/errors.ts";
import { sleep } from "../../src/loop/mod.ts";
import {
  childProcess,
  type ChildProcessOptions,
  type SupervisedProcess,
} from "../../src/supervise/supervised_process.ts";
import { caught, STYLES } from "./stage.ts";
import { playForReal, Scene, untilSo } from "./support/scene.ts";

/** A program of the shell. */
function sh(script: string, options: ChildProcessOptions = {}) {
  return childProcess(["sh", "-c", script], options);
}

/** Says "ready" and waits for signals, which end it at once. */
const WAITING = "echo ready; exec sleep 1000";
/** The same, and does not heed SIGTERM. */
const STUBBORN = "trap '' TERM; echo ready; while :; do sleep 0.01; done";
const READY: ChildProcessOptions = { ready: (line) => line === "ready" };

/** Whether there is such a process. One that has ended, and that its new parent has not waited for yet, counts as gone. */
function exists(pid: number): boolean {
  try {
    Deno.kill(pid, "SIGCONT");
    return Deno.build.os !== "linux" ||
      !/\) Z/.test(Deno.readTextFileSync(`/proc/${pid}/stat`));
  } catch {
    return false;
  }
}

for (const style of STYLES) {
  Deno.test(`a process is ready when it says so, and ends by SIGTERM, ${style}`, async () => {
    await playForReal(style, function* () {
      const scene = new Scene({ start: sh(WAITING, READY) });
      yield scene.supervisor.start();
      const { pid } = (yield* scene.value()) as SupervisedProcess;
      assert(exists(pid));
      yield scene.supervisor.stop();
      assert(!exists(pid));
      assertEquals(scene.words, [
        "starting",
        "started",
        "stopping",
        "ended shutdown",
      ]);
    });
  });

  Deno.test(`a process is ready at once without ready(), ${style}`, async () => {
    await playForReal(style, function* () {
      const scene = new Scene({ start: sh("exec sleep 1000") });
      yield scene.supervisor.start();
      yield scene.supervisor.stop();
      assertEquals(scene.words.at(-1), "ended shutdown");
    });
  });

  Deno.test(`a process can be stopped by the end of its input, and written to, ${style}`, async () => {
    await playForReal(style, function* () {
      const lines: string[] = [];
      const scene = new Scene({
        start: sh(
          "echo ready; while read -r l; do echo got $l $A; done; echo bye",
          {
            ...READY,
            env: { A: "b" },
            onLine: (line) => void lines.push(line),
            stop: "close-stdin",
          },
        ),
      });
      yield scene.supervisor.start();
      const process = (yield* scene.value()) as SupervisedProcess;
      process.write("a\n");
      yield* untilSo("the answer", () => lines.length === 2);
      yield scene.supervisor.stop();
      assertEquals(lines, ["ready", "got a b", "bye"]);
      assertEquals(scene.words.at(-1), "ended shutdown");
    });
  });

  for (
    const [how, script, options, written, said] of [
      [
        "one that was written to has time after the end of its input",
        "while read -r l; do :; done; sleep 0.3; echo bye",
        {},
        true,
        ["bye"],
      ],
      [
        "one that was not gets SIGTERM soon, and may answer it by 143",
        "trap 'echo term; exit 143' TERM; while :; do sleep 0.01; done",
        {},
        false,
        ["term"],
      ],
      [
        "closeGraceMs is no longer than half of its time",
        "trap 'echo term; exit 143' TERM; while :; do sleep 0.01; done",
        { closeGraceMs: 1e6 },
        false,
        ["term"],
      ],
      [
        "with SIGTERM alone its input stays open",
        "trap 'echo term; exit 0' TERM; while read -r l; do :; done; echo no",
        { stop: "SIGTERM" },
        true,
        ["term"],
      ],
    ] as const
  ) {
    Deno.test(`how a process is stopped: ${how}, ${style}`, async () => {
      await playForReal(style, function* () {
        const lines: string[] = [];
        const scene = new Scene({
          start: sh(`echo ready; ${script}`, {
            ready: (line) => line === "ready",
            onLine: (line) => void lines.push(line),
            ...options,
          }),
          shutdown: "closeGraceMs" in options ? 1_000 : 60_000,
        });
        yield scene.supervisor.start();
        const process = (yield* scene.value()) as SupervisedProcess;
        if (written) process.write("a line\n");
        yield scene.supervisor.stop();
        assertEquals(lines, ["ready", ...said]);
        assertEquals(scene.words.at(-1), "ended shutdown");
      });
    });
  }

  Deno.test(`a heartbeat of a process whose output is not read is refused, ${style}`, async () => {
    await playForReal(style, function* () {
      const scene = new Scene({ start: sh(WAITING), heartbeatMs: 500 });
      const error = yield* caught(scene.supervisor.start());
      assertInstanceOf(error, ChildStartError);
      assertEquals(
        (error.cause as Error).message,
        'Cannot start child "top/a" with heartbeatMs: its output is not read, give heartbeat, ready or onLine to childProcess()',
      );
    });
  });

  Deno.test(`a process that refuses to stop is killed with its group, ${style}`, async () => {
    for (const shutdown of [50, "brutal-kill"] as const) {
      await playForReal(style, function* () {
        const pids: number[] = [];
        const scene = new Scene({
          start: sh(`sleep 1000 & echo $!; ${STUBBORN}`, {
            ...READY,
            onLine: (line) => void pids.push(Number(line)),
          }),
          shutdown,
        });
        yield scene.supervisor.start();
        const { pid } = (yield* scene.value()) as SupervisedProcess;
        yield scene.supervisor.stop();
        assertEquals(scene.words.at(-1), "ended killed");
        yield* untilSo(
          "they are gone",
          () => !exists(pid) && !exists(pids[0]!),
        );
      });
    }
  });

  for (
    const [script, kind, exitCode, text] of [
      ["exit 3", "exit", 3, "ended with exit code 3 before it was ready"],
      ["exit 0", "exit", 0, "ended with exit code 0 before it was ready"],
      ["kill -9 $$", "killed", 137, "was ended by SIGKILL before it was ready"],
    ] as const
  ) {
    Deno.test(`a process that does "${script}" fails to start, ${style}`, async () => {
      await playForReal(style, function* () {
        const scene = new Scene({ start: sh(script, READY) });
        const error = yield* caught(scene.supervisor.start());
        assertInstanceOf(error, ChildStartError);
        assertInstanceOf(error.cause, WorkerCrashError);
        assertEquals(error.cause.kind, kind);
        assertEquals(error.cause.exitCode, exitCode);
        assertEquals(
          error.cause.message,
          `The process of child "top/a" ${text}`,
        );
      });
    });
  }

  Deno.test(`a program that is not there, and a ready() that throws, are failed starts, ${style}`, async () => {
    const ready = () => {
      throw new RangeError("not so");
    };
    for (
      const [start, text] of [
        [childProcess(["/does/not/exist"]), "could not be started"],
        [sh(WAITING, { cwd: "/does/not/exist" }), "could not be started"],
        [sh(WAITING, { ready }), "not so"],
      ] as const
    ) {
      await playForReal(style, function* () {
        const scene = new Scene({ start });
        const error = yield* caught(scene.supervisor.start());
        assertInstanceOf(error, ChildStartError);
        const { message } = error.cause as Error;
        assert(message.includes(text), message);
      });
    }
  });

  Deno.test(`an onLine() or heartbeat() that throws ends the process, which has crashed with its error, ${style}`, async () => {
    for (const name of ["onLine", "heartbeat"] as const) {
      await playForReal(style, function* () {
        const error = new RangeError(name);
        const scene = new Scene({
          restart: "temporary",
          start: sh("read go; echo on; exec sleep 1000", {
            [name]: () => {
              throw error;
            },
          }),
        });
        yield scene.supervisor.start();
        const { pid, write } = (yield* scene.value()) as SupervisedProcess;
        write("go\n");
        yield* untilSo("its crash", () => scene.words.length === 3);
        assertEquals(scene.crash, error);
        assert(!exists(pid));
        yield scene.supervisor.stop();
      });
    }
  });

  Deno.test(`a line that is too long comes in pieces, ${style}`, async () => {
    await playForReal(style, function* () {
      const lengths: number[] = [];
      const scene = new Scene({
        start: sh(
          "head -c 2500000 /dev/zero | tr '\\0' a; echo; echo ready; exec sleep 1000",
          { ...READY, onLine: ({ length }) => void lengths.push(length) },
        ),
      });
      yield scene.supervisor.start();
      yield scene.supervisor.stop();
      assertEquals(lengths.pop(), "ready".length);
      assertEquals(lengths.length, 3);
      assertEquals(lengths.reduce((sum, length) => sum + length), 2_500_000);
    });
  });

  Deno.test(`a start that takes long is given up with the supervisor, ${style}`, async () => {
    await playForReal(style, function* (loop) {
      const scene = new Scene({
        start: sh("exec sleep 1000", READY),
        shutdown: 20,
      });
      const start = loop.createTask(() => scene.supervisor.start());
      yield sleep(30);
      yield scene.supervisor.stop();
      yield* caught(start);
    });
  });

  for (
    const [end, word] of [
      ["exit 0", "ended normal"],
      ["exit 7", "ended crash"],
      ["kill -9 $$", "ended crash"],
    ] as const
  ) {
    Deno.test(`a permanent process that does "${end}" is restarted, ${style}`, async () => {
      await playForReal(style, function* () {
        const scene = new Scene({
          start: sh(`echo ready; read -r line; ${end}`, READY),
        });
        yield scene.supervisor.start();
        const first = (yield* scene.value()) as SupervisedProcess;
        first.write("go\n");
        yield* untilSo("its restart", () => scene.starts === 2);
        assert(scene.words.includes(word));
        const second = (yield* scene.value()) as SupervisedProcess;
        assert(first.pid !== second.pid);
        yield scene.supervisor.stop();
      });
    });
  }

  Deno.test(`a process that sends no lines has lost its heartbeat, ${style}`, async () => {
    await playForReal(style, function* () {
      const scene = new Scene({
        start: sh(
          "for i in 1 2 3; do echo ready; sleep 0.01; done; exec sleep 1000",
          READY,
        ),
        heartbeatMs: 500,
      });
      yield scene.supervisor.start();
      yield* untilSo("its restart", () => scene.starts === 2);
      assertEquals((scene.crash as Error).name, "HeartbeatLostError");
      yield scene.supervisor.stop();
    });
  });

  Deno.test({
    name: `a process that takes more memory than it may is killed, ${style}`,
    ignore: Deno.build.os !== "linux",
    fn: async () => {
      await playForReal(style, function* () {
        const scene = new Scene({
          start: sh(WAITING, { ...READY, memoryBytesMax: 1_000 }),
          restart: "temporary",
        });
        yield scene.supervisor.start();
        yield* untilSo("its end", () => scene.words.length === 3);
        const error = scene.crash;
        assertInstanceOf(error, WorkerCrashError);
        assertEquals(error.kind, "out-of-memory");
        yield scene.supervisor.stop();
      });
    },
  });
}

Deno.test("what is wrong with a child process is said when it is made", () => {
  const cases: readonly (readonly [() => unknown, string])[] = [
    [
      () => childProcess("sh" as never),
      'Cannot make a child process as command must be an array: received "sh"',
    ],
    [
      () => childProcess([]),
      "Cannot make a child process as command must begin with a program: received []",
    ],
    [
      () => childProcess(["sh"], { memoryBytesMax: 0 }),
      "Cannot make a child process as memoryBytesMax must be an integer >= 1 or Infinity: received 0",
    ],
    [
      () => childProcess(["sh"], { closeGraceMs: -1 }),
      "Cannot make a child process as closeGraceMs must be >= 0: received -1",
    ],
    [
      () => childProcess(["sh"], { stop: "SIGINT" as never }),
      'Cannot make a child process as stop must be one of "close-stdin-then-SIGTERM", "close-stdin", "SIGTERM": received "SIGINT"',
    ],
  ];
  for (const [make, message] of cases) {
    let text = "";
    try {
      make();
    } catch (error) {
      text = (error as Error).message;
    }
    assertEquals(text, message);
  }
});
