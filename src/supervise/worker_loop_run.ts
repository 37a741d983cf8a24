/**
 * A worker loop while it runs, as the supervisor's thread sees it: the thread, the one job
 * that is its main function, and the beat by which it is found to be blocked or too large.
 *
 * @module
 */
import { CancelledError, MisuseError, WorkerCrashError } from "../errors.ts";
import { after, type HostTimer } from "../host/timers.ts";
import type { EventLoop } from "../loop/event_loop.ts";
import { deathOf, startFailure, type WorkerDeath } from "../workers/crash.ts";
import { lazyStarter } from "../workers/lazy_link.ts";
import type { LinkEnd, LinkListener, WorkerLink } from "../workers/link.ts";
import { LoopHandle } from "../workers/loop_handle.ts";
import { LostThreads } from "../workers/lost_threads.ts";
import { MACHINE_CLOCK } from "../workers/pool_clock.ts";
import { SHUTDOWN_REASON } from "./child_end.ts";
import type { WorkerLoopSettings } from "./worker_loop.ts";
import { WORKER_MAIN } from "./worker_loop_script.ts";

/** How a worker loop has ended. */
export interface WorkerLoopOutcome {
  /** Whether its main function returned or threw, or its thread died. */
  readonly how: "returned" | "threw" | "died";
  readonly error?: unknown;
}

/** Told what becomes of a worker loop; at any time, not only in turns of the loop. */
export interface WorkerLoopListener {
  /** Main has said that it is ready. */
  started(value: unknown): void;
  /** Main has said that it is alive. */
  beaten(): void;
  /** The thread has ended; nothing follows. */
  ended(outcome: WorkerLoopOutcome): void;
}

/** Functions that the thread calls. */
export interface WorkerLoopOwner {
  started(value: unknown): void;
  beaten(): void;
  /** Returns when all that was said before has arrived. */
  sync(): void;
}

const JOB = 1;
/** How many beats without an answer there are in the time after which a loop is blocked. */
const BEATS = 4;
/** The longest time between two beats; a heap that was full is found by a beat, too. */
const BEAT_MS_MAX = 1_000;
/** How often a thread is asked for its memory, if that is limited. */
const MEMORY_MS = 250;
/** How long a thread may take to end once its main has. */
const CLOSE_MS = 5_000;

/** Pings a thread, and counts how often it owes the answer. */
class Beat {
  readonly #link: WorkerLink;
  readonly #everyMs: number;
  readonly #missedMax: number;
  readonly #blocked: () => void;
  #timer: HostTimer | null = null;
  #isOwed = false;
  #missed = 0;

  constructor(
    link: WorkerLink,
    { unresponsiveMs, memoryBytesMax }: WorkerLoopSettings,
    blocked: () => void,
  ) {
    this.#link = link;
    const mostMs = memoryBytesMax === Infinity ? BEAT_MS_MAX : MEMORY_MS;
    this.#everyMs = Math.min(unresponsiveMs / BEATS, mostMs);
    // Beats and not milliseconds: while the machine is suspended, or this thread is busy, none is missed.
    this.#missedMax = Math.ceil(unresponsiveMs / this.#everyMs);
    this.#blocked = blocked;
  }

  /** Pings now, and from now on. */
  start(): void {
    this.#ask();
  }

  answered(): void {
    this.#isOwed = false;
    this.#missed = 0;
  }

  stop(): void {
    this.#timer?.cancel();
    this.#timer = null;
  }

  #ask(): void {
    if (!this.#isOwed) this.#link.ping();
    else if (++this.#missed >= this.#missedMax) {
      this.#timer = null;
      this.#blocked();
      return;
    }
    this.#isOwed = true;
    this.#timer = after(this.#everyMs, () => this.#ask(), false);
  }
}

/** A worker loop that was started. */
export class WorkerLoopRun implements LinkListener {
  readonly #settings: WorkerLoopSettings;
  readonly #path: string;
  readonly #loop: EventLoop;
  readonly #listener: WorkerLoopListener;
  readonly #link: WorkerLink;
  readonly #owner: LoopHandle<WorkerLoopOwner>;
  readonly #beat: Beat;
  readonly #lost: LostThreads;
  #phase: "starting" | "running" | "closing" | "ended" = "starting";
  /** The end, as far as it is known. */
  #outcome: WorkerLoopOutcome | null = null;
  #closing: HostTimer | null = null;
  #value: unknown = undefined;

  constructor(
    settings: WorkerLoopSettings,
    path: string,
    loop: EventLoop,
    listener: WorkerLoopListener,
  ) {
    this.#settings = settings;
    this.#path = path;
    this.#loop = loop;
    this.#listener = listener;
    this.#owner = this.#makeOwner();
    const { name, env, resourceLimits } = settings;
    this.#link = lazyStarter(async () => {
      const { loadThreadStarter } = await import("../workers/thread_link.ts");
      return await loadThreadStarter({ name, env, resourceLimits });
    })(this);
    this.#beat = new Beat(this.#link, settings, () => this.#isBlocked());
    this.#lost = new LostThreads(MACHINE_CLOCK, () => {}, () => this.#tell());
  }

  #makeOwner(): LoopHandle<WorkerLoopOwner> {
    const owner = new LoopHandle<WorkerLoopOwner>({ loop: this.#loop });
    owner.register("started", (value) => {
      this.#value = value;
      this.#listener.started(value);
    });
    owner.register("beaten", () => this.#listener.beaten());
    owner.register("sync", () => {});
    return owner;
  }

  // -- The supervisor's side --

  /** Cancels main. */
  stop(): void {
    if (this.#phase === "starting") this.#link.close();
    else if (this.#phase === "running") this.#link.abort(JOB, SHUTDOWN_REASON);
  }

  /** Ends the thread. */
  kill(): void {
    this.#link.kill();
  }

  // -- The thread's side --

  ready(): void {
    const { task, args } = this.#settings;
    this.#phase = "running";
    try {
      this.#link.send({
        id: JOB,
        name: this.#path,
        task: WORKER_MAIN,
        args: [task, this.#path, this.#owner, ...args],
        transfer: [],
        remainingMs: Infinity,
        locals: null,
      });
    } catch (error) {
      this.#close({ how: "threw", error });
      return;
    }
    this.#beat.start();
  }

  returned(): void {
    this.#close({ how: "returned" });
  }

  threw(_id: number, error: unknown): void {
    this.#close({ how: "threw", error });
  }

  progressed(): void {
    // Progress of main is of interest to nobody.
  }

  /** Refuses jobs that main submits by `currentJob`: they have no pool. */
  nested(): never {
    throw new MisuseError(
      "Cannot submit a job from inside a worker loop: it belongs to no pool; make a pool in it",
    );
  }

  answered(usedBytes: number): void {
    this.#beat.answered();
    const { memoryBytesMax } = this.#settings;
    if (usedBytes <= memoryBytesMax || this.#phase === "ended") return;
    this.#condemn({
      kind: "out-of-memory",
      exitCode: null,
      cause: undefined,
      how:
        `used ${usedBytes} bytes of memory, more than the ${memoryBytesMax} that it may`,
    });
  }

  #isBlocked(): void {
    const { unresponsiveMs } = this.#settings;
    const end: LinkEnd = { kind: "killed", exitCode: null, cause: undefined };
    this.#condemn(deathOf(end, "unresponsive", unresponsiveMs));
  }

  /** Ends a thread that is not as it should be. */
  #condemn(death: WorkerDeath): void {
    this.#outcome ??= this.#died(death);
    this.#link.kill();
  }

  #died({ kind, exitCode, cause, how }: WorkerDeath): WorkerLoopOutcome {
    const error = new WorkerCrashError(
      `The thread of worker loop "${this.#path}" ${how}`,
      kind,
      exitCode,
      cause === undefined ? undefined : { cause },
    );
    return { how: "died", error };
  }

  /** Main has ended: has the thread end, too. */
  #close(outcome: WorkerLoopOutcome): void {
    this.#outcome ??= outcome;
    this.#phase = "closing";
    this.#closing = after(CLOSE_MS, () => this.#link.kill(), false);
    this.#link.close();
  }

  ended(end: LinkEnd): void {
    const wasStarting = this.#phase === "starting";
    this.#phase = "ended";
    this.#beat.stop();
    this.#closing?.cancel();
    this.#owner.close();
    if (this.#value instanceof LoopHandle) this.#value.close();
    this.#outcome ??= this.#outcomeOf(end, wasStarting);
    this.#lost.watch(this.#link, this.#path);
    if (!this.#lost.isLooking) this.#tell();
  }

  #outcomeOf(end: LinkEnd, wasStarting: boolean): WorkerLoopOutcome {
    if (end.kind === "closed" && wasStarting) {
      return { how: "threw", error: new CancelledError(SHUTDOWN_REASON) };
    }
    return this.#died(
      wasStarting ? startFailure(end) : deathOf(end, null, Infinity),
    );
  }

  /** The thread is gone, or cannot be ended: none of its JavaScript runs any more, so another one may start. */
  #tell(): void {
    if (this.#lost.count > 0) {
      this.#loop.callExceptionHandler({
        message:
          `The thread of worker loop "${this.#path}" was ended, and goes on in native code that does not return`,
      });
    }
    this.#listener.ended(this.#outcome!);
  }
}
