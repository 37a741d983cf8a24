/**
 * Options of supervisors, and their checks.
 *
 * @module
 */
import { ChildSpecError } from "../errors.ts";
import {
  checkInteger,
  checkOneOf,
  checkOptions,
  checkString,
  inspect,
} from "../loop/checks.ts";
import { checkPositive, checkSeed } from "../workers/checks.ts";
import { Backoff, type BackoffOptions } from "./backoff.ts";
import { Child } from "./child.ts";
import { Children } from "./children.ts";
import {
  checkSignificance,
  checkSpec,
  type ChildOptions,
  ChildSettings,
  type ChildSpec,
} from "./child_spec.ts";

/**
 * Strategy: who is restarted with a child.
 *
 * - `"one-for-one"`: nobody;
 * - `"one-for-all"`: all children;
 * - `"rest-for-one"`: the children that were started after it.
 */
export type RestartStrategy = "one-for-one" | "one-for-all" | "rest-for-one";

/**
 * Whether a supervisor ends when significant children end by themselves and are not
 * restarted: never, with the first, or when none is left.
 */
export type AutoShutdown = "never" | "any-significant" | "all-significant";

/** Options that all supervisors have. */
export interface CommonSupervisorOptions {
  /**
   * Name in messages.
   *
   * @default {"supervisor"}
   */
  readonly name?: string | undefined;
  /**
   * How many restarts there may be within `withinMs`: one more, and the supervisor
   * stops all children and ends with a {@linkcode RestartLimitError}.
   *
   * @default {3}
   */
  readonly maxRestarts?: number | undefined;
  /**
   * The time within which restarts count, in milliseconds.
   *
   * @default {5_000}
   */
  readonly withinMs?: number | undefined;
  /**
   * Whether the supervisor ends when significant children do.
   *
   * @default {"never"}
   */
  readonly autoShutdown?: AutoShutdown | undefined;
  /**
   * Accepts `autoShutdown` without a significant child, as OTP does: for a supervisor
   * to which significant children are added later.
   *
   * @default {false}
   */
  readonly significantLater?: boolean | undefined;
  /**
   * Delays of restarts, for children that have none of their own; `null` for none.
   *
   * @default {null}
   */
  readonly backoff?: BackoffOptions | null | undefined;
  /**
   * Seed of the random part of the delays: a safe integer.
   *
   * @default {a different one for each supervisor, in each process}
   */
  readonly seed?: number | undefined;
  /**
   * Whether crashes of children, starts that fail in a restart, and silent exits, when a
   * permanent child just returns, are reported to the exception handler of the loop, each
   * once, as OTP logs them.
   *
   * @default {true}
   */
  readonly reportCrashes?: boolean | undefined;
}

/** Options of a {@linkcode Supervisor}. */
export interface SupervisorOptions extends CommonSupervisorOptions {
  /**
   * Strategy: who is restarted with a child.
   *
   * @default {"one-for-one"}
   */
  readonly strategy?: RestartStrategy | undefined;
  /**
   * The children, in the order in which they are started.
   *
   * @default {[]}
   */
  readonly children?: readonly ChildSpec[] | undefined;
}

/** Options of a {@linkcode DynamicSupervisor}. */
export interface DynamicSupervisorOptions extends CommonSupervisorOptions {
  /**
   * When its children are restarted, how they are stopped, and so on: the same for
   * all.
   *
   * @default {{}}
   */
  readonly child?: ChildOptions | undefined;
  /**
   * How many children there may be at a time.
   *
   * @default {Infinity}
   */
  readonly maxChildren?: number | undefined;
}

/** The options of any supervisor, checked, each with its value. */
export interface SupervisorSettings {
  readonly name: string;
  readonly strategy: RestartStrategy | "dynamic";
  readonly maxRestarts: number;
  readonly withinMs: number;
  readonly autoShutdown: AutoShutdown;
  readonly backoff: Backoff | null;
  readonly seed: number | undefined;
  readonly reportCrashes: boolean;
  readonly maxChildren: number;
}

const STRATEGIES: readonly RestartStrategy[] = [
  "one-for-one",
  "one-for-all",
  "rest-for-one",
];
const AUTO_SHUTDOWNS: readonly AutoShutdown[] = [
  "never",
  "any-significant",
  "all-significant",
];
const BOOLEANS: readonly boolean[] = [true, false];

/** Checks the options of a supervisor and fills in the defaults. */
export function settleSupervisor(
  options: SupervisorOptions,
  what: string,
): SupervisorSettings {
  checkOptions(options, what);
  const { strategy = "one-for-one" } = options;
  checkOneOf(strategy, STRATEGIES, what, "strategy");
  return settle(options, strategy, Infinity, what);
}

/** The same for a dynamic supervisor. */
export function settleDynamic(
  options: DynamicSupervisorOptions,
  what: string,
): SupervisorSettings {
  checkOptions(options, what);
  const { maxChildren = Infinity } = options;
  checkInteger(maxChildren, 0, what, "maxChildren", "or Infinity");
  return settle(options, "dynamic", maxChildren, what);
}

function settle(
  options: CommonSupervisorOptions,
  strategy: RestartStrategy | "dynamic",
  maxChildren: number,
  what: string,
): SupervisorSettings {
  const {
    name = "supervisor",
    maxRestarts = 3,
    withinMs = 5_000,
    autoShutdown = "never",
    backoff = null,
    seed,
    reportCrashes = true,
  } = options;
  checkString(name, what, "name");
  checkInteger(maxRestarts, 0, what, "maxRestarts", "or Infinity");
  checkPositive(withinMs, what, "withinMs");
  checkOneOf(autoShutdown, AUTO_SHUTDOWNS, what, "autoShutdown");
  checkOneOf(
    options.significantLater ?? false,
    BOOLEANS,
    what,
    "significantLater",
  );
  if (seed !== undefined) checkSeed(seed, what, "seed");
  checkOneOf(reportCrashes, BOOLEANS, what, "reportCrashes");
  return {
    name,
    strategy,
    maxRestarts,
    withinMs,
    autoShutdown,
    backoff: backoff === null ? null : new Backoff(backoff, what),
    seed,
    reportCrashes,
    maxChildren,
  };
}

/** Checks the children of a supervisor, each by itself and all together. */
export function settleChildren(
  options: SupervisorOptions,
  settings: SupervisorSettings,
  what: string,
): Children {
  const { children: specs = [], significantLater = false } = options;
  if (!Array.isArray(specs)) {
    throw new TypeError(
      `Cannot ${what} as children must be an array: received ${inspect(specs)}`,
    );
  }
  const children = new Children(true);
  const ids = new Set<string>();
  let hasSignificant = false;
  for (const spec of specs as readonly ChildSpec[]) {
    const child = settleChild(spec, settings, what);
    const { id } = child;
    if (ids.has(id)) {
      throw new ChildSpecError(
        `Cannot ${what} as the id of a child must be unique: received ${
          inspect(id)
        } twice`,
        "duplicate-id",
        id,
      );
    }
    checkSignificance(child.settings, id, settings.autoShutdown, what);
    hasSignificant ||= child.settings.significant;
    ids.add(id);
    children.add(child);
  }
  if (!hasSignificant && !significantLater) {
    checkUse(settings.autoShutdown, what);
  }
  return children;
}

/** Checks the options that the children of a dynamic supervisor share. */
export function settleTemplate(
  options: DynamicSupervisorOptions,
  settings: SupervisorSettings,
  what: string,
): ChildSettings {
  const { child = {}, significantLater = false } = options;
  checkOptions(child, what, "child");
  const template = new ChildSettings(child, "child", settings.backoff, what);
  checkSignificance(template, "child", settings.autoShutdown, what);
  if (!template.significant && !significantLater) {
    checkUse(settings.autoShutdown, what);
  }
  return template;
}

/** Throws if `autoShutdown` has no child to look at. */
function checkUse(autoShutdown: AutoShutdown, what: string): void {
  if (autoShutdown === "never") return;
  throw new ChildSpecError(
    `Cannot ${what} as autoShutdown must be "never" if no child is significant: received ${
      inspect(autoShutdown)
    }, set significantLater to add one later`,
    "nothing-significant",
  );
}

/** Checks a spec by itself, but for whether it may be significant. */
export function settleChild(
  spec: ChildSpec,
  settings: SupervisorSettings,
  what: string,
): Child {
  checkSpec(spec, what);
  const own = new ChildSettings(spec, spec.id, settings.backoff, what);
  return new Child(spec.id, spec.start, own);
}
