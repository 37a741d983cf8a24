"""The workload of hand_off_bench.ts for asyncio: hand_off.py SIZE ROUNDS. Prints ns per item."""

import asyncio
import json
import sys
import time

size, rounds = int(sys.argv[1]), int(sys.argv[2])


async def hand_off():
    queue = asyncio.Queue(100)

    async def produce():
        for n in range(size):
            await queue.put(n)

    async def consume():
        for n in range(size):
            assert await queue.get() == n

    start = time.perf_counter_ns()
    await asyncio.gather(produce(), consume())
    return (time.perf_counter_ns() - start) / size


async def main():
    print(json.dumps({"item": [await hand_off() for _ in range(rounds)]}))


asyncio.run(main())
