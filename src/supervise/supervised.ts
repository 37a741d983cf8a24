/**
 * The interface between a supervisor and whatever it supervises besides plain
 * tasks: other supervisors, pools, processes, servers.
 *
 * @module
 */
import type { EventLoop } from "../loop/event_loop.ts";
import type { Future } from "../loop/future.ts";
import type { ChildEnd } from "./child_end.ts";
import type { ShutdownType } from "./child_spec.ts";

/**
 * Result by which the `start` of a child says that the child is not to run. Like
 * OTP's `ignore`: no failure, and the child stays known as `"stopped"`, unless
 * it is temporary.
 *
 * @example A child that is not needed here
 * ```ts
 * import { ignore, run, Supervisor } from "@rota/rota";
 * import { assertEquals } from "@std/assert";
 *
 * await run(async () => {
 *   await using supervisor = new Supervisor({
 *     children: [{ id: "metrics", start: () => ignore }],
 *   });
 *   await supervisor.start();
 *   const [metrics] = await supervisor.whichChildren();
 *   assertEquals(metrics?.status, "stopped");
 * }, { host: "virtual" });
 * ```
 */
export const ignore: unique symbol = Symbol("ignore");

/** Key of the method by which a supervisor starts an object that can be supervised. */
export const supervised: unique symbol = Symbol("supervised");

/**
 * Something that a supervisor can start, watch and stop, and that is no task:
 * the `start` of a child returns it.
 *
 * @example A connection as a child
 * ```ts
 * import {
 *   type ChildControl,
 *   type ChildHost,
 *   run,
 *   type Supervisable,
 *   supervised,
 *   Supervisor,
 * } from "@rota/rota";
 * import { assertEquals } from "@std/assert";
 *
 * const log: string[] = [];
 * class Connection implements Supervisable {
 *   [supervised](host: ChildHost): ChildControl {
 *     log.push("open");
 *     host.started(this);
 *     return {
 *       stop: () => {
 *         log.push("closed");
 *         host.ended({ kind: "shutdown", reason: "shutdown" });
 *       },
 *       kill: () => host.ended({ kind: "killed" }),
 *     };
 *   }
 * }
 *
 * await run(async () => {
 *   await using supervisor = new Supervisor({
 *     children: [{ id: "db", start: () => new Connection() }],
 *   });
 *   await supervisor.start();
 * }, { host: "virtual" });
 * assertEquals(log, ["open", "closed"]);
 * ```
 */
export interface Supervisable {
  /** Whether it is a supervisor; its child has to be of that type then. */
  readonly isSupervisor?: boolean;
  /**
   * Starts it, once.
   *
   * @param host Told when it is ready, and when it has ended.
   * @returns The means to end it.
   */
  [supervised](host: ChildHost): ChildControl;
}

/** Supervisor, as a {@linkcode Supervisable} sees it. */
export interface ChildHost {
  /** The loop. */
  readonly loop: EventLoop;
  /** Name of the child in messages: those of its supervisors and its id, joined by "/". */
  readonly path: string;
  /** How long it may take to end, once it is asked to, in milliseconds: the `shutdown` of the child. */
  readonly shutdown: ShutdownType;
  /** How long it may go without a heartbeat, in milliseconds; `Infinity` if there is to be none. */
  readonly heartbeatMs: number;
  /** Whether the whole tree is being ended by cancellation, and this part will be stopped in its turn. */
  readonly endsWithTree: boolean;
  /** Whether it is ended, or is to be, only to be started again: see that of `ChildRun`. */
  readonly isRestarting: boolean;
  /** Called once, when the child is ready. */
  started(value?: unknown): void;
  /** Called when the child has shown that it is alive: see `heartbeatMs`. */
  heartbeat(): void;
  /**
   * Called once, when the child has ended, also if it has not become ready: a
   * crash is then a failed start.
   *
   * @param end How it has ended.
   * @param leftover Done when what could not be ended has ended after all; the
   * child is not started again before, unless it has `allowOverlap`.
   */
  ended(end: ChildEnd, leftover?: Future<unknown>): void;
}

/** The means to end a {@linkcode Supervisable} that was started. */
export interface ChildControl {
  /** Asks it to end. Called at most once. */
  stop(): void;
  /** Ends it at once, as far as possible, whether or not it was asked before. */
  kill(): void;
  /** Called when the stop of the supervisor waits for the start of this: a start that takes long may be given up. */
  hurry?(): void;
}

/** Whether a child's `start` has returned something to supervise in its place. */
export function isSupervisable(value: unknown): value is Supervisable {
  return typeof value === "object" && value !== null && supervised in value;
}
