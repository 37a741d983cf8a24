/**
 * Runs a tree as a program, in one of the styles, with a judge beside it.
 *
 * @module
 */
import { setImmediate } from "node:timers";
import {
  allTasks,
  CancelScope,
  cancelScope,
  Channel,
  Condition,
  type Coroutine,
  currentTask,
  each,
  type EventLoop,
  failAfter,
  Flag,
  type Future,
  gather,
  Lock,
  MisuseError,
  moveOnAfter,
  newEventLoop,
  type Operation,
  Queue,
  scoped,
  Semaphore,
  shield,
  sleep,
  type Task,
  TaskGroup,
  taskGroup,
  TaskGroupClosedError,
  TaskGroupError,
  type Timeout,
  timeout,
  timeoutAt,
  TimeoutError,
  until,
  wait,
  waitFor,
} from "../../mod.ts";
import {
  Boom,
  type End,
  isCancellation,
  Judge,
  Place,
  TaskRecord,
  type WaitKind,
} from "./judge.ts";
import {
  type Act,
  type Body,
  type Foreign,
  hasTimedPromise,
  type Node,
  type TimedAct,
  type TimedBlock,
  type Tree,
} from "./tree.ts";

/** How the bodies of a program are written. */
export type Style = "generators" | "async functions" | "mixed";

/** When everything that somebody still waits for comes. */
const HORIZON_MS = 60;
/** In real time, of which a program takes next to nothing. */
const GUARD_MS = 1_000;
/** Turns in a row without time: the program does not end. */
const MOST_WAITS = 5_000;

/** Another script, as a function that the style calls. */
class Call {
  readonly scripts: readonly (() => Script)[];

  constructor(scripts: readonly (() => Script)[]) {
    this.scripts = scripts;
  }
}

type Awaited = Operation<unknown> | Future<unknown> | Promise<unknown> | Call;
/** A body that yields what it waits for. */
// deno-lint-ignore no-explicit-any
type Script = Generator<Awaited, any, any>;

function* asGenerator(script: () => Script): Coroutine<unknown> {
  const body = script();
  let step = body.next();
  while (step.done !== true) {
    let value: unknown;
    try {
      const { value: target } = step;
      if (target instanceof Call) {
        let failure: { error: unknown } | null = null;
        for (const inner of target.scripts) {
          try {
            value = yield* asGenerator(inner);
          } catch (error) {
            failure ??= { error };
          }
        }
        if (failure !== null) throw failure.error;
      } else {
        value = target instanceof Promise
          ? yield* until(target)
          : yield* target;
      }
    } catch (error) {
      step = body.throw(error);
      continue;
    }
    step = body.next(value);
  }
  return step.value;
}

async function asAsync(script: () => Script): Promise<unknown> {
  const body = script();
  let step = body.next();
  while (step.done !== true) {
    let value: unknown;
    try {
      const { value: target } = step;
      if (target instanceof Call) {
        const settled = await Promise.allSettled(target.scripts.map(asAsync));
        const failed = settled.find(({ status }) => status === "rejected");
        if (failed !== undefined) {
          throw (failed as PromiseRejectedResult).reason;
        }
      } else value = await target;
    } catch (error) {
      step = body.throw(error);
      continue;
    }
    step = body.next(value);
  }
  return step.value;
}

/** Where a statement runs. */
interface Context {
  readonly place: Place;
  /** Whether it is in an async function. */
  readonly isAsync: boolean;
  readonly siblings: readonly (TaskRecord | null)[];
  /** The wait for a function whose own waits these are: once it is left, they are nobody's. */
  readonly caller?: { left: boolean };
}

/** What came of one run. */
export interface Outcome {
  readonly violations: readonly string[];
  /** How each task and block ended, if the styles must agree on that; else null. */
  readonly ends: ReadonlyMap<string, string> | null;
}

/** Runs a tree; never throws. `guardMs` is real time. */
export async function play(tree: Tree, style: Style): Promise<Outcome> {
  return await new Player(tree, style).run();
}

class Player {
  readonly #tree: Tree;
  readonly #style: Style;
  readonly #loop: EventLoop;
  readonly #judge: Judge;
  readonly #lock = new Lock();
  readonly #semaphore = new Semaphore(2);
  readonly #condition = new Condition();
  readonly #queue = new Queue<number>(2);
  readonly #channel = new Channel<number>();
  readonly #never = new Flag();
  readonly #places = new Map<string, Place>();
  readonly #groups = new Map<Place, TaskGroup>();
  readonly #ends = new Map<string, string>();
  readonly #taken = { put: 0, got: 0, sent: 0, received: 0 };
  readonly #resources: { disposed: number; name: string }[] = [];
  readonly #reported: unknown[] = [];
  #inside = 0;
  #waits = 0;
  #bodies = 0;
  #booms = 0;
  #over = false;

  constructor(tree: Tree, style: Style) {
    this.#tree = tree;
    this.#style = style;
    this.#loop = newEventLoop({
      host: "virtual",
      outsideWaits: hasTimedPromise(tree.body) ? "ignore" : "wait",
    });
    this.#judge = new Judge(() => this.#loop.time());
  }

  async run(): Promise<Outcome> {
    const loop = this.#loop;
    const judge = this.#judge;
    loop.setExceptionHandler((_, { message, exception }) => {
      this.#reported.push(exception);
      // A failure that nobody was there for any more is what the handler is for.
      if (isFailure(exception)) return;
      // So are operations that are begun when their task has ended.
      if (message.includes('"await ')) return;
      // A function that `until` has given up may go on when its loop runs no more,
      // and its next operation then says so: that is nobody's but the handler's.
      if (this.#over && isNoLoop(exception)) return;
      judge.say(`the exception handler was told "${message}": ${exception}`);
    });
    const hangs = Symbol();
    let timer: ReturnType<typeof setTimeout> | undefined;
    const guard = new Promise((resolve) => {
      timer = setTimeout(resolve, GUARD_MS, hangs);
    });
    try {
      const main = loop.createTask(() => this.#main());
      const ended = await Promise.race([loop.runUntilComplete(main), guard]);
      if (ended === hangs) {
        judge.say("the program hangs");
        this.#over = true;
        loop.stop();
        return { violations: judge.violations, ends: null };
      }
      judge.finish();
      this.#count();
      await Promise.race([loop.close(), guard]);
    } catch (error) {
      judge.say(
        `the program ended with ${
          error instanceof Error ? error.stack : error
        }`,
      );
    } finally {
      clearTimeout(timer);
    }
    const comparable = this.#tree.distinct && !judge.isTied();
    return {
      violations: judge.violations,
      ends: comparable ? this.#ends : null,
    };
  }

  /** Starts the program, and waits until every task of it has ended. */
  *#main(): Coroutine<void> {
    const record = new TaskRecord("main", null);
    this.#start(
      record,
      this.#tree.body,
      [],
      (body) => this.#loop.createTask(body, { name: "main" }),
    );
    for (const act of this.#tree.acts) {
      this.#loop.callAt(act.atMs, () => this.#later(act));
    }
    this.#loop.callAt(HORIZON_MS, () => this.#release());
    for (;;) {
      const unfinished = this.#judge.tasks.flatMap(({ task }) =>
        task === null || task.done() ? [] : [task]
      );
      if (unfinished.length === 0) break;
      yield* wait(unfinished);
    }
    this.#over = true;
    for (const task of allTasks(this.#loop)) {
      if (task !== currentTask()) task.cancel(); // as the end of a run does
    }
    yield* sleep(20); // the notifier ends; what should have been let go of would show
  }

  /** From now on nobody has to wait any more. */
  #release(): void {
    if (this.#over) return;
    this.#never.set();
    this.#queue.shutdown();
    this.#channel.close();
    this.#loop.createTask(() => this.#notify());
  }

  *#notify(): Coroutine<void> {
    while (!this.#over) {
      const permit = yield* this.#condition.acquire();
      this.#condition.notifyAll();
      permit.release();
      yield* sleep(5);
    }
  }

  /** Everything that was lent has come back, and everything is somewhere. */
  #count(): void {
    const say = (what: string) => this.#judge.say(what);
    const { put, got, sent, received } = this.#taken;
    if (this.#lock.locked()) say("the lock was not given back");
    if (this.#semaphore.value !== 2) {
      say(`the semaphore has ${this.#semaphore.value} of 2`);
    }
    if (put - got !== this.#queue.size) {
      say(`${put} were put, ${got} got, ${this.#queue.size} are in the queue`);
    }
    if (sent - received !== this.#channel.size) {
      say(`${sent} were sent, ${received} received`);
    }
    for (const { name, disposed } of this.#resources) {
      if (disposed !== 1) say(`${name} was disposed of ${disposed} times`);
    }
    const booms = this.#reported.filter((error) => error instanceof Boom);
    if (new Set(booms).size !== booms.length) {
      say("an error was reported twice");
    }
  }

  // -- Acts --

  /** Does something some turns and microtasks later. */
  #later(act: TimedAct, turns = act.turns): void {
    if (turns > 0) {
      this.#loop.callSoon(() => this.#later(act, turns - 1));
      return;
    }
    if (act.hops === 0) return this.#act(act);
    let chain = Promise.resolve();
    for (let hop = 1; hop < act.hops; hop++) chain = chain.then(() => {});
    chain.then(() => this.#act(act));
  }

  #act({ target, how }: Act): void {
    const place = this.#places.get(target);
    if (place === undefined || this.#over) return;
    if (how === "abort") return this.#abort(place);
    if (place.kind === "task") {
      const { task } = place.task;
      if (task?.cancel(target)) {
        this.#judge.request(place, this.#loop.time(), true);
      }
    } else if (!place.open) return;
    else if (place.scope !== null) {
      place.scope.cancel(target);
      this.#judge.scopeCancelled(place);
    } else if (this.#groups.has(place)) {
      this.#judge.groupCancelled(place);
      this.#groups.get(place)!.cancel(target);
    }
  }

  #abort(place: Place): void {
    if (place.controller === null || place.aborted || !place.open) return;
    const now = this.#loop.time();
    if (place.kind === "group") {
      if (!this.#groups.has(place)) return; // not entered yet
      // One that is ending already does not say that it was the signal.
      place.aborted = true;
      this.#judge.groupCancelled(place);
    } else if (place.scope !== null) {
      place.aborted = !place.scope.cancelCalled;
      this.#judge.scopeCancelled(place);
    } else {
      // A timeout whose time is over hears no signal. That of waitFor() is not to be
      // seen: at its very moment it may be either.
      if (place.timeout?.expired() || now > place.deadlineMs) return;
      place.aborted = true;
      this.#judge.request(place, now, true, now === place.deadlineMs);
    }
    place.controller.abort(new Boom(`signal of ${place.name}`));
  }

  // -- Tasks and bodies --

  /** Makes a task of the program. */
  #start(
    record: TaskRecord,
    body: Body,
    siblings: readonly (TaskRecord | null)[],
    make: (body: () => Coroutine<unknown> | Promise<unknown>) => Task<unknown>,
  ): void {
    this.#places.set(record.name, record.root);
    this.#judge.tasks.push(record);
    this.#judge.moved(record);
    record.group?.children.push(record);
    const task = make(this.#body(record.root, body, siblings));
    record.task = task;
    task.addDoneCallback(() => {
      record.doneMs = this.#loop.time();
      this.#ends.set(record.name, this.#describeEnd(endOf(task)));
    });
  }

  /** A body in the style of the run, which says how it ended. */
  #body(
    place: Place,
    body: Body,
    siblings: readonly (TaskRecord | null)[],
  ): () => Coroutine<unknown> | Promise<unknown> {
    const number = this.#bodies++;
    const isAsync = this.#style === "mixed"
      ? (this.#tree.styles >> number % 30 & 1) === 1
      : this.#style === "async functions";
    const script = () => this.#recorded({ place, isAsync, siblings }, body);
    return isAsync ? () => asAsync(script) : function* () {
      return yield* asGenerator(script);
    };
  }

  *#recorded(context: Context, body: Body): Script {
    this.#judge.bodyBegan(context.place, context.isAsync);
    let end: End;
    try {
      end = { value: yield* this.#all(context, body), failed: false };
    } catch (error) {
      this.#judge.bodyEnded(context.place, { error, failed: true });
      throw error;
    }
    this.#judge.bodyEnded(context.place, end);
    return end.value;
  }

  *#all(context: Context, body: Body): Script {
    let value: unknown;
    for (const node of body) value = yield* this.#node(context, node);
    return typeof value === "number" ? value : undefined;
  }

  /** One wait, before the eyes of the judge. */
  *#wait(
    context: Context,
    what: string,
    kind: WaitKind,
    make: () => Awaited,
  ): Script {
    if (++this.#waits > MOST_WAITS) throw new Error("The program does not end");
    if (context.caller?.left) return yield make();
    const wait = this.#judge.begin(what, context.place, kind, context.isAsync);
    try {
      const value: unknown = yield make();
      this.#judge.passed(wait);
      return value;
    } catch (error) {
      if (isCancellation(error)) this.#judge.threw(wait, error);
      else this.#judge.passed(wait);
      throw error;
    }
  }

  *#node(context: Context, node: Node): Script {
    switch (node.do) {
      case "sleep":
        return yield* this.#wait(
          context,
          `sleep(${node.ms})`,
          "suspends",
          () => sleep(node.ms),
        );
      case "never":
        return yield* this.#wait(
          context,
          "never",
          this.#never.isSet() ? "ready" : "suspends",
          () => this.#never.wait(),
        );
      case "throw":
        throw new Boom(`${++this.#booms}`);
      case "act":
        return this.#act(node);
      case "foreign":
      case "until":
        return yield* this.#promise(context, node.do, node.promise);
      case "untilBody":
        return yield* this.#untilBody(context, node.body);
      case "lock":
      case "semaphore":
        return yield* this.#held(context, node);
      case "condition":
        return yield* this.#conditionWait(context);
      case "get":
      case "put":
      case "send":
      case "receive":
        return yield* this.#transfer(context, node.do);
      case "catch":
        return yield* this.#caught(context, node);
      case "finally":
        try {
          return yield* this.#all(context, node.body);
        } finally {
          yield* this.#all(context, node.cleanup);
        }
      case "scope":
        return yield* this.#scope(context, node);
      case "group":
        return yield* this.#group(context, node);
      case "gather":
      case "wait":
        return yield* this.#several(context, node);
      case "join":
      case "shield":
        return yield* this.#sibling(context, node);
      case "each":
        return yield* this.#each(context, node);
      case "scoped":
        return yield* this.#scoped(context, node);
      case "call":
        return yield new Call([() => this.#all(context, node.body)]);
      case "all":
        context.place.task.branches = true;
        return yield new Call(
          node.bodies.map((body) => () => this.#all(context, body)),
        );
      default:
        return yield* this.#timed(context, node);
    }
  }

  *#caught(context: Context, node: Node & { do: "catch" }): Script {
    try {
      return yield* this.#all(context, node.body);
    } catch (error) {
      yield* this.#all(context, node.cleanup);
      if (node.then === "rethrow") throw error;
      const { place } = context;
      if (node.then === "swallow" || place.kind !== "task") return;
      const task = place.task.task!;
      if (isCancellation(error) && task.uncancel() === 0) {
        this.#judge.uncancelled(place.task);
      }
    }
  }

  // -- Promises --

  *#promise(context: Context, kind: "foreign" | "until", of: Foreign): Script {
    // In a generator both are a wait of the loop.
    const outside = kind === "foreign" && context.isAsync;
    yield* this.#wait(
      context,
      `${kind}(${of.after} ${of.unit})`,
      outside ? "outside" : of.answers === "nothing" ? "suspends" : "answers",
      () => kind === "foreign" ? this.#foreign(of) : until(this.#foreign(of)),
    );
  }

  #foreign({ after, unit, answers }: Foreign): Promise<unknown> {
    const signal = answers === "nothing" ? null : currentTask()?.signal;
    const settled = Promise.withResolvers<unknown>();
    if (unit === "ms") this.#loop.callLater(after, settled.resolve, undefined);
    else if (unit === "macrotask") setImmediate(settled.resolve, undefined);
    else {
      let chain = Promise.resolve();
      for (let hop = 0; hop < after; hop++) chain = chain.then(() => {});
      chain.then(settled.resolve);
    }
    const abort = () => {
      const { reason } = signal!;
      settled.reject(
        answers === "reason"
          ? reason
          : Object.assign(new Error("aborted", { cause: reason }), {
            name: "AbortError",
          }),
      );
    };
    if (signal?.aborted) abort();
    else signal?.addEventListener("abort", abort);
    return settled.promise;
  }

  /** A function given to `until`: what it waits for is the task's. */
  *#untilBody(context: Context, body: Body): Script {
    const caller = { left: false };
    const inside = { ...context, isAsync: true, caller };
    context.place.task.branches = true;
    try {
      yield* this.#wait(
        context,
        "until()",
        "calls",
        () => until(() => asAsync(() => this.#all(inside, body))),
      );
    } finally {
      caller.left = true;
    }
  }

  // -- What tasks share --

  *#held(context: Context, node: Node & { do: "lock" | "semaphore" }): Script {
    const from = node.do === "lock" ? this.#lock : this.#semaphore;
    const permit = yield* this.#wait(
      context,
      node.do,
      "ready",
      () => from.acquire(),
    );
    try {
      if (node.do === "lock" && ++this.#inside > 1) {
        this.#judge.say("two are inside of the lock");
      }
      return yield* this.#all(context, node.body);
    } finally {
      if (node.do === "lock") this.#inside--;
      permit.release();
    }
  }

  *#conditionWait(context: Context): Script {
    const permit = yield* this.#wait(
      context,
      "acquire",
      "ready",
      () => this.#condition.acquire(),
    );
    try {
      yield* this.#wait(
        context,
        "condition",
        "suspends",
        () => this.#condition.wait(),
      );
    } finally {
      if (!permit.held) {
        this.#judge.say("a condition ended its wait without its lock");
      }
      permit.release();
    }
  }

  *#transfer(
    context: Context,
    kind: "get" | "put" | "send" | "receive",
  ): Script {
    const taken = this.#taken;
    try {
      yield* this.#wait(context, kind, "ready", () => {
        switch (kind) {
          case "get":
            return this.#queue.get();
          case "put":
            return this.#queue.put(1);
          case "send":
            return this.#channel.send(1);
          case "receive":
            return this.#channel.receive();
        }
      });
    } catch (error) {
      if (isCancellation(error)) throw error;
      return; // it was closed at the horizon
    }
    if (kind === "get") taken.got++;
    else if (kind === "put") taken.put++;
    else if (kind === "send") taken.sent++;
    else taken.received++;
  }

  // -- Blocks --

  /** Opens a block, and has the judge look at how it is left. */
  *#block(
    place: Place,
    make: () => Operation<unknown>,
  ): Script {
    this.#places.set(place.name, place);
    this.#judge.entered(place);
    let end: End;
    try {
      end = { value: yield make(), failed: false };
    } catch (error) {
      end = { error, failed: true };
    }
    this.#judge.left(place, end);
    this.#ends.set(place.name, this.#describeEnd(end));
    if (end.failed) throw end.error;
    return end.value;
  }

  #place(
    context: Context,
    kind: Place["kind"],
    node: { readonly name: string; readonly signal: boolean },
  ): { place: Place; signal: AbortSignal | undefined } {
    const { place: outer } = context;
    const place = new Place(kind, node.name, outer.task, outer);
    if (node.signal) place.controller = new AbortController();
    return { place, signal: place.controller?.signal };
  }

  *#timed(context: Context, node: Node & { do: TimedBlock }): Script {
    const kind = node.do === "moveOnAfter"
      ? "scope"
      : node.do === "failAfter"
      ? "failAfter"
      : "timeout";
    const { place, signal } = this.#place(context, kind, node);
    const inside = this.#body(place, node.body, []);
    const byTimeout = (scope: Timeout) => {
      place.timeout = scope;
      return inside();
    };
    const byScope = (scope: CancelScope) => {
      place.scope = scope;
      return inside();
    };
    const { ms } = node;
    const whenMs = this.#loop.time() + ms;
    const options = signal === undefined ? {} : { signal };
    return yield* this.#block(place, () => {
      switch (node.do) {
        case "timeout":
          return timeout(ms, byTimeout, options);
        case "timeoutAt":
          return timeoutAt(whenMs, byTimeout, options);
        case "moveOnAfter":
          return moveOnAfter(ms, byScope, options);
        case "failAfter":
          return failAfter(ms, byScope, options);
        default:
          // Without time it would not begin.
          place.deadlineMs = this.#loop.time() + ms + 1;
          return waitFor(inside, ms + 1, options);
      }
    });
  }

  *#scope(context: Context, node: Node & { do: "scope" }): Script {
    const { place, signal } = this.#place(context, "scope", node);
    place.shielded = node.shield;
    const options = { shield: node.shield, signal };
    const inside = this.#body(place, node.body, []);
    if (node.name.endsWith("1")) {
      const scope = place.scope = new CancelScope(options);
      return yield* this.#block(place, () => scope.run(inside));
    }
    return yield* this.#block(place, () =>
      cancelScope((scope) => {
        place.scope = scope;
        return inside();
      }, options));
  }

  *#group(context: Context, node: Node & { do: "group" }): Script {
    const { place, signal } = this.#place(context, "group", node);
    const options = { limit: node.limit, signal };
    const siblings: (TaskRecord | null)[] = [];
    const inside = this.#body(place, node.body, siblings);
    const body = (group: TaskGroup) => {
      this.#groups.set(place, group);
      for (const [index, child] of node.children.entries()) {
        const record = new TaskRecord(`${node.name}.${index}`, place);
        const earlier = siblings.slice();
        siblings.push(null);
        try {
          this.#start(
            record,
            child,
            earlier,
            (body) => group.createTask(body, { name: record.name }),
          );
        } catch (error) {
          if (!(error instanceof TaskGroupClosedError)) throw error;
          place.children.pop();
          this.#judge.tasks.pop();
          continue; // it was cancelled before it began
        }
        siblings[index] = record;
      }
      return inside();
    };
    yield* this.#block(
      place,
      () =>
        node.name.endsWith("1")
          ? new TaskGroup(options).run(body)
          : taskGroup(body, options),
    );
  }

  *#several(context: Context, node: Node & { do: "gather" | "wait" }): Script {
    const records = node.children.map((child, index) => {
      const record = new TaskRecord(`${node.name}.${index}`, null);
      this.#start(
        record,
        child,
        [],
        (body) => this.#loop.createTask(body, { name: record.name }),
      );
      return record;
    });
    const tasks = records.map(({ task }) => task!);
    if (node.do === "wait") {
      yield* this.#wait(context, "wait", "suspends", () =>
        wait(tasks, {
          returnWhen: node.first ? "first-completed" : "all-completed",
        }));
      return;
    }
    const together = gather(tasks, { returnExceptions: node.keep });
    yield* this.#handingOn(context, "gather", records, together);
  }

  *#sibling(context: Context, node: Node & { do: "join" | "shield" }): Script {
    const record = context.siblings[node.sibling];
    if (record === undefined || record === null) return;
    if (node.do === "join") {
      try {
        yield* this.#handingOn(context, "join", [record], record.task!);
      } catch (error) {
        if (isCancellation(error)) throw error;
      }
      return;
    }
    const { task } = record;
    try {
      yield* this.#wait(context, "shield", "hands on", () => shield(task!));
    } catch (error) {
      if (isCancellation(error)) throw error;
    }
  }

  /** Waits for what a cancellation is handed on to. */
  *#handingOn(
    context: Context,
    what: string,
    records: readonly TaskRecord[],
    target: Future<unknown>,
  ): Script {
    const { place } = context;
    const { task } = place;
    for (const record of records) {
      task.handingOn.set(record, place);
      record.followers.set(task, place);
      // What is due is handed on as well.
      if (this.#judge.isDue(place)) {
        this.#judge.request(record.root, this.#loop.time(), false, true);
      }
    }
    try {
      yield* this.#wait(context, what, "hands on", () => target);
    } finally {
      for (const record of records) {
        task.handingOn.delete(record);
        record.followers.delete(task);
      }
    }
  }

  // -- Items and resources --

  *#each(context: Context, node: Node & { do: "each" }): Script {
    context.place.task.branches = true;
    let left = 2;
    const inside = this.#simple(context, node.body);
    const body = (_item: unknown, stop: () => void) => {
      if (--left <= 0) stop();
      return inside();
    };
    const source = node.source;
    try {
      yield source === "array"
        ? each([1, 2, 3], body)
        : source === "generator"
        ? each(this.#numbers(context), body)
        : source === "queue"
        ? each(this.#queue, (item, stop) => {
          this.#taken.got++;
          return body(item, stop);
        })
        : source === "channel"
        ? each(this.#channel, (item, stop) => {
          this.#taken.received++;
          return body(item, stop);
        })
        : each(this.#reader(context), body);
    } catch (error) {
      if (isCancellation(error)) {
        this.#judge.delivered("each", context.place, true);
      }
      throw error;
    }
  }

  #simple(
    context: Context,
    body: Body,
  ): () => Coroutine<unknown> | Promise<unknown> {
    const script = () => this.#all(context, body);
    return context.isAsync ? () => asAsync(script) : function* () {
      return yield* asGenerator(script);
    };
  }

  /** An async generator that waits; it is closed if it was begun. */
  async *#numbers(context: Context): AsyncGenerator<number> {
    const resource = { name: "an async generator", disposed: 0 };
    const inside = { ...context, isAsync: true };
    this.#resources.push(resource);
    try {
      for (let n = 0; n < 3; n++) {
        await this.#own(inside, () => sleep(2));
        yield n;
      }
    } finally {
      resource.disposed++;
    }
  }

  /** An async generator that takes items, and must take none that nobody gets. */
  async *#reader(context: Context): AsyncGenerator<number> {
    const inside = { ...context, isAsync: true };
    for (;;) {
      try {
        await asAsync(() =>
          this.#wait(
            inside,
            "get of a reader",
            "ready",
            () => this.#queue.get(),
          )
        );
      } catch (error) {
        if (isCancellation(error)) throw error;
        return;
      }
      this.#taken.got++;
      yield 1;
    }
  }

  /** Waits in a function that the library calls for a task, and so as that task. */
  async #own(context: Context, make: () => Operation<unknown>): Promise<void> {
    const { task } = context.place.task;
    const check = () => {
      if (!task!.done() && currentTask() !== task) {
        this.#judge.say(
          `what is called for ${context.place.task.name} does not belong to it`,
        );
      }
    };
    check();
    await asAsync(() => this.#wait(context, "own sleep", "suspends", make));
    check();
  }

  *#scoped(context: Context, node: Node & { do: "scoped" }): Script {
    const name = `resource ${this.#resources.length}`;
    const resource = { name, disposed: 0 };
    this.#resources.push(resource);
    const inside = { ...context, isAsync: true };
    const disposable = node.disposal === "sync"
      ? {
        [Symbol.dispose]: () => {
          resource.disposed++;
          if (node.fails) throw new Boom(`disposal of ${name}`);
        },
      }
      : {
        [Symbol.asyncDispose]: async () => {
          resource.disposed++;
          context.place.task.branches = true;
          await this.#own(inside, () => sleep(node.ms));
          if (node.fails) throw new Boom(`disposal of ${name}`);
        },
      };
    let end: End;
    try {
      end = {
        value: yield scoped(disposable, this.#simple(context, node.body)),
        failed: false,
      };
    } catch (error) {
      if (resource.disposed !== 1) {
        this.#judge.say(
          `${name} was disposed of ${resource.disposed} times when it was left`,
        );
      }
      if (isCancellation(error)) {
        this.#judge.delivered("scoped", context.place, true);
      }
      if (error instanceof SuppressedError) {
        this.#judge.replaced(context.place);
      }
      throw error;
    }
    if (resource.disposed !== 1) {
      this.#judge.say(
        `${name} was disposed of ${resource.disposed} times when it was left`,
      );
    }
    return end.value;
  }

  #describeEnd(end: End): string {
    const what = !end.failed
      ? `value ${
        (end.value as { cancelledCaught?: boolean })?.cancelledCaught === true
      }`
      : isCancellation(end.error)
      ? "cancelled"
      : end.error instanceof AggregateError
      ? `group of ${end.error.errors.length}`
      : (end.error as Error).name;
    return `${what} at ${this.#loop.time().toFixed(2)}`;
  }
}

/** Whether an error says that an operation was awaited where no loop runs. */
function isNoLoop(error: unknown): boolean {
  return error instanceof MisuseError &&
    error.message.startsWith("Cannot get the running loop");
}

/** Whether an error is what a program fails with, and not a cancellation or a mistake. */
function isFailure(error: unknown): boolean {
  if (error instanceof SuppressedError) {
    return isFailure(error.error) || isFailure(error.suppressed);
  }
  return error instanceof Boom || error instanceof TimeoutError ||
    error instanceof TaskGroupError;
}

function endOf(task: Task<unknown>): End {
  try {
    return { value: task.result(), failed: false };
  } catch (error) {
    return { error, failed: true };
  }
}
