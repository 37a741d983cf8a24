/**
 * The children of a supervisor, in start order and by id.
 *
 * @module
 */
import { LinkedList } from "../structures/linked_list.ts";
import type { Child, ChildStatus } from "./child.ts";

/**
 * List of children. Adding, removing and finding one are O(1), but for the first that is
 * looked for, and so are the counts.
 */
export class Children {
  readonly list: LinkedList<Child> = new LinkedList();
  /** Made when a child is looked for by its id. */
  #byId: Map<string, Child> | null = null;
  readonly #keepsStopped: boolean;
  /** How many significant children run or are about to. */
  significant = 0;
  /** How many children wait for their restart. */
  restarting = 0;

  /** With `keepsStopped` false a child that does not run is forgotten, whatever its restart type. */
  constructor(keepsStopped: boolean) {
    this.#keepsStopped = keepsStopped;
  }

  get size(): number {
    return this.list.length;
  }

  /** The child of an id. In a dynamic supervisor ids name nobody. */
  find(id: string): Child | undefined {
    if (!this.#keepsStopped) return undefined;
    if (this.#byId === null) {
      this.#byId = new Map();
      for (const child of this.list.toArray()) this.#byId.set(child.id, child);
    }
    return this.#byId.get(id);
  }

  /** Adds a child that does not run. */
  add(child: Child): void {
    this.list.append(child);
    this.#byId?.set(child.id, child);
  }

  /** Forgets a child. */
  drop(child: Child): void {
    this.setStatus(child, "stopped");
    if (this.list.remove(child)) this.#byId?.delete(child.id);
  }

  setStatus(child: Child, status: ChildStatus): void {
    const before = child.status;
    if (before === status) return;
    child.status = status;
    if (before === "restarting") this.restarting--;
    if (status === "restarting") this.restarting++;
    if (!child.settings.significant) return;
    if (before === "stopped") this.significant++;
    if (status === "stopped") this.significant--;
  }

  /** Forgets all children, none of which runs. */
  clear(): void {
    for (let child = this.list.first; child !== undefined;) {
      const next = child.nextNode;
      this.drop(child);
      child = next;
    }
  }

  /** The child does not run: it is kept, unless it is temporary or the supervisor is dynamic. */
  settle(child: Child): void {
    if (child.isTemporary || !this.#keepsStopped) this.drop(child);
    else this.setStatus(child, "stopped");
  }
}
