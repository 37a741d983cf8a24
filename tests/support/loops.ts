import {
  EventLoop,
  type EventLoopOptions,
  type ExceptionContext,
  newEventLoop,
  type TimerHandle,
} from "../../mod.ts";

/** A loop, and what its exception handler was told so far. */
export interface OpenedLoop {
  readonly loop: EventLoop;
  readonly reports: ExceptionContext[];
}

/** Has the exception handler of a loop collect what it is told. */
export function collectReports(loop: EventLoop): ExceptionContext[] {
  const reports: ExceptionContext[] = [];
  loop.setExceptionHandler((_, context) => reports.push(context));
  return reports;
}

/** Makes a loop, on the virtual host unless `options` name another. */
export function openLoop(options: EventLoopOptions = {}): OpenedLoop {
  const loop = newEventLoop({ host: "virtual", ...options });
  return { loop, reports: collectReports(loop) };
}

/** Runs turns one after the other, even if nothing is ready. */
export async function runTurns(loop: EventLoop, count = 1): Promise<void> {
  for (; count > 0; count--) {
    loop.stop();
    await loop.runForever();
  }
}

/** A loop that shows all timers, so that each job has one. */
export class ObservedLoop extends EventLoop {
  override callAt<A extends unknown[]>(
    whenMs: number,
    callback: (...args: A) => unknown,
    ...args: A
  ): TimerHandle {
    return super.callAt(whenMs, callback, ...args);
  }
}
