/**
 * Children for tests of supervisors: they log what happens to them, and do what they
 * are told.
 *
 * @module
 */
import { ChildShutdown } from "../../src/errors.ts";
import {
  type Coroutine,
  type EventLoop,
  type ExceptionContext,
  type Future,
  getRunningLoop,
  isCancellation,
  newEventLoop,
  type Operation,
  sleep,
} from "../../src/loop/mod.ts";
import type { ChildRun } from "../../src/supervise/child_run.ts";
import type {
  ChildOptions,
  ChildSpec,
} from "../../src/supervise/child_spec.ts";
import { ignore } from "../../src/supervise/supervised.ts";
import { type Style, STYLES } from "../support/styles.ts";

export { type Style, STYLES };

/** A body that yields what it waits for and is sent what that gives. */
// deno-lint-ignore no-explicit-any
export type Steps<T> = Generator<Operation<any> | Future<any>, T, any>;

/** How a start goes: milliseconds that it takes, and how it ends then. */
export type StartPlan = "ok" | "fail" | "ignore" | number;

/** What a child does. */
export interface Plan extends ChildOptions {
  /** How its 1st, 2nd, … start goes; `"ok"` after that. */
  readonly starts?: readonly StartPlan[];
  /** Milliseconds that it takes to end when it is asked to; `"never"` if it does not. */
  readonly stop?: number | "never";
}

/** How a child is told to end. */
export type Ending = "normal" | "shutdown" | "crash" | "cancel";

/** A child that runs. */
interface Actor {
  readonly run: ChildRun;
  readonly gate: Future<Ending>;
}

/** The children of a test and their log: `"+a"` started, `"-a"` asked to end, `"!a"` ended, `"xa"` killed. */
export class Stage {
  readonly log: string[] = [];
  readonly style: Style;
  readonly #starts = new Map<string, number>();
  readonly #actors = new Map<string, Actor>();

  constructor(style: Style) {
    this.style = style;
  }

  /** Takes the log of so far. */
  take(): string {
    return this.log.splice(0).join(" ");
  }

  /** The spec of a child. */
  child(id: string, plan: Plan = {}): ChildSpec {
    const { starts: _starts, stop: _stop, ...options } = plan;
    return { id, ...options, start: this.start(id, plan) };
  }

  /** The start of a child. */
  start(id: string, plan: Plan = {}): ChildSpec["start"] {
    const play = (started: () => void, run: ChildRun) =>
      this.#play(id, plan, started, run);
    return this.style === "a generator"
      ? (started, run) => inGenerator(play(started, run))
      : (started, run) => inAsync(play(started, run));
  }

  /** Has a running child end; throws if there is none. */
  end(id: string, ending: Ending): void {
    const actor = this.#actors.get(id);
    if (actor === undefined) throw new Error(`There is no child ${id}`);
    if (ending === "cancel") actor.run.task!.cancel("somebody");
    else actor.gate.setResult(ending);
  }

  /** Whether a child runs. */
  has(id: string): boolean {
    return this.#actors.has(id);
  }

  /** The run of a child. */
  runOf(id: string): ChildRun {
    return this.#actors.get(id)!.run;
  }

  *#play(
    id: string,
    { starts = [], stop = 0 }: Plan,
    started: () => void,
    run: ChildRun,
  ): Steps<unknown> {
    const count = (this.#starts.get(id) ?? 0) + 1;
    this.#starts.set(id, count);
    const plan = starts[count - 1] ?? "ok";
    if (typeof plan === "number") yield sleep(plan);
    if (plan === "fail") {
      this.log.push(`?${id}`);
      throw new Error(`${id} does not start`);
    }
    if (plan === "ignore") {
      this.log.push(`/${id}`);
      return ignore;
    }
    this.log.push(`+${id}`);
    const actor = { run, gate: getRunningLoop().createFuture<Ending>() };
    this.#actors.set(id, actor);
    started();
    let ending: Ending;
    try {
      ending = yield actor.gate;
    } catch (error) {
      this.#actors.delete(id);
      yield* this.#stopped(id, stop, error);
      throw error;
    }
    this.#actors.delete(id);
    this.log.push(`!${id}`);
    if (ending === "crash") throw new Error(`${id} has crashed`);
    if (ending === "shutdown") throw new ChildShutdown("enough");
    return undefined;
  }

  *#stopped(
    id: string,
    stop: number | "never",
    error: unknown,
  ): Steps<void> {
    if (!isCancellation(error)) throw error;
    const { reason } = error as { reason?: unknown };
    if (reason === "shutdown") {
      this.log.push(`-${id}`);
      try {
        if (stop !== 0) yield sleep(stop === "never" ? Infinity : stop);
        this.log.push(`!${id}`);
      } catch (killed) {
        this.log.push(`x${id}`);
        throw killed;
      }
    } else this.log.push(reason === "killed" ? `x${id}` : `!${id}`);
  }
}

function* inGenerator<T>(body: Steps<T>): Coroutine<T> {
  let step = body.next();
  while (step.done !== true) {
    let value: unknown;
    try {
      value = yield* step.value;
    } catch (error) {
      step = body.throw(error);
      continue;
    }
    step = body.next(value);
  }
  return step.value;
}

async function inAsync<T>(body: Steps<T>): Promise<T> {
  let step = body.next();
  while (step.done !== true) {
    let value: unknown;
    try {
      value = await step.value;
    } catch (error) {
      step = body.throw(error);
      continue;
    }
    step = body.next(value);
  }
  return step.value;
}

/** What was reported to the exception handler, in words. */
export interface Outcome<T> {
  readonly value: T;
  readonly reports: readonly string[];
}

/** Runs a body on virtual time, in a style, and collects what is reported. */
export async function play<T>(
  style: Style,
  steps: (loop: EventLoop) => Steps<T>,
  options: Parameters<typeof newEventLoop>[0] = {},
): Promise<Outcome<T>> {
  await using loop = newEventLoop({ host: "virtual", ...options });
  const reports: string[] = [];
  loop.setExceptionHandler((_, context) => reports.push(textOf(context)));
  const body = () =>
    style === "a generator" ? inGenerator(steps(loop)) : inAsync(steps(loop));
  const value = await loop.runUntilComplete(body as () => Promise<T>);
  return { value, reports };
}

function textOf({ message, exception }: ExceptionContext): string {
  return exception === undefined
    ? message
    : `${message}: ${
      exception instanceof Error ? exception.message : String(exception)
    }`;
}

/** Catches what an operation throws. */
export function* caught(
  operation: Operation<unknown> | Future<unknown>,
): Steps<Error> {
  try {
    yield operation;
  } catch (error) {
    return error as Error;
  }
  throw new Error("It has not thrown");
}
