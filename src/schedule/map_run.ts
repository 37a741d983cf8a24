/**
 * A map under way: its items at work, and its end.
 *
 * @module
 */
import { cancellationIn } from "../loop/cancellation.ts";
import { type CancelledError, MisuseError } from "../errors.ts";
import { isGeneratorFunction } from "../loop/checks.ts";
import { findTask } from "../loop/current.ts";
import type { EventLoop } from "../loop/event_loop.ts";
import { Future } from "../loop/future.ts";
import type { Coroutine } from "../loop/task_body.ts";
import {
  findOrigin,
  type Origin,
  type WorkOutcome,
  type WorkRunner,
} from "../loop/work_runner.ts";
import { WaitQueue } from "../sync/wait_queue.ts";
import { AwaitedFeed } from "./awaited_feed.ts";
import type { LimitCore } from "./limit_core.ts";
import type { MapPlan } from "./map_plan.ts";
import type { MapResults } from "./map_results.ts";
import { MapSlot } from "./map_slot.ts";
import { isAwaited, NO_ITEM } from "./map_source.ts";
import { ReadyFeed } from "./ready_feed.ts";

/** Feed of a map: takes items from the source, and slots for them. */
export interface MapFeed<T> {
  /** Whether it is in line, asks the source, or closes it: the map is not over then. */
  readonly isBusy: boolean;
  /** Whether the source has no more items, or has failed. */
  readonly hasEnded: boolean;
  /** Begins with as many items as it may. */
  refill(): void;
  /** Takes an item for a slot that would be given back else. */
  takeForSlot(): T | typeof NO_ITEM;
  /** Called when that item has begun. */
  slotKept(): void;
  /** Called when a slot was given back. */
  slotFreed(): void;
  /** Called when a result was taken, so that there may be room for another. */
  resultTaken(): void;
  /** Ends it early: no item is taken any more. */
  stop(): void;
  /** Called for each cancellation after {@linkcode stop}: what never ends is not to be waited for. */
  giveUp(): void;
  /** Called when the loop is closed under the map. Returns whether it had a slot, which is to be given back. */
  lost(): boolean;
  /** Called when the map is over: closes the source, if it has not ended. */
  close(): void;
}

/** A map, as its feed sees it. */
export interface FedMap<T> {
  readonly core: LimitCore;
  readonly loop: EventLoop;
  readonly rank: number;
  readonly isStopped: boolean;
  /** Whether there is room for the result of one more item. */
  hasRoom(): boolean;
  /** Begins with an item, in a slot that the feed has taken. */
  work(item: T): void;
  fail(error: unknown, outcome: WorkOutcome): void;
  report(error: unknown): void;
  lost(reason: CancelledError): void;
  checkEnd(): void;
  change(): Coroutine<void>;
  wake(): void;
}

/** A map under way. */
export class MapRun<T, R> implements FedMap<T> {
  readonly core: LimitCore;
  readonly plan: MapPlan<T, R>;
  readonly loop: EventLoop;
  readonly isCoroutine: boolean;
  origin: Origin | null = null;
  /** `"stopped"`: nothing begins any more; `"over"`: all has ended, and the source is closed. */
  #state: "running" | "stopped" | "over" = "running";
  #failure: { readonly error: unknown } | null = null;
  /** Done when the map is over: with the first failure, if there was one. */
  readonly #verdict: Future<void>;
  readonly #results: MapResults<R>;
  #feed: MapFeed<T> | null = null;
  readonly #slots: MapSlot<T, R>[] = [];
  /** How many items were begun. */
  #begun = 0;
  readonly #waiters: WaitQueue;

  constructor(
    core: LimitCore,
    loop: EventLoop,
    plan: MapPlan<T, R>,
    results: MapResults<R>,
  ) {
    this.core = core;
    this.plan = plan;
    this.loop = loop;
    this.isCoroutine = isGeneratorFunction(plan.body);
    this.#results = results;
    this.#verdict = new Future<void>(loop, "a map of a limit");
    this.#waiters = new WaitQueue("ConcurrencyLimit.map()", core.owner);
  }

  get rank(): number {
    return this.plan.rank;
  }

  /** The first wait for it. */
  get whose(): Future<unknown> | null {
    return this.#waiters.peek() ?? null;
  }

  get isStopped(): boolean {
    return this.#state !== "running";
  }

  /** Whether nothing of it runs any more, and the source is closed. */
  get isOver(): boolean {
    return this.#state === "over";
  }

  /** Begins, on behalf of the current task. */
  start(): void {
    this.core.refuseInside("map over a source", "use another limit for it");
    this.core.bind(this.loop);
    this.origin = findOrigin(this.loop, null);
    const { source } = this.plan;
    this.#feed = isAwaited(source)
      ? new AwaitedFeed(this, source)
      : new ReadyFeed(this, source);
    this.#feed.refill();
  }

  /** Throws the failure that it has ended with, if there is one. */
  throwFailure(): void {
    this.#verdict.result();
  }

  /** Ends it early: items at work are cancelled, and no more are taken. */
  stop(): void {
    if (this.#state !== "running") return;
    this.#state = "stopped";
    this.#feed!.stop();
    const slots = [...this.#slots].sort((a, b) => a.index - b.index);
    for (const slot of slots) slot.runner!.cancelWork(slot, undefined);
    this.checkEnd();
  }

  /**
   * Takes in a cancellation of the task that waits: stops the map. If that was
   * stopped already, it gives up on a source that does not close.
   */
  interrupt(): void {
    if (this.isStopped) this.#feed!.giveUp();
    else this.stop();
  }

  /** Ends it, as the loop is closed under it: that ends the items at work, too. */
  lost(reason: CancelledError): void {
    const hadSlot = this.#feed!.lost();
    this.core.loseLoop(reason);
    if (this.#state === "running") {
      this.#state = "stopped";
      this.#failure = { error: reason };
    }
    if (hadSlot) this.core.release(1, null);
    this.checkEnd();
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

  /** Wakes all that wait for a change. */
  wake(): void {
    this.#waiters.wakeAll();
  }

  /**
   * Waits until it is over. A cancellation interrupts it, and is thrown when it
   * is over.
   */
  *join(): Coroutine<void> {
    const task = findTask()!;
    let interruption: { readonly error: unknown } | null = null;
    while (!this.isOver) {
      // A cancelled scope throws at every wait. Once is enough.
      const shield = interruption === null
        ? null
        : task.openBlock({ shielded: true });
      try {
        yield* this.change();
      } catch (error) {
        interruption ??= { error };
        this.interrupt();
        // No task goes through this, but `[...limit.map()]`: it would for ever.
        if (error instanceof MisuseError) break;
      } finally {
        shield?.close();
      }
    }
    if (interruption !== null) throw interruption.error;
  }

  hasRoom(): boolean {
    return this.#results.hasRoom();
  }

  /** Called when a result was taken. */
  resultTaken(): void {
    this.#feed!.resultTaken();
  }

  work(item: T): void {
    const slot = new MapSlot(this, item, this.#begun++);
    slot.place = this.#slots.push(slot) - 1;
    this.core.giveWork(this.loop, slot);
  }

  /** Called when the item of a slot has ended. `runner` may do other work then. */
  itemEnded(
    slot: MapSlot<T, R>,
    outcome: WorkOutcome,
    value: unknown,
    runner: WorkRunner | null,
  ): void {
    const { core } = this;
    const feed = this.#feed!;
    core[outcome]++;
    this.#settle(slot.index, outcome, value);
    const next = feed.takeForSlot();
    if (next !== NO_ITEM) {
      slot.item = next;
      slot.index = this.#begun++;
      core.keepWorking(this.loop, runner, slot);
      feed.slotKept();
      return;
    }
    this.#drop(slot);
    core.release(1, runner);
    feed.slotFreed();
  }

  /** Takes in what has become of an item. */
  #settle(index: number, outcome: WorkOutcome, value: unknown): void {
    const { settled } = this.plan;
    if (outcome === "done") {
      this.#put(index, settled ? { status: "fulfilled", value } : value);
    } else if (settled && !this.isStopped) {
      this.#put(index, { status: "rejected", reason: value });
    } else this.fail(value, outcome);
  }

  #put(index: number, result: unknown): void {
    this.#results.put(index, result as R);
    if (this.#results.streams) this.#waiters.wakeAll();
  }

  /** Removes a slot; the last one takes its place. */
  #drop(slot: MapSlot<T, R>): void {
    const last = this.#slots.pop()!;
    if (last === slot) return;
    this.#slots[slot.place] = last;
    last.place = slot.place;
  }

  /** Ends the map with a failure; reports it if there was one before. */
  fail(error: unknown, outcome: WorkOutcome): void {
    if (!this.isStopped) {
      this.#failure = { error };
      this.stop();
    } else if (outcome === "failed") this.report(error);
  }

  /** Reports an error that the map cannot end with. */
  report(error: unknown): void {
    this.loop.callExceptionHandler({
      message: "ConcurrencyLimit.map() was over when a part of it failed",
      exception: error,
    });
  }

  /** Ends the map if nothing of it is under way any more. */
  checkEnd(): void {
    const feed = this.#feed;
    if (
      feed === null || this.isOver || feed.isBusy || this.#slots.length > 0 ||
      !(this.isStopped || feed.hasEnded)
    ) return;
    this.#state = "over";
    this.#closeSource(feed);
    this.#reachVerdict();
    this.#waiters.wakeAll();
  }

  #closeSource(feed: MapFeed<T>): void {
    try {
      feed.close();
    } catch (error) {
      if (this.#failure === null) this.#failure = { error };
      else this.report(error);
    }
  }

  #reachVerdict(): void {
    if (this.#failure === null) this.#verdict.setResult();
    else {
      const { error } = this.#failure;
      const cancelled = cancellationIn(error);
      if (cancelled !== null) this.#verdict.cancel(cancelled);
      else this.#verdict.setException(error);
    }
  }
}
