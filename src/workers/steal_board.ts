/**
 * Board of a load balancer on which the longest line and the idle members are
 * found without a search.
 *
 * @module
 */
import { LinkedList, type ListNode } from "../structures/linked_list.ts";
import type { AnyBalancerJob } from "./balancer_job.ts";
import type { Member } from "./balancer_member.ts";

/** Place of a member among those that are idle. */
export class IdlePlace implements ListNode<IdlePlace> {
  list: LinkedList<IdlePlace> | undefined = undefined;
  nextNode: IdlePlace | undefined = undefined;
  previousNode: IdlePlace | undefined = undefined;
  readonly member: Member;

  constructor(member: Member) {
    this.member = member;
  }
}

/** Members by the number of jobs in their lines that others may take, and idle members. */
export class StealBoard {
  /** Members by the length of their lines, from 1 on. */
  readonly #byLength: LinkedList<Member>[] = [];
  /** No line is longer than this. */
  #longest = 0;
  /** Members that have room and no line, the one that has been so for longest first. */
  readonly #idle: LinkedList<IdlePlace> = new LinkedList();

  /** Takes note of a member whose line or whose room may have changed. */
  update(member: Member, nowMs: number): void {
    const { length } = member.free;
    const list = length === 0 ? undefined : this.#listOf(length);
    if (member.list !== list) {
      member.list?.remove(member);
      list?.append(member);
      if (length > this.#longest) this.#longest = length;
    }
    const { idlePlace } = member;
    if (!member.isIdle(nowMs)) this.#idle.remove(idlePlace);
    else if (idlePlace.list === undefined) this.#idle.append(idlePlace);
  }

  /** Forgets a member. */
  forget(member: Member): void {
    member.list?.remove(member);
    this.#idle.remove(member.idlePlace);
  }

  /** Returns a member with the longest line; undefined if there is nothing to take. */
  findLongest(): Member | undefined {
    // Lines grow and shrink by one job at a time, so that this takes no longer
    // than the jobs themselves.
    while (this.#longest > 0) {
      const member = this.#byLength[this.#longest - 1]?.first;
      if (member !== undefined) return member;
      this.#longest--;
    }
    return undefined;
  }

  /** Returns an idle member that may have a job. */
  findIdle(job: AnyBalancerJob): Member | undefined {
    let place = this.#idle.first;
    while (place !== undefined && job.shuns(place.member)) {
      place = place.nextNode;
    }
    return place?.member;
  }

  #listOf(length: number): LinkedList<Member> {
    while (this.#byLength.length < length) {
      this.#byLength.push(new LinkedList());
    }
    return this.#byLength[length - 1]!;
  }
}
