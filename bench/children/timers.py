"""The workloads of timers_bench.ts for asyncio: timers.py SIZE ROUNDS [DUE_SIZE DUE_ROUNDS].

Prints nanoseconds per timer, one number a round.
"""

import asyncio
import json
import sys
import time

size, rounds = int(sys.argv[1]), int(sys.argv[2])
due_size = int(sys.argv[3]) if len(sys.argv) > 3 else 20_000
due_rounds = int(sys.argv[4]) if len(sys.argv) > 4 else 16


def nothing():
    pass


def delays():
    state = 12_345
    for _ in range(size):
        state = (state * 1_103_515_245 + 12_345) % 2**31
        yield (10_000 + state % 90_001) / 1_000


async def create_and_cancel():
    loop = asyncio.get_running_loop()
    seconds = list(delays())
    start = time.perf_counter_ns()
    timers = [loop.call_later(delay, nothing) for delay in seconds]
    created = time.perf_counter_ns()
    for timer in timers:
        timer.cancel()
    await asyncio.sleep(0)
    return created - start, time.perf_counter_ns() - created


async def due():
    loop = asyncio.get_running_loop()
    everything = loop.create_future()
    ran = 0

    def callback():
        nonlocal ran
        ran += 1
        if ran == due_size:
            everything.set_result(None)

    for n in range(due_size):
        loop.call_later((1 + n % 20) / 1_000, callback)
    time.sleep(0.06)
    start = time.perf_counter_ns()
    await everything
    return time.perf_counter_ns() - start


async def main():
    figures = {"create": [], "cancel": [], "due": []}
    repeat = max(1, 20_000 // size) if rounds > 1 else 1
    for _ in range(rounds):
        create = cancel = 0
        for _ in range(repeat):
            created, cancelled = await create_and_cancel()
            create += created
            cancel += cancelled
        figures["create"].append(create / (size * repeat))
        figures["cancel"].append(cancel / (size * repeat))
    for _ in range(due_rounds):
        figures["due"].append(await due() / due_size)
    print(json.dumps(figures))


asyncio.run(main())
