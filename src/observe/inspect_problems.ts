/**
 * Problems of a loop, as the inspector tells them: deadlocks, blocks, children and
 * pools that have failed.
 *
 * @module
 */
import type { Task } from "../loop/task.ts";
import { peekError } from "../loop/waiters.ts";
import type { ChildEnd } from "../supervise/child_end.ts";
import type {
  ChildTree,
  SupervisorTree,
} from "../supervise/supervisor_tree.ts";
import type { ExecutorStats } from "../workers/executor.ts";
import { nameText } from "./task_text.ts";
import type { RingTask, TaskRef } from "./task_tree.ts";

/** Something that is wrong, in an {@linkcode InspectorState}. */
export interface InspectorProblem {
  /** Kind of the problem. */
  readonly kind: "deadlock" | "blocked" | "supervisor" | "child" | "pool";
  /** `"error"` if something does not work now, `"warning"` if it did not lately. */
  readonly level: "error" | "warning";
  /** Description in a line. */
  readonly title: string;
  /** More about it, a line each. */
  readonly details: readonly string[];
  /** The tasks concerned. */
  readonly tasks: readonly TaskRef[];
  /** When it was noticed, on the loop's clock; `null` if it goes on, or that is not known. */
  readonly atMs: number | null;
  /** When a child is going to be restarted, on the loop's clock; `null` for all else. */
  readonly dueMs: number | null;
}

/** Time in which a loop did nothing, in an {@linkcode InspectorState}. */
export interface InspectorBlock {
  /** `"suspended"` if the process or the machine was stopped meanwhile. */
  readonly kind: "blocked" | "suspended";
  /** End of it, on the loop's clock. */
  readonly atMs: number;
  /** How long it was, or a timer was late. */
  readonly forMs: number;
  /** The task whose step it was; `null` for a callback, and if it is not known. */
  readonly task: TaskRef | null;
  /** Name of the task or callback; `null` if it is not known. */
  readonly name: string | null;
}

/** A supervisor in an {@linkcode InspectorState}. */
export interface InspectedSupervisor
  extends Omit<SupervisorTree, "children" | "toString"> {
  /** Error by which it has ended; `null` if there is none. */
  readonly error: string | null;
  /** Children, in start order; of more than 200 those that have failed and then the first ones. */
  readonly children: readonly InspectedChild[];
  /** How many children are not listed. */
  readonly hidden: number;
}

/** A child in an {@linkcode InspectedSupervisor}. */
export interface InspectedChild
  extends Omit<ChildTree, "lastEnd" | "supervisor"> {
  /** How its last run has ended, in words; `null` if none has. */
  readonly lastEnd: string | null;
  /** Whether it should run and does not, or its last run has crashed. */
  readonly trouble: "down" | "crashed" | null;
  /** The supervisor that it is, if it is one that runs. */
  readonly supervisor: InspectedSupervisor | null;
}

/** The last crash of a child. */
export interface ChildCrash {
  readonly supervisor: string;
  readonly childId: string;
  readonly atMs: number;
  /** The error, in a line. */
  readonly error: string;
}

/** All that problems are found in. */
export interface Findings {
  readonly now: number;
  readonly rings: readonly (readonly RingTask[])[];
  readonly blocks: readonly InspectorBlock[];
  readonly supervisors: readonly InspectedSupervisor[];
  readonly pools: readonly (readonly [string, ExecutorStats])[];
  /** Crashes of the last minute, by the path of the child. */
  readonly crashes: ReadonlyMap<string, ChildCrash>;
  /** When the crashes of a pool were last seen to grow; null if not lately. */
  readonly grewMs: (pool: string, value: number) => number | null;
}

/** How many children of a supervisor are listed. */
const CHILDREN_MAX = 200;
/** How many problems of a kind are told. */
const PROBLEMS_MAX = 20;
/** How many lines a deadlock has. */
const LINES_MAX = 10;
/** From when on a block is an error. */
const LONG_BLOCK_MS = 1_000;

// -- Supervisors --

/**
 * Describes a supervisor as plain data.
 *
 * @param task The task of the supervisor; null if it is a child.
 */
export function describeSupervisor(
  tree: SupervisorTree,
  task: Task<void> | null,
): InspectedSupervisor {
  const { name, strategy, state, restarts } = tree;
  const all = tree.children.map(describeChild);
  const children = all.length <= CHILDREN_MAX
    ? all
    : [...all].sort((a, b) => Number(!a.trouble) - Number(!b.trouble))
      .slice(0, CHILDREN_MAX);
  return {
    name,
    strategy,
    state,
    restarts,
    error: task?.failed() === true ? errorText(task[peekError]()) : null,
    children,
    hidden: all.length - children.length,
  };
}

function describeChild(child: ChildTree): InspectedChild {
  const { lastEnd, supervisor } = child;
  return {
    ...child,
    lastEnd: lastEnd === null ? null : endText(lastEnd),
    trouble: troubleOf(child),
    supervisor: supervisor === null
      ? null
      : describeSupervisor(supervisor, null),
  };
}

function troubleOf(
  { state, lastEnd, abandonedRuns }: ChildTree,
): InspectedChild["trouble"] {
  const hasFailed = lastEnd !== null &&
    ["crash", "abandoned"].includes(lastEnd.kind);
  if (state === "restarting" || abandonedRuns > 0) return "down";
  if (!hasFailed) return null;
  return state === "running" ? "crashed" : "down";
}

function endText(end: ChildEnd): string {
  if (end.kind === "crash") return `crashed: ${errorText(end.error)}`;
  if (end.kind === "abandoned") return `abandoned: waits for ${end.waitsFor}`;
  return end.kind;
}

/** An error in a line. Nothing that it throws gets out. */
export function errorText(error: unknown): string {
  try {
    return nameText(
      error instanceof Error
        ? `${error.name}: ${error.message}`
        : String(error),
    );
  } catch {
    return "an error that cannot be shown";
  }
}

// -- Problems --

/** Finds what is wrong, the worst first. */
export function findProblems(findings: Findings): InspectorProblem[] {
  const { rings, blocks, supervisors, pools, grewMs } = findings;
  const children: InspectorProblem[] = [];
  const known = new Set<string>();
  for (const supervisor of supervisors) {
    addSupervisor(children, supervisor, findings, known);
  }
  for (const [path, crash] of findings.crashes) {
    if (!known.has(path)) children.push(goneProblem(crash));
  }
  const all = [
    rings.map(deadlock),
    blocked(blocks),
    children,
    pools.flatMap(([name, stats]) => poolProblems(name, stats, grewMs)),
  ].flatMap((problems) => problems.slice(0, PROBLEMS_MAX));
  return [
    ...all.filter(({ level }) => level === "error"),
    ...all.filter(({ level }) => level === "warning"),
  ];
}

function deadlock(ring: readonly RingTask[]): InspectorProblem {
  const details = ring.slice(0, LINES_MAX).map(
    ({ name, kind, target }, index) => {
      const next = ring[(index + 1) % ring.length]!;
      const what = target === null || kind === "task"
        ? ""
        : ` for ${nameText(target)}, held by`;
      return `${nameText(name)} waits${what === "" ? " for" : what} ${
        nameText(next.name)
      }`;
    },
  );
  const more = ring.length - details.length;
  if (more > 0) details.push(`… and ${more} more`);
  return {
    kind: "deadlock",
    level: "error",
    title: ring.length === 1
      ? "Deadlock: a task waits for itself"
      : `Deadlock: ${ring.length} tasks wait for one another`,
    details,
    tasks: ring.slice(0, LINES_MAX).map(({ id, name }) => ({ id, name })),
    atMs: null,
    dueMs: null,
  };
}

/** Makes one problem for each task or callback that blocked the loop, the latest first. */
function blocked(blocks: readonly InspectorBlock[]): InspectorProblem[] {
  const groups = Map.groupBy(
    blocks.toReversed(),
    ({ kind, task, name }) => `${kind} ${task?.id} ${name}`,
  );
  return [...groups.values()].map((group) => {
    const { kind, name, task, atMs } = group[0]!;
    const longestMs = Math.max(...group.map(({ forMs }) => forMs));
    const who = name === null
      ? "Something outside of tasks and callbacks"
      : `${task === null ? "Callback" : "Task"} ${nameText(name)}`;
    const what = kind === "suspended"
      ? "The process was suspended"
      : `${who} blocked the loop`;
    const often = group.length === 1
      ? ""
      : ` at most, ${group.length} times in the last minute`;
    return {
      kind: "blocked",
      level: kind === "blocked" && longestMs >= LONG_BLOCK_MS
        ? "error"
        : "warning",
      title: `${what} for ${timeText(longestMs)}${often}`,
      details: kind === "blocked" && name === null
        ? ["code behind a foreign promise, or too much that was ready"]
        : [],
      tasks: task === null ? [] : [task],
      atMs,
      dueMs: null,
    };
  });
}

function addSupervisor(
  problems: InspectorProblem[],
  supervisor: InspectedSupervisor,
  findings: Findings,
  known: Set<string>,
): void {
  const { name, error, children } = supervisor;
  if (error !== null) {
    problems.push(problem("supervisor", "error", {
      title: `Supervisor ${nameText(name)} has failed`,
      details: [error],
    }));
  }
  for (const child of children) {
    const path = `${name}/${child.id}`;
    known.add(path);
    const crash = findings.crashes.get(path);
    if (child.trouble === "down") {
      problems.push(downProblem(name, child, findings.now));
    } else if (crash !== undefined) {
      problems.push(problem("child", "warning", {
        title: `${childName(name, child.id)} crashed and was restarted`,
        details: detailsOf(child),
        atMs: crash.atMs,
      }));
    }
    if (child.supervisor !== null) {
      addSupervisor(problems, child.supervisor, findings, known);
    }
  }
}

/** A child that has crashed, and that its supervisor has forgotten. */
function goneProblem(
  { supervisor, childId, atMs, error }: ChildCrash,
): InspectorProblem {
  return problem("child", "error", {
    title: `${childName(supervisor, childId)} crashed and is not restarted`,
    details: [error],
    atMs,
  });
}

function downProblem(
  supervisor: string,
  child: InspectedChild,
  now: number,
): InspectorProblem {
  const { id, state, restartInMs } = child;
  const isDue = state === "restarting" && restartInMs !== null;
  return problem("child", "error", {
    title: `${childName(supervisor, id)} is down${
      isDue ? ", restarting" : `: ${state}`
    }`,
    details: detailsOf(child),
    dueMs: isDue ? now + restartInMs : null,
  });
}

function childName(supervisor: string, id: string): string {
  return `Child ${nameText(id)} of ${nameText(supervisor)}`;
}

function detailsOf(
  { lastEnd, restarts, abandonedRuns }: InspectedChild,
): string[] {
  const details = lastEnd === null ? [] : [lastEnd];
  if (restarts > 0) {
    details.push(`${restarts} restart${restarts === 1 ? "" : "s"} until now`);
  }
  if (abandonedRuns > 0) details.push(`${abandonedRuns} abandoned runs go on`);
  return details;
}

function poolProblems(
  name: string,
  { lostThreads, crashed }: ExecutorStats,
  grewMs: Findings["grewMs"],
): InspectorProblem[] {
  const problems: InspectorProblem[] = [];
  if (lostThreads > 0) {
    problems.push(problem("pool", "error", {
      title: `Pool ${nameText(name)} has lost ${lostThreads} thread${
        lostThreads === 1 ? "" : "s"
      }`,
      details: ["killed, but in native code that does not return"],
    }));
  }
  const atMs = grewMs(name, crashed);
  if (atMs !== null) {
    problems.push(problem("pool", "warning", {
      title: `Workers of pool ${nameText(name)} crashed`,
      details: [`${crashed} jobs lost until now`],
      atMs,
    }));
  }
  return problems;
}

function problem(
  kind: "supervisor" | "child" | "pool",
  level: "error" | "warning",
  { title, details, atMs = null, dueMs = null }: {
    title: string;
    details: readonly string[];
    atMs?: number | null;
    dueMs?: number | null;
  },
): InspectorProblem {
  return { kind, level, title, details, tasks: [], atMs, dueMs };
}

function timeText(ms: number): string {
  return ms < 1_000 ? `${Math.round(ms)} ms` : `${(ms / 1_000).toFixed(1)} s`;
}
