/**
 * Child processes of real programs that are interrupted, killed and lack permissions.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { childProcess } from "../../src/supervise/supervised_process.ts";
import { STYLES } from "./stage.ts";
import { startChild, waitForLine } from "./support/child.ts";
import { playForReal, Scene, untilSo } from "./support/scene.ts";

const isLinux = Deno.build.os === "linux";

/** Waits for something that another process does. */
async function eventually(what: string, isSo: () => boolean): Promise<void> {
  const untilMs = performance.now() + 20_000;
  while (!isSo()) {
    assert(performance.now() < untilMs, `not in time: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** The fields of a process in `/proc` behind its name: state, parent and so on; none if it is gone. */
function fieldsOf(pid: number): string[] {
  try {
    const text = Deno.readTextFileSync(`/proc/${pid}/stat`);
    return text.slice(text.lastIndexOf(")") + 2).split(" ");
  } catch {
    return [];
  }
}

/** Whether a process runs: one that nobody has waited for does not. */
function runs(pid: number): boolean {
  return !["Z", undefined].includes(fieldsOf(pid)[0]);
}

/** Guards of the children of a process, by their ids. */
function guardsOf(parent: { readonly pid: number }): number[] {
  return [...Deno.readDirSync("/proc")]
    .map(({ name }) => Number(name))
    .filter((pid) => {
      if (!(pid > 0) || Number(fieldsOf(pid)[1]) !== parent.pid) return false;
      try {
        return Deno.readTextFileSync(`/proc/${pid}/cmdline`)
          .includes("read -r group") && runs(pid);
      } catch {
        return false;
      }
    });
}

Deno.test({
  name: "Ctrl-C stops a program, which stops its child by the end of its input",
  ignore: Deno.build.os === "windows",
  fn: async () => {
    const program = startChild("processes", "telling", { detached: true });
    await waitForLine(program, "ready");
    // Ctrl-C at a terminal is this: a signal to all of a group.
    Deno.kill(-program.pid, "SIGINT");
    const { code, stdout, stderr } = await program.end();
    assertEquals({ code, stdout, stderr }, {
      code: 0,
      stdout: "end of input\nstopped\n",
      stderr: "",
    });
  },
});

Deno.test({
  name:
    "a guard that is killed is replaced: a child does not outlive its parent",
  ignore: !isLinux,
  fn: async () => {
    const program = startChild("processes", "sleeping");
    const pid = Number(await program.line());
    await waitForLine(program, "ready");
    for (let times = 0; times < 2; times++) {
      const [guard] = guardsOf(program);
      Deno.kill(guard!, "SIGKILL");
      await eventually(
        "another guard",
        () => guardsOf(program).some((other) => other !== guard),
      );
    }
    assert(runs(pid));
    program.send("SIGKILL");
    await program.end();
    await eventually("the child is gone", () => !runs(pid));
  },
});

Deno.test({
  name: "a child whose guards do not last has crashed, and is restarted",
  ignore: !isLinux,
  fn: async () => {
    const program = startChild("processes", "sleeping");
    const pid = Number(await program.line());
    await waitForLine(program, "ready");
    const killed = new Set<number>();
    while (runs(pid)) {
      for (const guard of guardsOf(program)) {
        if (killed.has(guard) || killed.size === 4) continue;
        Deno.kill(guard, "SIGKILL");
        killed.add(guard);
      }
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
    assertEquals(killed.size, 4);
    const other = Number(await program.line());
    assert(other !== pid && runs(other));
    program.send("SIGTERM");
    const { stderr } = await program.end();
    assert(
      stderr.includes(
        'The process of child "supervisor/program" lost the shell that ends it with this process',
      ),
      stderr,
    );
  },
});

for (const style of STYLES) {
  Deno.test({
    name:
      `a group whose guard dies as it is to end is ended all the same, ${style}`,
    ignore: !isLinux,
    fn: async () => {
      await playForReal(style, function* () {
        const pids: number[] = [];
        const scene = new Scene({
          start: childProcess(["sh", "-c", "sleep 1000 & echo $!; wait"], {
            ready: (line) => pids.push(Number(line)) > 0,
          }),
          shutdown: "brutal-kill",
        });
        yield scene.supervisor.start();
        yield* untilSo("the guard", () => guardsOf(Deno).length === 1);
        Deno.kill(guardsOf(Deno)[0]!, "SIGKILL");
        yield scene.supervisor.stop();
        yield* untilSo("the rest is gone", () => !runs(pids[0]!));
        yield* untilSo("no guard is left", () => guardsOf(Deno).length === 0);
      });
    },
  });
}

Deno.test("what the permissions do not allow to look for is refused when it is made", async () => {
  const program = startChild("processes", "detection", {
    flags: ["--allow-read", "--allow-run", "--allow-env"],
  });
  const { stdout, stderr } = await program.end();
  const cannot = (what: string, rest: string) =>
    `DetectionUnsupportedError: Cannot ${what}, with --allow-${rest}`;
  assertEquals(stderr, "");
  assertEquals(stdout.trim().split("\n"), [
    cannot(
      "make a child process with memoryBytesMax: the memory of a process can be known on Linux only",
      "all",
    ),
    "made",
    cannot(
      "create a thread pool with unresponsiveMs: the CPU time of its workers can be known on Linux only",
      "ffi",
    ),
    "made",
    "made",
    cannot(
      "create a process pool with unresponsiveMs: the CPU time of its workers can be known on Linux only",
      "all",
    ),
    "made",
  ]);
});
