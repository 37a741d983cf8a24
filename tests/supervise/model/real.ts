/**
 * Plays a sequence on Rota's supervisor, and logs the same as the model.
 *
 * @module
 */
import { ChildShutdown, SupervisorEndedError } from "../../../src/errors.ts";
import {
  type Coroutine,
  type EventLoop,
  type Future,
  type Operation,
  sleep,
} from "../../../src/loop/mod.ts";
import type { ChildRun } from "../../../src/supervise/child_run.ts";
import type { ChildSpec } from "../../../src/supervise/child_spec.ts";
import { ignore } from "../../../src/supervise/supervised.ts";
import { Supervisor } from "../../../src/supervise/supervisor.ts";
import type {
  ChildCounts,
  ChildInfo,
} from "../../../src/supervise/supervisor_calls.ts";
import type {
  Action,
  ChildPlan,
  Ending,
  Program,
  StartPlan,
} from "./program.ts";

const OK: StartPlan = { tookMs: 0, outcome: "ok" };

/** After the last action, until everything is over. */
const TAIL_MS = 200_000;

interface Actor {
  readonly run: ChildRun;
  gate: Future<Ending | null>;
}

/** Plays a sequence, with children in a style; returns the log. */
export function* playReally(
  loop: EventLoop,
  program: Program,
  style: "generator" | "async",
): Coroutine<string[]> {
  return yield* new Play(loop, program, style).run();
}

class Play {
  readonly #log: string[] = [];
  readonly #replies: string[] = [];
  readonly #loop: EventLoop;
  readonly #program: Program;
  readonly #isAsync: boolean;
  readonly #startMs: number;
  readonly #starts = new Map<string, number>();
  readonly #actors = new Map<string, Actor>();

  constructor(loop: EventLoop, program: Program, style: "generator" | "async") {
    this.#loop = loop;
    this.#program = program;
    this.#isAsync = style === "async";
    this.#startMs = loop.time();
  }

  #say(what: string): void {
    const ms = this.#loop.time() - this.#startMs;
    this.#log.push(`${Math.round(ms * 1e9) / 1e9} ${what}`);
  }

  *run(): Coroutine<string[]> {
    const { strategy, maxRestarts, withinMs, autoShutdown, children } =
      this.#program;
    const supervisor = new Supervisor({
      strategy,
      maxRestarts,
      withinMs,
      autoShutdown,
      significantLater: true,
      reportCrashes: false,
      children: children.map((plan) => this.#spec(plan)),
    });
    supervisor.subscribe(({ type }) => {
      if (type === "supervisor-started") this.#say("started");
      else if (type === "supervisor-ended") this.#say("ended");
      else if (type === "restart-limit") this.#say("limit");
    });
    const loop = this.#loop;
    const start = loop.createTask(() => supervisor.run(), { eager: true });
    for (const { atMs, action } of this.#program.actions) {
      yield* sleep(this.#startMs + atMs - loop.time());
      this.#act(supervisor, action);
    }
    yield* sleep(TAIL_MS);
    const log = [...this.#log, ...this.#replies];
    yield* supervisor.stop();
    try {
      yield* start;
    } catch {
      // It has given up, or has not started.
    }
    return log;
  }

  // -- Actions --

  #act(supervisor: Supervisor, action: Action): void {
    if (action.kind === "end") {
      this.#end(action.id, action.ending);
      return;
    }
    const at = this.#replies.push("") - 1;
    const operation = this.#call(supervisor, action);
    const replies = this.#replies;
    this.#loop.createTask(function* () {
      let answer: string;
      try {
        answer = answerOf(action, yield* operation);
      } catch (error) {
        answer = problemOf(error);
      }
      replies[at] = `${action.kind}: ${answer}`;
    }, { eager: true });
  }

  #call(supervisor: Supervisor, action: Action): Operation<unknown> {
    switch (action.kind) {
      case "terminate":
        return supervisor.terminateChild(action.id);
      case "restart":
        return supervisor.restartChild(action.id);
      case "delete":
        return supervisor.deleteChild(action.id);
      case "start":
        return supervisor.startChild(this.#spec(action.child));
      case "which":
        return supervisor.whichChildren();
      case "count":
        return supervisor.countChildren();
      default:
        return supervisor.stop();
    }
  }

  #end(id: string, ending: Ending): void {
    const actor = this.#actors.get(id);
    if (actor === undefined || actor.gate.done()) return;
    if (ending === "cancel") actor.run.task!.cancel("somebody");
    else actor.gate.setResult(ending);
  }

  // -- Children --

  #spec(plan: ChildPlan): ChildSpec {
    const { id, restart, shutdownMs, significant, backoffMs, healthyMs } = plan;
    const play = (started: () => void, run: ChildRun) =>
      this.#play(plan, started, run);
    return {
      id,
      restart,
      shutdown: shutdownMs === -1 ? "brutal-kill" : shutdownMs,
      significant,
      backoff: backoffMs === 0 ? null : {
        initialMs: backoffMs,
        jitter: "none",
        maxMs: 1e9,
        healthyMs,
      },
      start: this.#isAsync
        ? (started, run) => inAsync(play(started, run))
        : (started, run) => inGenerator(play(started, run)),
    };
  }

  *#play(
    { id, starts, stopMs }: ChildPlan,
    started: () => void,
    run: ChildRun,
  ): Steps<unknown> {
    const count = this.#starts.get(id) ?? 0;
    this.#starts.set(id, count + 1);
    const { tookMs, outcome } = starts[count] ?? OK;
    this.#say(`>${id}`);
    if (tookMs > 0) yield sleep(tookMs);
    this.#say({ ok: "+", fail: "?", ignore: "/" }[outcome] + id);
    if (outcome === "fail") throw new Error("does not start");
    if (outcome === "ignore") return ignore;
    const actor: Actor = { run, gate: this.#loop.createFuture() };
    this.#actors.set(id, actor);
    started();
    let ending: Ending | null;
    try {
      ending = yield actor.gate;
    } catch (error) {
      if ((error as { reason?: unknown }).reason !== "shutdown") {
        this.#gone(id, (error as { reason?: unknown }).reason === "killed");
        throw error;
      }
      ending = yield* this.#stop(id, actor, stopMs);
    }
    this.#gone(id, false);
    if (ending === "crash") throw new Error("crash");
    if (ending === "shutdown" || ending === null) throw new ChildShutdown();
    return undefined;
  }

  /** It was asked to end: takes its time, in which it may still end by itself or be killed. */
  *#stop(id: string, actor: Actor, stopMs: number): Steps<Ending | null> {
    this.#say(`-${id}`);
    if (stopMs === 0) return null;
    const { gate } = actor;
    const own = actor.gate = gate.done() ? this.#loop.createFuture() : gate;
    const timer = this.#loop.callLater(stopMs, () => {
      if (!own.done()) own.setResult(null);
    });
    try {
      return yield own;
    } catch (error) {
      this.#gone(id, (error as { reason?: unknown }).reason === "killed");
      throw error;
    } finally {
      timer.cancel();
    }
  }

  #gone(id: string, killed: boolean): void {
    this.#actors.delete(id);
    this.#say(`${killed ? "x" : "!"}${id}`);
  }
}

function answerOf(action: Action, value: unknown): string {
  switch (action.kind) {
    case "start":
    case "restart":
      return value === undefined ? "ignore" : "ok";
    case "which":
      return (value as ChildInfo[]).map(({ id, status }) => `${id} ${status}`)
        .join();
    case "count":
      return `${(value as ChildCounts).specs} ${(value as ChildCounts).active}`;
    default:
      return "ok";
  }
}

function problemOf(error: unknown): string {
  if (error instanceof SupervisorEndedError) return "ended";
  return (error as { problem?: string }).problem ?? "fail";
}

// deno-lint-ignore no-explicit-any
type Steps<T> = Generator<Operation<any> | Future<any>, T, any>;

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
