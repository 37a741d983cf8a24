/**
 * Random programs of tasks, groups, timeouts, scopes and what they share, with
 * cancellations and failures at random moments, run as generator coroutines and
 * as async functions. Each is judged by the rules of cancellation alone, see
 * `cancellation_model/judge.ts`. `ROTA_MODEL_TREES` says how many,
 * `ROTA_MODEL_SEED` where to begin; `deno task model` does it by hand.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import { judge, report, search, shrink } from "./cancellation_model/search.ts";
import type { Body, Node, Tree } from "./cancellation_model/tree.ts";

/** In parts, so that a failure is told before all of them have run. */
const PARTS = 10;
const TREES = Number(Deno.env.get("ROTA_MODEL_TREES") ?? 100_000);
const FIRST = Number(Deno.env.get("ROTA_MODEL_SEED") ?? 0);

for (let part = 0; part < PARTS; part++) {
  const first = FIRST + Math.floor(part * TREES / PARTS);
  const count = FIRST + Math.floor((part + 1) * TREES / PARTS) - first;
  Deno.test(`no rule is broken by the programs of the seeds ${first} to ${first + count - 1}`, async () => {
    const failures = await search(first, count, 3);
    const reports: string[] = [];
    for (const failure of failures) reports.push(report(await shrink(failure)));
    assertEquals(reports, [], reports.join("\n\n"));
  });
}

/** Programs that were wrong once, in the notation of the model. */
const ONCE_WRONG: Record<
  string,
  { body: Body; acts?: Tree["acts"]; styles?: number }
> = {
  "a cancellation as a group that was cancelled ends": {
    body: [
      group([[{
        do: "finally",
        body: [{ do: "sleep", ms: 20 }],
        cleanup: [{ do: "sleep", ms: 8 }],
      }]]),
      { do: "sleep", ms: 5 },
    ],
    acts: [
      act("group1", 2),
      act("main", 4),
    ],
  },
  "a task that cancels itself in a block, and then waits": {
    body: [{
      do: "timeout",
      name: "timeout1",
      ms: 5,
      signal: false,
      body: [{ do: "act", target: "main", how: "cancel" }],
    }, { do: "get" }],
  },
  "a task and its group that are cancelled in one turn, as the group ends": {
    body: [group([[{ do: "sleep", ms: 5 }]]), { do: "sleep", ms: 5 }],
    acts: [act("main", 2), act("group1", 2)],
  },
  "a task that cancels itself, and then a group that is ended by its child": {
    body: [
      { do: "act", target: "main", how: "cancel" },
      group([[{ do: "act", target: "group1", how: "cancel" }]]),
      { do: "sleep", ms: 5 },
    ],
  },
  "a task that is cancelled by the child of a group beside another wait": {
    body: [{
      do: "all",
      bodies: [
        [group([[
          { do: "act", target: "main", how: "cancel" },
          { do: "never" },
        ]])],
        [{ do: "sleep", ms: 0 }],
      ],
    }],
  },
  "an iteration that is cancelled before its first step": {
    body: [{ do: "each", source: "generator", body: [] }],
    acts: [act("main", 0)],
  },
  "a cancellation on its way out of a body as another one comes, and then a disposal":
    {
      body: [{
        do: "scoped",
        disposal: "async",
        ms: 1,
        fails: false,
        body: [{
          do: "finally",
          body: [{ do: "sleep", ms: 5 }],
          cleanup: [{
            do: "foreign",
            promise: { after: 2, unit: "ms", answers: "nothing" },
          }],
        }],
      }],
      acts: [act("main", 0), act("main", 1)],
    },
  "a child of a group that is entered in a cancelled scope, whose body takes its time":
    {
      body: [{
        do: "moveOnAfter",
        name: "moveOnAfter2",
        ms: 0,
        signal: false,
        body: [
          {
            ...group([[{ do: "sleep", ms: 8 }]]),
            body: [{
              do: "scope",
              name: "scope3",
              shield: true,
              signal: false,
              body: [{ do: "sleep", ms: 20 }],
            }],
          } as Body[number],
        ],
      }],
    },
  "a branch that has begun to wait when another one hands its request back": {
    body: [
      moveOnAtOnce(1, [group([
        [{
          do: "timeout",
          name: "timeout3",
          ms: 0,
          signal: false,
          body: [{
            do: "all",
            bodies: [
              [moveOnAtOnce(4, []), {
                do: "untilBody",
                body: [{ do: "sleep", ms: 1 }, { do: "get" }],
              }],
              [moveOnAtOnce(5, [])],
            ],
          }],
        }],
        [],
        [],
      ])]),
    ],
    styles: 320,
  },
  "a group that is cancelled as its task waits to get its slot back": {
    body: [limited([
      [{ ...group([[{ do: "sleep", ms: 5 }]]), name: "group2" } as Node],
      [{ do: "sleep", ms: 5 }],
      [],
    ])],
    acts: [{ ...act("group2", 1), hops: 6 }],
  },
  "two scopes that are cancelled together": {
    body: [{
      do: "scope",
      name: "scope2",
      shield: false,
      signal: false,
      body: [{
        do: "scope",
        name: "scope3",
        shield: false,
        signal: false,
        body: [
          { do: "act", target: "scope3", how: "cancel" },
          { do: "act", target: "scope2", how: "cancel" },
          { do: "sleep", ms: 1 },
        ],
      }],
    }],
  },
};

function group(children: readonly Body[]): Body[number] {
  return {
    do: "group",
    name: "group1",
    limit: Infinity,
    signal: false,
    body: [],
    children,
  };
}

function limited(children: readonly Body[]): Node {
  return { ...group(children), limit: 1 } as Node;
}

function moveOnAtOnce(number: number, body: Body): Node {
  const name = `moveOnAfter${number}`;
  return { do: "moveOnAfter", name, ms: 0, signal: false, body };
}

function act(target: string, atMs: number): Tree["acts"][number] {
  return { do: "act", how: "cancel", target, atMs, turns: 0, hops: 0 };
}

for (const [name, once] of Object.entries(ONCE_WRONG)) {
  const { body, acts = [], styles = 5 } = once;
  Deno.test(`a program that was wrong once: ${name}`, async () => {
    // Seed 0 plays it in all three styles.
    const failure = await judge(0, { body, acts, styles, distinct: false });
    assertEquals(failure === null ? "" : report(failure), "");
  });
}
