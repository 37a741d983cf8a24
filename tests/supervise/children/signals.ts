/**
 * Programs that are sent signals, each by its name in the environment.
 *
 * @module
 */
import {
  Flag,
  getRunningLoop,
  newEventLoop,
  run,
  Runner,
  type RunOptions,
  sleep,
} from "../../../mod.ts";
import { provideDefaultExecutor } from "../../../src/loop/default_executor.ts";
import { ThreadPool } from "../../../src/workers/thread_pool.ts";
import {
  gracefulShutdown,
  onShutdown,
  waitForShutdown,
} from "../../../src/supervise/graceful_shutdown.ts";
import type { RunShutdownOptions } from "../../../src/supervise/shutdown_options.ts";

const say = (text: string) => console.log(text);
const options = (shutdown: RunShutdownOptions = {}): RunOptions => ({
  name: "main",
  shutdown: { budgetMs: 60_000, ...shutdown },
});

/** Says when signals that come from now on do not count as one with the first. */
const sayWhenArmed = () => setTimeout(() => say("armed"), 300);

const SCENES: Record<string, () => Promise<unknown>> = {
  /** Drains at once, and goes on behind the run. */
  clean: async () => {
    const result = await run(async () => {
      say("ready");
      await waitForShutdown();
      return "result";
    }, options());
    say(`behind the run: ${result}`);
  },

  /** Main does nothing about the shutdown, and is cancelled. */
  cancelled: async () => {
    await run(async () => {
      say("ready");
      try {
        await sleep(1e9);
      } finally {
        await sleep(5);
        say("cleaned up");
      }
    }, options({ waitForMain: false }));
    say("never");
  },

  /** The same, without a say over the process. */
  noExit: async () => {
    const error = await run(async () => {
      say("ready");
      await sleep(1e9);
    }, options({ waitForMain: false, exit: false })).catch((error) => error);
    say(`${error}`);
  },

  /** Nothing ends by itself, until a second signal. */
  forced: async () => {
    await run(async () => {
      onShutdown("drain", async () => {
        say("draining");
        sayWhenArmed();
        await sleep(1e9);
      });
      say("ready");
      await sleep(1e9);
    }, options());
  },

  /** A hook keeps the thread, when the second signal comes. */
  forcedBusy: async () => {
    await run(async () => {
      onShutdown("drain", async () => {
        sayWhenArmed();
        await sleep(400);
        say("spinning");
        for (;;);
      });
      say("ready");
      await sleep(1e9);
    }, options());
  },

  /** Other code listens to the signal as well. */
  forcedBesideListener: async () => {
    await run(async () => {
      onShutdown("drain", async () => {
        const other = newEventLoop();
        other.addSignalHandler("SIGTERM", () => say("other"));
        sayWhenArmed();
        await sleep(1e9);
      });
      say("ready");
      await sleep(1e9);
    }, options());
  },

  /** Several signals at once are one. */
  burst: async () => {
    await run(async () => {
      let begun = 0;
      onShutdown("drain", async () => {
        begun++;
        await sleep(20);
        say(`drained ${begun} time`);
      });
      say("ready");
      await waitForShutdown();
    }, options());
  },

  /** The signal comes before main has set anything up. */
  start: async () => {
    await run(async () => {
      say("ready");
      await sleep(1e9); // connects to something that is not there
      onShutdown("drain", () => say("never"));
    }, options({ budgetMs: 400 }));
  },

  /** The thread is busy when the signal comes, and gets free. */
  busy: async () => {
    await run(async () => {
      say("ready");
      const end = Date.now() + 300;
      while (Date.now() < end);
      say("free");
      say(`reason: ${await waitForShutdown()}`);
    }, options());
  },

  /** One hook throws, one hangs outside of the loop, one hangs inside. */
  hooks: async () => {
    await run(async () => {
      onShutdown("drain", () => {
        throw new RangeError("oh");
      }, { name: "throws" });
      onShutdown("drain", () => new Promise(() => setInterval(() => {}, 1e6)), {
        name: "hangs outside",
      });
      onShutdown("drain", function* () {
        yield* sleep(1e9);
      }, { name: "hangs inside" });
      onShutdown("drain", async () => {
        await sleep(10);
        say("good");
      });
      onShutdown("cancel", () => say("next phase"));
      say("ready");
      await waitForShutdown();
    }, options({ budgetMs: 1_000 }));
    say("never");
  },

  /** Something that no loop knows keeps the process alive. */
  outside: async () => {
    setInterval(() => {}, 1e6);
    await run(async () => {
      say("ready");
      await waitForShutdown();
    }, options({ budgetMs: 300 }));
    say("behind the run");
  },

  /** A handler of the program takes precedence. */
  handler: async () => {
    await run(async () => {
      const loop = getRunningLoop();
      const done = loop.createFuture<void>();
      loop.addSignalHandler("SIGTERM", () => done.setResult());
      say("ready");
      await done;
      say("handled");
      loop.removeSignalHandler("SIGTERM");
      await waitForShutdown();
      say("shut down");
    }, options());
  },

  /** A loop without a run. */
  forever: async () => {
    await using loop = newEventLoop();
    gracefulShutdown({ loop, budgetMs: 60_000 });
    loop.createTask(async () => {
      say("ready");
      try {
        await sleep(1e9);
      } finally {
        say("task is cancelled");
      }
    });
    await loop.runForever();
    say("stopped");
  },

  /** Asked for inside of a run, by two parts of the program. */
  inside: async () => {
    await run(async () => {
      const shutdown = gracefulShutdown({ budgetMs: 60_000 });
      say(`${gracefulShutdown() === shutdown}`);
      onShutdown("drain", () => say("drain"));
      say("ready");
      await waitForShutdown();
    });
  },

  /** SIGINT is left to the run. */
  named: async () => {
    const error = await run(async () => {
      say("ready");
      await sleep(1e9);
    }, options({ signals: ["SIGUSR2"], waitForMain: false })).catch((error) =>
      error
    );
    say(`${error}`);
  },

  /** Two loops on one thread. */
  twoLoops: async () => {
    let ready = 0;
    const main = async () => {
      const name = getRunningLoop();
      onShutdown("drain", () => {
        if (getRunningLoop() !== name) say("wrong loop");
        else say("drain");
      });
      if (++ready === 2) say("ready");
      await waitForShutdown();
    };
    await Promise.all([run(main, options()), run(main, options())]);
    say("both have returned");
    await run(async () => say("never"), options()).catch((error) =>
      say(`${error}`)
    );
  },

  /** A run that ends by itself: the signals have their default action again. */
  over: async () => {
    await run(async () => {}, options());
    say("ready");
    await new Promise((resolve) => setTimeout(resolve, 1e6));
  },

  /** Main has ended, and what it has left behind cleans up. */
  leftovers: async () => {
    await run(async () => {
      const drained = new Flag();
      onShutdown("drain", () => {
        say("drain");
        drained.set();
      });
      getRunningLoop().createTask(async () => {
        try {
          await sleep(1e9);
        } finally {
          say("ready");
          await drained.wait();
          say("cleaned up");
        }
      });
      await sleep(1);
    }, options());
    say("behind the run");
  },

  /** The same, and what is left waits outside of the loop. */
  foreignLeftovers: async () => {
    await run(async () => {
      getRunningLoop().createTask(async () => {
        try {
          await sleep(1e9);
        } finally {
          say("ready");
          await new Promise((resolve) => setTimeout(resolve, 1e9));
        }
      }, { name: "leftover" });
      await sleep(1);
    }, options({ budgetMs: 500 }));
  },

  /** Between two runs of a runner. */
  runner: async () => {
    await using runner = new Runner(options());
    await runner.run(async () => {});
    say("ready");
    await new Promise((resolve) => setTimeout(resolve, 500));
    say(String(await runner.run(async () => {}).catch((error) => error)));
    onShutdown("drain", () => say("drain"));
  },

  /** A hook that was registered before there was a loop. */
  early: async () => {
    onShutdown("drain", async () => {
      await sleep(5);
      say(`drain, ${getRunningLoop().isRunning()}`);
    });
    await run(async () => {
      say("ready");
      await waitForShutdown();
    }, options());
  },

  /** A thread of the default executor computes for ever, and nobody waits for it. */
  executor: async () => {
    provideDefaultExecutor(() => new ThreadPool({ maxWorkers: 1 }));
    await run(async () => {
      const job = getRunningLoop().runInExecutor(null, () => {
        for (;;);
      });
      job.addDoneCallback(() => say(`job cancelled: ${job.cancelled()}`));
      await sleep(300);
      say("ready");
      await waitForShutdown();
    }, options({ budgetMs: 4_000 }));
    say("behind the run");
  },

  /** Main fails while it is being shut down. */
  failing: async () => {
    await run(async () => {
      onShutdown("drain", () => say("drain"));
      say("ready");
      await waitForShutdown();
      throw new RangeError("main failed");
    }, options());
  },
};

await SCENES[Deno.env.get("SCENE") ?? ""]!();
