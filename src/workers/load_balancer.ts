/**
 * `LoadBalancer`: an executor that gives its jobs to other executors.
 *
 * @module
 */
import { ExecutorShutDownError, MisuseError } from "../errors.ts";
import {
  checkOneOf,
  checkOptions,
  checkString,
  inspect,
} from "../loop/checks.ts";
import { getRunningLoop } from "../loop/current.ts";
import { checkExecutor } from "../loop/default_executor.ts";
import type { Future } from "../loop/future.ts";
import { Operation } from "../loop/operation.ts";
import type { Coroutine } from "../loop/task_body.ts";
import { BalancerClosing } from "./balancer_closing.ts";
import { BalancerCore } from "./balancer_core.ts";
import { type AnyBalancerJob, BalancerJob } from "./balancer_job.ts";
import type { Member } from "./balancer_member.ts";
import {
  checkMemberWeight,
  type LoadBalancerOptions,
  type MemberOptions,
  type MemberStats,
  type RemoveOptions,
  settleBalancerOptions,
} from "./balancer_options.ts";
import { BaseExecutor } from "./base_executor.ts";
import type {
  Executor,
  ExecutorStats,
  ShutdownOptions,
  SubmitOptions,
} from "./executor.ts";
import { type ExecutorTask, type JobResult, toTaskRef } from "./module_task.ts";
import { checkShutdownOptions } from "./pool_shutdown.ts";
import {
  checkSubmitOptions,
  copyArguments,
  type JobSettings,
} from "./submit_options.ts";
import { transportedLocals, withLocalsOf } from "./transport.ts";

const NO_OPTIONS: LoadBalancerOptions = Object.freeze({});
const NO_MEMBER_OPTIONS: MemberOptions = Object.freeze({});
const NO_REMOVE_OPTIONS: RemoveOptions = Object.freeze({});

/**
 * An executor over executors: it gives each job to one of its members, be they
 * thread pools, process pools, remote engines or other balancers.
 *
 * A member is handed at most as many jobs at a time as its `capacity` says. All
 * others wait in the balancer, in a line for each member, so that idle members
 * can take them and a member can come and go without losing one. Within a line,
 * higher priorities go first, then first come, first served.
 *
 * *Failures.* A member whose workers die several times in a row, or that is far
 * slower than the others, is ejected: it gets no jobs, and those in its line go
 * to others. After a while it gets one job, and takes part again if that goes
 * well; else it waits twice as long. A job whose member crashed is begun again on
 * another one if it is `idempotent`, else it fails with the
 * {@linkcode WorkerCrashError}. Errors of a job's function go to its caller and
 * count against nobody.
 *
 * *Room.* A member that others use as well may have no room although it has fewer
 * jobs of the balancer than its `capacity` says. If it refuses one with an
 * {@linkcode OverloadError}, others are asked; when all have refused, the job is
 * dropped with the error. It cannot wait in line instead, as nobody tells the
 * balancer when there is room: let members that are shared have
 * `overload: "block"`.
 *
 * *Without members* jobs wait for one to be added. When the last one is gone
 * after `shutdown`, they are cancelled.
 *
 * *Time.* Run times, deadlines, graces and ejections go by the clock of the loop.
 * Jobs in line do not hold a virtual clock or the process; the jobs of the members
 * do, if they run elsewhere.
 *
 * Placing a job takes constant time with `"power-of-two"`, O(log n) with
 * `"round-robin"`, `"weighted"` and `"hash"`, and O(n) with the other strategies,
 * for `n` members. A balancer belongs to the loop that uses it, as long as it has
 * jobs.
 *
 * @example Two pools behind one executor, of which one leaves
 * ```ts
 * import { LoadBalancer, run, ThreadPool } from "@rota/rota";
 * import { assertEquals } from "@std/assert";
 *
 * await run(async () => {
 *   await using balancer = new LoadBalancer();
 *   balancer.add(new ThreadPool({ maxWorkers: 1 }), { name: "a" });
 *   balancer.add(new ThreadPool({ maxWorkers: 1 }), { name: "b" });
 *   const square = (n: number) => n * n;
 *   assertEquals(await balancer.submit(square, [7]), 49);
 *   await balancer.remove("a");
 *   assertEquals(await balancer.map(square, [1, 2, 3]), [1, 4, 9]);
 *   assertEquals(balancer.memberStats().map(({ name }) => name), ["b"]);
 * });
 * ```
 */
export class LoadBalancer extends BaseExecutor {
  readonly #core: BalancerCore;
  readonly #closing: BalancerClosing;
  #names = 0;

  /**
   * Makes a balancer.
   *
   * @param members The first members, with their default names and weights.
   * @param options Strategy, ejection, slow start, bounds and more.
   * @throws {TypeError} If an option is of the wrong type, or a member is no executor.
   * @throws {RangeError} If a number is out of range.
   * @throws {MisuseError} If a member is given twice.
   */
  constructor(
    members: Iterable<Executor> = [],
    options: LoadBalancerOptions = NO_OPTIONS,
  ) {
    super();
    const settings = settleBalancerOptions(options);
    if (typeof members?.[Symbol.iterator] !== "function") {
      throw new TypeError(
        `Cannot create a load balancer as members must be iterable: received ${
          inspect(members)
        }`,
      );
    }
    this.#core = new BalancerCore(settings);
    this.#closing = new BalancerClosing(this.#core);
    for (const member of members) this.add(member);
  }

  /** How many jobs its members run at a time at most: 0 without members. Members that are being drained do not count. */
  get capacity(): number {
    return this.#core.capacity.value;
  }

  /** How many members it has, those included that are being drained. */
  get size(): number {
    return this.#core.members.size;
  }

  /**
   * Adds a member. If jobs have been submitted before, its share begins with a
   * tenth and grows over `slowStartMs`; it also takes jobs from the lines of others.
   *
   * @param executor Any executor that is no member yet.
   * @param options Name and weight.
   * @throws {TypeError} If `executor` is none, or an option is of the wrong type.
   * @throws {RangeError} If `weight` is not a positive number.
   * @throws {MisuseError} If it is a member, the name is taken, or it is the
   * balancer itself or has it as a member.
   * @throws {ExecutorShutDownError} After `shutdown`.
   */
  add(executor: Executor, options: MemberOptions = NO_MEMBER_OPTIONS): void {
    const what = "add a member";
    checkExecutor(executor, what);
    checkOptions(options, what);
    const core = this.#core;
    const { name = this.#nextName(), weight = weightOf(executor) } = options;
    checkString(name, what, "name");
    checkMemberWeight(weight, what);
    this.#refuseShutDown(what);
    if (core.members.has(executor)) {
      throw new MisuseError(
        `Cannot ${what}: the executor is a member already, with the name ${
          inspect(core.members.get(executor)!.name)
        }`,
      );
    }
    if (core.named.has(name)) {
      throw new MisuseError(
        `Cannot ${what}: another member has the name ${inspect(name)}`,
      );
    }
    if (executor instanceof LoadBalancer && executor.#leadsTo(this)) {
      throw new MisuseError(
        `Cannot ${what}: its jobs would come back to ${core.inWords}`,
      );
    }
    core.add(executor, name, weight);
  }

  /**
   * Has a member get no more jobs, and waits until it has ended those that it has,
   * in its line and running. It stays a member, without jobs, until it is removed.
   *
   * Draining begins when the operation is awaited. Cancelling the wait leaves the
   * member as it is: it goes on with its jobs and gets no others.
   *
   * @param member The executor, or its name.
   * @returns An operation that ends when the member has no jobs.
   * @throws {MisuseError} If it is no member.
   */
  drain(member: Executor | string): Operation<void> {
    const core = this.#core;
    const drained = this.#find(member, "drain a member");
    return new Operation(function* (): Coroutine<void> {
      core.drain(drained);
      while (drained.pending > 0) {
        const waiter = drained.idleLine.enter(undefined);
        try {
          yield* waiter;
        } finally {
          drained.idleLine.leave(waiter);
        }
      }
    }, { name: "LoadBalancer.drain()" });
  }

  /**
   * Removes a member. Jobs in its line go to others; those that it has begun go
   * on, and then it is shut down, if `ownsMembers` or `shutdown` says so.
   *
   * The removal begins when the operation is awaited. Cancelling the wait does not
   * end it: the shutdown follows all the same. With `shutdown: false` the executor
   * may be used elsewhere, or be added again.
   *
   * @param member The executor, or its name.
   * @param options Whether it is shut down.
   * @returns An operation that ends when its jobs have, and its shutdown.
   * @throws {TypeError} If an option is of the wrong type.
   * @throws {MisuseError} If it is no member.
   */
  remove(
    member: Executor | string,
    options: RemoveOptions = NO_REMOVE_OPTIONS,
  ): Operation<void> {
    const what = "remove a member";
    checkOptions(options, what);
    const { shutdown = this.#core.settings.ownsMembers } = options;
    checkOneOf(shutdown, [true, false], what, "shutdown");
    const removed = this.#find(member, what);
    return new Operation(() => this.#closing.remove(removed, shutdown), {
      name: "LoadBalancer.remove()",
    });
  }

  /**
   * Submits a job to one of the members: see {@linkcode Executor.submit}.
   *
   * The job is handed over at once if its member has room, else it is in line.
   * Errors that a member throws as it is handed the job, such as that an argument
   * cannot be cloned, or that no member has room, are the outcome of the job.
   *
   * Cancelling the future, or aborting the signal, ends a job in line at once.
   * With a member, it cancels the member's job, and the future ends when that has.
   *
   * @param task The function: see {@linkcode ExecutorTask}.
   * @param args Its arguments. They are copied when the job begins, not now: leave
   * alone what is in them until then.
   * @param options Name, signal, priority, key, deadline and so on.
   * @returns A future of the result.
   * @throws {TypeError} If an argument or option is of the wrong type.
   * @throws {RangeError} If `deadlineMs` is `NaN` or has passed.
   * @throws {ExecutorShutDownError} After `shutdown`.
   * @throws {OverloadError} If there is no room, with `overload: "reject"`.
   * @throws {MisuseError} If no loop is running, or the balancer has jobs of another one.
   */
  submit<A extends readonly unknown[], R>(
    task: ExecutorTask<A, R>,
    args: A,
    options?: SubmitOptions,
  ): Future<JobResult<R>> {
    const what = "submit a job";
    const ref = toTaskRef(task, what);
    const handedArgs = copyArguments(args);
    const given = checkSubmitOptions(options);
    this.#refuseShutDown(what);
    const core = this.#core;
    const loop = getRunningLoop();
    core.bind(loop);
    const settings = given.name === "" && "name" in ref
      ? { ...given, name: ref.name }
      : given;
    const locals = transportedLocals();
    const handed = handedOptions(settings);
    const job = new BalancerJob<JobResult<R>>(
      core,
      loop,
      (executor) =>
        withLocalsOf(locals, () => executor.submit(task, handedArgs, handed)),
      settings,
      loop.time(),
    );
    const { signal } = settings;
    if (signal?.aborted === true) core.turnAway();
    else core.admit(job as AnyBalancerJob);
    if (signal !== undefined) job.follow(signal);
    return job;
  }

  /**
   * Takes no more jobs, lets the others end, and shuts the members down, unless
   * `ownsMembers` is false. Calling it again joins the first call, and may
   * shorten its grace.
   *
   * It begins when it is awaited. Cancelling the wait does not end it.
   *
   * @param options How long jobs may take, and what becomes of those in line.
   * @returns An operation that ends when nothing is left; it throws what the
   * shutdown of a member has thrown, several together as an `AggregateError`.
   * @throws {TypeError} If an option is of the wrong type.
   * @throws {RangeError} If `graceMs` is negative or `NaN`.
   */
  shutdown(options?: ShutdownOptions): Operation<void> {
    const settings = checkShutdownOptions(options);
    return new Operation(() => this.#closing.shutDown(settings), {
      name: "LoadBalancer.shutdown()",
    });
  }

  /**
   * Returns the counts. Workers are those of all members.
   *
   * @returns A copy. Takes time in proportion to the number of members.
   */
  stats(): ExecutorStats {
    const core = this.#core;
    const workers = { starting: 0, idle: 0, busy: 0, stopping: 0 };
    let lostThreads = 0;
    for (const { executor } of core.members.values()) {
      const stats = executor.stats();
      workers.starting += stats.workers.starting;
      workers.idle += stats.workers.idle;
      workers.busy += stats.workers.busy;
      workers.stopping += stats.workers.stopping;
      lostThreads += stats.lostThreads;
    }
    const { lines, runs, counts } = core;
    return counts.snapshot(lines.length, runs.size, workers, lostThreads);
  }

  /**
   * Returns the members and their counts, in the order in which they were added.
   *
   * @returns A copy.
   */
  memberStats(): readonly MemberStats[] {
    const core = this.#core;
    const nowMs = core.nowMs();
    return Object.freeze(
      [...core.members.values()].map((member) => member.stats(nowMs)),
    );
  }

  /** Whether jobs of this balancer may come to another one. */
  #leadsTo(other: LoadBalancer): boolean {
    if (this === other) return true;
    for (const executor of this.#core.members.keys()) {
      if (executor instanceof LoadBalancer && executor.#leadsTo(other)) {
        return true;
      }
    }
    return false;
  }

  #nextName(): string {
    let name: string;
    do name = `member ${++this.#names}`; while (this.#core.named.has(name));
    return name;
  }

  #find(member: Executor | string, what: string): Member {
    const { named, members } = this.#core;
    const found = typeof member === "string"
      ? named.get(member)
      : members.get(member);
    if (found !== undefined) return found;
    throw new MisuseError(
      `Cannot ${what}: ${
        inspect(member)
      } is no member of ${this.#core.inWords}`,
    );
  }

  #refuseShutDown(what: string): void {
    if (this.#core.phase === "open") return;
    throw new ExecutorShutDownError(
      `Cannot ${what}: ${this.#core.inWords} was shut down`,
    );
  }

  /**
   * Name of the class in messages and inspections.
   *
   * @returns `"LoadBalancer"`.
   */
  get [Symbol.toStringTag](): string {
    return "LoadBalancer";
  }
}

/** Default weight of a member. */
function weightOf({ capacity }: Executor): number {
  return capacity > 0 && capacity < Infinity ? capacity : 1;
}

/** Options with which a job is handed to a member. Its signal stays here: it cancels the member's future. */
function handedOptions(settings: JobSettings): SubmitOptions {
  const { name, rank, key, deadlineMs, transfer, idempotent, onProgress } =
    settings;
  return {
    name,
    priority: rank,
    key,
    deadlineMs: deadlineMs === Infinity ? undefined : deadlineMs,
    transfer,
    idempotent,
    onProgress: onProgress ?? undefined,
  };
}
