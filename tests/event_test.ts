/**
 * The flag, which is asyncio's Event.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { Flag, getRunningLoop, run, sleep, type Task } from "../mod.ts";
import { inStyle, type Steps, STYLES } from "./support/styles.ts";

const VIRTUAL = { host: "virtual" } as const;

type Script = ReturnType<Steps<unknown>>;
type Spawn = (steps: Steps<unknown>) => Task<unknown>;

/** A test that runs in both styles; `spawn` makes tasks of the same style. */
function testBoth(name: string, script: (spawn: Spawn) => Script): void {
  for (const style of STYLES) {
    const spawn: Spawn = (steps) =>
      getRunningLoop().createTask(inStyle(style, steps));
    Deno.test(`${name} (${style})`, async () => {
      await run(inStyle(style, () => script(spawn)), VIRTUAL);
    });
  }
}

testBoth("Flag.wait() gives true at once if the flag is set", function* () {
  const flag = new Flag();
  assertEquals(flag.isSet(), false);
  flag.set();
  flag.set();
  const { turns } = getRunningLoop().stats();
  assertEquals(yield flag.wait(), true);
  assertEquals([flag.isSet(), getRunningLoop().stats().turns], [true, turns]);
});

testBoth(
  "Flag.set() wakes all who wait, in the order in which they came",
  function* (spawn) {
    const flag = new Flag();
    const log: string[] = [];
    const tasks = ["a", "b", "c"].map((name) =>
      spawn(function* () {
        log.push(`${name} ${yield flag.wait()}`);
      })
    );
    yield sleep(1);
    assertEquals(log, []);
    flag.set();
    for (const task of tasks) yield task;
    assertEquals(log, ["a true", "b true", "c true"]);
  },
);

testBoth(
  "A flag that is set and cleared lets go all who waited, and nobody else",
  function* (spawn) {
    const flag = new Flag();
    const log: string[] = [];
    const wait = (name: string) =>
      spawn(function* () {
        yield flag.wait();
        log.push(name);
      });
    wait("early");
    yield sleep(1);
    flag.set();
    flag.clear();
    const late = wait("late");
    yield sleep(1);
    assertEquals(log, ["early"]);
    flag.set();
    yield late;
    assertEquals(log, ["early", "late"]);
  },
);

testBoth(
  "A cancelled wait for a flag leaves the others alone",
  function* (spawn) {
    const flag = new Flag();
    const wait = () =>
      spawn(function* () {
        return yield flag.wait();
      });
    const [first, second, third] = [wait(), wait(), wait()];
    yield sleep(1);
    second.cancel();
    flag.set();
    third.cancel(); // woken already, and cancelled in the same turn
    assertEquals(yield first, true);
    yield sleep(1);
    assertEquals([second.cancelled(), third.cancelled()], [true, true]);
  },
);

testBoth("Flag.wait() throws the reason of its signal", function* () {
  const flag = new Flag();
  const controller = new AbortController();
  const reason = new Error("enough");
  getRunningLoop().callLater(5, () => controller.abort(reason));
  let thrown: unknown;
  try {
    yield flag.wait({ signal: controller.signal });
  } catch (error) {
    thrown = error;
  }
  assert(thrown === reason);
  flag.set();
});
