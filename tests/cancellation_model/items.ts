/**
 * Statements that have the library call functions for a task: iterations and
 * resources.
 *
 * @module
 */
import { currentTask, each, type Operation, scoped, sleep } from "../../mod.ts";
import { Boom, type End, isCancellation } from "./places.ts";
import type { Context, Program } from "./program.ts";
import { asAsync, type Script } from "./style.ts";
import type { Node } from "./tree.ts";

/** Goes through a source of items by `each`. */
export function* iteration(
  program: Program,
  context: Context,
  node: Node & { do: "each" },
): Script {
  context.place.task.branches = true;
  let left = 2;
  const inside = program.simple(context, node.body);
  const body = (_item: unknown, stop: () => void) => {
    if (--left <= 0) stop();
    return inside();
  };
  const source = node.source;
  try {
    yield source === "array"
      ? each([1, 2, 3], body)
      : source === "generator"
      ? each(numbers(program, context), body)
      : source === "queue"
      ? each(program.shared.queue, (item, stop) => {
        program.shared.taken.got++;
        return body(item, stop);
      })
      : source === "channel"
      ? each(program.shared.channel, (item, stop) => {
        program.shared.taken.received++;
        return body(item, stop);
      })
      : each(reader(program, context), body);
  } catch (error) {
    if (isCancellation(error)) {
      program.judge.cameOut("each", context.place, error);
    }
    throw error;
  }
}

/** An async generator that waits; it is closed if it was begun. */
async function* numbers(
  program: Program,
  context: Context,
): AsyncGenerator<number> {
  const resource = { name: "an async generator", disposed: 0 };
  const inside = { ...context, isAsync: true };
  program.shared.resources.push(resource);
  try {
    for (let n = 0; n < 3; n++) {
      await ownWait(program, inside, () => sleep(2));
      yield n;
    }
  } finally {
    resource.disposed++;
  }
}

/** An async generator that takes items, and must take none that nobody gets. */
async function* reader(
  program: Program,
  context: Context,
): AsyncGenerator<number> {
  const inside = { ...context, isAsync: true };
  for (;;) {
    try {
      await asAsync(() =>
        program.wait(
          inside,
          "get of a reader",
          "ready",
          () => program.shared.queue.get(),
        )
      );
    } catch (error) {
      if (isCancellation(error)) throw error;
      return;
    }
    program.shared.taken.got++;
    yield 1;
  }
}

/** Waits in a function that the library calls for a task, and so as that task. */
async function ownWait(
  program: Program,
  context: Context,
  make: () => Operation<unknown>,
): Promise<void> {
  const { task } = context.place.task;
  const check = () => {
    if (!task!.done() && currentTask() !== task) {
      program.judge.say(
        `what is called for ${context.place.task.name} does not belong to it`,
      );
    }
  };
  check();
  await asAsync(() => program.wait(context, "own sleep", "suspends", make));
  check();
}

/** Runs a body with a resource that is disposed of by `scoped`. */
export function* resource(
  program: Program,
  context: Context,
  node: Node & { do: "scoped" },
): Script {
  const name = `resource ${program.shared.resources.length}`;
  const resource = { name, disposed: 0 };
  program.shared.resources.push(resource);
  const inside = { ...context, isAsync: true };
  const disposable = node.disposal === "sync"
    ? {
      [Symbol.dispose]: () => {
        resource.disposed++;
        if (node.fails) throw new Boom(`disposal of ${name}`);
      },
    }
    : {
      [Symbol.asyncDispose]: async () => {
        resource.disposed++;
        context.place.task.branches = true;
        await ownWait(program, inside, () => sleep(node.ms));
        if (node.fails) throw new Boom(`disposal of ${name}`);
      },
    };
  let end: End;
  try {
    end = {
      value: yield scoped(disposable, program.simple(context, node.body)),
      failed: false,
    };
  } catch (error) {
    if (resource.disposed !== 1) {
      program.judge.say(
        `${name} was disposed of ${resource.disposed} times when it was left`,
      );
    }
    if (isCancellation(error)) {
      program.judge.cameOut("scoped", context.place, error);
    }
    if (error instanceof SuppressedError) {
      program.judge.replaced(context.place);
    }
    throw error;
  }
  if (resource.disposed !== 1) {
    program.judge.say(
      `${name} was disposed of ${resource.disposed} times when it was left`,
    );
  }
  return end.value;
}
