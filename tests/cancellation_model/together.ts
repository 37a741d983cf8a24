/**
 * Statements that wait for other tasks: `gather`, `wait`, a sibling, `shield`.
 *
 * @module
 */
import { type Future, gather, shield, wait } from "../../mod.ts";
import { isCancellation, TaskRecord } from "./places.ts";
import type { Context, Program } from "./program.ts";
import type { Script } from "./style.ts";
import type { Node } from "./tree.ts";

/** Makes tasks, and waits for them together. */
export function* several(
  program: Program,
  context: Context,
  node: Node & { do: "gather" | "wait" },
): Script {
  const records = node.children.map((child, index) => {
    const record = new TaskRecord(`${node.name}.${index}`, null);
    program.start(
      record,
      child,
      [],
      (body) => program.loop.createTask(body, { name: record.name }),
    );
    return record;
  });
  const tasks = records.map(({ task }) => task!);
  if (node.do === "wait") {
    yield* program.wait(context, "wait", "suspends", () =>
      wait(tasks, {
        returnWhen: node.first ? "first-completed" : "all-completed",
      }));
    return;
  }
  const together = gather(tasks, { returnExceptions: node.keep });
  yield* waitHandingOn(program, context, "gather", records, together);
}

/** Waits for a task of the same group. */
export function* sibling(
  program: Program,
  context: Context,
  node: Node & { do: "join" | "shield" },
): Script {
  const record = context.siblings[node.sibling];
  if (record === undefined || record === null) return;
  if (node.do === "join") {
    try {
      yield* waitHandingOn(program, context, "join", [record], record.task!);
    } catch (error) {
      if (isCancellation(error)) throw error;
    }
    return;
  }
  const { task } = record;
  try {
    yield* program.wait(context, "shield", "hands on", () => shield(task!));
  } catch (error) {
    if (isCancellation(error)) throw error;
  }
}

/** Waits for what a cancellation is handed on to. */
function* waitHandingOn(
  program: Program,
  context: Context,
  what: string,
  records: readonly TaskRecord[],
  target: Future<unknown>,
): Script {
  const { place } = context;
  const { task } = place;
  for (const record of records) {
    task.handingOn.set(record, place);
    record.followers.set(task, place);
    record.waitedForAt.add(place);
    // What is due is handed on as well.
    if (program.judge.isDue(place)) {
      program.judge.request(record.root, program.loop.time(), false, true);
    }
  }
  try {
    yield* program.wait(context, what, "hands on", () => target);
  } finally {
    for (const record of records) {
      task.handingOn.delete(record);
      record.followers.delete(task);
    }
  }
}
