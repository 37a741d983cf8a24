/**
 * Programs whose shutdown ends in other ways than one run that returns, each by its name in the environment.
 *
 * @module
 */
import {
  getRunningLoop,
  newEventLoop,
  run,
  Runner,
  type RunOptions,
  sleep,
} from "../../../mod.ts";
import {
  gracefulShutdown,
  onShutdown,
  waitForShutdown,
} from "../../../src/supervise/graceful_shutdown.ts";
import { isListened } from "../../../src/host/signals.ts";
import { Watchdog } from "../../../src/supervise/watchdog.ts";
import type { RunShutdownOptions } from "../../../src/supervise/shutdown_options.ts";

const say = (text: string) => console.log(text);
const options = (shutdown: RunShutdownOptions = {}): RunOptions => ({
  name: "main",
  shutdown: { budgetMs: 60_000, waitForMain: false, ...shutdown },
});
const isGenerator = Deno.env.get("STYLE") === "generator";

/** A main that cleans up when it is cancelled, in the style of the environment. */
function cleansUp(name: string, ms: number, ready = () => {}) {
  return isGenerator
    ? function* () {
      ready();
      try {
        yield* sleep(1e9);
      } finally {
        yield* sleep(ms);
        say(name);
      }
    }
    : async () => {
      ready();
      try {
        await sleep(1e9);
      } finally {
        await sleep(ms);
        say(name);
      }
    };
}

/** Calls `fn` when it has been called `count` times. */
function after(count: number, fn: () => void): () => void {
  return () => {
    if (--count === 0) fn();
  };
}

const ready = () => say("ready");

/** Spins until so many milliseconds after `sinceMs`. */
function spinUntil(sinceMs: number, ms: number): void {
  while (performance.now() < sinceMs + ms);
}

const SCENES: Record<string, () => Promise<unknown>> = {
  /** Two loops whose mains are both cancelled, one of which takes longer. */
  twoCancelled: async () => {
    const both = after(2, ready);
    await Promise.all([
      run(cleansUp("one", 1, both), options()),
      run(cleansUp("two", 60, both), options()),
    ]);
    say("never");
  },

  /** The same, and a hook has thrown. */
  twoCancelledOneHookThrows: async () => {
    const both = after(2, ready);
    onShutdown("drain", () => {
      throw new RangeError("oh");
    }, { name: "bad" });
    await Promise.all([
      run(cleansUp("one", 60, both), options()),
      run(cleansUp("two", 1, both), options()),
    ]);
  },

  /** Two runners that are closed one after the other, when both runs are over. */
  closedInTurn: async () => {
    const both = after(2, ready);
    const runners = [new Runner(options()), new Runner(options())];
    await Promise.allSettled([
      runners[0]!.run(cleansUp("one", 1, both)),
      runners[1]!.run(cleansUp("two", 20, both)),
    ]);
    say("both are over");
    for (const runner of runners) await runner.close();
    say("never");
  },

  /** Besides a run that is cancelled there is a runner that does nothing and is never closed. */
  idleRunner: async () => {
    const runner = new Runner(options());
    await runner.run(() => sleep(1));
    await run(cleansUp("one", 1, ready), options());
    say("never");
  },

  /** One main has a result, the other is cancelled. */
  oneResult: async () => {
    const both = after(2, ready);
    const other = run(cleansUp("cancelled", 50, both), options());
    const result = await run(async () => {
      onShutdown("drain", () => sleep(20)); // in which this main ends
      both();
      return `result: ${await waitForShutdown()}`;
    }, options());
    say(result);
    await other;
  },

  /** The thread is free for the first 150 ms after the signal, and busy when the second one comes. */
  busyBeforeArmed: async () => {
    await run(async () => {
      onShutdown("drain", async () => {
        const startMs = performance.now();
        while (performance.now() < startMs + 130) await sleep(5);
        if (performance.now() > startMs + 180) return say("stalled");
        spinUntil(startMs, 350);
        say("late");
        spinUntil(startMs, 650);
        await sleep(1e9);
      });
      ready();
      await waitForShutdown();
    }, options({ budgetMs: 4_000 }));
  },

  /** The thread is busy at once when the first signal has come, and for longer than a twin of it may take. */
  busyAtOnce: async () => {
    await run(async () => {
      onShutdown("drain", async () => {
        const startMs = performance.now();
        say("busy");
        spinUntil(startMs, 500);
        await sleep(50);
        say("drained");
      });
      ready();
      await waitForShutdown();
    }, options());
  },

  /** The same, and then nothing ends until one more signal comes. */
  busyAtOnceThenForced: async () => {
    await run(async () => {
      onShutdown("drain", async () => {
        const startMs = performance.now();
        say("busy");
        spinUntil(startMs, 500);
        setTimeout(() => say("armed"), 100);
        await sleep(1e9);
      });
      ready();
      await waitForShutdown();
    }, options());
  },

  /** A watchdog listens to the signals as well, for some time after the first. */
  watched: async () => {
    await using watchdog = new Watchdog({ write: false });
    await watchdog.ready();
    await run(async () => {
      onShutdown("drain", async () => {
        setTimeout(() => say("armed"), 250);
        await sleep(1e9);
      });
      ready();
      await waitForShutdown();
    }, options({ budgetMs: 4_000 }));
  },

  /** The program begins the shutdown itself, and says when nobody listens any more after the first signal. */
  begunByProgram: async () => {
    await run(async () => {
      const shutdown = gracefulShutdown(options().shutdown);
      onShutdown("drain", () => sleep(1e9));
      shutdown.begin("upgrade");
      ready();
      while (isListened("SIGTERM")) await sleep(5);
      say("armed");
      await sleep(1e9);
    });
  },

  /** Other code listens to the signal in the way of Node. */
  besideNode: async () => {
    let count = 0;
    globalThis.process.on("SIGTERM", () => {
      if (++count === 1) setTimeout(() => say("armed"), 300);
    });
    await run(async () => {
      onShutdown("drain", () => sleep(1e9));
      ready();
      await sleep(1e9);
    }, options());
  },

  /** Signals of several kinds at once. */
  burst: async () => {
    await run(async () => {
      let begun = 0;
      onShutdown("drain", async () => {
        begun++;
        await sleep(20);
        say(`drained ${begun} time`);
      });
      ready();
      await waitForShutdown();
    }, options({ signals: ["SIGINT", "SIGTERM", "SIGHUP", "SIGUSR2"] }));
  },

  /** The second run of a runner, whose first one has asked for the shutdown. */
  secondRun: async () => {
    await using runner = new Runner();
    await runner.run(async () => {
      gracefulShutdown({ budgetMs: 60_000 });
      await sleep(1);
    });
    const result = await runner.run(async () => {
      ready();
      await waitForShutdown();
      await sleep(50);
      return "drained";
    });
    say(result);
  },

  /** The loop on which the phases are counted is closed in the middle of the shutdown. */
  countingLoopCloses: async () => {
    const loop = newEventLoop();
    gracefulShutdown({ loop, ...options({ preStopMs: 100 }).shutdown });
    loop.createTask(async () => {
      onShutdown("not-ready", async () => {
        say("not-ready");
        await sleep(1);
        loop.callSoon(() => loop.stop());
        await sleep(1e9);
      }, { name: "on the first loop" });
      await sleep(1e9);
    }, { name: "left" });
    const first = loop.runForever().then(() => loop.close());
    await run(async () => {
      onShutdown("stop-intake", () => say("stop-intake"));
      onShutdown("drain", async () => {
        await sleep(5);
        say("drain");
      });
      ready();
      await waitForShutdown();
      await sleep(1);
    }, options());
    await first;
  },

  /** The loop stops in the middle of the shutdown, and nothing else is left to do. */
  idleEnd: async () => {
    const loop = newEventLoop();
    gracefulShutdown({ loop, budgetMs: 60_000 });
    onShutdown("stop-intake", () => loop.stop());
    onShutdown("drain", () => say("never"), { name: "flush" });
    loop.callSoon(ready);
    await loop.runForever();
    say("stopped");
  },

  /** The program has set an exit code of its own. */
  ownCode: async () => {
    Deno.exitCode = 3;
    await run(async () => {
      ready();
      await waitForShutdown();
    }, options());
  },

  /** The program sets one in the middle of the shutdown: the one that a failed shutdown has. */
  ownCodeLater: async () => {
    await run(async () => {
      ready();
      await waitForShutdown();
      Deno.exitCode = 1;
    }, options());
  },

  /** The program has set one, and main has no result. */
  ownCodeCancelled: async () => {
    Deno.exitCode = 3;
    await run(cleansUp("one", 1, ready), options());
  },

  /** The program has set one, and the shutdown fails. */
  ownCodeFailed: async () => {
    Deno.exitCode = 3;
    await run(async () => {
      onShutdown("drain", () => {
        throw new RangeError("oh");
      });
      getRunningLoop().createTask(async () => {
        await new Promise((resolve) => setTimeout(resolve, 1e9));
      }, { name: "foreign" });
      ready();
      await waitForShutdown();
    }, options({ budgetMs: 400 }));
  },
};

await SCENES[Deno.env.get("SCENE") ?? ""]!();
