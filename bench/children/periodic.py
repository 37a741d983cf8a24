"""Runs jobs every 10 ms by call_at and prints what that costs and how late they
are: periodic.py JOBS FOR_MS."""

import asyncio
import json
import math
import sys
import time

INTERVAL = 0.01
jobs, for_ms = int(sys.argv[1]), float(sys.argv[2])


async def main():
    loop = asyncio.get_running_loop()
    late = []
    last = [0.0] * jobs

    def start(job):
        begin = loop.time()
        index = 0

        def tick():
            nonlocal index
            index += 1
            last[job] = loop.time() - begin - index * INTERVAL
            late.append(last[job])
            loop.call_at(begin + (index + 1) * INTERVAL, tick)

        loop.call_at(begin + INTERVAL, tick)

    used = time.process_time()
    began = time.perf_counter()
    for job in range(jobs):
        start(job)
    await asyncio.sleep(for_ms / 1_000 + INTERVAL / 2)
    cpu = (time.process_time() - used) / (time.perf_counter() - began) * 100
    late.sort()

    def percentile(percent):
        return late[math.ceil(len(late) * percent / 100) - 1] * 1_000

    print(json.dumps({
        "cpu": cpu,
        "done": len(late) / (jobs * (for_ms / 1_000 // INTERVAL)) * 100,
        "p50": percentile(50),
        "p99": percentile(99),
        "drift": math.floor(sorted(last)[jobs // 2] * 1_000),
    }))


asyncio.run(main())
