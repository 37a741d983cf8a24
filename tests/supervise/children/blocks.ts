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

/** Long enough for a watchdog that tells of 100 ms, also on a machine that is busy. */
const BLOCK_MS = 600;
const IDLE_MS = 300;

function spin(ms: number): void {
  const end = Date.now() + ms;
  while (Date.now() < end);
}

/** Blocks for ever. */
function hang(): never {
  for (;;);
}

/** Says which blocks are over. */
function watch(blockMs = 100): Watchdog {
  return new Watchdog({
    blockMs,
    write: false,
    onBlock: ({ kind, description }) => say(`${kind}: ${description}`),
  });
}

/** Waits until the watchdog has told of a block. */
async function toldOf(block: () => unknown): Promise<void> {
  block();
  await sleep(BLOCK_MS + IDLE_MS);
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
      await loop.createTask(function* () {
        yield* sleep(0);
        spin(BLOCK_MS);
      }, { name: "generator" });
      await sleep(IDLE_MS);
      await loop.createTask(async () => {
        spin(BLOCK_MS);
      }, { name: "first step" });
      await sleep(IDLE_MS);
      await Promise.all(
        ["a", "b", "c"].map((name) =>
          loop.createTask(async () => {
            await sleep(20);
            if (name === "b") spin(BLOCK_MS);
          }, { name })
        ),
      );
      await sleep(IDLE_MS);
      await loop.createTask(async () => {
        for (let count = 0; count < 5; count++) await sleep(0);
        spin(BLOCK_MS);
      }, { name: "after sleep(0)" });
      await sleep(IDLE_MS);
      loop.callSoon(function compute() {
        spin(BLOCK_MS);
      });
      await sleep(BLOCK_MS + IDLE_MS);
      loop.callLater(5, function timer() {
        spin(BLOCK_MS);
      });
      await sleep(BLOCK_MS + IDLE_MS);
      setTimeout(() => spin(BLOCK_MS), 20);
      await sleep(BLOCK_MS + IDLE_MS);
      using job = every(5, function poll() {
        job.cancel();
        spin(BLOCK_MS);
      });
      await job.then(undefined, () => {});
      await sleep(IDLE_MS);
      const task = loop.createTask(function* () {
        spin(BLOCK_MS);
      });
      await task;
      await sleep(IDLE_MS);
      say(`without a name: ${task.id}`);
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

  /** Suspended from outside, which is no block. */
  suspended: async () => {
    await using watchdog = watch(1_000);
    await watchdog.ready();
    await run(async () => {
      say("ready");
      // As many beats as the watchdog would need to tell of a block.
      const wakened = Date.now() + 4_000;
      let last = Date.now();
      while (Date.now() < wakened || last === 0) {
        await sleep(20);
        if (Date.now() - last > 1_500) say("was suspended");
        last = Date.now();
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
