/**
 * Random programs for the model of cancellation: one tree is one program, which
 * `play.ts` runs as generator coroutines and as async functions.
 *
 * @module
 */

/** Blocks that end when their time is over. */
export type TimedBlock =
  | "timeout"
  | "timeoutAt"
  | "waitFor"
  | "moveOnAfter"
  | "failAfter";

/** A promise that no operation of the loop stands behind. */
export interface Foreign {
  /** How long it takes, in `unit`. */
  readonly after: number;
  readonly unit: "hops" | "macrotask" | "ms";
  /** How it answers the signal of its task: not at all, like `fetch`, or like Node. */
  readonly answers: "nothing" | "reason" | "cause";
}

/** Something that one body does to a task or block, in the middle of its code. */
export interface Act {
  readonly do: "act";
  /** The name of a task or block; blocks that are not open are left alone. */
  readonly target: string;
  /** `"abort"` goes through the signal that the block was given. */
  readonly how: "cancel" | "abort";
}

/** The same from outside: at a moment, some turns and microtasks later. */
export interface TimedAct extends Act {
  readonly atMs: number;
  readonly turns: number;
  readonly hops: number;
}

/** One statement. */
export type Node =
  | { readonly do: "sleep"; readonly ms: number }
  | { readonly do: "never" }
  | { readonly do: "foreign"; readonly promise: Foreign }
  | { readonly do: "until"; readonly promise: Foreign }
  | { readonly do: "untilBody"; readonly body: Body }
  | { readonly do: "lock" | "semaphore"; readonly body: Body }
  | { readonly do: "condition" }
  | { readonly do: "get" | "put" | "send" | "receive" }
  | { readonly do: "throw" }
  | {
    readonly do: "catch";
    readonly body: Body;
    readonly then: "swallow" | "uncancel" | "rethrow";
    readonly cleanup: Body;
  }
  | { readonly do: "finally"; readonly body: Body; readonly cleanup: Body }
  | {
    readonly do: TimedBlock;
    readonly name: string;
    readonly ms: number;
    readonly body: Body;
    readonly signal: boolean;
  }
  | {
    readonly do: "scope";
    readonly name: string;
    readonly shield: boolean;
    readonly body: Body;
    readonly signal: boolean;
  }
  | {
    readonly do: "group";
    readonly name: string;
    readonly limit: number;
    readonly body: Body;
    readonly children: readonly Body[];
    readonly signal: boolean;
  }
  | {
    readonly do: "gather";
    readonly name: string;
    readonly keep: boolean;
    readonly children: readonly Body[];
  }
  | {
    readonly do: "wait";
    readonly name: string;
    readonly first: boolean;
    readonly children: readonly Body[];
  }
  | { readonly do: "join" | "shield"; readonly sibling: number }
  | {
    readonly do: "each";
    readonly source: "array" | "generator" | "queue" | "channel" | "reader";
    readonly body: Body;
  }
  | {
    readonly do: "scoped";
    readonly disposal: "sync" | "async";
    readonly ms: number;
    readonly fails: boolean;
    readonly body: Body;
  }
  | { readonly do: "call"; readonly body: Body }
  | { readonly do: "all"; readonly bodies: readonly Body[] }
  | Act;

/** Statements one after the other. */
export type Body = readonly Node[];

/** A program: what its main task does, and what happens to it. */
export interface Tree {
  readonly body: Body;
  readonly acts: readonly TimedAct[];
  /** Which blocks and tasks are async functions where styles are mixed. */
  readonly styles: number;
  /** Whether all moments are apart, so that both styles must do the same. */
  readonly distinct: boolean;
}

/** The bodies inside of a node. */
export function bodiesOf(node: Node): readonly Body[] {
  const bodies: Body[] = [];
  if ("body" in node) bodies.push(node.body);
  if ("cleanup" in node) bodies.push(node.cleanup);
  if ("children" in node) bodies.push(...node.children);
  if ("bodies" in node) bodies.push(...node.bodies);
  return bodies;
}

/** The same node with other bodies, in the order of {@linkcode bodiesOf}. */
export function withBodies(node: Node, bodies: readonly Body[]): Node {
  const rest = [...bodies];
  const copy: Record<string, unknown> = { ...node };
  if ("body" in node) copy.body = rest.shift();
  if ("cleanup" in node) copy.cleanup = rest.shift();
  if ("children" in node) copy.children = rest.splice(0, node.children.length);
  if ("bodies" in node) copy.bodies = rest;
  return copy as Node;
}

/** The body with each node changed, from the inside out. */
export function rewrite(body: Body, change: (node: Node) => Node): Body {
  return body.map((node) =>
    change(withBodies(node, bodiesOf(node).map((b) => rewrite(b, change))))
  );
}

/** Whether a node of one of these kinds is in there. */
export function contains(body: Body, kinds: ReadonlySet<string>): boolean {
  return body.some((node) =>
    kinds.has(node.do) || bodiesOf(node).some((b) => contains(b, kinds))
  );
}

/** Whether a foreign promise takes virtual time, so that the clock must not wait for it. */
export function hasTimedPromise(body: Body): boolean {
  return body.some((node) =>
    ("promise" in node && node.promise.unit === "ms") ||
    bodiesOf(node).some(hasTimedPromise)
  );
}

/** Whether a foreign promise may fail, which shows a moment later if nobody looks at it. */
export function hasAnswer(body: Body): boolean {
  return body.some((node) =>
    ("promise" in node && node.promise.answers !== "nothing") ||
    bodiesOf(node).some(hasAnswer)
  );
}

/** The tree as a short program, to read. */
export function print(tree: Tree): string {
  const lines = ["main:", ...printBody(tree.body, "  ")];
  for (const { atMs, turns, hops, target, how } of tree.acts) {
    lines.push(
      `at ${atMs} ms + ${turns} turns + ${hops} microtasks: ${how} ${target}`,
    );
  }
  return lines.join("\n");
}

function printBody(body: Body, indent: string): string[] {
  if (body.length === 0) return [`${indent}(nothing)`];
  return body.flatMap((node) => {
    const { do: kind, ...rest } = node as Record<string, unknown>;
    const words = Object.entries(rest).filter(([key, value]) =>
      !["body", "cleanup", "children", "bodies"].includes(key) &&
      value !== false && value !== Infinity
    ).map(([key, value]) =>
      key === "name"
        ? value
        : `${key}=${
          typeof value === "object" ? Object.values(value!).join(" ") : value
        }`
    );
    const lines = [`${indent}${[kind, ...words].join(" ")}`];
    if ("body" in node) lines.push(...printBody(node.body, indent + "  "));
    if ("cleanup" in node) {
      lines.push(`${indent}${node.do === "catch" ? "on error" : "finally"}:`);
      lines.push(...printBody(node.cleanup, indent + "  "));
    }
    const branches = "children" in node
      ? node.children
      : "bodies" in node
      ? node.bodies
      : [];
    branches.forEach((branch, index) => {
      lines.push(`${indent}child ${index}:`);
      lines.push(...printBody(branch, indent + "  "));
    });
    return lines;
  });
}
