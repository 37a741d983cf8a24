/**
 * Locks of the web: the runtime stops a busy thread only while the thread holds one.
 *
 * @module
 */

/** The part of the lock manager that is used; the runtime's types of windows and workers lack it. */
interface LockManager {
  request(
    name: string,
    options: { readonly mode: "exclusive" | "shared" },
    granted: () => Promise<void>,
  ): Promise<void>;
}

/**
 * Takes a lock and keeps it until the thread ends. That also keeps the thread from ending by itself. The name is a new
 * one each time: nobody else can hold it, and so keep the thread waiting.
 *
 * @returns A promise that fulfils when the lock is held.
 */
export function holdLock(): Promise<void> {
  const { locks } = navigator as unknown as { readonly locks: LockManager };
  return new Promise((held, failed) => {
    const granted = (): Promise<void> => {
      held();
      return new Promise(() => {});
    };
    const name = `@rota/rota ${crypto.randomUUID()}`;
    locks.request(name, { mode: "shared" }, granted).catch(failed);
  });
}
