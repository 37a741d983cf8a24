/**
 * ioredis under a supervisor, against a real Redis server: what becomes of commands
 * when the server restarts, when they are given up, and when the supervisor stops.
 *
 * @module
 */
import { assert, assertEquals, assertInstanceOf } from "@std/assert";
import { Redis } from "ioredis";
import {
  CancelledError,
  ChildStartError,
  ConnectionLostError,
  InvalidStateError,
} from "../../src/errors.ts";
import { type EventLoop, sleep, until } from "../../src/loop/mod.ts";
import { timeout } from "../../src/structured/timeout.ts";
import {
  SupervisedConnection,
  type SupervisedConnectionOptions,
} from "../../src/supervise/supervised_connection.ts";
import { Supervisor } from "../../src/supervise/supervisor.ts";
import { redisTest, startRedis } from "../support/redis_server.ts";
import type { ServerProcess } from "../support/server_process.ts";
import { caught, type Steps, STYLES } from "./stage.ts";
import { playForReal, untilSo } from "./support/scene.ts";

const LAZY = { lazyConnect: true, retryStrategy: null };
/** As its users make it: connects, and reconnects, by itself. */
const BY_ITSELF = { disconnectTimeout: 5 };

interface Scene {
  readonly server: ServerProcess;
  readonly loop: EventLoop;
  readonly redis: SupervisedConnection<Redis>;
  readonly supervisor: Supervisor;
}

/** Plays with a server and a supervised connection, once in each style. */
function scene(
  name: string,
  steps: (scene: Scene) => Steps<void>,
  { client = LAZY, started = true, ...options }:
    & SupervisedConnectionOptions<Redis>
    & { client?: object; started?: boolean } = {},
): void {
  for (const style of STYLES) {
    redisTest(`${name}, ${style}`, async () => {
      await using server = await startRedis();
      await playForReal(style, function* (loop) {
        const make = () => new Redis(server.port, "127.0.0.1", client);
        const redis = new SupervisedConnection(make, {
          name: "redis",
          ...options,
        });
        const supervisor = new Supervisor({
          name: "top",
          children: [{ id: "redis", start: redis.start }],
          backoff: { initialMs: 5, maxMs: 20 },
          maxRestarts: Infinity,
          reportCrashes: false,
        });
        if (started) yield supervisor.start();
        yield* steps({ server, loop, redis, supervisor });
        yield supervisor.stop();
      });
    });
  }
}

/** Ends the server and waits until the connection is known to be lost. */
function* loseServer({ server, redis }: Scene): Steps<void> {
  yield until(server.stop("SIGKILL"));
  yield* untilSo("the loss of the connection", () => redis.client === null);
}

for (const [kind, client] of Object.entries({ LAZY, BY_ITSELF })) {
  scene(`commands resume when Redis is back (${kind})`, function* (play) {
    const { server, loop, redis, supervisor } = play;
    assertEquals(yield redis.use((redis) => redis.set("a", "1")), "OK");
    const before = redis.client;
    yield* loseServer(play);
    const waiting = loop.createTask(() => redis.use((redis) => redis.get("a")));
    const restarts = () => supervisor.tree().restarts;
    yield* untilSo("a restart that fails", () => restarts() > 1);
    assert(!waiting.done());
    yield until(server.start());
    assertEquals(yield waiting, "1");
    assert(redis.client !== before);
  }, { client });
}

scene(
  "a command under way is lost with the connection, or runs again if it may",
  function* (play) {
    const { server, loop, redis } = play;
    yield redis.use((redis) => redis.set("a", "1"));
    Deno.kill(server.pid, "SIGSTOP"); // so that it cannot answer
    let calls = 0;
    const once = loop.createTask(() => redis.use((redis) => redis.incr("b")));
    const again = loop.createTask(() =>
      redis.use((redis) => {
        calls++;
        return redis.get("a");
      }, { idempotent: true })
    );
    yield* untilSo("the call", () => calls === 1);
    yield* loseServer(play);
    const error = yield* caught(once);
    assertInstanceOf(error, ConnectionLostError);
    assertEquals(error.message, 'Connection "redis" was lost');
    yield until(server.start());
    assertEquals(yield again, "1");
    assertEquals(calls, 2);
  },
);

scene(
  "an error of the server is thrown as it is, and is no loss",
  function* ({ redis }) {
    yield redis.use((redis) => redis.set("a", "text"));
    const before = redis.client;
    const options = { idempotent: true };
    const error = yield* caught(redis.use((redis) => redis.incr("a"), options));
    assertEquals(error.name, "ReplyError");
    assert(redis.client === before);
  },
);

scene(
  "a cancelled command frees its waiter at once, and its answer goes to nobody else",
  function* ({ server, loop, redis }) {
    yield redis.use((redis) => redis.mset("a", "1", "b", "2"));
    Deno.kill(server.pid, "SIGSTOP");
    try {
      let calls = 0;
      const get = (redis: Redis) => {
        calls++;
        return redis.get("a");
      };
      const task = loop.createTask(() => redis.use(get));
      yield* untilSo("the first call", () => calls === 1);
      task.cancel("nobody wants it any more");
      assertInstanceOf(yield* caught(task), CancelledError);
      const controller = new AbortController();
      const { signal } = controller;
      const aborted = loop.createTask(() => redis.use(get, { signal }));
      yield* untilSo("the second call", () => calls === 2);
      controller.abort(new Error("enough"));
      assertEquals((yield* caught(aborted)).message, "enough");
    } finally {
      Deno.kill(server.pid, "SIGCONT");
    }
    assertEquals(yield redis.use((redis) => redis.get("b")), "2");
  },
);

scene(
  "a cancelled command whose connection is lost later is reported to nobody",
  function* (play) {
    const { server, loop, redis } = play;
    Deno.kill(server.pid, "SIGSTOP");
    const task = loop.createTask(() => redis.use((redis) => redis.get("a")));
    yield sleep(5);
    task.cancel();
    yield* caught(task);
    yield* loseServer(play);
    yield until(server.start());
    yield redis.ready();
  },
);

scene(
  "a blocked BLPOP ends when it is cancelled, and takes nothing",
  function* ({ loop, redis }) {
    const consumer = loop.createTask(() =>
      redis.dedicated((redis) => redis.blpop("jobs", 0))
    );
    const blocked = () =>
      redis.use(async (redis) =>
        (await redis.info("clients")).includes("blocked_clients:1")
      );
    while (!(yield blocked())) yield sleep(2);
    consumer.cancel();
    assertInstanceOf(yield* caught(consumer), CancelledError);
    while (yield blocked()) yield sleep(2);
    yield redis.use((redis) => redis.rpush("jobs", "one"));
    assertEquals(yield redis.use((redis) => redis.llen("jobs")), 1);
    // Another consumer gets it.
    const taken = yield redis.dedicated((redis) => redis.blpop("jobs", 0));
    assertEquals(taken, ["jobs", "one"]);
  },
);

scene(
  "a timeout ends a blocked BLPOP, and the connection itself is not blocked",
  function* ({ redis }) {
    const body = function* () {
      return yield* redis.dedicated((redis) => redis.blpop("jobs", 0));
    };
    assertEquals((yield* caught(timeout(30, body))).name, "TimeoutError");
    assertEquals(yield redis.use((redis) => redis.ping()), "PONG");
  },
);

scene(
  "a dedicated client that loses its connection fails, and so do all when the supervisor stops",
  function* (play) {
    const { server, loop, redis, supervisor } = play;
    let calls = 0;
    const block = () =>
      redis.dedicated((redis) => {
        calls++;
        return redis.blpop("jobs", 0);
      });
    let task = loop.createTask(block);
    yield* untilSo("the first call", () => calls === 1);
    yield* loseServer(play);
    assertInstanceOf(yield* caught(task), ConnectionLostError);
    yield until(server.start());
    yield redis.ready();
    task = loop.createTask(block);
    yield* untilSo("the second call", () => calls === 2);
    yield supervisor.stop();
    const error = yield* caught(task);
    assertInstanceOf(error, ConnectionLostError);
    assertEquals(error.message, 'Connection "redis" was closed');
  },
);

scene(
  "stopping lets the server answer what it was asked, then closes",
  function* ({ server, loop, redis, supervisor }) {
    Deno.kill(server.pid, "SIGSTOP");
    const answered = loop.createTask(() => redis.use((redis) => redis.ping()));
    yield sleep(5);
    const stopped = loop.createTask(() => supervisor.stop());
    yield sleep(5);
    assert(!stopped.done());
    Deno.kill(server.pid, "SIGCONT");
    assertEquals(yield answered, "PONG");
    yield stopped;
    const error = yield* caught(redis.use((redis) => redis.ping()));
    assertInstanceOf(error, InvalidStateError);
    assertEquals(
      error.message,
      'Cannot use connection "redis": its supervisor has stopped it',
    );
  },
);

scene(
  "a server that is not there is a failed start with a clear error",
  function* ({ server, supervisor }) {
    yield until(server.stop());
    const error = yield* caught(supervisor.start());
    assertInstanceOf(error, ChildStartError);
    assertEquals(
      (error.cause as Error).message,
      `connect ECONNREFUSED 127.0.0.1:${server.port}`,
    );
  },
  { started: false },
);

scene(
  "a connection that is not required waits for its server",
  function* ({ server, loop, redis, supervisor }) {
    yield until(server.stop());
    yield supervisor.start();
    const task = loop.createTask(() => redis.use((redis) => redis.ping()));
    yield* untilSo("a restart", () => supervisor.tree().restarts > 0);
    yield until(server.start());
    assertEquals(yield task, "PONG");
  },
  { started: false, required: false },
);
