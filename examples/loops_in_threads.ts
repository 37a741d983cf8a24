/**
 * Three loops in three threads that call one another.
 *
 * The bank owns the accounts: whoever wants to change one calls a function of its
 * loop, so that no thread ever sees half of a transfer. The teller has a handle of
 * the bank's loop and one of this thread's. Errors cross with their class, and a
 * call that is cancelled here is cancelled there.
 */

import {
  ExecutorShutDownError,
  gather,
  LoopHandle,
  run,
  timeout,
  TimeoutError,
  until,
} from "@rota/rota";
import { assert, assertEquals, assertRejects } from "@std/assert";
import type { Bank } from "./loops_in_threads/bank.ts";
import type { Teller, TellerSetup } from "./loops_in_threads/teller.ts";

/** Functions of this thread. */
export interface Board {
  show(line: string): void;
}

/** The first message of a thread. */
function firstMessage(worker: Worker): Promise<unknown> {
  return new Promise((resolve) => {
    worker.onmessage = ({ data }) => resolve(data);
  });
}

function startThread(name: string): Worker {
  const url = new URL(`./loops_in_threads/${name}.ts`, import.meta.url);
  return new Worker(url, { type: "module", name });
}

await run(function* () {
  const shown: string[] = [];
  using board = new LoopHandle<Board>();
  board.register("show", (line) => {
    shown.push(line);
    console.log(line);
  });

  const bankThread = startThread("bank");
  using bank = LoopHandle.receive<Bank>(yield* until(firstMessage(bankThread)));

  const tellerThread = startThread("teller");
  const forBank = bank.transferable();
  const forBoard = board.transferable();
  const setup: TellerSetup = { bank: forBank.value, board: forBoard.value };
  tellerThread.postMessage(setup, [...forBank.transfer, ...forBoard.transfer]);
  using teller = LoopHandle.receive<Teller>(
    yield* until(firstMessage(tellerThread)),
  );

  // The teller calls the bank, and tells the board, which is here.
  yield* teller.call("move", "ann", "bob", 30);
  yield* teller.call("move", "bob", "ann", 5);
  const balances = yield* gather([
    bank.call("balance", "ann"),
    bank.call("balance", "bob"),
  ]);
  console.log(`ann has ${balances[0]}, bob has ${balances[1]}`);
  assertEquals(balances, [75, 125]);
  assertEquals(shown.length, 2);

  // An error of the bank reaches the teller, and from there this thread.
  try {
    yield* teller.call("move", "ann", "bob", 1_000);
  } catch (error) {
    assert(error instanceof RangeError);
    console.log(`refused: ${error.message}`);
  }

  // The audit takes for ever. The time limit here cancels it there.
  try {
    yield* timeout(20, () => bank.call("audit"));
  } catch (error) {
    assert(error instanceof TimeoutError);
  }
  assertEquals(yield* bank.call("auditsCancelled"), 1);
  console.log("the audit was given up");

  // The end: threads close their handles, and end when their loops have.
  teller.post("close");
  bank.post("close");
  yield* until(assertRejects(
    async () => {
      for (;;) await bank.call("balance", "ann");
    },
    ExecutorShutDownError,
  ));
  console.log("the bank is closed");
});
