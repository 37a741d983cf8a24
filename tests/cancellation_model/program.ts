/**
 * One run of a tree: its loop, its judge, its tasks and bodies.
 *
 * @module
 */
import {
  type Coroutine,
  type EventLoop,
  newEventLoop,
  type Task,
  type TaskGroup,
} from "../../mod.ts";
import { Judge, type WaitKind } from "./judge.ts";
import {
  type End,
  isCancellation,
  type Place,
  type TaskRecord,
} from "./places.ts";
import { Shared } from "./shared.ts";
import { runNode } from "./statements.ts";
import {
  asAsync,
  asGenerator,
  type Awaited,
  type Script,
  type Style,
} from "./style.ts";
import { type Body, hasTimedPromise, type Tree } from "./tree.ts";

/** Turns in a row without time: the program does not end. */
const MOST_WAITS = 5_000;

/** Where a statement runs. */
export interface Context {
  readonly place: Place;
  /** Whether it is in an async function. */
  readonly isAsync: boolean;
  readonly siblings: readonly (TaskRecord | null)[];
  /** The wait for a function whose own waits these are: once it is left, they are nobody's. */
  readonly caller?: { left: boolean };
}

/** A tree as a program in one style. */
export class Program {
  readonly tree: Tree;
  readonly style: Style;
  readonly loop: EventLoop;
  readonly judge: Judge;
  readonly shared = new Shared();
  /** Tasks and blocks by name, for acts. */
  readonly places = new Map<string, Place>();
  readonly groups = new Map<Place, TaskGroup>();
  /** How each task and block has ended. */
  readonly ends = new Map<string, string>();
  /** How many errors were thrown on purpose. */
  booms = 0;
  #waits = 0;
  #bodies = 0;

  constructor(tree: Tree, style: Style) {
    this.tree = tree;
    this.style = style;
    this.loop = newEventLoop({
      host: "virtual",
      outsideWaits: hasTimedPromise(tree.body) ? "ignore" : "wait",
    });
    this.judge = new Judge(() => this.loop.time());
  }

  /** Makes a task of the program. */
  start(
    record: TaskRecord,
    body: Body,
    siblings: readonly (TaskRecord | null)[],
    make: (body: () => Coroutine<unknown> | Promise<unknown>) => Task<unknown>,
  ): void {
    this.places.set(record.name, record.root);
    this.judge.tasks.push(record);
    this.judge.moved(record);
    record.group?.children.push(record);
    const task = make(this.body(record.root, body, siblings));
    record.task = task;
    task.addDoneCallback(() => {
      record.doneMs = this.loop.time();
      this.ends.set(record.name, this.describeEnd(endOf(task)));
    });
  }

  /** A body in the style of the run, which says how it ended. */
  body(
    place: Place,
    body: Body,
    siblings: readonly (TaskRecord | null)[],
  ): () => Coroutine<unknown> | Promise<unknown> {
    const number = this.#bodies++;
    const isAsync = this.style === "mixed"
      ? (this.tree.styles >> number % 30 & 1) === 1
      : this.style === "async functions";
    const script = () => this.recorded({ place, isAsync, siblings }, body);
    return isAsync ? () => asAsync(script) : function* () {
      return yield* asGenerator(script);
    };
  }

  *recorded(context: Context, body: Body): Script {
    this.judge.bodyBegan(context.place, context.isAsync);
    let end: End;
    try {
      end = { value: yield* this.all(context, body), failed: false };
    } catch (error) {
      this.judge.bodyEnded(context.place, { error, failed: true });
      throw error;
    }
    this.judge.bodyEnded(context.place, end);
    return end.value;
  }

  *all(context: Context, body: Body): Script {
    let value: unknown;
    for (const node of body) value = yield* runNode(this, context, node);
    return typeof value === "number" ? value : undefined;
  }

  simple(
    context: Context,
    body: Body,
  ): () => Coroutine<unknown> | Promise<unknown> {
    const script = () => this.all(context, body);
    return context.isAsync ? () => asAsync(script) : function* () {
      return yield* asGenerator(script);
    };
  }

  /** One wait, before the eyes of the judge. */
  *wait(
    context: Context,
    what: string,
    kind: WaitKind,
    make: () => Awaited,
  ): Script {
    if (++this.#waits > MOST_WAITS) throw new Error("The program does not end");
    if (context.caller?.left) return yield make();
    const wait = this.judge.begin(what, context.place, kind, context.isAsync);
    try {
      const value: unknown = yield make();
      this.judge.passed(wait);
      return value;
    } catch (error) {
      if (isCancellation(error)) this.judge.threw(wait, error);
      else this.judge.passed(wait);
      throw error;
    }
  }

  describeEnd(end: End): string {
    const what = !end.failed
      ? `value ${
        (end.value as { cancelledCaught?: boolean })?.cancelledCaught === true
      }`
      : isCancellation(end.error)
      ? "cancelled"
      : end.error instanceof AggregateError
      ? `group of ${end.error.errors.length}`
      : (end.error as Error).name;
    return `${what} at ${this.loop.time().toFixed(2)}`;
  }
}

function endOf(task: Task<unknown>): End {
  try {
    return { value: task.result(), failed: false };
  } catch (error) {
    return { error, failed: true };
  }
}
