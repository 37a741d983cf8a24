import { assert, assertEquals, assertInstanceOf } from "@std/assert";
import { jetstream, jetstreamManager } from "@nats-io/jetstream";
import { connect, type NatsConnection } from "@nats-io/transport-node";
import { getRunningLoop, run, sleep, taskModule, until } from "@rota/rota";
import {
  jetstreamExecutor,
  type RemoteExecutorOptions,
  RemoteStoreError,
} from "@rota/rota/fleet";
import { LoopExecutor } from "@rota/rota/workers";
import { natsTest, startNats } from "../support/nats_server.ts";
import type { ServerProcess } from "../support/server_process.ts";
import { Child, killWorkers, LEASE_MS } from "./support/child.ts";

const jobs = taskModule<typeof import("./support/held_jobs.ts")>(
  new URL("./support/held_jobs.ts", import.meta.url),
);

function connectTo({ port }: ServerProcess): Promise<NatsConnection> {
  return connect({ port, maxReconnectAttempts: -1, reconnectTimeWait: 50 });
}

function fleetOn(connection: NatsConnection, options: RemoteExecutorOptions) {
  return jetstreamExecutor({
    ...{ connection, jetstream, jetstreamManager },
    ...{ leaseMs: LEASE_MS, checkMs: 300, maxLostLeases: 1_000 },
    ...options,
  });
}

/** Waits for a future; returns its error. */
async function failure(future: PromiseLike<unknown>): Promise<Error> {
  try {
    await future;
  } catch (error) {
    return error as Error;
  }
  throw new Error("The job has not failed");
}

natsTest("killed workers, and NATS killed under way, lose no job", async () => {
  await using nats = await startNats();
  const connection = await connectTo(nats);
  await run(async () => {
    getRunningLoop().setExceptionHandler(() => {}); // told of the outage
    await using fleet = fleetOn(connection, {
      ...{ role: "submit", storeTimeoutMs: 60_000 },
    });
    const names = ["a", "b", "c"];
    const futures = names.map((name) => fleet.submit(jobs.hold, [name]));
    const begun = await until(() => killWorkers("jetstream", nats, 5));
    assertEquals(new Set(begun).size, 5, begun.join());
    await until(() => nats.stop("SIGKILL"));
    futures.push(fleet.submit(jobs.hold, ["while it is away"]));
    await until(() => nats.start());
    await using _ = new Child("jetstream", nats, "loop", "finish");
    const tokens: number[] = [];
    for (const future of futures) tokens.push(await future);
    // The tokens of one stream: those of the last runs are the largest.
    const killed = begun.map((line) => Number(line.split(" ")[2]));
    assert(Math.min(...tokens.slice(0, 3)) > Math.min(...killed));
    assertEquals(new Set([...tokens, ...killed]).size, 9);
  });
  await connection.close();
});

natsTest(
  "a holder that blocks past its lease cannot commit to JetStream",
  async () => {
    await using nats = await startNats();
    const connection = await connectTo(nats);
    const path = await Deno.makeTempFile();
    await Deno.remove(path);
    await run(async () => {
      await using fleet = fleetOn(connection, { role: "submit" });
      await using stale = new Child("jetstream", nats, "loop", "hold");
      const future = fleet.submit(jobs.blockUntil, [path]);
      const [blocked] = await until(() => stale.lines("blocks"));
      await using fresh = new Child("jetstream", nats, "loop", "finish");
      const token = await future;
      assert(token > Number(blocked!.split(" ")[1]));
      await until(() => fresh.end());
      await until(() => Deno.writeTextFile(path, ""));
      await until(() => stale.lines("unblocked"));
      // The stale holder goes on with other work, and the outcome stays that of the fresh one.
      assertEquals(await fleet.submit(jobs.echo, ["next"]), "next");
      const manager = await until(() => jetstreamManager(connection));
      const stored = await until(async () => {
        const { state } = await manager.streams.info("rota_state", {
          subjects_filter: ">",
        });
        const outcomes: string[] = [];
        for (const subject of Object.keys(state.subjects ?? {})) {
          const found = await manager.streams
            .getMessage("rota_state", { last_by_subj: subject });
          outcomes.push(found!.json<{ kind: string }>().kind);
        }
        return outcomes;
      });
      assertEquals(stored, ["returned", "returned"]);
      assertEquals(await until(() => stale.end()), 0);
    });
    await connection.close();
    await Deno.remove(path);
  },
);

natsTest("JetStream: what is damaged, too large or lost", async (t) => {
  await using nats = await startNats();
  const connection = await connectTo(nats);
  const worker = () =>
    fleetOn(connection, { role: "work", executor: new LoopExecutor() });

  await t.step("messages that are no jobs fail, each once", async () => {
    const client = jetstream(connection);
    const manager = await jetstreamManager(connection);
    await run(async () => {
      await using fleet = fleetOn(connection, { role: "submit" });
      await fleet.ready();
      const job = { payload: {}, notBeforeMs: 0, attempts: 1, dedupeKey: null };
      const texts = [
        ...["null", "{", "5", "[]", JSON.stringify({ ...job, id: "a b.*" })],
        ...[JSON.stringify({ ...job, id: "x", dedupeKey: 5 })],
        JSON.stringify({ ...job, id: "y", attempts: "many" }),
      ];
      const numbers: number[] = [];
      for (const text of texts) {
        numbers.push(
          (await until(() => client.publish("rota.job.normal.x", text))).seq,
        );
      }
      await using _ = worker();
      for (const number of numbers) {
        const query = { last_by_subj: `rota.state.unknown-${number}` };
        let text = "";
        while (!text.includes("JobVersionError")) {
          await sleep(10);
          text = (await until(() =>
            manager.streams.getMessage("rota_state", query)
          ))?.string() ?? "";
        }
        assert(text.includes('"threw"'), text);
      }
      assertEquals(await fleet.submit(jobs.echo, ["next"]), "next");
    });
  });

  await t.step(
    "what is larger than a message fails, and nothing else",
    async () => {
      await run(async () => {
        await using fleet = fleetOn(connection, { role: "submit" });
        await using _ = worker();
        const large = fleet.submit(jobs.echo, ["x".repeat(2_000_000)]);
        const small = fleet.submit(jobs.echo, ["small"]);
        assertInstanceOf(await failure(large), RemoteStoreError);
        assertEquals(await small, "small");
        const result = await failure(fleet.submit(jobs.grow, [2_000_000]));
        assert(result.message.includes("max_payload"), String(result));
      });
    },
  );

  await t.step(
    "a job that JetStream has lost is added again, also one that was joined",
    async () => {
      const manager = await jetstreamManager(connection);
      await run(async () => {
        await using one = fleetOn(connection, { role: "submit" });
        await using two = fleetOn(connection, { role: "submit" });
        const options = { dedupeKey: "key" };
        const own = one.submit(jobs.echo, ["lost"], options);
        const stored = async () =>
          (await manager.streams.info("rota")).state.messages;
        while (await until(stored) === 0) await sleep(5);
        const joined = two.submit(jobs.echo, ["lost"], options);
        await sleep(100);
        await until(() => manager.streams.purge("rota"));
        await using _ = worker();
        assertEquals([await own, await joined], ["lost", "lost"]);
      });
    },
  );
  await connection.close();
});
