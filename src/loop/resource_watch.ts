/**
 * A seam for tests: tells of permits, workers and subscriptions that are taken and
 * given back, of which no loop keeps a list.
 *
 * @module
 */

/** Kinds of resources: a source is a listener while it is subscribed. */
export type ResourceKind = "permit" | "worker" | "listener";

/** Told of resources. None of the calls may throw. */
export interface ResourceWatch {
  /** `owner` has given one out, a worker has started, or a source has subscribed; `name` is for messages. */
  taken(kind: ResourceKind, owner: object, name: string): void;
  /** A permit was given back to `owner`, or the worker or subscription has ended. */
  returned(owner: object): void;
}

/** The watch of this thread; null if there is none. */
export const resourceWatch: { current: ResourceWatch | null } = {
  current: null,
};
