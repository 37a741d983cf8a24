/**
 * What a loop does when every task waits and nothing is there to wake one.
 *
 * @module
 */
import { type BlockedTask, DeadlockError } from "../errors.ts";
import type { EventLoop } from "./event_loop.ts";
import type { DeadlockPolicy } from "./loop_options.ts";

/** How long all tasks must have been parked before a deadlock is reported on a host with a real clock. */
export const DEADLOCK_MS = 1_000;

/** Notices a deadlock of one loop, and reports it or ends the run. */
export class DeadlockWatch {
  private readonly loop: EventLoop;
  /** What the loop was asked to do; undefined leaves it to host and debug mode. */
  private readonly wanted: DeadlockPolicy | undefined;
  /** Whether this run has been told of a deadlock already. */
  private reported = false;

  constructor(loop: EventLoop, wanted: DeadlockPolicy | undefined) {
    this.loop = loop;
    this.wanted = wanted;
  }

  /** A new run may be told of a deadlock again. */
  reset(): void {
    this.reported = false;
  }

  /** Whether the loop, about to wait without a deadline, may be in a deadlock that counts. */
  isNeeded(): boolean {
    const loop = this.loop;
    return !loop["virtual"] && !this.reported && loop["tasks"].size > 0 &&
      loop["asyncOutside"] === 0 && loop["outside"] === 0 &&
      loop["descriptors"].size === 0 && loop["signals"].size === 0 &&
      this.policy() !== "ignore";
  }

  /** All tasks have been parked for {@linkcode DEADLOCK_MS}. */
  expired(): void {
    if (this.loop["ready"].length > 0 || !this.isNeeded()) return;
    this.tell(this.policy());
  }

  /** A virtual host has nothing to move its clock to. */
  starved(): void {
    const loop = this.loop;
    if (loop["forever"] || loop["tasks"].size === 0) return;
    const policy = this.policy();
    if (policy === "error" || (policy === "report" && !this.reported)) {
      this.tell(policy);
    }
  }

  private policy(): DeadlockPolicy {
    if (this.wanted !== undefined) return this.wanted;
    if (this.loop["virtual"]) return "error";
    return this.loop["debugging"] ? "report" : "ignore";
  }

  private tell(policy: DeadlockPolicy): void {
    this.reported = true;
    const error = this.describe();
    if (policy === "error") this.loop["failRun"](error);
    else {
      this.loop.callExceptionHandler({
        message: error.message,
        exception: error,
      });
    }
  }

  private describe(): DeadlockError {
    const loop = this.loop;
    const tasks: BlockedTask[] = loop["unfinishedTasks"]().map((task) => ({
      name: task.name,
      waitsFor: task["describeWait"](),
      ...loop["creationOf"](task),
    }));
    const list = tasks.map(({ name, waitsFor }) =>
      `\n  task "${name}" waits for ${waitsFor}`
    );
    return new DeadlockError(
      `Every task waits, and nothing is left that could wake one:${
        list.join("")
      }`,
      tasks,
    );
  }
}
