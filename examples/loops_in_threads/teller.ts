/** The teller: a thread that uses the loops of two others, and has one itself. */

import { LoopHandle, run, type TransferableHandle, until } from "@rota/rota";
import type { Board } from "../loops_in_threads.ts";
import type { Bank } from "./bank.ts";

/** Functions of the teller. */
export interface Teller {
  move(from: string, to: string, amount: number): void;
  close(): void;
}

/** The first message to the teller. */
export interface TellerSetup {
  readonly bank: TransferableHandle["value"];
  readonly board: TransferableHandle["value"];
}

declare const self: {
  onmessage: ((event: MessageEvent<TellerSetup>) => void) | null;
  postMessage(value: unknown, transfer: Transferable[]): void;
  close(): void;
};

const setup = new Promise<TellerSetup>((resolve) => {
  self.onmessage = ({ data }) => resolve(data);
});

await run(function* () {
  const { bank: bankValue, board: boardValue } = yield* until(setup);
  using bank = LoopHandle.receive<Bank>(bankValue);
  using board = LoopHandle.receive<Board>(boardValue);

  const handle = new LoopHandle<Teller>();
  handle.register("move", function* (from, to, amount) {
    yield* bank.call("transfer", from, to, amount);
    yield* board.call("show", `${from} gave ${to} ${amount}`);
  });
  handle.register("close", () => handle.close());

  const { value, transfer } = handle.transferable();
  self.postMessage(value, transfer);
  yield* handle.serve();
});
self.close();
