/**
 * OTP's rules, written down as plainly as possible, with delays: a supervisor that
 * handles one thing after the other, and a clock that it moves itself.
 *
 * Nothing of this is Rota's: no task, no loop, no promise. While the supervisor waits,
 * the world goes on: see `passTo`.
 *
 * @module
 */
import type {
  Action,
  ChildPlan,
  Ending,
  Program,
  StartPlan,
} from "./program.ts";

type Status = "running" | "restarting" | "stopped";

interface Child {
  readonly plan: ChildPlan;
  status: Status;
  /** Whether it is alive: a child that is "running" may be dead, and its end in the mailbox. */
  alive: boolean;
  /** Counts its runs, so that an end in the mailbox knows whose it is. */
  run: number;
  startedMs: number;
  failures: number;
  /** Whether it waits for a delay, its own or a shared one. */
  delay: Delay | null;
}

interface Delay {
  readonly dueMs: number;
  readonly for: Child;
  over: boolean;
}

type Message =
  | { kind: "end"; child: Child; run: number; ending: Ending; healthy: boolean }
  | { kind: "retry"; child: Child }
  | { kind: "delay"; delay: Delay }
  | { kind: "call"; action: Action; reply: number };

const OK: StartPlan = { tookMs: 0, outcome: "ok" };

/** Plays a sequence by the rules; returns the log. */
export function playNaively(program: Program): string[] {
  return new Naive(program).play();
}

class Naive {
  readonly #program: Program;
  readonly #log: string[] = [];
  readonly #replies: string[] = [];
  #nowMs = 0;
  #nextAction = 0;
  #children: Child[] = [];
  #mailbox: Message[] = [];
  readonly #starts = new Map<string, number>();
  #restarts: number[] = [];
  #delays: Delay[] = [];
  #over = false;
  /** The child that is being ended: its end is no message. */
  #ending: Child | null = null;

  constructor(program: Program) {
    this.#program = program;
  }

  #say(what: string): void {
    this.#log.push(`${Math.round(this.#nowMs * 1e9) / 1e9} ${what}`);
  }

  play(): string[] {
    for (const plan of this.#program.children) {
      this.#children.push(newChild(plan));
    }
    for (const child of [...this.#children]) {
      const outcome = this.#start(child);
      if (outcome === "fail") {
        this.#shutDown();
        return this.#finish();
      }
      this.#settle(child, outcome);
    }
    this.#say("started");
    while (!this.#over) {
      const message = this.#mailbox.shift();
      if (message !== undefined) this.#handle(message);
      else if (!this.#passOn()) break;
    }
    return this.#finish();
  }

  #finish(): string[] {
    while (this.#passOn());
    return [...this.#log, ...this.#replies];
  }

  // -- The world --

  /** The moment of the next thing that happens by itself. */
  #nextMs(): number {
    const action = this.#program.actions[this.#nextAction];
    return Math.min(
      action === undefined ? Infinity : action.atMs,
      ...this.#delays.filter(({ over }) => !over).map(({ dueMs }) => dueMs),
    );
  }

  /** Goes on to the next thing that happens by itself; false if nothing does. */
  #passOn(): boolean {
    const nextMs = this.#nextMs();
    if (nextMs === Infinity) return false;
    this.#nowMs = Math.max(this.#nowMs, nextMs);
    const action = this.#program.actions[this.#nextAction];
    if (action !== undefined && action.atMs === nextMs) {
      this.#nextAction++;
      this.#act(action.action);
      return true;
    }
    for (const delay of this.#delays) {
      if (delay.over || delay.dueMs !== nextMs) continue;
      delay.over = true;
      this.#mailbox.push({ kind: "delay", delay });
    }
    return true;
  }

  /** Lets time pass; returns early, at once, when `until` says so. */
  #passTo(ms: number, until: () => boolean = () => false): void {
    while (!until() && this.#nextMs() <= ms) this.#passOn();
    if (!until()) this.#nowMs = ms;
  }

  #act(action: Action): void {
    if (action.kind === "end") {
      this.#die(action.id, action.ending);
      return;
    }
    const reply = this.#replies.push("") - 1;
    if (this.#over) {
      this.#answer(reply, action, "ended");
      return;
    }
    this.#mailbox.push({ kind: "call", action, reply });
  }

  #answer(reply: number, action: Action, answer: string): void {
    // A stop of a supervisor that has ended is no mistake.
    this.#replies[reply] = `${action.kind}: ${
      action.kind === "stop" ? "ok" : answer
    }`;
  }

  /** A child ends by itself. */
  #die(id: string, ending: Ending): void {
    const child = this.#children.find(({ plan, alive }) =>
      alive && plan.id === id
    );
    if (child === undefined) return;
    child.alive = false;
    this.#say(`!${id}`);
    if (this.#ending === child) return;
    const healthy = this.#nowMs - child.startedMs >= child.plan.healthyMs;
    const { run } = child;
    this.#mailbox.push({ kind: "end", child, run, ending, healthy });
  }

  // -- Starting and ending --

  #start(child: Child): StartPlan["outcome"] {
    const { id, starts } = child.plan;
    const count = this.#starts.get(id) ?? 0;
    this.#starts.set(id, count + 1);
    const { tookMs, outcome } = starts[count] ?? OK;
    this.#say(`>${id}`);
    this.#passTo(this.#nowMs + tookMs);
    this.#say({ ok: "+", fail: "?", ignore: "/" }[outcome] + id);
    if (outcome === "ok") {
      child.alive = true;
      child.run++;
      child.startedMs = this.#nowMs;
    }
    return outcome;
  }

  /** Notes how a start went that has not failed. */
  #settle(child: Child, outcome: StartPlan["outcome"]): void {
    if (outcome === "ok") child.status = "running";
    else this.#stopped(child);
  }

  /** A child does not run, and is not going to. */
  #stopped(child: Child): void {
    child.status = "stopped";
    if (child.plan.restart === "temporary") this.#drop(child);
  }

  #drop(child: Child): void {
    this.#children = this.#children.filter((other) => other !== child);
  }

  /** Has a child be dead, and its end forgotten. */
  #end(child: Child): void {
    this.#leaveDelay(child);
    this.#mailbox = this.#mailbox.filter((message) =>
      message.kind !== "end" || message.child !== child
    );
    if (!child.alive) return;
    const { id, shutdownMs, stopMs } = child.plan;
    this.#ending = child;
    if (shutdownMs === -1) {
      this.#say(`x${id}`);
    } else {
      this.#say(`-${id}`);
      const lastsMs = Math.min(stopMs, shutdownMs);
      this.#passTo(this.#nowMs + lastsMs, () => !child.alive);
      if (child.alive) this.#say(stopMs <= shutdownMs ? `!${id}` : `x${id}`);
    }
    child.alive = false;
    this.#ending = null;
  }

  /** Ends all children, the last first, and itself. */
  #shutDown(): void {
    for (const child of [...this.#children].reverse()) {
      this.#end(child);
      child.status = "stopped";
    }
    this.#over = true;
    this.#say("ended");
    for (const message of this.#mailbox) {
      if (message.kind === "call") {
        this.#answer(message.reply, message.action, "ended");
      }
    }
    this.#mailbox = [];
    this.#delays = [];
  }

  // -- Messages --

  #handle(message: Message): void {
    switch (message.kind) {
      case "end":
        return this.#handleEnd(message);
      case "retry":
        if (
          message.child.status === "restarting" && message.child.delay === null
        ) {
          this.#restart(message.child);
        }
        return;
      case "delay":
        return this.#handleDelay(message.delay);
      case "call":
        return this.#handleCall(message.action, message.reply);
    }
  }

  #handleEnd(
    { child, ending, healthy }: Message & { kind: "end" },
  ): void {
    const { restart, significant } = child.plan;
    const isAbnormal = ending === "crash" || ending === "cancel";
    if (restart === "permanent" || restart === "transient" && isAbnormal) {
      if (healthy) child.failures = 0;
      child.failures++;
      if (!this.#delayRestart(child)) this.#restart(child);
      return;
    }
    this.#stopped(child);
    const { autoShutdown } = this.#program;
    if (!significant || autoShutdown === "never") return;
    const isLast = !this.#children.some((other) =>
      other.plan.significant && other.status !== "stopped"
    );
    if (autoShutdown === "any-significant" || isLast) this.#shutDown();
  }

  // -- Restarts --

  /** Whether a child waits for a delay before its restart. */
  #delayRestart(child: Child): boolean {
    const isShared = this.#program.strategy !== "one-for-one";
    const running = isShared
      ? this.#children.map(({ delay }) => delay).find((delay) => delay !== null)
      : null;
    const { backoffMs } = child.plan;
    if (running) child.delay = running;
    else if (backoffMs > 0) {
      const dueMs = this.#nowMs + backoffMs * 2 ** (child.failures - 1);
      child.delay = { dueMs, for: child, over: false };
      this.#delays.push(child.delay);
    } else return false;
    child.status = "restarting";
    return true;
  }

  #leaveDelay(child: Child): void {
    const { delay } = child;
    child.delay = null;
    if (delay === null) return;
    if (this.#children.some((other) => other.delay === delay)) return;
    delay.over = true;
    this.#mailbox = this.#mailbox.filter((message) =>
      message.kind !== "delay" || message.delay !== delay
    );
  }

  #handleDelay(delay: Delay): void {
    const waiting = this.#children.filter((child) => child.delay === delay);
    for (const child of waiting) child.delay = null;
    if (waiting.length > 0) this.#restart(waiting[0]!);
  }

  #restart(child: Child): void {
    const { maxRestarts, withinMs, strategy } = this.#program;
    this.#restarts = this.#restarts.filter((atMs) =>
      this.#nowMs - atMs <= withinMs
    );
    if (this.#restarts.length >= maxRestarts) {
      child.status = "stopped";
      this.#say("limit");
      this.#shutDown();
      return;
    }
    this.#restarts.push(this.#nowMs);
    if (strategy === "one-for-one") {
      this.#startAgain(child);
      return;
    }
    const from = strategy === "one-for-all" ? 0 : this.#children.indexOf(child);
    for (const sibling of this.#children.slice(from).reverse()) {
      this.#end(sibling);
      this.#stopped(sibling);
    }
    for (const sibling of this.#children.slice(from)) {
      if (!this.#startAgain(sibling)) return;
    }
  }

  /** Starts a child once more; one that fails is tried again later. */
  #startAgain(child: Child): boolean {
    const outcome = this.#start(child);
    if (outcome !== "fail") {
      this.#settle(child, outcome);
      return true;
    }
    child.failures++;
    if (!this.#delayRestart(child)) {
      child.status = "restarting";
      this.#mailbox.push({ kind: "retry", child });
    }
    return false;
  }

  // -- Calls --

  #handleCall(action: Action, reply: number): void {
    this.#answer(reply, action, this.#serve(action));
  }

  #serve(action: Action): string {
    switch (action.kind) {
      case "stop":
        this.#shutDown();
        return "ok";
      case "which":
        return [...this.#children].reverse()
          .map(({ plan, status }) => `${plan.id} ${status}`).join();
      case "count": {
        const active = this.#children.filter(({ status, alive }) =>
          status === "running" && alive
        );
        return `${this.#children.length} ${active.length}`;
      }
      case "start":
        return this.#serveStart(action.child);
      case "end":
        throw new Error("It is no call");
      default:
        return this.#serveChild(action.kind, action.id);
    }
  }

  #serveStart(plan: ChildPlan): string {
    const known = this.#children.find((child) => child.plan.id === plan.id);
    if (known !== undefined) {
      return known.status === "running" ? "already-started" : "already-present";
    }
    const child = newChild(plan);
    this.#children.push(child);
    const outcome = this.#start(child);
    if (outcome === "fail") this.#drop(child);
    else this.#settle(child, outcome);
    return outcome;
  }

  #serveChild(kind: "terminate" | "restart" | "delete", id: string): string {
    const child = this.#children.find(({ plan }) => plan.id === id);
    if (child === undefined) return "not-found";
    if (kind === "terminate") {
      this.#end(child);
      this.#stopped(child);
      return "ok";
    }
    if (child.status !== "stopped") return child.status;
    if (kind === "delete") {
      this.#drop(child);
      return "ok";
    }
    const outcome = this.#start(child);
    if (outcome !== "fail") this.#settle(child, outcome);
    return outcome;
  }
}

function newChild(plan: ChildPlan): Child {
  return {
    plan,
    status: "stopped",
    alive: false,
    run: 0,
    startedMs: 0,
    failures: 0,
    delay: null,
  };
}
