/** The bank: a thread whose loop owns the accounts. */

import { LoopHandle, run, sleep } from "@rota/rota";

/** Functions of the bank. */
export interface Bank {
  balance(account: string): number;
  transfer(from: string, to: string, amount: number): void;
  /** Goes through the books, for ever. */
  audit(): void;
  auditsCancelled(): number;
  close(): void;
}

declare const self: {
  postMessage(value: unknown, transfer: Transferable[]): void;
  close(): void;
};

await run(async () => {
  const accounts = new Map([["ann", 100], ["bob", 100]]);
  let auditsCancelled = 0;

  const handle = new LoopHandle<Bank>();
  handle.register("balance", (account) => accounts.get(account) ?? 0);
  handle.register("transfer", (from, to, amount) => {
    const left = (accounts.get(from) ?? 0) - amount;
    if (left < 0) throw new RangeError(`${from} has not got ${amount}`);
    accounts.set(from, left);
    accounts.set(to, (accounts.get(to) ?? 0) + amount);
  });
  handle.register("audit", function* () {
    try {
      for (;;) yield* sleep(1);
    } finally {
      auditsCancelled++;
    }
  });
  handle.register("auditsCancelled", () => auditsCancelled);
  handle.register("close", () => handle.close());

  const { value, transfer } = handle.transferable();
  self.postMessage(value, transfer);
  await handle.serve();
});
self.close();
