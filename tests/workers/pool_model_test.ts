/**
 * Random programs with a pool, whose workers and clock are played: see
 * `pool_model/play.ts`. `ROTA_POOL_SEEDS` says how many, `ROTA_POOL_SEED` where
 * to begin.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import { getRunningLoop, PriorityScheduler, run, sleep } from "../../mod.ts";
import { Play } from "./pool_model/play.ts";

const SEEDS = Number(Deno.env.get("ROTA_POOL_SEEDS") ?? 1_000);
const FIRST = Number(Deno.env.get("ROTA_POOL_SEED") ?? 0);
/** In parts, so that a failure is told before all of them have run. */
const PARTS = 5;

/** Words with which reports of the pool begin or go on, and none other is expected. */
const REPORTS =
  /^A thread of ThreadPool "test" (died|ended|could|did|was|had|sent|that ran)/;

/** Plays the program of a seed; returns what went wrong, or null. */
async function playSeed(seed: number): Promise<string | null> {
  const { promise, resolve } = Promise.withResolvers<string | null>();
  const options = [
    {},
    { scheduler: new PriorityScheduler() },
    { debug: true, slowCallbackMs: Infinity },
  ][seed % 3];
  const ended = run(function* () {
    const play = new Play(seed);
    try {
      getRunningLoop().setExceptionHandler((_, { message, exception }) => {
        if (!REPORTS.test(message)) throw exception ?? new Error(message);
      });
      for (const _ of play.steps()) {
        yield* sleep(0);
        yield* sleep(0);
      }
      resolve(null);
    } catch (error) {
      const stack = error instanceof Error ? error.stack : String(error);
      resolve([`seed ${seed}: ${stack}`, ...play.log].join("\n  "));
    }
  }, { host: "virtual", ...options });
  const failure = await promise;
  // A program that failed has left jobs behind: the loop waits for ever.
  if (failure === null) await ended;
  return failure;
}

for (let part = 0; part < PARTS; part++) {
  const first = FIRST + Math.floor(part * SEEDS / PARTS);
  const end = FIRST + Math.floor((part + 1) * SEEDS / PARTS);
  Deno.test(`no job is lost by the programs of the seeds ${first} to ${end - 1}`, async () => {
    for (let seed = first; seed < end; seed++) {
      assertEquals(await playSeed(seed), null);
    }
  });
}
