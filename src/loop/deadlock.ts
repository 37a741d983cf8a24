/**
 * Deadlocks: every task of a loop waits, and nothing is left that could wake one.
 * Also what looks like one: a virtual clock that stands still for something outside.
 *
 * @module
 */
import { describeWait } from "./waiters.ts";
import { type BlockedTask, DeadlockError } from "../errors.ts";
import { core } from "./core.ts";
import type { EventLoop } from "./event_loop.ts";
import type { DeadlockPolicy } from "./loop_options.ts";

/** How long all tasks must have been parked before a deadlock is reported on a host with a real clock. */
export const DEADLOCK_MS = 1_000;

/** Beginning of the message about a virtual clock that stands still: no mistake by itself, as work outside may take its time. */
export const STOOD_STILL = "The virtual clock has stood still";

/** Notices a deadlock of one loop, and reports it or ends the run. */
export class DeadlockWatch {
  private readonly loop: EventLoop;
  /** Policy that the loop was given; undefined leaves it to host and debug mode. */
  private readonly wanted: DeadlockPolicy | undefined;
  /** Whether a deadlock of this run has been reported already. */
  private reported = false;
  /** Whether a clock that stood still has been reported in this run. */
  private standstillReported = false;

  constructor(loop: EventLoop, wanted: DeadlockPolicy | undefined) {
    this.loop = loop;
    this.wanted = wanted;
  }

  /** Allows a report in a new run. */
  reset(): void {
    this.reported = this.standstillReported = false;
  }

  /** Whether the loop, about to wait without a deadline, may be in a deadlock that counts. */
  isNeeded(): boolean {
    const { virtual, tasks, outside, descriptors, signals } = this.loop[core];
    return !virtual && !this.reported && tasks.size > 0 &&
      !outside.isPending && descriptors.size === 0 && signals.size === 0 &&
      this.policy() !== "ignore";
  }

  /** All tasks have been parked for {@linkcode DEADLOCK_MS}. */
  expired(): void {
    if (this.loop[core].readyCount() > 0 || !this.isNeeded()) return;
    this.tell(this.policy());
  }

  /** Called when a virtual host has nothing to move its clock to. */
  starved(): void {
    const { tasks } = this.loop[core];
    if (this.loop[core].runsForever() || tasks.size === 0) return;
    const policy = this.policy();
    if (policy === "error" || (policy === "report" && !this.reported)) {
      this.tell(policy);
    }
  }

  /** Called when a virtual clock has stood still for a second of real time. */
  stoodStill(why: "outside" | "held"): void {
    if (this.standstillReported) return;
    this.standstillReported = true;
    const message = `${STOOD_STILL} for a second, as ` + (
      why === "held"
        ? "every task waits, and nothing advances the clock: it does not jump by itself."
        : "something outside the loop may still wake a task. A promise of an async function of your own counts as " +
          "that: give the function itself to until() or gather()."
    );
    this.loop.callExceptionHandler({
      message: message + listOf(this.blockedTasks()),
    });
  }

  private policy(): DeadlockPolicy {
    if (this.wanted !== undefined) return this.wanted;
    if (this.loop[core].virtual) return "error";
    return this.loop[core].debugging ? "report" : "ignore";
  }

  private tell(policy: DeadlockPolicy): void {
    this.reported = true;
    const error = this.describe();
    if (policy === "error") this.loop[core].failRun(error);
    else {
      this.loop.callExceptionHandler({
        message: error.message,
        exception: error,
      });
    }
  }

  private describe(): DeadlockError {
    const tasks = this.blockedTasks();
    return new DeadlockError(
      `Every task waits, and nothing is left that could wake one:${
        listOf(tasks)
      }`,
      tasks,
    );
  }

  private blockedTasks(): BlockedTask[] {
    const { debug, tasks: unfinished } = this.loop[core];
    return unfinished.toArray().map((task) => ({
      name: task.name,
      waitsFor: task[describeWait](),
      ...debug.creationOf(task),
    }));
  }
}

function listOf(tasks: readonly BlockedTask[]): string {
  return tasks.map(({ name, waitsFor }) =>
    `\n  task "${name}" waits for ${waitsFor}`
  ).join("");
}
