/**
 * A supervisor of one child that works outside of the loop, and what happens to it.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { type EventLoop, sleep } from "../../../src/loop/mod.ts";
import type { ChildSpec } from "../../../src/supervise/child_spec.ts";
import { Supervisor } from "../../../src/supervise/supervisor.ts";
import type { SupervisorEvent } from "../../../src/supervise/supervisor_events.ts";
import { play, type Steps, type Style } from "../stage.ts";

/** Waits for an outside fact in the loop. */
export function* untilSo(what: string, isSo: () => boolean): Steps<void> {
  const untilMs = performance.now() + 20_000;
  while (!isSo()) {
    assert(performance.now() < untilMs, `not in time: ${what}`);
    yield sleep(5);
  }
}

/** A supervisor of one child, and what happens to it. */
export class Scene {
  readonly events: SupervisorEvent[] = [];
  readonly supervisor: Supervisor;

  constructor(child: Omit<ChildSpec, "id">) {
    this.supervisor = new Supervisor({
      name: "top",
      children: [{ id: "a", ...child }],
      maxRestarts: 10,
      reportCrashes: false,
    });
    this.supervisor.subscribe((event) => this.events.push(event));
  }

  get words(): string[] {
    return this.events
      .filter(({ type }) => !type.startsWith("supervisor"))
      .map((event) =>
        "end" in event && event.end !== undefined
          ? `${event.type} ${event.end.kind}`
          : event.type
      );
  }

  get starts(): number {
    return this.events.filter(({ type }) => type === "started").length;
  }

  /** The error of the last crash. */
  get crash(): unknown {
    for (const event of this.events.toReversed()) {
      if (!("end" in event) || event.end === undefined) continue;
      assert(event.end.kind === "crash", `it ended ${event.end.kind}`);
      return event.end.error;
    }
    return undefined;
  }

  /** The value of the child. */
  *value(): Steps<unknown> {
    const [child] = yield this.supervisor.whichChildren();
    return child.run.value;
  }
}

/** Plays on the clock of the machine; nothing may be reported. */
export async function playForReal<T>(
  style: Style,
  steps: (loop: EventLoop) => Steps<T>,
): Promise<T> {
  const { value, reports } = await play(style, steps, { host: "portable" });
  assertEquals(reports, []);
  return value;
}
