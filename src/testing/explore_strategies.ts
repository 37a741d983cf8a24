/**
 * Strategies of an exploration: which choice each step of each run takes.
 *
 * `"pct"` is the algorithm of Burckhardt, Kothari, Musuvathi and Nagarakatte, *A
 * Randomized Scheduler with Probabilistic Guarantees of Finding Bugs*, ASPLOS 2010.
 * The bound on preemptions of `"dfs"` is that of Musuvathi and Qadeer, *Iterative
 * Context Bounding for Systematic Testing of Multithreaded Programs*, PLDI 2007.
 *
 * @module
 */
import { SeededRandom } from "../structures/random.ts";
import type { Choices, Chooser, Trace } from "./explore_scheduler.ts";

/** Strategy of an exploration. */
export type ExploreStrategy = "random" | "pct" | "dfs" | "round-robin";

/** Strategy for all runs of an exploration. */
export interface Strategy extends Chooser {
  /** A run begins. Returns false if there is none left that would be new. */
  begin(): boolean;
  /** The run is over. */
  end(trace: Trace): void;
}

/** Makes a strategy. `depth` is `undefined` if the caller has not given one. */
export function makeStrategy(
  name: ExploreStrategy,
  seed: number,
  depth: number | undefined,
): Strategy {
  switch (name) {
    case "random":
      return new RandomStrategy(seed);
    case "pct":
      return new PctStrategy(seed, depth ?? PCT_DEPTH);
    case "dfs":
      return new DfsStrategy(depth ?? Infinity);
    case "round-robin":
      return new RoundRobinStrategy();
  }
}

/** Takes each choice with the same probability. */
class RandomStrategy implements Strategy {
  readonly #random: SeededRandom;

  constructor(seed: number) {
    this.#random = new SeededRandom(seed);
  }

  begin(): boolean {
    return true;
  }

  choose({ count }: Choices): number {
    // Not nextInt(): its two divisions take longer than the rest of the choice,
    // and so few choices out of 2^32 are equally likely as it is.
    return Math.floor(this.#random.next() * count);
  }

  end(): void {}
}

/** Most bugs need two tasks at one point of one of them, or three. */
const PCT_DEPTH = 3;

/**
 * PCT: gives each task a random priority, runs the highest, and at `depth - 1` random
 * moments lowers that of the task which is about to run. Timers and callbacks count as tasks of one step.
 */
class PctStrategy implements Strategy {
  readonly #random: SeededRandom;
  readonly #depth: number;
  readonly #priorities = new Map<number, number>();
  /** Moments of this run at which a priority is lowered: how manieth choices. */
  #moments: number[] = [];
  /** How many choices this run has had. */
  #choices = 0;
  /** How many choices the longest run so far has had. */
  #choicesMax = 0;
  /** Priority of the last task that had to leave its step to another: below all others. */
  #least = 0;

  constructor(seed: number, depth: number) {
    this.#random = new SeededRandom(seed);
    this.#depth = depth;
  }

  begin(): boolean {
    this.#priorities.clear();
    this.#choices = 0;
    this.#least = -this.#depth;
    this.#moments = [];
    if (this.#choicesMax === 0) return true;
    for (let moment = 1; moment < this.#depth; moment++) {
      this.#moments.push(this.#random.nextInt(this.#choicesMax));
    }
    return true;
  }

  choose(choices: Choices): number {
    const at = this.#choices++;
    if (choices.stalled >= 0) {
      this.#priorities.set(choices.stalled, --this.#least);
    }
    let best = this.#best(choices);
    this.#moments.forEach((moment, index) => {
      if (moment !== at) return;
      // The first in the list is not the first in time: a later one may lower less.
      this.#priorities.set(choices.keyAt(best), -1 - index);
      best = this.#best(choices);
    });
    return best;
  }

  #best(choices: Choices): number {
    let best = 0;
    let highest = -Infinity;
    for (let choice = 0; choice < choices.count; choice++) {
      const key = choices.keyAt(choice);
      let priority = this.#priorities.get(key);
      if (priority === undefined) {
        priority = this.#random.next();
        this.#priorities.set(key, priority);
      }
      if (priority > highest) {
        highest = priority;
        best = choice;
      }
    }
    return best;
  }

  end(): void {
    this.#choicesMax = Math.max(this.#choicesMax, this.#choices);
  }
}

/** Choice of a run that {@linkcode DfsStrategy} makes again in the next one. */
interface Branch {
  choice: number;
  readonly count: number;
  /** Whether every choice but 0 is a preemption. */
  readonly continues: boolean;
}

/** Takes every schedule with at most so many preemptions once, the last choice that has not been tried first. */
export class DfsStrategy implements Strategy {
  readonly #preemptionsMax: number;
  readonly #branches: Branch[] = [];
  #at = 0;
  #begun = false;

  constructor(preemptionsMax: number) {
    this.#preemptionsMax = preemptionsMax;
  }

  begin(): boolean {
    this.#at = 0;
    if (!this.#begun) {
      this.#begun = true;
      return true;
    }
    return this.#advance();
  }

  choose({ count, continues }: Choices): number {
    const branch = this.#branches[this.#at++];
    if (branch === undefined) {
      this.#branches.push({ choice: 0, count, continues });
      return 0;
    }
    // A program that is not deterministic may have fewer choices than before:
    // its runs are compared elsewhere.
    return Math.min(branch.choice, count - 1);
  }

  /** Goes on to the next schedule; false if there is none. */
  #advance(): boolean {
    const branches = this.#branches;
    for (
      let last = branches.at(-1);
      last !== undefined;
      last = branches.at(-1)
    ) {
      if (last.choice + 1 < last.count) {
        last.choice++;
        if (this.#preemptions() <= this.#preemptionsMax) return true;
      }
      branches.pop();
    }
    return false;
  }

  #preemptions(): number {
    return this.#branches.reduce(
      (sum, { choice, continues }) => sum + (continues && choice > 0 ? 1 : 0),
      0,
    );
  }

  end(): void {
    this.#branches.length = Math.min(this.#branches.length, this.#at);
  }
}

/** Has tasks take turns by number: of one step each in the first run, of two in the second, and so on. */
class RoundRobinStrategy implements Strategy {
  #quantum = 0;
  #last = -1;
  #stepsMax = Infinity;

  begin(): boolean {
    this.#last = -1;
    // In longer turns than the longest run all is as in the run before.
    return ++this.#quantum <= this.#stepsMax + 1;
  }

  choose(choices: Choices): number {
    if (choices.continues && choices.streak < this.#quantum) return 0;
    let best = -1;
    let bestKey = Infinity;
    for (let choice = 0; choice < choices.count; choice++) {
      const key = choices.keyAt(choice);
      // Behind the last one, or else from the beginning.
      const rank = key > this.#last ? key : key + 2 ** 31;
      if (rank < bestKey) {
        bestKey = rank;
        best = choice;
      }
    }
    this.#last = choices.keyAt(best);
    return best;
  }

  end(trace: Trace): void {
    const longest = this.#stepsMax === Infinity ? 0 : this.#stepsMax;
    this.#stepsMax = Math.max(longest, trace.steps);
  }
}

/** Makes the choices of a list, and then 0. A choice that a run does not have becomes its last. */
export class ListedChoices implements Chooser {
  readonly #list: readonly number[];

  /** Takes one number for each step, be there a choice or not. */
  constructor(list: readonly number[]) {
    this.#list = list;
  }

  choose({ step, count }: Choices): number {
    return Math.min(this.#list[step] ?? 0, count - 1);
  }
}

/** How far ahead {@linkcode WantedKeys} looks. */
const WANTED_AHEAD_MAX = 64;

/** Runs what is wanted, in this order as far as it is ready, and then goes on without switches. */
export class WantedKeys implements Chooser {
  readonly #wanted: number[];
  #step = 0;

  /** Takes one key for each step. */
  constructor(wanted: readonly number[]) {
    this.#wanted = [...wanted];
  }

  choose(choices: Choices): number {
    const wanted = this.#wanted;
    this.#skipForced(choices);
    const ahead = Math.min(wanted.length, WANTED_AHEAD_MAX);
    for (let index = 0; index < ahead; index++) {
      for (let choice = 0; choice < choices.count; choice++) {
        if (choices.keyAt(choice) !== wanted[index]) continue;
        wanted.splice(index, 1);
        this.#step = choices.step + 1;
        return choice;
      }
    }
    this.#step = choices.step + 1;
    return 0;
  }

  /** Steps without a choice have run meanwhile, presumably those that were next in the list. */
  #skipForced({ step }: Choices): void {
    this.#wanted.splice(0, step - this.#step);
    this.#step = step;
  }
}
