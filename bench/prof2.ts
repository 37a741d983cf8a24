import { timeRota, timeBare } from "./support/fleet.ts";
import { Redis } from "ioredis";
import process from "node:process";
import { startRedis } from "../tests/support/redis_server.ts";
await using redis = await startRedis();
const c = new Redis({ port: redis.port, maxRetriesPerRequest: null });
await c.config("SET", "appendonly", "no");
const res: Record<string, number[]> = { bare: [], rota: [], wb: [], wr: [] };
for (let i=0;i<5;i++) for (const [n, f] of [["bare", timeBare], ["rota", timeRota]] as const) {
  const a = process.cpuUsage(); const w = await f(c, "q", 10000); const b = process.cpuUsage(a);
  if (i > 0) { res[n].push((b.user + b.system)/1000); res[n === "bare" ? "wb" : "wr"].push(w); }
}
for (const [k, v] of Object.entries(res)) { v.sort((a,b)=>a-b); console.log(k, v[0].toFixed(0), v[v.length>>1].toFixed(0)); }
c.disconnect();
