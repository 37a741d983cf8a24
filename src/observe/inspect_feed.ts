/**
 * Feed of the inspector: what a loop does and what is wrong with it, measured while
 * somebody looks.
 *
 * @module
 */
import { core } from "../loop/core.ts";
import { findTask } from "../loop/current.ts";
import {
  items,
  type ItemSource,
  type OperationIterable,
} from "../loop/each.ts";
import type { EventLoop } from "../loop/event_loop.ts";
import type { Future } from "../loop/future.ts";
import { callbackNameOf, Handle } from "../loop/handle.ts";
import type { Instrument } from "../loop/instrument.ts";
import type { LoopStats } from "../loop/loop_options.ts";
import { Operation } from "../loop/operation.ts";
import type { Task } from "../loop/task.ts";
import type { Coroutine } from "../loop/task_body.ts";
import type { TimerHandle } from "../loop/timer_handle.ts";
import type { ServerSentEvent } from "../serve/event_stream.ts";
import type { SupervisorBase } from "../supervise/supervisor_base.ts";
import { SupervisorTask } from "../supervise/supervisor_task.ts";
import type { ExecutorStats } from "../workers/executor.ts";
import {
  type ChildCrash,
  describeSupervisor,
  errorText,
  findProblems,
  type InspectedSupervisor,
  type InspectorBlock,
  type InspectorProblem,
} from "./inspect_problems.ts";
import { type LagEvent, LagMonitor, type LagSnapshot } from "./lag_monitor.ts";
import { type TaskRef, type TaskTree, taskTree } from "./task_tree.ts";

/** Pool in an inspector: anything with the counts of an executor. */
export interface InspectedPool {
  /** Returns the counts. */
  stats(): ExecutorStats;
}

/** Measurements of a tenth of a second or so, in an {@linkcode InspectorState}. */
export interface InspectorSample {
  /** End of that time, on the loop's clock. */
  readonly atMs: number;
  /** How long it was. */
  readonly overMs: number;
  /** How late a timer was that was due at its end. */
  readonly lagMs: number;
  /** How many steps of tasks and callbacks the loop ran. */
  readonly steps: number;
  /** How many tasks ended. */
  readonly ended: number;
  /** How many turns the loop made. */
  readonly turns: number;
}

/** All that an inspector shows: plain data, which can be sent as JSON. */
export interface InspectorState {
  /** Name of the inspector. */
  readonly name: string;
  /** Time on the clock of the loop. */
  readonly timeMs: number;
  /** When the first of the present viewers came; `null` if nobody looks: then nothing is measured. */
  readonly watchedSinceMs: number | null;
  /** From which length on a step counts as a block. */
  readonly blockedMs: number;
  /** Counts of the loop. */
  readonly loop: LoopStats;
  /** Problems, the worst first. */
  readonly problems: readonly InspectorProblem[];
  /** Percentiles of the lag; `null` if no monitor was given, and nobody looks. */
  readonly lag: LagSnapshot | null;
  /** Measurements of the last minute, the oldest first. */
  readonly samples: readonly InspectorSample[];
  /** When the loop was blocked in the last minute, the oldest first. */
  readonly blocks: readonly InspectorBlock[];
  /** The tasks. */
  readonly tree: TaskTree;
  /** Ids of the tasks of the inspector itself. */
  readonly own: readonly number[];
  /** The supervisors that have no other one above them. */
  readonly supervisors: readonly InspectedSupervisor[];
  /** Counts of the pools, by name. */
  readonly pools: Readonly<Record<string, ExecutorStats>>;
}

/** Settings of a feed. */
export interface FeedSettings {
  readonly name: string;
  readonly tasksMax: number;
  readonly blockedMs: number;
  readonly pools: ReadonlyMap<string, InspectedPool>;
  /** Monitor of the lag; undefined for one of its own. */
  readonly lag: LagMonitor | undefined;
}

/** Time between two samples, and the shortest between two frames: ten a second. */
const EVERY_MS = 100;
/** Longest time between two frames. */
const EVERY_MAX_MS = 2_000;
/** How much longer the time between two frames is than that of making one: so that makes 5 % of the time at most. */
const COST_FACTOR = 20;
/** How long samples, blocks and changes are kept. */
const KEEP_MS = 60_000;
/** How many blocks are kept. */
const BLOCKS_MAX = 100;
/** How many crashes are kept. */
const CRASHES_MAX = 100;
/** How much of a text is sent. */
const TEXT_MAX = 500;

/** Client of the event stream. */
class Client {
  /** Number of the last frame that it got. */
  frame = -1;
  /** Number of the last tree that it got. */
  tree = -1;
  /** Time of the last sample that it got. */
  sampleMs = -Infinity;
  /** Set while it waits for a frame. */
  waiter: Future<void> | null = null;
}

/** A frame, as text: all but tree and samples, without the braces, and the tree. */
type Frame = readonly [rest: string, tree: string];

/** Measures and describes a loop for all who look. Costs nothing while nobody does. */
export class InspectFeed implements OperationIterable<ServerSentEvent> {
  /** Ids of the tasks of the inspector itself. */
  readonly own: Set<number> = new Set();
  /** Highest id of a task that was shown. */
  idMax = 0;
  readonly #loop: EventLoop;
  readonly #settings: FeedSettings;
  readonly #clients: Set<Client> = new Set();
  readonly #meter: Meter;
  readonly #samples: InspectorSample[] = [];
  readonly #supervisors: SupervisorWatch;
  /** Crashes of pools that were seen, and when each was last seen to grow. */
  readonly #counts: Map<string, { value: number; grewMs: number }> = new Map();
  #timer: TimerHandle | null = null;
  /** Stops to listen to the monitor of the lag. */
  #deafen: () => void = () => {};
  #lag: LagMonitor | null;
  #watchedSinceMs: number | null = null;
  #sampledMs = 0;
  #turns = 0;
  #everyMs = EVERY_MS;
  #nextFrameMs = 0;
  #costMs = 0;
  #frameNumber = 0;
  #frame: Frame | null = null;
  #treeNumber = 0;
  #tree = "";
  #json: { readonly text: string; readonly atMs: number } | null = null;

  constructor(loop: EventLoop, settings: FeedSettings) {
    this.#loop = loop;
    this.#settings = settings;
    this.#meter = new Meter(loop, settings.blockedMs, this.own);
    this.#supervisors = new SupervisorWatch(loop);
    this.#lag = settings.lag ?? null;
  }

  /** Whether there are clients. */
  get isWatched(): boolean {
    return this.#clients.size > 0;
  }

  // -- Clients --

  /** Begins the iteration of a client, in the task of its event stream. */
  [items](): ItemSource<ServerSentEvent> {
    const client = new Client();
    const ownId = findTask()?.id ?? 0;
    this.own.add(ownId);
    this.#clients.add(client);
    if (this.#clients.size === 1) this.#begin();
    const next = () =>
      new Operation(() => this.#next(client), { name: "the next frame" });
    const close = () => {
      this.#clients.delete(client);
      this.own.delete(ownId);
      if (this.#clients.size === 0) this.#end();
    };
    return Object.assign(next, { close });
  }

  *#next(
    client: Client,
  ): Coroutine<IteratorResult<ServerSentEvent, undefined>> {
    while (client.frame === this.#frameNumber) {
      const waiter = this.#loop.createFuture<void>("the next frame");
      client.waiter = waiter;
      try {
        yield* waiter;
      } finally {
        client.waiter = null;
      }
    }
    client.frame = this.#frameNumber;
    return { done: false, value: { event: "frame", data: this.#text(client) } };
  }

  #begin(): void {
    const now = this.#loop.time();
    this.#watchedSinceMs = now;
    this.#sampledMs = now;
    this.#turns = this.#loop[core].turns;
    this.#everyMs = EVERY_MS;
    this.#nextFrameMs = this.#costMs = 0;
    this.#meter.reset();
    this.#loop.addInstrument(this.#meter);
    this.#listen();
    this.#frameNumber++;
    this.#frame = null;
    this.#arm();
  }

  #listen(): void {
    const monitor = this.#lag ??= new LagMonitor({
      loop: this.#loop,
      everyMs: EVERY_MS,
      thresholdMs: this.#settings.blockedMs,
      culprits: false, // the meter knows them
    });
    const subscription = monitor.subscribe((event) => {
      if (event.kind === "suspended") this.#meter.suspended(event);
    });
    this.#deafen = () => {
      subscription[Symbol.dispose]();
      if (monitor === this.#settings.lag) return;
      this.#lag = null;
      void monitor.close();
    };
  }

  #end(): void {
    this.#watchedSinceMs = null;
    this.#deafen();
    this.#timer?.cancel();
    this.#timer = null;
    this.#loop.removeInstrument(this.#meter);
    this.#supervisors.end();
    this.#counts.clear();
    this.#frame = null;
    this.#tree = "";
  }

  // -- Measuring --

  #arm(): void {
    const dueMs = this.#loop.time() + EVERY_MS;
    this.#timer = this.#loop.callLater(EVERY_MS, () => this.#tick(dueMs));
    this.#timer.unref(); // the server keeps the process alive
  }

  #tick(dueMs: number): void {
    this.#sample(dueMs);
    this.#arm();
    if (this.#sampledMs < this.#nextFrameMs) return;
    this.#nextFrameMs = this.#sampledMs + this.#everyMs - EVERY_MS / 2;
    this.#frame = null;
    this.#frameNumber++;
    for (const { waiter } of this.#clients) {
      if (waiter?.done() === false) waiter.setResult();
    }
  }

  #sample(dueMs: number): void {
    const now = this.#loop.time();
    const { turns } = this.#loop[core];
    const meter = this.#meter;
    const lagMs = Math.max(now - dueMs, 0);
    const isKnown = meter.blocks.some(({ atMs }) => atMs > this.#sampledMs);
    if (lagMs >= this.#settings.blockedMs && !isKnown) {
      // Code that no hook sees, such as an async function behind a foreign promise.
      meter.add("blocked", now, lagMs);
    }
    this.#samples.push({
      atMs: now,
      overMs: now - this.#sampledMs,
      lagMs,
      steps: meter.steps,
      ended: meter.ended,
      turns: turns - this.#turns,
    });
    this.#sampledMs = now;
    this.#turns = turns;
    meter.steps = meter.ended = 0;
  }

  // -- States --

  /** The state as it is now. */
  state(): InspectorState {
    const { name, tasksMax, blockedMs, pools } = this.#settings;
    const [loop, { blocks }] = [this.#loop, this.#meter];
    const now = loop.time();
    forgetOld(this.#samples, now, KEEP_MS / EVERY_MS);
    forgetOld(blocks, now, BLOCKS_MAX);
    const tree = taskTree({ loop, tasksMax });
    for (const { id } of tree.tasks) this.idMax = Math.max(this.idMax, id);
    const supervisors = this.#supervisors.describe(now, this.isWatched);
    const stats = [...pools].map(([key, pool]) => [key, pool.stats()] as const);
    const problems = findProblems({
      now,
      rings: tree.rings,
      blocks,
      supervisors,
      crashes: this.#supervisors.crashes,
      pools: stats,
      grewMs: (key, value) => this.#grewMs(key, value, now),
    });
    return {
      name,
      timeMs: now,
      watchedSinceMs: this.#watchedSinceMs,
      blockedMs,
      loop: loop.stats(),
      problems,
      lag: this.#lag?.snapshot() ?? null,
      samples: [...this.#samples],
      blocks: [...blocks],
      tree,
      own: [...this.own],
      supervisors,
      pools: Object.fromEntries(stats),
    };
  }

  /** When a count was last seen to grow; null if not lately, or if nobody looks. */
  #grewMs(key: string, value: number, now: number): number | null {
    if (!this.isWatched) return null;
    const known = this.#counts.get(key);
    if (known === undefined) {
      this.#counts.set(key, { value, grewMs: -Infinity });
      return null;
    }
    if (value > known.value) known.grewMs = now;
    known.value = value;
    return now - known.grewMs <= KEEP_MS ? known.grewMs : null;
  }

  /** The state as JSON. May be as old as a frame, so that many who ask cost no more than one who looks. */
  json(): string {
    const now = this.#loop.time();
    if (this.#json === null || now - this.#json.atMs >= this.#everyMs) {
      this.#json = { text: toJson(this.state()), atMs: now };
      this.#pace(now);
    }
    return this.#json.text;
  }

  /** Returns the news for a client, as JSON. */
  #text(client: Client): string {
    const [rest, tree] = this.#frame ??= this.#lag!.exclude(() =>
      this.#makeFrame()
    );
    const samples = this.#samples.filter(({ atMs }) => atMs > client.sampleMs);
    client.sampleMs = samples.at(-1)?.atMs ?? client.sampleMs;
    const isKnown = client.tree === this.#treeNumber;
    client.tree = this.#treeNumber;
    return `{${rest},"everyMs":${Math.ceil(this.#everyMs)},"samples":${
      toJson(samples)
    }${isKnown ? "" : `,"tree":${tree}`}}`;
  }

  #makeFrame(): Frame {
    const begun = this.#loop.time();
    const { tree, samples: _, ...rest } = this.state();
    // Sent when anything but the time, and what the inspector itself does, has changed.
    const { turn: _turn, timeMs: _timeMs, ...facts } = tree;
    const tasks = tree.tasks.filter(({ id }) => !this.own.has(id));
    const text = toJson({ ...facts, tasks });
    if (text !== this.#tree) {
      this.#tree = text;
      this.#treeNumber++;
    }
    const json = toJson(rest).slice(1, -1);
    this.#pace(begun);
    return [json, text];
  }

  /** Makes frames rarer if one takes long. */
  #pace(begunMs: number): void {
    const costMs = this.#loop.time() - begunMs;
    // A single frame may have been slow for another reason, such as code that is not compiled yet.
    const everyMs = Math.min(costMs, this.#costMs) * COST_FACTOR;
    this.#costMs = costMs;
    this.#everyMs = Math.min(Math.max(everyMs, EVERY_MS), EVERY_MAX_MS);
  }
}

/** Follows the supervisors of a loop. */
class SupervisorWatch {
  /** Crashes of the last minute, by the path of the child; the latest is the last. */
  readonly crashes: Map<string, ChildCrash> = new Map();
  readonly #loop: EventLoop;
  /** Supervisors that are followed, how to stop that, and when each was found to have ended. */
  readonly #known: Map<
    SupervisorTask,
    { subscription: Disposable; endedMs: number | null }
  > = new Map();

  constructor(loop: EventLoop) {
    this.#loop = loop;
  }

  /** Describes the supervisors that have none above them. Follows all until {@linkcode end}, if somebody looks. */
  describe(now: number, isWatched: boolean): InspectedSupervisor[] {
    const found = new Set(this.#known.keys());
    for (const task of this.#loop[core].tasks.toArray()) {
      if (!(task instanceof SupervisorTask)) continue;
      found.add(task);
      if (isWatched && !this.#known.has(task)) this.#follow(task);
    }
    this.#forgetOld(now);
    const all: InspectedSupervisor[] = [];
    for (const task of found) {
      if (task.isTop) all.push(describeSupervisor(facadeOf(task).tree(), task));
    }
    return all;
  }

  #follow(task: SupervisorTask): void {
    const subscription = facadeOf(task).subscribe((event) => {
      if (event.type !== "ended" || event.end?.kind !== "crash") return;
      const { supervisor, childId, atMs, end } = event;
      const path = `${supervisor}/${childId}`;
      this.crashes.delete(path);
      if (this.crashes.size === CRASHES_MAX) {
        this.crashes.delete(this.crashes.keys().next().value!);
      }
      const error = errorText(end.error);
      this.crashes.set(path, { supervisor, childId, atMs, error });
    });
    this.#known.set(task, { subscription, endedMs: null });
  }

  #forgetOld(now: number): void {
    for (const [path, { atMs }] of this.crashes) {
      if (now - atMs > KEEP_MS) this.crashes.delete(path);
    }
    for (const [task, known] of this.#known) {
      if (!task.done()) continue;
      known.endedMs ??= now;
      if (now - known.endedMs > KEEP_MS) this.#forget(task, known);
    }
  }

  #forget(task: SupervisorTask, known: { subscription: Disposable }): void {
    known.subscription[Symbol.dispose]();
    this.#known.delete(task);
  }

  /** Stops to follow them. */
  end(): void {
    for (const [task, known] of this.#known) this.#forget(task, known);
    this.crashes.clear();
  }
}

function facadeOf(task: SupervisorTask): SupervisorBase {
  return task.facade as SupervisorBase;
}

/** Counts steps, and finds those that block the loop. */
class Meter implements Instrument {
  steps = 0;
  ended = 0;
  readonly blocks: InspectorBlock[] = [];
  readonly #loop: EventLoop;
  readonly #blockedMs: number;
  readonly #own: ReadonlySet<number>;
  /** End of the last step. Of a step only the end is timed: it begins where the one before has ended. */
  #lastMs = 0;
  /** Name of the callback that runs: its handle may drop it. */
  #callback = "";

  constructor(loop: EventLoop, blockedMs: number, own: ReadonlySet<number>) {
    this.#loop = loop;
    this.#blockedMs = blockedMs;
    this.#own = own;
  }

  /** Begins anew. */
  reset(): void {
    this.steps = this.ended = 0;
    this.#lastMs = Infinity; // a step that has begun was not seen
  }

  turnBegins(): void {
    this.#lastMs = this.#loop.time();
  }

  stepEnds(task: Task<unknown>): void {
    const forMs = this.#stepEnded();
    if (forMs < this.#blockedMs) return;
    const name = this.#own.has(task.id) ? "inspector" : task.name;
    this.add("blocked", this.#lastMs, forMs, { id: task.id, name }, name);
  }

  callbackBegins(callback: Handle | Future<unknown>): void {
    this.#callback = callback instanceof Handle
      ? callbackNameOf(callback) || "(anonymous)"
      : "a posted function";
  }

  callbackEnds(): void {
    const forMs = this.#stepEnded();
    if (forMs < this.#blockedMs) return;
    this.add("blocked", this.#lastMs, forMs, null, this.#callback);
  }

  taskEnds(): void {
    this.ended++;
  }

  /** Returns how long the step was. */
  #stepEnded(): number {
    this.steps++;
    const beganMs = this.#lastMs;
    this.#lastMs = this.#loop.time();
    return this.#lastMs - beganMs;
  }

  add(
    kind: "blocked" | "suspended",
    atMs: number,
    forMs: number,
    task: TaskRef | null = null,
    name: string | null = null,
  ): void {
    this.blocks.push({ kind, atMs, forMs, task, name });
    if (this.blocks.length > 2 * BLOCKS_MAX) {
      this.blocks.splice(0, BLOCKS_MAX);
    }
  }

  /** No step has taken that time: the process was suspended. */
  suspended({ atMs, lagMs }: LagEvent): void {
    const sinceMs = atMs - lagMs;
    const { blocks } = this;
    while (blocks.length > 0 && blocks.at(-1)!.atMs > sinceMs) blocks.pop();
    this.add("suspended", atMs, lagMs);
  }
}

/** Drops what is old, or too much. */
function forgetOld(
  list: { readonly atMs: number }[],
  now: number,
  max: number,
): void {
  const index = list.findIndex(({ atMs }) => now - atMs <= KEEP_MS);
  const old = index < 0 ? list.length : index;
  list.splice(0, Math.max(old, list.length - max));
}

function toJson(value: unknown): string {
  return JSON.stringify(value, shorten);
}

function shorten(_key: string, value: unknown): unknown {
  return typeof value === "string" && value.length > TEXT_MAX
    ? `${value.slice(0, TEXT_MAX)}…`
    : value;
}
