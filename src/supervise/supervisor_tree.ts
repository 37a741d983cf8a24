/**
 * A tree of supervisors and their children as it is at a moment, and its text.
 *
 * @module
 */
import type { ChildEnd } from "./child_end.ts";
import type { ChildType } from "./child_spec.ts";
import { inText } from "./shutdown_report.ts";
import type { SupervisorCore } from "./supervisor_core.ts";
import type { RestartStrategy } from "./supervisor_options.ts";

/** A child in a {@linkcode SupervisorTree}. */
export interface ChildTree {
  /** Id of the child. */
  readonly id: string;
  /** Whether it is a supervisor. */
  readonly type: ChildType;
  /** State: as in {@linkcode ChildRun}, or `"restarting"`, `"stopped"`. */
  readonly state:
    | "starting"
    | "running"
    | "stopping"
    | "ended"
    | "restarting"
    | "stopped";
  /** How often it was restarted. */
  readonly restarts: number;
  /** How its last run has ended; `null` if none has. */
  readonly lastEnd: ChildEnd | null;
  /** Milliseconds until it is restarted; `null` if no delay runs. */
  readonly restartInMs: number | null;
  /**
   * How many earlier runs of it were abandoned and go on. While there are any, a child in
   * the state `"restarting"` waits for their end, unless it has `allowOverlap`.
   */
  readonly abandonedRuns: number;
  /** The tree under it, if it is a supervisor that runs. */
  readonly supervisor: SupervisorTree | null;
}

/** State of a supervisor: `"new"` before the start. */
export type TreeState = "new" | "starting" | "running" | "stopping" | "ended";

/** Snapshot of a supervisor, from {@linkcode Supervisor.tree}. Its text shows it in lines. */
export class SupervisorTree {
  /** Name of the supervisor, or the path of the child that it is. */
  readonly name: string;
  /** Strategy; `"dynamic"` for a dynamic supervisor. */
  readonly strategy: RestartStrategy | "dynamic";
  /** State of the supervisor. */
  readonly state: TreeState;
  /** How many restarts it has made; a group that is restarted together counts once. */
  readonly restarts: number;
  /** The children, in start order. */
  readonly children: readonly ChildTree[];

  /**
   * Made by {@linkcode Supervisor.tree}.
   *
   * @ignore
   */
  constructor(
    name: string,
    strategy: RestartStrategy | "dynamic",
    state: TreeState,
    restarts: number,
    children: readonly ChildTree[],
  ) {
    this.name = name;
    this.strategy = strategy;
    this.state = state;
    this.restarts = restarts;
    this.children = children;
  }

  /**
   * Returns the tree as text, a line for each supervisor and child.
   *
   * @returns The lines, joined.
   */
  toString(): string {
    return [
      `${this.name} (${describe(this)})`,
      ...linesOf(this),
    ].join("\n");
  }

  /**
   * Shows the text in `console.log` and `Deno.inspect`.
   *
   * @returns The text.
   */
  [Symbol.for("Deno.customInspect")](): string {
    return this.toString();
  }
}

function describe(tree: SupervisorTree): string {
  return `${tree.strategy}, ${tree.state}${restartsInWords(tree.restarts)}`;
}

function restartsInWords(restarts: number): string {
  if (restarts === 0) return "";
  return restarts === 1 ? ", 1 restart" : `, ${restarts} restarts`;
}

function linesOf(tree: SupervisorTree): string[] {
  const last = tree.children.length - 1;
  return tree.children.flatMap((child, index) => {
    const [branch, stem] = index === last ? ["└─ ", "   "] : ["├─ ", "│  "];
    const { supervisor } = child;
    const about = supervisor === null
      ? aboutChild(child)
      : describe(supervisor);
    const own = `${branch}${child.id} (${about})`;
    if (supervisor === null) return [own];
    return [own, ...linesOf(supervisor).map((line) => stem + line)];
  });
}

function aboutChild(child: ChildTree): string {
  const { state, restarts, restartInMs, abandonedRuns, lastEnd } = child;
  const when = restartInMs === null ? "" : ` in ${Math.round(restartInMs)} ms`;
  const isHeldUp = state === "restarting" && restartInMs === null;
  const held = abandonedRuns === 0
    ? ""
    : `${isHeldUp ? " after" : ", beside"} ${
      abandonedRuns === 1
        ? "an abandoned run"
        : `${abandonedRuns} abandoned runs`
    }`;
  const end = lastEnd === null || state === "running"
    ? ""
    : `, ${lastEnd.kind}${errorOf(lastEnd)}`;
  return `${state}${when}${held}${end}${restartsInWords(restarts)}`;
}

/** The first line of the message of a crash: the tree has a line for each child. */
function errorOf(end: ChildEnd): string {
  if (end.kind !== "crash" || !(end.error instanceof Error)) return "";
  return `: ${inText(end.error).split("\n", 1)[0]}`;
}

/**
 * Takes a snapshot of a supervisor that was started.
 *
 * @param inside Returns the tree under a child, given the value that it has handed
 * over when it was ready.
 */
export function treeOf(
  core: SupervisorCore,
  inside: (value: unknown) => SupervisorTree | null,
): SupervisorTree {
  const children = core.children.list.toArray().map((child): ChildTree => {
    const { id, settings, status, run, restarts, lastEnd, delay } = child;
    const starts = run !== null && run.outcome === null;
    const state = starts
      ? "starting"
      : status === "running"
      ? run!.state
      : status;
    return {
      id,
      type: settings.type,
      state,
      restarts,
      lastEnd,
      restartInMs: delay === null
        ? null
        : Math.max(0, delay.untilMs - core.loop.time()),
      abandonedRuns: core.leftoversOf(child)?.length ?? 0,
      // A worker may hand over a supervisor, even that above it.
      supervisor: settings.type === "supervisor" && status === "running" &&
          run!.end === null
        ? inside(run!.value)
        : null,
    };
  });
  const { settings, state, restarts } = core;
  return new SupervisorTree(
    core.path,
    settings.strategy,
    state,
    restarts.made,
    children,
  );
}
