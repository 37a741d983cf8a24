/**
 * The I/O gate: however busy a loop is, the runtime's own I/O goes on.
 *
 * What is counted are turns of known weight, not time: the runtime polls its
 * sockets every 61 passes, so that without the gate each step of an exchange
 * would take that many turns.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { type EventLoop, newEventLoop } from "../mod.ts";
import { keepBusy } from "./support/manual_host.ts";

const REAL_HOSTS = ["portable", "native", "poll"] as const;

/** What one exchange may take, in turns of half a millisecond. */
const TURNS_MAX = 60;

/** Runs `exchange` a few times while `loop` is busy; gives the median of the turns it took. */
async function turnsPerExchange(
  loop: EventLoop,
  beBusy: (count: () => void) => void,
  exchange: () => Promise<void>,
): Promise<number> {
  let turns = 0;
  beBusy(() => turns++);
  const ended = loop.runForever();
  const taken: number[] = [];
  for (let count = 0; count < 9; count++) {
    const before = turns;
    await exchange();
    taken.push(turns - before);
  }
  loop.stop();
  await ended;
  return taken.sort((a, b) => a - b)[4]!;
}

/** A loop that has something ready in every turn. */
function alwaysReady(loop: EventLoop): (count: () => void) => void {
  return (count) => {
    const busy = () => {
      count();
      keepBusy(0.5);
      loop.callSoon(busy);
    };
    loop.callSoon(busy);
  };
}

/** A loop that runs dry each time and is woken by a chain of promises. */
function wokenFromOutside(loop: EventLoop): (count: () => void) => void {
  return (count) => {
    const busy = () => {
      count();
      keepBusy(0.5);
      let chain = Promise.resolve();
      for (let hop = 0; hop < 20; hop++) chain = chain.then(() => {});
      chain.then(() => loop.callSoon(busy));
    };
    loop.callSoon(busy);
  };
}

async function withHttp(
  body: (exchange: () => Promise<void>) => Promise<void>,
): Promise<void> {
  const server = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen: () => {} },
    () => new Response("here"),
  );
  const client = Deno.createHttpClient({});
  try {
    await body(async () => {
      const response = await fetch(`http://127.0.0.1:${server.addr.port}`, {
        client,
      });
      assertEquals(await response.text(), "here");
    });
  } finally {
    client.close();
    await server.shutdown();
  }
}

async function withEcho(
  body: (exchange: () => Promise<void>) => Promise<void>,
): Promise<void> {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = listener.addr as Deno.NetAddr;
  const serving = (async () => {
    using connection = await listener.accept();
    const buffer = new Uint8Array(8);
    for (;;) {
      const count = await connection.read(buffer);
      if (count === null) return; // the client has closed
      await connection.write(buffer.subarray(0, count));
    }
  })();
  const connection = await Deno.connect({ hostname: "127.0.0.1", port });
  try {
    const buffer = new Uint8Array(8);
    await body(async () => {
      await connection.write(new Uint8Array([1, 2, 3]));
      assertEquals(await connection.read(buffer), 3);
    });
  } finally {
    connection.close();
    await serving;
  }
}

for (const host of REAL_HOSTS) {
  for (
    const [name, busy] of [
      ["beside a busy loop", alwaysReady],
      ["beside a loop that promises wake again and again", wokenFromOutside],
    ] as const
  ) {
    Deno.test(`Deno.serve answers ${name} (${host})`, async () => {
      await using loop = newEventLoop({ host });
      await withHttp(async (exchange) => {
        await exchange(); // connect
        const turns = await turnsPerExchange(loop, busy(loop), exchange);
        assert(turns <= TURNS_MAX, `${turns} turns a request`);
      });
    });

    Deno.test(`A TCP echo answers ${name} (${host})`, async () => {
      await using loop = newEventLoop({ host });
      await withEcho(async (exchange) => {
        await exchange();
        const turns = await turnsPerExchange(loop, busy(loop), exchange);
        assert(turns <= TURNS_MAX, `${turns} turns a message`);
      });
    });
  }

  Deno.test(`Async tasks that never wait for anything real leave room for I/O (${host})`, async () => {
    await using loop = newEventLoop({ host });
    await withEcho(async (exchange) => {
      const turns = await turnsPerExchange(loop, (count) => {
        const busy = async () => {
          for (;;) {
            count();
            keepBusy(0.5);
            await loop.createTask(async () => {});
          }
        };
        const task = loop.createTask(busy);
        void task;
      }, exchange);
      assert(turns <= TURNS_MAX, `${turns} steps a message`);
      loop.setExceptionHandler(() => {}); // the task is destroyed at the end
    });
  });

  Deno.test(`The gate opens inside one long turn, and keeps the order (${host})`, async () => {
    await using loop = newEventLoop({ host });
    const log: number[] = [];
    const passes: number[] = [];
    let open = true;
    const pass = () => {
      passes.push(log.length);
      if (open) setImmediate(pass);
    };
    setImmediate(pass);
    for (let index = 0; index < 200; index++) {
      loop.callSoon(() => {
        keepBusy(0.1);
        log.push(index);
        if (index % 50 === 0) loop.callSoon(() => log.push(1_000 + index));
      });
    }
    loop.stop();
    await loop.runForever();
    assertEquals(
      log,
      Array.from({ length: 200 }, (_, index) => index),
      "one turn, in order",
    );
    assertEquals(loop.stats().turns, 1);
    assert(
      passes.some((length) => length > 0 && length < 200),
      "the runtime had a pass in the middle of the turn",
    );
    loop.stop();
    await loop.runForever();
    assertEquals(log.slice(200), [1_000, 1_050, 1_100, 1_150]);
    open = false;
    await new Promise((resolve) => setImmediate(resolve));
  });

  Deno.test(`A message is echoed while one long turn lasts (${host})`, async () => {
    await using loop = newEventLoop({ host });
    await withEcho(async (exchange) => {
      let answeredAfter = -1;
      let run = 0;
      for (let index = 0; index < 400; index++) {
        loop.callSoon(() => {
          run++;
          keepBusy(0.25);
        });
      }
      const ended = loop.runForever();
      await exchange().then(() => answeredAfter = run);
      loop.stop();
      await ended;
      assert(
        answeredAfter >= 0 && answeredAfter < 400,
        `after ${answeredAfter} of 400`,
      );
      assertEquals(run, 400);
      assertEquals(loop.stats().turns, 1);
    });
  });

  Deno.test(`What stop(), timers and callbacks do while the gate is open counts for after it (${host})`, async () => {
    await using loop = newEventLoop({ host });
    const log: string[] = [];
    let armed = true;
    setImmediate(() => { // in the gate: the first callback takes too long
      armed = false;
      loop.callSoon(() => log.push("from the gate"));
      loop.callLater(-1, () => log.push("timer from the gate"));
      loop.stop();
    });
    loop.callSoon(() => {
      log.push("long");
      keepBusy(3);
    });
    const idle = () => {
      if (armed) loop.callSoon(idle);
    };
    loop.callSoon(idle);
    await loop.runForever();
    loop.callSoon(() => loop.stop());
    await loop.runForever();
    assertEquals(log, ["long", "from the gate", "timer from the gate"]);
  });
}

Deno.test("A virtual loop that is always busy lets I/O through by count", async () => {
  await using loop = newEventLoop({ host: "virtual" });
  await withEcho(async (exchange) => {
    let handles = 0;
    const busy = () => {
      handles++;
      loop.callSoon(busy);
    };
    loop.callSoon(busy);
    const ended = loop.runForever();
    await exchange();
    const taken = handles;
    loop.stop();
    await ended;
    assert(taken <= 40 * 4_096, `${taken} callbacks`);
    assertEquals(loop.time(), 0);
  });
});

Deno.test("Timers of the runtime fire beside a busy loop", async () => {
  for (const host of [...REAL_HOSTS, "virtual"] as const) {
    await using loop = newEventLoop({ host });
    const busy = () => void loop.callSoon(busy);
    loop.callSoon(busy);
    const ended = loop.runForever();
    await new Promise((resolve) => setTimeout(resolve, 2));
    loop.stop();
    await ended;
  }
});
