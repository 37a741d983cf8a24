/**
 * Task tree: a snapshot of the tasks of a loop, of who made them, and of who waits
 * for whom, as data.
 *
 * @module
 */
import { inspectorGranted } from "../host/process.ts";
import { checkInteger, checkOptions } from "../loop/checks.ts";
import { checkLoop } from "../loop/check_loop.ts";
import { core } from "../loop/core.ts";
import { findTask, getRunningLoop } from "../loop/current.ts";
import type { EventLoop } from "../loop/event_loop.ts";
import { Future } from "../loop/future.ts";
import { Task } from "../loop/task.ts";
import { inWords } from "../loop/waiters.ts";
import type { TaskWait } from "../loop/waits.ts";
import { BaseQueue } from "../sync/queue.ts";
import { CapacityLimiter } from "../sync/capacity_limiter.ts";
import { Channel } from "../sync/channel.ts";
import { Condition } from "../sync/condition.ts";
import { Flag } from "../sync/flag.ts";
import { Lock } from "../sync/lock.ts";
import { Semaphore } from "../sync/semaphore.ts";
import {
  placeInStack,
  placeOfWait,
  placesOfGenerators,
  type TaskPlace,
} from "./task_places.ts";
import { findRings, type WaitingTask } from "./task_rings.ts";
import { linesOfTree } from "./task_text.ts";

/** State of a task that has not ended: `"new"` before its first step. */
export type TaskState = "new" | "ready" | "running" | "waiting";

/** Id and name of a task. */
export interface TaskRef {
  /** As in {@linkcode Task.id}. */
  readonly id: number;
  /** As in {@linkcode Task.name}. Any text, of any length: escape it where you show it. */
  readonly name: string;
}

/** A wait of a task, in a {@linkcode TaskTree}. */
export interface TreeWait {
  /** Kind of the wait, such as `"Lock.acquire"`: see {@linkcode TaskWait.kind}. */
  readonly kind: string;
  /** Name of the thing that is waited for, such as `"Lock #3"`, a key of {@linkcode TaskTree.things}; `null` for what has no name. */
  readonly target: string | null;
  /** Tasks that hold it, or by whose end the wait will be over: the first ten. */
  readonly heldBy: readonly TaskRef[];
  /** How many tasks hold it. */
  readonly holders: number;
  /** Turn in which the wait began. */
  readonly sinceTurn: number;
  /** Since when, in milliseconds on the loop's clock; `null` if no instrument was there. */
  readonly sinceMs: number | null;
}

/** Tasks that a tree counts and does not list. */
export interface HiddenTasks {
  /** How many. */
  readonly tasks: number;
  /** How many wait for what, by the kind of the wait. */
  readonly waitingFor: Readonly<Record<string, number>>;
}

/** A task in a {@linkcode TaskTree}. */
export interface TreeTask extends TaskRef {
  /** Id of the task that has made it; `null` if none has, or if that one has ended. */
  readonly parentId: number | null;
  /** How many tasks are above it. */
  readonly depth: number;
  /** Whether it runs, waits, or is to run. */
  readonly state: TaskState;
  /** How many requests for its cancellation are outstanding. */
  readonly cancelling: number;
  /** Waits of the task; more than one thing only in async functions. */
  readonly waits: readonly TreeWait[];
  /** Where it stands in the source; `null` if that is not known. */
  readonly place: TaskPlace | null;
  /** Where it was made; `null` unless its loop was in debug mode then. */
  readonly madeAt: TaskPlace | null;
  /** Number of the ring it is part of, in {@linkcode TaskTree.rings}; `null` if it is in none. */
  readonly ring: number | null;
  /** How many tasks it has made that have not ended. */
  readonly children: number;
  /** Children that are not listed, with all under them; `null` if there are none. */
  readonly hidden: HiddenTasks | null;
}

/** A task in a ring: it waits for the next one, and the last one for the first. */
export interface RingTask extends TaskRef {
  /** Kind of its wait. */
  readonly kind: string;
  /** Name of the thing it waits for, as in {@linkcode TreeWait.target}. */
  readonly target: string | null;
}

/** Something that tasks wait for, in a {@linkcode TaskTree}. */
export interface TreeThing {
  /** How many of the listed tasks wait for it. */
  readonly waiters: number;
  /** Result of its `statistics()`, as far as these are plain values; `null` if it has none. */
  readonly statistics:
    | Readonly<
      Record<
        string,
        number | string | boolean | null | TaskRef | readonly TaskRef[]
      >
    >
    | null;
}

/** All that a tree consists of. */
interface TreeFacts {
  readonly turn: number;
  readonly timeMs: number;
  readonly total: number;
  readonly byState: Readonly<Record<TaskState, number>>;
  readonly waitingFor: Readonly<Record<string, number>>;
  readonly tasks: readonly TreeTask[];
  readonly hidden: HiddenTasks | null;
  readonly things: Readonly<Record<string, TreeThing>>;
  readonly rings: readonly (readonly RingTask[])[];
}

/**
 * Snapshot of the tasks of a loop, from {@linkcode taskTree}: plain data, which
 * refers to no task and can be sent as JSON. Its text shows it in lines.
 */
export class TaskTree {
  /** Turns of the loop so far. */
  readonly turn: number;
  /** Time on the clock of the loop, in milliseconds. */
  readonly timeMs: number;
  /** How many tasks there are, listed or not. */
  readonly total: number;
  /** How many of them are in which state. */
  readonly byState: Readonly<Record<TaskState, number>>;
  /** How many of them wait for what, by the kind of the wait. */
  readonly waitingFor: Readonly<Record<string, number>>;
  /** The tasks, each behind the one that has made it, in the order in which they were made. */
  readonly tasks: readonly TreeTask[];
  /** Tasks without a parent that are not listed, with all under them; `null` if there are none. */
  readonly hidden: HiddenTasks | null;
  /** The things that listed tasks wait for, by the name they have in `target`. */
  readonly things: Readonly<Record<string, TreeThing>>;
  /**
   * Deadlocks: tasks that wait for one another, so that only a cancellation, such as
   * that of a timeout, can end their waits.
   */
  readonly rings: readonly (readonly RingTask[])[];
  /** Why places are missing; `null` if none should be. */
  readonly placesMissing: string | null;

  /**
   * Made by {@linkcode taskTree}.
   *
   * @ignore
   */
  constructor(facts: TreeFacts, placesMissing: string | null) {
    this.turn = facts.turn;
    this.timeMs = facts.timeMs;
    this.total = facts.total;
    this.byState = facts.byState;
    this.waitingFor = facts.waitingFor;
    this.tasks = facts.tasks;
    this.hidden = facts.hidden;
    this.things = facts.things;
    this.rings = facts.rings;
    this.placesMissing = placesMissing;
    Object.freeze(this);
  }

  /**
   * Shows the tree, a line or two for a task, deadlocks first. Control characters in
   * names are escaped.
   *
   * @returns The lines, joined.
   */
  toString(): string {
    return linesOfTree(this).join("\n");
  }

  /**
   * Shows the tree in `console.log`.
   *
   * @returns The lines, joined.
   */
  [Symbol.for("Deno.customInspect")](): string {
    return this.toString();
  }
}

/** Options of {@linkcode taskTree}. */
export interface TaskTreeOptions {
  /**
   * The loop.
   *
   * @default {the running loop}
   */
  readonly loop?: EventLoop | undefined;
  /**
   * How many tasks are listed at most, those nearest to the top first. Tasks of a
   * deadlock, and those above them, are listed in any case. The rest is counted.
   *
   * @default {1_000}
   */
  readonly tasksMax?: number | undefined;
}

/** Throws if an option is wrong. */
export function checkTreeOptions(options: TaskTreeOptions, what: string): void {
  checkOptions(options, what);
  const { loop, tasksMax = TASKS_MAX } = options;
  checkInteger(tasksMax, 0, what, "tasksMax", "or Infinity");
  if (loop !== undefined) checkLoop(loop, what);
}

/** How many tasks are listed by default. */
const TASKS_MAX = 1_000;

/** How many holders of a thing are named. */
const HOLDERS_MAX = 10;
/** How many tasks of a ring are sure to be listed. */
const RING_LISTED_MAX = 100;

/**
 * Takes a snapshot of the tasks of a loop: who has made whom, who waits for what and
 * for whom, since when, and which tasks wait for one another in a ring.
 *
 * Nothing is noted while programs run; a snapshot takes a few microseconds a task.
 * It has the places of tasks only where debug mode knows them; {@linkcode
 * locateTasks} asks the engine for those of generators as well.
 *
 * @example A deadlock
 * ```ts
 * import { createTask, Lock, run, sleep, taskTree } from "@rota/rota";
 * import { assertEquals } from "@std/assert";
 *
 * await run(function* () {
 *   const [a, b] = [new Lock(), new Lock()];
 *   const both = (first: Lock, second: Lock) =>
 *     function* () {
 *       using _one = yield* first.acquire();
 *       yield* sleep(1);
 *       using _two = yield* second.acquire();
 *     };
 *   const tasks = [
 *     createTask(both(a, b), { name: "left" }),
 *     createTask(both(b, a), { name: "right" }),
 *   ];
 *   yield* sleep(5);
 *   const tree = taskTree();
 *   assertEquals(tree.byState, { new: 0, ready: 0, running: 1, waiting: 2 });
 *   assertEquals(tree.rings[0]!.map(({ name, kind }) => `${name}: ${kind}`), [
 *     "left: Lock.acquire",
 *     "right: Lock.acquire",
 *   ]);
 *   for (const task of tasks) task.cancel();
 * }, { host: "virtual" });
 * ```
 *
 * @param options The loop, and how many tasks are listed.
 * @returns The snapshot.
 * @throws {TypeError} If an option is of the wrong type.
 * @throws {RangeError} If `tasksMax` is negative or no integer.
 */
export function taskTree(options: TaskTreeOptions = {}): TaskTree {
  checkTreeOptions(options, "take a task tree");
  const { loop = getRunningLoop(), tasksMax = TASKS_MAX } = options;
  return treeOf(look(loop), tasksMax, null, PLACES_OF_DEBUG_MODE);
}

/**
 * Takes a snapshot as {@linkcode taskTree} does, with the places at which generators
 * stand: function, file, line and column of the outermost generator of each listed
 * task.
 *
 * Asks the engine, which needs the permission `sys` (`--allow-sys`), and `read` to
 * find the line in the source: without that, lines are those of the JavaScript that
 * Deno has made of it. Without `sys` the places are left out and {@linkcode
 * TaskTree.placesMissing} says so. Of an async function only debug mode knows a place:
 * that of the operation for which it waits.
 *
 * The thread is held up for some 80 ms once, and 0.2 ms for each generator. The
 * snapshot is that of the end; tasks that went on meanwhile have no place. In a
 * generator: `yield* until(locateTasks())`.
 *
 * @example
 * ```ts
 * import { createTask, locateTasks, run, sleep } from "@rota/rota";
 * import { assertEquals } from "@std/assert";
 *
 * await run(async () => {
 *   const sleeper = createTask(function* nap() {
 *     yield* sleep(1_000);
 *   });
 *   await sleep(1);
 *   const tree = await locateTasks();
 *   const { name, place } = tree.tasks[1]!;
 *   console.log(`${name} is in ${place?.function}, ${place?.file}:${place?.line}`);
 *   assertEquals(tree.placesMissing, null); // with --allow-sys
 *   sleeper.cancel();
 * });
 * ```
 *
 * @param options The loop, and how many tasks are listed.
 * @returns A promise for the snapshot.
 * @throws {TypeError} If an option is of the wrong type.
 * @throws {RangeError} If `tasksMax` is negative or no integer.
 */
export function locateTasks(options: TaskTreeOptions = {}): Promise<TaskTree> {
  checkTreeOptions(options, "locate tasks");
  const { loop = getRunningLoop(), tasksMax = TASKS_MAX } = options;
  return locateIn(loop, tasksMax);
}

async function locateIn(loop: EventLoop, tasksMax: number): Promise<TaskTree> {
  if (!inspectorGranted()) {
    return treeOf(look(loop), tasksMax, null, NOT_GRANTED);
  }
  const { listed } = choose(look(loop), tasksMax);
  let places: Map<Task<unknown>, TaskPlace> | null = null;
  let missing: string | null = null;
  try {
    places = await placesOfGenerators(listed.map(({ task }) => task));
  } catch (error) {
    // A tree without places is worth more than none.
    missing = `places of generators are missing: ${error}`;
  }
  return treeOf(look(loop), tasksMax, places, missing);
}

const PLACES_OF_DEBUG_MODE =
  "places are known in debug mode only; locateTasks() asks the engine for those of generators";
const NOT_GRANTED =
  "places of generators are missing: run with --allow-sys to have them";

/** A task, and all that was found out about it. */
interface Seen extends WaitingTask {
  readonly parent: Seen | null;
  readonly state: TaskState;
  readonly depth: number;
  readonly children: Seen[];
  /** Whether the tree lists it. */
  isListed: boolean;
}

/** All tasks of a loop, as they are now. */
export interface Look {
  readonly loop: EventLoop;
  readonly all: readonly Seen[];
  readonly byTask: ReadonlyMap<Task<unknown>, Seen>;
}

/** Looks at all tasks of a loop. */
export function look(loop: EventLoop): Look {
  const running = findTask();
  const byTask = new Map<Task<unknown>, Seen>();
  const all = loop[core].tasks.toArray().map((task) => {
    const waits = task === running ? NO_WAITS : task.waits();
    // The maker of a task is in the list before it.
    const above = task.parent === null ? undefined : byTask.get(task.parent);
    const parent = above ?? null;
    const seen: Seen = {
      task,
      waits,
      parent,
      state: stateOf(task, waits, running),
      depth: parent === null ? 0 : parent.depth + 1,
      children: [],
      isListed: false,
    };
    parent?.children.push(seen);
    byTask.set(task, seen);
    return seen;
  });
  return { loop, all, byTask };
}

const NO_WAITS: readonly TaskWait[] = [];

function stateOf(
  task: Task<unknown>,
  waits: readonly TaskWait[],
  running: Task<unknown> | null,
): TaskState {
  if (task === running) return "running";
  if (waits.length > 0) return "waiting";
  return task.coroutine === null && !task.promised ? "new" : "ready";
}

export function treeOf(
  look: Look,
  tasksMax: number,
  places: ReadonlyMap<Task<unknown>, TaskPlace> | null,
  placesMissing: string | null,
): TaskTree {
  const { loop, all } = look;
  const byState = { new: 0, ready: 0, running: 0, waiting: 0 };
  for (const { state } of all) byState[state]++;
  const { listed, rings } = choose(look, tasksMax);
  const ringOf = new Map<Task<unknown>, number>();
  for (const [number, ring] of rings.entries()) {
    for (const { task } of ring) ringOf.set(task, number);
  }
  const things = new Things();
  const tasks = listed.map((seen) =>
    describe(seen, ringOf, things, places?.get(seen.task) ?? null)
  );
  const facts: TreeFacts = {
    turn: loop[core].turns,
    timeMs: loop.time(),
    total: all.length,
    byState,
    waitingFor: countWaits(all),
    tasks,
    hidden: hiddenUnder(all.filter(({ parent }) => parent === null)),
    things: things.describe(),
    rings: rings.map((ring) => ring.map((entry) => ringTask(entry, things))),
  };
  return new TaskTree(facts, placesMissing);
}

function ringTask({ task, waits }: WaitingTask, things: Things): RingTask {
  const { kind, target } = waits[0]!;
  return { ...refOf(task), kind, target: things.nameOf(kind, target) };
}

function refOf({ id, name }: Task<unknown>): TaskRef {
  return { id, name };
}

/** Chooses the tasks that are listed, in the order of the tree. */
function choose(
  { all, byTask }: Look,
  tasksMax: number,
): { listed: Seen[]; rings: WaitingTask[][] } {
  const rings = findRings(all.filter(({ waits }) => waits.length > 0));
  const level = all.filter(({ parent }) => parent === null);
  let left = tasksMax;
  for (const seen of level) { // a list that grows
    if (left-- <= 0) break;
    seen.isListed = true;
    for (const child of seen.children) level.push(child);
  }
  for (
    const { task } of rings.flatMap((ring) => ring.slice(0, RING_LISTED_MAX))
  ) {
    let seen: Seen | null = byTask.get(task)!;
    for (; seen !== null && !seen.isListed; seen = seen.parent) {
      seen.isListed = true;
    }
  }
  return { listed: inOrder(all), rings };
}

/** The listed tasks, each behind the one that has made it. */
function inOrder(all: readonly Seen[]): Seen[] {
  const listed: Seen[] = [];
  const open = all.filter(({ parent, isListed }) => parent === null && isListed)
    .reverse();
  for (let seen = open.pop(); seen !== undefined; seen = open.pop()) {
    listed.push(seen);
    for (let index = seen.children.length - 1; index >= 0; index--) {
      const child = seen.children[index]!;
      if (child.isListed) open.push(child);
    }
  }
  return listed;
}

/** Counts the tasks among `siblings` that are not listed, with all under them. */
function hiddenUnder(siblings: readonly Seen[]): HiddenTasks | null {
  const hidden = siblings.filter(({ isListed }) => !isListed);
  if (hidden.length === 0) return null;
  for (const seen of hidden) { // a list that grows
    for (const child of seen.children) hidden.push(child);
  }
  return { tasks: hidden.length, waitingFor: countWaits(hidden) };
}

function countWaits(tasks: readonly Seen[]): Record<string, number> {
  const counts = new Map<string, number>();
  for (const { waits } of tasks) {
    for (const { kind } of waits) counts.set(kind, (counts.get(kind) ?? 0) + 1);
  }
  return Object.fromEntries(counts);
}

function describe(
  { task, waits, parent, state, depth, children }: Seen,
  ringOf: ReadonlyMap<Task<unknown>, number>,
  things: Things,
  place: TaskPlace | null,
): TreeTask {
  return {
    ...refOf(task),
    parentId: parent?.task.id ?? null,
    depth,
    state,
    cancelling: task.cancelling(),
    waits: waits.map((wait) => describeWait(wait, things)),
    place: place ?? placeOfWait(task),
    madeAt: placeInStack(task.creationStack()),
    ring: ringOf.get(task) ?? null,
    children: children.length,
    hidden: hiddenUnder(children),
  };
}

function describeWait(
  { kind, target, heldBy, sinceTurn, sinceMs }: TaskWait,
  things: Things,
): TreeWait {
  return {
    kind,
    target: things.waitedFor(kind, target),
    heldBy: heldBy.slice(0, HOLDERS_MAX).map(refOf),
    holders: heldBy.length,
    sinceTurn,
    sinceMs,
  };
}

/** Numbers of things: a thing keeps its number from one tree to the next. */
const numbers = new WeakMap<object, number>();
let numberLast = 0;

/** The things that the tasks of a tree wait for. */
class Things {
  readonly #waiters = new Map<string, { thing: object; waiters: number }>();

  /** Name of what is waited for; null if it has none, or is a task or a promise. */
  nameOf(kind: string, target: object | null): string | null {
    if (target === null) return null;
    if (target instanceof Future) {
      const isNamed = target instanceof Task || kind === "future";
      return isNamed ? (target as Future<unknown>)[inWords]() : null;
    }
    const { name } = (target as { constructor?: { name?: unknown } })
      .constructor ?? {};
    if (typeof name !== "string" || target instanceof Promise) return null;
    let number = numbers.get(target);
    if (number === undefined) numbers.set(target, number = ++numberLast);
    return `${name} #${number}`;
  }

  /** The same, and counts a waiter. */
  waitedFor(kind: string, target: object | null): string | null {
    const name = this.nameOf(kind, target);
    if (name === null || target instanceof Future) return name;
    const known = this.#waiters.get(name);
    if (known === undefined) {
      this.#waiters.set(name, { thing: target!, waiters: 1 });
    } else known.waiters++;
    return name;
  }

  describe(): Record<string, TreeThing> {
    return Object.fromEntries(
      [...this.#waiters].map(([name, { thing, waiters }]) => [
        name,
        { waiters, statistics: statisticsOf(thing) },
      ]),
    );
  }
}

/** The classes whose `statistics()` is known to change nothing. */
const TELLING = [
  BaseQueue,
  CapacityLimiter,
  Channel,
  Condition,
  Flag,
  Lock,
  Semaphore,
];

function statisticsOf(thing: object): TreeThing["statistics"] {
  if (!TELLING.some((known) => thing instanceof known)) return null;
  const { statistics } = thing as { statistics?(): object };
  if (typeof statistics !== "function") return null;
  return Object.fromEntries(
    Object.entries(statistics.call(thing))
      .map(([name, value]) => [name, plain(value)] as const)
      .filter(([, value]) => value !== undefined),
  ) as TreeThing["statistics"];
}

/** A value as plain data; `undefined` for what is none. */
function plain(value: unknown): unknown {
  if (value instanceof Task) return refOf(value as Task<unknown>);
  if (Array.isArray(value)) {
    return value.slice(0, HOLDERS_MAX).filter((item) => item instanceof Task)
      .map(refOf);
  }
  if (value === Infinity) return "unlimited";
  return typeof value === "object" && value !== null ? undefined : value;
}
