/**
 * Pools whose workers are killed at random, and jobs whose runs are counted
 * outside of the pool.
 *
 * @module
 */
import { settlePoolOptions } from "../../../src/workers/pool_options.ts";
import { BaseExecutor } from "../../../src/workers/base_executor.ts";
import type {
  ExecutorStats,
  ShutdownOptions,
  SubmitOptions,
} from "../../../src/workers/executor.ts";
import type { LinkStarter, WorkerLink } from "../../../src/workers/link.ts";
import {
  type ExecutorTask,
  type JobResult,
  toTaskRef,
} from "../../../src/workers/module_task.ts";
import { PoolCore } from "../../../src/workers/pool_core.ts";
import {
  checkSubmitOptions,
  copyArguments,
} from "../../../src/workers/submit_options.ts";
import type { SeededRandom } from "../../../src/structures/random.ts";
import type { Future, Operation } from "@rota/rota";

/** A pool that lends its workers to whoever wants to kill them. */
export class FragilePool extends BaseExecutor {
  readonly #core: PoolCore;
  readonly #alive = new Set<WorkerLink>();
  /** How many workers were killed. */
  kills = 0;

  constructor(starter: LinkStarter, kind: "thread" | "process") {
    super();
    const settings = settlePoolOptions(
      {
        maxWorkers: 2,
        onCrash: "retry",
        retriesMax: 1_000,
        maxRestarts: 1_000_000,
        backoff: { minMs: 0.1, maxMs: 1, seed: 1 },
      },
      "create a fragile pool",
      2,
    );
    const watched: LinkStarter = (listener) => {
      const link = starter({
        ready: () => {
          this.#alive.add(link);
          listener.ready();
        },
        returned: (id, value) => listener.returned(id, value),
        threw: (id, error) => listener.threw(id, error),
        progressed: (id, value) => listener.progressed(id, value),
        nested: (id, spec, onProgress) => listener.nested(id, spec, onProgress),
        answered: (usedBytes) => listener.answered(usedBytes),
        ended: (end) => {
          this.#alive.delete(link);
          listener.ended(end);
        },
      });
      return link;
    };
    this.#core = new PoolCore(watched, settings, { pool: "FragilePool", kind });
  }

  get capacity(): number {
    return this.#core.capacity;
  }

  submit<A extends readonly unknown[], R>(
    task: ExecutorTask<A, R>,
    args: A,
    options?: SubmitOptions,
  ): Future<JobResult<R>> {
    const ref = toTaskRef(task, "submit a job");
    const given = copyArguments(args);
    return this.#core.submit(ref, given, checkSubmitOptions(options));
  }

  shutdown(options?: ShutdownOptions): Operation<void> {
    return this.#core.shutdown(options);
  }

  stats(): ExecutorStats {
    return this.#core.stats();
  }

  /** Kills one of the workers that are ready, if there is one. */
  killOne(random: SeededRandom): void {
    const links = [...this.#alive];
    if (links.length === 0) return;
    links[Math.floor(random.next() * links.length)]!.kill();
    this.kills++;
  }
}
