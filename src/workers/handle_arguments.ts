/**
 * Loop handles among the arguments of calls: made transferable on the way out,
 * and handles again on the way in.
 *
 * For links between threads, whose users pass handles to jobs like any other
 * value. The sender calls {@linkcode packHandles} before it posts a message,
 * {@linkcode dropHandles} if posting throws; the receiver calls
 * {@linkcode unpackHandles}, which `loop_handle.ts` exports as well, as it works
 * only once that module is loaded. A receiver that wants to load it late asks
 * {@linkcode hasPackedHandles} first. All of them look at the arguments
 * themselves, not into them, and cost some nanoseconds each if there is no handle.
 *
 * @module
 */
import { isPort, type LinePort } from "../host/message_port.ts";

/** Key of the version in a {@linkcode PackedHandle}. */
const VERSION = "rota:loop-handle";

/** A loop handle on its way to another thread. */
export interface PackedHandle {
  /** Version of the protocol on its line. */
  readonly "rota:loop-handle": 1;
  /** Port of its line, which has to be transferred. */
  readonly port: Transferable;
}

/** Key of the method by which a handle makes what goes to another thread. */
export const pack: unique symbol = Symbol("pack");

/** A loop handle, as this file sees it. */
interface Packable {
  [pack](): PackedHandle;
}

/** Makes a handle of what has arrived. */
type Unpack = (packed: PackedHandle) => unknown;

let unpack: Unpack | null = null;

/** Sets the function that makes handles: `loop_handle.ts` does, when it is loaded. */
export function provideUnpack(make: Unpack): void {
  unpack = make;
}

/** Makes what goes to another thread, of the port of a line. */
export function packPort(port: LinePort): PackedHandle {
  return { [VERSION]: 1, port };
}

/** Whether both sides of a packed handle speak of the same things. */
export function isOfThisVersion(packed: { [VERSION]: unknown }): boolean {
  return packed[VERSION] === 1;
}

/** Whether `value` is a handle that has been packed. */
export function isPacked(value: unknown): value is PackedHandle {
  return typeof value === "object" && value !== null && VERSION in value;
}

function isPackable(value: unknown): value is Packable {
  return typeof value === "object" && value !== null && pack in value;
}

/**
 * Packs the handles among `args`.
 *
 * @param args Arguments of a call, or any list of values. Not changed.
 * @param transfer List of objects to transfer with them, to which the ports are added.
 * @returns The values to send: `args` itself if there is no handle among them.
 * @throws {ExecutorShutDownError} If a handle is closed. Nothing was packed then.
 */
export function packHandles(
  args: readonly unknown[],
  transfer: Transferable[],
): readonly unknown[] {
  if (!args.some(isPackable)) return args;
  const packed: unknown[] = [];
  try {
    for (const arg of args) packed.push(isPackable(arg) ? arg[pack]() : arg);
  } catch (error) {
    dropHandles(packed);
    throw error;
  }
  for (const arg of packed) if (isPacked(arg)) transfer.push(arg.port);
  return packed;
}

/**
 * Closes the lines of packed handles that could not be sent.
 *
 * @param packed Result of {@linkcode packHandles}.
 */
export function dropHandles(packed: readonly unknown[]): void {
  for (const value of packed) {
    if (isPacked(value) && isPort(value.port)) value.port.close();
  }
}

/**
 * Whether there is a packed handle among `args`.
 *
 * @param args Values that have arrived.
 * @returns Whether there is.
 */
export function hasPackedHandles(args: readonly unknown[]): boolean {
  return args.some(isPacked);
}

/**
 * Makes handles of the packed ones among `args`.
 *
 * @param args Values that have arrived. Not changed.
 * @returns The values with handles: `args` itself if there was none among them.
 */
export function unpackHandles(args: readonly unknown[]): readonly unknown[] {
  if (!args.some(isPacked)) return args;
  return args.map((arg) => isPacked(arg) ? unpack!(arg) : arg);
}
