/**
 * Replays schedules of the planted bugs, given as JSON on standard input: prints how
 * each has ended.
 *
 * @module
 */
import { ExplorationError, replay } from "../../../src/testing/mod.ts";
import { PLANTED_BUGS } from "../support/planted_bugs.ts";

const schedules: Record<string, string> = await new Response(
  Deno.stdin.readable,
).json();
const ends: Record<string, unknown> = {};
for (const [name, schedule] of Object.entries(schedules)) {
  const { program, options } = PLANTED_BUGS.find((bug) => bug.name === name)!;
  try {
    await replay(program(false), schedule, options);
  } catch (error) {
    ends[name] = error instanceof ExplorationError
      ? { kind: error.failure.kind, table: error.failure.table }
      : String(error);
  }
}
console.log(JSON.stringify(ends));
