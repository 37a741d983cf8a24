/**
 * Task-local values that go along with a job, those of variables that were made
 * with the option `transport`.
 *
 * @module
 */
import {
  findLocals,
  type LocalValue,
  transported,
  type TransportedValues,
} from "../loop/current.ts";

/** Values of a task that submitted a job some time ago; null if there is none. */
let carried: { readonly values: TransportedValues | null } | null = null;

/**
 * Calls `fn` as if the task were running of which `values` were collected: for
 * jobs that are handed on to an executor later than they were submitted.
 *
 * @param values Values that {@linkcode transportedLocals} returned.
 * @param fn A plain function that submits the job.
 * @returns The result of `fn`.
 */
export function withLocalsOf<R>(
  values: TransportedValues | null,
  fn: () => R,
): R {
  const before = carried;
  carried = { values };
  try {
    return fn();
  } finally {
    carried = before;
  }
}

/**
 * Collects the values that the running task has set or inherited, of variables
 * made for transport. In a job, those that came with it are among them.
 *
 * @returns The values by their transport names; null if there are none. Costs a
 * few nanoseconds where no task-local is set.
 */
export function transportedLocals(): TransportedValues | null {
  if (carried !== null) return carried.values;
  const first = findLocals();
  return first === null ? null : collect(first);
}

function collect(first: LocalValue): TransportedValues | null {
  let values: Record<string, unknown> | null = null;
  const add = (name: string, value: unknown) => {
    values ??= Object.create(null) as Record<string, unknown>;
    if (!Object.hasOwn(values, name)) values[name] = value;
  };
  for (let at: LocalValue | null = first; at !== null; at = at.next) {
    const { local, value } = at;
    if (local.transport !== null) add(local.transport, value);
    if (local !== transported) continue;
    const inherited = value as TransportedValues;
    for (const name of Object.keys(inherited)) add(name, inherited[name]);
  }
  // A copy with the usual prototype: some codecs refuse others.
  return values === null ? null : { ...values as Record<string, unknown> };
}

/** Puts the values that came with a job before other task-local values of it. */
export function withTransported(
  values: TransportedValues | null,
  next: LocalValue | null,
): LocalValue | null {
  if (values === null) return next;
  return { local: transported, value: values, next };
}
