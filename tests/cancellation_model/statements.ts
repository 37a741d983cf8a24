/**
 * Statements: which function runs a node of the tree.
 *
 * @module
 */
import { sleep } from "../../mod.ts";
import { perform } from "./acts.ts";
import { group, scope, timed } from "./blocks.ts";
import { iteration, resource } from "./items.ts";
import { Boom, isCancellation } from "./places.ts";
import type { Context, Program } from "./program.ts";
import { promise, untilBody } from "./promises.ts";
import { conditionWait, held, transfer } from "./sharing.ts";
import { Call, type Script } from "./style.ts";
import { several, sibling } from "./together.ts";
import type { Node } from "./tree.ts";

/** Runs one statement. */
export function* runNode(
  program: Program,
  context: Context,
  node: Node,
): Script {
  switch (node.do) {
    case "sleep":
      return yield* program.wait(
        context,
        `sleep(${node.ms})`,
        "suspends",
        () => sleep(node.ms),
      );
    case "never":
      return yield* program.wait(
        context,
        "never",
        program.shared.never.isSet() ? "ready" : "suspends",
        () => program.shared.never.wait(),
      );
    case "throw":
      throw new Boom(`${++program.booms}`);
    case "act":
      return perform(program, node);
    case "foreign":
    case "until":
      return yield* promise(program, context, node.do, node.promise);
    case "untilBody":
      return yield* untilBody(program, context, node.body);
    case "lock":
    case "semaphore":
      return yield* held(program, context, node);
    case "condition":
      return yield* conditionWait(program, context);
    case "get":
    case "put":
    case "send":
    case "receive":
      return yield* transfer(program, context, node.do);
    case "catch":
      return yield* caught(program, context, node);
    case "finally":
      try {
        return yield* program.all(context, node.body);
      } finally {
        yield* program.all(context, node.cleanup);
      }
    case "scope":
      return yield* scope(program, context, node);
    case "group":
      return yield* group(program, context, node);
    case "gather":
    case "wait":
      return yield* several(program, context, node);
    case "join":
    case "shield":
      return yield* sibling(program, context, node);
    case "each":
      return yield* iteration(program, context, node);
    case "scoped":
      return yield* resource(program, context, node);
    case "call":
      return yield new Call([() => program.all(context, node.body)]);
    case "all":
      // In a generator they come one after the other.
      if (context.isAsync) context.place.task.branches = true;
      return yield new Call(
        node.bodies.map((body) => () => program.all(context, body)),
      );
    default:
      return yield* timed(program, context, node);
  }
}

function* caught(
  program: Program,
  context: Context,
  node: Node & { do: "catch" },
): Script {
  try {
    return yield* program.all(context, node.body);
  } catch (error) {
    yield* program.all(context, node.cleanup);
    if (node.then === "rethrow") throw error;
    const { place } = context;
    if (node.then === "swallow" || place.kind !== "task") return;
    const task = place.task.task!;
    if (isCancellation(error) && task.uncancel() === 0) {
      program.judge.uncancelled(place.task);
    }
  }
}
