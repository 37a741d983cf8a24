/**
 * Table of a schedule: a column for each task, a line for each step.
 *
 * @module
 */
import type { Instrument } from "../loop/instrument.ts";
import type { EventLoop } from "../loop/event_loop.ts";
import type { ReadyItem } from "../loop/scheduler.ts";
import type { Task } from "../loop/task.ts";
import type { StepListener } from "./explore_scheduler.ts";

/** Lines of a table: of a longer one the beginning and the end are shown. */
const LINES_MAX = 120;
const LINES_FIRST = 40;
/** Columns are no wider. */
const WIDTH_MAX = 32;
/** Column of timers and callbacks. */
const LOOP = "loop";

interface Line {
  readonly step: number;
  readonly timeMs: number;
  readonly column: string;
  /** Deeds of the step, as far as somebody has told. */
  readonly texts: string[];
}

/** Name of the task for people; two tasks of one name are told apart by number. */
function columnOf({ kind, number, name }: ReadyItem): string {
  if (kind !== "task") return LOOP;
  return name === "" ? `task ${number}` : `${name} (${number})`;
}

/** Draws a run while it happens. */
export class TableWriter implements Instrument {
  readonly #lines: Line[] = [];
  readonly #columns = new Set<string>();
  readonly #columnOf = new WeakMap<Task<unknown>, string>();
  #item: ReadyItem | null = null;

  /** Returns the listener of a loop. */
  readonly listen = (loop: EventLoop): StepListener => (_ready, chosen) => {
    this.#item = chosen;
    const column = columnOf(chosen);
    this.#columns.add(column);
    const text = chosen.kind === "task" ? [] : [
      chosen.name === "" ? chosen.kind : `${chosen.kind} ${chosen.name}`,
    ];
    this.#lines.push({
      step: this.#lines.length + 1,
      timeMs: loop.time(),
      column,
      texts: text,
    });
  };

  stepBegins(task: Task<unknown>): void {
    if (this.#item?.kind === "task" && !this.#columnOf.has(task)) {
      this.#columnOf.set(task, columnOf(this.#item));
    }
  }

  taskBlocks(task: Task<unknown>): void {
    const [wait] = task.waits();
    this.#tell(task, wait === undefined ? "waits" : `waits: ${wait.kind}`);
  }

  taskEnds(task: Task<unknown>): void {
    this.#tell(
      task,
      task.cancelled() ? "cancelled" : task.failed() ? "fails" : "ends",
    );
  }

  #tell(task: Task<unknown>, text: string): void {
    const line = this.#lines.at(-1);
    if (line === undefined) return;
    const column = this.#columnOf.get(task);
    line.texts.push(
      column === undefined || column === line.column
        ? text
        : `${column} ${text}`,
    );
  }

  /** Returns the table. Steps in a row that look alike share a line. */
  draw(): string {
    const columns = [...this.#columns];
    const rows: string[][] = [];
    let from = 1;
    this.#lines.forEach((line, index) => {
      const next = this.#lines[index + 1];
      if (next !== undefined && isAlike(line, next)) return;
      const { step, timeMs, column, texts } = line;
      const steps = from === step ? `${step}` : `${from}-${step}`;
      from = step + 1;
      rows.push([
        timeMs === 0 ? steps : `${steps} @${Number(timeMs.toFixed(3))} ms`,
        ...columns.map((one) =>
          one === column ? texts.join(", ") || "goes on" : ""
        ),
      ]);
    });
    const all = [["step", ...columns], ...rows].map((row) =>
      row.map((cell) => clean(cell))
    );
    const widths = all[0]!.map((_, index) =>
      Math.max(...all.map((row) => row[index]!.length))
    );
    const lines = all.map((row) =>
      row.map((cell, index) => cell.padEnd(widths[index]!)).join(" | ")
        .trimEnd()
    );
    if (lines.length <= LINES_MAX) return lines.join("\n");
    const hidden = lines.length - LINES_MAX;
    return [
      ...lines.slice(0, LINES_FIRST),
      `... ${hidden} lines`,
      ...lines.slice(LINES_FIRST + hidden),
    ].join("\n");
  }
}

/** Whether two steps in a row look the same in the table. */
function isAlike(line: Line, next: Line): boolean {
  return line.column === next.column && line.timeMs === next.timeMs &&
    line.texts.join() === next.texts.join();
}

/** Returns text as one line of limited width: names are anything. */
function clean(text: string): string {
  // deno-lint-ignore no-control-regex
  const line = text.replace(/[\x00-\x1f\x7f]+/g, " ");
  return line.length <= WIDTH_MAX ? line : `${line.slice(0, WIDTH_MAX - 1)}…`;
}
