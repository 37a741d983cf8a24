/**
 * The rules of cancellation, written down plainly, and judged while a program
 * runs. Nothing in here knows how the library does it: the judge is told when a
 * wait begins and ends, when a block is opened and left, and who asked for what.
 *
 * @module
 */
import {
  describe,
  type End,
  isAroundLevel,
  isAsked,
  isCancellation,
  isIn,
  levelAt,
  mayCome,
  openAt,
  type Place,
  requestsAt,
  type TaskRecord,
} from "./places.ts";

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
      told: false,
      takenBack: false,
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
    for (const request of task.root.requests) {
      // One that was thrown in a branch beside this one as well still comes out there.
      if (task.branches && request.state === "done") {
        request.again = request.takenBack = true;
      } else request.state = "void";
    }
  }

  /** Finds the deadlines that have passed, here and where a cancellation may come from. */
  poll(place: Place, seen = new Set<Place>()): void {
    for (let at: Place | null = place; at !== null; at = at.outer) {
      if (seen.has(at)) return;
      seen.add(at);
      if (at.open) this.#pollBlock(at);
      if (at.kind !== "task") continue;
      for (const from of at.task.followers.values()) this.poll(from, seen);
      const { group } = at.task;
      if (group === null) continue;
      this.poll(group, seen);
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
    const own = at.requests.find(({ atMs }) => atMs === at.deadlineMs);
    if (own === undefined || own.told || this.#now() === at.deadlineMs) return;
    if (own.state === "vague") own.state = "open";
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
    this.poll(place);
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
    this.poll(place);
    this.moved(place.task);
    if (place.task.task?.done()) {
      // What begins after the end is nobody's.
      // An async function calls an operation a microtask before that starts, so that
      // its task may end in between.
      const { doneMs } = place.task;
      const stray = wait.stray || (wait.strict && wait.startMs === doneMs);
      if (kind !== "outside" && !stray && now > doneMs) {
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
      // Begun beside the branch that was told, or that is told at this very moment.
      if (
        place.task.branches && (startMs === request.atMs || startMs === now)
      ) continue;
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
    this.poll(place);
    if (kind === "calls" && this.#isKnown(error)) return;
    this.#thrown.add(error as Error);
    if (kind === "outside") {
      this.#back(place.task);
      // It was told by a signal. Whether its next wait throws as well is left open.
      for (const request of requestsAt(place)) {
        if (request.state !== "open" && request.state !== "vague") continue;
        request.state = "vague";
        request.told = true;
      }
      return;
    }
    if (place.task.task?.done()) return; // let go of
    this.delivered(wait.what, place, kind === "hands on" || kind === "answers");
  }

  /**
   * A cancellation has come out of an iteration or a resource. One that a wait inside
   * has thrown uses nothing up here.
   */
  cameOut(what: string, place: Place, error: unknown): void {
    if (!this.#isKnown(error)) this.delivered(what, place, true);
  }

  /** Whether a wait has thrown this cancellation before, so that it only comes out. */
  #isKnown(error: unknown): boolean {
    return error instanceof SuppressedError
      ? this.#isKnown(error.error) && this.#isKnown(error.suppressed)
      : this.#thrown.has(error as Error);
  }

  /** A cancellation has come to a place: all that was asked for there is dealt with. */
  delivered(what: string, place: Place, excused = false): void {
    this.poll(place);
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
    this.poll(place);
    return levelAt(place) !== null || [...requestsAt(place)].some(mayCome);
  }

  #back(task: TaskRecord): void {
    if (--task.outside === 0) task.insideSinceMs = this.#now();
  }

  // -- Blocks --

  /** The body of a block or task has ended. */
  bodyEnded(place: Place, end: End): void {
    this.poll(place);
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
    // It waits now: what is open is thrown here. But a branch beside this one may have
    // thrown it, and not said so yet. If it has not, it is late at the end of the group.
    if (this.isDue(group.outer!)) {
      const isSure = !group.task.branches && openAt(group.outer!).length > 0;
      this.#abortChildren(group, !isSure);
    }
  }

  /** A block is about to be entered. */
  entered(block: Place): void {
    const around = block.outer!;
    this.poll(around);
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
          root.requests.every(({ state, takenBack }) =>
            takenBack || state === "void"
          ) &&
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
