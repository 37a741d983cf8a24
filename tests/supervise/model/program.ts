/**
 * Random sequences for supervisors: what children do, and what happens when.
 *
 * Every action has a moment of its own, and every span a length of its own, so that no
 * two things come at the same moment by accident: what happens is decided by the rules
 * alone.
 *
 * @module
 */
import { SeededRandom } from "../../../src/structures/random.ts";

/** How a start goes: whether it takes time, and its outcome. */
export interface StartPlan {
  readonly tookMs: number;
  readonly outcome: "ok" | "fail" | "ignore";
}

/** A child. */
export interface ChildPlan {
  readonly id: string;
  readonly restart: "permanent" | "transient" | "temporary";
  /** `Infinity` is for ever; `-1` stands for brutal-kill. */
  readonly shutdownMs: number;
  readonly significant: boolean;
  /** Delay of the first restart; 0 for none. */
  readonly backoffMs: number;
  readonly healthyMs: number;
  /** How the first starts go; all others are `"ok"` at once. */
  readonly starts: readonly StartPlan[];
  /** How long it takes to end when it is asked to; `Infinity` if it never does. */
  readonly stopMs: number;
}

/** A reason to end. */
export type Ending = "normal" | "shutdown" | "crash" | "cancel";

/** Something that happens. */
export type Action =
  | { readonly kind: "end"; readonly id: string; readonly ending: Ending }
  | {
    readonly kind: "terminate" | "restart" | "delete";
    readonly id: string;
  }
  | { readonly kind: "start"; readonly child: ChildPlan }
  | { readonly kind: "which" | "count" | "stop" };

/** An action and its moment. */
export interface TimedAction {
  readonly atMs: number;
  readonly action: Action;
}

/** A sequence. */
export interface Program {
  readonly strategy: "one-for-one" | "one-for-all" | "rest-for-one";
  readonly maxRestarts: number;
  readonly withinMs: number;
  readonly autoShutdown: "never" | "any-significant" | "all-significant";
  readonly children: readonly ChildPlan[];
  readonly actions: readonly TimedAction[];
}

/** Parts of a millisecond: few enough bits for sums to be exact. */
const FRACTIONS = 2 ** 20;

/** Writes sequences from a seed. */
export class Writer {
  readonly #random: SeededRandom;

  constructor(seed: number) {
    this.#random = new SeededRandom(seed);
  }

  #pick<T>(choices: readonly T[]): T {
    return choices[this.#random.nextInt(choices.length)]!;
  }

  #chance(share: number): boolean {
    return this.#random.next() < share;
  }

  /** A span of about so many milliseconds, hardly ever the same as another, or as a sum of others. */
  #span(aboutMs: number): number {
    return aboutMs + this.#random.nextInt(FRACTIONS) / FRACTIONS;
  }

  write(): Program {
    const autoShutdown = this.#pick(
      ["never", "never", "any-significant", "all-significant"] as const,
    );
    const ids = ["a", "b", "c", "d"].slice(0, 1 + this.#random.nextInt(4));
    const hasBackoff = this.#chance(0.5);
    const children = ids.map((id) =>
      this.#child(id, autoShutdown !== "never", hasBackoff)
    );
    const actions: TimedAction[] = [];
    const count = 1 + this.#random.nextInt(9);
    let atMs = 0;
    for (let n = 0; n < count; n++) {
      atMs += this.#span(this.#pick([1, 5, 20, 100, 400]));
      actions.push({
        atMs,
        action: this.#action(ids, autoShutdown !== "never", hasBackoff),
      });
    }
    return {
      strategy: this.#pick(["one-for-one", "one-for-all", "rest-for-one"]),
      maxRestarts: this.#pick([0, 1, 2, 3, 5]),
      withinMs: this.#span(this.#pick([50, 300, 5_000])),
      autoShutdown,
      children,
      actions,
    };
  }

  #child(
    id: string,
    maySignify: boolean,
    hasBackoff: boolean,
    mayFail = true,
  ): ChildPlan {
    const restart = this.#pick(
      ["permanent", "permanent", "transient", "temporary"] as const,
    );
    const shutdownMs = this.#pick([
      -1,
      this.#span(30),
      this.#span(30),
      Infinity,
    ]);
    return {
      id,
      restart,
      shutdownMs,
      significant: maySignify && restart !== "permanent" && this.#chance(0.6),
      backoffMs: hasBackoff && this.#chance(0.7) ? this.#span(20) : 0,
      healthyMs: this.#span(this.#pick([10, 200])),
      starts: mayFail ? this.#starts() : [],
      stopMs: this.#pick([
        0,
        0,
        this.#span(15),
        this.#span(60),
        shutdownMs === Infinity ? 0 : Infinity,
      ]),
    };
  }

  #starts(): StartPlan[] {
    const starts: StartPlan[] = [];
    const count = this.#random.nextInt(4);
    for (let n = 0; n < count; n++) {
      const outcome = this.#chance(n === 0 ? 0.9 : 0.5)
        ? "ok"
        : this.#pick(["fail", "fail", "ignore"] as const);
      starts.push({
        tookMs: this.#chance(0.3) ? this.#span(25) : 0,
        outcome,
      });
    }
    return starts;
  }

  #action(
    ids: readonly string[],
    maySignify: boolean,
    hasBackoff: boolean,
  ): Action {
    const id = this.#chance(0.9) ? this.#pick(ids) : "e";
    if (this.#chance(0.5)) {
      const ending = this.#pick(
        ["crash", "crash", "normal", "shutdown", "cancel"] as const,
      );
      return { kind: "end", id, ending };
    }
    const kind = this.#pick(
      [
        "terminate",
        "terminate",
        "restart",
        "delete",
        "start",
        "which",
        "count",
        "stop",
      ] as const,
    );
    switch (kind) {
      case "terminate":
      case "restart":
      case "delete":
        return { kind, id };
      case "start":
        return {
          kind,
          child: this.#child(
            this.#pick(["e", ...ids]),
            maySignify,
            hasBackoff,
          ),
        };
      default:
        return { kind };
    }
  }
}
