/**
 * Functions that pools of workers call.
 *
 * @module
 */
import { withTransfer } from "../../src/workers/transfer.ts";

export function add(a: number, b: number): number {
  return a + b;
}

export function echo(value: unknown): unknown {
  return value;
}

/** Returns a buffer, moved. */
export function giveBack(buffer: ArrayBuffer): ArrayBuffer {
  return withTransfer(buffer, [buffer]);
}

export function fib(n: number): number {
  return n < 2 ? n : fib(n - 1) + fib(n - 2);
}

/** The function for pools that call one with one argument, Piscina and tinypool. */
export default function addPair({ a, b }: { a: number; b: number }): number {
  return a + b;
}
