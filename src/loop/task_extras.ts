/**
 * The state that few tasks have: blocks, requests for cancellation, a signal.
 * The object is made on first use, as tasks are made by the hundred thousand.
 *
 * @module
 */
import type { Block } from "./block.ts";
import {
  type CancelRequest,
  type DueYields,
  takeBack,
} from "./cancellation.ts";
import { cancellationBy, listen, SignalListener } from "./signal_hub.ts";
import type { Task } from "./task.ts";
import type { TimerHandle } from "./timer_handle.ts";

/** Cancels a task when a signal aborts. */
class TaskListener extends SignalListener {
  declare private readonly task: Task<unknown>;

  constructor(task: Task<unknown>) {
    super();
    this.task = task;
  }

  protected override aborted(signal: AbortSignal): void {
    this.task.cancel(cancellationBy(signal));
  }
}

/** Fields that most tasks never need. */
export class Extras {
  /** The block of the whole task, around all others: the root of its strands. */
  root: Block | null = null;
  /** The innermost block that the task's own generator has open. */
  block: Block | null = null;
  /** The requests that were made and may not have been thrown yet. */
  requests: CancelRequest[] = [];
  /** Given to the last call of `cancel`, for a signal that is asked for later. */
  lastReason: unknown = undefined;
  /** How many of the requests that count were made by open blocks. */
  requestsOfBlocks = 0;
  /** The `sleep(0)` in the ready queue that have to throw. */
  dueYields: DueYields | null = null;
  /** How many blocks its async function has opened by itself, and is in. */
  openedInside = 0;
  /** Cancels the task when its signal aborts. */
  subscription: TaskListener | null = null;
  /** Set while a request is handed on to whatever the task waits for. */
  handingOn = false;
  /** Runs when a request has found no wait to be thrown into, for too long. */
  warning: TimerHandle | null = null;
  /** Enters the async context of the task's creator. */
  enter: (<R>(fn: () => R) => R) | null = null;

  /** Has `signal` cancel the task. */
  follow(task: Task<unknown>, signal: AbortSignal): void {
    this.subscription = new TaskListener(task);
    listen(signal, this.subscription);
  }

  /** A request was taken: it counts from now on. */
  noteRequest(request: CancelRequest): void {
    this.lastReason = request.reason;
    this.requests = this.requests.filter(isDue);
    this.requests.push(request);
    if (request.block === null) return;
    this.requestsOfBlocks++;
    request.block.noteRequest(request);
  }

  /** Takes back what has not been thrown, and gives the blocks fresh signals. */
  takeBackRequests(): void {
    takeBack(this.requests);
    this.requests = [];
    this.lastReason = undefined;
    this.root?.renewInside();
  }

  /** The newest request to the task as a whole that has not been thrown. */
  dueRequest(): CancelRequest | null {
    return this.requests.findLast(isDueAtTask) ?? null;
  }

  /** An async function waits in an operation: no need to report the task any more. */
  dropWarning(): void {
    this.warning?.cancel();
    this.warning = null;
  }

  /** The task has ended. */
  end(): void {
    this.subscription?.unsubscribe();
    this.warning?.cancel();
    this.root?.endTask();
  }
}

function isDue(request: CancelRequest): boolean {
  return request.state === "due";
}

function isDueAtTask(request: CancelRequest): boolean {
  return request.state === "due" && request.block === null;
}
