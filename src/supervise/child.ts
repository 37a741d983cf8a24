/**
 * A child as its supervisor keeps it: what is known of it over all its runs.
 *
 * @module
 */
import type { LinkedList, ListNode } from "../structures/linked_list.ts";
import type { ChildEnd } from "./child_end.ts";
import type { SupervisedRun } from "./child_run.ts";
import {
  type ChildSettings,
  type ChildStart,
  saysStarted,
} from "./child_spec.ts";
import type { RestartDelay } from "./restart_delay.ts";

/**
 * State of a child for calls: `"running"` from its start until its end has been
 * handled, `"restarting"` while it waits for its restart, else `"stopped"`.
 */
export type ChildStatus = "running" | "restarting" | "stopped";

/** Child in the list of its supervisor. */
export class Child implements ListNode<Child> {
  list: LinkedList<Child> | undefined = undefined;
  nextNode: Child | undefined = undefined;
  previousNode: Child | undefined = undefined;

  /** A child of a dynamic supervisor has a number, most often, which few ask for. */
  readonly #name: string | number;
  readonly start: ChildStart;
  readonly settings: ChildSettings;
  /** Whether the start has to call `started`. */
  readonly saysStarted: boolean;
  /** Written by {@linkcode Children} alone. */
  status: ChildStatus = "stopped";
  /** The last run, also one whose start has failed. */
  run: SupervisedRun | null = null;
  /** The last run that has become ready. */
  lastStarted: SupervisedRun | null = null;
  /** The delay that it waits for; null if it waits for none. */
  delay: RestartDelay | null = null;
  /** Failures in a row, for the backoff. */
  failures = 0;
  /** How often it was restarted. */
  restarts = 0;
  /** How its last run has ended, or failed to start. */
  lastEnd: ChildEnd | null = null;

  constructor(
    name: string | number,
    start: ChildStart,
    settings: ChildSettings,
  ) {
    this.#name = name;
    this.start = start;
    this.settings = settings;
    this.saysStarted = saysStarted(start);
  }

  get id(): string {
    return String(this.#name);
  }

  get isTemporary(): boolean {
    return this.settings.restart === "temporary";
  }
}
