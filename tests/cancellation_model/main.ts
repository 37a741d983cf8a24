/**
 * Plays random programs by hand:
 * `deno task model --trees=1000000 [--seed=0] [--failures=10]`.
 *
 * @module
 */
import { judge, kindOf, report, shrink } from "./search.ts";
import { treeOf } from "./writer.ts";

const options = new Map(
  Deno.args.map((arg) => arg.replace(/^--/, "").split("=") as [string, string]),
);
const number = (name: string, byDefault: number) =>
  Number(options.get(name) ?? byDefault);
const first = number("seed", 0);
const count = number("trees", 100_000);
const most = number("failures", 10);
/** For one style alone, or without what is known: words of the first violation. */
const only = options.get("style");
const without = options.get("without")?.split(",") ?? [];
const kinds = new Map<string, number>();
const started = performance.now();
for (let seed = first; seed < first + count; seed++) {
  const failure = await judge(seed, treeOf(seed));
  if (failure === null) continue;
  const kind = kindOf(failure);
  if (only !== undefined && failure.style !== only) continue;
  if (without.some((words) => kind.includes(words))) continue;
  const times = kinds.get(kind) ?? 0;
  kinds.set(kind, times + 1);
  if (times > 0) continue;
  console.log(report(await shrink(failure)) + "\n");
  if (kinds.size >= most) break;
}
for (const [kind, times] of kinds) console.log(`${times} times: ${kind}`);
const seconds = ((performance.now() - started) / 1_000).toFixed(1);
console.log(
  `seeds ${first} to ${
    first + count - 1
  }: ${kinds.size} kinds of failure, ${seconds} s`,
);
Deno.exit(kinds.size === 0 ? 0 : 1);
