/**
 * The benchmark of the load balancer at a small size: its figures follow from a
 * seed, so that they can be compared here.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { measureBalancer } from "../../bench/support/balancer.ts";
import { BALANCING_STRATEGIES } from "../../src/workers/balancing.ts";

Deno.test("With power-of-two the 99th percentile of waiting is below half of that with round-robin", async () => {
  const figures = await measureBalancer(100, 10_000, 40);
  const waiting = figures.filter(({ workload, measure }) =>
    workload === "waiting for 100 members" && measure === "p99"
  );
  assertEquals(waiting.map((one) => one.case), [...BALANCING_STRATEGIES]);
  const of = (name: string) => waiting.find((one) => one.case === name)!.best;
  assert(of("power-of-two") < of("round-robin") / 2);
  assert(of("least-pending") <= of("power-of-two"));
  assert(of("weighted") < of("round-robin"));
});
