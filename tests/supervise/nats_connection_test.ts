/**
 * A client with other methods than those of ioredis under a supervisor: NATS, which is
 * connected when it is there, and has a promise of its end.
 *
 * @module
 */
import { assert, assertEquals, assertInstanceOf } from "@std/assert";
import { connect } from "@nats-io/transport-node";
import { ConnectionLostError } from "../../src/errors.ts";
import { until } from "../../src/loop/mod.ts";
import { SupervisedConnection } from "../../src/supervise/supervised_connection.ts";
import { Supervisor } from "../../src/supervise/supervisor.ts";
import { natsTest, startNats } from "../support/nats_server.ts";
import { caught, STYLES } from "./stage.ts";
import { playForReal, untilSo } from "./support/scene.ts";

for (const style of STYLES) {
  natsTest(`requests resume when NATS is back, ${style}`, async () => {
    await using server = await startNats();
    await playForReal(style, function* (loop) {
      const nats = new SupervisedConnection(
        () => connect({ port: server.port, reconnect: false }),
        {
          name: "nats",
          connect: () => {},
          close: (client) => client.drain(),
          drop: (client) => client.close(),
          lost: (client) => client.closed(),
        },
      );
      const supervisor = new Supervisor({
        children: [{ id: "nats", start: nats.start }],
        backoff: { initialMs: 5, maxMs: 20 },
        maxRestarts: Infinity,
        reportCrashes: false,
      });
      yield supervisor.start();
      const echo = () =>
        nats.use(async (client) => {
          const subscription = client.subscribe("echo", {
            callback: (_, message) => {
              message.respond(message.data);
            },
          });
          const answer = await client.request("echo", "hello");
          subscription.unsubscribe();
          return answer.string();
        });
      assertEquals(yield echo(), "hello");

      let calls = 0;
      const lost = loop.createTask(() =>
        nats.use((client) => {
          calls++;
          client.subscribe("silence", { callback: () => {} });
          return client.request("silence", "?", { timeout: 60_000 });
        })
      );
      yield* untilSo("the call", () => calls === 1);
      const before = nats.client;
      yield until(server.stop("SIGKILL"));
      yield* untilSo("the loss", () => nats.client === null);
      assertInstanceOf(yield* caught(lost), ConnectionLostError);

      const again = loop.createTask(echo);
      yield until(server.start());
      assertEquals(yield again, "hello");
      assert(nats.client !== before);
      yield supervisor.stop();
    });
  });
}
