/**
 * The watchdog of the process, as the shutdown sees it.
 *
 * @module
 */

/** The part of a watchdog that a shutdown needs. */
export interface ShutdownWatch {
  /** Has it listen to the signals, in case that the thread blocks when one comes. */
  expectShutdown(
    settled: {
      readonly signals: readonly Deno.Signal[];
      readonly budgetMs: number;
      readonly exit: boolean;
    },
  ): void;
  /** No shutdown is to be expected any more, or it is over. */
  expectNoShutdown(): void;
  /** The shutdown begins. Returns how long ago its signal came, in milliseconds. */
  shutdownBegins(budgetMs: number): number;
}

/** The watchdog that is on, if there is one. */
export const activeWatchdog: { current: ShutdownWatch | null } = {
  current: null,
};
