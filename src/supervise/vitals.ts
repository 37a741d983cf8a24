/**
 * Health of a run, for children with a backoff or a heartbeat.
 *
 * @module
 */
import type { ChildEnd } from "./child_end.ts";
import type { ChildSettings } from "./child_spec.ts";
import { type BeatingRun, Heartbeat } from "./heartbeat.ts";

/** Health of a run that is ready. */
export class Vitals {
  readonly #run: BeatingRun;
  readonly #startedMs: number;
  readonly #healthyMs: number;
  readonly #heartbeat: Heartbeat | null;
  /** End that the run has however it comes about; null if it is not dying. */
  certainEnd: ChildEnd | null = null;
  /** Whether it has run for long enough to have the failures before it forgotten. */
  wasHealthy = false;

  constructor(run: BeatingRun, { backoff, heartbeatMs }: ChildSettings) {
    this.#run = run;
    this.#startedMs = run.loop.time();
    this.#healthyMs = backoff === null ? Infinity : backoff.healthyMs;
    this.#heartbeat = heartbeatMs === Infinity
      ? null
      : new Heartbeat(run, heartbeatMs);
  }

  /** The child has said that it is alive. */
  beat(): void {
    this.#heartbeat?.beat();
  }

  /** Waits for no more beats. */
  stopWatching(): void {
    this.#heartbeat?.stop();
  }

  /** The run has ended. */
  end(): void {
    this.wasHealthy =
      this.#run.loop.time() - this.#startedMs >= this.#healthyMs;
    this.stopWatching();
  }
}

/** Whether the health of a child has to be known. */
export function hasVitals({ backoff, heartbeatMs }: ChildSettings): boolean {
  return backoff !== null || heartbeatMs !== Infinity;
}
