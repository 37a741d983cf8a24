/**
 * Plays many trees, and shrinks what fails to a small program.
 *
 * @module
 */
import { setImmediate } from "node:timers";
import { type Outcome, play } from "./play.ts";
import { smaller } from "./smaller.ts";
import type { Style } from "./style.ts";
import { hasAnswer, print, type Tree } from "./tree.ts";
import { treeOf } from "./writer.ts";

const STYLES: readonly Style[] = ["generators", "async functions", "mixed"];

/** A tree that breaks a rule. */
export interface Failure {
  readonly seed: number;
  readonly style: Style;
  readonly tree: Tree;
  readonly violations: readonly string[];
}

/** Plays one tree in every style; null if all rules were kept. */
export async function judge(seed: number, tree: Tree): Promise<Failure | null> {
  const outcomes: Outcome[] = [];
  // A third of the trees also with styles side by side.
  const styles = seed % 3 === 0 ? STYLES : STYLES.slice(0, 2);
  for (const style of styles) {
    const violations = await playAlone(tree, style, outcomes);
    if (violations.length > 0) return { seed, style, tree, violations };
  }
  const violations = differences(outcomes[0]!, outcomes[1]!);
  if (violations.length === 0) return null;
  return { seed, style: "async functions", tree, violations };
}

let unhandled: unknown[] = [];
globalThis.addEventListener("unhandledrejection", (event) => {
  event.preventDefault();
  unhandled.push(event.reason);
});

async function playAlone(
  tree: Tree,
  style: Style,
  outcomes: Outcome[],
): Promise<readonly string[]> {
  unhandled = [];
  const outcome = await play(tree, style);
  if (hasAnswer(tree.body)) {
    await new Promise((resolve) => setImmediate(resolve));
  }
  outcomes.push(outcome);
  const { violations } = outcome;
  return unhandled.length === 0
    ? violations
    : [...violations, `nobody handled ${unhandled.map(String).join(", ")}`];
}

/** What the two styles do not agree on. */
function differences(a: Outcome, b: Outcome): string[] {
  const violations: string[] = [];
  if (a.ends === null || b.ends === null) return violations;
  for (const name of new Set([...a.ends.keys(), ...b.ends.keys()])) {
    const [one, other] = [a.ends.get(name), b.ends.get(name)];
    if (one === other) continue;
    violations.push(
      `${name} as generators: ${one}; as async functions: ${other}`,
    );
  }
  return violations;
}

/** The smallest tree that fails like the given one. */
export async function shrink(failure: Failure): Promise<Failure> {
  const kind = kindOf(failure);
  let least = failure;
  // A smaller tree that fails is taken at once, and all of it tried again.
  for (let tries = 0; tries < 2_000;) {
    let found: Failure | null = null;
    for (const tree of smaller(least.tree)) {
      if (++tries > 2_000) break;
      const next = await judge(failure.seed, tree);
      if (next !== null && kindOf(next) === kind) {
        found = next;
        break;
      }
    }
    if (found === null) break;
    least = found;
  }
  return least;
}

/** What failed, without names and numbers. */
export function kindOf({ style, violations }: Failure): string {
  const words = violations[0]!.replace(/\(at .*/, "")
    .replace(/[a-z]+[A-Za-z]*\d+(\.\d+)?/g, "X").replace(
      /\b(main|X)(\/X)?/g,
      "X",
    )
    .replace(/[\d.]+/g, "N");
  return `${style}: ${words}`;
}

/** A failure to read. */
export function report(failure: Failure): string {
  const { seed, style, violations, tree } = failure;
  return [
    `seed ${seed} as ${style}:`,
    ...violations.map((violation) => `  ${violation}`),
    print(tree),
  ].join("\n");
}

/** Plays the trees of `count` seeds; returns those that fail, at most `most`. */
export async function search(
  first: number,
  count: number,
  most: number,
): Promise<Failure[]> {
  const failures: Failure[] = [];
  for (let seed = first; seed < first + count; seed++) {
    const failure = await judge(seed, treeOf(seed));
    if (failure === null) continue;
    failures.push(failure);
    if (failures.length >= most) break;
  }
  return failures;
}
