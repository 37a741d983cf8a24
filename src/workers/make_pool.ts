/**
 * Making of a pool: all that a pool needs once it has a job. Loaded with the first
 * job of the first pool.
 *
 * @module
 */
import type { PoolNames } from "./crash.ts";
import { lazyStarter } from "./lazy_link.ts";
import type { LinkStarter } from "./link.ts";
import { PoolCore } from "./pool_core.ts";
import type { PoolSettings } from "./pool_options.ts";
import type { PoolShutdown } from "./pool_shutdown.ts";
import type { PoolCounts } from "./pool_stats.ts";
import { transportedLocals } from "./transport.ts";

/** Parts of a pool that are there before its first job. */
export interface PoolPlan {
  /** Loads what starts a worker. */
  readonly loadStarter: () => Promise<LinkStarter>;
  readonly settings: PoolSettings;
  readonly names: PoolNames;
  readonly counts: PoolCounts;
  readonly shutdown: PoolShutdown;
}

/** Makes a pool. */
export function makePool(plan: PoolPlan): PoolCore {
  const { loadStarter, settings, names, counts, shutdown } = plan;
  return new PoolCore(lazyStarter(loadStarter), settings, names, {
    transportedLocals,
    counts,
    shutdown,
  });
}
