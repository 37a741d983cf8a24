/**
 * Places: the tasks of a program and their blocks, and the requests for their end,
 * as the judge knows them.
 *
 * A request is made by `task.cancel()`, a deadline, a group or a signal, at one
 * place. It is *open* until a wait inside its place throws; *done* then; *void* if it
 * was taken back. A *vague* one may come or not, where asyncio leaves it open: it
 * excuses a cancellation, and asks for none.
 *
 * @module
 */
import {
  CancelledError,
  type CancelScope,
  type Task,
  type Timeout,
} from "../../mod.ts";

/** An error that a program throws on purpose. */
export class Boom extends Error {
  static {
    this.prototype.name = "Boom";
  }
}

type State = "open" | "done" | "void" | "vague";

/** Somebody has asked for the end of a place. */
export interface Request {
  readonly place: Place;
  readonly atMs: number;
  /** Whether the moment is known to the step, so that the very next wait must throw. */
  readonly exact: boolean;
  /** Counts the requests of a program. */
  readonly order: number;
  /** Whether it was made for sure. */
  readonly sure: boolean;
  state: State;
  /** Whether it may be thrown once more, as it was thrown together with others. */
  again: boolean;
  /** Whether a signal has told of it, so that it may be thrown no more. */
  told: boolean;
  /** Whether it was taken back after it had been thrown in one of several branches. */
  takenBack: boolean;
}

/** How a body has ended; null while it runs. */
export type End =
  | {
    readonly value: unknown;
    readonly error?: undefined;
    readonly failed: false;
  }
  | { readonly error: unknown; readonly failed: true };

/** A task of the program. */
export class TaskRecord {
  readonly name: string;
  readonly root: Place;
  /** The group it is a child of. */
  readonly group: Place | null;
  task: Task<unknown> | null = null;
  end: End | null = null;
  /** When it was done. */
  doneMs = Infinity;
  /** Whether several branches of it run side by side, so that order is open. */
  branches = false;
  /** How many of its bodies are at a foreign promise, and since when none is. */
  outside = 0;
  insideSinceMs = 0;
  /** The waits that hand a cancellation on to others, with those others. */
  readonly handingOn = new Map<TaskRecord, Place>();
  /** The tasks that wait for this one, and hand on. */
  readonly followers = new Map<TaskRecord, Place>();
  /** Where others have waited for this one and handed on, also if they do no more. */
  readonly waitedForAt = new Set<Place>();
  /** The groups whose body has ended and whose children have not. */
  readonly joining = new Set<Place>();

  constructor(name: string, group: Place | null) {
    this.name = name;
    this.group = group;
    this.root = new Place("task", name, this, null);
  }
}

/** A task, or a block of it. */
export class Place {
  readonly kind: "task" | "timeout" | "scope" | "failAfter" | "group";
  readonly name: string;
  readonly task: TaskRecord;
  readonly outer: Place | null;
  readonly requests: Request[] = [];
  /** The library's own object, where there is one. */
  timeout: Timeout | null = null;
  scope: CancelScope | null = null;
  /** When its time is over, for a timeout. */
  deadlineMs = Infinity;
  expired = false;
  shielded = false;
  /** When its scope was cancelled. */
  levelMs: number | null = null;
  open = true;
  /** When it was entered; null before, and for a task. */
  entry: Entry | null = null;
  end: End | null = null;
  controller: AbortController | null = null;
  /** Whether the program has aborted the signal that it was given. */
  aborted = false;
  /** Of a group: its children; what of it was cancelled, and for sure or perhaps. */
  readonly children: TaskRecord[] = [];
  cancelled: "no" | "perhaps" | "yes" = "no";
  /** Whether its body was cancelled by the group itself. */
  bodyCancelled = false;
  /** The same, perhaps: its body had just ended, which the group may not have known yet. */
  bodyCancelledPerhaps = false;
  /** Whether its body is an async function; known once that has begun. */
  isAsync = false;
  levelSeen = false;
  /** Whether children were there when the body had ended. */
  joined = false;
  /** When its body ended: how many requests there were, the moment, and a cancelled scope around. */
  endOrder = Infinity;
  endMs = Infinity;
  endLevel: Place | null = null;

  constructor(
    kind: Place["kind"],
    name: string,
    task: TaskRecord,
    outer: Place | null,
  ) {
    this.kind = kind;
    this.name = name;
    this.task = task;
    this.outer = outer;
  }
}

/** What there was when a block was entered. */
export interface Entry {
  readonly requests: number;
  /** What had not been thrown yet. */
  readonly before: readonly Request[];
}

/** Whether an error is a cancellation, by the rules. */
export function isCancellation(error: unknown): boolean {
  if (error instanceof CancelledError) return true;
  if (error instanceof SuppressedError) {
    return isCancellation(error.error) && isCancellation(error.suppressed);
  }
  return error instanceof Error && error.name === "AbortError" &&
    isCancellation(error.cause);
}

/** Whether a place is a block, or inside of it. */
export function isIn(place: Place, block: Place): boolean {
  for (let at: Place | null = place; at !== null; at = at.outer) {
    if (at === block) return true;
  }
  return false;
}

/** All requests that concern a place. */
export function* requestsAt(place: Place): Generator<Request> {
  for (let at: Place | null = place; at !== null; at = at.outer) {
    yield* at.requests;
  }
}

export function isAsked(place: Place): boolean {
  return place.requests.some(mayCome);
}

/** Whether a request may be thrown from now on. */
export function mayCome({ state, again }: Request): boolean {
  return state === "open" || state === "vague" || (state === "done" && again);
}

/**
 * Whether a cancelled scope may have cancelled a task: one around its group, or around a
 * wait for it, which hands the cancellation on.
 */
export function isAroundLevel(
  { task }: Place,
  seen: Set<TaskRecord> = new Set(),
): boolean {
  if (seen.has(task)) return false;
  seen.add(task);
  for (const from of [task.group, ...task.waitedForAt]) {
    for (let at = from; at !== null; at = at.outer) {
      if (at.levelMs !== null) return true;
      if (at.kind === "task" && isAroundLevel(at, seen)) return true;
    }
  }
  return false;
}

export function openAt(place: Place): Request[] {
  return [...requestsAt(place)].filter(({ state }) => state === "open");
}

/** The cancelled scope that a wait here is in. */
export function levelAt(place: Place): Place | null {
  for (let at: Place | null = place; at !== null; at = at.outer) {
    if (at.levelMs !== null && at.open) return at;
    if (at.shielded) return null;
  }
  return null;
}

export function describe(place: Place): string {
  return place.outer === null ? place.name : `${place.task.name}/${place.name}`;
}

export function text(end: End): string {
  if (!end.failed) {
    return `the value ${JSON.stringify(end.value) ?? "undefined"}`;
  }
  const { error } = end;
  return error instanceof AggregateError
    ? `${error.name}(${error.errors.map(String).join(", ")})`
    : String(error);
}
