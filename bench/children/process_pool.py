"""The workload of process_pool_bench.ts for asyncio: process_pool.py SIZE ROUNDS. Prints ns per call."""

import asyncio
import concurrent.futures
import json
import sys
import time

size, rounds = int(sys.argv[1]), int(sys.argv[2])


def add(a, b):
    return a + b


async def call(pool):
    loop = asyncio.get_running_loop()
    done = 0
    start = time.perf_counter_ns()
    for n in range(size):
        if await loop.run_in_executor(pool, add, n, 1) == n + 1:
            done += 1
    took = time.perf_counter_ns() - start
    assert done == size
    return took / size


async def main():
    with concurrent.futures.ProcessPoolExecutor(2) as pool:
        await call(pool)  # workers are there by then
        print(json.dumps({"call": [await call(pool) for _ in range(rounds)]}))


if __name__ == "__main__":
    asyncio.run(main())
