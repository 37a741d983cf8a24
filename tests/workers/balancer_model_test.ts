/**
 * Random programs for a load balancer: jobs with keys, priorities, deadlines and
 * cancellations, members that come, go, crash, slow down and fill up, and a
 * shutdown in the middle. `ROTA_MODEL_PROGRAMS` says how many, `ROTA_MODEL_SEED`
 * where to begin.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import {
  CancelledError,
  type Future,
  getRunningLoop,
  OverloadError,
  run,
  sleep,
  type Task,
  TimeoutError,
} from "../../mod.ts";
import { ExecutorShutDownError, WorkerCrashError } from "../../src/errors.ts";
import { SeededRandom } from "../../src/structures/random.ts";
import type { LoadBalancerOptions } from "../../src/workers/balancer_options.ts";
import { BALANCING_STRATEGIES } from "../../src/workers/balancing.ts";
import { LoadBalancer } from "../../src/workers/load_balancer.ts";
import { FakeExecutor } from "../../src/testing/fake_executor.ts";
import { inStyle, type Style, STYLES } from "../support/styles.ts";

const PROGRAMS = Number(Deno.env.get("ROTA_MODEL_PROGRAMS") ?? 300);
const FIRST = Number(Deno.env.get("ROTA_MODEL_SEED") ?? 1);
const STEPS = 120;

class OwnError extends Error {}

function work(_ms: number, fails: boolean): string {
  if (fails) throw new OwnError("own");
  return "result";
}

/** A job that was submitted, and all that was done about it. */
interface Submitted {
  readonly name: string;
  readonly future: Future<unknown>;
  readonly idempotent: boolean;
  readonly keyed: boolean;
  /** How often its done callback has run. */
  settled: number;
  /** Set if it was cancelled before it had begun anywhere. */
  neverRuns: boolean;
  /** Whether `cancel` has returned true. */
  isCancelled: boolean;
}

/** One program, from its seed. */
class Program {
  readonly random: SeededRandom;
  readonly style: Style;
  readonly options: LoadBalancerOptions;
  readonly balancer: LoadBalancer;
  /** All members that there ever were, in or out. */
  readonly fakes: FakeExecutor[] = [];
  readonly jobs: Submitted[] = [];
  readonly tasks: Task<unknown>[] = [];
  /** Members that must not begin anything any more, and how much they had begun. */
  readonly gone = new Map<FakeExecutor, number>();
  readonly crashesOften: boolean;
  isShutDown = false;

  constructor(seed: number, style: Style) {
    const random = this.random = new SeededRandom(seed);
    this.style = style;
    this.crashesOften = this.chance(0.5);
    this.options = {
      seed,
      strategy: this.oneOf(BALANCING_STRATEGIES),
      stealing: this.chance(0.7),
      slowStartMs: this.oneOf([0, 20, 1_000]),
      retriesMax: random.nextInt(4),
      ejection: this.chance(0.2) ? false : {
        crashesMax: 1 + random.nextInt(3),
        samplesMin: 1 + random.nextInt(5),
        slowFactor: 1 + random.nextInt(4),
        slowMinMs: 0,
        backoffMs: 1 + random.nextInt(50),
      },
      highWaterMark: this.oneOf([0, 1, 5, Infinity, Infinity]),
      overload: this.oneOf(["block", "reject", "drop-oldest", "drop-newest"]),
    };
    this.balancer = new LoadBalancer([], this.options);
    for (let n = random.nextInt(5); n > 0; n--) this.add();
  }

  chance(part: number): boolean {
    return this.random.next() < part;
  }

  oneOf<T>(choices: readonly T[]): T {
    return choices[this.random.nextInt(choices.length)]!;
  }

  add(): void {
    if (this.isShutDown) return;
    const factor = this.oneOf([1, 1, 1, 3, 10]);
    const fake = new FakeExecutor({
      capacity: this.oneOf([1, 1, 2, 5]),
      serviceMs: (ms) => factor * Number(ms),
    });
    fake.cancelMs = this.oneOf([0, 0, 3]);
    this.fakes.push(fake);
    this.balancer.add(fake, { weight: this.oneOf([undefined, 1, 3]) });
  }

  member(): FakeExecutor | undefined {
    const members = this.balancer.memberStats();
    if (members.length === 0) return undefined;
    return this.oneOf(members).executor as FakeExecutor;
  }

  submit(): void {
    const { random, balancer } = this;
    const now = getRunningLoop().time();
    const name = `job ${this.jobs.length}`;
    const idempotent = this.chance(0.5);
    const key = this.chance(0.3) ? random.nextInt(6) : undefined;
    let future: Future<unknown>;
    try {
      future = balancer.submit(work, [random.nextInt(12), this.chance(0.1)], {
        name,
        idempotent,
        key,
        priority: random.nextInt(3),
        deadlineMs: this.chance(0.1) ? now + 1 + random.nextInt(30) : undefined,
        signal: this.chance(0.05) ? AbortSignal.abort("signal") : undefined,
      });
    } catch (error) {
      const isExpected = this.isShutDown
        ? error instanceof ExecutorShutDownError
        : error instanceof OverloadError && this.options.overload === "reject";
      if (!isExpected) throw error;
      return;
    }
    const job: Submitted = {
      name,
      future,
      idempotent,
      keyed: key !== undefined,
      settled: 0,
      neverRuns: false,
      isCancelled: false,
    };
    future.addDoneCallback(() => job.settled++);
    this.jobs.push(job);
    if (this.chance(0.3)) this.waitFor(job);
  }

  /** Has a task wait for a job. */
  waitFor({ future }: Submitted): void {
    this.start(inStyle(this.style, function* () {
      try {
        yield future;
      } catch (error) {
        if (!(error instanceof CancelledError)) return;
        throw error;
      }
    }));
  }

  start(
    body: Parameters<ReturnType<typeof getRunningLoop>["createTask"]>[0],
  ): void {
    this.tasks.push(getRunningLoop().createTask(body));
  }

  begins(name: string): number {
    let count = 0;
    for (const { begun } of this.fakes) {
      for (const one of begun) if (one === name) count++;
    }
    return count;
  }

  cancel(): void {
    if (this.jobs.length === 0) return;
    const job = this.oneOf(this.jobs);
    if (job.future.done()) {
      assertEquals(job.future.cancel(), false);
      return;
    }
    const hasBegun = this.begins(job.name) > 0;
    const accepted = job.future.cancel("by the program");
    if (accepted) job.isCancelled = true;
    if (!hasBegun) {
      assert(accepted && job.future.cancelled());
      job.neverRuns = true;
    }
  }

  leave(how: "drain" | "remove"): void {
    const member = this.member();
    if (member === undefined) return;
    if (how === "drain") this.start(this.balancer.drain(member));
    else {
      this.gone.set(member, -1);
      this.start(this.balancer.remove(member));
    }
  }

  harm(): void {
    const member = this.member();
    if (member === undefined) return;
    const kind = this.random.nextInt(this.crashesOften ? 4 : 8);
    if (kind === 0) member.crash();
    else if (kind === 1) member.isCrashing = !member.isCrashing;
    else if (kind === 2) member.isCrashing = false;
    else if (kind === 3) {
      if (member.refusal === null) member.fill();
      else member.refusal = null;
    } else if (kind === 4 && this.chance(0.3)) member.isDown = true;
  }

  step(): void {
    const dice = this.random.nextInt(100);
    if (dice < 50) this.submit();
    else if (dice < 62) this.cancel();
    else if (dice < 66) this.add();
    else if (dice < 69) this.leave("drain");
    else if (dice < 72) this.leave("remove");
    else if (dice < 82) this.harm();
    else if (dice < 85 && this.tasks.length > 0) {
      this.oneOf(this.tasks).cancel("task");
    }
    this.check();
  }

  /** Rules that hold at any moment. */
  check(): void {
    const members = this.balancer.memberStats();
    const standing = members.filter(({ state }) => state !== "draining");
    const ejected = standing.filter(({ state }) =>
      state === "ejected" || state === "probing"
    );
    assert(2 * ejected.length <= standing.length, "too many are ejected");
    for (const { executor, running, state } of members) {
      const { jobs, capacity } = executor as FakeExecutor;
      assert(running >= jobs.size && running <= Math.max(capacity, 1));
      if (state === "probing") assert(running >= 1);
    }
    for (const [fake, begun] of this.gone) {
      if (begun < 0) {
        if (!members.some(({ executor }) => executor === fake)) {
          this.gone.set(fake, fake.begun.length);
        }
      } else {assertEquals(
          fake.begun.length,
          begun,
          "began after it was removed",
        );}
    }
    const { queued, running, done, failed, cancelled, crashed } = this.balancer
      .stats();
    assertEquals(
      queued + running + done + failed + cancelled + crashed,
      this.jobs.length,
    );
  }

  /** Rules that hold at the end. */
  judge(): void {
    const ends = { done: 0, failed: 0, cancelled: 0, crashed: 0 };
    for (const job of this.jobs) {
      assertEquals(job.settled, 1, `${job.name} has settled`);
      const end = endOf(job.future);
      ends[end]++;
      // A worker may die while it ends a job that was cancelled.
      if (job.isCancelled) {
        assert(end === "cancelled" || end === "crashed", end);
      }
      const begins = this.begins(job.name);
      const most = job.neverRuns
        ? 0
        : job.idempotent
        ? 1 + this.options.retriesMax!
        : 1;
      assert(begins <= most, `${job.name} has begun ${begins} times`);
      if (!job.future.cancelled() && !job.future.failed()) assert(begins > 0);
    }
    const stats = this.balancer.stats();
    const { done, failed, cancelled, crashed } = stats;
    assertEquals({ done, failed, cancelled, crashed }, ends);
    assertEquals([stats.queued, stats.running], [0, 0]);
    const begun = this.fakes.reduce((sum, fake) => sum + fake.begun.length, 0);
    const first = this.jobs.filter(({ name }) => this.begins(name) > 0).length;
    assertEquals(
      begun,
      first + stats.rerun,
      "all runs but the first are counted",
    );
    for (const { executor } of this.balancer.memberStats()) {
      assert((executor as FakeExecutor).isDown);
    }
    for (const fake of this.fakes) {
      assertEquals(fake.jobs.size, 0);
      assert(fake.peak <= fake.capacity);
      assert(fake.shutdowns.length <= 2);
    }
  }
}

function endOf(
  future: Future<unknown>,
): "done" | "failed" | "cancelled" | "crashed" {
  if (future.cancelled()) return "cancelled";
  const error = future.exception();
  if (error === undefined) return "done";
  if (error instanceof WorkerCrashError) return "crashed";
  if (error instanceof TimeoutError) return "cancelled";
  if (error instanceof OverloadError) return "cancelled";
  assert(error instanceof OwnError, String(error));
  return "failed";
}

async function play(seed: number, style: Style): Promise<void> {
  const program = new Program(seed, style);
  const { random, balancer, tasks } = program;
  await run(
    inStyle(style, function* () {
      const loop = getRunningLoop();
      const steps = random.nextInt(STEPS);
      for (let n = 0; n < steps; n++) {
        program.step();
        if (program.chance(0.4)) {
          yield sleep(random.nextInt(10));
          program.check();
        }
      }
      const options = {
        graceMs: program.oneOf([0, 20, Infinity]),
        cancelPending: program.chance(0.3),
      };
      program.start(balancer.shutdown(options));
      yield sleep(0);
      program.isShutDown = true;
      for (let n = random.nextInt(20); n > 0; n--) {
        program.step();
        yield sleep(random.nextInt(5));
      }
      yield balancer.shutdown();
      for (const task of tasks) {
        try {
          yield task;
        } catch (error) {
          assert(error instanceof CancelledError, String(error));
        }
      }
      yield sleep(0);
      const { tasks: alive, timers, ready } = loop.stats();
      assertEquals([alive, timers, ready], [1, 0, 0], "something is left");
      program.judge();
    }),
    { host: "virtual" },
  );
}

for (const style of STYLES) {
  Deno.test(`Every job of ${PROGRAMS} random programs ends once, and runs twice only if it may (${style})`, async () => {
    for (let seed = FIRST; seed < FIRST + PROGRAMS; seed++) {
      try {
        await play(seed, style);
      } catch (error) {
        throw new Error(`ROTA_MODEL_SEED=${seed} in ${style}`, {
          cause: error,
        });
      }
    }
  });
}
