/**
 * Plays a random program with a pool: jobs that come, are cancelled and end,
 * workers that start, answer, die and do not, a clock that moves; and a shutdown
 * at the end. After each act the pool is compared with the reference.
 *
 * @module
 */
import { assert, assertEquals, assertThrows } from "@std/assert";
import {
  allTasks,
  CancelledError,
  type EventLoop,
  getRunningLoop,
  OverloadError,
  type Task,
} from "../../../mod.ts";
import { core } from "../../../src/loop/core.ts";
import { ExecutorShutDownError } from "../../../src/errors.ts";
import {
  type PoolOptions,
  settlePoolOptions,
} from "../../../src/workers/pool_options.ts";
import { SeededRandom } from "../../../src/structures/random.ts";
import {
  type FakePool,
  fakePool,
  type FakeWorker,
} from "../support/fake_workers.ts";
import { submit } from "../support/pool_steps.ts";
import {
  type Counted,
  judge,
  NaiveJob,
  OwnError,
  REFUSED,
} from "./reference.ts";

const GRACE_MS = 40;
const STUCK_MS = 400;

/** Chooses at random. */
class Dice extends SeededRandom {
  chance(part: number): boolean {
    return this.next() < part;
  }

  pick<T>(values: readonly T[]): T {
    return values[this.nextInt(values.length)]!;
  }
}

function randomOptions(dice: Dice): PoolOptions {
  const maxWorkers = 1 + dice.nextInt(3);
  return {
    maxWorkers,
    minWorkers: dice.chance(0.3) ? 1 : 0,
    concurrency: dice.pick([1, 1, 1, 2, 3, Infinity]),
    highWaterMark: dice.pick([Infinity, Infinity, 0, 1, 3]),
    overload: dice.pick(["block", "reject", "drop-oldest", "drop-newest"]),
    idleTimeoutMs: dice.pick([0, 50, Infinity]),
    startTimeoutMs: 200,
    cancelGraceMs: GRACE_MS,
    onCrash: dice.pick(["reject", "retry"]),
    retriesMax: dice.nextInt(3),
    maxRestarts: dice.pick([0, 1, 3, Infinity]),
    backoff: { minMs: 10, maxMs: 100, seed: dice.nextInt(1_000) },
    recycle: dice.chance(0.3)
      ? { afterJobs: 1 + dice.nextInt(3), aboveBytes: 1_000 }
      : {},
    unresponsiveMs: STUCK_MS,
  };
}

/** One program, and all that is known of it. */
export class Play {
  readonly dice: Dice;
  readonly fake: FakePool;
  readonly loop: EventLoop = getRunningLoop();
  readonly options: PoolOptions;
  readonly settings;
  readonly jobs: NaiveJob[] = [];
  readonly counted: Record<Counted, number> = {
    done: 0,
    failed: 0,
    cancelled: 0,
    crashed: 0,
  };
  readonly controllers = [new AbortController(), new AbortController()];
  #places = 0;
  /** Jobs that had been sent when their worker was last looked at. */
  readonly #sentBefore = new Map<FakeWorker, number>();
  readonly #killedBefore = new Set<FakeWorker>();
  readonly #pingsAnswered = new Map<FakeWorker, number>();
  readonly #shutdowns: Task<void>[] = [];
  #isLeaving = false;
  /** What it has done, for a report. */
  readonly log: string[] = [];

  constructor(seed: number) {
    this.dice = new Dice(seed);
    this.options = randomOptions(this.dice);
    this.settings = settlePoolOptions(this.options, "play", 1);
    this.fake = fakePool(this.options);
    this.log.push(JSON.stringify(this.options));
  }

  /** Plays; yields where turns of the loop are to pass. */
  *steps(): Generator<undefined, void, unknown> {
    const acts = 20 + this.dice.nextInt(60);
    for (let act = 0; act < acts; act++) {
      this.#act(act / acts);
      this.#look();
      if (this.dice.chance(0.4)) {
        yield;
        this.#look();
      }
    }
    yield* this.#end();
  }

  // -- Acts --

  #act(part: number): void {
    const { dice } = this;
    const roll = dice.next();
    if (roll < 0.3) this.#submit();
    else if (roll < 0.38) this.#cancel();
    else if (roll < 0.4) this.#abort();
    else if (roll < 0.5) this.#advance(dice.pick([0, 1, 10, 50, 130]));
    else if (roll < 0.51 && part > 0.6) this.#shutdown();
    else this.#work();
  }

  #submit(): void {
    const { dice, fake } = this;
    const name = `job${this.jobs.length}`;
    const rank = dice.pick([0, 0, 0, 10, -10]);
    const idempotent = dice.chance(0.5);
    const transfer = dice.chance(0.1) ? [new ArrayBuffer(1)] : [];
    const delayMs = dice.chance(0.15) ? 1 + dice.nextInt(150) : Infinity;
    const signal = dice.chance(0.15)
      ? dice.pick(this.controllers).signal
      : undefined;
    const mayRunAgain = idempotent && transfer.length === 0 &&
      this.settings.onCrash === "retry";
    const job = new NaiveJob(
      name,
      rank,
      this.#places++,
      mayRunAgain,
      transfer.length === 0,
      fake.clock.nowMs() + delayMs,
      signal,
    );
    const options = {
      priority: rank,
      idempotent,
      transfer,
      signal,
      deadlineMs: this.loop.time() + delayMs,
      onProgress: (value: unknown) => {
        assert(!job.future!.done(), `${name} tells something after its end`);
        job.heard.push(value as number);
      },
    };
    this.log.push(`submit ${name} ${JSON.stringify(options)}`);
    if (this.#isLeaving) {
      assertThrows(() => submit(fake, name, options), ExecutorShutDownError);
      return;
    }
    if (signal?.aborted === true) job.isCancelled = true;
    this.jobs.push(job);
    this.#mayDrop();
    try {
      job.future = submit(fake, name, options);
    } catch (error) {
      assert(
        error instanceof OverloadError && this.options.overload === "reject",
      );
      this.jobs.pop();
      return;
    }
    job.future.addDoneCallback(() => job.settled++);
  }

  /** Somebody comes: jobs in line may be dropped for it. */
  #mayDrop(): void {
    if (!String(this.options.overload).startsWith("drop")) return;
    for (const job of this.jobs) {
      if (job.state === "line") job.mayBeDropped = true;
    }
  }

  #cancel(): void {
    if (this.jobs.length === 0) return;
    const job = this.dice.pick(this.jobs);
    this.log.push(`cancel ${job.name}`);
    const isTaken = job.future!.cancel("by the program");
    assertEquals(isTaken, job.isOpen, `cancel() of ${job.name}`);
    if (isTaken) job.isCancelled = true;
  }

  #abort(): void {
    const controller = this.dice.pick(this.controllers);
    this.log.push("abort a signal");
    if (controller.signal.aborted) return;
    for (const job of this.jobs) {
      if (job.isOpen && job.signal === controller.signal) {
        job.isCancelled = true;
      }
    }
    controller.abort("by the program");
  }

  #advance(ms: number): void {
    this.log.push(`advance ${ms}`);
    const { clock } = this.fake;
    const endMs = clock.nowMs() + ms;
    // In small steps, so that of two causes it is known which came first.
    for (;;) {
      const stepMs = Math.min(clock.untilNext(), endMs - clock.nowMs());
      for (const job of this.jobs) {
        const isDue = job.deadlineAtMs <= clock.nowMs() + stepMs;
        if (job.isOpen && isDue) job.isLate = true;
      }
      clock.advance(stepMs);
      this.#look();
      if (clock.nowMs() >= endMs && clock.untilNext() > 0) return;
    }
  }

  #shutdown(): void {
    const cancelPending = this.dice.chance(0.3);
    const graceMs = this.dice.pick([0, 30, 200, Infinity]);
    this.log.push(`shutdown ${graceMs} ${cancelPending}`);
    this.#shutDown(graceMs, cancelPending);
  }

  #shutDown(graceMs: number, cancelPending: boolean): void {
    this.#isLeaving = true;
    const leave = this.fake.pool.shutdown({ graceMs, cancelPending });
    this.#shutdowns.push(this.loop.createTask(leave, { eager: true }));
    for (const job of this.jobs) {
      if (graceMs < Infinity) job.mayBeCancelled = true;
      if (cancelPending && job.state === "line") job.isCancelled = true;
    }
  }

  // -- Workers --

  #work(): void {
    const { left } = this.fake.workers;
    if (left.length === 0) return;
    this.#workOf(this.dice.pick(left), this.dice.next());
  }

  #workOf(worker: FakeWorker, roll: number): void {
    const { dice } = this;
    const say = (what: string) =>
      this.log.push(`worker ${worker.index} ${what}`);
    if (worker.isKilled || (worker.isClosed && worker.has.size === 0)) {
      if (roll > 0.5) return;
      say("ends");
      worker.lives = dice.chance(0.2);
      worker.ends({ unread: this.#dies(worker) });
      return;
    }
    if (worker.state === "starting") {
      if (roll < 0.75) {
        say("is ready");
        worker.ready();
      } else {
        say("fails to start");
        this.#failsToStart();
        worker.ends({ kind: dice.pick(["start", "exit"]) });
      }
      return;
    }
    if (roll < 0.03) {
      say("refuses the next job");
      worker.refusal = new OwnError(REFUSED);
    } else if (roll < 0.1) {
      say("answers");
      this.#answers(worker);
    } else if (roll < 0.2) worker.cpu = (worker.cpu || 0) + 5;
    else if (roll < 0.28) {
      say("dies");
      const kinds = ["error", "rejection", "exit", "out-of-memory", "killed"];
      const kind = dice.pick(kinds) as "exit";
      worker.ends({ kind, unread: this.#dies(worker) });
    } else if (worker.has.size > 0) this.#workAt(worker, roll);
  }

  #workAt(worker: FakeWorker, roll: number): void {
    const { name } = this.dice.pick([...worker.has.values()]);
    const job = this.#job(name);
    if (roll < 0.4) {
      this.log.push(`${name} tells`);
      // One that is to end may or may not be heard.
      if (job.isOpen) job.told.push(job.told.length);
      worker.progresses(job.told.length - 1, name);
      return;
    }
    if (job.isOpen) job.state = "over";
    job.worker = null;
    if (roll < 0.8) {
      this.log.push(`${name} returns`);
      job.hasReturned = true;
      job.returned = { name };
      worker.returns(job.returned, name);
    } else {
      this.log.push(`${name} throws`);
      const isOwn = this.dice.chance(0.6);
      job.threw = isOwn ? new OwnError(name) : new CancelledError(name);
      worker.throws(job.threw, name);
    }
  }

  #answers(worker: FakeWorker): void {
    if (worker.pings <= (this.#pingsAnswered.get(worker) ?? 0)) return;
    this.#pingsAnswered.set(worker, worker.pings);
    worker.answers(this.dice.pick([10, 2_000]));
  }

  /** The jobs of a worker lose it. */
  #dies(worker: FakeWorker): number[] {
    const unread: number[] = [];
    const takenBack: NaiveJob[] = [];
    for (const { name, id } of worker.has.values()) {
      const job = this.#job(name);
      job.worker = null;
      if (!job.isOpen) continue;
      const isAsked = worker.aborted.some((abort) => abort.id === id);
      const isUntold = job.told.length === 0;
      const isUnread = isUntold && this.dice.chance(0.3);
      if (isUnread) unread.push(id);
      if (!isAsked && isUnread && job.isWhole) {
        job.state = "line";
        takenBack.push(job);
        job.sends--;
      } else if (
        !isAsked && job.mayRunAgain && job.sends <= this.settings.retriesMax
      ) {
        job.state = "line";
        job.place = this.#places++;
      } else {
        job.state = "over";
        job.isOrphan = true;
      }
    }
    for (const job of takenBack.reverse()) job.place = -this.#places++;
    // Of its death before it had a job the pool may despair.
    this.#failsToStart();
    return unread;
  }

  #failsToStart(): void {
    for (const job of this.jobs) {
      if (job.state === "line") job.mayFailToStart = true;
    }
  }

  #job(name: string): NaiveJob {
    return this.jobs.find((job) => job.name === name)!;
  }

  // -- Comparing --

  /** Notes what has happened, and compares. */
  #look(): void {
    this.#lookAtSends();
    for (const worker of this.fake.workers.all) this.#lookAt(worker);
    for (const job of this.jobs) {
      if (!job.isOpen || !job.future!.done()) continue;
      if (job.state === "line") assert(job.worker === null);
      job.state = "settled";
      this.counted[judge(job, this.settings)]++;
    }
    for (const job of this.jobs) {
      // Nothing but a call of onProgress may lie between an outcome and the end.
      const isHeld = job.heard.length < job.told.length;
      assert(job.state !== "over" || isHeld, `${job.name} has not ended`);
    }
    this.#compareCounts();
    this.#findIdlers();
  }

  /** Goes through what was sent to all workers, in that order. */
  #lookAtSends(): void {
    const sends: { id: number; name: string; worker: FakeWorker }[] = [];
    for (const worker of this.fake.workers.all) {
      const before = this.#sentBefore.get(worker) ?? 0;
      worker.sentIds.slice(before).forEach((id, index) => {
        sends.push({ id, name: worker.sent[before + index]!, worker });
      });
      this.#sentBefore.set(worker, worker.sent.length);
    }
    sends.sort((a, b) => a.id - b.id);
    for (const { name, worker } of sends) {
      this.#wasSent(this.#job(name), worker);
    }
  }

  #lookAt(worker: FakeWorker): void {
    if (worker.state === "starting" && worker.isKilled) this.#failsToStart();
    if (!worker.isKilled || this.#killedBefore.has(worker)) return;
    this.#killedBefore.add(worker);
    const strangers = [...worker.has.values()]
      .filter(({ id }) => worker.aborted.every((abort) => abort.id !== id));
    const isSilent = worker.pings > (this.#pingsAnswered.get(worker) ?? 0);
    assert(strangers.length === 0 || isSilent, "a kill took strangers along");
  }

  #wasSent(job: NaiveJob, worker: FakeWorker): void {
    job.sends++;
    assert(
      job.state === "line",
      `${job.name} was sent while it was ${job.state}`,
    );
    const most = job.mayRunAgain ? 1 + this.settings.retriesMax : 1;
    assert(job.sends <= most, `${job.name} was sent ${job.sends} times`);
    assert(worker.has.size <= this.settings.concurrency, "too many at a time");
    if (this.settings.highWaterMark === Infinity) {
      for (const other of this.jobs) {
        if (other === job || other.state !== "line" || other.future!.done()) {
          continue;
        }
        const isBefore = other.rank > job.rank ||
          (other.rank === job.rank && other.place < job.place);
        assert(!isBefore, `${job.name} went before ${other.name}`);
      }
    }
    job.state = "running";
    job.worker = worker;
  }

  #compareCounts(): void {
    const stats = this.fake.pool.stats();
    const { done, failed, cancelled, crashed } = stats;
    assertEquals({ done, failed, cancelled, crashed }, this.counted);
    const open = this.jobs.filter((job) => job.isOpen);
    const inLine = open.filter(({ state }) => state === "line").length;
    assertEquals(stats.queued + stats.running, open.length);
    // Of one that has told something in its first run, and waits for another, the
    // pool may have despaired, and the end may wait for what it has told.
    const isSure = open.every(({ state, heard, told }) =>
      state !== "line" || heard.length === told.length
    );
    if (isSure) assertEquals(stats.queued, inLine);
    const rerun = this.jobs.reduce(
      (sum, { sends }) => sum + Math.max(sends - 1, 0),
      0,
    );
    assertEquals(stats.rerun, rerun);
    const { starting, idle, busy, stopping } = stats.workers;
    const { left } = this.fake.workers;
    assertEquals(starting + idle + busy + stopping, left.length);
    const extra = this.options.recycle?.afterJobs === undefined
      ? 0
      : this.settings.maxWorkers;
    assert(starting + idle + busy <= this.settings.maxWorkers + extra);
    // The hold outlasts the last job a little.
    if (open.length > 0 || this.#waits()) {
      assert(this.loop[core].outside.waits > 0, "the loop is not held");
    }
  }

  #waits(): boolean {
    return this.#shutdowns.some((down) => !down.done());
  }

  /** Nobody is in line while a worker has room. */
  #findIdlers(): void {
    if (!this.jobs.some(({ state }) => state === "line")) return;
    for (const worker of this.fake.workers.left) {
      if (worker.state !== "ready" || worker.isClosed || worker.isKilled) {
        continue;
      }
      if (this.options.recycle?.afterJobs !== undefined) continue;
      const isFull = worker.has.size >= this.settings.concurrency;
      assert(
        isFull || worker.aborted.length > 0,
        `worker ${worker.index} idles while there are jobs`,
      );
    }
  }

  // -- The end --

  /** Lets everything come to its end, and looks for what is left. */
  *#end(): Generator<undefined, void, unknown> {
    this.log.push("the end");
    this.#shutDown(this.dice.pick([0, Infinity]), false);
    yield;
    for (let round = 0; this.#waits(); round++) {
      assert(round < 2_000, "the shutdown does not end");
      for (const worker of this.fake.workers.left) {
        this.#workOf(worker, this.dice.next());
        worker.lives = false;
        this.#look();
      }
      this.#advance(Math.min(this.fake.clock.untilNext(), 20));
      yield;
      this.#look();
    }
    yield;
    for (const down of this.#shutdowns) down.result();
    for (const { name, settled } of this.jobs) assertEquals(settled, 1, name);
    assertEquals(this.fake.workers.left.length, 0);
    assertEquals(this.fake.clock.pending, 0, "timers are left");
    assertEquals(this.loop[core].outside.waits, 0);
    assertEquals(allTasks(this.loop).length, 1, "tasks are left");
  }
}
