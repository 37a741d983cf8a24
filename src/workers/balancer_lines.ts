/**
 * Lines of a load balancer: one for each member, one for jobs for which there is
 * no member yet, and the door before them all.
 *
 * @module
 */
import type { AnyClaim } from "../schedule/claim.ts";
import { ClaimQueue } from "../schedule/claim_queue.ts";
import { LinkedList } from "../structures/linked_list.ts";
import type { AnyBalancerJob } from "./balancer_job.ts";
import type { Member } from "./balancer_member.ts";
import type { StealBoard } from "./steal_board.ts";

/** Places of all jobs that have not begun. */
export class BalancerLines {
  /** Jobs that wait for a first member. */
  readonly #unplaced = new ClaimQueue();
  /** Jobs that wait for a place in line. */
  readonly #door: LinkedList<AnyClaim> = new LinkedList();
  readonly #board: StealBoard;
  /** How many jobs have a place in line. */
  placed = 0;
  #arrivals = 0;

  constructor(board: StealBoard) {
    this.#board = board;
  }

  /** How many jobs wait, those without a place in line included. */
  get length(): number {
    return this.placed + this.#door.length;
  }

  get hasDoor(): boolean {
    return this.#door.length > 0;
  }

  get hasUnplaced(): boolean {
    return this.#unplaced.length > 0;
  }

  /** Has a job wait for a place in line. */
  appendToDoor(job: AnyBalancerJob): void {
    this.#number(job);
    this.#door.append(job);
  }

  peekDoor(): AnyBalancerJob | undefined {
    return this.#door.first as AnyBalancerJob | undefined;
  }

  peekUnplaced(): AnyBalancerJob | undefined {
    return this.#unplaced.peek() as AnyBalancerJob | undefined;
  }

  /** Puts a job into the line of a member, or among those that wait for one. */
  enter(
    job: AnyBalancerJob,
    member: Member | null,
    isBound: boolean,
    nowMs: number,
  ): void {
    this.#number(job);
    job.member = member;
    job.queue = member === null
      ? this.#unplaced
      : isBound
      ? member.bound
      : member.free;
    job.queue.add(job);
    this.placed++;
    if (member !== null) this.#board.update(member, nowMs);
  }

  /** Takes a job out of its line, or away from the door. */
  take(job: AnyBalancerJob, nowMs: number): void {
    const { queue, member } = job;
    if (queue === null) {
      this.#door.remove(job);
      return;
    }
    queue.remove(job);
    this.placed--;
    job.queue = null;
    job.member = null;
    if (member !== null) this.#board.update(member, nowMs);
  }

  /** Takes all jobs out of the lines of all members, and the others; returns them in the order of their arrival. */
  takeAll(members: Iterable<Member>, nowMs: number): AnyBalancerJob[] {
    const jobs = [...this.#unplaced, ...this.#door] as AnyBalancerJob[];
    for (const member of members) jobs.push(...member.listQueued());
    for (const job of jobs) this.take(job, nowMs);
    return jobs.sort((a, b) => a.arrival - b.arrival);
  }

  /** Takes out all jobs that are in the line of no member. */
  takeUnplaced(nowMs: number): AnyBalancerJob[] {
    return this.takeAll([], nowMs);
  }

  /** Returns the oldest or newest job of the lowest priority that any job in line has. */
  findLowest(
    which: "oldest" | "newest",
    members: Iterable<Member>,
  ): AnyBalancerJob | undefined {
    let lowest = this.#unplaced.findLowestJob(which);
    const consider = (job: AnyClaim | undefined) => {
      if (job === undefined) return;
      if (lowest === undefined || isLower(job, lowest, which)) lowest = job;
    };
    for (const { free, bound } of members) {
      consider(free.findLowestJob(which));
      consider(bound.findLowestJob(which));
    }
    return lowest as AnyBalancerJob | undefined;
  }

  /** Notes when a job came, once. */
  #number(job: AnyBalancerJob): void {
    if (job.arrival === 0) job.arrival = ++this.#arrivals;
  }
}

function isLower(
  job: AnyClaim,
  other: AnyClaim,
  which: "oldest" | "newest",
): boolean {
  if (job.rank !== other.rank) return job.rank < other.rank;
  return which === "oldest"
    ? job.arrival < other.arrival
    : job.arrival > other.arrival;
}
