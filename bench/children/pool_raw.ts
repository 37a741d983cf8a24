/**
 * Worker without a pool: calls a function for each message.
 *
 * @module
 */
import * as jobs from "./pool_jobs.ts";

interface Call {
  readonly id: number;
  readonly name: "add" | "echo" | "giveBack" | "fib";
  readonly args: readonly never[];
}

const { self } = globalThis as unknown as {
  readonly self: {
    onmessage: (event: MessageEvent<Call>) => void;
    postMessage(message: unknown, transfer: Transferable[]): void;
  };
};

self.onmessage = ({ data: { id, name, args } }) => {
  const call = jobs[name] as (...args: readonly never[]) => unknown;
  const value = call(...args);
  self.postMessage(
    { id, value },
    name === "giveBack" ? [value as ArrayBuffer] : [],
  );
};
