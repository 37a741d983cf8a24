import { Registry } from "../host/finalization.ts";
import type { EventLoop } from "./event_loop.ts";
import type { Future } from "./future.ts";

/** What is known of a failed future that nobody has looked at; does not refer to it. */
export interface FailureRecord {
  readonly loop: EventLoop;
  /** The future in words. */
  readonly what: string;
  readonly name: string;
  readonly exception: unknown;
  readonly creationStack: string | undefined;
}

const registry = new Registry<FailureRecord>((record) => {
  // A loop that has closed has reported all of its own.
  if (record.loop["leftovers"].failures.delete(record)) {
    record.loop["leftovers"].reportFailure(record);
  }
});

const records = new WeakMap<Future<unknown>, FailureRecord>();

/** Somebody has looked at the error of `future`: nothing to report. */
export function forgetFailure(future: Future<unknown>): void {
  const record = records.get(future);
  if (record !== undefined) record.loop["leftovers"].failures.delete(record);
}

/** Has `future` reported when it is collected unseen. The loop keeps the record meanwhile. */
export function watchFailure(
  loop: EventLoop,
  future: Future<unknown>,
): FailureRecord {
  const what = future["describe"]();
  const record: FailureRecord = {
    loop,
    what,
    name: "name" in future ? String(future.name) : what,
    exception: future["value"],
    creationStack: loop["creationStackOf"](future),
  };
  records.set(future, record);
  registry.register(future, record);
  return record;
}
