/**
 * All suites, by name.
 *
 * @module
 */
import { suites as abort } from "../abort_bench.ts";
import { suites as asyncSwitch } from "../async_switch_bench.ts";
import { suites as bulk } from "../bulk_bench.ts";
import { suites as chain } from "../chain_bench.ts";
import { suites as debug } from "../debug_bench.ts";
import { suites as explore } from "../explore_bench.ts";
import { suites as generatorSwitch } from "../generator_switch_bench.ts";
import { suites as handOff } from "../hand_off_bench.ts";
import { suites as latency } from "../latency_bench.ts";
import { suites as limit } from "../limit_bench.ts";
import { suites as observe } from "../observe_bench.ts";
import { suites as pipe } from "../pipe_bench.ts";
import { suites as pool } from "../pool_bench.ts";
import { suites as priorities } from "../priorities_bench.ts";
import { suites as priorityJobs } from "../priority_jobs_bench.ts";
import { suites as processPool } from "../process_pool_bench.ts";
import { suites as sources } from "../sources_bench.ts";
import { suites as spawn } from "../spawn_bench.ts";
import { suites as supervise } from "../supervise_bench.ts";
import { suites as tenAtOnce } from "../ten_at_once_bench.ts";
import { suites as timers } from "../timers_bench.ts";
import type { Suite } from "./suite.ts";

/** Every suite there is. */
export const SUITES: readonly Suite[] = [
  ...chain,
  ...bulk,
  ...generatorSwitch,
  ...asyncSwitch,
  ...priorities,
  ...timers,
  ...pipe,
  ...spawn,
  ...handOff,
  ...sources,
  ...tenAtOnce,
  ...abort,
  ...limit,
  ...priorityJobs,
  ...pool,
  ...processPool,
  ...supervise,
  ...debug,
  ...observe,
  ...explore,
  ...latency,
];
