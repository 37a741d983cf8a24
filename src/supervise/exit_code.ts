/**
 * Exit codes of a shutdown: 0 if all has stopped, 1 if something has not or a hook threw, 128 and the number of the
 * signal if a second signal forced the end.
 *
 * @module
 */
import { DARWIN } from "../host/platform.ts";

/** Numbers of the signals by which programs are stopped. The first ones are the same everywhere. */
const NUMBERS: Readonly<Record<string, number>> = {
  SIGHUP: 1,
  SIGINT: 2,
  SIGQUIT: 3,
  SIGABRT: 6,
  SIGALRM: 14,
  SIGTERM: 15,
  SIGBREAK: 21,
  SIGUSR1: DARWIN ? 30 : 10,
  SIGUSR2: DARWIN ? 31 : 12,
};

/** Signals by which the runtime ends a process that does not listen to them, with the right code. */
const DEADLY: ReadonlySet<string> = new Set(
  ["SIGHUP", "SIGINT", "SIGQUIT", "SIGALRM", "SIGTERM", "SIGUSR2"],
);

/** Whether a signal ends a process in which nobody listens to it. */
export function endsProcess(signal: string): boolean {
  return DEADLY.has(signal);
}

/** Returns the code of a process that a signal has ended by force; of one whose number is not known that of SIGTERM. */
export function forcedExitCode(signal: string): number {
  return 128 + (NUMBERS[signal] ?? 15);
}

/** Returns the code of a shutdown that has come to its end. */
export function exitCodeOf(stragglers: number, failures: number): 0 | 1 {
  return stragglers + failures === 0 ? 0 : 1;
}
