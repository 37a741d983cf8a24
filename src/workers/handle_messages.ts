/**
 * Messages on the line between a loop handle in one thread and the owner of its
 * loop in another. Arrays, as these are quickest to clone.
 *
 * @module
 */
import type { LinePort } from "../host/message_port.ts";
import type { PackedError } from "./error_codec.ts";

/** Has a function called: number of the call on this line, name, arguments. */
export const CALL = 0;
/** Has a function called whose outcome nobody waits for: name, arguments. */
export const POST = 1;
/** Cancels a call: its number, the packed reason. */
export const CANCEL = 2;
/** Opens one more line, for a copy of the handle: its port. */
export const ADOPT = 3;

/** Message to the owner. */
export type ToOwner =
  | readonly [
    kind: typeof CALL,
    id: number,
    name: string,
    args: readonly unknown[],
  ]
  | readonly [kind: typeof POST, name: string, args: readonly unknown[]]
  | readonly [kind: typeof CANCEL, id: number, reason: PackedError]
  | readonly [kind: typeof ADOPT, port: LinePort];

/** A call has returned: its number, the result in an array. */
export const RETURNED = 0;
/** A call has failed: its number, the packed error. */
export const THREW = 1;
/** The task of a call was cancelled at the owner: its number, the packed error. */
export const CANCELLED = 2;
/** The owner has been closed. */
export const CLOSED = 3;

/** Message from the owner. */
export type FromOwner =
  | readonly [
    kind: typeof RETURNED,
    id: number,
    result: readonly [value: unknown],
  ]
  | readonly [kind: typeof THREW, id: number, error: PackedError]
  | readonly [kind: typeof CANCELLED, id: number, error: PackedError]
  | readonly [kind: typeof CLOSED];
