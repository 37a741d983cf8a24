/**
 * Random sequences of ends, calls and abandoned runs, on Rota's supervisors and by a naive
 * model: no restart is lost, none is made twice, nothing is left.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import {
  type EventLoop,
  Future,
  type Operation,
  sleep,
} from "../../src/loop/mod.ts";
import type {
  ChildSpec,
  ChildStart,
  RestartType,
} from "../../src/supervise/child_spec.ts";
import type { ChildRun } from "../../src/supervise/child_run.ts";
import { DynamicSupervisor } from "../../src/supervise/dynamic_supervisor.ts";
import {
  type ChildControl,
  type ChildHost,
  type Supervisable,
  supervised,
} from "../../src/supervise/supervised.ts";
import { Supervisor } from "../../src/supervise/supervisor.ts";
import { SeededRandom } from "../../src/structures/random.ts";
import { play, type Steps, type Style, STYLES } from "./stage.ts";

const SEQUENCES = 1_500;
/** Time between two actions, and a delay that never ends at the time of one. */
const STEP_MS = 10;
const DELAY_MS = 13;
/** Time within which restarts count, at the end of which none is made. */
const WITHIN_MS = 35.5;

type Strategy = "one-for-one" | "one-for-all" | "rest-for-one" | "dynamic";

/** What is known of a child beforehand. */
interface Plan {
  readonly label: string;
  readonly id: string;
  /** Whether it is a task, or something outside of the loop. */
  readonly isTask: boolean;
  /** Whether a kill leaves something behind. */
  readonly parks: boolean;
  readonly restart: RestartType;
  readonly isDelayed: boolean;
  readonly allowOverlap: boolean;
  /** Whether its 1st, 2nd, … start fails. */
  readonly fails: readonly boolean[];
}

type Action =
  /** A run ends by itself; `leaves`: with something left behind, if it is no task. */
  | { kind: "end"; nth: number; isCrash: boolean; leaves: boolean }
  /** Something that was left behind has ended after all. */
  | { kind: "release"; nth: number; isError: boolean }
  | { kind: "terminate" | "restart" | "delete"; nth: number }
  | { kind: "start"; plan: Plan };

interface Sequence {
  readonly strategy: Strategy;
  readonly maxRestarts: number;
  readonly plans: readonly Plan[];
  readonly actions: readonly Action[];
}

class Writer {
  readonly #random: SeededRandom;
  readonly #strategy: Strategy;
  /** Options that the children of a dynamic supervisor have in common. */
  readonly #common: { restart: RestartType; delayed: boolean; over: boolean };
  #labels = 0;

  constructor(seed: number) {
    this.#random = new SeededRandom(seed);
    this.#strategy = this.#pick(
      ["one-for-one", "one-for-all", "rest-for-one", "dynamic", "dynamic"],
    );
    this.#common = this.#options();
  }

  #pick<T>(of: readonly T[]): T {
    return of[this.#random.nextInt(of.length)]!;
  }

  #is(part: number): boolean {
    return this.#random.next() < part;
  }

  #options() {
    return {
      restart: this.#pick<RestartType>(
        ["permanent", "permanent", "transient", "temporary"],
      ),
      delayed: this.#is(0.4),
      over: this.#is(0.2),
    };
  }

  #plan(isFirst: boolean): Plan {
    const isDynamic = this.#strategy === "dynamic";
    const { restart, delayed, over } = isDynamic
      ? this.#common
      : this.#options();
    const label = `c${this.#labels++}`;
    const fails = Array.from({ length: 6 }, () => this.#is(0.15));
    return {
      label,
      id: isDynamic
        ? this.#pick(["x", "y"])
        : isFirst
        ? label
        : this.#pick(["c0", "c1", "c9"]),
      isTask: this.#is(0.5),
      parks: this.#is(0.6),
      restart,
      isDelayed: delayed,
      allowOverlap: over,
      fails: isFirst ? [false, ...fails] : fails,
    };
  }

  #action(): Action {
    const nth = this.#random.nextInt(6);
    if (this.#is(0.4)) {
      return {
        kind: "end",
        nth,
        isCrash: this.#is(0.7),
        leaves: this.#is(0.5),
      };
    }
    if (this.#is(0.4)) {
      return { kind: "release", nth, isError: this.#is(0.2) };
    }
    const kind = this.#pick(
      ["terminate", "terminate", "restart", "delete", "start"] as const,
    );
    return kind === "start" ? { kind, plan: this.#plan(false) } : { kind, nth };
  }

  write(): Sequence {
    const plans = Array.from(
      { length: 1 + this.#random.nextInt(4) },
      () => this.#plan(true),
    );
    const count = 3 + this.#random.nextInt(25);
    const actions = Array.from({ length: count }, () => this.#action());
    const maxRestarts = this.#pick([Infinity, Infinity, 2, 3, 5]);
    return { strategy: this.#strategy, maxRestarts, plans, actions };
  }
}

// -- The model --

interface Child {
  readonly plan: Plan;
  status: "running" | "restarting" | "stopped";
  starts: number;
  delay: { readonly dueMs: number } | null;
}

class Naive {
  readonly log: string[] = [];
  readonly #strategy: Strategy;
  children: Child[] = [];
  /** What was left behind, the oldest first. */
  leftovers: Child[] = [];
  /** Whether it has given up. */
  isOver = false;
  readonly #maxRestarts: number;
  #restarts: number[] = [];
  #retries: Child[] = [];
  #nowMs = 0;

  constructor({ strategy, maxRestarts, plans }: Sequence) {
    this.#strategy = strategy;
    this.#maxRestarts = maxRestarts;
    for (const plan of plans) this.#startNew(plan);
  }

  get #together(): boolean {
    return this.#strategy === "one-for-all" ||
      this.#strategy === "rest-for-one";
  }

  get running(): Child[] {
    return this.children.filter(({ status }) => status === "running");
  }

  #isHeldUp(child: Child): boolean {
    const isSame = (other: Child) =>
      this.#strategy === "dynamic"
        ? other === child
        : other.plan.id === child.plan.id;
    return !child.plan.allowOverlap && this.leftovers.some(isSame);
  }

  #startNew(plan: Plan): string {
    const known = this.children.find((child) => child.plan.id === plan.id);
    if (known !== undefined && this.#strategy !== "dynamic") return "known";
    const child: Child = { plan, status: "stopped", starts: 0, delay: null };
    if (this.#isHeldUp(child)) return "abandoned";
    if (!this.#start(child)) return "failed";
    this.children.push(child);
    return "ok";
  }

  #start(child: Child): boolean {
    const { label, fails } = child.plan;
    if (fails[child.starts++] === true) {
      this.log.push(`start-failed ${label}`);
      return false;
    }
    this.log.push(`started ${label}`);
    child.status = "running";
    return true;
  }

  #stopped(child: Child): void {
    child.status = "stopped";
    if (child.plan.restart === "temporary" || this.#strategy === "dynamic") {
      this.children = this.children.filter((other) => other !== child);
    }
  }

  /** The supervisor has a child not run. */
  #end(child: Child): void {
    child.delay = null;
    if (child.status !== "running") return;
    const { label, parks } = child.plan;
    if (parks) {
      this.leftovers.push(child);
      this.log.push(`abandoned ${label}`);
    }
    this.log.push(`ended ${label} ${parks ? "abandoned" : "killed"}`);
  }

  /** Does an action, and what follows from it at once. */
  act(action: Action): string {
    const result = this.#do(action);
    this.#settle();
    return result;
  }

  #settle(): void {
    for (;;) {
      const child = this.#retries.shift();
      if (child === undefined || this.isOver) return;
      if (child.status === "restarting" && child.delay === null) {
        this.#restart(child, false);
      }
    }
  }

  /** Lets time pass. */
  pass(): void {
    const untilMs = this.#nowMs + STEP_MS;
    while (!this.isOver) {
      const delays = this.children.map(({ delay }) => delay)
        .filter((delay) => delay !== null && delay.dueMs < untilMs)
        .sort((a, b) => a!.dueMs - b!.dueMs);
      const [delay] = delays;
      if (delay === undefined) break;
      this.#nowMs = delay!.dueMs;
      const waiting = this.children.filter((one) => one.delay === delay);
      for (const child of waiting) child.delay = null;
      this.#restart(waiting[0]!, true);
      this.#settle();
    }
    this.#nowMs = untilMs;
  }

  #do(action: Action): string {
    if (action.kind === "start") return this.#startNew(action.plan);
    if (action.kind === "end") return this.#die(action);
    const { nth } = action;
    if (action.kind === "release") {
      const child = this.leftovers[nth];
      if (child === undefined) return "none";
      this.leftovers.splice(nth, 1);
      const isLast = this.#strategy === "dynamic"
        ? !this.leftovers.includes(child)
        : !this.leftovers.some(({ plan }) => plan.id === child.plan.id);
      if (isLast && !child.plan.allowOverlap) this.#retries.push(child);
      return "ok";
    }
    const child = this.children[nth];
    if (child === undefined) return "none";
    if (action.kind === "terminate") return this.#terminate(child);
    if (this.#strategy === "dynamic") return "dynamic";
    if (child.status !== "stopped") return child.status;
    if (action.kind === "delete") {
      this.children.splice(nth, 1);
      return "ok";
    }
    if (this.#isHeldUp(child)) return "abandoned";
    return this.#start(child) ? "ok" : "failed";
  }

  #die({ nth, isCrash, leaves }: Action & { kind: "end" }): string {
    const child = this.running[nth];
    if (child === undefined) return "none";
    const { label, isTask, restart } = child.plan;
    if (leaves && !isTask) this.leftovers.push(child);
    this.log.push(`ended ${label} ${isCrash ? "crash" : "normal"}`);
    if (restart === "permanent" || restart === "transient" && isCrash) {
      if (!this.#delays(child)) this.#restart(child, false);
    } else this.#stopped(child);
    return "ok";
  }

  #terminate(child: Child): string {
    const wasDue = child.status === "restarting" && child.delay === null;
    this.#end(child);
    this.#stopped(child);
    if (!wasDue || !this.#together) return "ok";
    const next = this.children.find(({ status, delay }) =>
      status === "restarting" && delay === null
    );
    if (next !== undefined) this.#retries.push(next);
    return "ok";
  }

  #delays(child: Child): boolean {
    const shared = this.#together
      ? this.children.map(({ delay }) => delay).find((delay) => delay !== null)
      : undefined;
    if (shared === undefined && !child.plan.isDelayed) return false;
    child.delay = shared ?? { dueMs: this.#nowMs + DELAY_MS };
    child.status = "restarting";
    this.log.push(
      `restarting ${child.plan.label} ${child.delay!.dueMs - this.#nowMs}`,
    );
    return true;
  }

  #holdUp(child: Child): void {
    child.status = "restarting";
    this.log.push(`held-up ${child.plan.label}`);
  }

  #restart(child: Child, isAnnounced: boolean): void {
    if (this.#isHeldUp(child)) return this.#holdUp(child);
    this.#restarts = this.#restarts.filter((atMs) =>
      this.#nowMs - atMs <= WITHIN_MS
    );
    if (this.#restarts.length >= this.#maxRestarts) {
      this.log.push("restart-limit");
      this.isOver = true;
      return;
    }
    this.#restarts.push(this.#nowMs);
    if (!isAnnounced) this.log.push(`restarting ${child.plan.label} 0`);
    if (!this.#together) {
      this.#startAgain(child);
      return;
    }
    const from = this.#strategy === "one-for-all"
      ? 0
      : this.children.indexOf(child);
    for (const sibling of this.children.slice(from).reverse()) {
      if (sibling === child) {
        child.delay = null;
        child.status = "stopped";
      } else {
        this.#end(sibling);
        this.#stopped(sibling);
      }
    }
    for (const sibling of this.children.slice(from)) {
      if (!this.#startAgain(sibling)) return;
    }
  }

  #startAgain(child: Child): boolean {
    if (this.#isHeldUp(child)) {
      this.#holdUp(child);
      return false;
    }
    if (this.#start(child)) return true;
    if (!this.#delays(child)) {
      child.status = "restarting";
      this.#retries.push(child);
    }
    return false;
  }

  get states(): string {
    return this.children.map(({ plan: { label }, status }) =>
      `${label} ${status}`
    ).join();
  }
}

// -- The real one --

/** A run, as the test ends it. */
interface Actor {
  readonly label: string;
  end(isCrash: boolean, leaves: boolean): void;
}

class World {
  readonly #loop: EventLoop;
  readonly #style: Style;
  readonly labels: WeakMap<object, string> = new WeakMap();
  readonly runs: Map<string, ChildRun | ChildHost> = new Map();
  readonly actors: Map<string, Actor> = new Map();
  /** Ends what was left behind, the oldest first. */
  readonly leftovers: ((isError: boolean) => void)[] = [];
  /** Functions and objects that have begun and have not ended. */
  alive = 0;
  errors = 0;

  constructor(loop: EventLoop, style: Style) {
    this.#loop = loop;
    this.#style = style;
  }

  start(plan: Plan): ChildStart {
    let starts = 0;
    const begin = (run: ChildRun | ChildHost) => {
      this.labels.set(run, plan.label);
      if (plan.fails[starts++] === true) throw new Error("no start");
      this.runs.set(plan.label, run);
      this.alive++;
    };
    if (!plan.isTask) {
      return (() => new Outside(this, plan, begin, this.#loop)) as ChildStart;
    }
    if (plan.parks) {
      return async (started, run) => {
        begin(run);
        started();
        await this.#park(plan);
      };
    }
    const gateOf = () => {
      const gate = this.#loop.createFuture<boolean>();
      const { label } = plan;
      this.actors.set(label, { label, end: (crash) => gate.setResult(crash) });
      return gate;
    };
    if (this.#style === "a generator") {
      const left = () => this.#left(plan);
      return function* (started, run) {
        begin(run);
        started();
        try {
          if (yield* gateOf()) throw new Error("crash");
        } finally {
          left();
        }
      };
    }
    return async (started, run) => {
      begin(run);
      started();
      try {
        if (await gateOf()) throw new Error("crash");
      } finally {
        this.#left(plan);
      }
    };
  }

  #left({ label }: Plan): void {
    this.alive--;
    this.actors.delete(label);
  }

  /** Waits for a promise outside the loop. */
  async #park(plan: Plan): Promise<void> {
    const { label } = plan;
    const { promise, resolve } = Promise.withResolvers<boolean>();
    const actor: Actor = { label, end: (isCrash) => resolve(isCrash) };
    this.actors.set(label, actor);
    this.#abandonable.set(label, (isError) => resolve(isError));
    const isError = await promise;
    this.alive--;
    if (this.actors.get(label) === actor) this.actors.delete(label);
    if (isError) throw new Error("crash");
  }

  readonly #abandonable: Map<string, (isError: boolean) => void> = new Map();

  /** A task was abandoned. */
  abandoned(label: string): void {
    const release = this.#abandonable.get(label);
    if (release === undefined) return; // no task: it has told
    this.#abandonable.delete(label);
    this.actors.delete(label);
    this.leftovers.push((isError) => {
      if (isError) this.errors++;
      release(isError);
    });
  }
}

/** A child that is no task. */
class Outside implements Supervisable, ChildControl {
  readonly #world: World;
  readonly #plan: Plan;
  readonly #begin: (run: ChildHost) => void;
  readonly #loop: EventLoop;
  #host: ChildHost | null = null;

  constructor(
    world: World,
    plan: Plan,
    begin: (run: ChildHost) => void,
    loop: EventLoop,
  ) {
    this.#world = world;
    this.#plan = plan;
    this.#begin = begin;
    this.#loop = loop;
  }

  [supervised](host: ChildHost): ChildControl {
    this.#begin(host);
    this.#host = host;
    const { label } = this.#plan;
    this.#world.actors.set(label, {
      label,
      end: (isCrash, leaves) => {
        this.#over(
          isCrash
            ? { kind: "crash", error: new Error("crash") }
            : { kind: "normal" },
          leaves,
        );
      },
    });
    host.started(this);
    return this;
  }

  #over(end: Parameters<ChildHost["ended"]>[0], leaves: boolean): void {
    this.#world.actors.delete(this.#plan.label);
    this.#world.alive--;
    if (!leaves) return this.#host!.ended(end);
    const leftover = new Future<void>(this.#loop, "leftover");
    this.#world.leftovers.push(() => leftover.setResult());
    this.#host!.ended(end, leftover);
  }

  stop(): void {
    this.kill();
  }

  kill(): void {
    if (this.#plan.parks) {
      this.#over({ kind: "abandoned", waitsFor: "it" }, true);
    } else this.#over({ kind: "killed" }, false);
  }
}

/** Runs a call; returns how it went. */
function* answerOf(call: Operation<unknown>): Steps<string> {
  try {
    yield call;
    return "ok";
  } catch (error) {
    const { problem, name } = error as { problem?: string; name: string };
    if (problem === undefined) {
      return name === "ChildStartError" ? "failed" : `${error}`;
    }
    return problem.startsWith("already") ? "known" : problem;
  }
}

const optionsOf = ({ restart, isDelayed, allowOverlap }: Plan) => ({
  restart,
  allowOverlap,
  shutdown: "brutal-kill" as const,
  backoff: isDelayed
    ? { initialMs: DELAY_MS, factor: 1, jitter: "none" as const }
    : null,
});

/** Plays a sequence beside the model; returns the two logs. */
function* sideBySide(
  loop: EventLoop,
  style: Style,
  sequence: Sequence,
): Steps<{ got: string[]; wanted: string[]; left: unknown }> {
  const { strategy, plans, actions } = sequence;
  const world = new World(loop, style);
  const common = {
    name: "top",
    maxRestarts: sequence.maxRestarts,
    withinMs: WITHIN_MS,
    reportCrashes: false,
  };
  const specOf = (plan: Plan): ChildSpec => ({
    id: plan.id,
    ...optionsOf(plan),
    start: world.start(plan),
  });
  const supervisor = strategy === "dynamic"
    ? new DynamicSupervisor({ ...common, child: optionsOf(plans[0]!) })
    : new Supervisor({
      ...common,
      strategy,
      children: plans.map(specOf),
    });
  const got: string[] = [];
  const listening = supervisor.subscribe((event) => {
    if (event.type === "restart-limit") got.push(event.type);
    if (!("childId" in event)) return;
    const { type, run, end, delayMs } = event;
    if (type === "starting" || type === "stopping") return;
    const label = world.labels.get(run) ?? "?";
    if (type === "abandoned") world.abandoned(label);
    const more = end?.kind ??
      (delayMs === undefined ? undefined : Math.round(delayMs * 1e6) / 1e6);
    got.push(`${type} ${label}${more === undefined ? "" : ` ${more}`}`);
  });
  yield supervisor.start();
  const startOne = (plan: Plan) =>
    supervisor instanceof Supervisor
      ? supervisor.startChild(specOf(plan))
      : supervisor.startChild(world.start(plan), { name: plan.id });
  if (strategy === "dynamic") {
    for (const plan of plans) yield startOne(plan);
  }
  const model = new Naive(sequence);
  for (const action of actions) {
    // Who is meant is looked up before the model acts.
    const { nth } = action as { nth: number };
    const runner = model.running[nth]?.plan.label;
    const child = model.children[nth];
    const answer = model.act(action);
    let own = "none";
    if (action.kind === "start") own = yield* answerOf(startOne(action.plan));
    else if (action.kind === "end") {
      const actor = world.actors.get(runner ?? "");
      if (actor !== undefined) {
        actor.end(action.isCrash, action.leaves);
        own = "ok";
      }
    } else if (action.kind === "release") {
      const release = world.leftovers.splice(nth, 1)[0];
      release?.(action.isError);
      if (release !== undefined) own = "ok";
    } else if (child !== undefined) {
      const { kind } = action;
      const { id, label } = child.plan;
      const call = supervisor instanceof Supervisor
        ? supervisor[`${kind}Child`](id)
        : kind === "terminate"
        ? supervisor.terminateChild(world.runs.get(label) as ChildRun)
        : supervisor[`${kind}Child`](id);
      own = yield* answerOf(call);
    }
    yield sleep(STEP_MS);
    model.pass();
    if (model.isOver) {
      got.length = model.log.indexOf("restart-limit") + 1;
      got.push(supervisor.state);
      model.log.push("ended");
      break;
    }
    const infos = (yield supervisor.whichChildren()) as {
      status: string;
      run: ChildRun | null;
    }[];
    const states = supervisor.tree().children.length;
    got.push(
      `${action.kind} ${own} ${states} ${
        infos.map(({ status }) => status).reverse().join()
      }`,
    );
    model.log.push(
      `${action.kind} ${answer} ${model.children.length} ${
        model.children.map(({ status }) => status).join()
      }`,
    );
  }
  // Whoever is not held up, or waits for a delay, is back in time.
  yield supervisor.stop();
  listening[Symbol.dispose]();
  for (const release of world.leftovers.splice(0)) release(false);
  yield sleep(1);
  const { timers } = loop.stats();
  return {
    got,
    wanted: [...model.log],
    left: { timers, alive: world.alive },
  };
}

for (const style of STYLES) {
  Deno.test(`random sequences with abandoned runs follow the rules, ${style}`, async () => {
    for (let seed = 1; seed <= SEQUENCES; seed++) {
      const sequence = new Writer(seed).write();
      const { value } = await play(
        style,
        (loop) => sideBySide(loop, style, sequence),
        { outsideWaits: "ignore", cancelWarnMs: 1e9 },
      );
      const { got, wanted, left } = value;
      // Events of the final stop are no business of the model.
      const heard = got.slice(0, wanted.length);
      assertEquals(
        { seed, log: heard, left },
        { seed, log: wanted, left: { timers: 0, alive: 0 } },
        `seed ${seed}: ${JSON.stringify(sequence, null, 1)}`,
      );
    }
  });
}
