/**
 * Capacity of a load balancer: the sum of those of its members, which may change.
 *
 * @module
 */
import type { Member } from "./balancer_member.ts";

/** Sum of the capacities of members, kept up to date as they are asked one by one. */
export class CapacitySum {
  readonly #counted = new Set<Member>();
  #finite = 0;
  #infinite = 0;

  /** The sum. */
  get value(): number {
    return this.#infinite > 0 ? Infinity : this.#finite;
  }

  /** Counts a member. */
  watch(member: Member): void {
    this.#counted.add(member);
    member.capacityKnown = askFor(member);
    this.#add(member.capacityKnown, 1);
  }

  /** Counts a member no more. */
  unwatch(member: Member): void {
    if (this.#counted.delete(member)) this.#add(member.capacityKnown, -1);
  }

  /** Asks a member for its capacity. */
  refresh(member: Member): void {
    const capacity = askFor(member);
    if (capacity === member.capacityKnown) return;
    if (this.#counted.has(member)) {
      this.#add(member.capacityKnown, -1);
      this.#add(capacity, 1);
    }
    member.capacityKnown = capacity;
  }

  #add(capacity: number, sign: 1 | -1): void {
    if (capacity === Infinity) this.#infinite += sign;
    else this.#finite += sign * capacity;
  }
}

function askFor({ executor }: Member): number {
  const { capacity } = executor;
  return capacity >= 0 ? capacity : 0; // NaN included
}
