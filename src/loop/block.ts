/**
 * Blocks: parts of a task that can be cancelled as a whole.
 *
 * @module
 */
import type { CancelledError } from "../errors.ts";
import { MisuseError } from "../errors.ts";
import { runBody } from "./body.ts";
import {
  applyLevels,
  type CancelRequest,
  endLevel,
  type Holder,
  requestCancel,
  requestLevel,
  takeBack,
} from "./cancellation.ts";
import { checkFunction, checkOneOf } from "./checks.ts";
import type { Suspension } from "./future.ts";
import type { Stepper } from "./stepping.ts";
import { findStrand, InnerStrand, placeOf } from "./strand.ts";
import { type Strand, strandsInside } from "./strand_tree.ts";
import type { Coroutine } from "./task_body.ts";
import type { Task } from "./task.ts";

/** Options of a {@linkcode Block}. */
export interface BlockOptions {
  /**
   * Effect of {@linkcode Block.cancel}. `"once"`, like asyncio: one wait
   * throws, and the request counts in {@linkcode Task.cancelling}. `"level"`,
   * like trio: the request does not count, and every wait inside throws from
   * then on until the block is closed, except under a shielded block.
   *
   * @default {"once"}
   */
  readonly cancels?: "once" | "level" | undefined;
  /**
   * Initial value of {@linkcode Block.shielded}.
   *
   * @default {false}
   */
  readonly shielded?: boolean | undefined;
}

/**
 * A part of a task that can be cancelled by itself: timeouts, task groups and
 * cancel scopes open one around their body.
 *
 * Blocks nest, and branches of an async function that run side by side, as in
 * `Promise.all`, may have one each. Cancelling a block cancels the waits inside
 * it, and aborts the signals of this block and of the blocks inside. The code
 * that opens a block must close it, innermost first.
 */
export class Block extends InnerStrand {
  /** Effect of {@linkcode cancel}: `"once"` or `"level"`. */
  readonly cancels: "once" | "level";
  /**
   * Deadline of the block on the clock of the loop, for code that asks how much
   * time is left. The opener sets it.
   */
  deadlineMs: number = Infinity;
  /**
   * The stepper of the generator that opened this block, and closes it.
   *
   * @ignore
   */
  readonly opener: Stepper;
  /**
   * Whether an async function opened this block directly.
   *
   * @ignore
   */
  readonly isOpenedByAsyncFunction: boolean;
  /**
   * The level request of this block itself.
   *
   * @ignore
   */
  ownLevel: CancelRequest | null = null;
  /** The innermost block of the opener before this one. */
  readonly #before: Block | null;
  /** The strand in which an async function opened this block directly. */
  readonly #openedIn: Strand | null;
  /** The outstanding requests that this block has made. */
  #requests: CancelRequest[] = [];
  #shield: boolean;
  #controller: AbortController | null = null;
  #abortedBy: CancelledError | null = null;
  #listener: (() => void) | null = null;

  /**
   * Blocks are made by {@linkcode Task.openBlock}.
   *
   * @ignore
   */
  constructor(
    task: Task<unknown>,
    around: InnerStrand | null,
    opener: Stepper,
    options: BlockOptions,
    openedIn: Strand | null,
  ) {
    super(task, around);
    this.opener = opener;
    this.cancels = options.cancels ?? "once";
    this.#shield = options.shielded === true;
    this.isOpenedByAsyncFunction = openedIn !== null;
    this.#openedIn = openedIn;
    this.#before = opener.block;
    if (around === null) return;
    opener.block = this;
    if (openedIn !== null) {
      openedIn.step(true);
      this.enter();
    }
    this.inheritLevel();
    if (this.level !== null) this.abort(this.level.reason as CancelledError);
  }

  /** The block around this one; `null` for that of the whole task. */
  get outer(): Block | null {
    const { around } = this;
    if (around === null) return null;
    return placeOf(around) ?? this.task.blockTree;
  }

  /** @ignore */
  get place(): Block | null {
    return this.isRoot ? null : this;
  }

  /**
   * Whether this block keeps out level cancellations of the blocks around it.
   * They apply again once the block is closed, or `shielded` is set to false.
   *
   * @throws {TypeError} If the value is not a boolean.
   */
  get shielded(): boolean {
    return this.#shield;
  }

  set shielded(shielded: boolean) {
    if (shielded === this.#shield) return;
    checkOneOf(shielded, [true, false], "shield a block", "shielded");
    this.#shield = shielded;
    if (!this.closed) applyLevels(this);
  }

  /**
   * The level request of a block further out that applies to this one.
   *
   * @ignore
   */
  get outerLevel(): CancelRequest | null {
    return this.#shield || this.around === null ? null : this.around.level;
  }

  /** @ignore */
  inheritLevel(): void {
    this.level = this.outerLevel ?? this.ownLevel;
  }

  /**
   * A signal that aborts when this block, or one around it, is cancelled. Made
   * on first use. The reason is a {@linkcode CancelledError}.
   */
  get signal(): AbortSignal {
    if (this.#controller === null) {
      this.#controller = new AbortController();
      if (this.#abortedBy !== null) this.#controller.abort(this.#abortedBy);
    }
    return this.#controller.signal;
  }

  /**
   * Cancels the part of the task inside this block, in the way chosen when it
   * was opened. With `"once"`, the caller calls {@linkcode uncancel} when the
   * cancellation has reached the end of the block. Does nothing on a closed
   * block.
   *
   * @param reason Cause, of any type.
   * @returns Whether neither the block nor the task had ended.
   */
  cancel(reason?: unknown): boolean {
    if (this.closed) return false;
    if (this.cancels === "level") return requestLevel(this, reason);
    return requestCancel(this.task, this, reason);
  }

  /**
   * A once request of this block was taken.
   *
   * @ignore
   */
  noteRequest(request: CancelRequest): void {
    this.#requests.push(request);
  }

  /**
   * Takes back one request of {@linkcode cancel}, as {@linkcode Task.uncancel}
   * does.
   *
   * @returns How many requests remain that concern this block.
   */
  uncancel(): number {
    const request = this.#requests.pop();
    if (request !== undefined) {
      takeBack([request]);
      this.task.forgetRequestsOfBlock(1);
    }
    this.task.uncancel();
    return this.cancelling();
  }

  /**
   * Returns how many requests for cancellation of the task are outstanding,
   * without those of blocks beside this one in an async function.
   *
   * @returns The number; {@linkcode Task.cancelling} if no block is beside this
   * one.
   */
  cancelling(): number {
    return this.task.requestsAt(this);
  }

  /**
   * How many of the outstanding requests this block has made itself.
   *
   * @ignore
   */
  get ownRequests(): number {
    return this.#requests.length;
  }

  /**
   * Error that every wait inside throws, for a block that was cancelled with
   * `"level"`: the same object each time.
   */
  get cancellation(): CancelledError | null {
    return this.ownLevel === null
      ? null
      : this.ownLevel.reason as CancelledError;
  }

  /**
   * The holder of the requests that were due when it was opened.
   *
   * @ignore
   */
  get openedBy(): Holder {
    return this.#openedIn ?? this.opener;
  }

  /**
   * Has `listener` called when a level cancellation from further out begins to apply.
   *
   * @ignore
   */
  onLevel(listener: () => void): void {
    this.#listener = listener;
  }

  /** @ignore */
  override levelCame(): void {
    if (this.outerLevel !== null) this.#listener?.();
  }

  /**
   * Calls `body` inside this block, in its task.
   *
   * The waits of an async function belong to the task then, as with
   * `until(() => body())`. Unlike with `until`, a cancellation never ends the
   * wait for the function: it is thrown into the operation for which the
   * function waits, or else into its next operation, and the block goes on when
   * the function has ended.
   *
   * @typeParam A Type of the argument.
   * @typeParam T Type of the result.
   * @param body A generator function, an async function or a plain one.
   * @param argument Argument of the call.
   * @returns An iterable to `yield*`, at once, for the result.
   * @throws {TypeError} If `body` is not a function.
   */
  run<A, T>(
    body: (argument: A) => Coroutine<T> | PromiseLike<T> | T,
    argument: A,
  ): Iterable<Suspension, T, unknown> {
    if (typeof body !== "function") checkFunction(body, "run a block", "body");
    return runBody(this, body, argument);
  }

  /**
   * Ends the block. The block around it becomes the innermost again.
   *
   * @throws {MisuseError} If it is not the innermost open block of its opener.
   */
  override close(): void {
    const { opener } = this;
    if (this.isRoot || this.closed || opener.block !== this) {
      throw new MisuseError(
        "Cannot close a block: it is not the innermost open one of its opener",
      );
    }
    opener.block = this.#before;
    if (this.#openedIn !== null) this.exit();
    super.close();
    this.#openedIn?.step(false);
    if (this.ownLevel !== null) endLevel(this.ownLevel);
    takeBack(this.#requests);
    this.task.forgetRequestsOfBlock(this.#requests.length);
    this.#requests = [];
  }

  /** @ignore */
  override abort(error: CancelledError): void {
    if (this.#abortedBy !== null) return;
    this.#abortedBy = error;
    this.#controller?.abort(error);
  }

  /** The cancellation was dealt with: code that starts from now on gets a fresh signal. */
  #renew(): void {
    if (this.#abortedBy === null || this.level !== null) return;
    this.#abortedBy = null;
    this.#controller = null;
  }

  /**
   * Renews the signals of this block and of those inside.
   *
   * @ignore
   */
  renewInside(): void {
    for (const strand of strandsInside(this)) {
      if (strand instanceof Block) strand.#renew();
    }
  }

  /**
   * Drops everything that runs and waits in the blocks of a task that has ended.
   *
   * @ignore
   */
  endTask(): void {
    for (const strand of strandsInside(this)) {
      (strand as InnerStrand).abandon();
      if (strand instanceof Block && strand.ownLevel !== null) {
        endLevel(strand.ownLevel);
      }
    }
  }
}

/** The innermost block of the running code; null outside of blocks and tasks. */
export function findPlace(): Block | null {
  return findStrand()?.place ?? null;
}

/**
 * Returns the innermost open block (timeout, task group, scope) of the current
 * task around the running code, or `null` outside blocks and tasks.
 *
 * @returns The block.
 */
export function currentBlock(): Block | null {
  return findPlace();
}
