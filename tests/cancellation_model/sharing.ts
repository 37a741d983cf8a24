/**
 * Statements that use what all tasks share: locks, a condition, a queue, a channel.
 *
 * @module
 */
import { isCancellation } from "./places.ts";
import type { Context, Program } from "./program.ts";
import type { Script } from "./style.ts";
import type { Node } from "./tree.ts";

/** Runs a body with a permit of the lock or the semaphore. */
export function* held(
  program: Program,
  context: Context,
  node: Node & { do: "lock" | "semaphore" },
): Script {
  const from = node.do === "lock"
    ? program.shared.lock
    : program.shared.semaphore;
  const permit = yield* program.wait(
    context,
    node.do,
    "ready",
    () => from.acquire(),
  );
  try {
    if (node.do === "lock" && ++program.shared.inside > 1) {
      program.judge.say("two are inside of the lock");
    }
    return yield* program.all(context, node.body);
  } finally {
    if (node.do === "lock") program.shared.inside--;
    permit.release();
  }
}

/** Waits for the condition. */
export function* conditionWait(program: Program, context: Context): Script {
  const permit = yield* program.wait(
    context,
    "acquire",
    "ready",
    () => program.shared.condition.acquire(),
  );
  try {
    yield* program.wait(
      context,
      "condition",
      "suspends",
      () => program.shared.condition.wait(),
    );
  } finally {
    if (!permit.held) {
      program.judge.say("a condition ended its wait without its lock");
    }
    permit.release();
  }
}

/** Moves one item through the queue or the channel. */
export function* transfer(
  program: Program,
  context: Context,
  kind: "get" | "put" | "send" | "receive",
): Script {
  const taken = program.shared.taken;
  try {
    yield* program.wait(context, kind, "ready", () => {
      switch (kind) {
        case "get":
          return program.shared.queue.get();
        case "put":
          return program.shared.queue.put(1);
        case "send":
          return program.shared.channel.send(1);
        case "receive":
          return program.shared.channel.receive();
      }
    });
  } catch (error) {
    if (isCancellation(error)) throw error;
    return; // it was closed at the horizon
  }
  if (kind === "get") taken.got++;
  else if (kind === "put") taken.put++;
  else if (kind === "send") taken.sent++;
  else taken.received++;
}
