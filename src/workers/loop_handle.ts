/**
 * Loop handles: calling functions of a loop from other threads.
 *
 * @module
 */
import { Registry } from "../host/finalization.ts";
import { isPort } from "../host/message_port.ts";
import {
  checkFunction,
  checkOptions,
  checkSignal,
  checkString,
  checkWaitOptions,
  inspect,
} from "../loop/checks.ts";
import { getRunningLoop } from "../loop/current.ts";
import { EventLoop } from "../loop/event_loop.ts";
import { MisuseError } from "../errors.ts";
import type { Future } from "../loop/future.ts";
import { Operation, type WaitOptions } from "../loop/operation.ts";
import { cancellationBy } from "../loop/signal_hub.ts";
import type { Coroutine } from "../loop/task_body.ts";
import { CallerLine } from "./caller_line.ts";
import { checkTransfer } from "./checks.ts";
import {
  isOfThisVersion,
  isPacked,
  pack,
  type PackedHandle,
  packPort,
  provideUnpack,
} from "./handle_arguments.ts";
import { HandleCall } from "./handle_call.ts";
import { HandleOwner } from "./handle_owner.ts";
import type { HandleTarget } from "./handle_target.ts";
import type { HandleFunction } from "./incoming_call.ts";
import type { JobResult } from "./module_task.ts";

export { type PackedHandle, unpackHandles } from "./handle_arguments.ts";
export type { HandleFunction } from "./incoming_call.ts";

/** Arguments of a function of a handle; any, if its type is not known. */
export type HandleArguments<F extends HandleFunction> = Parameters<F> extends
  infer A extends unknown[]
  ? A extends readonly [] ? A : [A[number]] extends [never] ? unknown[] : A
  : never;

/** Result of a function of a handle: the value that it returns, or that its promise or generator ends with. */
export type HandleResult<F extends HandleFunction> = JobResult<ReturnType<F>>;

/** Options of a {@linkcode LoopHandle}. */
export interface LoopHandleOptions {
  /**
   * Loop whose functions are called.
   *
   * @default {the running loop}
   */
  readonly loop?: EventLoop | undefined;
}

/** Options of {@linkcode LoopHandle.callWith}. */
export interface HandleCallOptions {
  /** Cancels the call, with the signal's reason, when it aborts. */
  readonly signal?: AbortSignal | undefined;
  /** Objects of the arguments that are moved to the other thread instead of copied. */
  readonly transfer?: readonly Transferable[] | undefined;
}

/** Result of {@linkcode LoopHandle.transferable}: the two arguments of `postMessage`. */
export interface TransferableHandle {
  /** Message, or a part of one, of which {@linkcode LoopHandle.receive} makes a handle. */
  readonly value: PackedHandle;
  /** List of what has to be transferred with it. */
  readonly transfer: Transferable[];
}

/** Options of a handle that stands for a loop elsewhere. */
class Received implements LoopHandleOptions {
  declare readonly loop?: undefined;
  readonly line: CallerLine;

  constructor(line: CallerLine) {
    this.line = line;
  }
}

/** Ports of handles that have been received. */
const taken = new WeakSet<WeakKey>();

/** Closes the lines of received handles that were thrown away. */
const collected = new Registry<CallerLine>((line) => line.release());

/** Value of an own property of each handle: it cannot be cloned, so neither can the handle, and the error has its text. */
const CLONE_GUARD = Symbol(
  "a LoopHandle: send its transferable() instead, and not to a process",
);

/**
 * A handle to an event loop, for calling its functions from other threads.
 *
 * The counterpart of asyncio's `run_coroutine_threadsafe` ({@linkcode call}) and
 * `call_soon_threadsafe` ({@linkcode post}). JavaScript cannot hand a function to
 * another thread, so the owner of the loop registers functions under names.
 *
 * The owner makes a handle with `new LoopHandle()` and sends
 * {@linkcode transferable} to a worker, which makes its own handle of that with
 * {@linkcode LoopHandle.receive}. A handle may also be an argument or result of a
 * call, or an argument of a job of a thread pool, and be passed on from thread to
 * thread. All handles of a loop are connected with it directly.
 *
 * A call wakes a loop that waits, on every host. A busy loop looks for calls when
 * it lets the runtime's I/O through, every millisecond or so of work; so a call
 * begins within about that time, plus that of the longest callback. Calls of one
 * handle begin in the order in which they were made. While a call is under way it
 * keeps the caller's process alive, and the caller's virtual clock stands still. A
 * handle without calls under way costs no CPU time and keeps nothing alive.
 *
 * @example A thread calls a function of the main thread's loop
 * ```ts
 * import { LoopHandle, run } from "@rota/rota";
 * import { assertEquals } from "@std/assert";
 *
 * await run(async () => {
 *   using handle = new LoopHandle<{ add(a: number, b: number): number }>();
 *   handle.register("add", (a, b) => a + b);
 *
 *   // Usually this is posted to a worker, and received there:
 *   // worker.postMessage(value, transfer)
 *   const { value } = handle.transferable();
 *   using remote = LoopHandle.receive<{ add(a: number, b: number): number }>(value);
 *   assertEquals(await remote.call("add", 1, 2), 3);
 * });
 * ```
 *
 * @typeParam F Object type of the functions, by their names.
 */
export class LoopHandle<
  F extends { readonly [K in keyof F]: HandleFunction } = Record<
    string,
    HandleFunction
  >,
> implements Disposable {
  readonly #target: HandleTarget;

  /**
   * Makes a handle of a loop, for its owner.
   *
   * It closes when the loop does, at the end of {@linkcode run} before the tasks
   * that are left are cancelled.
   *
   * @param options Whose loop it is.
   * @throws {TypeError} If `loop` is not an event loop.
   * @throws {MisuseError} If there is neither a `loop` nor a running one.
   * @throws {LoopClosedError} If the loop is closed.
   */
  constructor(options: LoopHandleOptions = {}) {
    Object.defineProperty(this, "cloneGuard", {
      value: CLONE_GUARD,
      enumerable: true,
    });
    if (options instanceof Received) {
      this.#target = options.line;
      collected.register(this, options.line);
      return;
    }
    const what = "make a loop handle";
    checkOptions(options, what);
    const { loop = getRunningLoop() } = options;
    if (!(loop instanceof EventLoop)) {
      throw new TypeError(
        `Cannot ${what} as loop must be an EventLoop: received ${
          inspect(loop)
        }`,
      );
    }
    this.#target = new HandleOwner(loop);
  }

  /**
   * Makes a handle of what {@linkcode transferable} has given in another thread,
   * or in this one. The type of its functions is taken on trust.
   *
   * The handle belongs to no loop: any loop of this thread may call with it. Close
   * it when it is not needed any more; one that is collected closes by itself.
   *
   * @example In a worker
   * ```ts ignore
   * import { LoopHandle, run } from "@rota/rota";
   *
   * self.onmessage = ({ data }) => {
   *   using owner = LoopHandle.receive(data);
   *   return run(() => owner.call("greet", "from a thread"));
   * };
   * ```
   *
   * @typeParam F Object type of the functions, by their names.
   * @param value The value that has arrived.
   * @returns The handle.
   * @throws {TypeError} If `value` is not such a value, or comes from another
   * version of Rota.
   * @throws {MisuseError} If a handle was made of it before.
   */
  static receive<
    F extends { readonly [K in keyof F]: HandleFunction } = Record<
      string,
      HandleFunction
    >,
  >(value: unknown): LoopHandle<F> {
    const what = "receive a loop handle";
    if (!isPacked(value) || !isPort(value.port)) {
      throw new TypeError(
        `Cannot ${what} as value must come from transferable(): received ${
          inspect(value)
        }`,
      );
    }
    if (!isOfThisVersion(value)) {
      throw new TypeError(
        `Cannot ${what} as value must come from this version of Rota: received one of another version`,
      );
    }
    if (taken.has(value.port)) {
      throw new MisuseError(
        `Cannot ${what}: one was made of this value already, call transferable() for each`,
      );
    }
    taken.add(value.port);
    return new LoopHandle<F>(new Received(new CallerLine(value.port)));
  }

  // -- The owner --

  /**
   * Registers a function under a name, at the owner.
   *
   * It may be a plain, an async or a generator function, and runs as a task of
   * the owner's loop, in the order in which the calls arrive.
   *
   * @param name Name for {@linkcode call}.
   * @param fn The function. Its arguments are copies.
   * @throws {TypeError} If `name` is not a string or `fn` not a function.
   * @throws {MisuseError} If the name is taken, or this is not the owner's handle.
   * @throws {ExecutorShutDownError} If the handle is closed.
   */
  register<K extends keyof F & string>(
    name: K,
    fn: (
      ...args: Parameters<F[K]>
    ) =>
      | Coroutine<HandleResult<F[K]>>
      | PromiseLike<HandleResult<F[K]>>
      | HandleResult<F[K]>,
  ): void {
    checkString(name, "register a function", "name");
    checkFunction(fn, `register "${name}"`, "fn");
    this.#owner(`register "${name}"`).register(name, fn);
  }

  /**
   * Removes a function. Calls of it that have begun go on; those that have not
   * fail like calls of an unknown name.
   *
   * @param name Name under which it was registered.
   * @returns Whether there was one.
   * @throws {TypeError} If `name` is not a string.
   * @throws {MisuseError} If this is not the owner's handle.
   */
  unregister(name: keyof F & string): boolean {
    checkString(name, "unregister a function", "name");
    return this.#owner(`unregister "${name}"`).unregister(name);
  }

  /**
   * Waits until the handle is closed, for an owner that has nothing else to do
   * than to serve calls.
   *
   * Meanwhile the thread stays alive. A virtual clock stands still, as calls may
   * come at any time. Ending the wait otherwise does not close the handle.
   *
   * @example A thread that serves until it is told to stop
   * ```ts
   * import { LoopHandle, run } from "@rota/rota";
   *
   * await run(async () => {
   *   const handle = new LoopHandle();
   *   handle.register("stop", () => handle.close());
   *   handle.post("stop"); // by another thread, as a rule
   *   await handle.serve();
   * });
   * ```
   *
   * @param options A signal that ends the wait.
   * @returns An operation: nothing happens until it is waited for.
   * @throws {TypeError} If `signal` is no `AbortSignal`.
   * @throws {MisuseError} If this is not the owner's handle, or another loop waits.
   */
  serve(options: WaitOptions = {}): Operation<void> {
    const signal = checkWaitOptions(options, "serve calls");
    const owner = this.#owner("serve calls");
    return new Operation<void>(() => owner.served(), {
      name: "LoopHandle.serve()",
      signal,
    });
  }

  #owner(what: string): HandleOwner {
    if (this.#target instanceof HandleOwner) return this.#target;
    throw new MisuseError(
      `Cannot ${what}: this handle was received, only that of the loop's owner can`,
    );
  }

  // -- Calls --

  /**
   * Calls a function of the owner's loop. Like asyncio's
   * `run_coroutine_threadsafe`.
   *
   * May be called in any thread that has a handle, the owner's own one included.
   * The future belongs to the running loop of the caller. Arguments and result
   * are copied, by structured clone; handles among them arrive as handles. An
   * error of the function arrives with its class, message and stack.
   *
   * Cancelling the future, or a task that waits for it, ends the call at once, and
   * has the owner cancel the task of the function, which may clean up for as long
   * as it likes. Errors after that go to the exception handler of the owner's
   * loop. A call whose task was cancelled at the owner ends cancelled as well.
   *
   * @param name Name of the function.
   * @param args Its arguments.
   * @returns A future of the result. It fails with an `ExecutorShutDownError` if
   * the handle is closed, or its owner is, or the owner's thread has ended; with a
   * `MisuseError` if no such function is registered; with a `DataCloneError` if an
   * argument or the result cannot be cloned.
   * @throws {TypeError} If `name` is not a string.
   * @throws {MisuseError} If no loop is running here.
   */
  call<K extends keyof F & string>(
    name: K,
    ...args: HandleArguments<F[K]>
  ): Future<HandleResult<F[K]>> {
    return this.callWith<K>({}, name, ...args);
  }

  /**
   * Like {@linkcode call}, with options.
   *
   * @param options A signal that cancels the call; objects to move.
   * @param name Name of the function.
   * @param args Its arguments.
   * @returns A future of the result: see {@linkcode call}.
   * @throws {TypeError} If `name` is not a string, an option is of the wrong type,
   * or `transfer` has something that cannot be moved, or was moved before.
   * @throws {MisuseError} If no loop is running here.
   */
  callWith<K extends keyof F & string>(
    options: HandleCallOptions,
    name: K,
    ...args: HandleArguments<F[K]>
  ): Future<HandleResult<F[K]>> {
    checkOptions(options, "call a function");
    const { signal, transfer = [] } = options;
    checkSignal(signal, "call a function");
    checkTransfer(transfer, "call a function");
    checkString(name, "call a function", "name");
    const loop = getRunningLoop();
    if (signal?.aborted === true) {
      const call = new HandleCall<HandleResult<F[K]>>(loop, name);
      call.cancel(cancellationBy(signal));
      return call;
    }
    return this.#target.call(loop, { name, args, transfer }, signal);
  }

  /**
   * Calls a function of the owner's loop and does not wait for it. Like asyncio's
   * `call_soon_threadsafe`.
   *
   * Needs no running loop here. Errors, that of an unknown name among them, go to
   * the exception handler of the owner's loop. A call that is on its way when the
   * owner closes is lost.
   *
   * @param name Name of the function.
   * @param args Its arguments, which are copied.
   * @throws {TypeError} If `name` is not a string.
   * @throws {DOMException} A `DataCloneError`, if an argument cannot be cloned.
   * @throws {ExecutorShutDownError} If the handle is closed, or its owner is known
   * to be.
   */
  post<K extends keyof F & string>(
    name: K,
    ...args: HandleArguments<F[K]>
  ): void {
    checkString(name, "call a function", "name");
    this.#target.post({ name, args, transfer: [] });
  }

  // -- Other threads, and the end --

  /**
   * Makes what another thread needs to get a handle of the same loop. Call it for
   * each receiver; the value can be sent once.
   *
   * @example To a worker, and into a larger message
   * ```ts ignore
   * const { value, transfer } = handle.transferable();
   * worker.postMessage({ kind: "start", handle: value }, transfer);
   * ```
   *
   * @returns The two arguments of `postMessage`.
   * @throws {ExecutorShutDownError} If the handle is closed.
   */
  transferable(): TransferableHandle {
    const value = this[pack]();
    return { value, transfer: [value.port] };
  }

  /** @ignore */
  [pack](): PackedHandle {
    return packPort(this.#target.openLine());
  }

  /**
   * Whether the handle is closed, or its owner is known to be.
   */
  get closed(): boolean {
    return this.#target.isClosed;
  }

  /**
   * Closes the handle. Calling it again does nothing.
   *
   * At the owner it rejects all calls under way from anywhere, and later ones, with
   * an {@linkcode ExecutorShutDownError}, and cancels their tasks; a registered
   * function that closes the handle is best called by {@linkcode post}. A handle
   * that was received gives up its own calls only.
   */
  close(): void {
    this.#target.close();
  }

  /** The same as {@linkcode close}. */
  [Symbol.dispose](): void {
    this.close();
  }

  /**
   * Shows the handle in one line, in `console.log` and `Deno.inspect`.
   *
   * @returns The text.
   */
  [Symbol.for("Deno.customInspect")](): string {
    const side = this.#target instanceof HandleOwner ? "owner" : "received";
    return `LoopHandle (${side}, ${this.closed ? "closed" : "open"})`;
  }
}

provideUnpack((packed) => LoopHandle.receive(packed));
