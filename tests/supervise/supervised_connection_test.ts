/**
 * Supervised connections on virtual time, with a client that does as it is told.
 *
 * @module
 */
import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import {
  CancelledError,
  ChildStartError,
  ConnectionLostError,
  MisuseError,
} from "../../src/errors.ts";
import {
  currentTask,
  type EventLoop,
  getRunningLoop,
  newEventLoop,
  sleep,
  type Task,
} from "../../src/loop/mod.ts";
import {
  SupervisedConnection,
  type SupervisedConnectionOptions,
} from "../../src/supervise/supervised_connection.ts";
import { Supervisor } from "../../src/supervise/supervisor.ts";
import type { SupervisorOptions } from "../../src/supervise/supervisor_options.ts";
import { SeededRandom } from "../../src/structures/random.ts";
import { caught, play, type Steps, STYLES } from "./stage.ts";

/** A server whose clients wait until it answers them. */
class Server {
  readonly log: string[] = [];
  readonly clients: Client[] = [];
  /** How connecting goes: `"ok"`, an error, or a promise of that. */
  connecting: () => unknown = () => undefined;
  closing: (client: Client) => unknown = (client) => client.end();
  dropping: (client: Client) => unknown = (client) => client.end();

  get open(): number {
    return this.clients.filter(({ isOpen }) => isOpen).length;
  }

  get last(): Client {
    return this.clients.at(-1)!;
  }
}

class Client {
  isOpen = true;
  readonly pending: PromiseWithResolvers<string>[] = [];
  readonly over: PromiseWithResolvers<unknown> = Promise.withResolvers();
  readonly number: number;
  readonly server: Server;

  constructor(server: Server) {
    this.server = server;
    this.number = server.clients.push(this);
  }

  ask(): Promise<string> {
    const answer = Promise.withResolvers<string>();
    this.pending.push(answer);
    return answer.promise;
  }

  answer(text: string): void {
    this.pending.shift()!.resolve(text);
  }

  end(error?: Error): void {
    this.isOpen = false;
    for (const { reject } of this.pending.splice(0)) {
      reject(new Error("closed"));
    }
    this.over.resolve(error);
  }
}

interface Scene {
  readonly loop: EventLoop;
  readonly server: Server;
  readonly store: SupervisedConnection<Client>;
  readonly supervisor: Supervisor;
}

type SceneOptions = Partial<SupervisedConnectionOptions<Client>> & {
  readonly make?: (server: Server) => Client | Promise<Client>;
  readonly top?: Partial<SupervisorOptions>;
  readonly shutdown?: number;
  readonly reports?: readonly string[];
};

/** Plays with a connection in each style; it must leave nothing open. */
function scene(
  name: string,
  steps: (scene: Scene) => Steps<void>,
  options: SceneOptions = {},
): void {
  const { make = (server) => new Client(server), top, shutdown, ...rest } =
    options;
  for (const style of STYLES) {
    Deno.test(`${name}, ${style}`, async () => {
      const server = new Server();
      const { reports } = await play(style, function* (loop) {
        const store = new SupervisedConnection(() => make(server), {
          name: "store",
          connect: () => server.connecting(),
          close: (client) => server.closing(client),
          drop: (client) => server.dropping(client),
          lost: (client) => client.over.promise,
          ...rest,
        });
        const supervisor = new Supervisor({
          name: "top",
          children: [{ id: "store", start: store.start, shutdown }],
          backoff: { initialMs: 100, jitter: "none" },
          maxRestarts: Infinity,
          reportCrashes: false,
          ...top,
        });
        yield* steps({ loop, server, store, supervisor });
        yield supervisor.stop();
        // Time goes on while a client has not answered yet.
      }, { outsideWaits: "ignore" });
      assertEquals(reports, options.reports ?? []);
      assertEquals(server.open, 0);
    });
  }
}

const ask = (client: Client) => client.ask();
const never = () => new Promise<never>(() => {});

/** Lets promises settle. */
function* settle(): Steps<void> {
  yield sleep(1);
}

// -- Waiting for the connection --

scene(
  "use() waits until the connection is started, first come first served",
  function* ({ loop, server, store, supervisor }) {
    assertEquals(store.client, null);
    const tasks = [1, 2, 3].map(() => loop.createTask(() => store.use(ask)));
    yield sleep(1_000);
    assertEquals(server.clients.length, 0);
    yield supervisor.start();
    yield* settle();
    assertStrictEquals(store.client, server.last);
    for (const text of ["a", "b", "c"]) server.last.answer(text);
    const answers: string[] = [];
    for (const task of tasks) answers.push(yield task);
    assertEquals(answers, ["a", "b", "c"]);
    assertStrictEquals(yield store.ready(), server.last);
  },
);

scene(
  "restarts of a connection that is lost follow the backoff",
  function* ({ loop, server, store, supervisor }) {
    yield supervisor.start();
    server.connecting = () => {
      throw new Error("away");
    };
    const startMs = loop.time();
    server.last.end(new Error("reset"));
    const task = loop.createTask(() => store.use(ask));
    yield sleep(650); // attempts after 100, 300 and 700 ms
    assertEquals(server.clients.length, 3);
    server.connecting = () => undefined;
    yield store.ready();
    assertEquals(loop.time() - startMs, 700);
    yield* settle();
    server.last.answer("again");
    assertEquals(yield task, "again");
  },
);

scene(
  "a crash has the error of the client as its cause",
  function* ({ server, store, supervisor }) {
    const ends: unknown[] = [];
    supervisor.subscribe((event) => {
      if (event.type === "ended") ends.push(event.end);
    });
    yield supervisor.start();
    const reset = new Error("reset");
    server.last.end(reset);
    yield* settle();
    yield store.ready();
    const [end] = ends as [{ kind: "crash"; error: Error }];
    assertInstanceOf(end.error, ConnectionLostError);
    assertStrictEquals(end.error.cause, reset);
  },
);

// -- Commands --

scene(
  "an idempotent command runs once on each connection until it ends",
  function* ({ loop, server, store, supervisor }) {
    yield supervisor.start();
    const numbers: number[] = [];
    const task = loop.createTask(() =>
      store.use((client) => {
        numbers.push(client.number);
        return client.ask();
      }, { idempotent: true })
    );
    for (let n = 0; n < 3; n++) {
      yield* settle();
      server.last.end();
      yield* settle();
      yield store.ready();
    }
    yield* settle();
    server.last.answer("at last");
    assertEquals(yield task, "at last");
    assertEquals(numbers, [1, 2, 3, 4]);
  },
);

scene(
  "the loss of a connection ends a function that waits for anything else",
  function* ({ loop, server, store, supervisor }) {
    yield supervisor.start();
    const log: unknown[] = [];
    const sleeping = loop.createTask(() =>
      store.use(async () => {
        try {
          await sleep(10_000);
        } catch (error) {
          log.push((error as Error).name);
          throw error;
        }
      })
    );
    const stuck = loop.createTask(() => store.use(never));
    yield* settle();
    server.last.end();
    assertInstanceOf(yield* caught(sleeping), ConnectionLostError);
    assertInstanceOf(yield* caught(stuck), ConnectionLostError);
    assertEquals(log, ["CancelledError"]);
  },
  { top: {} },
);

scene(
  "a function belongs to the task that uses the connection",
  function* ({ loop, store, supervisor }) {
    yield supervisor.start();
    const names = [];
    for (const name of ["a", "b"]) {
      const task = loop.createTask(() =>
        store.use(async () => {
          await Promise.resolve();
          return currentTask()?.name;
        }), { name });
      names.push(yield task);
    }
    assertEquals(names, ["a", "b"]);
  },
);

scene(
  "a failure that nobody waits for any more is reported once",
  function* ({ loop, server, store, supervisor }) {
    yield supervisor.start();
    const task = loop.createTask(() => store.use(ask));
    yield* settle();
    task.cancel();
    assertInstanceOf(yield* caught(task), CancelledError);
    server.last.pending.shift()!.reject(new Error("no such key"));
    yield* settle();
  },
  {
    reports: [
      "A promise given to until() failed after its waiter had left: no such key",
    ],
  },
);

// -- Dedicated clients --

scene(
  "a dedicated client is closed when its function has ended, failed or is cancelled",
  function* ({ loop, server, store, supervisor }) {
    yield supervisor.start();
    const answered = loop.createTask(() => store.dedicated(ask));
    yield* settle();
    assertEquals(server.open, 2);
    server.last.answer("yes");
    assertEquals(yield answered, "yes");
    assertEquals(server.open, 1);
    const failure = new Error("no");
    const failing = store.dedicated(() => Promise.reject(failure));
    assertStrictEquals(yield* caught(failing), failure);
    assertEquals(server.open, 1);
    const cancelled = loop.createTask(() => store.dedicated(ask));
    yield* settle();
    cancelled.cancel();
    assertInstanceOf(yield* caught(cancelled), CancelledError);
    assertEquals(server.open, 1);
    assertStrictEquals(store.client, server.clients[0]);
  },
);

scene(
  "a dedicated client that cannot connect fails with the error of the client",
  function* ({ server, store, supervisor }) {
    yield supervisor.start();
    const refused = new Error("refused");
    server.connecting = () => Promise.reject(refused);
    assertStrictEquals(yield* caught(store.dedicated(ask)), refused);
    server.connecting = () => {
      server.last.end(refused); // told by an event, and never by a rejection
      return never();
    };
    assertStrictEquals(yield* caught(store.dedicated(ask)), refused);
  },
);

scene(
  "an idempotent function gets another client when its own, or the server, is lost",
  function* ({ loop, server, store, supervisor }) {
    yield supervisor.start();
    const numbers: number[] = [];
    const task = loop.createTask(() =>
      store.dedicated((client) => {
        numbers.push(client.number);
        return client.ask();
      }, { idempotent: true })
    );
    yield* settle();
    server.clients[1]!.end(); // only its own
    yield* settle();
    for (const client of server.clients) client.end(); // the server
    yield sleep(200);
    assertEquals(numbers, [2, 3, 5]);
    server.last.answer("at last");
    assertEquals(yield task, "at last");
  },
);

scene(
  "a server that goes while a dedicated client connects is waited for",
  function* ({ loop, server, store, supervisor }) {
    yield supervisor.start();
    let isAway = true;
    server.connecting = () => {
      if (isAway) server.clients[0]!.end();
      return isAway ? Promise.reject(new Error("refused")) : undefined;
    };
    const task = loop.createTask(() => store.dedicated(ask));
    yield sleep(50);
    isAway = false;
    yield sleep(100);
    server.last.answer("here");
    assertEquals(yield task, "here");
  },
);

// -- The end --

scene(
  "stopping waits for answers, and refuses commands meanwhile",
  function* ({ loop, server, store, supervisor }) {
    yield supervisor.start();
    server.closing = async (client) => {
      await Promise.allSettled(client.pending.map(({ promise }) => promise));
      client.end();
    };
    const asked = loop.createTask(() => store.use(ask));
    yield* settle();
    const stopping = loop.createTask(() => supervisor.stop());
    yield* settle();
    assertEquals((yield* caught(store.use(ask))).name, "InvalidStateError");
    server.last.answer("late");
    assertEquals(yield asked, "late");
    yield stopping;
  },
);

scene(
  "a client that does not close in time is dropped",
  function* ({ loop, server, store, supervisor }) {
    yield supervisor.start();
    server.closing = () => {};
    const asked = loop.createTask(() => store.use(ask));
    yield* settle();
    const startMs = loop.time();
    yield supervisor.stop();
    assertEquals(loop.time() - startMs, 300);
    const error = yield* caught(asked);
    assertEquals(error.message, 'Connection "store" was closed');
  },
  { shutdown: 300 },
);

scene(
  "a close that fails is a crash, and the client is dropped",
  function* ({ server, supervisor }) {
    let end: unknown;
    supervisor.subscribe((event) => {
      if (event.type === "ended") end = event.end;
    });
    yield supervisor.start();
    const error = new Error("cannot close");
    server.closing = () => Promise.reject(error);
    yield supervisor.stop();
    assertEquals(end, { kind: "crash", error });
  },
);

scene("a drop that fails is reported", function* ({ server, supervisor }) {
  yield supervisor.start();
  server.dropping = (client) => {
    client.end();
    throw new Error("cannot drop");
  };
  yield supervisor.stop();
}, { reports: ["A client failed to close its connection: cannot drop"] });

scene(
  "a stopped connection can be started again",
  function* ({ server, store, supervisor }) {
    yield supervisor.start();
    yield supervisor.terminateChild("store");
    assertEquals((yield* caught(store.ready())).name, "InvalidStateError");
    yield supervisor.restartChild("store");
    assertStrictEquals(yield store.ready(), server.clients[1]);
  },
);

scene(
  "waiters of a connection that is stopped while it is away are refused",
  function* ({ loop, server, store, supervisor }) {
    yield supervisor.start();
    server.connecting = never;
    server.last.end();
    const waiting = loop.createTask(() => store.ready());
    yield sleep(150); // it connects
    yield supervisor.stop();
    assertEquals((yield* caught(waiting)).name, "InvalidStateError");
  },
);

for (const strategy of ["one-for-all", "rest-for-one"] as const) {
  for (const place of ["beside it", "in a supervisor beside it"]) {
    scene(
      `use() and ready() wait while ${strategy} restarts a child and the connection ${place}`,
      function* ({ loop, server, store }) {
        const inner = () =>
          new Supervisor({
            name: "inner",
            children: [{ id: "store", start: store.start }],
          });
        let crash = () => {};
        const supervisor = new Supervisor({
          name: "group",
          strategy,
          reportCrashes: false,
          children: [
            {
              id: "first",
              start: function* (started) {
                const gone = loop.createFuture<void>();
                crash = () => gone.setException(new Error("first"));
                yield* sleep(30);
                started();
                yield* gone;
              },
            },
            place === "beside it" ? { id: "store", start: store.start } : {
              id: "inner",
              type: "supervisor",
              start: inner,
            },
          ],
        });
        yield supervisor.start();
        server.closing = (client) => loop.callLater(10, () => client.end());
        const startMs = loop.time();
        crash();
        yield sleep(5); // it is being closed
        assertEquals(store.client, null);
        const before = loop.createTask(() => store.ready());
        yield sleep(15); // the first child is starting
        assertEquals(server.open, 0);
        const after = loop.createTask(() => store.use(ask));
        assertStrictEquals(yield before, server.clients[1]);
        assertEquals(loop.time() - startMs, 40);
        yield* settle();
        server.last.answer("again");
        assertEquals(yield after, "again");
        yield supervisor.stop();
        assertEquals((yield* caught(store.ready())).name, "InvalidStateError");
      },
    );
  }
}

scene(
  "a stop with a group is final if the tree ends meanwhile",
  function* ({ loop, server, store }) {
    const supervisor = new Supervisor({
      name: "group",
      strategy: "one-for-all",
      reportCrashes: false,
      children: [
        { id: "store", start: store.start },
        {
          id: "second",
          start: () => loop.createTask(() => sleep(10)),
        },
      ],
    });
    const tree = loop.createTask(() => supervisor.run());
    yield store.ready();
    server.closing = (client) => loop.callLater(50, () => client.end());
    yield sleep(20);
    assertEquals(store.client, null);
    const waiting = loop.createTask(() => store.ready());
    yield* settle();
    tree.cancel("the tree ends");
    yield* caughtOrNot(tree);
    assertEquals((yield* caught(waiting)).name, "InvalidStateError");
  },
);

// -- Starts --

scene(
  "a client that comes after its start was given up is dropped",
  function* ({ loop, supervisor }) {
    const starting = loop.createTask(() => supervisor.start());
    yield sleep(20);
    yield supervisor.stop();
    yield* caughtOrNot(starting);
    assertEquals(loop.time(), 50);
    yield sleep(100);
  },
  {
    shutdown: 30,
    make: async (server) => {
      const made = Promise.withResolvers<void>();
      getRunningLoop().callLater(100, () => made.resolve());
      await made.promise; // cannot be given up
      return new Client(server);
    },
  },
);

scene(
  "a start that fails has dropped its client",
  function* ({ server, supervisor }) {
    const refused = new Error("refused");
    server.connecting = () => Promise.reject(refused);
    const error = yield* caught(supervisor.start());
    assertInstanceOf(error, ChildStartError);
    assertStrictEquals(error.cause, refused);
    assertEquals(server.clients.length, 1);
    assertEquals(server.open, 0);
  },
);

scene(
  "a client that cannot be watched is dropped",
  function* ({ server, supervisor }) {
    const error = yield* caught(supervisor.start());
    assertInstanceOf(error, ChildStartError);
    assertEquals((error.cause as Error).message, "cannot watch");
    assertEquals(server.clients.length, 1);
    assertEquals(server.open, 0);
  },
  {
    lost: () => {
      throw new Error("cannot watch");
    },
  },
);

scene(
  "with required: false the supervisor starts without the server",
  function* ({ server, store, supervisor }) {
    server.connecting = () => Promise.reject(new Error("refused"));
    yield supervisor.start();
    yield sleep(150);
    assertEquals(store.client, null);
    server.connecting = () => undefined;
    yield store.ready();
  },
  { required: false },
);

scene("a connection is one child at a time", function* ({ store, supervisor }) {
  yield supervisor.start();
  const second = new Supervisor({
    name: "second",
    children: [{ id: "store", start: store.start }],
  });
  const error = yield* caught(second.start());
  assertInstanceOf(error.cause, MisuseError);
  assert(store.client !== null);
});

Deno.test("a client that comes after the loop was closed is dropped", async () => {
  const server = new Server();
  const made = Promise.withResolvers<Client>();
  const store = new SupervisedConnection(() => made.promise, {
    connect: () => undefined,
    drop: (client) => client.end(),
    lost: (client) => client.over.promise,
  });
  const reports: string[] = [];
  const loop = newEventLoop({ host: "virtual", outsideWaits: "ignore" });
  loop.setExceptionHandler((_, { message }) => reports.push(message));
  const supervisor = new Supervisor({
    name: "top",
    children: [{ id: "store", start: store.start }],
  });
  await loop.runUntilComplete(function* () {
    loop.createTask(() => supervisor.run());
    yield* sleep(10);
  });
  await loop.close();
  assert(reports.length > 0, "unfinished tasks are reported");
  const client = new Client(server);
  made.resolve(client);
  await client.over.promise; // dropped
  assertEquals(server.open, 0);
});

// -- Bad input --

for (
  const [what, bad, message] of [
    [
      "nothing",
      undefined,
      "Cannot connect as make must return a client: received undefined",
    ],
    [
      "a client without events",
      { connect() {}, disconnect() {} },
      "Cannot connect as the client must have on(), or option lost be set: received an object",
    ],
  ] as const
) {
  Deno.test(`make() that gives ${what} is a failed start, and that is dropped`, async () => {
    let dropped = 0;
    const client = bad && { ...bad, disconnect: () => dropped++ };
    await play("a generator", function* () {
      const store = new SupervisedConnection<unknown>(() => client);
      const supervisor = new Supervisor({
        children: [{ id: "store", start: store.start }],
      });
      const error = yield* caught(supervisor.start());
      assertInstanceOf(error.cause, TypeError);
      assertEquals(error.cause.message, message);
    });
    assertEquals(dropped, client === undefined ? 0 : 1);
  });
}

Deno.test("bad arguments are refused before anything happens", () => {
  // deno-lint-ignore no-explicit-any
  type Any = any;
  const make = (...args: unknown[]) =>
    new SupervisedConnection(...args as [Any]);
  assertThrows(() => make(), TypeError, "as make must be a function");
  assertThrows(() => make({}), TypeError, "as make must be a function");
  assertThrows(() => make(never, null), TypeError, "options must be an object");
  assertThrows(() => make(never, { name: 1 }), TypeError, "name");
  assertThrows(() => make(never, { required: 1 }), TypeError, "required");
  assertThrows(() => make(never, { lost: 1 }), TypeError, "lost");
  const store = make(never);
  assertThrows(() => store.use(1 as Any), TypeError, "fn must be a function");
  assertThrows(
    () => store.use(never, { idempotent: 1 } as Any),
    TypeError,
    "idempotent",
  );
  assertThrows(
    () => store.use(never, { signal: 1 } as Any),
    TypeError,
    "signal",
  );
  assertThrows(() => store.dedicated(1 as Any), TypeError, "fn");
  assertThrows(() => store.ready({ signal: 1 } as Any), TypeError, "signal");
});

// -- Anything in any order --

for (let n = 0; n < 40; n++) {
  const seed = Math.floor(Math.random() * 2 ** 32);
  scene(
    `random life ${n} leaves nothing behind, seed ${seed}`,
    function* (play) {
      yield* randomLife(play, new SeededRandom(seed));
    },
    { required: false, shutdown: 50 },
  );
}

/** Cancels, loses, stops and starts at random moments; each command ends exactly once, in a way that fits. */
function* randomLife(
  { loop, server, store, supervisor }: Scene,
  random: SeededRandom,
): Steps<void> {
  const pick = (n: number) => Math.floor(random.next() * n);
  server.connecting = () =>
    pick(3) > 0 ? Promise.resolve() : Promise.reject(new Error("refused"));
  yield supervisor.start();
  const tasks: Task<string>[] = [];
  for (let step = 0; step < 60; step++) {
    const client = server.clients[pick(server.clients.length)];
    const act = pick(8);
    if (act < 3) {
      tasks.push(
        loop.createTask(() =>
          act === 0
            ? store.dedicated(ask)
            : store.use(ask, { idempotent: act === 1 })
        ),
      );
    } else if (act === 3) tasks[pick(tasks.length)]?.cancel();
    else if (act === 4) client?.end();
    else if (act === 5 && pick(3) === 0) {
      yield supervisor.terminateChild("store");
      yield supervisor.restartChild("store");
    } else if (client !== undefined && client.pending.length > 0) {
      client.answer("yes");
    }
    yield sleep(pick(30));
  }
  yield supervisor.stop();
  for (const task of tasks) task.cancel();
  const words = [];
  for (const task of tasks) {
    const error = yield* caughtOrNot(task);
    words.push(error?.name ?? "ok");
  }
  const known = ["ok", "CancelledError", "ConnectionLostError", "Error"];
  for (const word of new Set(words)) {
    assert([...known, "InvalidStateError"].includes(word), word);
  }
  assertEquals(store.client, null);
}

function* caughtOrNot(task: Task<unknown>): Steps<Error | null> {
  try {
    yield task;
    return null;
  } catch (error) {
    return error as Error;
  }
}
