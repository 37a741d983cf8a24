/**
 * Locks of the web: the runtime stops a busy thread only while the thread holds one.
 *
 * @module
 */

/** The part of the lock manager that is used; the types of the runtime lack it. */
interface LockManager {
  request(
    name: string,
    options: { readonly mode: "exclusive" | "shared" },
    granted: () => Promise<void>,
  ): Promise<void>;
}

/**
 * Takes a lock, shared with all who take it by this function, and keeps it until the thread ends. That also keeps the
 * thread from ending by itself.
 *
 * @returns A promise that fulfils when the lock is held.
 */
export function holdLock(): Promise<void> {
  const { locks } = navigator as Navigator & { readonly locks: LockManager };
  return new Promise((held, failed) => {
    const granted = (): Promise<void> => {
      held();
      return new Promise(() => {});
    };
    locks.request("@rota/rota", { mode: "shared" }, granted).catch(failed);
  });
}
