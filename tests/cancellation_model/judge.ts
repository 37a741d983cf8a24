/**
 * The rules of cancellation, written down plainly, and judged while a program
 * runs. Nothing in here knows how the library does it: the judge is told when a
 * wait begins and ends, when a block is opened and left, and who asked for what.
 *
 * A request is made by `task.cancel()`, a deadline, a group or a signal, at one
 * place: a task or one of its blocks. It is *open* until a wait inside its place
 * throws; *done* then; *void* if it was taken back. A *vague* one may come or
 * not, where asyncio leaves it open: it excuses a cancellation, and asks for none.
 *
 * @module
 */
import {
  CancelledError,
  type CancelScope,
  type Task,
  TaskGroupError,
  type Timeout,
  TimeoutError,
} from "../../mod.ts";

/** An error that a program throws on purpose. */
export class Boom extends Error {
  static {
    this.prototype.name = "Boom";
  }
}

type State = "open" | "done" | "void" | "vague";

/** Somebody has asked for the end of a place. */
interface Request {
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

/** One wait in an operation, or in a promise. */
export interface Wait {
  readonly what: string;
  readonly place: Place;
  readonly startMs: number;
  /** Why it must throw; null if it need not. */
  readonly due: string | null;
  readonly kind: WaitKind;
  /** Whether it is one of an async function, which throws also where all is ready. */
  readonly strict: boolean;
  /** Whether its task had ended before. */
  readonly stray: boolean;
}

/**
 * How the rules apply: `"suspends"` always takes a turn, `"ready"` may find
 * everything there; `"hands on"` cancels others instead; `"answers"` suspends, and
 * may be cancelled by what it waits for; `"calls"` waits for a function of the same
 * task, whose own waits throw; `"outside"` is no operation.
 */
export type WaitKind =
  | "suspends"
  | "calls"
  | "ready"
  | "hands on"
  | "answers"
  | "outside";

/** Whether an error is a cancellation, by the rules. */
export function isCancellation(error: unknown): boolean {
  if (error instanceof CancelledError) return true;
  if (error instanceof SuppressedError) {
    return isCancellation(error.error) && isCancellation(error.suppressed);
  }
  return error instanceof Error && error.name === "AbortError" &&
    isCancellation(error.cause);
}

/** Watches one run of one program. */
export class Judge {
  readonly violations: string[] = [];
  readonly tasks: TaskRecord[] = [];
  /** How many requests there were so far. */
  requests = 0;
  readonly #now: () => number;
  /** Whether something was found ready that a generator may take, and an async function may not. */
  #loose = false;
  /** The cancellations that a wait has thrown. */
  readonly #thrown = new WeakSet<Error>();
  /** The moments of requests, and who did something at which moment. */
  readonly #requestedMs = new Set<number>();
  readonly #movedMs = new Map<number, Set<TaskRecord>>();

  constructor(now: () => number) {
    this.#now = now;
  }

  say(what: string): void {
    this.violations.push(`${what} (at ${this.#now()} ms)`);
  }

  /** Whether something happened whose order the styles need not share. */
  isTied(): boolean {
    return this.#loose ||
      [...this.#requestedMs].some((ms) =>
        (this.#movedMs.get(ms)?.size ?? 0) > 1
      );
  }

  /** Something was started, went on, or ended. */
  moved(task: TaskRecord): void {
    const now = this.#now();
    const moved = this.#movedMs.get(now);
    if (moved === undefined) this.#movedMs.set(now, new Set([task]));
    else moved.add(task);
  }

  // -- Requests --

  /** Something has been asked for; the tasks that hand on and the groups that end follow. */
  request(place: Place, atMs: number, exact: boolean, vague = false): void {
    const { task } = place;
    if (task.end !== null && task.task?.done()) return;
    place.requests.push({
      place,
      atMs,
      exact,
      order: this.requests++,
      sure: !vague,
      state: vague ? "vague" : "open",
      again: false,
    });
    this.#requestedMs.add(atMs);
    for (const [other, at] of task.handingOn) {
      if (isIn(at, place)) this.request(other.root, atMs, false, true);
    }
    for (const group of task.joining) {
      if (isIn(group, place) && group !== place) {
        this.#abortChildren(group, vague);
      }
    }
  }

  /** A group cancels what it holds. */
  #abortChildren(group: Place, vague: boolean): void {
    const sure = group.cancelled === "no" && !vague;
    if (group.cancelled === "yes") return;
    group.cancelled = vague ? "perhaps" : "yes";
    for (const child of group.children) {
      if (!child.task?.done()) {
        this.request(child.root, this.#now(), false, !sure);
      }
    }
  }

  /** The program has called `cancel()` of a group, or aborted its signal. */
  groupCancelled(group: Place): void {
    const now = this.#now();
    // The group learns some microtasks later that an async function has ended.
    if (group.end !== null && group.isAsync && group.endMs === now) {
      group.bodyCancelledPerhaps = true;
    }
    if (group.cancelled === "yes") return;
    const sure = group.cancelled === "no";
    group.cancelled = "yes";
    group.bodyCancelled = true;
    this.request(group, now, true, !sure);
    for (const child of group.children) {
      if (!child.task?.done()) this.request(child.root, now, true, !sure);
    }
  }

  /** A scope was cancelled. */
  scopeCancelled(scope: Place, atMs = this.#now()): void {
    if (scope.levelMs !== null) return;
    scope.levelMs = atMs;
    this.#requestedMs.add(atMs);
    for (const [other, at] of scope.task.handingOn) {
      if (isIn(at, scope)) this.request(other.root, atMs, false, true);
    }
  }

  /** `uncancel()` has answered 0: what was not thrown yet is dropped. */
  uncancelled(task: TaskRecord): void {
    for (const request of task.root.requests) request.state = "void";
  }

  /** Finds the deadlines that have passed, here and where a cancellation may come from. */
  #poll(place: Place, seen = new Set<Place>()): void {
    for (let at: Place | null = place; at !== null; at = at.outer) {
      if (seen.has(at)) return;
      seen.add(at);
      if (at.open) this.#pollBlock(at);
      if (at.kind !== "task") continue;
      for (const from of at.task.followers.values()) this.#poll(from, seen);
      const { group } = at.task;
      if (group === null) continue;
      this.#poll(group, seen);
      this.#pollLevel(group);
    }
  }

  #pollBlock(at: Place): void {
    if (at.scope?.cancelCalled && at.levelMs === null) {
      this.scopeCancelled(at, Math.min(this.#now(), at.scope.deadlineMs));
    }
    if (at.kind !== "timeout") return;
    if (at.timeout !== null) {
      if (at.expired || !at.timeout.expired()) return;
      at.expired = true;
      this.request(at, at.timeout.when()!, true);
      return;
    }
    // Nobody tells whether the deadline of waitFor() has been dealt with at its very moment.
    if (this.#now() < at.deadlineMs || at.aborted) return;
    if (!at.expired) this.request(at, at.deadlineMs, false, true);
    at.expired = true;
    const own = at.requests.find(({ atMs }) => atMs === at.deadlineMs)!;
    if (own?.state === "vague" && this.#now() > at.deadlineMs) {
      own.state = "open";
    }
  }

  /** The children of a group in a cancelled scope are cancelled, whatever shields its body. */
  #pollLevel(group: Place): void {
    if (!group.open || group.levelSeen) return;
    const scope = levelAt(group);
    if (scope === null) return;
    if (group.task.outside > 0) {
      // Its body cannot be told now, so its children may be told later.
      for (const { root } of group.children) {
        if (!isAsked(root)) this.request(root, this.#now(), false, true);
      }
      return;
    }
    group.levelSeen = true;
    const atMs = Math.max(scope.levelMs!, group.task.insideSinceMs);
    for (const child of group.children) {
      if (!child.task?.done()) {
        this.request(child.root, atMs, false, group.cancelled !== "no");
      }
    }
    if (group.cancelled === "no") group.cancelled = "perhaps";
  }

  // -- Waits --

  /** A wait begins. `strict` if it is one of an async function. */
  begin(what: string, place: Place, kind: WaitKind, strict: boolean): Wait {
    this.#poll(place);
    let due: string | null = null;
    const { task } = place;
    if (kind === "outside") task.outside++;
    else if (kind !== "hands on") {
      const scope = levelAt(place);
      if (scope !== null) due = `${scope.name} was cancelled before`;
      else if (!task.branches) {
        const open = openAt(place).filter((request) => request.exact);
        if (open.length > 0) {
          if (strict || kind !== "ready") {
            due = `${open[0]!.place.name} was asked to end before`;
          } else this.#loose = true;
        }
      }
    }
    const stray = task.task?.done() === true;
    return { what, place, startMs: this.#now(), due, kind, strict, stray };
  }

  /** A wait has ended, other than by a cancellation. */
  passed(wait: Wait): void {
    const { place, what, kind } = wait;
    const now = this.#now();
    this.#poll(place);
    this.moved(place.task);
    if (place.task.task?.done()) {
      // What begins after the end is nobody's.
      if (kind !== "outside" && !wait.stray && now > place.task.doneMs) {
        this.say(`${what} went on after the end of ${place.task.name}`);
      }
      return;
    }
    if (kind === "outside") return this.#back(place.task);
    if (wait.due !== null) {
      this.say(`${what} in ${describe(place)} did not throw: ${wait.due}`);
    }
    if (kind === "hands on") {
      for (const request of openAt(place)) request.state = "vague";
      return;
    }
    // A generator takes what is ready, also if the request came when an async function
    // around it was at a foreign promise.
    if (kind === "ready" && !wait.strict && wait.startMs === now) return;
    this.late(what, place, wait.startMs);
  }

  /** Nothing may end at a later moment than a cancellation inside of which it is. */
  late(what: string, place: Place, startMs: number): void {
    const now = this.#now();
    const scope = levelAt(place);
    if (scope !== null && scope.levelMs! < now) {
      this.say(
        `${what} in ${
          describe(place)
        } ended, and ${scope.name} was cancelled at ${scope.levelMs}`,
      );
    }
    for (const request of openAt(place)) {
      if (request.atMs >= now) continue;
      // Begun beside the branch that was told.
      if (place.task.branches && startMs === request.atMs) continue;
      this.say(
        `${what} in ${
          describe(place)
        } ended, and ${request.place.name} was asked to end at ${request.atMs}`,
      );
      request.state = "vague"; // said once
    }
  }

  /** A wait has thrown a cancellation. */
  threw(wait: Wait, error: unknown): void {
    const { place, kind } = wait;
    this.#poll(place);
    // A wait of the function has thrown it before: here it only comes out.
    if (kind === "calls" && this.#thrown.has(error as Error)) return;
    this.#thrown.add(error as Error);
    if (kind === "outside") {
      this.#back(place.task);
      // It was told by a signal. Whether its next wait throws as well is left open.
      for (const request of openAt(place)) request.state = "vague";
      return;
    }
    if (place.task.task?.done()) return; // let go of
    this.delivered(wait.what, place, kind === "hands on" || kind === "answers");
  }

  /** A cancellation has come to a place: all that was asked for there is dealt with. */
  delivered(what: string, place: Place, excused = false): void {
    this.#poll(place);
    const due = [...requestsAt(place)].filter(({ state }) =>
      state === "open" || state === "vague"
    );
    if (due.length > 0) {
      due.forEach((request, index) => {
        request.state = "done";
        // asyncio throws once for all; async functions may throw once for each.
        // It may not have come yet, or was not what was thrown.
        request.again = index > 0 || levelAt(place) !== null ||
          (!request.exact && request.atMs === this.#now());
      });
      return;
    }
    if (levelAt(place) !== null) return; // of the scope, which uses nothing up
    const again = [...requestsAt(place)].find((request) => request.again);
    if (again !== undefined) again.again = false;
    else if (!excused && !place.task.branches) {
      this.say(`${what} in ${describe(place)} was cancelled for nothing`);
    }
  }

  /** A failure was thrown in place of a cancellation, which then has to come once more. */
  replaced(place: Place): void {
    for (const request of requestsAt(place)) {
      if (request.state === "done") request.again = true;
    }
  }

  /** Whether something is to be thrown here, or perhaps. */
  isDue(place: Place): boolean {
    this.#poll(place);
    return levelAt(place) !== null || [...requestsAt(place)].some(mayCome);
  }

  #back(task: TaskRecord): void {
    if (--task.outside === 0) task.insideSinceMs = this.#now();
  }

  // -- Blocks --

  /** The body of a block or task has ended. */
  bodyEnded(place: Place, end: End): void {
    this.#poll(place);
    place.end = end;
    place.endOrder = this.requests;
    place.endMs = this.#now();
    if (place.outer !== null && !place.shielded) {
      place.endLevel = levelAt(place.outer);
    }
    this.moved(place.task);
    if (place.kind === "task") place.task.end = end;
    if (place.kind === "group") this.#groupBodyEnded(place, end);
    const group = place.kind === "task" ? place.task.group : null;
    if (group === null || !end.failed || isCancellation(end.error)) return;
    // The group learns of it in a turn to come.
    if (!group.open || place.task.task?.done()) return;
    const now = this.#now();
    const vague = group.cancelled !== "no";
    if (group.cancelled !== "yes") {
      group.cancelled = "yes";
      group.bodyCancelled = true;
      this.request(group, now, false, vague);
      for (const child of group.children) {
        if (child !== place.task && !child.task?.done()) {
          this.request(child.root, now, false, vague);
        }
      }
    }
  }

  #groupBodyEnded(group: Place, end: End): void {
    if (end.failed) this.#abortChildren(group, false);
    group.joined = group.children.some(({ task }) => !task!.done());
    if (!group.joined) return;
    group.task.joining.add(group);
    // It waits now: what is open is thrown here. But what came at this very moment may
    // have been thrown at the waits of branches beside this one, before this wait began.
    if (this.isDue(group.outer!)) {
      const sure = openAt(group.outer!).filter(({ atMs }) =>
        !group.task.branches || atMs < group.endMs
      );
      this.#abortChildren(group, sure.length === 0);
    }
  }

  /** A block is about to be entered. */
  entered(block: Place): void {
    const around = block.outer!;
    this.#poll(around);
    const before = [...requestsAt(around)].filter(mayCome);
    block.entry = { requests: this.requests, before };
  }

  /**
   * The body of a block begins. An async function calls the operation a microtask before
   * it starts: a request that comes in between to a task with several branches may be
   * thrown in another branch, and then this block is entered after it.
   */
  bodyBegan(block: Place, isAsync: boolean): void {
    block.isAsync = isAsync;
    if (block.outer !== null && block.task.branches) this.entered(block);
  }

  /** A block was left: judges what came of it. */
  left(block: Place, outcome: End): void {
    const entry = block.entry!;
    this.#poll(block);
    block.open = false;
    block.task.joining.delete(block);
    const around = block.outer!;
    const fresh = [...requestsAt(around)].filter(({ order, state }) =>
      order >= entry.requests && state !== "void"
    );
    // What comes between the end of the body and that of the block may be either.
    const certain = fresh.some(({ order, exact, atMs, state, sure }) =>
      sure && state !== "vague" && order < block.endOrder &&
      (exact || atMs < block.endMs)
    );
    const possible = fresh.length > 0 || entry.before.length > 0;
    const outside: Outside = { certain, possible, level: block.endLevel };
    for (const request of block.requests) request.state = "void";
    const { end } = block;
    if (end === null) this.#neverBegan(block, outcome);
    else if (block.kind === "group") {
      this.#leftGroup(block, end, outcome, outside);
    } else this.#leftBlock(block, end, outcome, outside);
    if (outcome.failed && isCancellation(outcome.error)) {
      for (const request of requestsAt(around)) {
        if (!mayCome(request)) continue;
        request.state = "done";
        request.again = true; // it may have come while the block was left
      }
    }
  }

  #neverBegan(block: Place, outcome: End): void {
    if (!outcome.failed) {
      return this.say(`${block.name} ended without its body`);
    }
    if (!isCancellation(outcome.error)) return;
    this.delivered(block.name, block.outer!);
  }

  #leftBlock(block: Place, end: End, outcome: End, outside: Outside): void {
    const { name } = block;
    const cancelled = outcome.failed && isCancellation(outcome.error);
    const mayBeCancelled = outside.possible || levelAt(block.outer!) !== null;
    if (!end.failed) {
      if (outcome.failed ? !(cancelled && mayBeCancelled) : false) {
        this.say(`the body of ${name} returned, and it threw ${text(outcome)}`);
      }
      return;
    }
    if (!isCancellation(end.error)) {
      if (!outcome.failed || outcome.error !== end.error) {
        this.say(
          `the body of ${name} threw ${end.error}, and it came out as ${
            text(outcome)
          }`,
        );
      }
      return;
    }
    const own = this.#isOwn(block, outcome);
    if (own) {
      const asked = block.scope !== null
        ? block.scope.cancelCalled
        : block.expired || block.aborted || block.timeout === null;
      if (!asked) this.say(`${name} took a cancellation that is not its own`);
      if (outside.certain || outside.level !== null) {
        this.say(`${name} took a cancellation that goes further out`);
      }
      return;
    }
    if (!cancelled) {
      return this.say(
        `the body of ${name} was cancelled, and it came out as ${
          text(outcome)
        }`,
      );
    }
    const asked = block.scope?.cancelCalled || block.timeout?.expired();
    if (asked && !outside.possible && levelAt(block.outer!) === null) {
      this.say(`${name} let its own cancellation out`);
    }
  }

  /** Whether a block has dealt with the cancellation of its body. */
  #isOwn(block: Place, outcome: End): boolean {
    if (!outcome.failed) {
      return block.kind === "scope" &&
        (outcome.value as { cancelledCaught?: boolean })?.cancelledCaught ===
          true;
    }
    if (block.aborted && outcome.error === block.controller!.signal.reason) {
      return true;
    }
    return block.kind !== "scope" && outcome.error instanceof TimeoutError;
  }

  #leftGroup(group: Place, end: End, outcome: End, outside: Outside): void {
    const { name } = group;
    for (const { task, name } of group.children) {
      if (!task!.done()) this.say(`${name} outlives its group`);
    }
    const errors = group.children.filter(({ task }) => task!.failed())
      .map(({ task }) => task!.exception());
    if (end.failed && !isCancellation(end.error)) errors.push(end.error);
    if (errors.length > 0) {
      this.#failedGroup(group, errors, outcome);
      return;
    }
    if (outcome.failed) {
      const aborted = group.aborted &&
        outcome.error === group.controller!.signal.reason;
      if (aborted) return;
      if (!isCancellation(outcome.error)) {
        return this.say(
          `nothing failed in ${name}, and it threw ${text(outcome)}`,
        );
      }
      const excused = outside.possible || levelAt(group.outer!) !== null ||
        (end.failed && !group.bodyCancelled);
      if (!excused) this.say(`${name} let its own cancellation out`);
      return;
    }
    if (end.failed) {
      if (!group.bodyCancelled && !group.bodyCancelledPerhaps) {
        this.say(`${name} took a cancellation that is not its own`);
      }
      if (outside.certain || outside.level !== null) {
        this.say(`${name} took a cancellation that goes further out`);
      }
    }
    if (group.joined) this.late(name, group.outer!, group.endMs);
  }

  /** The errors arrive together, and a cancellation from outside stays for the next wait. */
  #failedGroup(group: Place, errors: unknown[], outcome: End): void {
    const got = outcome.failed && outcome.error instanceof TaskGroupError
      ? [...outcome.error.errors]
      : null;
    if (got === null) {
      return this.say(
        `${errors.length} failed in ${group.name}, and it came out as ${
          text(outcome)
        }`,
      );
    }
    const missing = errors.filter((error) => !got.includes(error));
    if (missing.length > 0 || got.length !== errors.length) {
      this.say(
        `${group.name} has thrown ${got.length} of ${errors.length} errors`,
      );
    }
    for (const request of requestsAt(group.outer!)) {
      if (request.state === "done") {
        request.state = request.exact ? "open" : "vague";
      }
    }
  }

  // -- The end --

  /** All is over: every task has ended in the way it should. */
  finish(): void {
    for (const { name, task, end, root, doneMs } of this.tasks) {
      if (task === null) continue;
      if (!task.done()) this.say(`${name} has not ended`);
      else if (task.cancelled()) {
        if (end === null || (end.failed && isCancellation(end.error))) continue;
        if (end.failed) {
          this.say(
            `the body of ${name} threw ${end.error}, and it is cancelled`,
          );
        } else if (
          !root.requests.some(({ state }) => state !== "void") &&
          !isAroundLevel(root)
        ) {
          this.say(`the body of ${name} returned, and it is cancelled`);
        }
      } else if (task.failed()) {
        if (end?.failed && isCancellation(end.error)) {
          this.say(
            `the body of ${name} was cancelled, and it failed with ${task.exception()}`,
          );
        } else if (!end?.failed || task.exception() !== end.error) {
          this.say(
            `${name} failed with what its body did not throw: ${task.exception()}`,
          );
        }
      } else if (
        root.requests.some(({ state, exact, atMs }) =>
          state === "open" && (exact || atMs < doneMs)
        )
      ) {
        this.say(`${name} has a result, and a request for its end was lost`);
      }
    }
  }
}

/** What there was when a block was entered. */
interface Entry {
  readonly requests: number;
  /** What had not been thrown yet. */
  readonly before: readonly Request[];
}

/** What came from outside of a block while it was open. */
interface Outside {
  /** A request is there for sure; perhaps. */
  readonly certain: boolean;
  readonly possible: boolean;
  /** A cancelled scope around, with no shield between. */
  readonly level: Place | null;
}

function isIn(place: Place, block: Place): boolean {
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

function isAsked(place: Place): boolean {
  return place.requests.some(mayCome);
}

/** Whether a request may be thrown from now on. */
function mayCome({ state, again }: Request): boolean {
  return state === "open" || state === "vague" || (state === "done" && again);
}

/** Whether a scope around the group of a task was ever cancelled. */
function isAroundLevel({ task }: Place): boolean {
  for (let at = task.group; at !== null; at = at.outer) {
    if (at.levelMs !== null) return true;
  }
  return false;
}

function openAt(place: Place): Request[] {
  return [...requestsAt(place)].filter(({ state }) => state === "open");
}

/** The cancelled scope that a wait here is in. */
function levelAt(place: Place): Place | null {
  for (let at: Place | null = place; at !== null; at = at.outer) {
    if (at.levelMs !== null && at.open) return at;
    if (at.shielded) return null;
  }
  return null;
}

function describe(place: Place): string {
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
