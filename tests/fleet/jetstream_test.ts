import { jetstream, jetstreamManager } from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";
import { jetstreamExecutor } from "@rota/rota/fleet";
import { natsTest, startNats } from "../support/nats_server.ts";
import { leases } from "./support/jobs.ts";
import { conformance } from "./support/conformance.ts";

conformance({
  name: "JetStream",
  test: natsTest,
  isVirtual: false,
  hasPriorities: false,
  leaseMs: 700,
  open: async () => {
    const nats = await startNats();
    const connection = await connect({
      port: nats.port,
      maxReconnectAttempts: -1,
      reconnectTimeWait: 50,
    });
    const client = jetstream(connection);
    let injected = 0;
    return {
      executor: (options) =>
        jetstreamExecutor({
          ...options,
          ...{ connection, jetstream, jetstreamManager },
        }),
      loseLeases: async () => {
        // As another worker would: the holder finds out with its next renewal.
        for (const id of new Set(leases.map(({ id }) => id))) {
          await client.publish(`rota.state.${id}`, '{"kind":"leased"}');
        }
      },
      inject: async (payload) => {
        const text = JSON.stringify(payload);
        injected = (await client.publish("rota.job.normal", text)).seq;
      },
      injectedFailure: async () => {
        const manager = await jetstreamManager(connection);
        const subject = `rota.state.unknown-${injected}`;
        for (;;) {
          const found = await manager.streams
            .getMessage("rota_state", { last_by_subj: subject });
          const state = found?.json<{ message?: string }>();
          if (state?.message !== undefined) return state.message;
          await new Promise((resolve) => setTimeout(resolve, 10));
        }
      },
      stop: () => nats.stop(),
      start: () => nats.start(),
      [Symbol.asyncDispose]: async () => {
        await connection.close();
        await nats[Symbol.asyncDispose]();
      },
    };
  },
});
