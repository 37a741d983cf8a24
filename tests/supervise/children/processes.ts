/**
 * Programs with a child process under a supervisor, each by its name in the environment.
 *
 * @module
 */
import { run, sleep } from "../../../mod.ts";
import { ProcessPool } from "../../../src/workers/process_pool.ts";
import { ThreadPool } from "../../../src/workers/thread_pool.ts";
import type { ChildSpec } from "../../../src/supervise/child_spec.ts";
import { Supervisor } from "../../../src/supervise/supervisor.ts";
import { childProcess } from "../../../src/supervise/supervised_process.ts";

const say = (text: string) => console.log(text);

/** Tells of the signals that it gets, and of the end of its input. */
const TELLING = 'trap "echo INT" INT; trap "echo TERM" TERM; echo $$; ' +
  "while read -r line; do :; done; echo end of input; exit 0";

/** Runs until it is told to stop, with a child process whose lines it prints. */
async function host(script: string, closeGraceMs?: number): Promise<void> {
  await run(async () => {
    const supervisor = new Supervisor({
      children: [{
        id: "program",
        start: childProcess(["/bin/sh", "-c", script], {
          ready: (line) => /^\d+$/.test(line),
          onLine: say,
          closeGraceMs,
        }),
        shutdown: 30_000,
      }],
    });
    await supervisor.start();
    say("ready");
    try {
      await sleep(1e9);
    } finally {
      await supervisor.stop();
      say("stopped");
    }
  }, { shutdown: { budgetMs: 60_000, waitForMain: false } });
}

function nameOf(make: () => unknown): string {
  try {
    make();
    return "made";
  } catch (error) {
    return `${(error as Error).name}: ${(error as Error).message}`;
  }
}

/** A heart that notices when its process was stopped for longer than it may be silent. */
class Heart {
  readonly #beat: () => void;
  #lastMs = performance.now();
  #left = Infinity;

  constructor(beat: () => void) {
    this.#beat = beat;
  }

  /** Beats once; false some time after the process was stopped. */
  goesOn(): boolean {
    const nowMs = performance.now();
    if (nowMs - this.#lastMs > 2 * HEARTBEAT_MS && this.#left === Infinity) {
      say("was stopped");
      this.#left = 4 * HEARTBEAT_MS / BEAT_MS;
    }
    this.#lastMs = nowMs;
    this.#beat();
    return this.#left-- > 0;
  }
}

const HEARTBEAT_MS = 100;
const BEAT_MS = 5;

/** Runs until a while after the process was stopped and goes on; tells of restarts. */
async function beat(start: ChildSpec["start"]): Promise<void> {
  await run(async () => {
    const supervisor = new Supervisor({
      autoShutdown: "any-significant",
      children: [{
        id: "heart",
        start,
        heartbeatMs: HEARTBEAT_MS,
        restart: "transient",
        significant: true,
      }],
    });
    await supervisor.start();
    say("ready");
    await supervisor.join();
    say(`restarts: ${supervisor.tree().restarts}`);
  });
}

const SCENES: Record<string, () => unknown> = {
  telling: () => host(TELLING, 10_000),
  sleeping: () => host("echo $$; exec sleep 1000"),

  beating: () =>
    beat(function* (started, run) {
      const heart = new Heart(() => run.heartbeat());
      started();
      while (heart.goesOn()) yield* sleep(BEAT_MS);
    }),
  beatingAsync: () =>
    beat(async (started, run) => {
      const heart = new Heart(() => run.heartbeat());
      started();
      while (heart.goesOn()) await sleep(BEAT_MS);
    }),

  /** What is asked for that the permissions do not allow. */
  detection: () => {
    say(nameOf(() => childProcess(["sh"], { memoryBytesMax: 1_000 })));
    say(nameOf(() => childProcess(["sh"])));
    say(nameOf(() => new ThreadPool({ unresponsiveMs: 1_000 })));
    say(nameOf(() => new ThreadPool({ unresponsiveMs: Infinity })));
    say(nameOf(() => new ThreadPool()));
    say(nameOf(() => new ProcessPool({ unresponsiveMs: 1_000 })));
    say(nameOf(() => new ProcessPool()));
  },
};

await SCENES[Deno.env.get("SCENE")!]!();
