/**
 * Runs supervisor programs on Rota's supervisors, by their public interface, and
 * records what children and callers see.
 *
 * @module
 */
import { ChildShutdown } from "../../../src/errors.ts";
import {
  type EventLoop,
  type Future,
  isCancellation,
  newEventLoop,
  type Operation,
  sleep,
} from "../../../src/loop/mod.ts";
import type { ChildRun } from "../../../src/supervise/child_run.ts";
import type { ChildSpec } from "../../../src/supervise/child_spec.ts";
import { DynamicSupervisor } from "../../../src/supervise/dynamic_supervisor.ts";
import { ignore } from "../../../src/supervise/supervised.ts";
import { Supervisor } from "../../../src/supervise/supervisor.ts";
import type { SupervisorEvent } from "../../../src/supervise/supervisor_events.ts";
import { asSteps, type Steps, type Style } from "./style.ts";
import type {
  Behaviour,
  ChildRecord,
  During,
  Event,
  ProgramRecord,
  Step,
  SupervisorRecord,
} from "./language.ts";
import { callResult, endReason, whyFailed } from "./words.ts";

/** An event and its moment. */
export interface TimedEvent {
  readonly event: Event;
  readonly atMs: number;
}

/** A worker that runs. */
interface Live {
  readonly run: ChildRun;
  /** Done with the reason with which it ends by itself. */
  gate: Future<string>;
}

/** Turns in which whatever is under way comes to rest. */
const TURNS = 12;

/** Runs a program; returns the events of its start and of each step. */
export async function execute(
  program: ProgramRecord,
  style: Style,
): Promise<TimedEvent[][]> {
  await using loop = newEventLoop({ host: "virtual" });
  const machine = new Machine(loop, program, style);
  await loop.runUntilComplete(asSteps("generator", () => machine.play()));
  return machine.trace;
}

class Machine {
  readonly trace: TimedEvent[][] = [];
  readonly #loop: EventLoop;
  readonly #program: ProgramRecord;
  readonly #style: Style;
  readonly #starts = new Map<string, number>();
  readonly #live = new Map<string, Live>();
  /** The last run of each instance. */
  readonly #runs = new Map<string, ChildRun>();
  /** The runs that are supervisors. */
  readonly #nested = new WeakSet<ChildRun>();
  readonly #supervisors = new Map<string, Supervisor | DynamicSupervisor>();
  /** The replies of the step, in the order of the calls. */
  #replies: (Event | null)[] = [];
  #during: During | null = null;
  #activity = 0;

  constructor(loop: EventLoop, program: ProgramRecord, style: Style) {
    this.#loop = loop;
    this.#program = program;
    this.#style = style;
  }

  #record(...event: unknown[]): void {
    this.#activity++;
    this.trace.at(-1)!.push({ event, atMs: this.#loop.time() });
  }

  // -- The program --

  *play(): Steps<void> {
    this.trace.push([]);
    yield* this.#start();
    for (const step of this.#program.steps) {
      this.trace.push([]);
      this.#replies = [];
      this.#during = step.during ?? null;
      yield* this.#perform(step);
      yield* this.#rest();
      this.#during = null;
      for (const reply of this.#replies) {
        if (reply !== null) this.#record(...reply);
      }
    }
    yield this.#top()?.stop() ?? sleep(0);
  }

  #top(): Supervisor | DynamicSupervisor | undefined {
    return this.#supervisors.get("");
  }

  *#start(): Steps<void> {
    let result = "ok-started";
    try {
      const top = this.#make(this.#program.supervisor, "");
      let hasStarted = false;
      top.subscribe(({ type }) => {
        if (type === "supervisor-started") hasStarted = true;
        if (type === "supervisor-ended" && hasStarted) {
          this.#record("end", "shutdown");
        }
      });
      yield top.start();
      this.#issue(top.join());
    } catch (error) {
      result = `error ${whyFailed(error)}`;
    }
    yield* this.#rest();
    this.#record("start-result", result);
  }

  /** Waits until nothing is in progress and all mailboxes are empty. */
  *#rest(): Steps<void> {
    let activity: number;
    do {
      activity = this.#activity;
      yield* this.#turns();
      for (const supervisor of [...this.#supervisors.values()]) {
        if (supervisor.state !== "new") yield supervisor.settled();
      }
    } while (activity !== this.#activity);
  }

  *#turns(): Steps<void> {
    for (let turn = 0; turn < TURNS; turn++) yield sleep(0);
  }

  // -- Supervisors --

  #make(
    record: SupervisorRecord,
    path: string,
  ): Supervisor | DynamicSupervisor {
    const { strategy, maxRestarts, withinMs, autoShutdown } = record;
    const options = {
      name: path,
      maxRestarts,
      withinMs,
      autoShutdown,
      significantLater: true,
      reportCrashes: false,
    };
    let supervisor: Supervisor | DynamicSupervisor;
    if (strategy === "dynamic") {
      const child = optionsOf(record.children[0]!);
      supervisor = new DynamicSupervisor({ ...options, child });
    } else {
      const children = record.children.map((child) =>
        this.#specOf(child, path)
      );
      supervisor = new Supervisor({ ...options, strategy, children });
    }
    supervisor.subscribe((event) => this.#seen(event, path));
    this.#supervisors.set(path, supervisor);
    return supervisor;
  }

  /** Records what happens to nested supervisors: workers tell themselves. */
  #seen(event: SupervisorEvent, sup: string): void {
    if (!("childId" in event) || !this.#nested.has(event.run)) return;
    const path = join(sup, event.childId);
    if (event.type === "started") this.#record("started", path);
    else if (event.type === "start-failed") {
      this.#record("start-failed", path, whyFailed(event.error));
    } else if (event.type === "ended") {
      this.#record("down", path, endReason(event.end!));
    }
  }

  #specOf(record: ChildRecord, sup: string): ChildSpec {
    const path = join(sup, record.id);
    const start = record.type === "supervisor"
      ? this.#startSupervisor(record.supervisor!, path)
      : this.#startWorker(record.behaviour ?? {}, path);
    return { id: record.id, ...optionsOf(record), start };
  }

  #startSupervisor(record: SupervisorRecord, path: string): ChildSpec["start"] {
    return (_started, run) =>
      asSteps(this.#style, () => this.#nest(record, path, run))();
  }

  *#nest(
    record: SupervisorRecord,
    path: string,
    run: ChildRun,
  ): Steps<unknown> {
    this.#nested.add(run);
    this.#begin(path);
    yield* this.#hold("start", path);
    return this.#make(record, path);
  }

  // -- Workers --

  /** Counts and records a start; returns its number. */
  #begin(path: string): number {
    const number = (this.#starts.get(path) ?? 0) + 1;
    this.#starts.set(path, number);
    this.#record("start", path, number);
    return number;
  }

  #startWorker(behaviour: Behaviour, path: string): ChildSpec["start"] {
    return (started, run) =>
      asSteps(this.#style, () => this.#work(behaviour, path, started, run))();
  }

  *#work(
    { starts = [], stop = 0, stopReason = "shutdown" }: Behaviour,
    path: string,
    started: () => void,
    run: ChildRun,
  ): Steps<unknown> {
    const number = this.#begin(path);
    yield* this.#hold("start", path);
    const outcome = starts[number - 1] ?? "ok";
    if (outcome === "ignore") {
      this.#record("ignored", path);
      return ignore;
    }
    if (outcome !== "ok") {
      this.#record("start-failed", path, `init-${outcome}`);
      throw new Error(`init-${outcome}`);
    }
    const live: Live = { run, gate: this.#loop.createFuture() };
    this.#live.set(path, live);
    this.#runs.set(path, run);
    this.#record("started", path);
    started();
    let reason: string;
    try {
      reason = yield* this.#untilStopped(path, live, stop, stopReason);
    } catch (error) {
      // It was killed.
      this.#down(path, live, "killed");
      throw error;
    }
    this.#down(path, live, reason);
    return end(reason);
  }

  #down(path: string, live: Live, reason: string): void {
    if (this.#live.get(path) === live) this.#live.delete(path);
    this.#record("down", path, reason);
  }

  /** Waits until the worker ends, by itself or because it is stopped; throws if it is killed. */
  *#untilStopped(
    path: string,
    live: Live,
    stop: number | "ignore",
    stopReason: string,
  ): Steps<string> {
    try {
      return yield live.gate;
    } catch (error) {
      if (!isCancellation(error) || reasonOf(error) === "killed") throw error;
    }
    this.#record("stop", path, "shutdown");
    const gate = live.gate = this.#loop.createFuture();
    yield* this.#hold("stop", path);
    if (stop === 0 && !gate.done()) return stopReason;
    if (stop !== "ignore") {
      this.#loop.callLater(stop, () => {
        if (!gate.done()) gate.setResult(stopReason);
      });
    }
    return yield gate;
  }

  /** Performs the actions for which a start or stop is held up. */
  *#hold(what: "start" | "stop", path: string): Steps<void> {
    const during = this.#during;
    if (during === null || during[what] !== path) return;
    this.#during = null;
    for (const step of during.do) yield* this.#perform(step);
  }

  // -- Steps --

  *#perform(step: Step): Steps<void> {
    switch (step.op) {
      case "exit":
        return yield* this.#exit(step.child!, step.reason!);
      case "wait":
        yield sleep(step.ms!);
        return;
      case "stop": {
        const top = this.#top();
        if (top !== undefined) this.#issue(top.stop());
        return;
      }
      case "together":
        return yield* this.#together(step.sup ?? "", step.do!);
      default:
        return this.#call(step);
    }
  }

  /** Has a worker end by itself, and waits until it is dead. */
  *#exit(path: string, reason: string): Steps<void> {
    const live = this.#live.get(path);
    if (live === undefined) {
      this.#replies.push(["not-running", path]);
      return;
    }
    if (reason === "kill") live.run.task!.cancel("killed");
    else if (!live.gate.done()) live.gate.setResult(reason);
    for (let turn = 0; turn < 100 && live.run.end === null; turn++) {
      yield sleep(0);
    }
  }

  /** Performs actions while a supervisor is busy: it waits for the start of a child that decides not to run. */
  *#together(path: string, steps: readonly Step[]): Steps<void> {
    const supervisor = this.#supervisors.get(path);
    const gate = this.#loop.createFuture<void>();
    if (supervisor !== undefined && supervisor.state !== "ended") {
      const start = function* (_started: () => void) {
        yield* gate;
        return ignore;
      };
      this.#issue(
        supervisor instanceof DynamicSupervisor
          ? supervisor.startChild(start)
          : supervisor.startChild({ id: "", restart: "temporary", start }),
      );
      yield* this.#turns();
    }
    for (const step of steps) yield* this.#perform(step);
    gate.setResult();
  }

  /** Begins an operation at once. */
  #issue(operation: Operation<unknown>): void {
    this.#loop.createTask(function* () {
      try {
        yield* operation;
      } catch {
        // The supervisor has ended.
      }
    }, { eager: true });
  }

  #call(step: Step): void {
    const replies = this.#replies;
    const at = replies.push(null) - 1;
    const { op } = step;
    const path = step.sup ?? "";
    const supervisor = this.#supervisors.get(path);
    if (op === "terminate-instance" && !this.#runs.has(step.id!)) {
      replies[at] = ["not-running", step.id!];
      return;
    }
    if (supervisor === undefined) {
      replies[at] = ["reply", op, "noproc"];
      return;
    }
    const answer = (value: unknown) => {
      this.#activity++;
      replies[at] = ["reply", op, callResult(op, value, supervisor)];
    };
    const operation = this.#operation(step, path, supervisor);
    this.#loop.createTask(function* () {
      try {
        answer(yield* operation);
      } catch (error) {
        answer(error);
      }
    }, { eager: true });
  }

  #operation(
    step: Step,
    path: string,
    supervisor: Supervisor | DynamicSupervisor,
  ): Operation<unknown> {
    const { op, id, spec, behaviour } = step;
    switch (op) {
      case "which-children":
        return supervisor.whichChildren();
      case "count-children":
        return supervisor.countChildren();
      case "restart-child":
        return supervisor.restartChild(id!);
      case "delete-child":
        return supervisor.deleteChild(id!);
      case "terminate-child":
        return supervisor.terminateChild(id!);
      case "start-child":
        return (supervisor as Supervisor).startChild(this.#specOf(spec!, path));
      case "start-instance":
        return (supervisor as DynamicSupervisor).startChild(
          this.#startWorker(behaviour ?? {}, id!),
          { name: id },
        );
      case "terminate-instance":
        return (supervisor as DynamicSupervisor).terminateChild(
          this.#runs.get(id!)!,
        );
    }
    throw new TypeError(`Cannot perform a step: there is no ${op}`);
  }
}

function join(sup: string, id: string): string {
  return sup === "" ? id : `${sup}/${id}`;
}

function optionsOf(
  { restart, shutdown, significant, type }: ChildRecord,
): Omit<ChildSpec, "id" | "start"> {
  return {
    restart,
    shutdown: shutdown === "infinity" ? Infinity : shutdown,
    significant,
    type,
  };
}

function reasonOf(error: unknown): unknown {
  return (error as { reason?: unknown }).reason;
}

/** Ends the function of a worker. */
function end(reason: string): void {
  if (reason === "normal") return;
  if (reason === "shutdown") throw new ChildShutdown();
  if (reason.startsWith("shutdown:")) {
    throw new ChildShutdown(reason.slice("shutdown:".length));
  }
  throw new Error(reason);
}
