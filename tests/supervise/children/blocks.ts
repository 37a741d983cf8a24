/**
 * Programs whose thread is blocked under the eyes of a watchdog, each by its name in the environment.
 *
 * @module
 */
import {
  every,
  getRunningLoop,
  PriorityScheduler,
  run,
  sleep,
  until,
} from "../../../mod.ts";
import { onShutdown } from "../../../src/supervise/graceful_shutdown.ts";
import { Watchdog } from "../../../src/supervise/watchdog.ts";

const say = (text: string) => console.log(text);

/** Long enough for a watchdog that tells of 100 ms, but for a machine that is busy. */
const BLOCK_MS = 250;
/** In this time after a block the watchdog tells of it. */
const TOLD_MS = 1_000;
/** How often a block is made that a busy machine has kept from being seen. */
const ATTEMPTS = 3;

function spin(ms: number): void {
  const end = Date.now() + ms;
  while (Date.now() < end);
}

/** Blocks for ever. */
function hang(): never {
  for (;;);
}

/** How many blocks were told of. */
let told = 0;

/** Says which blocks are over. */
function watch(blockMs = 100): Watchdog {
  return new Watchdog({
    blockMs,
    write: false,
    onBlock: ({ kind, description }) => {
      told++;
      say(`${kind}: ${description}`);
    },
  });
}

/** Has something block the thread, and waits until the watchdog has told of it. */
async function toldOf(block: () => unknown): Promise<void> {
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const before = told;
    await block();
    const untilMs = Date.now() + BLOCK_MS + TOLD_MS;
    while (told === before && Date.now() < untilMs) await sleep(10);
    if (told > before) return;
  }
}

const SCENES: Record<string, () => Promise<unknown>> = {
  /** Named while it blocks, and ended. */
  ended: async () => {
    const watchdog = new Watchdog({
      blockMs: 100,
      endAfterMs: 600,
      exitCode: Number(Deno.env.get("CODE") ?? 1),
    });
    await watchdog.ready();
    await run(async () => {
      const loop = getRunningLoop();
      loop.createTask(function* () {
        yield* sleep(10);
        hang();
      }, { name: "stuck" });
      say("ready");
      await sleep(1e9);
    });
  },

  /** Blocks of every kind, each named after it is over. */
  kinds: async () => {
    await using watchdog = watch();
    await watchdog.ready();
    await run(async () => {
      const loop = getRunningLoop();
      await toldOf(() =>
        loop.createTask(function* () {
          yield* sleep(0);
          spin(BLOCK_MS);
        }, { name: "generator" })
      );
      await toldOf(() =>
        loop.createTask(async () => {
          spin(BLOCK_MS);
        }, { name: "first step" })
      );
      await toldOf(() =>
        Promise.all(
          ["a", "b", "c"].map((name) =>
            loop.createTask(async () => {
              await sleep(20);
              if (name === "b") spin(BLOCK_MS);
            }, { name })
          ),
        )
      );
      await toldOf(() =>
        loop.createTask(async () => {
          for (let count = 0; count < 5; count++) await sleep(0);
          spin(BLOCK_MS);
        }, { name: "after sleep(0)" })
      );
      await toldOf(() =>
        void loop.callSoon(function compute() {
          spin(BLOCK_MS);
        })
      );
      await toldOf(() =>
        void loop.callLater(5, function timer() {
          spin(BLOCK_MS);
        })
      );
      await toldOf(() => void setTimeout(() => spin(BLOCK_MS), 20));
      await toldOf(async () => {
        using job = every(5, function poll() {
          job.cancel();
          spin(BLOCK_MS);
        });
        await job.then(undefined, () => {});
      });
      let id = 0;
      await toldOf(() => {
        const task = loop.createTask(function* () {
          spin(BLOCK_MS);
        });
        id = task.id;
        return task;
      });
      say(`without a name: ${id}`);
    }, { name: "main" });
  },

  /** A loop that goes by priority, in debug mode. */
  ranked: async () => {
    await using watchdog = watch();
    await watchdog.ready();
    await run(async () => {
      getRunningLoop().setExceptionHandler(() => {});
      await toldOf(() =>
        getRunningLoop().createTask(function* () {
          spin(BLOCK_MS);
        }, { name: "ranked" })
      );
      await toldOf(() =>
        getRunningLoop().createTask(async () => {
          await sleep(5);
          spin(BLOCK_MS);
        }, { name: "resumed" })
      );
    }, {
      debug: true,
      scheduler: Deno.env.get("RANKED") === "1"
        ? new PriorityScheduler()
        : undefined,
    });
  },

  /** Turned on and off inside of a running loop. */
  inside: async () => {
    await run(async () => {
      for (let round = 1; round <= 2; round++) {
        const watchdog = watch();
        await watchdog.ready();
        await toldOf(() =>
          getRunningLoop().createTask(function* () {
            spin(BLOCK_MS);
          }, { name: `round ${round}` })
        );
        await watchdog.close();
        spin(BLOCK_MS);
      }
      say("over");
    });
  },

  /** Told of to a listener that fails later. */
  failing: async () => {
    await using watchdog = watch();
    watchdog.subscribe(async () => {
      await Promise.resolve();
      throw new Error("later");
    });
    await watchdog.ready();
    await run(() => toldOf(() => spin(BLOCK_MS)));
    say("over");
  },

  /** Suspended from outside, which is no block. */
  suspended: async () => {
    const blockMs = 700;
    await using watchdog = watch(blockMs);
    await watchdog.ready();
    await run(async () => {
      let last = Date.now();
      let endMs = Infinity;
      say("ready");
      while (last < endMs) {
        await sleep(20);
        const now = Date.now();
        if (now - last > 1_000) {
          say("was suspended");
          endMs = now + blockMs; // by then it would have told of a block
        }
        last = now;
      }
    });
    say("over");
  },

  /** The thread is blocked when the signal comes, and does not get free. */
  stuckAtSignal: async () => {
    const watchdog = new Watchdog({ blockMs: 1e6 });
    await watchdog.ready();
    await run(async () => {
      getRunningLoop().createTask(function* () {
        yield* sleep(100);
        say("ready");
        hang();
      }, { name: "stuck" });
      await sleep(1e9);
    }, { shutdown: { budgetMs: Number(Deno.env.get("BUDGET") ?? 1_000) } });
  },

  /** A hook of the shutdown blocks the thread. */
  stuckHook: async () => {
    const watchdog = new Watchdog({ blockMs: 1e6 });
    await watchdog.ready();
    await run(async () => {
      onShutdown("drain", function flush() {
        say("in the hook");
        hang();
      });
      await sleep(100);
      say("ready");
      await sleep(1e9);
    }, { shutdown: { budgetMs: Number(Deno.env.get("BUDGET") ?? 1_500) } });
  },

  /** The watchdog comes when the shutdown is under way. */
  late: async () => {
    await run(async () => {
      onShutdown("drain", async function flush() {
        const watchdog = new Watchdog({ blockMs: 1e6 });
        await until(watchdog.ready());
        await sleep(0);
        hang();
      });
      await sleep(10);
      say("ready");
      await sleep(1e9);
    }, { shutdown: { budgetMs: 1_500 } });
  },

  /** A watchdog that may not end the process, and a shutdown, in either order. */
  unguarded: async () => {
    const guardShutdown = Deno.env.get("GUARD") === "no" ? false : undefined;
    for (const isFirst of [true, false]) {
      let watchdog = isFirst ? new Watchdog({ guardShutdown }) : null;
      await run(async () => {
        watchdog ??= new Watchdog({ guardShutdown });
        await sleep(10);
      }, { shutdown: {} });
      await watchdog!.close();
    }
    try {
      new Watchdog({ guardShutdown: true });
    } catch (error) {
      say(`${error}`);
    }
  },

  /** The thread gets free within the budget. */
  free: async () => {
    const watchdog = new Watchdog({ blockMs: 1e6 });
    await watchdog.ready();
    await run(async () => {
      onShutdown("drain", () => say("drain"));
      await sleep(100);
      say("ready");
      spin(600);
      await sleep(1e9);
    }, { shutdown: { budgetMs: 60_000, waitForMain: false } });
  },

  /** With a watchdog, a second signal still has its code. */
  forced: async () => {
    const watchdog = new Watchdog();
    await watchdog.ready();
    await run(async () => {
      onShutdown("drain", async () => {
        setTimeout(() => {
          say("armed");
          if (Deno.env.get("BUSY") === "1") hang();
        }, 800);
        await sleep(1e9);
      });
      await sleep(100);
      say("ready");
      await sleep(1e9);
    }, { shutdown: { budgetMs: 60_000 } });
  },

  /** A watchdog does not keep a program alive that has nothing to do. */
  alone: async () => {
    const watchdog = new Watchdog();
    await watchdog.ready();
    say("over");
  },

  /** What a program may do is told when the watchdog is made. */
  permissions: async () => {
    for (
      const options of [{}, { endAfterMs: 1e6 }, {
        endAfterMs: 1e6,
        exitCode: 3,
      }]
    ) {
      try {
        const watchdog = new Watchdog(options);
        say(`ends: ${watchdog.ends}`);
        await watchdog.close();
      } catch (error) {
        say(String(error));
      }
    }
  },
};

await SCENES[Deno.env.get("SCENE") ?? ""]!();
