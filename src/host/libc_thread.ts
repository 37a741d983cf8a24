/**
 * Clocks of threads in the C library: how long a thread has used a processor, and whether there is such a thread.
 *
 * @module
 */
import { DescriptorsUnsupportedError } from "../errors.ts";
import { ERRNO, lender, type Libc } from "./libc.ts";
import { TIMESPEC } from "./libc_epoll.ts";
import { OS } from "./platform.ts";
import { ffiGranted } from "./process.ts";

const THREAD = {
  ...ERRNO,
  /** pid_t gettid(void); since glibc 2.30 */
  gettid: { parameters: [], result: "i32", optional: true },
  /** int clock_gettime(clockid_t clock, struct timespec *time) */
  clock_gettime: { parameters: ["i32", "buffer"], result: "i32" },
} as const satisfies Deno.ForeignLibraryInterface;

type ThreadLibc = Libc<typeof THREAD>;

const lend: () => ThreadLibc = lender(THREAD, ({ symbols }) => symbols);

/** Borrows the functions; null where there are none, or they do something else. */
function borrow(): ThreadLibc | null {
  if (OS !== "linux" || !ffiGranted()) return null;
  try {
    return lend();
  } catch (error) {
    if (error instanceof DescriptorsUnsupportedError) return null;
    throw error;
  }
}

/** Returns the number by which the operating system knows this thread; 0 if that cannot be known. */
export function ownThreadId(): number {
  const libc = borrow();
  try {
    return libc?.symbols.gettid?.() ?? 0;
  } finally {
    libc?.release();
  }
}

const time = new Int32Array(TIMESPEC.words);

/** Clock of a thread of this process. */
export class ThreadClock {
  /** Clock of the processor time of a thread, as Linux numbers it. */
  readonly #clock: number;
  #libc: ThreadLibc | null = null;
  #lastMs = 0;

  /**
   * Makes it.
   *
   * @param threadId What {@linkcode ownThreadId} returned in the thread; not 0.
   */
  constructor(threadId: number) {
    this.#clock = (~threadId << 3) | 6;
  }

  /** Time for which the thread has used a processor, in milliseconds; NaN if it is gone, or that cannot be known. */
  cpuMs(): number {
    const libc = this.#libc ??= borrow();
    if (libc?.symbols.clock_gettime(this.#clock, time) !== 0) return NaN;
    const ms = time[TIMESPEC.seconds]! * 1e3 + time[TIMESPEC.nanos]! / 1e6;
    // Less than before: another thread got the number.
    if (ms < this.#lastMs) return NaN;
    return this.#lastMs = ms;
  }

  /** Whether there is such a thread; undefined if that cannot be known. */
  exists(): boolean | undefined {
    const ms = this.cpuMs();
    return this.#libc === null ? undefined : !Number.isNaN(ms);
  }

  /** Gives the C library back; reading the clock borrows it again. */
  close(): void {
    this.#libc?.release();
    this.#libc = null;
  }
}
