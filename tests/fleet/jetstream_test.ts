import { assertEquals } from "@std/assert";
import { jetstream, jetstreamManager } from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";
import { getRunningLoop, run } from "@rota/rota";
import { jetstreamExecutor } from "@rota/rota/fleet";
import { LoopExecutor } from "@rota/rota/workers";
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
        injected = (await client.publish("rota.job.normal.x", text)).seq;
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

natsTest(
  "programs that keep outcomes for different times are one fleet",
  async () => {
    await using nats = await startNats();
    const connection = await connect({ port: nats.port });
    const reports: unknown[] = [];
    await run(async () => {
      getRunningLoop().setExceptionHandler((_loop, { exception }) => {
        reports.push(exception);
      });
      for (const keepFailedMs of [1_000_000, 2_000_000, 1_500_000]) {
        await using fleet = jetstreamExecutor({
          ...{ connection, jetstream, jetstreamManager },
          ...{ keepResultsMs: 1_000, keepFailedMs, storeTimeoutMs: 5_000 },
          executor: new LoopExecutor(),
        });
        await fleet.ready();
        assertEquals(await fleet.submit((n: number) => n, [1]), 1);
        const manager = await jetstreamManager(connection);
        const { config } = await manager.streams.info("rota_state");
        assertEquals(config.max_age, keepFailedMs * 1_000_000);
      }
    });
    assertEquals(reports, []);
    await connection.close();
  },
);
