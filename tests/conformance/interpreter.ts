/**
 * Runs conformance programs on Rota, by its public interface: bodies are
 * generator coroutines, the clock is that of the virtual host.
 *
 * @module
 */
import {
  asCompleted,
  Barrier,
  BoundedSemaphore,
  Condition,
  type Coroutine,
  currentTask,
  DeadlockError,
  each,
  eagerTaskFactory,
  EventLoop,
  type EventLoopOptions,
  type ExceptionContext,
  Flag,
  type Future,
  gather,
  type Handle,
  LifoQueue,
  Lock,
  type Operation,
  PriorityQueue,
  Queue,
  Semaphore,
  shield,
  sleep,
  type Task,
  type TaskGroup,
  taskGroup,
  type Timeout,
  timeout,
  timeoutAt,
  wait,
  waitFor,
} from "../../mod.ts";
import {
  type Awaitable,
  type Handler,
  namesIn,
  type ObjectDeclaration,
  type Program,
  ProgramError,
  type Question,
  type ReturnWhen,
  type Statement,
  type Statements,
  type TraceEvent,
  unknown,
} from "./language.ts";
import {
  encodeError,
  encodeValue,
  isCaughtBy,
  typeOf,
  UserError,
} from "./values.ts";

/** How often the watchdog cancels everything before it gives up. */
const WATCHDOG_FIRES = 5;
const DRAIN_ROUNDS = 4;
/** A program that goes on for longer has lost its way; the longest known takes some thousand. */
const STATEMENTS_MAX = 200_000;
const REAL_MS_MAX = 30_000;

const RETURN_WHEN = {
  FIRST_COMPLETED: "first-completed",
  FIRST_EXCEPTION: "first-exception",
  ALL_COMPLETED: "all-completed",
} as const satisfies Record<ReturnWhen, string>;

/**
 * Programs count in seconds, the loop in milliseconds. All times are multiples
 * of 1/64 s, which is 15.625 ms = 125/8 ms, so the product has a few binary
 * digits and is exact, and so are sums of such times.
 */
function toMs(seconds: number): number {
  return seconds * 1_000;
}

/** The way back: a division is exact where the true quotient can be represented, as k/64 can. */
function toSeconds(ms: number): number {
  return ms / 1_000;
}

function toMsOrNull(seconds: number | null): number | null {
  return seconds === null ? null : toMs(seconds);
}

/** What a `var` object is. */
class Variable {
  value: number;

  constructor(value: number) {
    this.value = value;
  }
}

/** What `with`, `acquire` and `release` need of a lock, semaphore or condition. */
interface Lockable {
  acquire(): Operation<unknown>;
  release(): void;
  locked(): boolean;
}

type AnyFuture = Future<unknown>;
type AnyTask = Task<unknown>;
type AnyQueue = Queue<number> | PriorityQueue<number> | LifoQueue<number>;
type Waitable = AnyFuture | Operation<unknown> | Coroutine<unknown>;

/** One activation of a body or callback. */
class Frame {
  readonly label: string;
  /** The errors that handlers of this frame are dealing with, the innermost last. */
  readonly handled: unknown[] = [];
  /** What `return` gives. */
  result: unknown = null;

  constructor(label: string) {
    this.label = label;
  }
}

/** What became of a program. */
export interface Outcome {
  /** What has happened, up to the end or to the failure. */
  readonly trace: readonly TraceEvent[];
  /**
   * Why it could not be executed: it is no program, or an error came up that
   * the language does not know and no handler may hide.
   */
  readonly failure: Error | null;
}

/** Executes a program and gives its trace. */
export function execute(
  program: Program,
  options: EventLoopOptions = {},
): Promise<Outcome> {
  return new Machine(program, options).execute();
}

class Machine {
  readonly #program: Program;
  readonly #loop: EventLoop;
  readonly #trace: TraceEvent[] = [];
  readonly #objects = new Map<string, unknown>();
  readonly #callbacks = new Map<string, () => void>();
  /** The tasks that are known by name, in order. */
  readonly #registry = new Map<AnyTask, string>();
  /** The names given to tasks, as opposed to those the library makes up. */
  readonly #taskNames = new Set<string>();
  #fires = 0;
  #statements = 0;
  #failure: Error | null = null;
  #ended = false;

  constructor(program: Program, options: EventLoopOptions) {
    this.#program = program;
    this.#loop = new EventLoop({ host: "virtual", debug: false, ...options });
  }

  // -- The harness --

  async execute(): Promise<Outcome> {
    const guard = setTimeout(
      () => this.#fail(new ProgramError("it takes too long")),
      REAL_MS_MAX,
    );
    try {
      await this.#runAndDrain();
    } catch (error) {
      this.#fail(error);
    }
    this.#ended = true;
    clearTimeout(guard);
    await this.#loop.close();
    return { trace: this.#trace, failure: this.#failure };
  }

  async #runAndDrain(): Promise<void> {
    const loop = this.#loop;
    if (this.#program.eager === true) loop.setTaskFactory(eagerTaskFactory);
    loop.setExceptionHandler((_, context) => this.#report(context));
    for (const declaration of this.#program.objects) this.#create(declaration);
    loop.callAt(toMs(this.#program.deadline), () => this.#watchdog());
    const main = loop.createTask(this.#body("main", "main"), {
      name: this.#nameTask("main"),
    });
    this.#track("main", main);
    await this.#runUntil(main);
    for (let round = 1; round <= DRAIN_ROUNDS; round++) {
      const live = this.#unfinished();
      if (live.length === 0 || this.#fires >= WATCHDOG_FIRES) break;
      this.#emit("loop", "drain", live.map(([, name]) => name));
      for (const [task] of live) task.cancel();
      await this.#runUntil(
        gather(live.map(([task]) => task), { returnExceptions: true, loop }),
      );
    }
    if (this.#unfinished().length > 0) this.#emit("loop", "stuck");
    this.#emit(
      "loop",
      "final",
      this.#program.objects.map(([name, kind]) => [
        name,
        this.#finalState(name, kind),
      ]),
    );
  }

  /** Runs until a future is done, whatever becomes of it. */
  async #runUntil(future: AnyFuture): Promise<void> {
    try {
      await this.#loop.runUntilComplete(future);
    } catch (error) {
      // There is always a timer of the watchdog, so this cannot happen.
      if (error instanceof DeadlockError) throw error;
    }
    if (this.#failure !== null) throw this.#failure;
  }

  #watchdog(): void {
    this.#fires++;
    const live = this.#unfinished();
    this.#emit("loop", "cut", live.map(([, name]) => name));
    if (this.#fires >= WATCHDOG_FIRES) {
      this.#emit("loop", "stuck");
      this.#loop.stop();
      return;
    }
    for (const [task] of live) task.cancel("watchdog");
    this.#loop.callLater(toMs(1), () => this.#watchdog());
  }

  #unfinished(): [AnyTask, string][] {
    return [...this.#registry].filter(([task]) => !task.done());
  }

  /** The loop's exception handler; what is not about a callback is about things never looked at. */
  #report({ handle, exception }: ExceptionContext): void {
    if (handle === undefined || exception === undefined) return;
    if (this.#failure !== null) return;
    const text = this.#strictly(() => encodeError(exception));
    this.#emit("loop", "exch", text);
  }

  #emit(label: string, kind: string, ...details: unknown[]): void {
    if (this.#ended) return;
    this.#trace.push([toSeconds(this.#loop.time()), label, kind, ...details]);
  }

  /** Ends the program because of an error that is not part of the language. */
  #fail(error: unknown): void {
    this.#failure ??= error instanceof Error ? error : new Error(`${error}`);
    if (this.#loop.isRunning()) this.#loop.stop();
  }

  /** Runs code whose errors end the program, wherever it is. */
  #strictly<R>(code: () => R): R {
    try {
      return code();
    } catch (error) {
      this.#fail(error);
      throw error;
    }
  }

  // -- Objects --

  #create([name, kind, argument]: ObjectDeclaration): void {
    this.#objects.set(name, this.#make(kind, argument));
  }

  #make(kind: ObjectDeclaration[1], argument: unknown): unknown {
    const n = argument as number;
    switch (kind) {
      case "future":
        return this.#loop.createFuture();
      case "lock":
        return new Lock();
      case "event":
        return new Flag();
      case "cond":
        return typeof argument === "string"
          ? new Condition(this.#find<Lock>(argument))
          : new Condition();
      case "sem":
        return new Semaphore(n);
      case "bsem":
        return new BoundedSemaphore(n);
      case "barrier":
        return new Barrier(n);
      case "queue":
        return new Queue<number>(n);
      case "pqueue":
        return new PriorityQueue<number>(n);
      case "lqueue":
        return new LifoQueue<number>(n);
      case "var":
        return new Variable(n);
      default:
        return unknown("kind of object", kind);
    }
  }

  #finalState(name: string, kind: ObjectDeclaration[1]): unknown {
    switch (kind) {
      case "future":
        return stateOf(this.#find<AnyFuture>(name));
      case "lock":
      case "cond":
      case "sem":
      case "bsem":
        return this.#find<Lockable>(name).locked();
      case "event":
        return this.#find<Flag>(name).isSet();
      case "barrier": {
        const barrier = this.#find<Barrier>(name);
        return [barrier.nWaiting, barrier.broken];
      }
      case "queue":
      case "pqueue":
      case "lqueue":
        return this.#find<AnyQueue>(name).size;
      case "var":
        return this.#find<Variable>(name).value;
      default:
        return unknown("kind of object", kind);
    }
  }

  #bind(name: string, value: unknown): void {
    this.#objects.set(name, value);
  }

  #isBound(name: string): boolean {
    return name === "." || this.#objects.has(name);
  }

  /** What a name stands for. That it is what the statement needs is up to the program. */
  #find<T>(name: string): T {
    const value = name === "." ? currentTask() : this.#objects.get(name);
    if (value === undefined || value === null) {
      throw new ProgramError(`nothing is bound to ${JSON.stringify(name)}`);
    }
    return value as T;
  }

  // -- Tasks --

  #nameTask(name: string): string {
    this.#taskNames.add(name);
    return name;
  }

  #register(name: string, task: AnyTask): void {
    if (!this.#registry.has(task)) this.#registry.set(task, name);
  }

  #track(name: string, task: AnyTask): void {
    this.#bind(name, task);
    this.#register(name, task);
    task.addDoneCallback(() =>
      this.#strictly(() => {
        if (task.cancelled()) this.#emit(name, "end", "cancelled");
        else {
          const error = task.exception();
          if (error === undefined) {
            this.#emit(name, "end", "ok", encodeValue(task.result()));
          } else this.#emit(name, "end", "exc", encodeError(error));
        }
      })
    );
  }

  #findBody(name: string): Statements {
    const body = this.#program.bodies[name];
    if (body !== undefined) return body;
    throw new ProgramError(`there is no body ${JSON.stringify(name)}`);
  }

  *#body(name: string, label: string): Coroutine<unknown> {
    const task = currentTask();
    if (task !== null) this.#register(label, task);
    const frame = new Frame(label);
    this.#emit(label, "start");
    try {
      yield* this.#run(frame, this.#strictly(() => this.#findBody(name)));
    } catch (error) {
      this.#emit(label, "exc", this.#strictly(() => encodeError(error)));
      throw error;
    }
    this.#emit(label, "ret", encodeValue(frame.result));
    return frame.result;
  }

  #callback(name: string, statements: Statements): () => void {
    return () => {
      const step = this.#run(new Frame(`cb:${name}`), statements).next();
      if (step.done !== true) {
        this.#fail(new ProgramError("a callback cannot wait"));
      }
    };
  }

  // -- Statements --

  /** Executes statements; true if one of them was a `return`. */
  *#run(frame: Frame, statements: Statements): Coroutine<boolean> {
    for (const statement of statements) {
      if (this.#failure !== null) throw this.#failure;
      try {
        if (yield* this.#execute(frame, statement)) return true;
      } catch (error) {
        if (error instanceof ProgramError) this.#fail(error);
        throw error;
      }
    }
    return false;
  }

  *#execute(frame: Frame, s: Statement): Coroutine<boolean> {
    const { label } = frame;
    const loop = this.#loop;
    if (++this.#statements > STATEMENTS_MAX) {
      throw new ProgramError("it executes too many statements");
    }
    const missing = namesIn(s).find((name) => !this.#isBound(name));
    if (missing !== undefined) {
      this.#emit(label, "unbound", missing);
      return false;
    }
    switch (s[0]) {
      // Control
      case "log":
        this.#emit(label, "log", s[1]);
        return false;
      case "whoami":
        this.#emit(label, "me", this.#nameOfCurrentTask());
        return false;
      case "set":
        this.#find<Variable>(s[1]).value = s[2];
        return false;
      case "add":
        this.#find<Variable>(s[1]).value += s[2];
        return false;
      case "if":
        return yield* this.#run(frame, this.#ask(s[1]) ? s[2] : s[3]);
      case "repeat":
        for (let n = 0; n < s[1]; n++) {
          if (yield* this.#run(frame, s[2])) return true;
        }
        return false;
      case "try":
        return yield* this.#try(frame, s);
      case "raise":
        throw new UserError(s[1], s[2]);
      case "reraise":
        if (frame.handled.length === 0) {
          throw new ProgramError("reraise stands outside every handler");
        }
        throw frame.handled.at(-1);
      case "return":
        frame.result = s[1];
        return true;

      // Callbacks of the loop
      case "call_soon":
        this.#bind(s[1], loop.callSoon(this.#callback(s[1], s[2])));
        return false;
      case "call_later":
        this.#bind(
          s[1],
          loop.callLater(toMs(s[2]), this.#callback(s[1], s[3])),
        );
        return false;
      case "call_at":
        this.#bind(s[1], loop.callAt(toMs(s[2]), this.#callback(s[1], s[3])));
        return false;
      case "hcancel": {
        const handle = this.#find<Handle>(s[1]);
        const was = handle.cancelled();
        handle.cancel();
        this.#emit(label, "hcancel", s[1], was);
        return false;
      }

      // Tasks and futures
      case "spawn":
        this.#track(
          s[1],
          loop.createTask(this.#body(s[2], s[1]), {
            name: this.#nameTask(s[1]),
          }),
        );
        return false;
      case "cancel": {
        const future = this.#find<AnyFuture>(s[1]);
        const cancelled = s[2] === null ? future.cancel() : future.cancel(s[2]);
        this.#emit(label, "cancel", s[1], cancelled);
        return false;
      }
      case "uncancel":
        this.#emit(
          label,
          "uncancel",
          s[1],
          this.#find<AnyTask>(s[1]).uncancel(),
        );
        return false;
      case "cancelling":
        this.#emit(
          label,
          "cancelling",
          s[1],
          this.#find<AnyTask>(s[1]).cancelling(),
        );
        return false;
      case "new_future":
        this.#bind(s[1], loop.createFuture());
        return false;
      case "set_result":
        this.#find<AnyFuture>(s[1]).setResult(s[2]);
        return false;
      case "set_exception":
        this.#find<AnyFuture>(s[1]).setException(new UserError(s[2], s[3]));
        return false;
      case "result":
        this.#emit(
          label,
          "result",
          s[1],
          encodeValue(this.#find<AnyFuture>(s[1]).result()),
        );
        return false;
      case "exception": {
        const error = this.#find<AnyFuture>(s[1]).exception();
        this.#emit(
          label,
          "exception",
          s[1],
          error === undefined ? null : encodeError(error),
        );
        return false;
      }
      case "state": {
        const future = this.#find<AnyFuture>(s[1]);
        this.#emit(label, "state", s[1], future.done(), future.cancelled());
        return false;
      }
      case "add_cb": {
        const callback = this.#callback(s[2], s[3]);
        this.#callbacks.set(s[2], callback);
        this.#find<AnyFuture>(s[1]).addDoneCallback(callback);
        return false;
      }
      case "remove_cb": {
        const callback = this.#callbacks.get(s[2]);
        const count = callback === undefined
          ? 0
          : this.#find<AnyFuture>(s[1]).removeDoneCallback(callback);
        this.#emit(label, "removed", s[2], count);
        return false;
      }
      case "let":
        this.#bind(s[1], this.#evaluate(s[2]));
        return false;

      // Synchronisation
      case "event_set":
        this.#find<Flag>(s[1]).set();
        return false;
      case "event_clear":
        this.#find<Flag>(s[1]).clear();
        return false;
      case "release":
        this.#find<Lockable>(s[1]).release();
        return false;
      case "locked":
        this.#emit(label, "locked", s[1], this.#find<Lockable>(s[1]).locked());
        return false;
      case "notify":
        this.#find<Condition>(s[1]).notify(s[2]);
        return false;
      case "notify_all":
        this.#find<Condition>(s[1]).notifyAll();
        return false;
      case "barrier_info": {
        const barrier = this.#find<Barrier>(s[1]);
        this.#emit(label, "barrier", s[1], barrier.nWaiting, barrier.broken);
        return false;
      }
      case "put_nowait":
        this.#find<AnyQueue>(s[1]).putNowait(s[2]);
        return false;
      case "get_nowait":
        this.#emit(label, "got", s[1], this.#find<AnyQueue>(s[1]).getNowait());
        return false;
      case "task_done":
        this.#find<AnyQueue>(s[1]).taskDone();
        return false;
      case "qinfo": {
        const queue = this.#find<AnyQueue>(s[1]);
        this.#emit(label, "q", s[1], queue.size, queue.empty(), queue.full());
        return false;
      }
      case "shutdown":
        this.#find<AnyQueue>(s[1]).shutdown({ immediate: s[2] });
        return false;
      case "reschedule":
        this.#find<Timeout>(s[1]).reschedule(
          s[2] === null ? null : loop.time() + toMs(s[2]),
        );
        return false;
      case "expired":
        this.#emit(label, "expired", s[1], this.#find<Timeout>(s[1]).expired());
        return false;
      case "gspawn":
        this.#track(
          s[2],
          this.#find<TaskGroup>(s[1]).createTask(this.#body(s[3], s[2]), {
            name: this.#nameTask(s[2]),
          }),
        );
        return false;

      // Statements that wait
      case "await": {
        const value = yield* this.#evaluate(s[1]);
        const head = typeof s[1] === "string" ? s[1] : s[1][0];
        this.#emit(label, "r", head, encodeValue(value));
        return false;
      }
      case "with":
        return yield* this.#with(frame, s[1], s[2]);
      case "timeout":
        return yield* timeout(
          toMsOrNull(s[2]),
          this.#scope(frame, s[1], s[3]),
        );
      case "timeout_at":
        return yield* timeoutAt(
          toMsOrNull(s[2]),
          this.#scope(frame, s[1], s[3]),
        );
      case "group":
        return yield* taskGroup(this.#scope(frame, s[1], s[2]));
      case "as_completed":
        yield* this.#asCompleted(frame, s[1], s[2], s[3]);
        return false;
      case "as_completed_async":
        yield* this.#asCompletedFutures(frame, s[1], s[2]);
        return false;
      default:
        return unknown("statement", s);
    }
  }

  #nameOfCurrentTask(): string | null {
    const task = currentTask();
    if (task === null) return null;
    return this.#taskNames.has(task.name) ? task.name : "?";
  }

  #ask(question: Question): boolean {
    switch (question[0]) {
      case "done":
        return this.#find<AnyFuture>(question[1]).done();
      case "is_set":
        return this.#find<Flag>(question[1]).isSet();
      case "locked":
        return this.#find<Lockable>(question[1]).locked();
      case "ge":
        return this.#find<Variable>(question[1]).value >= question[2];
      case "empty":
        return this.#find<AnyQueue>(question[1]).empty();
      default:
        return unknown("condition", question);
    }
  }

  *#try(
    frame: Frame,
    [, block, handlers, last]: Statement & readonly ["try", ...unknown[]],
  ): Coroutine<boolean> {
    let returned: boolean;
    try {
      try {
        returned = yield* this.#run(frame, block);
      } catch (error) {
        returned = yield* this.#handle(frame, error, handlers);
      }
    } finally {
      if (last !== null && this.#failure === null) {
        yield* this.#run(frame, last);
      }
    }
    return returned;
  }

  *#handle(
    frame: Frame,
    error: unknown,
    handlers: readonly Handler[],
  ): Coroutine<boolean> {
    if (this.#failure !== null) throw this.#failure;
    const type = this.#strictly(() => typeOf(error));
    const handler = handlers.find(([names]) => isCaughtBy(names, type));
    if (handler === undefined) throw error;
    this.#emit(frame.label, "caught", encodeError(error));
    frame.handled.push(error);
    try {
      return yield* this.#run(frame, handler[1]);
    } finally {
      frame.handled.pop();
    }
  }

  *#with(frame: Frame, name: string, block: Statements): Coroutine<boolean> {
    const lock = this.#find<Lockable>(name);
    this.#emit(frame.label, "want", name, lock.locked());
    yield* lock.acquire();
    try {
      this.#emit(frame.label, "enter", name);
      return yield* this.#run(frame, block);
    } finally {
      lock.release();
    }
  }

  /** The body of a block that is a callback: it binds what it is given and ends normally, also by `return`. */
  #scope(
    frame: Frame,
    name: string,
    block: Statements,
  ): (scope: unknown) => Coroutine<boolean> {
    const bind = (scope: unknown) => this.#bind(name, scope);
    const run = () => this.#run(frame, block);
    return function* (scope) {
      bind(scope);
      return yield* run();
    };
  }

  *#asCompleted(
    frame: Frame,
    names: readonly string[],
    timeout: number | null,
    catches: boolean,
  ): Coroutine<void> {
    for (
      const next of asCompleted(this.#futures(names), {
        timeoutMs: toMsOrNull(timeout),
      })
    ) {
      let value: unknown;
      try {
        value = yield* next;
      } catch (error) {
        if (!catches || !isCaughtBy(["Exception"], typeOf(error))) {
          throw error;
        }
        value = error;
      }
      this.#emit(frame.label, "ac", encodeValue(value));
    }
  }

  *#asCompletedFutures(
    frame: Frame,
    names: readonly string[],
    timeout: number | null,
  ): Coroutine<void> {
    const futures = this.#futures(names);
    const emit = (future: AnyFuture) =>
      this.#emit(frame.label, "acf", names[futures.indexOf(future)]);
    yield* each<AnyFuture>(
      asCompleted(futures, { timeoutMs: toMsOrNull(timeout) }),
      function* (future) {
        emit(future);
      },
    );
  }

  // -- Awaitables --

  /** Calls the library for something to wait for. */
  #evaluate(a: Awaitable): Waitable {
    if (typeof a === "string") return this.#find<AnyFuture>(a);
    switch (a[0]) {
      case "co":
        return this.#body(a[1], a[2]);
      case "sleep":
        return sleep(toMs(a[1]), { value: a[2] ?? null });
      case "shield":
        return shield(this.#evaluate(a[1]));
      case "gather":
        return gather(a[2].map((child) => this.#evaluate(child)), {
          returnExceptions: a[1],
        });
      case "wait_for":
        return waitFor(this.#evaluate(a[1]), toMsOrNull(a[2]));
      case "wait":
        return this.#wait(this.#named(a[1]), a[2], a[3]);
      case "event_wait":
        return givingTrue(this.#find<Flag>(a[1]).wait());
      case "acquire":
        return givingTrue(this.#find<Lockable>(a[1]).acquire());
      case "cond_wait":
        return givingTrue(this.#find<Condition>(a[1]).wait());
      case "cond_wait_for": {
        const variable = this.#find<Variable>(a[2]);
        const n = a[3];
        return givingTrue(
          this.#find<Condition>(a[1]).waitFor(() => variable.value >= n),
        );
      }
      case "barrier_wait":
        return this.#find<Barrier>(a[1]).wait();
      case "barrier_abort": {
        const barrier = this.#find<Barrier>(a[1]);
        return barrier.abort();
      }
      case "barrier_reset": {
        const barrier = this.#find<Barrier>(a[1]);
        return barrier.reset();
      }
      case "get":
        return this.#find<AnyQueue>(a[1]).get();
      case "put":
        return this.#find<AnyQueue>(a[1]).put(a[2]);
      case "join":
        return this.#find<AnyQueue>(a[1]).join();
      default:
        return unknown("awaitable", a);
    }
  }

  #futures(names: readonly string[]): AnyFuture[] {
    return names.map((name) => this.#find<AnyFuture>(name));
  }

  #named(names: readonly string[]): Map<string, AnyFuture> {
    return new Map(names.map((name) => [name, this.#find<AnyFuture>(name)]));
  }

  *#wait(
    named: ReadonlyMap<string, AnyFuture>,
    timeout: number | null,
    mode: ReturnWhen,
  ): Coroutine<{ done: string[]; pending: string[] }> {
    const { done, pending } = yield* wait(new Set(named.values()), {
      timeoutMs: toMsOrNull(timeout),
      returnWhen: RETURN_WHEN[mode],
    });
    const namesOf = (futures: Iterable<AnyFuture>) => {
      const among = new Set(futures);
      return [...named].filter(([, future]) => among.has(future))
        .map(([name]) => name).sort();
    };
    return { done: namesOf(done), pending: namesOf(pending) };
  }
}

/** The same wait; in Python its value is true. */
function* givingTrue(operation: Operation<unknown>): Coroutine<true> {
  yield* operation;
  return true;
}

function stateOf(future: AnyFuture): string {
  if (!future.done()) return "pending";
  if (future.cancelled()) return "cancelled";
  return future.exception() === undefined ? "result" : "exception";
}
