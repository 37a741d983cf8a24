/**
 * Statements that open a block: timeouts, scopes and groups.
 *
 * @module
 */
import {
  CancelScope,
  cancelScope,
  failAfter,
  moveOnAfter,
  type Operation,
  TaskGroup,
  taskGroup,
  TaskGroupClosedError,
  type Timeout,
  timeout,
  timeoutAt,
  waitFor,
} from "../../mod.ts";
import { judgeLeft } from "./leaving.ts";
import { type End, Place, TaskRecord } from "./places.ts";
import type { Context, Program } from "./program.ts";
import type { Script } from "./style.ts";
import type { Node, TimedBlock } from "./tree.ts";

/** Opens a block, and has the judge look at how it is left. */
function* inBlock(
  program: Program,
  place: Place,
  make: () => Operation<unknown>,
): Script {
  program.places.set(place.name, place);
  program.judge.entered(place);
  let end: End;
  try {
    end = { value: yield make(), failed: false };
  } catch (error) {
    end = { error, failed: true };
  }
  judgeLeft(program.judge, place, end);
  program.ends.set(place.name, program.describeEnd(end));
  if (end.failed) throw end.error;
  return end.value;
}

/** Makes the place of a block, with a signal if the tree has it so. */
function newPlace(
  context: Context,
  kind: Place["kind"],
  node: { readonly name: string; readonly signal: boolean },
): { place: Place; signal: AbortSignal | undefined } {
  const { place: outer } = context;
  const place = new Place(kind, node.name, outer.task, outer);
  if (node.signal) place.controller = new AbortController();
  return { place, signal: place.controller?.signal };
}

/** Opens a block that ends when its time is over. */
export function* timed(
  program: Program,
  context: Context,
  node: Node & { do: TimedBlock },
): Script {
  const kind = node.do === "moveOnAfter"
    ? "scope"
    : node.do === "failAfter"
    ? "failAfter"
    : "timeout";
  const { place, signal } = newPlace(context, kind, node);
  const inside = program.body(place, node.body, []);
  const byTimeout = (scope: Timeout) => {
    place.timeout = scope;
    return inside();
  };
  const byScope = (scope: CancelScope) => {
    place.scope = scope;
    return inside();
  };
  const { ms } = node;
  const whenMs = program.loop.time() + ms;
  const options = signal === undefined ? {} : { signal };
  return yield* inBlock(program, place, () => {
    switch (node.do) {
      case "timeout":
        return timeout(ms, byTimeout, options);
      case "timeoutAt":
        return timeoutAt(whenMs, byTimeout, options);
      case "moveOnAfter":
        return moveOnAfter(ms, byScope, options);
      case "failAfter":
        return failAfter(ms, byScope, options);
      default:
        // Without time it would not begin.
        place.deadlineMs = program.loop.time() + ms + 1;
        return waitFor(inside, ms + 1, options);
    }
  });
}

/** Opens a cancel scope. */
export function* scope(
  program: Program,
  context: Context,
  node: Node & { do: "scope" },
): Script {
  const { place, signal } = newPlace(context, "scope", node);
  place.shielded = node.shield;
  const options = { shield: node.shield, signal };
  const inside = program.body(place, node.body, []);
  if (node.name.endsWith("1")) {
    const scope = place.scope = new CancelScope(options);
    return yield* inBlock(program, place, () => scope.run(inside));
  }
  return yield* inBlock(program, place, () =>
    cancelScope((scope) => {
      place.scope = scope;
      return inside();
    }, options));
}

/** Opens a group, and makes its tasks. */
export function* group(
  program: Program,
  context: Context,
  node: Node & { do: "group" },
): Script {
  const { place, signal } = newPlace(context, "group", node);
  const options = { limit: node.limit, signal };
  const siblings: (TaskRecord | null)[] = [];
  const inside = program.body(place, node.body, siblings);
  const body = (group: TaskGroup) => {
    program.groups.set(place, group);
    for (const [index, child] of node.children.entries()) {
      const record = new TaskRecord(`${node.name}.${index}`, place);
      const earlier = siblings.slice();
      siblings.push(null);
      try {
        program.start(
          record,
          child,
          earlier,
          (body) => group.createTask(body, { name: record.name }),
        );
      } catch (error) {
        if (!(error instanceof TaskGroupClosedError)) throw error;
        place.children.pop();
        program.judge.tasks.pop();
        continue; // it was cancelled before it began
      }
      siblings[index] = record;
    }
    return inside();
  };
  yield* inBlock(
    program,
    place,
    () =>
      node.name.endsWith("1")
        ? new TaskGroup(options).run(body)
        : taskGroup(body, options),
  );
}
