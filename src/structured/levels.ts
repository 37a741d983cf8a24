import type { Block } from "../loop/block.ts";

/** Whether `error` is what a block around `block` cancels all waits inside with. */
export function isFromOutside(error: unknown, block: Block): boolean {
  for (let outer = block.outer; outer !== null; outer = outer.outer) {
    if (outer.cancellation === error) return true;
  }
  return false;
}
