/**
 * Operations that nobody waits for, such as a `queue.put(item)` without
 * `yield*` or `await`: they never begin, and that is reported.
 *
 * @module
 */
import { Registry } from "../host/finalization.ts";
import { core } from "./core.ts";
import { findLoop } from "./current.ts";
import { CreationStack } from "./creation_stack.ts";
import type { EventLoop } from "./event_loop.ts";

/** How many operations of a process are watched without debug mode; a watch costs a microsecond. */
const WATCHED_MAX = 1_000;

/** Whether new operations are watched at all: one field to read for each of them. */
export const tracking = { wanted: true, count: 0, debugLoops: 0 };

/** Record of an operation that nobody has waited for yet; does not refer to it. */
export class UnstartedRecord {
  readonly name: string;
  readonly loop: EventLoop | null;
  /** Where the operation was made, in debug mode. */
  stack: CreationStack | null = null;

  constructor(name: string, loop: EventLoop | null) {
    this.name = name;
    this.loop = loop;
    loop?.[core].unstarted.add(this);
  }

  /** Forgets the operation, which is awaited. */
  started(): void {
    this.stack = null;
    this.loop?.[core].unstarted.delete(this);
  }
}

/** Operations of a loop that are reported unless somebody waits for them. */
export class UnstartedOperations {
  readonly #records = new Set<UnstartedRecord>();
  /** Records whose stacks have not been turned into text. */
  #fresh: UnstartedRecord[] = [];
  readonly #loop: EventLoop;

  constructor(loop: EventLoop) {
    this.#loop = loop;
  }

  /** Keeps a record. */
  add(record: UnstartedRecord): void {
    this.#records.add(record);
    if (!this.#loop[core].debugging) return;
    record.stack = new CreationStack();
    this.#fresh.push(record);
  }

  /** Lets go of a record; false if it was not there. */
  delete(record: UnstartedRecord): boolean {
    return this.#records.delete(record);
  }

  /**
   * A turn has passed. Most operations have begun by now. A stack refers to the
   * objects whose methods were running, and the operation may be one of them or
   * held by one: the stacks of the rest become text, so that those are collected.
   */
  passTurn(): void {
    if (this.#fresh.length === 0) return;
    for (const { stack } of this.#fresh) stack?.text();
    this.#fresh = [];
  }

  /** Reports all, as nobody can wait for them any more. */
  reportAll(): void {
    for (const record of this.#records) this.report(record);
    this.#records.clear();
    this.#fresh = [];
  }

  /** Takes out all, unreported. */
  takeAll(): UnstartedRecord[] {
    const records = [...this.#records];
    this.#records.clear();
    this.#fresh = [];
    return records;
  }

  /** Reports one of them. */
  report(record: UnstartedRecord): void {
    const creationStack = record.stack?.text();
    this.#loop.callExceptionHandler({
      message: `${record.name} was never waited for: use "yield*" or "await"`,
      name: record.name,
      ...(creationStack !== undefined && { creationStack }),
    });
  }
}

const unstartedOperations = new Registry<UnstartedRecord>((record) => {
  // Once the loop has closed it has reported all of its own.
  const unstarted = record.loop?.[core].unstarted;
  if (unstarted?.delete(record)) unstarted.report(record);
});

/** Watches a new operation, as long as there is a loop to report to. */
export function track(
  operation: WeakKey,
  name: string,
): UnstartedRecord | null {
  const loop = findLoop();
  if (loop === null) return null;
  const record = new UnstartedRecord(name, loop);
  unstartedOperations.register(operation, record);
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
