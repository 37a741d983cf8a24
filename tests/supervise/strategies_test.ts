/**
 * Who is restarted after what: restart type x end x strategy, with expected starts,
 * stops and their order.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import type { RestartType } from "../../src/supervise/child_spec.ts";
import { DynamicSupervisor } from "../../src/supervise/dynamic_supervisor.ts";
import { Supervisor } from "../../src/supervise/supervisor.ts";
import type { RestartStrategy } from "../../src/supervise/supervisor_options.ts";
import { sleep } from "../../src/loop/mod.ts";
import { type Ending, play, Stage, type Steps, STYLES } from "./stage.ts";

const RESTARTS: readonly RestartType[] = [
  "permanent",
  "transient",
  "temporary",
];
const ENDINGS: readonly Ending[] = ["normal", "shutdown", "cancel", "crash"];

/** Log when `b`, the second of three children, has ended and is restarted. */
const RESTARTED: Readonly<Record<RestartStrategy, string>> = {
  "one-for-one": "!b +b",
  "one-for-all": "!b -c !c -a !a +a +b +c",
  "rest-for-one": "!b -c !c +b +c",
};

/** Whether a child of a restart type is restarted after an end. */
const IS_RESTARTED: Readonly<Record<RestartType, readonly Ending[]>> = {
  permanent: ["normal", "shutdown", "cancel", "crash"],
  transient: ["cancel", "crash"],
  temporary: [],
};

for (const style of STYLES) {
  for (const strategy of Object.keys(RESTARTED) as RestartStrategy[]) {
    Deno.test(`${strategy}: who is restarted, ${style}`, async () => {
      for (const restart of RESTARTS) {
        for (const ending of ENDINGS) {
          const { value } = await play(style, function* () {
            const stage = new Stage(style);
            const supervisor = new Supervisor({
              strategy,
              reportCrashes: false,
              children: [
                stage.child("a"),
                stage.child("b", { restart }),
                stage.child("c"),
              ],
            });
            yield supervisor.start();
            const started = stage.take();
            stage.end("b", ending);
            yield sleep(1);
            const restarted = stage.take();
            const infos = yield supervisor.whichChildren();
            const known = (infos as { id: string; status: string }[])
              .map(({ id, status }) => `${id} ${status}`);
            yield supervisor.stop();
            return [started, restarted, known.join(", "), stage.take()];
          });
          const isRestarted = IS_RESTARTED[restart].includes(ending);
          const known = isRestarted
            ? "c running, b running, a running"
            : restart === "temporary"
            ? "c running, a running"
            : "c running, b stopped, a running";
          assertEquals(value, [
            "+a +b +c",
            isRestarted ? RESTARTED[strategy] : "!b",
            known,
            isRestarted ? "-c !c -b !b -a !a" : "-c !c -a !a",
          ], `${restart}, ${ending}`);
        }
      }
    });
  }

  Deno.test(`a dynamic supervisor restarts each child alone, ${style}`, async () => {
    for (const restart of RESTARTS) {
      for (const ending of ENDINGS) {
        const { value } = await play(style, function* () {
          const stage = new Stage(style);
          const supervisor = new DynamicSupervisor({
            reportCrashes: false,
            child: { restart },
          });
          yield supervisor.start();
          for (const id of "abc") {
            yield supervisor.startChild(stage.start(id, { stop: 10 }));
          }
          stage.end("b", ending);
          yield sleep(1);
          const { active } = yield supervisor.countChildren();
          const before = stage.take();
          yield supervisor.stop();
          return [before, active, stage.take()];
        });
        const isRestarted = IS_RESTARTED[restart].includes(ending);
        assertEquals(
          value,
          isRestarted
            ? ["+a +b +c !b +b", 3, "-a -b -c !a !b !c"]
            : ["+a +b +c !b", 2, "-a -c !a !c"],
          `${restart}, ${ending}`,
        );
      }
    }
  });

  Deno.test(`temporary siblings are stopped with their group and forgotten, stopped ones are started, ${style}`, async () => {
    const { value } = await play(style, function* () {
      const stage = new Stage(style);
      const supervisor = new Supervisor({
        strategy: "one-for-all",
        reportCrashes: false,
        children: [
          stage.child("a"),
          stage.child("b", { restart: "temporary" }),
          stage.child("c", { restart: "transient" }),
          stage.child("d"),
        ],
      });
      yield supervisor.start();
      stage.end("c", "normal");
      yield supervisor.terminateChild("d");
      stage.take();
      stage.end("a", "crash");
      yield sleep(1);
      const log = stage.take();
      yield supervisor.stop();
      return log;
    });
    assertEquals(value, "!a -b !b +a +c +d");
  });

  Deno.test(`a restart that fails is tried again behind the mailbox, ${style}`, async () => {
    const { value } = await play(style, function* (): Steps<unknown> {
      const stage = new Stage(style);
      const supervisor = new Supervisor({
        strategy: "rest-for-one",
        reportCrashes: false,
        children: [
          stage.child("a"),
          stage.child("b", { starts: ["ok", "fail", "fail"] }),
          stage.child("c"),
        ],
      });
      yield supervisor.start();
      stage.take();
      stage.end("a", "crash");
      yield sleep(1);
      const log = stage.take();
      yield supervisor.stop();
      return log;
    });
    assertEquals(value, "!a -c !c -b !b +a ?b ?b +b +c");
  });

  Deno.test(`shutdown types: brutal-kill, a time, for ever, ${style}`, async () => {
    const { value } = await play(style, function* (loop) {
      const stage = new Stage(style);
      const supervisor = new Supervisor({
        children: [
          stage.child("a", { shutdown: Infinity, stop: 60_000 }),
          stage.child("b", { shutdown: 100, stop: "never" }),
          stage.child("c", { shutdown: 100, stop: 50 }),
          stage.child("d", { shutdown: "brutal-kill", stop: 50 }),
          stage.child("e", { stop: "never" }),
        ],
      });
      yield supervisor.start();
      stage.take();
      const startMs = loop.time();
      yield supervisor.stop();
      return [stage.take(), loop.time() - startMs];
    });
    assertEquals(value, [
      "-e xe xd -c !c -b xb -a !a",
      5_000 + 50 + 100 + 60_000,
    ]);
  });
}
