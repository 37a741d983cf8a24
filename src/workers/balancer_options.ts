/**
 * Options and counts of a load balancer, and their checks.
 *
 * @module
 */
import {
  checkInteger,
  checkNotNegative,
  checkOneOf,
  checkOptions,
  checkString,
  inspect,
} from "../loop/checks.ts";
import {
  OVERLOAD_STRATEGIES,
  type OverloadStrategy,
} from "../schedule/concurrency_limit_options.ts";
import { BALANCING_STRATEGIES, type BalancingStrategy } from "./balancing.ts";
import { checkAtLeast, checkPositive, checkSeed, nextSeed } from "./checks.ts";
import type { Executor } from "./executor.ts";

/**
 * When a member of a {@linkcode LoadBalancer} is ejected, so that it gets no
 * jobs, and when it is tried again.
 *
 * Errors of the jobs themselves do not count against a member. Never more than
 * half of the members are ejected at a time.
 */
export interface EjectionOptions {
  /**
   * Crashes in a row, failed starts among them, after which a member is ejected.
   * `Infinity` means never.
   *
   * @default {3}
   */
  readonly crashesMax?: number | undefined;
  /**
   * How many times the median of the others' run times that of a member may be:
   * beyond that it is ejected. `Infinity` means never. Set that, too, if members
   * get jobs of different kinds, as with `"hash"`.
   *
   * @default {5}
   */
  readonly slowFactor?: number | undefined;
  /**
   * Average run time up to which no member counts as slow.
   *
   * @default {10}
   */
  readonly slowMinMs?: number | undefined;
  /**
   * How many recent jobs a member must have run before its run time is compared.
   *
   * @default {20}
   */
  readonly samplesMin?: number | undefined;
  /**
   * How long the first ejection takes. Then the member gets one job. If that
   * crashes, or is too slow again, the next ejection takes twice as long.
   *
   * @default {1_000}
   */
  readonly backoffMs?: number | undefined;
  /**
   * Most that an ejection takes.
   *
   * @default {60_000}
   */
  readonly backoffMaxMs?: number | undefined;
}

/** Options of a {@linkcode LoadBalancer}. */
export interface LoadBalancerOptions {
  /** Name in messages. */
  readonly name?: string | undefined;
  /**
   * Rule by which a job gets its member.
   *
   * - `"round-robin"`: members take turns.
   * - `"least-pending"`: the member with the fewest jobs for its weight, in line
   *   and running. Looks at all members.
   * - `"least-busy"`: the same, times the average run time there, in which old
   *   jobs count less and less. Looks at all members.
   * - `"power-of-two"`: of two members that chance draws, the one with fewer jobs
   *   for its weight. Almost as good as looking at all.
   * - `"weighted"`: members take turns, as often as their weight says.
   * - `"hash"`: jobs with the same `key` go to the same member. When one of `n`
   *   members comes or goes, some `1/n` of the keys move. Jobs without a key go
   *   by `"power-of-two"`.
   *
   * @default {"power-of-two"}
   */
  readonly strategy?: BalancingStrategy | undefined;
  /**
   * Whether members that have nothing to do take jobs from the longest line of
   * another: the oldest of the highest priority. Jobs that `"hash"` has placed by
   * their key stay where they are.
   *
   * @default {true}
   */
  readonly stealing?: boolean | undefined;
  /**
   * Time in which the share of a new member grows from a tenth to all that its
   * weight says: of one that is added after the first job, or was ejected. 0
   * gives it all at once.
   *
   * @default {1_000}
   */
  readonly slowStartMs?: number | undefined;
  /**
   * Time after which a run time counts for 37 % in the average of its member.
   *
   * @default {10_000}
   */
  readonly averageMs?: number | undefined;
  /**
   * How often a job is begun again at most after its member has crashed, if it is
   * `idempotent` and transfers nothing; on another member, if there is one.
   *
   * @default {2}
   */
  readonly retriesMax?: number | undefined;
  /** When members are ejected; `false` for never. */
  readonly ejection?: EjectionOptions | false | undefined;
  /**
   * Most jobs that may be in line, those included that wait for a first member;
   * `overload` decides about the next one. Jobs that are with a member do not
   * count.
   *
   * @default {Infinity}
   */
  readonly highWaterMark?: number | undefined;
  /**
   * Fate of a job that finds the lines full, as with a {@linkcode ConcurrencyLimit}.
   * Dropping a job takes time in proportion to the number of members.
   *
   * @default {"block"}
   */
  readonly overload?: OverloadStrategy | undefined;
  /**
   * Whether members are shut down when the balancer is, or when they are removed.
   *
   * @default {true}
   */
  readonly ownsMembers?: boolean | undefined;
  /**
   * Seed of the random numbers: a safe integer.
   *
   * @default {a different one for each balancer}
   */
  readonly seed?: number | undefined;
}

/** Options of {@linkcode LoadBalancer.add}. */
export interface MemberOptions {
  /**
   * Name, by which `"hash"` places the member: with the same names, keys go to
   * the same members in every process.
   *
   * @default {"member 1" and so on}
   */
  readonly name?: string | undefined;
  /**
   * Share in the jobs, beside those of others. `"round-robin"` does not go by it.
   *
   * @default {the capacity of the member, or 1 if that is infinite or 0}
   */
  readonly weight?: number | undefined;
}

/** Options of {@linkcode LoadBalancer.remove}. */
export interface RemoveOptions {
  /**
   * Whether the member is shut down once its jobs have ended.
   *
   * @default {ownsMembers of the balancer}
   */
  readonly shutdown?: boolean | undefined;
}

/**
 * State of a member: it takes jobs (`"ready"`), takes less than its share as it
 * is new (`"warming"`), gets none after failures (`"ejected"`), has one to see
 * whether that is over (`"probing"`), or only ends those that it has
 * (`"draining"`).
 */
export type MemberState =
  | "ready"
  | "warming"
  | "ejected"
  | "probing"
  | "draining";

/** A member and its counts, from {@linkcode LoadBalancer.memberStats}. */
export interface MemberStats {
  /** The member itself. */
  readonly executor: Executor;
  /** Name under which it was added. */
  readonly name: string;
  /** Share of the jobs that it gets beside others, where weights count. */
  readonly weight: number;
  /** Whether it takes jobs, and which. */
  readonly state: MemberState;
  /** Jobs in its line. */
  readonly queued: number;
  /** Jobs that it has been given. */
  readonly running: number;
  /** Jobs that returned a result there. */
  readonly done: number;
  /** Jobs that failed there with an error of their own. */
  readonly failed: number;
  /** Jobs that were cancelled there, or missed their deadline. */
  readonly cancelled: number;
  /** Jobs that failed there, or were begun again elsewhere, because a worker died. */
  readonly crashed: number;
  /** Jobs that it has taken from the lines of others. */
  readonly stolen: number;
  /** Average run time, in which old jobs count less; `NaN` before there is one. */
  readonly averageRunMs: number;
  /** How often it was ejected, failed probes included. */
  readonly ejections: number;
}

/** Rules of ejection, checked and complete. */
export interface EjectionSettings {
  readonly crashesMax: number;
  readonly slowFactor: number;
  readonly slowMinMs: number;
  readonly samplesMin: number;
  readonly backoffMs: number;
  readonly backoffMaxMs: number;
}

/** Options of a balancer, checked and complete. */
export interface BalancerSettings {
  readonly name: string;
  readonly strategy: BalancingStrategy;
  readonly stealing: boolean;
  readonly slowStartMs: number;
  readonly averageMs: number;
  readonly retriesMax: number;
  readonly ejection: EjectionSettings;
  readonly highWaterMark: number;
  readonly overload: OverloadStrategy;
  readonly ownsMembers: boolean;
  readonly seed: number;
}

const CREATE = "create a load balancer";
const NO_EJECTION: EjectionOptions = {
  crashesMax: Infinity,
  slowFactor: Infinity,
};

/** Checks the options of a balancer and fills in the defaults. */
export function settleBalancerOptions(
  options: LoadBalancerOptions,
): BalancerSettings {
  checkOptions(options, CREATE);
  const {
    name = "",
    strategy = "power-of-two",
    stealing = true,
    slowStartMs = 1_000,
    averageMs = 10_000,
    retriesMax = 2,
    highWaterMark = Infinity,
    overload = "block",
    ownsMembers = true,
    seed = nextSeed(),
  } = options;
  checkString(name, CREATE, "name");
  checkOneOf(strategy, BALANCING_STRATEGIES, CREATE, "strategy");
  checkOneOf(stealing, [true, false], CREATE, "stealing");
  checkNotNegative(slowStartMs, CREATE, "slowStartMs");
  checkPositive(averageMs, CREATE, "averageMs");
  checkInteger(retriesMax, 0, CREATE, "retriesMax", "or Infinity");
  checkInteger(highWaterMark, 0, CREATE, "highWaterMark", "or Infinity");
  checkOneOf(overload, OVERLOAD_STRATEGIES, CREATE, "overload");
  checkOneOf(ownsMembers, [true, false], CREATE, "ownsMembers");
  checkSeed(seed, CREATE, "seed");
  return {
    name,
    strategy,
    stealing,
    slowStartMs,
    averageMs,
    retriesMax,
    ejection: settleEjection(options.ejection),
    highWaterMark,
    overload,
    ownsMembers,
    seed,
  };
}

function settleEjection(
  options: EjectionOptions | false | undefined,
): EjectionSettings {
  const given = options === false ? NO_EJECTION : options ?? {};
  checkOptions(given, CREATE);
  const {
    crashesMax = 3,
    slowFactor = 5,
    slowMinMs = 10,
    samplesMin = 20,
    backoffMs = 1_000,
    backoffMaxMs = Math.max(60_000, backoffMs),
  } = given;
  checkInteger(crashesMax, 1, CREATE, "ejection.crashesMax", "or Infinity");
  checkAtLeast(slowFactor, 1, CREATE, "ejection.slowFactor", "");
  checkNotNegative(slowMinMs, CREATE, "ejection.slowMinMs");
  checkInteger(samplesMin, 1, CREATE, "ejection.samplesMin");
  checkPositive(backoffMs, CREATE, "ejection.backoffMs");
  checkAtLeast(backoffMaxMs, backoffMs, CREATE, "ejection.backoffMaxMs");
  return {
    crashesMax,
    slowFactor,
    slowMinMs,
    samplesMin,
    backoffMs,
    backoffMaxMs,
  };
}

/** Throws unless `weight` is a positive number that is not infinite. */
export function checkMemberWeight(weight: unknown, what: string): void {
  if (typeof weight !== "number") {
    throw new TypeError(
      `Cannot ${what} as weight must be a number: received ${inspect(weight)}`,
    );
  }
  if (!(weight > 0 && weight < Infinity)) {
    throw new RangeError(
      `Cannot ${what} as weight must be > 0 and finite: received ${weight}`,
    );
  }
}
