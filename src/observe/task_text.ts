/**
 * Task tree as text, and written out on a signal.
 *
 * @module
 */
import type { TaskPlace } from "./task_places.ts";
import type {
  HiddenTasks,
  RingTask,
  TaskRef,
  TaskTree,
  TreeTask,
  TreeWait,
} from "./task_tree.ts";

/** Lines of a tree. */
export function linesOfTree(tree: TaskTree): string[] {
  const lines = [
    `${count(tree.total, "task")} at turn ${tree.turn}: ${statesOf(tree)}`,
  ];
  for (const ring of tree.rings) lines.push(...linesOfRing(ring));
  /** Whether more siblings follow, for each level above. */
  const more: boolean[] = [];
  for (const [index, task] of tree.tasks.entries()) {
    more.length = task.depth;
    more[task.depth] = hasSibling(tree, index);
    const stem = stemOf(more, task.depth);
    lines.push(stem.branch + lineOf(task, tree));
    if (task.place !== null) {
      lines.push(`${stem.under}at ${placeText(task.place)}`);
    }
    if (task.hidden !== null) lines.push(stem.under + hiddenText(task.hidden));
  }
  if (tree.hidden !== null) lines.push(hiddenText(tree.hidden));
  for (const [name, { waiters, statistics }] of Object.entries(tree.things)) {
    const facts = Object.entries(statistics ?? {}).map(([key, value]) =>
      `${key} ${factText(value)}`
    );
    lines.push(
      `${name}: ${[count(waiters, "listed waiter"), ...facts].join(", ")}`,
    );
  }
  if (tree.placesMissing !== null) lines.push(`(${tree.placesMissing})`);
  return lines;
}

function statesOf({ byState }: TaskTree): string {
  return Object.entries(byState).filter(([, number]) => number > 0)
    .map(([state, number]) => `${number} ${state}`).join(", ") || "none";
}

/** Whether a task of the same parent is listed further down. */
function hasSibling({ tasks }: TaskTree, index: number): boolean {
  const { depth } = tasks[index]!;
  for (let next = index + 1; next < tasks.length; next++) {
    if (tasks[next]!.depth <= depth) return tasks[next]!.depth === depth;
  }
  return false;
}

function stemOf(
  more: readonly boolean[],
  depth: number,
): { branch: string; under: string } {
  if (depth === 0) return { branch: "", under: "  " };
  const above = more.slice(1, depth).map((goesOn) => goesOn ? "│  " : "   ")
    .join("");
  return more[depth]
    ? { branch: `${above}├─ `, under: `${above}│    ` }
    : { branch: `${above}└─ `, under: `${above}     ` };
}

function lineOf(task: TreeTask, tree: TaskTree): string {
  const waits = task.waits.map((wait) => waitText(wait, tree)).join(" and ");
  const about = task.state === "waiting" ? `waits for ${waits}` : task.state;
  const ring = task.ring === null ? "" : ", deadlocked";
  const cancelling = task.cancelling === 0 ? "" : ", being cancelled";
  return `${nameText(task.name)} (${task.id}) ${about}${ring}${cancelling}`;
}

function waitText(wait: TreeWait, { turn, timeMs }: TaskTree): string {
  const what = wait.target === null || wait.kind === "task"
    ? nameText(wait.target ?? wait.kind)
    : `${wait.kind} of ${nameText(wait.target)}`;
  const named = wait.heldBy.slice(0, 3).map(({ name }) => nameText(name));
  const more = wait.holders - named.length;
  if (more > 0) named.push(`${more} more`);
  const holders = named.length === 0 || wait.kind === "task"
    ? ""
    : `, by ${named.join(", ")}`;
  const since = wait.sinceMs === null
    ? `${count(turn - wait.sinceTurn, "turn")}`
    : `${Math.round(timeMs - wait.sinceMs)} ms`;
  return `${what}${holders}, for ${since}`;
}

function linesOfRing(ring: readonly RingTask[]): string[] {
  const shown = ring.slice(0, 20).map(({ name, id, kind, target }, index) => {
    const next = ring[(index + 1) % ring.length]!;
    const what = target === null || kind === "task"
      ? kind
      : `${kind} of ${nameText(target)}`;
    return `  ${nameText(name)} (${id}) waits for ${what}, by ${
      nameText(next.name)
    } (${next.id})`;
  });
  if (ring.length > shown.length) shown.push("  …");
  return [
    `Deadlock: ${count(ring.length, "task")} wait for one another:`,
    ...shown,
  ];
}

function hiddenText({ tasks, waitingFor }: HiddenTasks): string {
  const kinds = Object.entries(waitingFor).sort(([, a], [, b]) => b - a)
    .map(([kind, number]) => `${number} wait for ${kind}`);
  return `… ${tasks} more${kinds.length === 0 ? "" : `: ${kinds.join(", ")}`}`;
}

function factText(value: unknown): string {
  if (!Array.isArray(value)) {
    return nameText((value as TaskRef | null)?.name ?? String(value));
  }
  return value.length === 0 ? "none" : value.map(factText).join(" and ");
}

/** Text of a place: function, file, line and column. */
export function placeText(place: TaskPlace): string {
  const { file, line, column, isExact } = place;
  const name = place.function === "" ? "" : `${nameText(place.function)} `;
  const where = `(${file}:${line}:${column})`;
  return isExact ? name + where : `${name}${where} of the compiled text`;
}

function count(number: number, what: string): string {
  return `${number} ${what}${number === 1 ? "" : "s"}`;
}

/** How long a name may be in a line. */
const NAME_MAX = 200;

/** A name with control characters escaped, so that it can neither break a line nor command a terminal. */
export function nameText(name: string): string {
  const cut = name.length > NAME_MAX ? `${name.slice(0, NAME_MAX)}…` : name;
  return cut.replaceAll(
    // deno-lint-ignore no-control-regex
    /[\u0000-\u001f\u007f-\u009f\u2028\u2029]/g,
    (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}
