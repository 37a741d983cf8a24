import { Queue, QueueEvents, Worker } from "bullmq";
import { Redis } from "ioredis";
import { bullmqExecutor } from "@rota/rota/fleet";
import { redisTest, startRedis } from "../support/redis_server.ts";
import { conformance } from "./support/conformance.ts";

/** How long a client waits before it connects again. */
const RETRY_MS = 50;

conformance({
  name: "BullMQ",
  test: redisTest,
  isVirtual: false,
  hasPriorities: true,
  leaseMs: 600,
  open: async () => {
    const redis = await startRedis();
    const connection = new Redis({
      port: redis.port,
      maxRetriesPerRequest: null,
      retryStrategy: () => RETRY_MS,
    });
    connection.on("error", () => {}); // the executor reports
    let injected = "";
    const queue = new Queue("rota", { connection });
    queue.on("error", () => {});
    return {
      executor: (options) =>
        bullmqExecutor({ ...options, Queue, QueueEvents, Worker, connection }),
      loseLeases: async () => {
        const locks = await connection.keys("bull:rota:*:lock");
        await connection.del(locks);
      },
      inject: async (payload) => {
        injected = (await queue.add("injected", payload)).id!;
      },
      injectedFailure: async () => {
        for (;;) {
          const job = await queue.getJob(injected);
          if (await job!.isFailed()) return job!.failedReason;
          await new Promise((resolve) => setTimeout(resolve, 10));
        }
      },
      stop: () => redis.stop(),
      start: () => redis.start(),
      [Symbol.asyncDispose]: async () => {
        await queue.close();
        connection.disconnect();
        await redis[Symbol.asyncDispose]();
      },
    };
  },
});
