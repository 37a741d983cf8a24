"""The workload of spawn_bench.ts for asyncio: spawn.py SIZE ROUNDS. Prints ns per task."""

import asyncio
import json
import sys
import time

size, rounds = int(sys.argv[1]), int(sys.argv[2])


async def spawn():
    done = 0

    async def body():
        nonlocal done
        done += 1

    start = time.perf_counter_ns()
    async with asyncio.TaskGroup() as group:
        for _ in range(size):
            group.create_task(body())
    took = time.perf_counter_ns() - start
    assert done == size
    return took / size


async def main():
    print(json.dumps({"spawn": [await spawn() for _ in range(rounds)]}))


asyncio.run(main())
