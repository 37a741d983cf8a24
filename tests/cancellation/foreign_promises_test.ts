/**
 * Bodies that are at a foreign promise when they are cancelled.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import {
  cancelScope,
  gather,
  sleep,
  taskGroup,
  timeout,
  until,
} from "../../mod.ts";
import {
  as,
  FOREIGN,
  foreign,
  type Mix,
  MIXES,
  outcomeOf,
  type Steps,
  tell,
  wrong,
} from "../support/mixed_styles.ts";
import { DAY, ENDERS, now } from "../support/cancelling.ts";

/** What a body does after its promise; none of it may come to an end. */
const AFTERWARDS: Record<string, (mix: Mix) => Steps> = {
  "waits": function* () {
    yield sleep(DAY);
  },
  "ends a group with a child": function* (mix) {
    yield taskGroup((group) => {
      group.createTask(() => sleep(DAY));
      return as(mix.inner, function* () {
        yield foreign(5);
      })() as never;
    });
  },
  "waits in a group": function* (mix) {
    yield taskGroup(as(mix.inner, function* () {
      yield sleep(DAY);
    }) as never);
  },
  "waits in a timeout": function* (mix) {
    yield timeout(
      DAY,
      as(mix.inner, function* () {
        yield sleep(DAY / 2);
      }),
    );
  },
  "waits in a scope": function* (mix) {
    yield cancelScope(as(mix.inner, function* () {
      yield sleep(DAY);
    }));
  },
  "gathers": function* () {
    yield gather([() => sleep(DAY), () => sleep(DAY)]);
  },
  "waits for a promise by until": function* () {
    yield until(new Promise(() => {}));
  },
};

for (const [name, { around, outcome }] of Object.entries(ENDERS)) {
  // The body of this one is a child, not the body itself.
  if (name === "group.cancel") continue;
  Deno.test(`${name}: a body that is at a foreign promise is cancelled at its next wait`, async () => {
    const cases = Object.fromEntries(
      Object.entries(AFTERWARDS).map((
        [key, after],
      ) => [key, { after, wanted: outcome }]),
    );
    const differences = await wrong(
      cases,
      (entry, mix) =>
        outcomeOf(
          as(mix.outer, () =>
            around(
              10,
              as(mix.inner, function* () {
                yield foreign(30);
                yield* entry.after(mix);
              }),
            )),
          FOREIGN,
        ),
    );
    assertEquals(differences, []);
  });
}

Deno.test("A body whose group is at its end when the promise comes is cancelled, and in time", async () => {
  const differences = await wrong(
    Object.fromEntries(
      ["timeout", "failAfter", "task.cancel", "the failure of a sibling"].map((
        name,
      ) => [name, {
        ...ENDERS[name]!,
        wanted: `${ENDERS[name]!.outcome} at 30`,
      }]),
    ),
    (entry, mix) =>
      outcomeOf(async () => {
        const body = as(mix.outer, function* () {
          yield taskGroup((group) => {
            group.createTask(() => sleep(DAY));
            // As an async function, where nothing of the loop is waited for.
            return foreign(30);
          });
        });
        let outcome: string;
        try {
          const around = as(mix.inner, () => entry.around(10, body))();
          outcome = String(await (around as Promise<unknown>));
        } catch (error) {
          outcome = tell(error);
        }
        return `${outcome} at ${now()}`;
      }, FOREIGN),
    MIXES.filter(({ inner }) => inner === "async"),
  );
  assertEquals(differences, []);
});
