/**
 * Trees that are a little smaller than one that has failed.
 *
 * @module
 */
import {
  bodiesOf,
  type Body,
  type Node,
  type Tree,
  withBodies,
} from "./tree.ts";

/** All trees that are a little smaller. */
export function* smaller(tree: Tree): Generator<Tree> {
  for (let index = 0; index < tree.acts.length; index++) {
    yield { ...tree, acts: tree.acts.toSpliced(index, 1) };
  }
  for (const body of smallerBodies(tree.body)) yield { ...tree, body };
  for (const [index, act] of tree.acts.entries()) {
    for (const part of ["hops", "turns", "atMs"] as const) {
      if (act[part] === 0) continue;
      for (const value of [0, Math.floor(act[part] / 2)]) {
        if (value === act[part]) continue;
        yield {
          ...tree,
          acts: tree.acts.with(index, { ...act, [part]: value }),
        };
      }
    }
  }
}

function* smallerBodies(body: Body): Generator<Body> {
  for (let index = 0; index < body.length; index++) {
    yield body.toSpliced(index, 1);
  }
  for (let index = 0; index < body.length; index++) {
    const node = body[index]!;
    const bodies = bodiesOf(node);
    for (const inner of bodies) yield body.toSpliced(index, 1, ...inner);
    for (let at = 0; at < bodies.length; at++) {
      for (const less of smallerBodies(bodies[at]!)) {
        yield body.with(index, withBodies(node, bodies.with(at, less)));
      }
    }
    for (const less of plainer(node)) yield body.with(index, less);
  }
}

function* plainer(node: Node): Generator<Node> {
  if ("ms" in node && node.ms > 0) yield { ...node, ms: 0 };
  if ("signal" in node && node.signal) yield { ...node, signal: false };
  if ("limit" in node && node.limit !== Infinity) {
    yield { ...node, limit: Infinity };
  }
  if ("shield" in node && node.shield) yield { ...node, shield: false };
  if ("children" in node && node.children.length > 1) {
    // Only the last, as others name their siblings by number.
    yield { ...node, children: node.children.slice(0, -1) };
  }
  if ("promise" in node) {
    const { promise } = node;
    if (promise.answers !== "nothing") {
      yield { ...node, promise: { ...promise, answers: "nothing" } };
    }
    if (promise.after > 1) {
      yield { ...node, promise: { ...promise, after: promise.after - 1 } };
    }
  }
  if (["never", "get", "receive", "condition", "send"].includes(node.do)) {
    yield { do: "sleep", ms: 5 };
  }
}
