/**
 * Async children that wait for a promise outside the loop, and cannot be ended.
 *
 * @module
 */
import { assertEquals, assertInstanceOf } from "@std/assert";
import { ChildStateError } from "../../src/errors.ts";
import { getRunningLoop, sleep } from "../../src/loop/mod.ts";
import type { ChildOptions } from "../../src/supervise/child_spec.ts";
import { Supervisor } from "../../src/supervise/supervisor.ts";
import { caught, play, Stage, STYLES } from "./stage.ts";

/** A child that waits for a foreign promise, which can be settled. */
class Foreign {
  starts = 0;
  readonly #settle: { resolve: () => void; reject: (e: Error) => void }[] = [];

  child(options: ChildOptions = {}) {
    return {
      id: "f",
      shutdown: 100,
      ...options,
      start: async (started: () => void) => {
        this.starts++;
        started();
        const { promise, resolve, reject } = Promise.withResolvers<void>();
        this.#settle.push({ resolve, reject });
        await promise;
        await sleep(0); // throws: it was cancelled
      },
    };
  }

  resolve(at: number): void {
    this.#settle[at]!.resolve();
  }

  reject(at: number, error: Error): void {
    this.#settle[at]!.reject(error);
  }
}

/** Loops whose clock does not stand still for foreign promises, and which tell of no stuck tasks themselves. */
const OPTIONS = { outsideWaits: "ignore", cancelWarnMs: 1e9 } as const;

const REPORT =
  'Child "top/f" was abandoned: it was asked to end and still waits for a promise outside the loop';

for (const style of STYLES) {
  Deno.test(`after its shutdown time it is abandoned, and reported by name and where it waits, ${style}`, async () => {
    const { value, reports } = await play(style, function* (loop) {
      const stage = new Stage(style);
      const foreign = new Foreign();
      const supervisor = new Supervisor({
        name: "top",
        children: [stage.child("a"), foreign.child()],
      });
      const events: string[] = [];
      supervisor.subscribe((event) => {
        if (event.type === "abandoned") {
          events.push(`${event.childId} ${event.waitsFor}`);
        }
      });
      yield supervisor.start();
      const stopMs = loop.time();
      yield supervisor.stop();
      const tookMs = loop.time() - stopMs;
      foreign.resolve(0);
      yield sleep(1);
      return [stage.take(), tookMs, events];
    }, OPTIONS);
    assertEquals(value, [
      "+a -a !a",
      100,
      ["f a promise outside the loop"],
    ]);
    assertEquals(reports, [REPORT]);
  });

  Deno.test(`it is not started beside itself: a restart waits for its end, ${style}`, async () => {
    const { value, reports } = await play(style, function* () {
      const stage = new Stage(style);
      const foreign = new Foreign();
      const supervisor = new Supervisor({
        name: "top",
        strategy: "one-for-all",
        reportCrashes: false,
        children: [stage.child("a"), foreign.child(), stage.child("b")],
      });
      yield supervisor.start();
      stage.take();
      stage.end("a", "crash");
      yield sleep(500);
      const during = stage.take();
      const infos = yield supervisor.whichChildren();
      const statuses = (infos as { id: string; status: string }[])
        .map(({ id, status }) => `${id} ${status}`).join(", ");
      const { starts } = foreign;
      foreign.resolve(0);
      yield sleep(1);
      const result = [
        during,
        statuses,
        starts,
        stage.take(),
        foreign.starts,
        supervisor.tree().restarts,
      ];
      foreign.resolve(1);
      yield supervisor.stop();
      return result;
    }, OPTIONS);
    assertEquals(value, [
      "!a -b !b +a",
      "b stopped, f restarting, a running",
      1,
      "-a !a +a +b",
      2,
      2,
    ]);
    assertEquals(reports, [REPORT]);
  });

  Deno.test(`allowOverlap has it started at once, ${style}`, async () => {
    const { value, reports } = await play(style, function* () {
      const foreign = new Foreign();
      const supervisor = new Supervisor({
        name: "top",
        children: [foreign.child({ allowOverlap: true, restart: "transient" })],
      });
      yield supervisor.start();
      yield supervisor.terminateChild("f");
      yield supervisor.restartChild("f");
      const { starts } = foreign;
      foreign.resolve(0);
      foreign.resolve(1);
      yield sleep(1);
      yield supervisor.stop();
      return starts;
    }, OPTIONS);
    assertEquals(value, 2);
    assertEquals(reports, [REPORT]);
  });

  Deno.test(`calls that would start it beside itself are refused, ${style}`, async () => {
    const { value } = await play(style, function* () {
      const foreign = new Foreign();
      const supervisor = new Supervisor({
        name: "top",
        children: [foreign.child()],
      });
      yield supervisor.start();
      yield supervisor.terminateChild("f");
      const errors = [yield* caught(supervisor.restartChild("f"))];
      yield supervisor.deleteChild("f");
      errors.push(yield* caught(supervisor.startChild(foreign.child())));
      foreign.resolve(0);
      yield sleep(1);
      yield supervisor.startChild(foreign.child());
      foreign.resolve(1);
      yield sleep(1);
      yield supervisor.stop();
      return errors.map((error) => {
        assertInstanceOf(error, ChildStateError);
        return error.problem;
      });
    }, OPTIONS);
    assertEquals(value, ["abandoned", "abandoned"]);
  });

  Deno.test(`a supervisor with an abandoned child is not started beside it either, ${style}`, async () => {
    const { value, reports } = await play(style, function* () {
      const stage = new Stage(style);
      const foreign = new Foreign();
      let made = 0;
      const supervisor = new Supervisor({
        name: "top",
        strategy: "one-for-all",
        reportCrashes: false,
        children: [stage.child("a"), {
          id: "inner",
          type: "supervisor",
          start: () => {
            made++;
            return new Supervisor({ children: [foreign.child()] });
          },
        }],
      });
      yield supervisor.start();
      stage.end("a", "crash");
      yield sleep(500);
      const before = made;
      foreign.resolve(0);
      yield sleep(1);
      const result = [before, made, foreign.starts];
      foreign.resolve(1);
      yield supervisor.stop();
      return result;
    }, OPTIONS);
    assertEquals(value, [1, 2, 2]);
    assertEquals(reports, [REPORT.replace("top/f", "top/inner/f")]);
  });

  Deno.test(`what it throws after it was abandoned is reported, once, ${style}`, async () => {
    const { reports } = await play(style, function* () {
      const foreign = new Foreign();
      const supervisor = new Supervisor({
        name: "top",
        children: [foreign.child({ shutdown: "brutal-kill" })],
      });
      yield supervisor.start();
      yield supervisor.stop();
      foreign.reject(0, new Error("too late"));
      yield sleep(1);
    }, OPTIONS);
    assertEquals(reports, [
      REPORT,
      'Child "top/f" failed after it had been abandoned: too late',
    ]);
  });

  Deno.test(`a child that is back in time ends in time, ${style}`, async () => {
    const { value, reports } = await play(style, function* () {
      const foreign = new Foreign();
      const supervisor = new Supervisor({
        name: "top",
        children: [foreign.child()],
      });
      const ends: string[] = [];
      supervisor.subscribe((event) => {
        if (event.type === "ended") ends.push(event.end!.kind);
      });
      yield supervisor.start();
      getRunningLoop().callLater(50, () => foreign.resolve(0));
      yield supervisor.stop();
      return ends;
    }, OPTIONS);
    assertEquals(value, ["shutdown"]);
    assertEquals(reports, []);
  });
}
