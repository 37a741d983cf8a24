/**
 * The wire: messages in order, by ring or port, also when the ring is full.
 *
 * @module
 */
import { assert, assertEquals, assertThrows } from "@std/assert";
import { Wire, wireMemory } from "../../src/workers/wire.ts";
import { type MailBox, mailBoxes } from "./support/mail_box.ts";

type Message = [kind: number, id: number, value: unknown];

function openWire(): {
  pool: Wire;
  worker: Wire;
  mail: MailBox;
  received: (wire: Wire) => Message[];
} {
  const memory = wireMemory();
  const [mine, its] = mailBoxes();
  return {
    pool: new Wire(memory, mine, "pool"),
    worker: new Wire(memory, its, "worker"),
    mail: its,
    received: (wire) => {
      const messages: Message[] = [];
      wire.drain((...message) => messages.push(message));
      return messages;
    },
  };
}

class Point {
  x = 1;
}

Deno.test("small values go by the ring, others by the port, in order, both ways", () => {
  const { pool, worker, mail, received } = openWire();
  const same = [1];
  const buffer = new ArrayBuffer(4);
  pool.send(1, 7, { a: [1, "two"] });
  assertEquals(mail.messages.length, 0);
  pool.send(2, 2 ** 32 - 1, new Point());
  pool.send(3, 8, "x".repeat(1e5));
  pool.send(127, 9, [same, same]);
  pool.send(5, 10, buffer, [buffer]);
  pool.send(6, 0, undefined);
  assertEquals(mail.messages.length, 4);
  assert(buffer.detached);
  assertEquals(received(worker), [
    [1, 7, { a: [1, "two"] }],
    [2, 2 ** 32 - 1, { x: 1 }],
    [3, 8, "x".repeat(1e5)],
    [127, 9, [[1], [1]]],
    [5, 10, new ArrayBuffer(4)],
    [6, 0, undefined],
  ]);
  worker.send(1, 1, "back");
  assertEquals(received(pool), [[1, 1, "back"]]);
});

Deno.test("what cannot be cloned or moved throws, and nothing was sent", () => {
  const { pool, worker, received } = openWire();
  const buffer = new ArrayBuffer(4);
  structuredClone(buffer, { transfer: [buffer] });
  assertThrows(() => pool.send(1, 1, () => {}), DOMException);
  assertThrows(() => pool.send(1, 1, [1], [buffer]), DOMException);
  pool.send(1, 2, "after");
  assertEquals(received(worker), [[1, 2, "after"]]);
});

/** A value with a getter that does something the first time. */
function valueThat(act: () => void, more: object = {}): object {
  let count = 0;
  return {
    pad: "x".repeat(40),
    get a() {
      if (count++ === 0) act();
      return 1;
    },
    z: "y".repeat(30),
    ...more,
  };
}
const READ = { pad: "x".repeat(40), a: 1, z: "y".repeat(30) };

Deno.test("a getter may send on the same wire, whatever ways the values take", () => {
  const { pool, worker, mail, received } = openWire();
  pool.send(1, 1, valueThat(() => pool.send(2, 2, "inner")));
  assertEquals(received(worker), [[1, 1, READ], [2, 2, "inner"]]);
  // Twice, the second time in the second getter.
  pool.send(
    1,
    3,
    valueThat(() => pool.send(1, 4, valueThat(() => pool.send(2, 5, null)))),
  );
  const messages = received(worker);
  assertEquals(messages.map(([, id]) => id).sort(), [3, 4, 5]);
  for (const [kind, , value] of messages) {
    assertEquals(value, kind === 1 ? READ : null);
  }
  // The outer one needs the port in the end.
  const list = [1];
  pool.send(
    1,
    6,
    valueThat(() => pool.send(2, 7, "inner"), { b: list, c: list }),
  );
  assertEquals(received(worker), [
    [2, 7, "inner"],
    [1, 6, { ...READ, b: list, c: list }],
  ]);
  pool.send(1, 8, "by the ring again");
  assertEquals(mail.messages, []);
  assertEquals(received(worker), [[1, 8, "by the ring again"]]);
});

Deno.test("a value that is too long for a frame is written once before it goes by the port", () => {
  const { pool, worker, mail, received } = openWire();
  for (let n = 0; n < 4_000; n++) pool.send(1, n, null); // there is room at both ends of the ring
  assertEquals(received(worker).length, 4_000);
  let count = 0;
  const value = {
    get a() {
      return ++count;
    },
    b: new Float64Array(2_000),
  };
  mail.other.post = () => {};
  pool.send(1, 1, value);
  assertEquals(count, 1);
});

Deno.test("what a getter has sent arrives, although its own value cannot be cloned", () => {
  const { pool, worker, received } = openWire();
  const value = valueThat(() => pool.send(2, 2, "inner"), { f: () => {} });
  assertThrows(() => pool.send(1, 1, value), DOMException);
  assertEquals(received(worker), [[2, 2, "inner"]]);
});

Deno.test("a getter may flush while the ring is full", () => {
  const { pool, worker, received } = openWire();
  for (let n = 0; n < 20_000; n++) pool.send(1, n, null);
  let count = 0;
  while (count < 20_000) {
    count += received(worker).length;
    received(pool);
  }
  pool.send(
    1,
    1,
    valueThat(() => {
      pool.send(2, 2, "inner");
      assertEquals(pool.flush(), false);
    }),
  );
  assertEquals(received(worker), [[1, 1, READ], [2, 2, "inner"]]);
});

Deno.test("a full ring loses nothing and keeps the order", () => {
  const { pool, worker, received } = openWire();
  const count = 20_000;
  for (let n = 0; n < count; n++) pool.send(1, n, { n });
  let next = 0;
  let rounds = 0;
  while (next < count) {
    rounds++;
    for (const [, id, value] of received(worker)) {
      assertEquals([id, value], [next, { n: next }]);
      next++;
    }
    assertEquals(received(pool), []); // finds that there is room again
    assert(rounds < 100);
  }
  assert(rounds > 2, "the ring was never full");
  assertEquals(received(worker), []);
  pool.send(1, 0, "by the ring again");
  assertEquals(received(worker).length, 1);
});

function keepAlive(): Disposable {
  const timer = setInterval(() => {}, 1e9);
  return { [Symbol.dispose]: () => clearInterval(timer) };
}

Deno.test("a sender that has no room is woken when there is some", async () => {
  using _alive = keepAlive(); // a sleep does not keep the process alive
  const { pool, worker, received } = openWire();
  for (let n = 0; n < 20_000; n++) pool.send(1, n, null);
  const sleep = pool.sleep();
  assert(sleep !== null);
  received(worker);
  await sleep;
});

Deno.test("drain() leaves what comes meanwhile for the next time", () => {
  const { pool, worker, received } = openWire();
  pool.send(1, 1, null);
  let count = 0;
  worker.drain(() => {
    count++;
    pool.send(1, 2, null);
  });
  assertEquals(count, 1);
  assert(worker.hasMessages);
  assertEquals(received(worker).length, 1);
});

Deno.test("untaken() does not tell of a message that may be acted on", () => {
  const { pool, worker } = openWire();
  pool.send(1, 1, "taken");
  pool.send(1, 2, "taken as well");
  let ids: number[] = [0];
  worker.drain((_kind, id) => {
    if (id === 2) ids = pool.untaken(1);
  });
  assertEquals(ids, []);
});

Deno.test("untaken() tells what the other end has not got, whatever way it took, and takes it over", () => {
  const { pool, worker } = openWire();
  pool.send(1, 1, "taken");
  worker.drain(() => {});
  for (let n = 3; n < 10_000; n++) pool.send(1 + n % 2, n, new Point());
  const ids = pool.untaken(1);
  assertEquals(ids, Array.from({ length: 4_998 }, (_, n) => 4 + 2 * n));
  let acts = 0;
  assertThrows(() => worker.drain(() => acts++), Error);
  assertEquals(acts, 0);
});

Deno.test("close() closes the port and ends a sleep", async () => {
  using _alive = keepAlive();
  const { worker, mail } = openWire();
  const sleep = worker.sleep();
  worker.close();
  await sleep;
  assert(mail.closed);
});
