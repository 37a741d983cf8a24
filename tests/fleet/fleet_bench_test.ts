import { assertEquals } from "@std/assert";
import { measureFleet } from "../../bench/support/fleet.ts";
import { redisTest } from "../support/redis_server.ts";

redisTest("the benchmark of fleets runs, at a tiny size", async () => {
  const figures = await measureFleet(50, 2);
  assertEquals(figures!.map((figure) => figure.case), ["BullMQ", "Rota"]);
  assertEquals(figures!.map(({ rounds }) => rounds.length), [2, 2]);
});
