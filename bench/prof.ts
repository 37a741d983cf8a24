import { timeRota, timeBare } from "/work/wt/fleet/bench/support/fleet.ts";
import { Redis } from "ioredis";
import { startRedis } from "/work/wt/fleet/tests/support/redis_server.ts";
await using redis = await startRedis();
const c = new Redis({ port: redis.port, maxRetriesPerRequest: null });
await c.config("SET", "appendonly", "no");
const f = Deno.args[0] === "bare" ? timeBare : timeRota;
for (let i=0;i<4;i++) console.log(await f(c, "q", 3000));
c.disconnect();
