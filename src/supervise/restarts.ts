/**
 * Restarts of one supervisor: whether there may be one more, when it is made, and
 * with whom.
 *
 * @module
 */
import { RestartLimitError } from "../errors.ts";
import { core as coreKey } from "../loop/core.ts";
import type { Coroutine } from "../loop/task_body.ts";
import { SeededRandom } from "../structures/random.ts";
import { nextSeed, seedOf } from "../workers/checks.ts";
import type { Child } from "./child.ts";
import type { SupervisedRun } from "./child_run.ts";
import { RestartDelays, Retry } from "./restart_delay.ts";
import { RestartIntensity } from "./restart_intensity.ts";
import { restartGroup, restartOne } from "./strategy.ts";
import type { SupervisorCore } from "./supervisor_core.ts";

let seeds = 0;

/** Makes restarts, and counts them. */
export class Restarts {
  /** How many there were; a group that is restarted together counts once. */
  made = 0;
  readonly delays: RestartDelays;
  readonly #core: SupervisorCore;
  readonly #intensity: RestartIntensity;
  #random: SeededRandom | null = null;

  constructor(core: SupervisorCore) {
    const { strategy, maxRestarts, withinMs } = core.settings;
    this.#core = core;
    this.#intensity = new RestartIntensity(maxRestarts, withinMs);
    this.delays = new RestartDelays(
      core,
      strategy === "one-for-all" || strategy === "rest-for-one",
    );
  }

  /** A child has failed: restarts it now, or has it wait for a delay. */
  handleFailure(run: SupervisedRun): Coroutine<void> | null {
    this.#countFailure(run);
    return this.#waits(run) ? null : this.make(run.child, false);
  }

  /**
   * Counts a restart and makes it, with the siblings that belong to it; has the supervisor give up if it is one too many.
   *
   * @param isAnnounced Whether listeners know of it, as there was a delay.
   */
  make(child: Child, isAnnounced: boolean): Coroutine<void> | null {
    const core = this.#core;
    if (this.#isHeldUp(child)) return null;
    if (!this.#intensity.count(core.loop.time())) {
      core.giveUp(child, this.#limitError(child));
      return null;
    }
    this.made++;
    child.restarts++;
    if (!isAnnounced && core.feed.isHeard) {
      core.emit("restarting", child.run!, { delayMs: 0 });
    }
    switch (core.settings.strategy) {
      case "one-for-all":
        return restartGroup(core, child, core.children.list.first!);
      case "rest-for-one":
        return restartGroup(core, child, child);
      default:
        return restartOne(core, child);
    }
  }

  /** A restart has failed at a child: it is tried again, behind all messages or after a delay. */
  tryAgain(run: SupervisedRun): void {
    const { child } = run;
    const core = this.#core;
    if (this.#isHeldUp(child)) return;
    this.#countFailure(run);
    if (!this.#waits(run)) {
      core.children.setStatus(child, "restarting");
      core.post(new Retry(child));
    }
  }

  /** A child that was due for a restart was terminated: siblings that were to be restarted with it are all the same. */
  passOn(): void {
    const core = this.#core;
    if (core.children.restarting === 0) return;
    for (
      let child = core.children.list.first;
      child !== undefined && this.delays.together;
      child = child.nextNode
    ) {
      if (child.status !== "restarting" || child.delay !== null) continue;
      core.post(new Retry(child));
      return;
    }
  }

  /** Whether an abandoned run of the child goes on. The restart, and its counting, come when that has ended. */
  #isHeldUp(child: Child): boolean {
    const core = this.#core;
    if (!core.isHeldUp(child)) return false;
    core.children.setStatus(child, "restarting");
    if (core.feed.isHeard) {
      const { waitsFor } = core.leftoversOf(child)![0]!;
      core.emit(
        "held-up",
        child.run!,
        waitsFor === undefined ? {} : { waitsFor },
      );
    }
    return true;
  }

  #countFailure(run: SupervisedRun): void {
    const { child } = run;
    if (child.settings.backoff === null) return;
    if (run.wasHealthy) child.failures = 0;
    child.failures++;
  }

  /** Has a child wait for its restart, if it has a delay or one is running; false if it is to be restarted now. */
  #waits(run: SupervisedRun): boolean {
    const { child } = run;
    const core = this.#core;
    if (!this.delays.join(child)) {
      const delayMs = this.#delayMs(child);
      if (!(delayMs > 0)) return false;
      this.delays.begin(child, delayMs);
    }
    core.children.setStatus(child, "restarting");
    if (core.feed.isHeard) {
      const delayMs = child.delay!.untilMs - core.loop.time();
      core.emit("restarting", run, { delayMs });
    }
    return true;
  }

  #delayMs(child: Child): number {
    const { backoff } = child.settings;
    if (backoff === null) return 0;
    this.#random ??= new SeededRandom(this.#core.settings.seed ?? this.#seed);
    return backoff.delayMs(child.failures, this.#random);
  }

  /** A seed of its own. On a virtual clock it does not depend on the machine. */
  get #seed(): number {
    const { loop } = this.#core;
    return loop[coreKey].virtual ? seedOf(0, loop.time(), seeds++) : nextSeed();
  }

  #limitError(child: Child): RestartLimitError {
    const { maxRestarts, withinMs } = this.#intensity;
    const { id, lastEnd } = child;
    return new RestartLimitError(
      `Supervisor "${this.#core.path}" has given up: child "${id}" needed one more restart than ${maxRestarts} within ${withinMs} ms`,
      id,
      maxRestarts,
      withinMs,
      lastEnd?.kind === "crash" ? { cause: lastEnd.error } : {},
    );
  }
}
