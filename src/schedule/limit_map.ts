/**
 * A map under way: where its items come from, who works on them, and what
 * becomes of the results.
 *
 * @module
 */
import { CancelledError } from "../errors.ts";
import { isGeneratorFunction } from "../loop/checks.ts";
import { findTask, getRunningLoop } from "../loop/current.ts";
import type { EventLoop } from "../loop/event_loop.ts";
import { Future } from "../loop/future.ts";
import { AsyncItems } from "../loop/async_items.ts";
import {
  items,
  type ItemSource,
  type OperationIterable,
} from "../loop/each.ts";
import { Operation, type WaitOptions } from "../loop/operation.ts";
import type { Priority } from "../loop/priority.ts";
import { subscribe, type Subscription } from "../loop/signal_hub.ts";
import { type Coroutine, Task } from "../loop/task.ts";
import {
  findOrigin,
  type Origin,
  type WorkOutcome,
  type WorkRunner,
} from "../loop/work_runner.ts";
import { RingBuffer } from "../structures/ring_buffer.ts";
import { WaitQueue } from "../sync/wait_queue.ts";
import { Claim, type LimitCore, type LimitedWork } from "./limit_core.ts";

/** How to {@linkcode ConcurrencyLimit.map}. */
export interface LimitMapOptions extends WaitOptions {
  /**
   * Whether results come in the order of the source; else in the order in which
   * they were done.
   *
   * @default {true}
   */
  readonly ordered?: boolean | undefined;
  /**
   * Where the map stands in line, among jobs and other maps.
   *
   * @default {"user-visible"}
   */
  readonly priority?: Priority | undefined;
  /**
   * When results are gone through one by one: how many may wait to be taken
   * before no further item is begun with. Those that run then still add theirs.
   *
   * @default {the size of the limit}
   */
  readonly bufferSize?: number | undefined;
}

/** Options that have been checked. */
export interface MapSettings {
  readonly ordered: boolean;
  readonly bufferSize: number;
  readonly signal: AbortSignal | undefined;
}

/**
 * What {@linkcode ConcurrencyLimit.map} gives: wait for it to have all results
 * in an array, or go through them with `for await` or {@linkcode each}. Nothing
 * begins before, and it is done once.
 *
 * @typeParam R What a result is.
 */
export class LimitMap<R> extends Operation<R[]>
  implements AsyncIterable<R>, OperationIterable<R> {
  readonly #core: LimitCore;
  readonly #plan: MapPlan<unknown, R>;
  readonly #settings: MapSettings;

  /**
   * Made by {@linkcode ConcurrencyLimit.map}.
   *
   * @ignore
   */
  constructor(
    core: LimitCore,
    plan: MapPlan<unknown, R>,
    settings: MapSettings,
  ) {
    super(undefined, {
      name: "ConcurrencyLimit.map()",
      signal: settings.signal,
    });
    this.#core = core;
    this.#plan = plan;
    this.#settings = settings;
  }

  /**
   * Runs all of it.
   *
   * @returns A coroutine that gives the results.
   */
  protected override *begin(): Coroutine<R[]> {
    const results = new ResultList<R>(this.#settings.ordered);
    const run = new MapRun(
      this.#core,
      getRunningLoop(),
      this.#plan,
      results,
    );
    run.start();
    yield* run.join();
    run.throwFailure();
    return results.list;
  }

  /**
   * Goes through the results, each as soon as it is there. The map begins when
   * the first is asked for. Leaving the loop early stops the map as a failure
   * does, and waits until what ran has ended. In a generator coroutine, use
   * `each(...)`.
   *
   * @returns An iterator for `for await`.
   * @throws {MisuseError} If the map was waited for or gone through before.
   */
  [Symbol.asyncIterator](): AsyncIterator<R, undefined> {
    const iteration = this.#iterate();
    return {
      next: async () => await iteration.next(),
      return: async () => {
        await iteration.close();
        return { done: true, value: undefined };
      },
    };
  }

  /** @ignore */
  [items](): ItemSource<R> {
    const iteration = this.#iterate();
    return Object.assign(() => iteration.next(), {
      close: () => iteration.close(),
    });
  }

  #iterate(): Iteration<R> {
    this.start();
    return new Iteration(this.#core, this.#plan, this.#settings);
  }

  /**
   * Names the class in messages and inspections.
   *
   * @returns `"LimitMap"`.
   */
  override get [Symbol.toStringTag](): string {
    return "LimitMap";
  }
}

// Both are entered by one who was cancelled before, as there is a map to end.
const NEXT = {
  name: "the next result of ConcurrencyLimit.map()",
  whenCancelled: "enter",
} as const;
const CLOSE = {
  name: "the end of ConcurrencyLimit.map()",
  whenCancelled: "enter",
} as const;

/** Goes through the results of a map, which begins with the first. */
class Iteration<R> {
  readonly #core: LimitCore;
  readonly #plan: MapPlan<unknown, R>;
  readonly #signal: AbortSignal | undefined;
  readonly #results: ResultStream<R>;
  #run: MapRun<unknown, R> | null = null;
  #subscription: Subscription | null = null;
  /** What the signal has ended it with. */
  #aborted: { readonly reason: unknown } | null = null;
  #closed = false;

  constructor(
    core: LimitCore,
    plan: MapPlan<unknown, R>,
    { ordered, bufferSize, signal }: MapSettings,
  ) {
    this.#core = core;
    this.#plan = plan;
    this.#signal = signal;
    this.#results = new ResultStream(ordered, bufferSize);
  }

  next(): Operation<IteratorResult<R, undefined>> {
    return new Operation(() => this.#next(), NEXT);
  }

  close(): Operation<void> {
    return new Operation(() => this.#close(), CLOSE);
  }

  *#next(): Coroutine<IteratorResult<R, undefined>> {
    if (this.#closed) return { done: true, value: undefined };
    const run = this.#run ?? this.#start();
    for (;;) {
      const taken = this.#results.take();
      if (taken !== undefined) {
        run.taken();
        return { done: false, value: taken.value };
      }
      if (run.over) break;
      try {
        yield* run.change();
      } catch (error) {
        // Nobody closes an iterator that has thrown.
        try {
          yield* this.#close();
        } catch {
          // Interrupted once more: the first one is under way already.
        }
        throw error;
      }
    }
    this.#end();
    if (this.#aborted !== null) throw this.#aborted.reason;
    run.throwFailure();
    return { done: true, value: undefined };
  }

  *#close(): Coroutine<void> {
    this.#end();
    if (this.#run === null || this.#run.over) return;
    this.#run.stop();
    yield* this.#run.join();
  }

  #end(): void {
    this.#closed = true;
    this.#subscription?.unsubscribe();
    this.#subscription = null;
  }

  #start(): MapRun<unknown, R> {
    this.#signal?.throwIfAborted();
    const loop = getRunningLoop();
    const run = new MapRun(this.#core, loop, this.#plan, this.#results);
    run.start();
    this.#run = run;
    if (this.#signal !== undefined) {
      this.#subscription = subscribe(this.#signal, (reason) => {
        if (run.over) return;
        this.#aborted = { reason };
        run.stop();
      });
    }
    return run;
  }
}

/** Where the items of a map come from. */
export type MapSource<T> =
  | Iterable<T>
  | AsyncIterable<T>
  | OperationIterable<T>;

/** What a map calls for each item. */
export type MapBody<T, R> = (
  item: T,
  index: number,
) => Coroutine<R> | PromiseLike<R> | R;

/** What a map was told to do. */
export interface MapPlan<T, R> {
  readonly source: MapSource<T>;
  readonly body: MapBody<T, R>;
  readonly rank: number;
  /** Whether a failure is a result like any other. */
  readonly settled: boolean;
}

/** The place of a map in the line for slots. */
class MapClaim extends Claim<void> {
  readonly #core: LimitCore;
  readonly #onBegin: (() => void) | null;
  /** Whether it has a slot. */
  granted = false;

  constructor(
    core: LimitCore,
    loop: EventLoop,
    rank: number,
    onBegin: (() => void) | null,
  ) {
    super(loop, "a slot of a limit", rank, 1);
    this.#core = core;
    this.#onBegin = onBegin;
  }

  override get isJob(): boolean {
    return false;
  }

  begin(): void {
    this.granted = true;
    if (this.#onBegin === null) this.setResult();
    else this.#onBegin();
  }

  override cancel(reason?: unknown): boolean {
    if (this.done()) return false;
    super.cancel(reason);
    if (this.list !== undefined) this.#core.withdraw(this as Claim<unknown>);
    return true;
  }
}

/** A slot of a map: it works on one item after the other. */
class MapSlot<T, R> implements LimitedWork {
  readonly #run: MapRun<T, R>;
  readonly core: LimitCore;
  runner: WorkRunner | null = null;
  item: T;
  index: number;
  /** Its place among the workers of the map. */
  place = 0;

  constructor(run: MapRun<T, R>, item: T, index: number) {
    this.#run = run;
    this.core = run.core;
    this.item = item;
    this.index = index;
  }

  get origin(): Origin | null {
    return this.#run.origin;
  }

  get taskName(): string {
    return "";
  }

  get priority(): number {
    return this.#run.plan.rank;
  }

  get isCoroutine(): boolean {
    return this.#run.isCoroutine;
  }

  begun(runner: WorkRunner): void {
    this.runner = runner;
  }

  launched(): void {
    this.core.launched();
  }

  call(): unknown {
    return this.#run.plan.body(this.item, this.index);
  }

  lost(reason: CancelledError): void {
    this.#run.lost(reason);
  }

  ended(
    outcome: WorkOutcome,
    value: unknown,
    runner: WorkRunner | null,
  ): void {
    this.#run.itemEnded(this, outcome, value, runner);
  }
}

/** The task that goes through a source whose items have to be waited for. */
class Puller extends Task<void> {
  readonly #lost: (reason: CancelledError) => void;

  constructor(
    loop: EventLoop,
    body: Coroutine<void>,
    lost: (reason: CancelledError) => void,
  ) {
    super(loop, body, { name: "ConcurrencyLimit.map()" });
    this.#lost = lost;
  }

  protected override destroy(reason: CancelledError): void {
    super.destroy(reason);
    this.#lost(reason);
  }
}

/** A map under way. */
class MapRun<T, R> {
  readonly core: LimitCore;
  readonly plan: MapPlan<T, R>;
  readonly isCoroutine: boolean;
  origin: Origin | null = null;
  /** How it has ended: with the first failure, if there was one. */
  readonly #verdict: Future<void>;
  readonly #loop: EventLoop;
  readonly #results: Results<R>;
  /** The iterator of a source that gives its items at once. */
  #iterator: Iterator<T> | null = null;
  /** The task that goes through any other source. */
  #puller: Task<void> | null = null;
  #pulled = 0;
  /** Whether the iterator is at work, which may do anything to the limit and to this map. */
  #pulling = false;
  readonly #workers: MapSlot<T, R>[] = [];
  #claim: MapClaim | null = null;
  /** What the puller has, or wants, a slot by. */
  #pullClaim: MapClaim | null = null;
  /** Whether the source has no more, or has failed. */
  #exhausted = false;
  #stopped = false;
  #failure: { readonly error: unknown } | null = null;
  #over = false;
  readonly #waiters = new WaitQueue("ConcurrencyLimit.map()");

  constructor(
    core: LimitCore,
    loop: EventLoop,
    plan: MapPlan<T, R>,
    results: Results<R>,
  ) {
    this.core = core;
    this.plan = plan;
    this.isCoroutine = isGeneratorFunction(plan.body);
    this.#loop = loop;
    this.#results = results;
    this.#verdict = new Future<void>(loop, "a map of a limit");
  }

  /** Whether all is over: nothing of it runs, and the source is closed. */
  get over(): boolean {
    return this.#over;
  }

  /** Begins, on behalf of the current task. */
  start(): void {
    this.core.refuseInside("map over a source", "use another limit for it");
    this.core.bind(this.#loop);
    this.origin = findOrigin(this.#loop, null);
    const { source } = this.plan;
    const { [items]: native, [Symbol.asyncIterator]: asynchronous } =
      source as Partial<OperationIterable<T> & AsyncIterable<T>>;
    if (
      typeof native !== "function" && typeof asynchronous !== "function"
    ) {
      this.#iterator = (source as Iterable<T>)[Symbol.iterator]();
      this.#fill();
    } else {
      this.#puller = new Puller(
        this.#loop,
        this.#pullAll(),
        (reason) => this.lost(reason),
      );
      this.#puller.addDoneCallback((puller) => this.#pullerEnded(puller));
    }
  }

  /** Throws the failure it has ended with, if there is one. */
  throwFailure(): void {
    this.#verdict.result();
  }

  /** Ends it early: what runs is cancelled, and nothing more is pulled. */
  stop(): void {
    if (this.#stopped || this.#over) return;
    this.#stopped = true;
    const claim = this.#claim;
    this.#claim = null;
    claim?.cancel();
    this.#puller?.cancel();
    const workers = [...this.#workers].sort((a, b) => a.index - b.index);
    for (const worker of workers) worker.runner!.cancelWork(worker, undefined);
    this.#checkEnd();
  }

  /** The loop is closed under it: what runs is ended by that, and there will be nothing more. */
  lost(reason: CancelledError): void {
    const held = this.#pullClaim;
    this.#claim = this.#pullClaim = this.#puller = null;
    this.core.loseLoop(reason);
    if (!this.#stopped) {
      this.#stopped = true;
      this.#failure = { error: reason };
    }
    if (held?.granted === true) this.core.release(1, null);
    this.#checkEnd();
  }

  /** Waits until there may be something new to look at. */
  *change(): Coroutine<void> {
    const waiter = this.#waiters.enter(undefined);
    try {
      yield* waiter;
    } finally {
      this.#waiters.leave(waiter);
    }
  }

  /** Waits until it is over. An interruption stops it, and is thrown when it is over. */
  *join(): Coroutine<void> {
    const task = findTask()!;
    let interruption: { readonly error: unknown } | null = null;
    while (!this.#over) {
      // A cancelled scope throws at every wait. Once is enough.
      const shield = interruption === null
        ? null
        : task.openBlock({ shielded: true });
      try {
        yield* this.change();
      } catch (error) {
        interruption ??= { error };
        this.stop();
      } finally {
        shield?.close();
      }
    }
    if (interruption !== null) throw interruption.error;
  }

  /** Somebody has taken a result: there may be room for another. */
  taken(): void {
    if (this.#iterator !== null) this.#fill();
    else this.#waiters.wakeAll();
  }

  /** Begins with as many items as there are slots for, and stands in line for another. */
  #fill(): void {
    if (this.#pulling) return; // whoever pulls does it afterwards
    while (
      !this.#stopped && !this.#exhausted && this.#claim === null &&
      this.#results.hasRoom()
    ) {
      if (!this.core.tryTake(this.plan.rank)) {
        this.#claim = new MapClaim(
          this.core,
          this.#loop,
          this.plan.rank,
          () => {
            this.#claim = null;
            this.#begin();
            this.#fill();
          },
        );
        this.core.enter(this.#claim as Claim<unknown>);
        return;
      }
      this.#begin();
    }
    // Nobody has to keep a place in line for what will not come.
    if (this.#exhausted && this.#claim !== null) {
      const claim = this.#claim;
      this.#claim = null;
      claim.cancel();
    }
    this.#checkEnd();
  }

  /** There is a slot: works on the next item, or gives the slot back. */
  #begin(): void {
    const next = this.#pull();
    if (next === null) this.core.release(1, null);
    else this.#work(next.item);
  }

  #work(item: T): void {
    const worker = new MapSlot(this, item, this.#pulled++);
    worker.place = this.#workers.push(worker) - 1;
    this.core.giveWork(this.#loop, worker);
  }

  /** Takes an item from a source that has it at once; null if there is none. */
  #pull(): { readonly item: T } | null {
    if (this.#stopped || this.#exhausted || this.#pulling) return null;
    this.#pulling = true;
    try {
      const step = this.#iterator!.next();
      if (step.done === true) this.#exhausted = true;
      else if (!this.#stopped) return { item: step.value };
    } catch (error) {
      this.#exhausted = true;
      this.#fail(error, "failed");
    } finally {
      this.#pulling = false;
    }
    return null;
  }

  /** @ignore */
  itemEnded(
    worker: MapSlot<T, R>,
    outcome: WorkOutcome,
    value: unknown,
    runner: WorkRunner | null,
  ): void {
    const { core } = this;
    core[outcome]++;
    if (outcome === "done") {
      this.#put(
        worker.index,
        this.plan.settled ? { status: "fulfilled", value } : value,
      );
    } else if (this.plan.settled && !this.#stopped) {
      this.#put(worker.index, { status: "rejected", reason: value });
    } else this.#fail(value, outcome);
    if (
      this.#iterator !== null && this.#results.hasRoom() &&
      core.mayKeep(this.#claim as Claim<unknown> | null)
    ) {
      const next = this.#pull();
      if (next !== null) {
        worker.item = next.item;
        worker.index = this.#pulled++;
        core.keepWorking(this.#loop, runner, worker);
        // The place in line is lost if its turn came while the source was asked.
        if (this.#claim === null) this.#fill();
        return;
      }
    }
    const last = this.#workers.pop()!;
    if (last !== worker) {
      this.#workers[worker.place] = last;
      last.place = worker.place;
    }
    core.release(1, runner);
    if (this.#iterator === null) this.#checkEnd();
    else this.#fill();
  }

  #put(index: number, result: unknown): void {
    this.#results.put(index, result as R);
    if (this.#results.streams) this.#waiters.wakeAll();
  }

  /** The first failure ends the map, the others are reported. */
  #fail(error: unknown, outcome: WorkOutcome): void {
    if (!this.#stopped) {
      this.#failure = { error };
      this.stop();
    } else if (outcome === "failed") this.#report(error);
  }

  #report(error: unknown): void {
    this.#loop.callExceptionHandler({
      message: "ConcurrencyLimit.map() was over when a part of it failed",
      exception: error,
    });
  }

  /** Goes through a source whose items have to be waited for. */
  *#pullAll(): Coroutine<void> {
    const { source, rank } = this.plan;
    const native = (source as OperationIterable<T>)[items]?.();
    const pulled = native === undefined
      ? new AsyncItems(source as AsyncIterable<T>, "ConcurrencyLimit.map()")
      : null;
    try {
      while (!this.#exhausted && !this.#stopped) {
        while (!this.#results.hasRoom()) yield* this.change();
        const claim = new MapClaim(this.core, this.#loop, rank, null);
        this.#pullClaim = claim;
        this.core.enter(claim as Claim<unknown>);
        let next: { readonly item: T } | null = null;
        try {
          yield* claim;
          const step = native === undefined
            ? yield* pulled!.next()
            : yield* native();
          if (step.done === true) this.#exhausted = true;
          else {
            const item = step.value;
            // One that was there when the map was stopped is not worked on.
            if (!this.#stopped) next = { item };
          }
        } finally {
          this.#pullClaim = null;
          if (next === null) {
            if (claim.granted) this.core.release(1, null);
            else claim.cancel();
          }
        }
        if (next !== null) this.#work(next.item);
      }
    } finally {
      // One that has failed itself is at its end, and not closed.
      if (!this.#exhausted) {
        if (pulled !== null) yield* pulled.closeAfterError();
        else yield* this.#closeItems(native!);
      }
    }
  }

  /** Closes a source of the library; what the map has ended with is worth more than an error of that. */
  *#closeItems(source: ItemSource<T>): Coroutine<void> {
    try {
      const closing = source.close?.();
      if (closing instanceof Operation) yield* closing;
    } catch (error) {
      if (!(error instanceof CancelledError)) this.#report(error);
    }
  }

  #pullerEnded(puller: Task<void>): void {
    this.#puller = null;
    if (puller.failed()) this.#fail(puller.exception(), "failed");
    else if (puller.cancelled() && !this.#stopped) {
      this.#fail(new CancelledError(puller.cancelReason()), "cancelled");
    }
    this.#checkEnd();
  }

  /** Finds out whether it is over, and says so. */
  #checkEnd(): void {
    if (
      this.#over || this.#pulling || !(this.#stopped || this.#exhausted) ||
      this.#workers.length > 0 || this.#puller !== null || this.#claim !== null
    ) return;
    this.#over = true;
    this.#closeSource();
    this.#reachVerdict();
    this.#waiters.wakeAll();
  }

  #reachVerdict(): void {
    if (this.#failure === null) this.#verdict.setResult();
    else {
      const { error } = this.#failure;
      if (error instanceof CancelledError) this.#verdict.cancel(error);
      else this.#verdict.setException(error);
    }
  }

  #closeSource(): void {
    if (this.#iterator === null || this.#exhausted) return;
    this.#exhausted = true;
    try {
      this.#iterator.return?.();
    } catch (error) {
      if (this.#failure === null) this.#failure = { error };
      else this.#report(error);
    }
  }
}

/** Where a map puts its results. */
interface Results<R> {
  /** Whether somebody takes results while the map runs. */
  readonly streams: boolean;
  /** Whether the map may begin with another item. */
  hasRoom(): boolean;
  put(index: number, result: R): void;
}

/** All of them, for who waits for the end. */
class ResultList<R> implements Results<R> {
  readonly streams = false;
  readonly list: R[] = [];
  readonly #ordered: boolean;

  constructor(ordered: boolean) {
    this.#ordered = ordered;
  }

  hasRoom(): boolean {
    return true;
  }

  put(index: number, result: R): void {
    if (this.#ordered) this.list[index] = result;
    else this.list.push(result);
  }
}

/** Those that nobody has taken yet, for who takes one after the other. */
class ResultStream<R> implements Results<R> {
  readonly streams = true;
  readonly #max: number;
  /** What can be taken, in this order. */
  readonly #ready = new RingBuffer<{ readonly value: R }>();
  /** What others have to be taken before. */
  readonly #early = new Map<number, R>();
  readonly #ordered: boolean;
  #next = 0;

  constructor(ordered: boolean, max: number) {
    this.#ordered = ordered;
    this.#max = max;
  }

  hasRoom(): boolean {
    return this.#ready.length + this.#early.size < this.#max;
  }

  put(index: number, result: R): void {
    if (!this.#ordered || index === this.#next) this.#offer(result);
    else this.#early.set(index, result);
    while (this.#early.size > 0 && this.#early.has(this.#next)) {
      const next = this.#early.get(this.#next)!;
      this.#early.delete(this.#next);
      this.#offer(next);
    }
  }

  /** Takes the next one, if it is there. */
  take(): { readonly value: R } | undefined {
    return this.#ready.shift();
  }

  #offer(value: R): void {
    this.#next++;
    this.#ready.push({ value });
  }
}
