import { Registry } from "../host/finalization.ts";
import { findLoop } from "./current.ts";
import type { EventLoop } from "./event_loop.ts";

/** How many operations of a process are watched without debug mode; a watch costs a microsecond. */
const WATCHED_MAX = 1_000;

/** Whether new operations are watched at all: one field to read for each of them. */
export const tracking = { wanted: true, count: 0, debugLoops: 0 };

/** What is known of an operation that nobody has waited for yet; does not refer to it. */
export class UnstartedRecord {
  readonly name: string;
  readonly loop: EventLoop | null;
  readonly stack: string | undefined;

  constructor(name: string, loop: EventLoop | null) {
    this.name = name;
    this.loop = loop;
    this.stack = loop?.debug === true
      ? new Error(`Creation of ${name}`).stack
      : undefined;
    loop?.["leftovers"].unstarted.add(this);
  }

  /** Somebody waits: nothing to report. */
  started(): void {
    this.loop?.["leftovers"].unstarted.delete(this);
  }
}

const registry = new Registry<UnstartedRecord>((record) => {
  const { loop } = record;
  // Once the loop has closed it has reported all of its own.
  if (loop !== null && loop["leftovers"].unstarted.delete(record)) {
    loop["leftovers"].reportUnstarted(record);
  }
});

/** Watches a new operation, as long as there is a loop to report to. */
export function track(
  operation: WeakKey,
  name: string,
): UnstartedRecord | null {
  const loop = findLoop();
  if (loop === null) return null;
  const record = new UnstartedRecord(name, loop);
  registry.register(operation, record);
  if (++tracking.count >= WATCHED_MAX && tracking.debugLoops === 0) {
    tracking.wanted = false;
  }
  return record;
}

/** A loop has entered or left debug mode. */
export function debugChanged(on: boolean): void {
  tracking.debugLoops += on ? 1 : -1;
  tracking.wanted = tracking.debugLoops > 0 || tracking.count < WATCHED_MAX;
}
