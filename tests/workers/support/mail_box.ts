/**
 * Message ports without threads.
 *
 * @module
 */
import type { Mail } from "../../../src/host/thread.ts";

/** One direction of a port without threads. */
export class MailBox implements Mail {
  readonly messages: unknown[] = [];
  other: MailBox = this;
  closed = false;

  post(message: unknown, transfer: readonly Transferable[]): void {
    this.other.messages.push(
      structuredClone(message, { transfer: [...transfer] }),
    );
  }

  take(): unknown {
    if (this.messages.length === 0) throw new RangeError("none");
    return this.messages.shift();
  }

  close(): void {
    this.closed = true;
  }
}

/** Makes both ends of a port. */
export function mailBoxes(): [MailBox, MailBox] {
  const [mine, its] = [new MailBox(), new MailBox()];
  mine.other = its;
  its.other = mine;
  return [mine, its];
}
