"""The workload of ten_at_once_bench.ts for asyncio: ten_at_once.py SIZE ROUNDS.

At most 20,000 jobs, as that takes long enough. Prints ns per job.
"""

import asyncio
import json
import sys
import time

size, rounds = min(int(sys.argv[1]), 20_000), int(sys.argv[2])


async def ten_at_once():
    semaphore = asyncio.Semaphore(10)
    now = most = done = 0

    async def job():
        nonlocal now, most, done
        async with semaphore:
            now += 1
            most = max(most, now)
            await asyncio.sleep(0)
            now -= 1
            done += 1

    start = time.perf_counter_ns()
    async with asyncio.TaskGroup() as group:
        for _ in range(size):
            group.create_task(job())
    took = time.perf_counter_ns() - start
    assert (most, done) == (10, size)
    return took / size


async def main():
    print(json.dumps({"job": [await ten_at_once() for _ in range(rounds)]}))


asyncio.run(main())
