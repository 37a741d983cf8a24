/**
 * The default executor of a loop: the one that `runInExecutor(null, …)` and
 * `toThread` use. Made on first use, by a factory that `src/workers/` provides.
 *
 * @module
 */
import { ExecutorShutDownError, MisuseError } from "../errors.ts";
import type { Executor, ShutdownOptions } from "../workers/executor.ts";
import type { ExecutorTask, JobResult } from "../workers/module_task.ts";
import {
  checkNotNegative,
  checkOneOf,
  checkOptions,
  inspect,
} from "./checks.ts";
import type { EndListener } from "./endings.ts";
import type { EventLoop } from "./event_loop.ts";
import type { Future } from "./future.ts";
import { Operation } from "./operation.ts";
import type { Coroutine } from "./task_body.ts";

/** Makes the default executor of a loop. */
export type ExecutorFactory = (loop: EventLoop) => Executor;

let factory: ExecutorFactory | null = null;

/**
 * Sets the function that makes the default executors of all loops from now on.
 * `src/workers/default_executor.ts` does, when it is loaded.
 */
export function provideDefaultExecutor(make: ExecutorFactory): void {
  factory = make;
}

/** Throws unless `value` has the members of an executor that loops and load balancers use. */
export function checkExecutor(value: unknown, what: string): void {
  const { submit, shutdown, stats, capacity } = (value ?? {}) as Partial<
    Executor
  >;
  if (
    typeof value === "object" && typeof submit === "function" &&
    typeof shutdown === "function" && typeof stats === "function" &&
    typeof capacity === "number"
  ) return;
  throw new TypeError(
    `Cannot ${what} as executor must be an Executor: received ${
      inspect(value)
    }`,
  );
}

/** Default executor of one loop. */
export class DefaultExecutor implements EndListener {
  readonly #loop: EventLoop;
  #executor: Executor | null = null;
  /** The executor that the loop has made itself, which no other code can shut down. */
  #made: Executor | null = null;
  #isShutDown = false;

  constructor(loop: EventLoop) {
    this.#loop = loop;
  }

  /** Whether there is an executor to shut down. */
  get isInUse(): boolean {
    return this.#executor !== null;
  }

  /** Sets it. The one before is left alone. */
  set(executor: Executor): void {
    checkExecutor(executor, "set the default executor");
    this.#executor = executor;
  }

  /** Has `task` called by `executor`, or by the default one for null. */
  run<A extends readonly unknown[], R>(
    executor: Executor | null,
    task: ExecutorTask<A, R>,
    args: A,
  ): Future<JobResult<R>> {
    if (executor !== null) checkExecutor(executor, "run in an executor");
    const future = (executor ?? this.#get()).submit(task, args);
    if (future.loop === this.#loop) return future;
    future.cancel();
    throw new MisuseError(
      "Cannot run in an executor: it serves another event loop",
    );
  }

  #get(): Executor {
    if (this.#isShutDown) {
      throw new ExecutorShutDownError(
        "Cannot run in the default executor: it has been shut down",
      );
    }
    if (this.#executor !== null) return this.#executor;
    if (factory === null) {
      throw new MisuseError(
        'Cannot run in the default executor: there is none, import "@rota/rota" or "@rota/rota/workers" to have one made, or set one by setDefaultExecutor()',
      );
    }
    return this.#executor = this.#made = factory(this.#loop);
  }

  /** Shuts it down, and from then on refuses to use it. */
  shutDown(options: ShutdownOptions): Operation<void> {
    const what = "shut down the default executor";
    checkOptions(options, what);
    const { graceMs, cancelPending } = options;
    if (graceMs !== undefined) checkNotNegative(graceMs, what, "graceMs");
    checkOneOf(cancelPending, [undefined, true, false], what, "cancelPending");
    return new Operation<void>(() => this.#shutDown(options), {
      name: "shutdownDefaultExecutor()",
    });
  }

  *#shutDown(options: ShutdownOptions): Coroutine<void> {
    this.#isShutDown = true;
    const executor = this.#executor;
    const made = this.#made;
    try {
      if (executor !== null) yield* executor.shutdown(options);
    } finally {
      if (made !== null && made !== executor) yield* made.shutdown(options);
    }
  }

  /** Drops the executors, which end by themselves what they hold for the loop. */
  loopClosed(): void {
    this.#isShutDown = true;
    this.#executor = this.#made = null;
  }
}
