/**
 * Error numbers of the C library, and the errors they become.
 *
 * @module
 */
import { OsError } from "../errors.ts";
import { DARWIN } from "./platform.ts";

/** The number of `"EBADF"` on all systems: not an open descriptor. */
export const EBADF = 9;

/** Errors a caller may want to tell apart; the second number is for macOS. */
const ERRORS: readonly (readonly [string, string, number, number])[] = [
  ["EPERM", "operation not permitted", 1, 1],
  ["ENOENT", "no such entry", 2, 2],
  ["EINTR", "interrupted by a signal", 4, 4],
  ["EIO", "input or output error", 5, 5],
  ["EBADF", "it is not an open descriptor", 9, 9],
  ["EAGAIN", "it would block", 11, 35],
  ["ENOMEM", "out of memory", 12, 12],
  ["EACCES", "permission denied", 13, 13],
  ["EFAULT", "bad address", 14, 14],
  ["EEXIST", "the entry exists", 17, 17],
  ["EINVAL", "invalid argument", 22, 22],
  ["ENFILE", "the system has too many open files", 23, 23],
  ["EMFILE", "the process has too many open files", 24, 24],
  ["ENOSPC", "no space left", 28, 28],
  ["EPIPE", "the other end is closed", 32, 32],
  ["ENOSYS", "the system does not have this call", 38, 78],
  ["ELOOP", "too deeply nested", 40, 62],
];

function findError(errno: number): (typeof ERRORS)[number] | undefined {
  const column = DARWIN ? 3 : 2;
  return ERRORS.find((error) => error[column] === errno);
}

/** Returns the name of an error number, such as `"EBADF"`. */
export function errnoCode(errno: number): string {
  return findError(errno)?.[0] ?? `errno ${errno}`;
}

/**
 * Makes the error for a call that failed with `errno`.
 *
 * @param doing The action that failed, as in `Cannot <doing>: ...`.
 */
export function osError(doing: string, errno: number): OsError {
  const code = errnoCode(errno);
  const text = findError(errno)?.[1] ?? "the operating system refused";
  return new OsError(`Cannot ${doing}: ${text} (${code})`, code, errno);
}
